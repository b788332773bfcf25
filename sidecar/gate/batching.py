# SPDX-License-Identifier: Apache-2.0
"""Natural batching: whatever waits while a message is being written goes into the next one.

No timer and no threshold: an idle stream answers at once, a busy one sends fewer, fuller messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc

__all__ = ["Outbox"]

T = TypeVar("T")


class Outbox(Generic[T]):
    """The sending half of one stream; use as ``async with`` around the reading loop."""

    def __init__(
        self,
        context: grpc.aio.ServicerContext,
        message_of: Callable[[list[Any]], Any],
        *,
        max_unsent: int,
    ) -> None:
        self._context = context
        self._message_of = message_of
        self._max_unsent = max_unsent
        self._waiting: list[Any] = []
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._is_closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Outbox[T]:
        self._writer = asyncio.create_task(self._write_all())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._writer is not None  # noqa: S101 - set on enter
        try:
            if kind is None:
                # The caller finished asking: it still gets every answer it waits for.
                while self._tasks:
                    await asyncio.gather(*self._tasks, return_exceptions=True)
                self._is_closing = True
                self._wake.set()
                await self._writer
        finally:
            for task in (*self._tasks, self._writer):
                task.cancel()

    def put(self, item: Any) -> None:
        """Queue *item*; it leaves with the next message."""
        waiting = self._waiting
        waiting.append(item)
        if len(waiting) == 1:
            self._wake.set()
        if len(waiting) >= self._max_unsent:
            self._room.clear()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* beside the reading loop; it is cancelled if the stream breaks."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def has_room(self) -> None:
        """Wait until a caller that does not read has taken some of its answers."""
        if not self._room.is_set():
            await self._room.wait()

    async def _write_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            items, self._waiting = self._waiting, []
            self._room.set()
            if items:
                await self._context.write(self._message_of(items))
            if self._is_closing and not self._waiting:
                return
            if self._waiting:
                self._wake.set()
