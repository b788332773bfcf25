# SPDX-License-Identifier: Apache-2.0
"""Makes, opens and identifies the latch's two files; the seam under every write.

Laws:

1. The files are opened relative to a directory that was checked (``sidecar.safe_paths``), never
   through a symbolic link, and only if they are regular files of a trusted owner that nobody else
   can write.
2. They are written full before first use and never grow, so that every later write overwrites
   blocks that the file already has, and works on a full disk.
3. What was opened is known by device, inode and length; a path that leads to something else later
   is not the latch any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.latch.format import PAGE, SLOTS_BYTES

__all__ = [
    "DEFAULT_HALF_BYTES",
    "JOURNAL",
    "MAX_HALF_BYTES",
    "MIN_HALF_BYTES",
    "SLOTS",
    "FileIdentity",
    "FileOps",
    "OsFileOps",
    "boot_word",
    "create_file",
    "is_journal_length",
    "is_slots_length",
    "open_file",
    "read_boot_id",
]

SLOTS: Final = "slots"
JOURNAL: Final = "journal"
DEFAULT_HALF_BYTES: Final = 4 * 1024 * 1024
MIN_HALF_BYTES: Final = 4 * PAGE
MAX_HALF_BYTES: Final = 256 * 1024 * 1024
_CHUNK: Final = 1024 * 1024
_OTHERS_WRITE: Final = 0o022
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class FileOps(Protocol):
    """How the latch touches the disk. Tests put a failing or forgetting disk in its place."""

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of *data* at *offset*; raises ``OSError`` if not all of it was written."""

    def sync(self, descriptor: int) -> None:
        """Return when everything written so far would survive a power cut."""


class OsFileOps:
    """The operating system."""

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            if written <= 0:
                raise OSError(errno.EIO, "nothing was written")
            view, offset = view[written:], offset + written

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file it is, whatever its path says later (law 3)."""

    device: int
    inode: int
    length: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileIdentity:
        """Return the identity in a stat result."""
        return cls(found.st_dev, found.st_ino, found.st_size)

    def is_at(self, path: str) -> bool:
        """Return whether *path* still leads to exactly this file."""
        try:
            found = os.lstat(path)
        except OSError:
            return False
        return (
            found.st_ino == self.inode
            and found.st_dev == self.device
            and found.st_size == self.length
        )


def open_file(
    directory: int, name: str, *, flags: int, owners: Collection[int], shown: Path
) -> tuple[int, FileIdentity]:
    """Open *name* in the opened *directory* (law 1); *shown* is its path for people.

    Raises:
        FileNotFoundError: It does not exist.
        EnvironmentFailure: UNSAFE_PATH if it breaks the law, LATCH_UNAVAILABLE if it fails to open.
    """
    try:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise _unsafe(shown, "is a symbolic link") from exc
        raise EnvironmentFailure(
            f"{shown} cannot be opened: {exc.strerror}", reason=ErrorReason.LATCH_UNAVAILABLE
        ) from exc
    found = os.fstat(descriptor)
    problem = ""
    if not stat.S_ISREG(found.st_mode):
        problem = "is no regular file"
    elif found.st_uid not in {0, os.geteuid(), *owners}:
        problem = f"is owned by user {found.st_uid}"
    elif found.st_mode & _OTHERS_WRITE:
        problem = f"has mode {stat.S_IMODE(found.st_mode):04o}: others could change it"
    elif found.st_nlink != 1:
        problem = f"has {found.st_nlink} names"
    if problem:
        os.close(descriptor)
        raise _unsafe(shown, problem)
    return descriptor, FileIdentity.of(found)


def create_file(directory: int, name: str, *, length: int, mode: int, ops: FileOps) -> int:
    """Make *name* with *length* written zeros (law 2) and return its descriptor, unsynced.

    An earlier file of that name loses its name first, so that whoever has it mapped notices.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, mode, dir_fd=directory)
    try:
        os.fchmod(descriptor, mode)
        zeros = bytes(_CHUNK)
        for offset in range(0, length, _CHUNK):
            ops.write(descriptor, zeros[: min(_CHUNK, length - offset)], offset)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_slots_length(length: int) -> bool:
    """Return whether a slots file can be this long."""
    return length == SLOTS_BYTES


def is_journal_length(length: int) -> bool:
    """Return whether a journal can be this long."""
    half, odd = divmod(length, 2)
    return odd == 0 and half % PAGE == 0 and MIN_HALF_BYTES <= half <= MAX_HALF_BYTES


def read_boot_id() -> str:
    """Return the kernel's name for this boot.

    Raises:
        EnvironmentFailure: The kernel does not tell.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise EnvironmentFailure(
            "the kernel does not tell its boot id", hint=f"mount /proc so that {_BOOT_ID} exists"
        ) from exc


def boot_word(boot_id: str) -> int:
    """Return *boot_id* as the live page's 8-byte word; never 0."""
    digits = "".join(character for character in boot_id if character in "0123456789abcdef")
    return int(digits[:16] or "0", 16) or 1


def _unsafe(path: Path, what: str) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"{path} {what}", reason=ErrorReason.UNSAFE_PATH, hint="see who changed it before going on"
    )
