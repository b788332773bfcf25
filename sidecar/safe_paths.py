# SPDX-License-Identifier: Apache-2.0
"""Refuses paths that somebody else could have prepared.

The latch, the sockets, the keys and the databases are only as trustworthy as the directories they
lie in: whoever can rename a directory can put another in its place.

Laws:

1. No component of a path is owned by anybody but root, this process's user, or an owner that the
   caller names.
2. No component can be renamed by others: not writable for group or world, unless its sticky bit
   keeps foreigners from renaming what is not theirs (``/tmp``).
3. The last component is never a symbolic link. A link before it counts only if root made it, and
   what it leads to is held to the same laws.
4. A secret is a regular file that nobody but its owner can read or write. What is read is what was
   checked: the check is made on the opened file.
5. Nothing is repaired. The error names the component and the command that repairs it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure, ErrorReason

__all__ = [
    "check_directory",
    "check_secret_file",
    "ensure_private_directory",
    "open_directory",
    "read_secret_file",
]

_MAX_LINKS: Final = 40
_OTHERS_WRITE: Final = 0o022
_OTHERS_ANY: Final = 0o077
_PERMISSIONS: Final = 0o777
_ROOT: Final = 0


def ensure_private_directory(path: Path, mode: int = 0o700) -> None:
    """Make the directory *path* with *mode* if it is missing, then hold it to the laws above.

    Missing parents are made with mode 0755 less the umask. An existing directory may be narrower
    than *mode* but not wider.

    Raises:
        EnvironmentFailure: UNSAFE_PATH, or STORE_UNAVAILABLE if it cannot be made.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            pass
        else:
            path.chmod(mode, follow_symlinks=True)  # mkdir's mode is cut by the umask
    except OSError as exc:
        raise EnvironmentFailure(
            f"directory {path} cannot be made: {exc.strerror}",
            hint="make it by hand and give it to the user Holdfast runs as",
        ) from exc
    check_directory(path, mode=mode)


def check_directory(path: Path, *, mode: int = 0o700, owners: Collection[int] = ()) -> None:
    """Hold the directory *path* and everything above it to the laws.

    Args:
        path: The directory.
        mode: The widest permissions it may have.
        owners: User ids that count as trustworthy beside root and this process's own.

    Raises:
        EnvironmentFailure: UNSAFE_PATH, naming the component and the remedy.
    """
    os.close(open_directory(path, mode=mode, owners=owners))


def open_directory(path: Path, *, mode: int = 0o700, owners: Collection[int] = ()) -> int:
    """Check *path* like ``check_directory`` and return a descriptor of exactly what was checked."""
    path = path.absolute()
    trusted = _trusted(owners)
    _check_ancestors(path, trusted, _MAX_LINKS)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as exc:
        if path.is_symlink():
            raise _unsafe(
                path, "is a symbolic link", f"remove it, then: mkdir -m {mode:04o} {path}"
            ) from exc
        raise _unsafe(path, f"is no directory that can be opened: {exc.strerror}") from exc
    try:
        _check_component(path, os.fstat(descriptor), trusted)
        found = stat.S_IMODE(os.fstat(descriptor).st_mode) & _PERMISSIONS
        if found & ~mode:
            raise _unsafe(
                path,
                f"has mode {found:04o}, at most {mode:04o} is safe",
                f"chmod {mode:04o} {path}",
            )
    except EnvironmentFailure:
        os.close(descriptor)
        raise
    return descriptor


def check_secret_file(path: Path) -> None:
    """Hold the key or token file *path* to the laws, without reading it.

    Raises:
        EnvironmentFailure: UNSAFE_PATH, naming the component and the remedy.
    """
    # O_PATH: closing a descriptor that can read drops the locks that SQLite holds on a database.
    os.close(_open_secret(path.absolute(), os.O_PATH))


def read_secret_file(path: Path, *, max_bytes: int = 64 * 1024) -> bytes:
    """Return the content of the key or token file *path* after holding it to the laws.

    Raises:
        EnvironmentFailure: UNSAFE_PATH if it breaks a law, STORE_UNAVAILABLE if it cannot be read
            or is longer than *max_bytes*.
    """
    path = path.absolute()
    # O_NONBLOCK: a pipe put there must not make the start hang; it has no effect on a file.
    descriptor = _open_secret(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        try:
            content = file.read(max_bytes + 1)
        except OSError as exc:
            raise EnvironmentFailure(f"{path} cannot be read: {exc.strerror}") from exc
    if len(content) > max_bytes:
        raise EnvironmentFailure(f"{path} is longer than {max_bytes} bytes")
    return content


def _open_secret(path: Path, how: int) -> int:
    trusted = _trusted(())
    _check_ancestors(path, trusted, _MAX_LINKS)
    if path.is_symlink():
        raise _unsafe(path, "is a symbolic link", "give the path of the file itself")
    try:
        descriptor = os.open(path, how | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise _unsafe(path, f"cannot be opened: {exc.strerror}") from exc
    found = os.fstat(descriptor)
    try:
        if not stat.S_ISREG(found.st_mode):
            raise _unsafe(path, "is no regular file", "move it away")
        if found.st_uid not in trusted:
            raise _unsafe(path, f"is owned by user {found.st_uid}", f"chown {os.geteuid()} {path}")
        if found.st_mode & _OTHERS_ANY:
            raise _unsafe(
                path,
                f"has mode {stat.S_IMODE(found.st_mode):04o}: others could read or change it",
                f"chmod 0600 {path}",
            )
    except EnvironmentFailure:
        os.close(descriptor)
        raise
    return descriptor


def _check_ancestors(path: Path, trusted: frozenset[int], links_left: int) -> None:
    """Check every component above the last one (laws 1 to 3)."""
    current = Path(path.anchor)
    _check_component(current, _lstat(current), trusted)
    for name in path.parts[1:-1]:
        current = current / name
        found = _lstat(current)
        if stat.S_ISLNK(found.st_mode):
            if found.st_uid != _ROOT or links_left == 0:
                raise _unsafe(current, "is a symbolic link", "give the path without it")
            current = Path(os.path.normpath(current.parent / current.readlink()))
            _check_ancestors(current, trusted, links_left - 1)
            found = _lstat(current)
            if stat.S_ISLNK(found.st_mode):
                raise _unsafe(current, "is a symbolic link to a symbolic link")
        _check_component(current, found, trusted)


def _check_component(path: Path, found: os.stat_result, trusted: frozenset[int]) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise _unsafe(path, "is no directory")
    if found.st_uid not in trusted:
        raise _unsafe(
            path,
            f"is owned by user {found.st_uid}, who could replace what is in it",
            f"chown {os.geteuid()} {path}",
        )
    if found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        raise _unsafe(
            path,
            f"has mode {stat.S_IMODE(found.st_mode):04o}: others could replace what is in it",
            f"chmod go-w {path}",
        )


def _trusted(owners: Collection[int]) -> frozenset[int]:
    return frozenset((_ROOT, os.geteuid(), *owners))


def _lstat(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as exc:
        raise _unsafe(path, f"cannot be looked at: {exc.strerror}") from exc


def _unsafe(path: Path, what: str, hint: str = "") -> EnvironmentFailure:
    return EnvironmentFailure(f"{path} {what}", reason=ErrorReason.UNSAFE_PATH, hint=hint)
