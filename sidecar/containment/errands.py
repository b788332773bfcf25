# SPDX-License-Identifier: Apache-2.0
"""Work that goes on when whoever asked for it has gone.

A caller's deadline ends the caller's waiting, never the order: everything here runs in tasks of its
own, found by name, and waited for behind a shield.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sidecar.errors import ConflictError

__all__ = ["Errands"]

_T = TypeVar("_T")


class Errands:
    """The tasks of one service. Belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._orders: dict[str, tuple[str, asyncio.Task[int]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def start(self, name: str, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run *work* to its end under *name*."""
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))
        return task

    async def wait_for(self, name: str) -> None:
        """Wait for the work of that name, if it still runs; raises what it raises."""
        task = self._tasks.get(name)
        if task is not None:
            await asyncio.shield(task)

    async def order(
        self,
        request_id: str,
        fingerprint: str,
        *,
        done: int | None,
        work: Callable[[], Coroutine[Any, Any, int]],
    ) -> tuple[int, bool]:
        """Do *work* once for all who ask with this request id.

        Args:
            request_id: Names the order.
            fingerprint: What the order is.
            done: The epoch that came of it, if it was published before.
            work: Does it and returns its epoch.

        Returns:
            The epoch, and whether somebody else had it done.

        Raises:
            ConflictError: The id is in use for another order.
        """
        running = self._orders.get(request_id)
        if running is not None:
            if running[0] != fingerprint:
                raise ConflictError("this request id is in use for another order")
            return await asyncio.shield(running[1]), True
        if done is not None:
            return done, True
        task = self.start(f"order {request_id}", work())
        self._orders[request_id] = (fingerprint, task)
        task.add_done_callback(lambda _: self._orders.pop(request_id, None))
        return await asyncio.shield(task), False

    async def aclose(self) -> None:
        """Wait until nothing runs any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))
