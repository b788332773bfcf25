# SPDX-License-Identifier: Apache-2.0
"""Control's side of the latch."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.errors import EnvironmentFailure, ErrorReason, NotDurableError
from sidecar.latch.files import OsFileOps, read_boot_id
from sidecar.latch.format import INLINE_BYTES, PAGE, Record, encoded_length
from sidecar.latch.install import marker_path
from sidecar.latch.placing import JournalFullError
from sidecar.latch.reader import LatchReader
from sidecar.latch.setup import _read_all
from sidecar.latch.writer import LatchWriter
from tests.unit.latch.latch_disk import (
    BOOT,
    SMALL_HALF,
    ForgetfulDisk,
    make_latch,
    nothing_lives,
    record,
)
from tests.unit.latch.latch_pages import newer_format


def publish(writer: LatchWriter, *epochs: int, level: int = 0, live: int | None = None) -> None:
    """Publish records of *epochs*; a compaction keeps the last *live* of everything."""
    known = [record(epoch) for epoch in range(1, max(epochs, default=0) + 1)]
    writer.publish(
        [record(epoch) for epoch in epochs],
        level=level,
        live=lambda: known if live is None else known[-live:],
    )


def flip(path: Path, position: int) -> None:
    """Flip one byte of a file in place."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0xFF]))


# -- making and opening -------------------------------------------------------------------------


def test_fresh_latch_holds_nothing(writer: LatchWriter, latch: Path) -> None:
    """A latch that was just made is at epoch 0, not sealed, private, and fully written."""
    assert (writer.epoch, writer.level, writer.is_sealed) == (0, 0, False)
    assert stat.S_IMODE(latch.stat().st_mode) == 0o700
    for name, length in (("slots", 3 * PAGE), ("journal", 2 * SMALL_HALF)):
        found = (latch / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_size) == (0o600, length)
        assert found.st_blocks * 512 >= length  # not sparse


def test_published_events_survive_reopening(writer: LatchWriter, latch: Path) -> None:
    """What was made durable is there for the next writer."""
    publish(writer, 1, 2, 3, level=6)
    writer.make_durable()
    writer.close()

    with_it = LatchWriter.open(latch, boot_id=BOOT)

    assert [found.epoch for found in with_it.recovery.records] == [1, 2, 3]
    assert (with_it.epoch, with_it.level, with_it.level_epoch) == (3, 6, 0)
    with_it.close()


def test_published_is_visible_before_it_is_durable(writer: LatchWriter, latch: Path) -> None:
    """Memory first: a gate sees an event that no sync has touched yet."""
    reader = LatchReader(latch, boot_id=BOOT)
    reader.mark_applied(reader.read())

    publish(writer, 1)

    assert not reader.is_current()
    assert reader.read().epoch == 1
    reader.close()


