# SPDX-License-Identifier: Apache-2.0
"""Reading: entries, filters, proofs, while a writer runs or after."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from sidecar.audit import reader as reader_module
from sidecar.audit.log import AuditLog
from sidecar.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from sidecar.audit.note import open_checkpoint, parse_vkey
from sidecar.audit.reader import (
    EntryFilter,
    checkpoint_text,
    consistency_proof,
    inclusion_proof,
    prove,
    read_entries,
    show,
    signed_size,
)
from sidecar.clock import ManualClock
from sidecar.errors import IntegrityError, NotFoundError

Open = Callable[..., AuditLog]
Fields = Callable[..., dict[str, Any]]
Build = Callable[..., tuple[Path, str]]


def test_ranges_are_those_asked_for(build: Build) -> None:
    """Start and count work over bundles and past the end; the tail only on request."""
    directory, _ = build(300, 4, batch=True)

    def numbers(*arguments: Any, **options: Any) -> list[int]:
        return [entry.seq for entry in read_entries(directory, *arguments, **options)]

    assert numbers(0, 3) == [0, 1, 2]
    assert numbers(254, 4) == [254, 255, 256, 257]
    assert numbers(299, 10) == [299, 300]
    assert numbers(299, 4, is_unsigned_included=True) == [299, 300, 301, 302]
    assert numbers(303, 100, is_unsigned_included=True) == [303, 304]
    assert numbers(5000, 10, is_unsigned_included=True) == []
    assert numbers(7, 0) == []
    with pytest.raises(ValueError, match="negative"):
        read_entries(directory, -1)


def test_each_filter_selects(open_log: Open, fields: Fields, clock: ManualClock) -> None:
    """Fields are exact; times are a half-open interval in any time zone."""
    log = open_log()
    start = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    for number in range(6):
        agent, effect = ("a", "ALLOW") if number % 2 else ("b", "DENY")
        log.append_sync(fields(number, agent=agent, effect=effect))
        clock.advance(seconds=1)
    log.checkpoint_sync()

    def selected(**wanted: Any) -> list[int]:
        return [entry.seq for entry in show(log.directory, EntryFilter(**wanted))]

    assert selected() == [0, 1, 2, 3, 4, 5]
    assert selected(agent="a") == [1, 3, 5]
    assert selected(effect="DENY", agent="a") == []
    assert selected(decision_id=fields(2)["decision_id"]) == [2]
    assert selected(kind="outcome") == []
    assert selected(tool="send_money", since=start + timedelta(seconds=4)) == [4, 5]
    east = (start + timedelta(seconds=2)).astimezone(timezone(timedelta(hours=5)))
    assert selected(until=east) == [0, 1]
    assert selected(since=start + timedelta(microseconds=1), until=east) == [1]
    with pytest.raises(ValueError, match="time zone"):
        EntryFilter(since=datetime(2025, 1, 1))  # noqa: DTZ001 - the point of this test
    assert [entry.seq for entry in show(log.directory, EntryFilter(), start=2, limit=2)] == [2, 3]


def test_showing_reads_across_blocks(build: Build) -> None:
    """A filter that matches seldom still sees the whole log."""
    directory, _ = build(600, 1, batch=True)

    last = EntryFilter(decision_id=f"dec_{600:032x}")
    tail = {"is_unsigned_included": True}

    assert [entry.seq for entry in show(directory, last)] == [600]
    assert [entry.seq for entry in show(directory, last, **tail)] == [600, 601]


def test_proofs_hold_against_the_signed_checkpoints(open_log: Open, fields: Fields) -> None:
    """Inclusion in, and consistency between, checkpoints that the log handed out."""
    log = open_log()
    notes = []
    for size in (1, 100, 255, 400):
        while log.size < size:
            log.append(fields(log.size))
        log.append_sync(fields(log.size))
        notes.append(open_checkpoint(log.checkpoint_sync(), key=parse_vkey(log.vkey)))

    for old in notes:
        for index in {0, old.size // 2, old.size - 1}:
            (entry,) = read_entries(log.directory, index, 1)
            path = inclusion_proof(log.directory, index, old.size)
            verify_inclusion(
                leaf_hash(entry.line), index=index, size=old.size, path=path, root=old.root
            )
        for new in notes:
            if old.size <= new.size:
                verify_consistency(
                    old_size=old.size,
                    old_root=old.root,
                    new_size=new.size,
                    new_root=new.root,
                    path=consistency_proof(log.directory, old.size, new.size),
                )
    assert inclusion_proof(log.directory, 3) == inclusion_proof(log.directory, 3, notes[-1].size)
    assert signed_size(log.directory) == notes[-1].size


def test_what_cannot_be_proved_is_said(build: Build) -> None:
    """Beyond the checkpoint there are no proofs."""
    directory, _ = build(5, 2)

    for index in (-1, 5, 6):
        with pytest.raises(NotFoundError, match="covers 5"):
            prove(directory, index)
        with pytest.raises(ValueError):
            inclusion_proof(directory, index)
    with pytest.raises(ValueError, match="covers 5"):
        consistency_proof(directory, 1, 6)


def test_a_directory_without_a_log(fast_dir: Path) -> None:
    """Reading nothing is not found; reading garbage is an integrity error."""
    with pytest.raises(NotFoundError):
        read_entries(fast_dir)
    for data in (b"", b"x", b"a\nb\nc\n", b"a\n\xff\n", b"a\n99999999999999999999\nc\n"):
        (fast_dir / "checkpoint").write_bytes(data)
        with pytest.raises(IntegrityError):
            read_entries(fast_dir)


@pytest.mark.parametrize("name", ["tile/entries", "tile/0"])
def test_missing_tiles_are_integrity_errors(build: Build, name: str) -> None:
    """A reader of a log that lost files is told so."""
    directory, _ = build(5)
    shutil.rmtree(directory / name)

    with pytest.raises(IntegrityError, match="missing"):
        prove(directory, 2)


def test_a_segment_that_vanishes_is_looked_for_again(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint may remove a segment while it is read: the reader starts over."""
    directory, _ = build(2, 2)
    real, calls = reader_module.read_segments, []

    def flaky(paths: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise FileNotFoundError("gone")
        return real(paths)

    monkeypatch.setattr(reader_module, "read_segments", flaky)

    assert len(read_entries(directory, 0, 9, is_unsigned_included=True)) == 4
    assert len(calls) == 2


def test_the_checkpoint_text_is_the_writers(open_log: Open, fields: Fields) -> None:
    """What a reader finds is what the writer handed out."""
    log = open_log()
    log.append_sync(fields())

    assert checkpoint_text(log.directory) != log.checkpoint_sync()
    assert checkpoint_text(log.directory) == log.latest_checkpoint
