# SPDX-License-Identifier: Apache-2.0
"""Natural batching: whatever waits while a message is being written goes into the next one.

No timer, no threshold and no writer task: whoever has something to send writes it, unless somebody is
writing already, who then takes it along. An idle stream answers at once, a busy one sends fewer,
fuller messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

import grpc

__all__ = ["Outbox"]


class Outbox:
    """The sending half of one stream; use as ``async with`` around the reading loop."""

    def __init__(
        self, context: grpc.aio.ServicerContext, message_of: Callable[[list[Any]], Any]
    ) -> None:
        self._context = context
        self._message_of = message_of
        self._waiting: list[Any] = []
        self._is_writing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Outbox:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            # The caller finished asking: it still gets every answer it waits for.
            while self._tasks:
                await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.flush()
        for task in self._tasks:
            task.cancel()

    def put(self, item: Any) -> None:
        """Queue *item*; it leaves with the next ``flush``."""
        self._waiting.append(item)

    async def flush(self) -> None:
        """Send what waits, and what comes meanwhile; returns at once if somebody else does."""
        if self._is_writing:
            return
        self._is_writing = True
        try:
            while self._waiting:
                items, self._waiting = self._waiting, []
                await self._context.write(self._message_of(items))
        finally:
            self._is_writing = False

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* beside the reading loop; it is cancelled if the stream breaks."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def has_room(self, max_tasks: int) -> None:
        """Wait until fewer than *max_tasks* pieces of work are under way."""
        while len(self._tasks) >= max_tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
