# SPDX-License-Identifier: Apache-2.0
"""Makes a latch, and opens one for writing with whatever a crash left of it.

Laws:

1. A latch is made only where none has been: no install marker, and no slot that was ever used.
2. Files missing beside an install marker, or of a length no latch has, are a loss. They are made
   anew only to carry the seal; what was there is kept under another name.
3. Two processes never write one latch (``flock`` on the slots file).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.latch.files import (
    DEFAULT_HALF_BYTES,
    JOURNAL,
    SLOTS,
    FileIdentity,
    FileOps,
    create_file,
    is_journal_length,
    is_slots_length,
    open_file,
)
from sidecar.latch.format import (
    PAGE,
    SLOTS_BYTES,
    Phase,
    Slot,
    encode_slot,
    journal_seed,
)
from sidecar.latch.install import marker_path, read_marker, write_marker
from sidecar.latch.recovery import Loss, Recovered, recover, valid_slots
from sidecar.safe_paths import ensure_private_directory, open_directory

__all__ = ["OpenedLatch", "create_latch", "is_used", "open_latch"]

_FIRST_SEQUENCE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedLatch:
    """Two open, locked files and what they hold. Whoever has it closes the descriptors."""

    slots_file: int
    journal_file: int
    slots_identity: FileIdentity
    journal_identity: FileIdentity
    found: Recovered | Loss
    marker: bytes | None

    @property
    def half_bytes(self) -> int:
        """Length of a journal half."""
        return self.journal_identity.length // 2

    def close(self) -> None:
        """Close the files, which frees the lock."""
        os.close(self.slots_file)
        os.close(self.journal_file)


def create_latch(
    directory: Path,
    *,
    install_id: bytes,
    half_bytes: int,
    directory_mode: int,
    file_mode: int,
    epoch: int,
    ops: FileOps,
) -> None:
    """Make both files, then the install marker (law 1).

    Raises:
        EnvironmentFailure: LATCH_UNAVAILABLE if there has been a latch, UNSAFE_PATH, or
            STORE_UNAVAILABLE if the files cannot be made.
    """
    if read_marker(directory) is not None:
        raise EnvironmentFailure(
            f"{directory} was initialised before",
            reason=ErrorReason.LATCH_UNAVAILABLE,
            hint=f"to forget every directive it held, remove {marker_path(directory)} first",
        )
    ensure_private_directory(directory, directory_mode)
    parent = open_directory(directory, mode=directory_mode)
    try:
        if _holds_used_slots(parent, directory):
            raise EnvironmentFailure(
                f"{directory} holds a latch that is in use, but its install marker is missing",
                reason=ErrorReason.LATCH_UNAVAILABLE,
                hint="start control: it opens the latch and puts the marker back",
            )
        with _making(directory):
            _create_files(parent, half_bytes=half_bytes, file_mode=file_mode, ops=ops)
            _write_first_slots(parent, directory, install_id, half_bytes, epoch, ops)
            write_marker(directory, install_id)
    finally:
        os.close(parent)


def open_latch(
    directory: Path, *, directory_mode: int, file_mode: int, ops: FileOps
) -> OpenedLatch:
    """Open and lock the latch in *directory* and read it (laws 2 and 3).

    Raises:
        EnvironmentFailure: LATCH_UNAVAILABLE if there never was a latch, it is locked, or it
            cannot be read; UNSAFE_PATH; STORE_UNAVAILABLE if lost files cannot be replaced.
    """
    marker = read_marker(directory)
    if marker is None and not (directory / SLOTS).exists():
        raise EnvironmentFailure(
            f"there is no latch in {directory}",
            reason=ErrorReason.LATCH_UNAVAILABLE,
            hint="initialise it once",
        )
    ensure_private_directory(directory, directory_mode)
    parent = open_directory(directory, mode=directory_mode)
    try:
        loss = _replace_lost_files(parent, directory, file_mode, ops)
        latch = _open_files(parent, directory, loss, marker)
    finally:
        os.close(parent)
    return latch


def _replace_lost_files(parent: int, directory: Path, file_mode: int, ops: FileOps) -> Loss | None:
    """Make files anew that are missing or of no latch's length (law 2); say why if so."""
    problems = []
    for name, is_length in ((SLOTS, is_slots_length), (JOURNAL, is_journal_length)):
        try:
            descriptor, identity = open_file(
                parent, name, flags=os.O_RDONLY, owners=(), shown=directory / name
            )
        except FileNotFoundError:
            problems.append(f"the file {name} of the latch is missing")
            continue
        try:
            if name == SLOTS and _is_newer(descriptor):
                raise EnvironmentFailure(
                    f"the latch in {directory} was written by a newer version of Holdfast",
                    reason=ErrorReason.LATCH_UNAVAILABLE,
                    hint="every call is denied until that version runs again",
                )
        finally:
            os.close(descriptor)
        if not is_length(identity.length):
            problems.append(f"the file {name} of the latch has the wrong length")
    if not problems:
        return None
    with _making(directory):
        for name in (SLOTS, JOURNAL):
            _keep_aside(parent, name)
        _create_files(parent, half_bytes=DEFAULT_HALF_BYTES, file_mode=file_mode, ops=ops)
    return Loss(reason=" and ".join(problems))