def test_append_publishes_and_makes_durable(state: Path, latch: Path, tmp_path: Path) -> None:
    """After ``append`` a power cut takes nothing away."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    writer.append([record(1)], level=0, live=nothing_lives)

    copy = disk.after_power_cut(latch, tmp_path / "copy", __import__("random").Random(1))
    recovered = LatchWriter.open(copy, boot_id=BOOT)

    assert recovered.recovery.records == (record(1),)
    recovered.close()
    writer.close()


def test_epochs_that_do_not_rise_are_misuse(writer: LatchWriter) -> None:
    """No event gets an epoch that was used."""
    publish(writer, 5)

    for epochs in ((5,), (4,), (7, 6), (6, 6)):
        with pytest.raises(ValueError, match="rise"):
            publish(writer, *epochs)


def test_closed_writer_is_misuse(writer: LatchWriter) -> None:
    """A closed writer does not write."""
    writer.close()
    writer.close()

    with pytest.raises(RuntimeError, match="closed"):
        publish(writer, 1)


def test_second_writer_is_refused(writer: LatchWriter, latch: Path) -> None:
    """Two controls on one state directory would overwrite each other."""
    with pytest.raises(EnvironmentFailure, match="another process") as caught:
        LatchWriter.open(latch, boot_id=BOOT)

    assert caught.value.reason is ErrorReason.LATCH_UNAVAILABLE


def test_second_writer_negative_control(
    writer: LatchWriter, latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock, a second writer opens."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)

    LatchWriter.open(latch, boot_id=BOOT).close()


def test_latch_that_never_was_is_not_opened(latch: Path) -> None:
    """Nothing there, and no marker: control says that it must be initialised."""
    with pytest.raises(EnvironmentFailure, match="there is no latch") as caught:
        LatchWriter.open(latch, boot_id=BOOT)

    assert caught.value.reason is ErrorReason.LATCH_UNAVAILABLE
    assert not LatchWriter.is_installed(latch)


def test_initialising_twice_is_refused(writer: LatchWriter, latch: Path) -> None:
    """A host that was installed is not made fresh by accident."""
    writer.close()

    with pytest.raises(EnvironmentFailure, match="initialised before") as caught:
        LatchWriter.initialise(latch, boot_id=BOOT)

    assert "install.json" in caught.value.hint
    assert LatchWriter.is_installed(latch)


def test_used_latch_without_marker_is_not_made_fresh(writer: LatchWriter, latch: Path) -> None:
    """A lost marker does not lose the latch: opening puts it back."""
    publish(writer, 1)
    writer.make_durable()
    writer.close()
    marker_path(latch).unlink()

    with pytest.raises(EnvironmentFailure, match="in use"):
        LatchWriter.initialise(latch, boot_id=BOOT)
    assert LatchWriter.is_installed(latch)
    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert reopened.epoch == 1
    assert marker_path(latch).exists()
    reopened.close()


def test_unused_latch_without_marker_is_made_anew(writer: LatchWriter, latch: Path) -> None:
    """An initialisation that broke off before the marker can be repeated."""
    writer.close()
    marker_path(latch).unlink()
    assert not LatchWriter.is_installed(latch)

    LatchWriter.initialise(latch, half_bytes=SMALL_HALF, boot_id=BOOT).close()


def test_latch_that_cannot_be_looked_at_is_not_taken_for_none(latch: Path) -> None:
    """A file or link in the place of the directory does not pass for a fresh host."""
    latch.touch()

    with pytest.raises(EnvironmentFailure) as caught:
        LatchWriter.is_installed(latch)

    assert caught.value.reason is ErrorReason.LATCH_UNAVAILABLE


@pytest.mark.parametrize(
    "options",
    [{"half_bytes": 5000}, {"half_bytes": PAGE}, {"file_mode": 0o644}, {"directory_mode": 0o755}],
)
def test_impossible_options_are_misuse(latch: Path, options: dict[str, int]) -> None:
    """Halves of odd length, and files that the world can read, are mistakes of ours."""
    with pytest.raises(ValueError, match=r"latch|half"):
        LatchWriter.initialise(latch, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", ["wide", "linked", "wide file", "linked file", "two names"])
def test_h05_unsafe_latch_is_refused(
    writer: LatchWriter, latch: Path, tmp_path: Path, problem: str
) -> None:
    """A latch that somebody else could have prepared is opened by neither side."""
    writer.close()
    match problem:
        case "wide":
            latch.chmod(0o777)
        case "linked":
            latch.rename(tmp_path / "moved")
            latch.symlink_to(tmp_path / "moved")
        case "wide file":
            (latch / "slots").chmod(0o666)
        case "linked file":
            (latch / "slots").rename(tmp_path / "moved")
            (latch / "slots").symlink_to(tmp_path / "moved")
        case _:
            os.link(latch / "journal", tmp_path / "other")

    for opening in (LatchWriter.open, LatchReader):
        with pytest.raises(EnvironmentFailure) as caught:
            opening(latch)
        assert caught.value.reason is ErrorReason.UNSAFE_PATH


def test_epoch_floor_is_kept(state: Path, latch: Path) -> None:
    """A fresh latch goes on after the epochs that others have seen."""
    writer = make_latch(state, epoch_floor=7)
    assert writer.epoch == 7
    writer.close()

    writer = LatchWriter.open(latch, epoch_floor=9, boot_id=BOOT)

    assert writer.epoch == 9
    writer.close()


# -- recovery through the files -----------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize("position", [0, 8, 20, 40, 100, 2000, 4095])
def test_e06_flipped_slot_uses_the_other_and_is_repaired(
    writer: LatchWriter, latch: Path, page: int, position: int
) -> None:
    """One damaged slot costs nothing, and the next start writes both anew."""
    publish(writer, 1, level=6)
    writer.make_durable()
    writer.close()
    flip(latch / "slots", page * PAGE + position)

    LatchWriter.open(latch, boot_id=BOOT).close()
    flip(latch / "slots", (1 - page) * PAGE + position)
    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert (reopened.epoch, reopened.level, reopened.is_sealed) == (1, 6, False)
    assert reopened.recovery.records == (record(1),)
    reopened.close()


def test_e06_both_slots_bad_starts_denied_and_says_so(writer: LatchWriter, latch: Path) -> None:
    """A latch that cannot be recovered denies everything until a human unseals it."""
    publish(writer, 1, level=6)
    writer.make_durable()
    writer.close()
    flip(latch / "slots", 100)
    flip(latch / "slots", PAGE + 100)

    reopened = LatchWriter.open(latch, epoch_floor=5, boot_id=BOOT)
    reader = LatchReader(latch, boot_id=BOOT)

    assert reopened.recovery.is_lost
    assert reopened.is_sealed
    assert reader.read().is_sealed
    assert reader.read().seal_reason == "neither slot of the latch is valid"
    assert reopened.epoch == 5
    reopened.close()
    again = LatchWriter.open(latch, boot_id=BOOT)
    assert again.is_sealed
    again.publish([record(6)], level=0, live=nothing_lives, is_unsealing=True)
    assert not again.is_sealed
    assert not reader.read().is_sealed
    again.close()
    reader.close()


def test_rotten_journal_starts_denied(writer: LatchWriter, latch: Path) -> None:
    """An acknowledged record that is damaged is a loss, not an end."""
    publish(writer, 1, 2)
    writer.make_durable()
    writer.close()
    flip(latch / "journal", 50)

    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert reopened.is_sealed
    assert "journal" in reopened.seal_reason
    assert reopened.epoch == 2
    reopened.close()


@pytest.mark.parametrize("missing", ["slots", "journal", "directory", "short"])
def test_e18_lost_files_beside_a_marker_start_denied(
    writer: LatchWriter, latch: Path, missing: str
) -> None:
    """An emptied state directory is not a fresh host."""
    publish(writer, 1)
    writer.make_durable()
    writer.close()
    if missing == "directory":
        shutil.rmtree(latch)
    elif missing == "short":
        os.truncate(latch / "journal", 4096)
    else:
        (latch / missing).unlink()
    if missing in ("directory", "slots"):
        with pytest.raises(EnvironmentFailure, match=r"in use|initialised before"):
            LatchWriter.initialise(latch, boot_id=BOOT)

    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert reopened.recovery.is_lost
    assert reopened.is_sealed
    assert LatchReader(latch, boot_id=BOOT).read().is_sealed
    reopened.close()


def test_e18_lost_files_negative_control(writer: LatchWriter, latch: Path) -> None:
    """Without the marker, an emptied directory passes for a fresh host."""
    publish(writer, 1)
    writer.make_durable()
    writer.close()
    shutil.rmtree(latch)
    marker_path(latch).unlink()

    fresh = LatchWriter.initialise(latch, half_bytes=SMALL_HALF, boot_id=BOOT)

    assert not fresh.is_sealed
    fresh.close()


def test_latch_of_another_installation_starts_denied(writer: LatchWriter, latch: Path) -> None:
    """A latch copied from another host does not pass for this host's."""
    writer.close()
    marker_path(latch).write_text('{"install_id":"' + "ab" * 16 + '"}')

    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert reopened.is_sealed
    assert "another installation" in reopened.seal_reason
    reopened.close()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"install_id":7}', b"\xff", b"[" * 5000])
