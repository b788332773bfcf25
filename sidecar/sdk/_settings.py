# SPDX-License-Identifier: Apache-2.0
"""Where the gate is and how to speak to it; what ``holdfast run`` puts into the environment.

Laws:

1. There is no setting that allows anything: no "disabled", no "fail open". Waiting longer for a human
   is none either.
2. Only Unix sockets: the socket is the agent's identity, and a network address would have none.
3. A token is held in memory only between a change of its file and the next, and shown nowhere.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

__all__ = ["DEFAULT_DEADLINE", "Settings", "TokenFile", "TokenProvider"]

DEFAULT_DEADLINE: Final = timedelta(milliseconds=250)
_MIN_DEADLINE: Final = timedelta(milliseconds=1)
_MAX_DEADLINE: Final = timedelta(minutes=1)
_MAX_HOLD_TIMEOUT: Final = timedelta(hours=24)
_MAX_SOCKET_PATH: Final = 107
_SESSION: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:-]{0,127})?")
_DIGITS: Final = re.compile(r"[0-9]{1,8}")

TokenProvider = Callable[[], str]
"""Returns the agent's token, or an empty string if it has none at present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one guard reaches its gate.

    Args:
        address: ``unix:/run/holdfast/agents/<agent>/guard.sock``.
        session: Session of the agent's runtime that calls belong to unless they say otherwise.
        deadline: How long a call waits for its decision before it is denied here.
        token_provider: Called for each decision; must not block.
        hold_timeout: How long the decorator and ``call`` wait for a human, unless they say so.

    Raises:
        ValueError: a setting can't be used.
    """

    address: str
    session: str = ""
    deadline: timedelta = DEFAULT_DEADLINE
    token_provider: TokenProvider | None = field(default=None, repr=False)
    hold_timeout: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        path = self.address.removeprefix("unix:")
        if path == self.address or not path.startswith("/") or "\0" in path:
            raise ValueError(
                "the gate's address must be 'unix:' and the absolute path of its socket, "
                f"not {self.address!r}"
            )
        if len(os.fsencode(path.removeprefix("//"))) > _MAX_SOCKET_PATH:
            raise ValueError(f"the path of the gate's socket is over {_MAX_SOCKET_PATH} bytes")
        if not _SESSION.fullmatch(self.session):
            raise ValueError(
                "a session id is 1 to 128 of A-Z a-z 0-9 . _ : - and starts with none of the marks"
            )
        if not _MIN_DEADLINE <= self.deadline <= _MAX_DEADLINE:
            raise ValueError("the deadline must lie between one millisecond and one minute")
        if not timedelta(0) <= self.hold_timeout <= _MAX_HOLD_TIMEOUT:
            raise ValueError("the time to wait for a human must lie between none and 24 hours")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Return the settings that the environment holds.

        ``HOLDFAST_ADDRESS`` is required; ``HOLDFAST_SESSION``, ``HOLDFAST_DEADLINE_MS``,
        ``HOLDFAST_HOLD_TIMEOUT_MS`` and ``HOLDFAST_TOKEN_FILE`` are optional.

        Raises:
            ValueError: one is missing or can't be used; says which.
        """
        env = os.environ if environ is None else environ
        address = env.get("HOLDFAST_ADDRESS", "")
        if not address:
            raise ValueError(
                "HOLDFAST_ADDRESS is not set: start the agent with 'holdfast run', or set it to "
                "'unix:' and the path of the agent's guard.sock"
            )
        token_file = env.get("HOLDFAST_TOKEN_FILE", "")
        return cls(
            address=address,
            session=env.get("HOLDFAST_SESSION", ""),
            deadline=_milliseconds(env, "HOLDFAST_DEADLINE_MS", DEFAULT_DEADLINE),
            token_provider=TokenFile(Path(token_file)) if token_file else None,
            hold_timeout=_milliseconds(env, "HOLDFAST_HOLD_TIMEOUT_MS", timedelta(0)),
        )


def _milliseconds(env: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    text = env.get(name, "")
    if text and not _DIGITS.fullmatch(text):
        raise ValueError(f"{name} must be a whole number of milliseconds")
    return timedelta(milliseconds=int(text)) if text else default


class TokenFile:
    """Reads a token from a file, anew whenever the file changed.

    A file that is missing, unreadable, too large or no regular file is no token: the gate denies
    the tools that ask for one.
    """

    _MAX_BYTES: Final = 16 * 1024
    _SETTLED_NS: Final = 50_000_000
    """A file changed this short ago may change again within one tick of its time stamp."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._token = ""

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    def __call__(self) -> str:
        """Return the token, or an empty string."""
        try:
            if self._seen is None or self._seen != _signature(self._path.stat()):
                self._read()
        except OSError:
            self._seen, self._token = None, ""
        return self._token

    def _read(self) -> None:
        # O_NONBLOCK: a named pipe in the file's place must not stop the event loop.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            is_file = stat.S_ISREG(status.st_mode)
            data = file.read(self._MAX_BYTES + 1) if is_file else b""
        text = data.strip().decode("ascii", errors="replace")
        is_token = len(data) <= self._MAX_BYTES and text.isascii() and text.isprintable()
        self._token = text if is_token else ""
        is_settled = time.time_ns() - status.st_mtime_ns > self._SETTLED_NS
        self._seen = _signature(status) if is_settled else None


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
