# SPDX-License-Identifier: Apache-2.0
"""Tells whoever listens that an approval changed.

Laws:

1. Nobody who listens can stop, delay or break a transition: listeners run in the loop on their own.
2. Whoever waits for a change either sees it or sees the state after it: none is missed between the
   first look and the waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.approvals.values import Approval

__all__ = ["Changes"]


class Changes:
    """Fans changes out. Belongs to one event loop."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Approval], None]] = []
        self._waiters: dict[str, set[asyncio.Future[Approval]]] = {}

    def add_listener(self, listener: Callable[[Approval], None]) -> None:
        """Call *listener* in the loop after every durable change."""
        self._listeners.append(listener)

    def publish(self, approval: Approval) -> None:
        """Tell everybody how *approval* stands now."""
        for waiter in self._waiters.pop(approval.id, ()):
            if not waiter.done():
                waiter.set_result(approval)
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.call_soon(listener, approval)  # law 1: what it raises goes to the loop's handler

    async def wait(
        self,
        approval_id: str,
        *,
        version: int,
        timeout_s: float,
        look: Callable[[str], Awaitable[Approval]],
    ) -> Approval:
        """Return the approval as soon as it is newer than *version*, or as it is at the timeout.

        Args:
            look: Reads it; what it raises is raised.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            waiter: asyncio.Future[Approval] = loop.create_future()
            self._waiters.setdefault(approval_id, set()).add(waiter)
            try:
                approval = await look(approval_id)
                if approval.version > version:
                    return approval
                left_s = deadline - loop.time()
                if left_s <= 0:
                    return approval
                await asyncio.wait([waiter], timeout=left_s)
            finally:
                self._forget(approval_id, waiter)

    def _forget(self, approval_id: str, waiter: asyncio.Future[Approval]) -> None:
        waiters = self._waiters.get(approval_id)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[approval_id]
