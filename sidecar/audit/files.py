# SPDX-License-Identifier: Apache-2.0
"""The file system as an argument, and the two ways in which the log writes.

Every write, sync, rename and removal of the log goes through ``Files``, so that a test can fail
each of them in turn. Laws:

1. A file is *replaced whole*: written under ``tmp/``, synced, renamed, and the directory synced. A
   reader sees the old bytes or the new ones.
2. Directories are 0700, files 0600. Symbolic links are never followed, and a directory that others
   can write to, or that somebody else owns, is refused.
3. A failed write or sync is reported, never retried: after a failed ``fsync`` the kernel may have
   dropped the data and will say "fine" the next time.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Protocol

from sidecar.errors import EnvironmentFailure, ErrorReason, IntegrityError

__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "Files",
    "OsFiles",
    "make_directories",
    "prepare_directory",
    "read_regular",
    "replace_file",
    "write_all",
]

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Files(Protocol):
    """What the log asks of the file system to change something."""

    def open(self, path: Path, flags: int) -> int:
        """Open *path*, creating it as a private file where *flags* say so."""

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write and return how many bytes went; fewer than given is possible."""

    def fdatasync(self, descriptor: int) -> None:
        """Return when data and size are on the medium."""

    def fsync(self, descriptor: int) -> None:
        """Return when everything about the file is on the medium."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to *size* bytes."""

    def rename(self, source: Path, target: Path) -> None:
        """Move *source* over *target*, atomically."""

    def unlink(self, path: Path) -> None:
        """Remove *path*."""

    def mkdir(self, path: Path) -> None:
        """Make the private directory *path*."""

    def rmdir(self, path: Path) -> None:
        """Remove the empty directory *path*."""

    def sync_directory(self, path: Path) -> None:
        """Return when the names in *path* are on the medium."""


class OsFiles:
    """The real file system."""

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        return os.write(descriptor, data)

    def fdatasync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def mkdir(self, path: Path) -> None:
        path.mkdir(DIRECTORY_MODE)

    def rmdir(self, path: Path) -> None:
        path.rmdir()

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_all(files: Files, descriptor: int, data: bytes) -> None:
    """Write all of *data*; a short write is followed by the rest.

    Raises:
        OSError: the file system refused, or made no progress.
    """
    written = files.write(descriptor, data)
    while written < len(data):
        step = files.write(descriptor, memoryview(data)[written:])
        if step <= 0:
            raise OSError("the file system wrote nothing")
        written += step


def replace_file(files: Files, *, scratch: Path, path: Path, data: bytes) -> None:
    """Put *data* at *path*, durably and whole (law 1), but for the directory's own sync.

    The caller syncs the directory: it often has several new names to make durable at once.
    """
    temporary = scratch / path.name
    descriptor = files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(files, descriptor, data)
        files.fsync(descriptor)
    finally:
        os.close(descriptor)
    files.rename(temporary, path)


def make_directories(files: Files, base: Path, path: Path) -> None:
    """Make *path* and what is missing of its parents below *base*, durably."""
    missing: list[Path] = []
    while path != base and not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        files.mkdir(directory)
        files.sync_directory(directory.parent)


def prepare_directory(files: Files, path: Path) -> None:
    """Make *path* if it is missing and refuse it if it is not private (law 2).

    Raises:
        EnvironmentFailure: *path* is a link, no directory, not ours, or writable by others.
    """
    if not path.is_symlink() and not path.exists():
        files.mkdir(path)
        files.sync_directory(path.parent)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        problem = "is not a directory"
    elif status.st_uid != os.geteuid():
        problem = "belongs to another user"
    elif status.st_mode & 0o022:
        problem = "can be written by others"
    else:
        return
    raise EnvironmentFailure(
        f"the audit directory {path} {problem}",
        reason=ErrorReason.UNSAFE_PATH,
        hint=f"use a directory of mode {DIRECTORY_MODE:04o} that belongs to this process's user",
    )


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Return the content of the regular file *path*.

    Raises:
        FileNotFoundError: there is none.
        EnvironmentFailure: this user may not read it.
        IntegrityError: it is a link, a device, a pipe, or larger than *max_bytes*.
    """
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        raise
    except PermissionError as exc:  # says nothing about the log: somebody else's user may read it
        raise EnvironmentFailure(
            f"{path} may not be read by this user",
            reason=ErrorReason.STORE_UNAVAILABLE,
            hint="read it as the log's own user, or as root",
        ) from exc
    except OSError as exc:
        raise IntegrityError(f"{path} cannot be read as a regular file: {exc.strerror}") from exc
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise IntegrityError(f"{path} is not a regular file")
        if status.st_size > max_bytes:
            raise IntegrityError(f"{path} has {status.st_size} bytes, over {max_bytes}")
        data = b""
        while len(data) <= max_bytes:
            part = file.read(max_bytes + 1 - len(data))
            if not part:
                return data
            data += part
    raise IntegrityError(f"{path} has over {max_bytes} bytes")
