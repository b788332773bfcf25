# SPDX-License-Identifier: Apache-2.0
"""Those who wait until a growing number has reached a value: coroutines and blocked threads.

Laws:

1. Nobody waits for ever: each has a deadline, and a failure wakes everybody.
2. A wait that was reached succeeds even if the log has failed since.
3. The thread that advances the number wakes the event loop once, however many coroutines wait;
   and one timer serves all deadlines (a timer each would cost more than the wait itself).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple

from sidecar.errors import EnvironmentFailure, NotDurableError

__all__ = ["Waiters"]


class _Waiter(NamedTuple):
    wanted: int
    deadline: float
    future: asyncio.Future[None]


class Waiters:
    """Waits on one number."""

    def __init__(
        self,
        lock: threading.Lock,
        *,
        reached: Callable[[], int],
        failure: Callable[[], EnvironmentFailure | None],
    ) -> None:
        """Wait until ``reached()`` is large enough, or ``failure()`` is an error."""
        self._lock = lock
        self._reached = reached
        self._failure = failure
        self._advanced = threading.Condition(lock)
        self._blocked = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_scheduled = False
        self._waiters: list[_Waiter] = []
        self._timer: asyncio.TimerHandle | None = None

    def enlist(self, wanted: int, *, timeout_s: float) -> asyncio.Future[None] | None:
        """Return a future for *wanted* that is done in *timeout_s* at the latest; None if reached.

        The future ends with ``NotDurableError`` after the deadline and with
        ``EnvironmentFailure`` if the log fails.

        Raises:
            EnvironmentFailure: the log has failed already.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._is_reached(wanted):
                return None
            if loop is not self._loop:
                self._adopt(loop)
            future = loop.create_future()
            deadline = loop.time() + timeout_s
            self._waiters.append(_Waiter(wanted, deadline, future))
            if self._timer is None or deadline < self._timer.when():
                self._arm(deadline)
        return future

    def block(self, wanted: int, *, timeout_s: float) -> None:
        """Return when *wanted* is reached; for a thread without an event loop.

        Raises:
            NotDurableError: it was not within *timeout_s*.
            EnvironmentFailure: the log failed first.
        """
        with self._lock:
            self._blocked += 1
            try:
                is_reached = self._advanced.wait_for(lambda: self._is_reached(wanted), timeout_s)
            finally:
                self._blocked -= 1
        if not is_reached:
            raise _late()

    def wake(self) -> None:
        """Say that the number grew, or that the log failed. The caller holds the lock."""
        if self._blocked:
            self._advanced.notify_all()
        if self._waiters and self._loop is not None and not self._is_scheduled:
            try:
                self._loop.call_soon_threadsafe(self._settle)
            except RuntimeError:  # the loop is closed, so nobody is waiting on it any more
                self._waiters.clear()
            else:
                self._is_scheduled = True

    def _is_reached(self, wanted: int) -> bool:
        if self._reached() >= wanted:
            return True
        failure = self._failure()
        if failure is not None:
            raise failure
        return False

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        if any(not waiter.future.done() for waiter in self._waiters):
            raise RuntimeError("an audit log is awaited from one event loop at a time")
        self._waiters.clear()
        self._loop = loop
        self._is_scheduled = False
        self._timer = None

    def _arm(self, deadline: float) -> None:
        if self._loop is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = None
        self._settle()

    def _settle(self) -> None:
        """Complete the futures that can be; runs on the event loop."""
        with self._lock:
            self._is_scheduled = False
            reached = self._reached()
            remaining = []
            for waiter in self._waiters:
                if waiter.future.done():
                    continue
                if waiter.wanted <= reached:
                    waiter.future.set_result(None)
                elif (failure := self._failure()) is not None:
                    waiter.future.set_exception(failure)
                elif self._timer is None and self._is_late(waiter):
                    waiter.future.set_exception(_late())
                else:
                    remaining.append(waiter)
            self._waiters = remaining
            if self._timer is None and remaining:
                self._arm(min(waiter.deadline for waiter in remaining))

    def _is_late(self, waiter: _Waiter) -> bool:
        return self._loop is not None and waiter.deadline <= self._loop.time()


def _late() -> NotDurableError:
    return NotDurableError(
        "the audit log was not durable before the deadline",
        hint="the disk under the log is too slow or hangs",
    )
