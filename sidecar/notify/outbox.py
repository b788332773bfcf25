# SPDX-License-Identifier: Apache-2.0
"""What has been accepted and not delivered yet, so that a restart does not forget it.

Laws:

1. Nobody waits for the disk: changes are noted in order and written by one thread, as many at once
   as have gathered (group commit). ``flush`` waits until everything noted so far is durable.
2. A notice is taken out in the same transaction that keeps the handle to its message. A crash before
   that delivers it again, with the same id: at least once.
3. A store that fails costs durability and nothing else. It is said once, the notices go out all the
   same, and the next change tries the store again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from sidecar.errors import HoldfastError

__all__ = ["Accepted", "Change", "Forgotten", "NoticeStore", "Outbox", "Settled", "Stored"]

_MAX_NOTED: Final = 10_000
_CLOSING_S: Final = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A notice is to be delivered on *channels*."""

    notice_id: str
    channels: tuple[str, ...]
    notice: bytes
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A notice needs no delivery on *channel* any more.

    ``handle`` is what stands there now about ``approval``; None leaves what was kept before.
    """

    notice_id: str
    channel: str
    time_ns: int
    approval: str = ""
    handle: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Handles that have not changed since *before_ns* are not needed any more."""

    before_ns: int


Change = Accepted | Settled | Forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A notice that was accepted and is not settled on *channel*."""

    notice_id: str
    channel: str
    notice: bytes
    time_ns: int


class NoticeStore(Protocol):
    """Where the outbox keeps things; every method blocks, and raises ``HoldfastError``."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Make all *changes* durable, in order, or none."""

    def pending(self) -> Sequence[Stored]:
        """Return what is not settled, in the order in which it was accepted."""

    def handles(self) -> Mapping[tuple[str, str], str]:
        """Return the handle for every (approval, channel) that has one."""

    def close(self) -> None:
        """Close the store."""


class Outbox:
    """Writes changes to *store* behind the caller's back; without one it does nothing."""

    def __init__(self, store: NoticeStore | None) -> None:
        self._store = store
        self._noted: list[Change] = []
        self._has_work = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="notify-outbox")
        self._writer: asyncio.Task[None] | None = None
        self._is_closing = False
        self.is_durable = store is not None

    async def load(self) -> tuple[Sequence[Stored], Mapping[tuple[str, str], str]]:
        """Return what a former process left: notices and handles; nothing, if that fails (law 3)."""
        store = self._store
        if store is None:
            return (), {}

        def read() -> tuple[Sequence[Stored], Mapping[tuple[str, str], str]]:
            return store.pending(), store.handles()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, read)
        except HoldfastError as exc:
            self._failed(exc)
            return (), {}

    def start(self) -> None:
        """Begin to write what has been noted."""
        self._writer = asyncio.create_task(self._write(), name="notify-outbox")

    def note(self, change: Change) -> None:
        """Have *change* written (law 1). What cannot be written for too long is let go."""
        if self._store is None or len(self._noted) >= _MAX_NOTED:
            return
        self._noted.append(change)
        self._is_idle.clear()
        self._has_work.set()

    async def flush(self) -> None:
        """Wait until everything noted so far is durable, or was let go."""
        if self._writer is not None:
            await self._is_idle.wait()

    async def aclose(self) -> None:
        """Write what is noted, then close the store. A disk that hangs is not waited for."""
        self._is_closing = True
        self._has_work.set()
        if self._writer is None:
            self.start()
        assert self._writer is not None  # noqa: S101 - narrows the type only
        await asyncio.wait((self._writer,), timeout=_CLOSING_S)
        self._thread.shutdown(wait=False)

    def _take(self) -> list[Change]:
        taken, self._noted = self._noted, []
        return taken

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while not (self._is_closing and not self._noted):
            await self._has_work.wait()
            self._has_work.clear()
            await loop.run_in_executor(self._thread, self._apply, self._take())
            if not self._noted:
                self._is_idle.set()
        if self._store is not None:
            await loop.run_in_executor(self._thread, self._store.close)

    def _apply(self, changes: Sequence[Change]) -> None:
        if not changes or self._store is None:
            return
        try:
            self._store.apply(changes)
        except HoldfastError as exc:
            self._failed(exc)
        else:
            self.is_durable = True

    def _failed(self, exc: HoldfastError) -> None:
        if self.is_durable:
            _log.warning("notices are not durable", error=str(exc), reason=exc.reason.value)
        self.is_durable = False