def test_unreadable_marker_is_still_a_marker(
    writer: LatchWriter, latch: Path, content: bytes
) -> None:
    """A damaged marker proves an installation; the latch itself says which."""
    writer.close()
    marker_path(latch).write_bytes(content)

    with pytest.raises(EnvironmentFailure, match="initialised before"):
        LatchWriter.initialise(latch, boot_id=BOOT)
    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert not reopened.is_sealed
    assert marker_path(latch).read_bytes() != content
    reopened.close()


@pytest.mark.parametrize("is_short", [False, True])
def test_e14_newer_format_is_denied_and_not_touched(
    writer: LatchWriter, latch: Path, is_short: bool
) -> None:
    """A downgrade keeps the kill: control does not start, gates deny, not a byte changes."""
    reader = LatchReader(latch, boot_id=BOOT)
    publish(writer, 1, level=6)
    writer.make_durable()
    writer.close()
    slots = latch / "slots"
    content = slots.read_bytes()
    slots.write_bytes(
        newer_format(content[:PAGE]) + newer_format(content[PAGE : 2 * PAGE]) + content[2 * PAGE :]
    )
    if is_short:
        os.truncate(latch / "journal", 3 * PAGE)
    before = {path.name: path.read_bytes() for path in latch.iterdir()}

    with pytest.raises(EnvironmentFailure, match="newer version"):
        LatchWriter.open(latch, boot_id=BOOT)
    state = reader.read()

    assert {path.name: path.read_bytes() for path in latch.iterdir()} == before
    assert state.is_sealed
    assert "newer version" in state.seal_reason
    reader.close()