def _open_files(
    parent: int, directory: Path, loss: Loss | None, marker: bytes | None
) -> OpenedLatch:
    opened: list[tuple[int, FileIdentity]] = []
    try:
        for name in (SLOTS, JOURNAL):
            opened.append(
                open_file(parent, name, flags=os.O_RDWR, owners=(), shown=directory / name)
            )
        (slots_file, slots_identity), (journal_file, journal_identity) = opened
        fcntl.flock(slots_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        pages = tuple(os.pread(slots_file, PAGE, index * PAGE) for index in (0, 1))
        found = loss or recover(pages, _read_all(journal_file, journal_identity.length))
        return OpenedLatch(
            slots_file=slots_file,
            journal_file=journal_file,
            slots_identity=slots_identity,
            journal_identity=journal_identity,
            found=found,
            marker=marker,
        )
    except BaseException as exc:
        for descriptor, _ in opened:
            os.close(descriptor)
        if isinstance(exc, BlockingIOError):
            raise EnvironmentFailure(
                f"another process writes the latch in {directory}",
                reason=ErrorReason.LATCH_UNAVAILABLE,
                hint="one control per state directory: stop the other one first",
            ) from exc
        if isinstance(exc, OSError):
            raise EnvironmentFailure(
                f"the latch in {directory} cannot be read: {exc.strerror}",
                reason=ErrorReason.LATCH_UNAVAILABLE,
            ) from exc
        raise


def _read_all(descriptor: int, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        part = os.pread(descriptor, length - len(content), len(content))
        if not part:
            break  # a shorter journal does not verify
        content += part
    return bytes(content)


def _create_files(parent: int, *, half_bytes: int, file_mode: int, ops: FileOps) -> None:
    for name, length in ((JOURNAL, 2 * half_bytes), (SLOTS, SLOTS_BYTES)):
        descriptor = create_file(parent, name, length=length, mode=file_mode, ops=ops)
        try:
            ops.sync(descriptor)
        finally:
            os.close(descriptor)
    os.fsync(parent)


def _write_first_slots(
    parent: int, directory: Path, install_id: bytes, half_bytes: int, epoch: int, ops: FileOps
) -> None:
    descriptor, _ = open_file(parent, SLOTS, flags=os.O_RDWR, owners=(), shown=directory / SLOTS)
    try:
        for sequence in (_FIRST_SEQUENCE, _FIRST_SEQUENCE + 1):
            slot = Slot(
                sequence=sequence,
                phase=Phase.COMMITTED,
                install_id=install_id,
                epoch=epoch,
                generation=1,
                half=0,
                half_bytes=half_bytes,
                journal_length=0,
                chain=journal_seed(install_id, 1),
            )
            ops.write(descriptor, encode_slot(slot), slot.index * PAGE)
        ops.sync(descriptor)
    finally:
        os.close(descriptor)


def is_used(directory: Path) -> bool:
    """Return whether there is, or has been, a latch that no fresh one may replace.

    Raises:
        EnvironmentFailure: LATCH_UNAVAILABLE if nobody can say, UNSAFE_PATH.
    """
    if read_marker(directory) is not None:
        return True
    try:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise EnvironmentFailure(
            f"{directory} cannot be opened: {exc.strerror}", reason=ErrorReason.LATCH_UNAVAILABLE
        ) from exc
    try:
        return _holds_used_slots(parent, directory)
    finally:
        os.close(parent)


def _holds_used_slots(parent: int, directory: Path) -> bool:
    try:
        descriptor, _ = open_file(
            parent, SLOTS, flags=os.O_RDONLY, owners=(), shown=directory / SLOTS
        )
    except FileNotFoundError:
        return False
    try:
        pages = [os.pread(descriptor, PAGE, index * PAGE) for index in (0, 1)]
    finally:
        os.close(descriptor)
    slots = valid_slots(pages)
    if isinstance(slots, Loss):
        return any(any(page) for page in pages)  # damaged, or of a newer format
    return any(slot.journal_length or slot.level or slot.inline or slot.is_sealed for slot in slots)


def _is_newer(descriptor: int) -> bool:
    slots = valid_slots([os.pread(descriptor, PAGE, index * PAGE) for index in (0, 1)])
    return isinstance(slots, Loss) and slots.is_newer_format


def _keep_aside(parent: int, name: str) -> None:
    try:
        os.rename(name, f"{name}.damaged", src_dir_fd=parent, dst_dir_fd=parent)
    except FileNotFoundError:
        return


@contextmanager
def _making(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise EnvironmentFailure(
            f"the latch in {directory} cannot be made: {exc.strerror}",
            hint="free some disk space, or choose another state directory",
        ) from exc
