# SPDX-License-Identifier: Apache-2.0
"""The offline verifier: each way of touching a log is found, and nothing but a full pass passes."""

from __future__ import annotations

import ast
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.audit import verify
from sidecar.audit.anchors import AnchorFile
from sidecar.audit.head import Head, encode_head
from sidecar.audit.log import AuditLog
from sidecar.audit.merkle import EMPTY_ROOT, leaf_hash
from sidecar.audit.note import format_vkey, sign_checkpoint
from sidecar.audit.reader import prove
from sidecar.audit.tiles import RightEdge
from sidecar.audit.verify import verify_directory, verify_proof
from sidecar.audit.wal import (
    FIRST_CHAIN,
    encode_frame,
    encode_segment_header,
    pack_entries,
    unpack_entries,
)
from sidecar.clock import ManualClock

Open = Callable[..., AuditLog]
Fields = Callable[..., dict[str, Any]]
Build = Callable[..., tuple[Path, str]]
ORIGIN = "example.com/gate/host-1"
IGNORED = ("lock",)


def evidence(directory: Path) -> list[Path]:
    """Every file of a log that is evidence."""
    found = (path for path in directory.rglob("*") if path.is_file() and path.name not in IGNORED)
    return sorted(path for path in found if "tmp" not in path.parts)


def forge(
    directory: Path,
    entries: list[bytes],
    key: Ed25519PrivateKey,
    *,
    signed: int | None = None,
    origin: str = ORIGIN,
) -> None:
    """Write a log of *entries* that is right in itself, as somebody who knows the formats can.

    An attacker without the log's key signs with another one.
    """
    signed = len(entries) if signed is None else signed
    shutil.rmtree(directory, ignore_errors=True)
    edge = RightEdge()
    for entry in entries[:signed]:
        edge.append(entry, leaf_hash(entry))
    for file in (*edge.take_full(), *edge.take_partial()):
        path = directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
    segment = encode_segment_header(base_seq=0, chain=FIRST_CHAIN)
    if entries:
        segment += encode_frame(first_seq=0, entries=entries, chain=FIRST_CHAIN)
    (directory / "wal").mkdir(parents=True, exist_ok=True)
    (directory / "wal" / f"{0:020d}").write_bytes(segment)
    root = edge.root()
    (directory / "head").write_bytes(encode_head(Head(origin=origin, size=signed, root=root)))
    note = sign_checkpoint(origin=origin, size=signed, root=root, signing_key=key)
    (directory / "checkpoint").write_text(note.text, encoding="utf-8")


def entries_of(directory: Path) -> list[bytes]:
    """The signed entries of a small log, read without its reader."""
    found: list[bytes] = []
    base = directory / "tile/entries"
    full = sorted(path for path in base.iterdir() if path.is_file())
    for path in full:
        found += unpack_entries(path.read_bytes())
    for partials in (path for path in base.iterdir() if path.name.endswith(".p")):
        widest = max(partials.iterdir(), key=lambda path: int(path.name))
        found += unpack_entries(widest.read_bytes())
    return found


# -- G01: bits ---------------------------------------------------------------------------------


