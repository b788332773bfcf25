# SPDX-License-Identifier: Apache-2.0
"""Holders outside the directory: append-only, thinned out, robust."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.audit.anchors import AnchorFile, MemoryAnchor
from sidecar.audit.log import AuditLog
from sidecar.clock import ManualClock
from sidecar.errors import EnvironmentFailure, IntegrityError

Open = Callable[..., AuditLog]
Fields = Callable[..., dict[str, Any]]


@pytest.fixture
def holder(fast_dir: Path, clock: ManualClock) -> AnchorFile:
    return AnchorFile(fast_dir / "anchors", clock=clock, min_interval_s=60)


def test_it_keeps_requested_checkpoints_and_thins_out_the_others(
    holder: AnchorFile, clock: ManualClock
) -> None:
    """Regular ones once a minute, requested ones always, in order, never replaced."""
    for number in range(10):
        holder.publish(f"regular {number}", is_requested=False)
        clock.advance(seconds=30)
    holder.publish("receipt", is_requested=True)

    assert holder.all() == [f"regular {number}" for number in (0, 2, 4, 6, 8)] + ["receipt"]
    assert holder.latest() == "receipt"
    assert stat.S_IMODE(holder.path.stat().st_mode) == 0o600


def test_a_torn_line_is_passed_over_and_stays(holder: AnchorFile) -> None:
    """A crash of the holder loses one checkpoint at most; nothing is rewritten."""
    holder.publish("one", is_requested=True)
    with holder.path.open("ab") as file:
        file.write(b'{"checkpoint":"tw')
    assert holder.latest() == "one"

    holder.publish("three", is_requested=True)

    assert holder.all() == ["one", "three"]
    assert b'"tw\n{' in holder.path.read_bytes()


def test_latest_reads_only_the_end(holder: AnchorFile) -> None:
    """A long list is not read whole."""
    for number in range(2000):
        holder.publish(f"{number} " + "x" * 100, is_requested=True)

    latest = holder.latest()

    assert latest is not None
    assert latest.startswith("1999 ")
    assert len(holder.all()) == 2000


def test_nothing_held_and_nothing_readable_differ(holder: AnchorFile) -> None:
    """No file holds nothing; a file without a checkpoint is damage."""
    assert holder.latest() is None
    holder.path.write_bytes(b"")
    assert holder.latest() is None
    holder.path.write_bytes(b"garbage\n[]\n{}\n")

    with pytest.raises(IntegrityError, match="holds no checkpoint"):
        holder.latest()


def test_links_and_pipes_are_not_followed(holder: AnchorFile, fast_dir: Path) -> None:
    """A holder's path that is no regular file fails, and the log shows it."""
    holder.path.symlink_to(fast_dir / "elsewhere")
    with pytest.raises(OSError, match=r"symbolic|Too many"):
        holder.publish("one", is_requested=True)
    holder.path.unlink()
    os.mkfifo(holder.path)

    with pytest.raises(EnvironmentFailure):
        holder.publish("one", is_requested=True)


def test_a_holder_that_lies_is_noticed_when_the_log_opens(
    open_log: Open, fields: Fields, holder: AnchorFile
) -> None:
    """What the holder has must be signed by this log; anything else refuses to open."""
    log = open_log(anchors=[holder])
    log.append_sync(fields())
    log.close()
    holder.publish("not a checkpoint", is_requested=True)

    with pytest.raises(IntegrityError, match="does not verify"):
        open_log(anchors=[holder])


def test_a_log_that_extends_its_holders_opens(
    open_log: Open, fields: Fields, holder: AnchorFile
) -> None:
    """Restart after restart each holder's newest checkpoint is a prefix of the log."""
    memory = MemoryAnchor()
    for _ in range(3):
        log = open_log(anchors=[holder, memory])
        log.append_sync(fields())
        log.close()

    assert log.latest_checkpoint == holder.latest() == memory.latest()
    assert [text.splitlines()[1] for text in holder.all()] == ["0", "1", "1", "2", "2", "3"]
    assert holder.name != memory.name