def test_boot_id_is_the_kernels() -> None:
    """Without another clock domain, the kernel names the boot."""
    assert read_boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# -- a disk that fails --------------------------------------------------------------------------


def fail(disk: ForgetfulDisk, operation: str, number: int) -> None:
    """Let every further sync or write fail."""
    error = OSError(number, os.strerror(number))
    if operation == "sync":
        disk.sync_error = error
    else:
        disk.write_error = error


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("operation", ["sync", "write"])
def test_e07_failed_disk_seals_and_is_never_retried(
    state: Path, latch: Path, operation: str, number: int
) -> None:
    """After a failed sync or write every gate denies, and the writer is of no use any more."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    reader = LatchReader(latch, boot_id=BOOT)
    writer.heartbeat(1)
    fail(disk, operation, number)

    with pytest.raises(NotDurableError) as caught:
        writer.append([record(1)], level=6, live=nothing_lives)
    disk.sync_error = disk.write_error = None
    operations = disk.operations

    assert os.strerror(number) in caught.value.message
    assert (writer.is_failed, writer.is_sealed) == (True, True)
    assert reader.read().is_sealed
    for use in (
        lambda: writer.append([record(2)], level=0, live=nothing_lives),
        writer.make_durable,
        lambda: writer.heartbeat(2),
        lambda: writer.publish_level(6, epoch=9),
    ):
        with pytest.raises(NotDurableError):
            use()
    assert disk.operations == operations
    assert reader.heartbeat_age_ns(3) > 10**18
    reader.close()
    writer.close()


def test_e07_failed_sync_negative_control(
    state: Path, latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a failed sync were shrugged off, gates would go on allowing on an undurable state."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    reader = LatchReader(latch, boot_id=BOOT)
    monkeypatch.setattr(disk, "sync", lambda _: None)
    fail(disk, "sync", errno.EIO)

    writer.append([record(1)], level=0, live=nothing_lives)

    assert not reader.read().is_sealed
    reader.close()
    writer.close()


def test_e07_sealed_latch_starts_sealed(state: Path, latch: Path) -> None:
    """A seal that reached the disk stays until a human takes it off."""
    writer = make_latch(state)
    writer.seal("the operator pulled the plug")
    writer.close()

    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert (reopened.is_failed, reopened.is_sealed) == (False, True)
    assert reopened.seal_reason == "the operator pulled the plug"
    reopened.close()


def test_e07_failed_commit_seals(state: Path, latch: Path) -> None:
    """The sync after the last slot counts as much as those before it."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    writer.publish([record(1)], level=0, live=nothing_lives)
    real = disk.sync
    calls = []

    def third_fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.EIO, "broken")
        real(descriptor)

    disk.sync = third_fails  # type: ignore[method-assign]

    with pytest.raises(NotDurableError):
        writer.make_durable()
    assert writer.is_failed
    writer.close()


def test_disk_that_fails_at_start_is_no_latch(writer: LatchWriter, latch: Path) -> None:
    """If what was recovered cannot be written again, control does not start; the lock is free."""
    writer.close()
    disk = ForgetfulDisk()
    fail(disk, "sync", errno.EIO)

    with pytest.raises(NotDurableError):
        LatchWriter.open(latch, ops=disk, boot_id=BOOT)
    LatchWriter.open(latch, boot_id=BOOT).close()


def test_initialising_on_a_full_disk_says_so(latch: Path) -> None:
    """A latch that cannot be written in full is none."""
    disk = ForgetfulDisk()
    fail(disk, "write", errno.ENOSPC)

    with pytest.raises(EnvironmentFailure, match="cannot be made") as caught:
        LatchWriter.initialise(latch, ops=disk, boot_id=BOOT)

    assert caught.value.reason is ErrorReason.STORE_UNAVAILABLE
    assert not LatchWriter.is_installed(latch)


