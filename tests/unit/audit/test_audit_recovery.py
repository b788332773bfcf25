# SPDX-License-Identifier: Apache-2.0
"""Crashes, full disks, restored backups: what is acknowledged stays, what is torn goes."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit import files as files_module
from sidecar.audit import head as head_module
from sidecar.audit import recovery as recovery_module
from sidecar.audit.anchors import MemoryAnchor
from sidecar.audit.files import OsFiles
from sidecar.audit.head import Head, HeadSigner, encode_head, parse_head, read_head
from sidecar.audit.log import AuditLog, LogLimits
from sidecar.audit.merkle import CompactRange, leaf_hash
from sidecar.audit.reader import read_entries
from sidecar.audit.verify import verify_directory
from sidecar.clock import ManualClock, SystemClock
from sidecar.errors import EnvironmentFailure, HoldfastError, IntegrityError

Open = Callable[..., AuditLog]
Fields = Callable[..., dict[str, Any]]
Build = Callable[..., tuple[Path, str]]


def lines(directory: Path) -> list[bytes]:
    found = read_entries(directory, 0, 10_000, is_unsigned_included=True)
    return [entry.line for entry in found]


def segment_of(directory: Path) -> Path:
    return next((directory / "wal").iterdir())


# -- G03: cuts ---------------------------------------------------------------------------------


def test_g03_opening_after_a_cut_at_every_byte_of_wal(
    build: Build, open_log: Open, fast_dir: Path, spy: Any
) -> None:
    """A cut in the unsigned tail loses the torn frame alone; a cut before it is refused."""
    source, vkey = build(2, 2)
    data, original = segment_of(source).read_bytes(), lines(source)
    ends = [52]
    for line in original:
        ends.append(ends[-1] + 60 + 2 + len(line))
    target = fast_dir / "cut"

    for length in [*range(0, ends[2], 5), *range(ends[2] - 3, len(data) + 1, 2)]:
        shutil.copytree(source, target)
        segment_of(target).write_bytes(data[:length])
        if length < ends[2]:
            with pytest.raises(IntegrityError):
                open_log(target, files=spy())
        else:
            whole = max(number for number, end in enumerate(ends) if end <= length)
            log = open_log(target, files=spy())
            assert log.recovery.size == whole
            assert log.recovery.torn_bytes == length - ends[whole]
            log.close()
            assert lines(target) == original[:whole]
            assert verify_directory(target, vkey=vkey).ok
        shutil.rmtree(target)


def test_g03_opening_after_a_cut_in_any_other_file(build: Build, open_log: Open, spy: Any) -> None:
    """Tiles, bundles, head and checkpoint are written whole: a cut one is refused."""
    source, _ = build(3)
    names = ("checkpoint", "head", "tile/0/000.p/3", "tile/entries/000.p/3")

    for name in names:
        path = source / name
        data = path.read_bytes()
        for length in range(0, len(data), 3):
            path.write_bytes(data[:length])
            with pytest.raises(IntegrityError):
                open_log(source, files=spy())
        path.unlink()
        with pytest.raises(IntegrityError):
            open_log(source, files=spy())
        path.write_bytes(data)
    open_log(source, files=spy())


def test_g03_a_torn_tail_is_reported_until_it_is_cut(
    build: Build, open_log: Open, fields: Fields, caplog: pytest.LogCaptureFixture
) -> None:
    """The verifier says torn, opening cuts with a warning, and the log goes on."""
    source, vkey = build(2, 1)
    with segment_of(source).open("ab") as file:
        file.write(b"HFF1\x00\x00\x02")

    report = verify_directory(source, vkey=vkey)
    assert (report.ok, report.is_torn_only, report.torn_tail_bytes) == (False, True, 7)

    log = open_log(source)
    assert (log.recovery.torn_bytes, log.recovery.unsigned_entries) == (7, 1)
    assert "torn tail" in caplog.text
    log.append_sync(fields())
    log.close()
    assert verify_directory(source, vkey=vkey).size == 4


@pytest.mark.parametrize("name", ["checkpoint", "head", "tile", "wal"])
def test_an_emptied_log_is_refused(build: Build, open_log: Open, name: str) -> None:
    """Nothing that a log had can be taken away unnoticed."""
    source, vkey = build(3, 1)
    path = source / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(IntegrityError):
        open_log(source)
    assert not verify_directory(source, vkey=vkey).ok


@pytest.mark.parametrize("flips", range(40))
def test_g01_opening_with_a_flipped_bit_is_refused_or_harmless(
    build: Build, open_log: Open, spy: Any, flips: int
) -> None:
    """A flipped bit at the right edge or in wal is refused; nothing acked is ever dropped."""
    source, _ = build(4, 3, name=f"flip-{flips}")
    original = lines(source)
    rng = random.Random(flips)
    path = rng.choice(
        [item for item in source.rglob("*") if item.is_file() and item.stat().st_size]
    )
    data = bytearray(path.read_bytes())
    position = rng.randrange(len(data) * 8)
    data[position // 8] ^= 1 << position % 8
    path.write_bytes(data)

    with pytest.raises(IntegrityError):
        open_log(source, files=spy())
    data[position // 8] ^= 1 << position % 8
    path.write_bytes(data)
    open_log(source, files=spy()).close()
    assert lines(source) == original


# -- G05: forks and restored backups -----------------------------------------------------------


def test_g05_a_restored_backup_is_refused_by_its_holder(
    build: Build, open_log: Open, fields: Fields, fast_dir: Path
) -> None:
    """A directory restored from a backup is a fork; a holder outside tells, with both heads."""
    holder = MemoryAnchor("holder")
    log = open_log(anchors=[holder])
    log.append_sync(fields(0))
    log.checkpoint_sync()
    shutil.copytree(log.directory, fast_dir / "backup")
    old_root = holder.held[-1].splitlines()[2]
    log.append_sync(fields(1))
    log.checkpoint_sync()
    log.close()

    with pytest.raises(IntegrityError, match="holder holds a checkpoint of 2") as caught:
        open_log(fast_dir / "backup", anchors=[holder])

    import base64

    assert base64.b64decode(old_root).hex() in str(caught.value)
    assert base64.b64decode(holder.held[-1].splitlines()[2]).hex() in str(caught.value)


def test_g05_two_continuations_of_one_backup_are_a_fork(
    open_log: Open, fields: Fields, fast_dir: Path
) -> None:
    """Both continuations are valid alone; next to a checkpoint of the other each is refused."""
    holder = MemoryAnchor("holder")
    log = open_log()
    log.append_sync(fields(0))
    log.close()
    shutil.copytree(log.directory, fast_dir / "backup")
    log = open_log(anchors=[holder])
    log.append_sync(fields(1))
    log.close()
    other = open_log(fast_dir / "backup")
    other.append_sync(fields(2))
    other.close()

    assert verify_directory(fast_dir / "backup", vkey=log.vkey).ok
    report = verify_directory(fast_dir / "backup", vkey=log.vkey, held_checkpoints=holder.held)
    assert any("no consistency proof exists" in problem.what for problem in report.problems)
    with pytest.raises(IntegrityError, match="fork"):
        open_log(fast_dir / "backup", anchors=[holder])


def test_g05_restored_backup_negative_control(
    open_log: Open, fields: Fields, fast_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the check against holders the fork is opened and continued."""
    holder = MemoryAnchor("holder")
    log = open_log(anchors=[holder])
    shutil.copytree(log.directory, fast_dir / "backup")
    log.append_sync(fields(1))
    log.close()
    monkeypatch.setattr("sidecar.audit.opening.check_holder", lambda *_, **__: None)

    fork = open_log(fast_dir / "backup", anchors=[holder])

    assert fork.append_sync(fields(2)).seq == 0


