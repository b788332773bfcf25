# SPDX-License-Identifier: Apache-2.0
"""Which program a command names: a file on disk, not a word.

Laws:

1. ``argv[0]`` is the absolute real path of a regular, executable file; nothing is searched for in
   ``PATH``, no link is followed, and no blank stands at either end of the name.
2. A program *is* its device, inode, size and change time, and its SHA-256 if pinned. The change
   time moves with every write and cannot be set back by ``utime``.
3. ``verify_executable`` looks again at the moment of use; any difference is a refusal. Replacing
   the file and restoring its name does not help.
4. A file that everybody may write is no program: its identity would say nothing a moment later.

What a program does with its other words (``env sh -c``, ``busybox sh``, ``git -c``) is not known
here; a policy that allows a program allows all of it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Final

from sidecar.arguments.paths import check_spelling, open_without_links
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

__all__ = ["ExecutableIdentity", "resolve_executable", "verify_executable"]

_CHUNK: Final = 1 << 20
_MAX_PINNED_BYTES: Final = 1 << 30
_ANY_EXECUTE: Final = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutableIdentity:
    """What a program was when the decision was made."""

    path: str
    device: int
    inode: int
    size: int
    change_time_ns: int
    sha256: str = ""
    """Lower-case hex; empty if the content is not pinned."""


def resolve_executable(argv0: str, *, pin_content: bool = False) -> ExecutableIdentity:
    """Return the identity of the program *argv0*.

    Args:
        argv0: First word of the command, exactly as it will be executed.
        pin_content: Also read the file and record its SHA-256.

    Raises:
        ShapeError: SCHEMA.
    """
    components = check_spelling(argv0)
    if any(part != part.strip() for part in components):
        raise _refused("the program's path has a blank at the end of a name")
    descriptor, is_whole = open_without_links(components)
    try:
        if not is_whole:
            raise _refused("the program does not exist")
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not status.st_mode & _ANY_EXECUTE:
            raise _refused("the program is not an executable file")
        if status.st_mode & stat.S_IWOTH:
            raise _refused("everybody may write the program")
        return ExecutableIdentity(
            path=argv0,
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            change_time_ns=status.st_ctime_ns,
            sha256=_digest(descriptor, status) if pin_content else "",
        )
    finally:
        os.close(descriptor)


def verify_executable(identity: ExecutableIdentity) -> None:
    """Check at the moment of use that the program is still the one that was decided on.

    Raises:
        ShapeError: SCHEMA, if the path now leads elsewhere or the file changed.
    """
    if resolve_executable(identity.path, pin_content=bool(identity.sha256)) != identity:
        raise _refused("the program is not the one that was decided on")


def _digest(descriptor: int, before: os.stat_result) -> str:
    """Return the SHA-256 of the very file behind *descriptor* (an ``O_PATH`` handle)."""
    if before.st_size > _MAX_PINNED_BYTES:
        raise _refused(f"the program is longer than {_MAX_PINNED_BYTES} bytes")
    digest = hashlib.sha256()
    try:
        with open(f"/proc/self/fd/{descriptor}", "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            after = os.fstat(file.fileno())
    except OSError:
        raise _refused("the program cannot be read") from None
    if (after.st_size, after.st_ctime_ns) != (before.st_size, before.st_ctime_ns):
        raise _refused("the program changed while it was read")
    return digest.hexdigest()


def _refused(message: str) -> ShapeError:
    return ShapeError(message, code=ReasonCode.SCHEMA, hint="use the program's real, absolute path")