@contextmanager
def full_disk(where: Path) -> Iterator[Path]:
    """A tiny file system, if this process may mount one; else just a directory."""
    where.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(where)]
    is_mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    is_mounted = is_mounted and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield where
    finally:
        if is_mounted:
            subprocess.run(["umount", str(where)], check=True)


class FullDisk(OsFileOps):
    """A disk without a free block: what would make a file longer fails."""

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        if offset + len(data) > os.fstat(descriptor).st_size:
            raise OSError(errno.ENOSPC, "no space left")
        super().write(descriptor, data, offset)


def fill(where: Path) -> None:
    """Use up what is left of a small file system."""
    if os.statvfs(where).f_blocks * os.statvfs(where).f_frsize > 1024 * 1024:
        return
    ballast = os.open(where / "ballast", os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):  # until it is full
        while os.write(ballast, bytes(4096)):
            continue
    os.close(ballast)
    assert os.statvfs(where).f_bfree == 0


def test_e07_kill_works_on_a_full_disk(tmp_path: Path) -> None:
    """Every write of a kill, of a compaction and of a restart overwrites blocks that are there."""
    with full_disk(tmp_path / "disk") as where:
        state = where / "state"
        writer = make_latch(state)
        fill(where)
        writer.close()
        writer = LatchWriter.open(state / "latch", ops=FullDisk(), boot_id=BOOT)

        for epoch in range(1, 600):  # far more than a half holds
            writer.publish(
                [record(epoch, b"x" * 100)], level=6, live=lambda e=epoch: [record(e, b"x" * 100)]
            )
            if epoch % 50 == 0:
                writer.make_durable()
        writer.make_durable()
        writer.close()
        writer = LatchWriter.open(state / "latch", ops=FullDisk(), boot_id=BOOT)

        assert (writer.epoch, writer.level, writer.is_sealed) == (599, 6, False)
        writer.close()


