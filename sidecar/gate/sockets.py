# SPDX-License-Identifier: Apache-2.0
"""One Unix socket per agent, and nobody else's.

gRPC cannot show who is at the other end of a Unix socket, so the kernel's file permissions are the
identity: each agent's socket lies in a directory of its own (0750), which its group may enter, and
the server behind it takes the agent's name from *which socket it is*.

Laws:
1. The path is ours alone: no symlink, no foreign owner, nothing that others may write
   (``sidecar.safe_paths``). Otherwise the gate refuses to start.
2. gRPC would silently unlink and replace a socket that another gate serves, so a lock file is taken
   before the bind.
3. Once bound, the path must keep its inode. A socket that was replaced behind our back is not ours
   any more, and the gate must stop answering on it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.model import AgentId
from sidecar.safe_paths import ensure_private_directory

__all__ = ["MAX_PATH_BYTES", "AgentSocket", "claim_socket"]

MAX_PATH_BYTES: Final = 107
"""``sizeof(sockaddr_un.sun_path) - 1`` on Linux (unix(7))."""

_DIRECTORY_MODE: Final = 0o750
_SOCKET_MODE: Final = 0o660


@dataclass(slots=True, kw_only=True)
class AgentSocket:
    """The claim on an agent's socket path; ``seal`` after the bind, ``close`` at the end."""

    agent: AgentId
    path: Path
    _lock_fd: int
    _identity: tuple[int, int] | None = None

    @property
    def address(self) -> str:
        """The address for gRPC."""
        return f"unix:{self.path}"

    def seal(self) -> None:
        """Set the bound socket's mode and remember its inode (law 3).

        Raises:
            EnvironmentFailure: The socket is not there, or is no socket.
        """
        status = os.lstat(self.path)
        if not stat.S_ISSOCK(status.st_mode):
            raise EnvironmentFailure(
                f"{self.path} is not a socket after the bind",
                reason=ErrorReason.UNSAFE_PATH,
                hint="another process writes to this directory; give the gate one of its own",
            )
        os.chmod(self.path, _SOCKET_MODE)
        self._identity = (status.st_dev, status.st_ino)

    def is_ours(self) -> bool:
        """Return whether the path still leads to the socket that was bound."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def close(self) -> None:
        """Remove the socket if it is still ours, and give the claim back."""
        if self._identity is not None and self.is_ours():
            self.path.unlink(missing_ok=True)
        os.close(self._lock_fd)


def claim_socket(agent: AgentId, directory: Path) -> AgentSocket:
    """Claim ``<directory>/<agent>/guard.sock`` for this process.

    Raises:
        EnvironmentFailure: The path is too long, unsafe (law 1), not a socket, or already claimed by
            a running gate (law 2).
    """
    home = directory / agent
    path = home / "guard.sock"
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise EnvironmentFailure(
            f"the socket path {path} has more than {MAX_PATH_BYTES} bytes",
            reason=ErrorReason.SOCKET_UNAVAILABLE,
            hint="choose a shorter runtime_dir",
        )
    ensure_private_directory(home, _DIRECTORY_MODE)
    lock_fd = os.open(
        home / "guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        _take(lock_fd, path)
        _clear(path)
    except BaseException:
        os.close(lock_fd)
        raise
    return AgentSocket(agent=agent, path=path, _lock_fd=lock_fd)


def _take(lock_fd: int, path: Path) -> None:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise EnvironmentFailure(
            f"another gate already serves {path}",
            reason=ErrorReason.SOCKET_UNAVAILABLE,
            hint="stop it first, or give this gate another runtime_dir",
        ) from exc


def _clear(path: Path) -> None:
    """Remove what an earlier gate left; refuse anything that is not a socket of ours."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise EnvironmentFailure(
            f"{path} exists and is not a socket of this user",
            reason=ErrorReason.UNSAFE_PATH,
            hint="find out who made it before you remove it",
        )
    path.unlink()
