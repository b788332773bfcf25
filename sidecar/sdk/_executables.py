# SPDX-License-Identifier: Apache-2.0
"""Whether a program is still the file that the gate decided on.

Laws:

1. Device, inode and change time must be those of the decision, and the content if it is pinned: a
   deleted file's inode is given to the next one, and a write leaves it as it is.
2. A link in its place, or whatever cannot be looked at, is another program.

Between this look and the start of the program there is still a moment. Who may write the program's
directory can use it; nobody else can.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from sidecar.sdk.values import Executable

__all__ = ["is_unchanged"]

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def is_unchanged(executable: Executable) -> bool:
    """Return whether *executable* is on disk what it was when the decision was made."""
    try:
        if not executable.sha256:
            return _is_same(os.lstat(executable.path), executable)
        with os.fdopen(os.open(executable.path, _FLAGS), "rb") as file:
            if not _is_same(os.fstat(file.fileno()), executable):
                return False
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest == executable.sha256 and _is_same(os.fstat(file.fileno()), executable)
    except (OSError, ValueError):
        return False


def _is_same(status: os.stat_result, executable: Executable) -> bool:
    return (status.st_dev, status.st_ino, status.st_ctime_ns) == (
        executable.device,
        executable.inode,
        executable.change_time_ns,
    )