def test_e07_marker_that_cannot_be_put_back_does_not_stop_control(
    writer: LatchWriter, latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk keeps the marker from being rewritten, and nothing else."""
    writer.close()
    marker_path(latch).unlink()

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("sidecar.latch.writer.write_marker", no_space)
    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert not reopened.is_sealed
    reopened.close()


def test_e07_failed_write_of_the_commit_seals(state: Path) -> None:
    """The last slot of a commit may fail to be written, too."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    writer.publish([record(1)], level=0, live=nothing_lives)
    disk.syncs_before_hook = 1
    disk.during_sync = lambda: fail(disk, "write", errno.EIO)

    with pytest.raises(NotDurableError, match="writing"):
        writer.make_durable()
    writer.seal("again")

    assert "writing" in writer.seal_reason  # the first cause stays
    writer.close()


@pytest.mark.parametrize("problem", ["lock", "map"])
def test_latch_that_cannot_be_locked_or_mapped_is_unavailable(
    writer: LatchWriter, latch: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """A file system without locks or shared mappings is no place for a latch."""
    writer.close()

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    if problem == "lock":
        monkeypatch.setattr(fcntl, "flock", unsupported)
    else:
        monkeypatch.setattr("sidecar.latch.writer.mmap.mmap", unsupported)

    with pytest.raises(EnvironmentFailure) as caught:
        LatchWriter.open(latch, boot_id=BOOT)

    assert caught.value.reason is ErrorReason.LATCH_UNAVAILABLE
    monkeypatch.undo()
    LatchWriter.open(latch, boot_id=BOOT).close()


def test_marker_that_cannot_be_read_is_not_taken_for_none(latch: Path) -> None:
    """If nobody can say whether there was a latch, none is made."""
    marker_path(latch).mkdir()

    with pytest.raises(EnvironmentFailure) as caught:
        LatchWriter.initialise(latch, boot_id=BOOT)

    assert caught.value.reason is ErrorReason.LATCH_UNAVAILABLE


def test_marker_that_cannot_be_written_leaves_nothing_behind(
    latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed initialisation leaves no half-written marker, and can be repeated."""

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(EnvironmentFailure, match="cannot be made"):
        LatchWriter.initialise(latch, half_bytes=SMALL_HALF, boot_id=BOOT)
    monkeypatch.undo()

    assert [path.name for path in latch.parent.iterdir()] == ["latch"]
    LatchWriter.initialise(latch, half_bytes=SMALL_HALF, boot_id=BOOT).close()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_damaged_or_sealed_latch_without_marker_is_not_made_anew(
    writer: LatchWriter, latch: Path, is_sealed: bool
) -> None:
    """Whatever was in it, a latch that denies is not replaced by one that allows."""
    if is_sealed:
        writer.seal("test")
    writer.close()
    marker_path(latch).unlink()
    if not is_sealed:
        flip(latch / "slots", 100)
        flip(latch / "slots", PAGE + 100)

    with pytest.raises(EnvironmentFailure, match="in use"):
        LatchWriter.initialise(latch, boot_id=BOOT)
    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert reopened.is_sealed
    reopened.close()


def test_e14_newer_latch_without_marker_is_not_made_anew(writer: LatchWriter, latch: Path) -> None:
    """A later version's latch is not overwritten because its marker is gone."""
    writer.close()
    content = (latch / "slots").read_bytes()
    (latch / "slots").write_bytes(newer_format(content[:PAGE]) + content[PAGE:])
    marker_path(latch).unlink()

    with pytest.raises(EnvironmentFailure, match="in use"):
        LatchWriter.initialise(latch, boot_id=BOOT)


@pytest.mark.parametrize("kind", ["pipe", "socket", "directory", "foreign"])
def test_h05_what_is_no_file_of_ours_is_refused(
    writer: LatchWriter, latch: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A pipe, a socket, a directory or somebody else's file is no part of a latch."""
    writer.close()
    path = latch / "slots"
    if kind == "foreign":
        if os.geteuid() == 0:
            os.chown(path, 65534, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 65534)
    else:
        path.unlink()
    if kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "socket":
        monkeypatch.chdir(latch)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("slots")
    elif kind == "directory":
        path.mkdir()

    with pytest.raises(EnvironmentFailure) as caught:
        LatchReader(latch, boot_id=BOOT)

    assert caught.value.reason in (ErrorReason.UNSAFE_PATH, ErrorReason.LATCH_UNAVAILABLE)


def test_kernel_that_does_not_tell_its_boot_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a boot id no heartbeat can be told from an old one."""
    monkeypatch.setattr("sidecar.latch.files._BOOT_ID", tmp_path / "missing")

    with pytest.raises(EnvironmentFailure, match="boot id"):
        read_boot_id()


def test_file_that_shrinks_while_it_is_read_ends_early(tmp_path: Path) -> None:
    """What is shorter than expected is returned as it is, and will not verify."""
    path = tmp_path / "journal"
    path.write_bytes(b"abc")
    descriptor = os.open(path, os.O_RDONLY)

    assert _read_all(descriptor, 10) == b"abc"
    os.close(descriptor)


# -- files that vanish --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slots", "journal"])
@pytest.mark.parametrize("how", ["deleted", "replaced", "truncated", "directory"])
def test_e18_writer_notices_that_its_files_are_gone(
    writer: LatchWriter, latch: Path, name: str, how: str
) -> None:
    """A kill that no gate could see is not taken for one."""
    path = latch / name
    if how == "deleted":
        path.unlink()
    elif how == "replaced":
        copy = latch / "copy"
        copy.write_bytes(path.read_bytes())
        copy.replace(path)
    elif how == "truncated":
        os.truncate(path, 0)
    else:
        latch.rename(latch.with_name("elsewhere"))

    with pytest.raises(NotDurableError, match="deleted or replaced"):
        publish(writer, 1)

    assert writer.is_failed
    assert not writer.check_identity()


def test_e18_writer_negative_control(
    writer: LatchWriter, latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the check, a kill is published into a file that has no name."""
    monkeypatch.setattr("sidecar.latch.files.FileIdentity.is_at", lambda *_: True)
    (latch / "slots").unlink()

    publish(writer, 1)
    writer.make_durable()

    assert not writer.is_failed


# -- room ---------------------------------------------------------------------------------------


def big(epoch: int) -> Record:
    """Return a record of about a kilobyte."""
    return record(epoch, b"y" * 1000)


def test_full_half_is_compacted(writer: LatchWriter, latch: Path) -> None:
    """When a half is full, what stands moves to the other, again and again."""
    reader = LatchReader(latch, boot_id=BOOT)
    seen = reader.read()
    rebased = 0
    for epoch in range(1, 200):
        writer.publish(
            [big(epoch)], level=0, live=lambda e=epoch: [big(max(e - 1, 1)), big(e)][-2:]
        )
        if epoch % 7 == 0:
            writer.make_durable()
        seen = reader.read_since(seen.position)
        rebased += seen.is_rebased
        assert seen.records[-1] == big(epoch)
        assert seen.epoch == epoch

    assert rebased >= 10
    assert not writer.is_sealed
    writer.make_durable()
    writer.close()
    reopened = LatchWriter.open(latch, boot_id=BOOT)
    assert reopened.recovery.records[-1] == big(199)
    reopened.close()
    reader.close()


def test_compaction_can_be_asked_for(writer: LatchWriter) -> None:
    """A journal is rewritten on demand, without a new event."""
    publish(writer, 1, 2, 3)
    used = writer.used_bytes

    writer.publish([], level=0, live=lambda: [record(3)], is_compacting=True)

    assert writer.used_bytes < used
    assert writer.epoch == 3


def test_records_without_room_go_into_the_slot(writer: LatchWriter, latch: Path) -> None:
    """Even when everything that stands fills the half, some more kills are taken."""
    live = [big(epoch) for epoch in range(1, 16)]
    writer.publish(live, level=0, live=lambda: live)
    writer.make_durable()
    extra = [record(epoch, b"z" * 900) for epoch in range(16, 19)]

    for one in extra:
        everything = [*live, *extra[: extra.index(one) + 1]]
        writer.publish([one], level=0, live=lambda all_of=everything: all_of)
    writer.make_durable()
    reader = LatchReader(latch, boot_id=BOOT)

    assert reader.read().records == (*live, *extra)
    writer.close()
    reopened = LatchWriter.open(latch, boot_id=BOOT)
    assert reopened.recovery.records == (*live, *extra)
    # With room again, they move out of the slot.
    reopened.publish([record(19)], level=0, live=lambda: [*live[:3], *extra, record(19)])
    assert reader.read().records == (*live[:3], *extra, record(19))
    reopened.close()
    reader.close()


def test_reader_sees_inline_records_once(writer: LatchWriter, latch: Path) -> None:
    """A reader that goes on from where it was does not get a record from the slot twice."""
    live = [big(epoch) for epoch in range(1, 16)]
    writer.publish(live, level=0, live=lambda: live)
    reader = LatchReader(latch, boot_id=BOOT)
    state = reader.read()
    extra = [record(epoch, b"z" * 900) for epoch in (16, 17)]

    got = []
    for number, one in enumerate(extra, start=1):
        writer.publish([one], level=0, live=lambda n=number: [*live, *extra[:n]])
        state = reader.read_since(state.position)
        got.append(state.records)

    assert got == [(extra[0],), (extra[1],)]
    reader.close()


def test_what_must_not_wait_goes_into_the_slot(state: Path, latch: Path) -> None:
    """If the other half is not free yet, a kill is published all the same, without a sync."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    writer.publish([], level=0, live=lambda: [], is_compacting=True)
    filling = [big(epoch) for epoch in range(1, 16)]
    writer.publish(filling, level=0, live=lambda: filling)
    before = disk.operations

    writer.publish([big(16)], level=6, live=lambda: [*filling[1:], big(16)])

    assert disk.operations - before == 1  # the slot alone
    state_seen = LatchReader(latch, boot_id=BOOT).read()
    assert state_seen.records == (*filling, big(16))
    writer.close()


def test_everything_is_spread_over_half_and_slot(writer: LatchWriter, latch: Path) -> None:
    """When something was released, the rest moves together, though it is more than a half."""
    live = fill_up(writer)
    writer.make_durable()
    rest = [*live[1:], record(live[-1].epoch + 1, b"z" * 900)]

    writer.publish([rest[-1]], level=0, live=lambda: rest)

    assert LatchReader(latch, boot_id=BOOT).read().records == tuple(rest)


def fill_up(writer: LatchWriter) -> list[Record]:
    """Fill journal and slot with what stands; return it."""
    live = [big(epoch) for epoch in range(1, 16)]
    writer.publish(live, level=0, live=lambda: live)
    epoch = 16
    while True:
        one = record(epoch, b"z" * 900)
        try:
            writer.publish([one], level=0, live=lambda n=one: [*live, n])
        except JournalFullError:
            return live
        live.append(one)
        epoch += 1


def test_full_latch_refuses_and_changes_nothing(writer: LatchWriter, latch: Path) -> None:
    """Journal and slot full: the writer says so, and what stands stays."""
    live = fill_up(writer)
    state = LatchReader(latch, boot_id=BOOT).read()

    assert state.records == tuple(live)
    assert state.epoch == live[-1].epoch
    assert sum(encoded_length(one) for one in live[15:]) <= INLINE_BYTES
    assert not writer.is_sealed


def test_full_latch_still_takes_a_kill_of_everything(writer: LatchWriter, latch: Path) -> None:
    """The global level needs no record; it survives a restart, and a release lowers it."""
    live = fill_up(writer)
    epoch = writer.epoch + 1

    writer.publish_level(6, epoch=epoch)
    writer.make_durable()
    state = LatchReader(latch, boot_id=BOOT).read()
    writer.close()
    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert (state.epoch, state.global_level, state.level_epoch) == (epoch, 6, epoch)
    assert (reopened.epoch, reopened.level, reopened.level_epoch) == (epoch, 6, epoch)
    reopened.publish([record(epoch + 1)], level=0, live=lambda: [*live[:5], record(epoch + 1)])
    assert (reopened.level, reopened.level_epoch) == (0, 0)
    reopened.close()


def test_level_in_the_slot_only_rises(writer: LatchWriter) -> None:
    """The slot alone never lowers a level, and never repeats an epoch."""
    writer.publish_level(5, epoch=1)

    for level, epoch in ((4, 2), (6, 1)):
        with pytest.raises(ValueError, match="rise"):
            writer.publish_level(level, epoch=epoch)


def test_half_that_is_needed_after_a_crash_is_not_overwritten(state: Path, latch: Path) -> None:
    """If two compactions come before one sync, the second waits for the disk."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    writer.publish([], level=0, live=lambda: [], is_compacting=True)
    before = disk.operations

    writer.publish([], level=0, live=lambda: [], is_compacting=True)

    assert disk.operations - before >= 5  # three syncs of the first, then the writes of the second
    writer.close()


def test_make_durable_twice_costs_nothing(state: Path) -> None:
    """Nothing new, nothing to sync."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    writer.append([record(1)], level=0, live=nothing_lives)
    before = disk.operations

    writer.make_durable()

    assert disk.operations == before
    writer.close()


def test_writer_publishing_without_end_is_made_durable_all_the_same(state: Path) -> None:
    """Somebody who publishes during every sync cannot starve the one who waits for it."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)
    threads: list[threading.Thread] = []

    def publish(epoch: int) -> None:
        writer.publish([record(epoch)], level=0, live=nothing_lives)

    def more() -> None:
        threads.append(threading.Thread(target=publish, args=(len(threads) + 2,)))
        threads[-1].start()
        threads[-1].join(timeout=0.2)  # in the last round it has to wait for the sync
        disk.during_sync = None if threads[-1].is_alive() else more

    publish(1)
    disk.during_sync = more
    writer.make_durable()
    for thread in threads:
        thread.join()

    assert 16 < len(threads) < 100
    assert writer.epoch == len(threads) + 1
    assert writer._durable.epoch == len(threads)
    writer.close()


def test_writer_that_is_written_while_it_is_locked_has_failed(state: Path) -> None:
    """What cannot be is not shrugged off: without a settled state nothing is called durable."""
    disk = ForgetfulDisk()
    writer = make_latch(state, ops=disk)

    def more() -> None:  # in the same thread, past its own lock
        writer.publish([record(writer.epoch + 1)], level=0, live=nothing_lives)
        disk.during_sync = more

    writer.publish([record(1)], level=0, live=nothing_lives)
    disk.during_sync = more

    with pytest.raises(NotDurableError, match="locked"):
        writer.make_durable()
    writer.close()


def test_file_system_that_does_not_show_writes_is_refused(writer: LatchWriter, latch: Path) -> None:
    """Without coherent mappings a gate would never see a kill."""
    writer.close()

    class Elsewhere(OsFileOps):
        def write(self, descriptor: int, data: bytes, offset: int) -> None:
            pass

    with pytest.raises(EnvironmentFailure, match="does not show writes"):
        LatchWriter.open(latch, ops=Elsewhere(), boot_id=BOOT)


def test_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that took only a part goes on; one that takes nothing fails."""
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:3], at))
    OsFileOps().write(descriptor, b"abcdefgh", 2)

    assert path.read_bytes() == b"\0\0abcdefgh"
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(OSError, match="nothing"):
        OsFileOps().write(descriptor, b"x", 0)
    os.close(descriptor)