def flips_that_pass(directory: Path, vkey: str, files: list[Path], every: int) -> list[str]:
    """Flip every *every*-th bit of *files* in turn; return the flips that were not noticed."""
    missed = []
    for path in files:
        data = bytearray(path.read_bytes())
        for position in range(0, len(data) * 8, every):
            data[position // 8] ^= 1 << position % 8
            path.write_bytes(data)
            if verify_directory(directory, vkey=vkey).ok:
                missed.append(f"{path} bit {position}")
            data[position // 8] ^= 1 << position % 8
        path.write_bytes(data)
    return missed


def in_two_processes(work: Callable[[int], list[str]]) -> list[str]:
    """Run ``work(0)`` in a child and ``work(1)`` here; a child that dies is a failure."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(work(0)[:20]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    here = work(1)
    with os.fdopen(reading, "rb") as pipe:
        there = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return [*here, *there]


def test_g01_every_flipped_bit_of_a_small_log_is_found(open_log: Open, fast_dir: Path) -> None:
    """Exhaustively: each bit of each file, signed and unsigned part, is evidence."""
    log = open_log()
    for number in range(3):
        log.append_sync({"kind": "note", "text": f"entry {number}"})
    log.checkpoint_sync()
    log.append_sync({"kind": "note"})
    vkey = log.vkey

    def work(half: int) -> list[str]:
        copy = fast_dir / f"copy-{half}"
        shutil.copytree(log.directory, copy)
        files = evidence(copy)
        sizes = sum(path.stat().st_size for path in files)
        assert sizes > 1500
        assert verify_directory(copy, vkey=vkey).ok
        wal = [path for path in files if path.parent.name == "wal"]
        rest = [path for path in files if path not in wal]
        missed = flips_that_pass(copy, vkey, wal if half else rest, 1)
        assert verify_directory(copy, vkey=vkey).ok
        return missed

    assert in_two_processes(work) == []


def test_g01_sampled_flipped_bits_of_a_larger_log_are_found(build: Build, fast_dir: Path) -> None:
    """Several tiles, two levels, rotated files: bits drawn at random are all found."""
    directory, vkey = build(600, 3, batch=True)
    rng = random.Random(1)

    for path in evidence(directory):
        data = bytearray(path.read_bytes())
        for _ in range(8):
            position = rng.randrange(len(data) * 8)
            data[position // 8] ^= 1 << position % 8
            path.write_bytes(data)
            assert not verify_directory(directory, vkey=vkey).ok, (path, position)
            data[position // 8] ^= 1 << position % 8
        path.write_bytes(data)
    assert verify_directory(directory, vkey=vkey).ok


def test_g01_the_first_bad_index_is_exact(build: Build) -> None:
    """A bit flipped in a bundle or in a leaf tile names the very entry."""
    directory, vkey = build(300, batch=True)
    bundle = directory / "tile/entries/001.p/45"
    tile = directory / "tile/0/000"
    entries = unpack_entries(bundle.read_bytes())
    start = sum(len(entry) + 2 for entry in entries[:20])

    for path, position, expected in (
        (bundle, start + 2 + 40, 276),
        (bundle, start + 1, 276),
        (bundle, start, 276),
        (tile, 17 * 32 + 5, 17),
        (tile, 255 * 32 + 31, 255),
    ):
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)
        report = verify_directory(directory, vkey=vkey)
        data[position] ^= 1
        path.write_bytes(data)

        assert not report.ok
        assert report.first_bad_index == expected


def test_g01_negative_control(
    build: Build, fast_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit by somebody who rewrites every hash is held off by the signed root alone."""
    directory, vkey = build(5)
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
    entries = entries_of(directory)
    signed_text = (directory / "checkpoint").read_text()
    forge(directory, [entries[0].replace(b"ALLOW", b"DENY!"), *entries[1:]], stranger)
    (directory / "checkpoint").write_text(signed_text)

    assert not verify_directory(directory, vkey=vkey).ok
    monkeypatch.setattr(verify._Verifier, "_check_root", lambda *_: None)
    assert verify_directory(directory, vkey=vkey).ok


# -- G02, G03: records -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thousand() -> list[bytes]:
    """A thousand entries in canonical form."""
    from sidecar.audit.entry import EntryEncoder

    encoder = EntryEncoder(origin=ORIGIN, clock=ManualClock())
    return [encoder.encode(seq, {"kind": "note", "n": seq % 7}) for seq in range(1000)]


def tamperings(entries: list[bytes]) -> Iterator[tuple[str, int, list[bytes]]]:
    """(what, first index concerned, entries) for every kind of edit of the list."""
    rng = random.Random(2)
    for position in (0, 1, 255, 256, 500, 999):
        yield "delete", position, entries[:position] + entries[position + 1 :]
        yield "insert", position, [*entries[:position], entries[3], *entries[position:]]
        yield "duplicate", position + 1, [*entries[: position + 1], *entries[position:]]
        other = rng.choice([n for n in range(1000) if n != position])
        swapped = list(entries)
        swapped[position], swapped[other] = swapped[other], swapped[position]
        yield "reorder", min(position, other), swapped
    yield "cut", 999, entries[:999]
    yield "empty", 0, []


def test_g02_every_edit_of_a_thousand_records_is_found(
    fast_dir: Path, thousand: list[bytes], signing_key: Ed25519PrivateKey
) -> None:
    """Delete, insert, reorder, duplicate: found in the bundles with their first index."""
    directory = fast_dir / "log"
    forge(directory, thousand, signing_key)
    vkey = format_vkey(ORIGIN, signing_key.public_key())
    signed_text = (directory / "checkpoint").read_text()
    assert verify_directory(directory, vkey=vkey).ok

    for what, index, edited in tamperings(thousand):
        forge(directory, edited, signing_key)
        (directory / "checkpoint").write_text(signed_text)
        report = verify_directory(directory, vkey=vkey)

        assert not report.ok, (what, index)
        assert report.first_bad_index == index, (what, index, report.problems[:3])


def test_g02_negative_control(
    fast_dir: Path,
    thousand: list[bytes],
    signing_key: Ed25519PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With root and number unchecked a reordered log passes."""
    directory = fast_dir / "log"
    forge(directory, thousand, signing_key)
    signed_text = (directory / "checkpoint").read_text()
    vkey = format_vkey(ORIGIN, signing_key.public_key())
    forge(directory, [*thousand[500:], *thousand[:500]], signing_key)
    (directory / "checkpoint").write_text(signed_text)
    monkeypatch.setattr(verify._Verifier, "_check_root", lambda *_: None)
    assert not verify_directory(directory, vkey=vkey).ok

    monkeypatch.setattr(verify, "_check_entry", lambda *_, **__: None)

    assert verify_directory(directory, vkey=vkey).ok


def test_g02_bundles_cannot_be_exchanged(build: Build) -> None:
    """Whole bundles swapped, removed or added are found."""
    directory, vkey = build(700, batch=True)
    one, other = directory / "tile/entries/000", directory / "tile/entries/001"
    first, second = one.read_bytes(), other.read_bytes()

    one.write_bytes(second)
    other.write_bytes(first)
    assert verify_directory(directory, vkey=vkey).first_bad_index == 0
    one.write_bytes(first)
    other.unlink()
    assert verify_directory(directory, vkey=vkey).first_bad_index == 256
    other.write_bytes(second)
    (directory / "tile/entries/003").write_bytes(second)
    report = verify_directory(directory, vkey=vkey)
    assert "unexpected file" in report.problems[0].what


def test_g03_a_cut_at_every_byte_offset_is_found(build: Build) -> None:
    """Each file cut at each length: only a cut inside the last frame is called torn."""
    directory, vkey = build(2, 2)
    frames_end = []

    for path in evidence(directory):
        data = path.read_bytes()
        is_wal = path.parent.name == "wal"
        for length in range(len(data)):
            path.write_bytes(data[:length])
            report = verify_directory(directory, vkey=vkey)
            if is_wal and report.ok:
                frames_end.append(length)
                continue
            assert not report.ok, (path, length)
            if not is_wal:
                assert not report.is_torn_only
            elif report.is_torn_only:
                assert report.size == 2
                assert report.torn_tail_bytes + max(frames_end) == length
        path.write_bytes(data)

    # Between frames behind the checkpoint a cut leaves a log that is whole: see G04.
    assert len(frames_end) == 2
    assert verify_directory(directory, vkey=vkey).unsigned_entries == 2


# -- G04 to G06: checkpoints -------------------------------------------------------------------


def test_g04_truncation_is_found_by_a_later_checkpoint_held_outside(
    open_log: Open, fields: Fields, fast_dir: Path
) -> None:
    """An older state, valid in itself, passes alone and fails against any later checkpoint."""
    log = open_log()
    log.append_sync(fields(0))
    log.checkpoint_sync()
    shutil.copytree(log.directory, fast_dir / "old")
    held = []
    for number in range(4):
        log.append_sync(fields(number))
        held.append(log.checkpoint_sync())

    assert verify_directory(fast_dir / "old", vkey=log.vkey).ok
    for text in held:
        report = verify_directory(fast_dir / "old", vkey=log.vkey, held_checkpoints=[text])
        assert not report.ok
        assert report.first_bad_index == 1
    assert verify_directory(log.directory, vkey=log.vkey, held_checkpoints=held).ok


def test_g04_tail_cut_between_frames_is_found_after_the_next_checkpoint(
    open_log: Open, fields: Fields, fast_dir: Path
) -> None:
    """Whole unsigned frames cut off: a receipt's checkpoint that covers them tells."""
    log = open_log()
    for number in range(3):
        log.append_sync(fields(number))
    shutil.copytree(log.directory, fast_dir / "cut")
    receipt = log.checkpoint_sync()
    segment = next((fast_dir / "cut" / "wal").iterdir())
    segment.write_bytes(segment.read_bytes()[:52])

    assert verify_directory(fast_dir / "cut", vkey=log.vkey).size == 0
    assert not verify_directory(fast_dir / "cut", vkey=log.vkey, held_checkpoints=[receipt]).ok


def test_g05_a_fork_is_named_with_both_heads(
    fast_dir: Path, thousand: list[bytes], signing_key: Ed25519PrivateKey
) -> None:
    """Two logs signed by the same key that disagree below a held checkpoint."""
    vkey = format_vkey(ORIGIN, signing_key.public_key())
    forge(fast_dir / "one", thousand[:20], signing_key)
    held = (fast_dir / "one" / "checkpoint").read_text()
    forked = [line.replace(b'"n":3', b'"n":4') for line in thousand[:30]]
    forge(fast_dir / "two", forked, signing_key)

    report = verify_directory(fast_dir / "two", vkey=vkey, held_checkpoints=[held])

    assert verify_directory(fast_dir / "two", vkey=vkey).ok
    assert [problem.what.count("root") for problem in report.problems] == [1]
    assert "no consistency proof exists" in report.problems[0].what


@pytest.mark.parametrize(
    "case", ["origin", "key", "both", "second line", "expired", "none", "torn"]
)
def test_g06_another_origin_key_or_signature_is_refused(
    fast_dir: Path, thousand: list[bytes], signing_key: Ed25519PrivateKey, case: str
) -> None:
    """Whoever else signs, whatever else is signed, whenever it was: no pass."""
    directory = fast_dir / "log"
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
    forge(directory, thousand[:3], signing_key)
    vkey: str | None = format_vkey(ORIGIN, signing_key.public_key())
    assert verify_directory(directory, vkey=vkey).ok
    path = directory / "checkpoint"
    text = path.read_text(encoding="utf-8")
    if case == "origin":
        vkey = format_vkey("example.com/gate/host-2", signing_key.public_key())
    elif case == "key":
        forge(directory, thousand[:3], stranger)
    elif case == "both":
        forge(directory, thousand[:3], stranger, origin="example.com/gate/host-2")
    elif case == "second line":
        path.write_text(text + text.splitlines()[-1] + "\n", encoding="utf-8")
    elif case == "expired":
        vkey = f"{vkey} not-after=2025-10-09T08:53:20Z"
    elif case == "none":
        vkey = None
    else:
        path.write_text(text[:-2], encoding="utf-8")

    report = verify_directory(directory, vkey=vkey)

    assert not report.ok
    assert report.problems


def test_g06_a_key_that_is_not_expired_yet_passes(
    fast_dir: Path, thousand: list[bytes], signing_key: Ed25519PrivateKey
) -> None:
    """Expiry counts for entries at and after it; any time zone will do."""
    forge(fast_dir / "log", thousand[:3], signing_key)
    vkey = format_vkey(ORIGIN, signing_key.public_key())

    for suffix in ("not-after=2025-10-09T08:53:21Z", "not-after=2025-10-09T10:53:21+02:00"):
        assert verify_directory(fast_dir / "log", vkey=f"{vkey} {suffix}\n").ok
    for suffix in ("not-after=soon", "not-after=2027-01-01T00:00:00", "not-before=x", "x"):
        assert not verify_directory(fast_dir / "log", vkey=f"{vkey} {suffix}").ok


@pytest.mark.parametrize("guard", ["signature", "origin", "expiry"])
def test_g06_negative_control(
    fast_dir: Path,
    thousand: list[bytes],
    signing_key: Ed25519PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    guard: str,
) -> None:
    """Each guard patched out lets its own attack pass."""
    directory = fast_dir / "log"
    vkey = format_vkey(ORIGIN, signing_key.public_key())
    forge(directory, thousand[:3], signing_key)
    if guard == "signature":
        text = (directory / "checkpoint").read_bytes()
        (directory / "checkpoint").write_bytes(text[:-8] + b"AAAAAA=\n")
        assert not verify_directory(directory, vkey=vkey).ok
        real = verify._open_note

        class AnyKey:
            def verify(self, *_: object) -> None: ...

        monkeypatch.setattr(
            verify,
            "_open_note",
            lambda data, key: real(data, verify._Key(key.name, key.key_id, AnyKey(), "")),  # type: ignore[arg-type]
        )
    elif guard == "origin":
        foreign = [line.replace(b"host-1", b"host-2") for line in thousand[:3]]
        forge(directory, foreign, signing_key)
        assert not verify_directory(directory, vkey=vkey).ok
        monkeypatch.setattr(verify, "_check_entry", lambda *_, **__: None)
    else:
        assert not verify_directory(directory, vkey=f"{vkey} not-after=2001-01-01T00:00:00Z").ok
        monkeypatch.setattr(verify, "_moment", lambda text: "")
        vkey = f"{vkey} not-after=2001-01-01T00:00:00Z"

    assert verify_directory(directory, vkey=vkey).ok


# -- G07: a hostile directory ------------------------------------------------------------------


def sabotage(directory: Path, case: str) -> None:
    """Do to a good log what *case* says."""
    bundle = next((directory / "tile/entries").rglob("3"))
    match case:
        case "empty directory":
            shutil.rmtree(directory)
            directory.mkdir()
        case "no directory":
            shutil.rmtree(directory)
        case "file for directory":
            shutil.rmtree(directory)
            directory.write_bytes(b"garbage")
        case "symlinked directory":
            directory.rename(directory.with_name("elsewhere"))
            directory.symlink_to(directory.with_name("elsewhere"))
        case "symlinked bundle":
            bundle.rename(directory / "elsewhere")
            bundle.symlink_to(directory / "elsewhere")
        case "symlinked wal":
            (directory / "wal").rename(directory.with_name("elsewhere"))
            (directory / "wal").symlink_to(directory.with_name("elsewhere"))
        case "pipe for checkpoint":
            (directory / "checkpoint").unlink()
            os.mkfifo(directory / "checkpoint")
        case "directory for bundle":
            bundle.unlink()
            bundle.mkdir()
        case "huge bundle":
            os.truncate(bundle, 10 * 1024**3)
        case "huge checkpoint":
            os.truncate(directory / "checkpoint", 10 * 1024**3)
        case "huge segment":
            os.truncate(next((directory / "wal").iterdir()), 10 * 1024**3)
        case "huge tile":
            os.truncate(next((directory / "tile/0").rglob("3")), 10 * 1024**3)
        case "empty files":
            for path in evidence(directory):
                path.write_bytes(b"")
        case "stray tile":
            (directory / "tile/0/x000").write_bytes(b"")
        case "stray segment":
            (directory / "wal/0").write_bytes(b"")
        case "stray link":
            (directory / "tile/7").symlink_to("/")
        case "no checkpoint":
            (directory / "checkpoint").unlink()
        case "no wal":
            shutil.rmtree(directory / "wal")
        case "no tiles":
            shutil.rmtree(directory / "tile")


CASES = [
    "empty directory",
    "no directory",
    "file for directory",
    "symlinked directory",
    "symlinked bundle",
    "symlinked wal",
    "pipe for checkpoint",
    "directory for bundle",
    "huge bundle",
    "huge checkpoint",
    "huge segment",
    "huge tile",
    "empty files",
    "stray tile",
    "stray segment",
    "stray link",
    "no checkpoint",
    "no wal",
    "no tiles",
]


@pytest.mark.parametrize("case", CASES)
def test_g07_a_hostile_directory_is_refused(build: Build, case: str) -> None:
    """Links, pipes, holes of 10 GB, nothing at all: refused at once, without reading them."""
    directory, vkey = build(3)
    assert verify_directory(directory, vkey=vkey).ok
    sabotage(directory, case)

    report = verify_directory(directory, vkey=vkey)

    assert not report.ok
    assert report.problems


def test_g07_negative_control(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look at what kind of file it is, a link to anywhere is followed."""
    directory, vkey = build(3)
    sabotage(directory, "symlinked directory")
    monkeypatch.setattr(verify._Verifier, "_check_directory", lambda self: None)

    assert verify_directory(directory, vkey=vkey).ok


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_g07_garbage_in_any_file_never_raises(
    fast_dir: Path, signing_key: Ed25519PrivateKey, thousand: list[bytes], data: st.DataObject
) -> None:
    """Whatever bytes replace a file: a report, not ok, and no exception."""
    directory = fast_dir / "log"
    forge(directory, thousand[:4], signing_key, signed=3)
    path = data.draw(st.sampled_from(evidence(directory)))
    original = path.read_bytes()
    kind = data.draw(st.sampled_from(["random", "spliced", "repeated"]))
    if kind == "random":
        replaced = data.draw(st.binary(max_size=300))
    elif kind == "spliced":
        cut = data.draw(st.integers(0, len(original)))
        replaced = original[:cut] + data.draw(st.binary(min_size=1, max_size=30)) + original[cut:]
    else:
        replaced = original * 2
    if replaced == original:
        return
    path.write_bytes(replaced)

    report = verify_directory(directory, vkey=format_vkey(ORIGIN, signing_key.public_key()))

    assert not report.ok


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"seq":0}',
        b"\xff\xfe",
        b'{"a":1e5}',
        b'{"a":9007199254740993}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":NaN}',
        b'{"a":1,"a":2}',
    ],
)
def test_g08_signed_entries_of_bad_form_are_refused(
    fast_dir: Path, signing_key: Ed25519PrivateKey, line: bytes
) -> None:
    """Even what the log itself signed must be canonical, bounded and its own."""
    forge(fast_dir / "log", [line], signing_key)

    report = verify_directory(fast_dir / "log", vkey=format_vkey(ORIGIN, signing_key.public_key()))

    assert not report.ok
    assert report.first_bad_index == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"seq":0', b'"seq":1'),
        (b'"v":1', b'"v":2'),
        (b"host-1", b"host-3"),
        (b'"kind":"note"', b'"kind":"No te"'),
        (b'"kind":"note"', b'"kind":"no\\u0007te"'),
        (b'"kind":"note"', b'"kind":"note","l":"\\n"'),
        (b'"kind":"note"', b'"kind":"note","l":"\xe2\x80\xa8"'),
        (b'"kind":"note"', b'"kind":"note","l":"\x7f"'),
        (b'"boot_ns":"1000000000"', b'"boot_ns":"-1"'),
        (b'"boot_ns":"1000000000",', b""),
        (b"T08", b" 08"),
        (b'"n":0', b'"n": 0'),
    ],
)
def test_g08_signed_entries_with_wrong_fields_are_refused(
    fast_dir: Path,
    signing_key: Ed25519PrivateKey,
    thousand: list[bytes],
    old: bytes,
    new: bytes,
) -> None:
    """Number, version, origin, kind, times, controls and spelling are each checked."""
    line = thousand[0].replace(old, new)
    assert line != thousand[0]
    forge(fast_dir / "log", [line], signing_key)

    report = verify_directory(fast_dir / "log", vkey=format_vkey(ORIGIN, signing_key.public_key()))

    assert (report.ok, report.first_bad_index) == (False, 0)


def test_g08_controls_negative_control(
    fast_dir: Path,
    signing_key: Ed25519PrivateKey,
    thousand: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the look at controls an entry that steers a terminal passes."""
    import re

    line = thousand[0].replace(b'"kind":"note"', b'"kind":"note","l":"\x7f"')
    forge(fast_dir / "log", [line], signing_key)
    monkeypatch.setattr(verify, "_STEERING", re.compile("(?!)"))

    assert verify_directory(fast_dir / "log", vkey=format_vkey(ORIGIN, signing_key.public_key())).ok


# -- a log that moves --------------------------------------------------------------------------


def test_a_log_that_is_written_to_verifies(open_log: Open, fields: Fields) -> None:
    """Between and during appends and checkpoints the verifier finds a whole log."""
    log = open_log()
    turns: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def work() -> None:
        while turns.get():
            log.append_sync(fields(log.size))
            if log.size % 3 == 0:
                log.checkpoint_sync()

    writer = threading.Thread(target=work)
    writer.start()
    reports = []
    for _ in range(40):
        turns.put(True)
        reports.append(verify_directory(log.directory, vkey=log.vkey))
    turns.put(False)
    writer.join()

    assert all(report.ok for report in reports)
    assert verify_directory(log.directory, vkey=log.vkey).size + 3 > 40


def test_an_empty_log_passes(open_log: Open) -> None:
    """A log without entries has a signed checkpoint of nothing."""
    log = open_log()

    report = verify_directory(log.directory, vkey=log.vkey)

    assert (report.ok, report.size, report.root) == (True, 0, EMPTY_ROOT.hex())


# -- proofs ------------------------------------------------------------------------------------


def test_a_proof_verifies_alone(build: Build) -> None:
    """An entry, its path and the checkpoint are enough; through JSON and back."""
    directory, vkey = build(300, batch=True)

    for index in (0, 1, 255, 256, 299, 300):
        proof = json.loads(json.dumps(prove(directory, index)))
        report = verify_proof(proof, vkey=vkey)
        assert report.ok, report.problems


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", 4),
        ("index", -1),
        ("index", True),
        ("index", "3"),
        ("size", 4),
        ("origin", "example.com/other"),
        ("version", 2),
        ("path", []),
        ("path", "x"),
        ("path", ["AA=="]),
        ("path", [1]),
        ("entry", None),
        ("entry", "\ud800"),
        ("checkpoint", ""),
        ("checkpoint", "x\n" * 10),
        ("checkpoint", None),
    ],
)
def test_a_changed_proof_is_refused(build: Build, name: str, value: object) -> None:
    """Every field of a proof counts."""
    directory, vkey = build(6)
    proof = prove(directory, 3)

    report = verify_proof({**proof, name: value}, vkey=vkey)

    assert not report.ok
    assert not verify_proof({key: item for key, item in proof.items() if key != name}, vkey=vkey).ok


def test_a_proof_of_another_entry_is_refused(build: Build) -> None:
    """An edited line, or a valid line at another index, is not in the tree."""
    directory, vkey = build(6)
    proof = prove(directory, 3)
    edited = {**proof, "entry": proof["entry"].replace("ALLOW", "DENY!")}

    report = verify_proof(edited, vkey=vkey)

    assert (report.ok, report.first_bad_index) == (False, 3)
    assert not verify_proof({**prove(directory, 2), "path": proof["path"]}, vkey=vkey).ok
    assert not verify_proof({**proof, "path": [*proof["path"], proof["path"][0]]}, vkey=vkey).ok
    assert not verify_proof(proof, vkey=None).ok


def test_a_changed_proof_negative_control(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without walking the path any entry is in any tree."""
    directory, vkey = build(6)
    proof = prove(directory, 3)
    root = verify_directory(directory, vkey=vkey).root
    monkeypatch.setattr(verify, "_root_of_path", lambda *_: bytes.fromhex(root))

    edited = {**proof, "entry": proof["entry"].replace("ALLOW", "DENY!")}

    assert verify_proof(edited, vkey=vkey).ok


# -- the program -------------------------------------------------------------------------------


def run(*arguments: object, program: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = program or [sys.executable, "-m", "sidecar.audit.verify"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def keyed(build: Build, fast_dir: Path) -> tuple[Path, Path]:
    """A good log and a file with its key."""
    directory, vkey = build(3, 1)
    key = fast_dir / "log.vkey"
    key.write_text(f"{vkey}\n")
    return directory, key


def test_the_verifier_shares_no_code(keyed: tuple[Path, Path], fast_dir: Path) -> None:
    """Its file alone, copied elsewhere, does the work; it imports nothing of ours."""
    source = Path(verify.__file__)
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not any(name.startswith(("sidecar", ".")) for name in imported)
    third_party = {name.split(".")[0] for name in imported} - sys.stdlib_module_names
    assert third_party == {"cryptography"}
    directory, key = keyed
    shutil.copy(source, fast_dir / "alone.py")

    done = run(directory, "--key", key, program=[sys.executable, str(fast_dir / "alone.py")])

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nVERIFIED\n")


def test_the_module_loads_nothing_else(keyed: tuple[Path, Path]) -> None:
    """``python -m sidecar.audit.verify`` does not load the writer either."""
    code = (
        "import sys, sidecar.audit.verify;"
        "print([n for n in sys.modules if n.startswith('sidecar')])"
    )

    done = run(program=[sys.executable, "-c", code])

    assert done.stdout.strip() == "['sidecar', 'sidecar.audit', 'sidecar.audit.verify']"


def test_exit_statuses(
    keyed: tuple[Path, Path], fast_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 only for a full pass; damage, torn tail and wrong use each have their own."""
    directory, key = keyed
    segment = next((directory / "wal").iterdir())
    good = segment.read_bytes()

    assert verify.main([str(directory), "--key", str(key)]) == 0
    assert "3 signed, 1 behind" in capsys.readouterr().out
    segment.write_bytes(good + b"HFF1")
    assert verify.main([str(directory), "--key", str(key)]) == 3
    segment.write_bytes(good[:80])
    assert verify.main([str(directory), "--key", str(key)]) == 1
    assert "NOT VERIFIED" in capsys.readouterr().out
    segment.write_bytes(good)
    assert verify.main([str(directory), "--key", str(fast_dir / "missing")]) == 2
    for wrong in ([], [str(directory)], ["--key", str(key)]):
        with pytest.raises(SystemExit) as caught:
            verify.main(wrong)
        assert caught.value.code == 2


def test_g07_a_verifier_that_breaks_does_not_pass(
    keyed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours ends with a status of its own, not with 0."""
    directory, key = keyed

    def broken(self: object) -> None:
        raise AssertionError("bug")

    monkeypatch.setattr(verify._Verifier, "run", broken)

    assert verify.main([str(directory), "--key", str(key)]) == 4


def test_held_checkpoints_come_from_notes_and_anchor_files(
    open_log: Open, fields: Fields, fast_dir: Path, clock: ManualClock
) -> None:
    """One note, or the list of an anchor file with a torn last line; each one counts."""
    holder = AnchorFile(fast_dir / "anchors", clock=clock)
    log = open_log(anchors=[holder])
    log.append_sync(fields())
    note = fast_dir / "note"
    note.write_text(log.checkpoint_sync(), encoding="utf-8")
    shutil.copytree(log.directory, fast_dir / "old")
    log.append_sync(fields())
    log.close()
    with holder.path.open("ab") as file:
        file.write(b'{"checkpoint": "half')
    key = fast_dir / "key"
    key.write_text(log.vkey)

    def status(directory: Path, *held: Path) -> int:
        named = [part for path in held for part in ("--checkpoint", str(path))]
        return verify.main([str(directory), "--key", str(key), *named])

    assert status(log.directory, note, holder.path) == 0
    assert status(fast_dir / "old", note) == 0
    assert status(fast_dir / "old", holder.path) == 1
    note.write_text("garbage")
    assert status(log.directory, note) == 1
    note.write_text("{}\n")
    assert status(log.directory, note) == 2


def test_a_proof_file_is_verified(keyed: tuple[Path, Path], fast_dir: Path) -> None:
    """``--proof`` needs no directory; anything that is no proof fails."""
    directory, key = keyed
    proof = fast_dir / "proof.json"
    proof.write_text(json.dumps(prove(directory, 1)), encoding="utf-8")

    assert verify.main(["--proof", str(proof), "--key", str(key)]) == 0
    for text, expected in (("[]", 1), ("{}", 1), ("{", 2), ("[" * 100_000, 2)):
        proof.write_text(text)
        assert verify.main(["--proof", str(proof), "--key", str(key)]) == expected
    os.truncate(proof, 1024**3)
    assert verify.main(["--proof", str(proof), "--key", str(key)]) == 2


def test_output_cannot_steer_the_terminal(
    keyed: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Names found on disk are shown escaped."""
    directory, key = keyed
    (directory / "tile/0/\x1b[31mred").write_bytes(b"")

    assert verify.main([str(directory), "--key", str(key)]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[31mred" in out


def test_forging_helper_makes_what_the_writer_makes(
    fast_dir: Path, build: Build, signing_key: Ed25519PrivateKey
) -> None:
    """The tests' own forger writes the same tiles as the log, so its attacks are real."""
    directory, _ = build(300, batch=True)
    entries = entries_of(directory)
    forge(fast_dir / "forged", entries, signing_key)

    for name in ("tile/0/000", "tile/1/000.p/1", "tile/entries/001.p/45", "checkpoint", "head"):
        assert (fast_dir / "forged" / name).read_bytes() == (directory / name).read_bytes()
    assert pack_entries(entries[:256]) == (directory / "tile/entries/000").read_bytes()