def test_g05_old_and_new_files_do_not_mix(
    open_log: Open, fields: Fields, fast_dir: Path, spy: Any
) -> None:
    """Whichever files are restored from a backup: refused, or nothing is lost."""
    log = open_log()
    for number in range(3):
        log.append_sync(fields(number))
    log.checkpoint_sync()
    shutil.copytree(log.directory, fast_dir / "old")
    for number in range(3):
        log.append_sync(fields(number))
    log.checkpoint_sync()
    shutil.copytree(log.directory, fast_dir / "new")
    parts = ("checkpoint", "head", "tile", "wal")

    refused = 0
    for count in range(1, len(parts)):
        for restored in itertools.combinations(parts, count):
            mixed = fast_dir / "-".join(restored)
            shutil.copytree(fast_dir / "new", mixed)
            for name in restored:
                path, source = mixed / name, fast_dir / "old" / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
            try:
                opened = open_log(mixed, files=spy())
            except IntegrityError:
                refused += 1
            else:
                assert opened.recovery.size == 6, restored
                assert "wal" not in restored

    assert refused >= 9


def root_of(entries: list[bytes]) -> bytes:
    tree = CompactRange()
    for entry in entries:
        tree.append(leaf_hash(entry))
    return tree.root()


@pytest.fixture
def signer(fast_dir: Path, signing_key: Ed25519PrivateKey) -> HeadSigner:
    (fast_dir / "tmp").mkdir()
    last = Head(origin="example.com/log", size=2, root=root_of([b"a", b"b"]))
    return HeadSigner(
        fast_dir, files=OsFiles(), origin="example.com/log", signing_key=signing_key, last=last
    )


