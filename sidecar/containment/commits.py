# SPDX-License-Identifier: Apache-2.0
"""One sync for all who wait (natural group commit).

Whoever publishes while a sync runs waits for the next one, together with everybody else who did. No
timer collects them, so a lone kill never waits for company.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from sidecar.errors import NotDurableError

__all__ = ["Commits", "Durable"]


class Durable(Protocol):
    """What can be made durable; ``sidecar.latch.writer.LatchWriter`` is."""

    def make_durable(self) -> None:
        """Block until everything published before the call is durable, or raise."""


class Commits:
    """Makes a ``Durable`` durable in a thread of its own. Belongs to one event loop."""

    def __init__(self, *, target: Durable) -> None:
        self._target = target
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="latch-sync")
        self._waiting: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    async def durable(self) -> None:
        """Return when everything published before this call is durable.

        Raises:
            NotDurableError: It is not, and will not be.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="latch-sync")
        await future

    async def aclose(self) -> None:
        """Wait for the sync that runs, and let go of the thread."""
        if self._task is not None:
            await asyncio.wait([self._task])
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            problem: NotDurableError | None = None
            try:
                await loop.run_in_executor(self._thread, self._target.make_durable)
            except NotDurableError as exc:
                problem = exc
            except RuntimeError as exc:  # closed under us
                problem = NotDurableError("the latch was closed before it was durable")
                problem.__cause__ = exc
            for future in batch:
                if future.done():
                    continue  # who waited has gone
                if problem is None:
                    future.set_result(None)
                else:
                    future.set_exception(problem)