FORKS = [
    (2, root_of([b"a", b"x"]), []),
    (3, root_of([b"a", b"x", b"c"]), [leaf_hash(b"c")]),
    (1, root_of([b"a"]), []),
    (0, root_of([]), []),
    (3, root_of([b"a", b"b", b"c"]), []),
]


@pytest.mark.parametrize(("size", "root", "proof"), FORKS)
def test_g05_the_signer_refuses_what_does_not_extend(
    signer: HeadSigner, fast_dir: Path, size: int, root: bytes, proof: list[bytes]
) -> None:
    """Another root, a shorter tree, a missing proof: refused with both heads, nothing kept."""
    with pytest.raises(IntegrityError, match="refusing to sign a fork") as caught:
        signer.sign(size=size, root=root, proof=proof)

    assert root.hex() in caught.value.message
    assert signer.last.root.hex() in caught.value.message
    assert read_head(fast_dir) is None


def test_g05_the_signer_negative_control(
    signer: HeadSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the consistency check patched out every fork is signed."""
    monkeypatch.setattr(head_module, "verify_consistency", lambda **_: None)

    for size, root, proof in FORKS:
        assert signer.sign(size=size, root=root, proof=proof).size == size


def test_g05_the_head_is_durable_before_it_is_signed(
    fast_dir: Path, signing_key: Ed25519PrivateKey, spy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that could not be written and synced is not signed."""
    (fast_dir / "tmp").mkdir()
    monkeypatch.setattr(
        head_module, "sign_checkpoint", lambda **_: pytest.fail("signed before it was durable")
    )
    for step in range(5):
        signer = HeadSigner(
            fast_dir,
            files=spy(fail_at=step),
            origin="example.com/log",
            signing_key=signing_key,
            last=None,
        )
        with pytest.raises(OSError, match="injected"):
            signer.sign(size=1, root=root_of([b"a"]), proof=[])


def test_the_same_head_may_be_signed_again(signer: HeadSigner, fast_dir: Path) -> None:
    """After a crash between head and checkpoint the same text is signed."""
    head = signer.last

    one = signer.sign(size=head.size, root=head.root, proof=[])
    other = signer.sign(size=head.size, root=head.root, proof=[])

    assert one.text == other.text
    assert read_head(fast_dir) == head


def test_a_damaged_head_is_refused() -> None:
    """Every bit of the head file counts."""
    data = encode_head(Head(origin="example.com/log", size=7, root=bytes(32)))

    assert parse_head(data).size == 7
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            parse_head(bytes(flipped))


# -- G10: failing disks ------------------------------------------------------------------------


def scenario(open_log: Open, directory: Path, fields: Fields, files: Any) -> list[bytes]:
    """Use a log in every way; return the entries that were acknowledged."""
    acked: list[bytes] = []
    log = None
    with contextlib.suppress(EnvironmentFailure):
        log = open_log(directory, files=files)
        for number in range(5):
            ticket = log.append_sync(fields(number))
            acked.append(log._encoder.encode(ticket.seq, fields(number)))
            if number % 2:
                log.checkpoint_sync()
    if log is not None:
        log.close()
        if log.failure:
            with pytest.raises(EnvironmentFailure):
                log.append(fields())
    return acked


@pytest.mark.parametrize("how", [5, 28, "short"])
def test_g10_a_fault_at_every_operation_loses_nothing_acknowledged(
    open_log: Open, fields: Fields, fast_dir: Path, signing_key: Any, spy: Any, how: int | str
) -> None:
    """EIO, ENOSPC or a short write at the n-th operation, for every n: acked entries survive."""
    only = "write" if how == "short" else ""
    probe = spy(only=only)
    scenario(open_log, fast_dir / "probe", fields, probe)
    assert probe.count > 15

    for step in range(probe.count):
        directory = fast_dir / f"step-{step}"
        files = spy(fail_at=step, how=how, only=only)
        acked = scenario(open_log, directory, fields, files)
        assert files.count > step

        log = open_log(directory, files=spy())
        vkey = log.vkey
        log.append_sync(fields(99))
        log.close()
        stored = lines(directory)
        assert stored[: len(acked)] == acked
        assert verify_directory(directory, vkey=vkey).ok


def test_g10_a_fault_during_recovery_is_recovered_from(
    build: Build, open_log: Open, fast_dir: Path, spy: Any
) -> None:
    """Opening a torn log fails at every operation in turn; the next opening finds all entries."""
    source, vkey = build(3, 2)
    with segment_of(source).open("ab") as file:
        file.write(b"HFF1")
    original = lines(source)
    probe = spy()
    shutil.copytree(source, fast_dir / "probe")
    open_log(fast_dir / "probe", files=probe).close()

    for step in range(probe.count):
        directory = fast_dir / f"step-{step}"
        shutil.copytree(source, directory)
        with contextlib.suppress(EnvironmentFailure):
            open_log(directory, files=spy(fail_at=step)).close()
        open_log(directory, files=spy()).close()
        assert lines(directory) == original
        assert verify_directory(directory, vkey=vkey).ok


def test_g10_short_write_negative_control(
    open_log: Open, fields: Fields, fast_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a short write counted as a whole one, an acknowledged entry would be half a record."""

    class ShortFiles(OsFiles):
        is_short = False

        def write(self, descriptor: int, data: bytes | memoryview) -> int:
            return super().write(descriptor, data[: len(data) // 2] if self.is_short else data)

    monkeypatch.setattr(
        "sidecar.audit.wal.write_all", lambda files, fd, data: files.write(fd, data)
    )
    files = ShortFiles()
    log = open_log(files=files)
    files.is_short = True
    acked = log.append_sync(fields())
    shutil.copytree(log.directory, fast_dir / "crashed")

    assert open_log(fast_dir / "crashed").recovery.size <= acked.seq


def test_g10_short_writes_alone_are_completed(
    open_log: Open, fields: Fields, fast_dir: Path
) -> None:
    """A file system that takes a byte at a time is slow, not broken."""

    class SlowFiles(OsFiles):
        def write(self, descriptor: int, data: bytes | memoryview) -> int:
            return super().write(descriptor, data[:7])

        def fdatasync(self, descriptor: int) -> None: ...

        def fsync(self, descriptor: int) -> None: ...

    log = open_log(files=SlowFiles())
    log.append_sync(fields())
    log.close()

    assert verify_directory(log.directory, vkey=log.vkey).size == 1


def test_a_disk_that_writes_nothing_is_an_error() -> None:
    """No progress is a failure, not an endless loop."""

    class Stuck(OsFiles):
        def write(self, descriptor: int, data: bytes | memoryview) -> int:
            return 0

    with pytest.raises(OSError, match="nothing"):
        files_module.write_all(Stuck(), 0, b"data")


def test_an_unreadable_log_is_an_environment_failure(
    build: Build, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails to read is named as such, not as tampering, and nothing is changed."""
    source, vkey = build(2)

    def broken(*_: Any, **__: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("sidecar.audit.opening.recover", broken)
    with pytest.raises(EnvironmentFailure, match="Input/output"):
        open_log(source)

    assert verify_directory(source, vkey=vkey).ok


# -- G11: sudden death -------------------------------------------------------------------------

ACK = struct.Struct(">QQ")


class NoSync(OsFiles):
    """SIGKILL leaves the page cache alone, so syncing would only make this slow."""

    def fdatasync(self, descriptor: int) -> None: ...

    def fsync(self, descriptor: int) -> None: ...

    def sync_directory(self, path: Path) -> None: ...


def run_child(directory: Path, key: Ed25519PrivateKey, out: int, turn: int) -> None:
    """Append from four threads for ever, and tell each acknowledged number."""
    limits = LogLimits(checkpoint_interval_s=0.002, max_segment_bytes=1024 * 1024 + 1)
    log = AuditLog.open(
        directory,
        origin="example.com/gate/host-1",
        signing_key=key,
        clock=SystemClock(),
        limits=limits,
        files=NoSync(),
    )

    def work(worker: int) -> None:
        number = 0
        while True:
            number += 1
            mark = turn * 1_000_000 + worker * 100_000 + number
            text = "x" * (number % 400)
            ticket = log.append_sync({"kind": "note", "mark": mark, "text": text})
            os.write(out, ACK.pack(ticket.seq, mark))

    workers = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def kill_a_child(body: Callable[[int], None], after_bytes: int) -> list[tuple[int, int]]:
    """Run *body* in a child, SIGKILL it after so many bytes of output; return what it said."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            body(writing)
        finally:
            os._exit(1)
    os.close(writing)
    said = b""
    while len(said) < after_bytes:
        part = os.read(reading, after_bytes - len(said))
        assert part, "the child died by itself"
        said += part
    os.kill(pid, signal.SIGKILL)
    while part := os.read(reading, 65536):
        said += part
    os.close(reading)
    os.waitpid(pid, 0)
    return list(ACK.iter_unpack(said[: len(said) // ACK.size * ACK.size]))


def test_g11_sigkill_at_any_moment_keeps_what_was_acknowledged(
    open_log: Open, fast_dir: Path, signing_key: Ed25519PrivateKey
) -> None:
    """Forty times: kill the writer, open again; every acknowledged entry is there and verifies."""
    rng = random.Random(11)
    directory = fast_dir / "log"
    acked: dict[int, int] = {}

    for turn in range(40):
        told = kill_a_child(
            lambda out, turn=turn: run_child(directory, signing_key, out, turn),  # type: ignore[misc]
            ACK.size * rng.randrange(1, 400),
        )
        assert not acked.keys() & dict(told).keys()
        acked.update(told)
        if turn % 5 == 4:
            log = open_log(directory, files=NoSync())
            log.close()
            report = verify_directory(directory, vkey=log.vkey)
            assert report.ok, report.problems
            assert report.size > max(acked)

    stored = {entry.seq: entry.fields()["mark"] for entry in read_entries(directory, 0, 10**6)}
    assert acked.items() <= stored.items()
    assert len(acked) > 500


def test_g11_sigkill_negative_control(
    open_log: Open, fast_dir: Path, signing_key: Ed25519PrivateKey
) -> None:
    """If appending counted as acknowledging, a kill would lose acknowledged entries."""

    class Stuck(NoSync):
        def write(self, descriptor: int, data: bytes | memoryview) -> int:
            if data[:4] == b"HFF1":
                threading.Event().wait()
            return super().write(descriptor, data)

    def body(out: int) -> None:
        log = AuditLog.open(
            fast_dir / "log",
            origin="example.com/gate/host-1",
            signing_key=signing_key,
            clock=SystemClock(),
            files=Stuck(),
        )
        for mark in range(10):
            os.write(out, ACK.pack(log.append({"kind": "note", "mark": mark}).seq, mark))
        signal.pause()

    told = kill_a_child(body, ACK.size * 10)

    assert len(told) == 10
    assert open_log().recovery.size == 0


# -- what a crash can leave --------------------------------------------------------------------


def test_a_head_ahead_of_its_checkpoint_is_signed_again(
    open_log: Open, fields: Fields, fast_dir: Path
) -> None:
    """A crash between head and checkpoint: the same head gets its signature on opening."""
    log = open_log()
    log.append_sync(fields(0))
    old = log.checkpoint_sync()
    log.append_sync(fields(1))
    new = log.checkpoint_sync()
    log.close()
    (log.directory / "checkpoint").write_text(old, encoding="utf-8")

    again = open_log()

    assert again.latest_checkpoint == new


@pytest.mark.parametrize("step", range(16))
def test_a_crash_during_creation_is_no_damage(
    open_log: Open, fields: Fields, fast_dir: Path, spy: Any, step: int
) -> None:
    """However far the first opening got, the second makes the log."""
    with contextlib.suppress(EnvironmentFailure):
        open_log(files=spy(fail_at=step)).close()

    log = open_log()

    assert log.append_sync(fields()).seq == 0


def test_leftover_scratch_files_are_removed(build: Build, open_log: Open) -> None:
    """What a crash left under ``tmp`` is of no use."""
    source, _ = build(1)
    (source / "tmp" / "checkpoint").write_bytes(b"half")

    open_log(source)

    assert not list((source / "tmp").iterdir())


def test_partial_tiles_go_when_the_full_one_came(open_log: Open, fields: Fields) -> None:
    """Partial tiles of every checkpoint stay until the full tile is durable, and then go."""
    log = open_log()
    for size in (1, 100, 254):
        while log.size < size:
            log.append(fields(log.size))
        log.append_sync(fields())
        log.checkpoint_sync()
    before = sorted(path.name for path in (log.directory / "tile/entries/000.p").iterdir())

    log.append_sync(fields())
    log.checkpoint_sync()

    assert before == ["101", "2", "255"]
    assert not (log.directory / "tile/entries/000.p").exists()
    assert verify_directory(log.directory, vkey=log.vkey).ok


def test_entries_that_differ_between_wal_and_tiles_are_refused(
    build: Build, open_log: Open, fast_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment of a sister log with the same numbers does not pass for this one's."""
    ours, _ = build(3, 0, name="ours")
    theirs, _ = build(3, 0, name="theirs")
    shutil.rmtree(ours / "wal")
    shutil.copytree(theirs / "wal", ours / "wal")

    with pytest.raises(IntegrityError, match="differs between wal and tiles"):
        open_log(ours)

    monkeypatch.setattr(recovery_module, "leaf_hash", lambda entry: b"")
    monkeypatch.setattr(recovery_module, "_tile_hash", lambda reader, seq: b"")
    with pytest.raises(IntegrityError, match="bundle"):
        open_log(ours)


def test_errors_say_what_to_do(build: Build, open_log: Open) -> None:
    """Every refusal to open carries a remedy."""
    source, _ = build(2)
    (source / "head").unlink()

    with pytest.raises(HoldfastError) as caught:
        open_log(source)

    assert caught.value.hint


def test_a_manual_clock_is_enough(fast_dir: Path, signing_key: Ed25519PrivateKey) -> None:
    """Nothing in the log needs the host's clock."""
    log = AuditLog.open(
        fast_dir / "log", origin="example.com/log", signing_key=signing_key, clock=ManualClock()
    )

    log.append_sync({"kind": "note"})
    log.close()

    assert verify_directory(fast_dir / "log", vkey=log.vkey).ok
