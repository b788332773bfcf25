# SPDX-License-Identifier: Apache-2.0
"""Waits, in one event loop, for the humans who must decide held calls.

Laws:

1. A grant is no permission. Only the gate's answer to the identical call, asked again, is one; no
   line here makes an ALLOW, and every state but GRANTED and CONSUMED ends as a denial or a HOLD.
2. Waiting holds nothing up. It is a call of its own, never the stream on which others are decided,
   and at most ``MAX_WAITS`` of them are under way; the rest wait here.
3. Whoever has waited long enough lets the gate end the wait, so that the request stays open. Whoever
   is cancelled withdraws it, unless another caller here waits for the same.
4. Losing the gate, or control behind it, ends no wait: it is asked again until the time is up, and
   the call is as held then as before. A wait that was broken off is resumed at once, for a gate takes
   a caller that stays away for one that has given up.
5. A kill and the end of the guard end a wait at once.
6. Nothing here spins: between two waits that were none lies a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

import grpc

from sidecar.api.v1 import guard_pb2
from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._holds import ended
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk._streams import Backoff, is_cancelled
from sidecar.sdk._wire import approval_status_of
from sidecar.sdk.values import ApprovalState, ApprovalStatus, Decision, Effect

__all__ = ["MAX_WAITS", "Approvals"]

T = TypeVar("T")

log = logging.getLogger("sidecar.sdk")

MAX_WAITS: Final = 64
_LONGEST_S: Final = 30.0
"""How long the contract lets one call wait."""
_SHORTEST_S: Final = 0.001
"""None, or no time at all, would be the longest."""
_SLACK_S: Final = 2.0
"""How much longer than it was asked to the gate may take before the wait is broken off."""
_LATE_S: Final = 5.0
"""How long after a request's expiry the gate is still asked what came of it."""
_REAL_WAIT_S: Final = 1.0
_WITHDRAWAL_S: Final = 3.0
_MAX_WITHDRAWALS: Final = 256

_WORTH_ASKING: Final = frozenset({ApprovalState.GRANTED, ApprovalState.CONSUMED})
"""CONSUMED: an identical call has used the grant, so asking again opens a request for this one."""
_UNDECIDED: Final = frozenset(
    {Cause.NOT_CONNECTED, Cause.STREAM_LOST, Cause.NO_ANSWER, Cause.TOO_MANY_WAITING}
)
_POINTLESS: Final = frozenset(
    {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
_BROKEN: Final = (grpc.aio.UsageError, asyncio.InvalidStateError)


class _Pointless(Exception):
    """Waiting again would be answered the same way."""


class Approvals:
    """The held calls of one connection.

    Args:
        loop: Where everything runs.
        stub: The gate.
        state: Tells of a kill.
        is_ending: Whether the connection's own tasks are being cancelled: the loop is going down.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        stub: Any,
        state: ContainmentState,
        is_ending: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._stub = stub
        self._state = state
        self._is_ending = is_ending
        self._is_closed = False
        self._slots = asyncio.Semaphore(MAX_WAITS)
        self._callers: Counter[str] = Counter()
        self._alarms: set[asyncio.Future[Cause]] = set()
        # Also what a forked child must find alive: a call that is freed there would touch gRPC.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._withdrawals: set[asyncio.Task[Any]] = set()

    # -- waiting ------------------------------------------------------------------------------

    async def outlast(
        self,
        held: Decision,
        *,
        ask: Callable[[], Awaitable[Decision]],
        timeout_s: float,
        is_own: bool,
    ) -> Decision:
        """Wait for the human who must decide *held*, and return what the gate says then.

        Args:
            held: The gate's HOLD.
            ask: Asks the gate about the identical call.
            timeout_s: How long to wait; *held* is returned when it has passed.
            is_own: Whether a kill of the guard's session is a kill of this call.
        """
        deadline = self._loop.time() + timeout_s
        backoff = Backoff(first_s=0.05, most_s=1.0)
        pause_s = 0.0
        expire_time: datetime | None = None
        while True:
            name = held.obligations.approval
            if not name:
                return held
            until = self._bounded(deadline, expire_time or held.obligations.hold_expire_time)
            with self._interest(name):
                status = await self._follow(name, until=until, is_own=is_own, pause_s=pause_s)
                if isinstance(status, Decision):
                    return status
                if status is None or status.state is ApprovalState.PENDING:
                    return held
                if status.state not in _WORTH_ASKING:
                    return ended(held, status)
                # Law 1: what counts is what the gate answers now.
                decision = await ask()
            if decision.effect is Effect.HOLD:
                held, expire_time = decision, None
            elif not _is_undecided(decision):
                return decision
            else:
                expire_time = status.expire_time
            if self._loop.time() >= deadline:
                return held
            pause_s = backoff.next_pause_s()

    async def wait(
        self, name: str, *, timeout_s: float, is_own: bool
    ) -> ApprovalStatus | Decision | None:
        """Return how *name* stands as soon as it is no longer PENDING, or after *timeout_s*.

        None if the gate never said; a local denial if the guard's end or a kill ended the wait.
        """
        with self._interest(name):
            return await self._follow(
                name, until=self._loop.time() + timeout_s, is_own=is_own, pause_s=0.0
            )

    async def withdraw(self, name: str) -> ApprovalStatus | None:
        """Withdraw *name* and return how it stands then; None if the gate did not say."""
        request = guard_pb2.CancelApprovalRequest(approval=name)
        call = self._stub.CancelApproval(request, timeout=_WITHDRAWAL_S)
        try:
            message = await call
        except grpc.aio.AioRpcError as error:
            log.debug("a request was not withdrawn: %s", error.code().name)
            return None
        except _BROKEN:
            return None
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            return None
        finally:
            call.cancel()
        return approval_status_of(message) if message is not None else None

    def withdraw_soon(self, name: str) -> None:
        """Withdraw *name* without waiting, if there is still somebody to do it.

        What is dropped here is not lost: the gate itself withdraws what nobody waits for any more.
        """
        if self._is_closed or self._loop.is_closed() or self._is_ending():
            return
        if len(self._withdrawals) < _MAX_WITHDRAWALS:
            task = self._begin(self.withdraw(name))
            self._withdrawals.add(task)
            task.add_done_callback(self._withdrawals.discard)

    def give_up(self, name: str) -> None:
        """Withdraw *name*, whose caller was cancelled before it began to wait (law 3)."""
        if name and not self._callers[name]:
            self.withdraw_soon(name)

    # -- its end ------------------------------------------------------------------------------

    def close(self) -> None:
        """End every wait: its caller is denied."""
        self._is_closed = True
        for alarm in self._alarms:
            _raise_alarm(alarm, Cause.CLOSED)

    async def settled(self) -> None:
        """Wait until the withdrawals have been answered."""
        if self._withdrawals:
            await asyncio.wait(set(self._withdrawals))

    def abandon(self) -> list[asyncio.Task[Any]]:
        """Stop everything without waiting; return the tasks that are ending."""
        self.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    # -- within -------------------------------------------------------------------------------

    async def _follow(
        self, name: str, *, until: float, is_own: bool, pause_s: float
    ) -> ApprovalStatus | Decision | None:
        """Ask how *name* stands, again and again (law 4), at least once."""
        latest: ApprovalStatus | None = None
        backoff = Backoff(first_s=0.05, most_s=1.0)
        with self._alarm(is_own) as alarm:
            if pause_s:
                await asyncio.wait({alarm}, timeout=pause_s)
            while not alarm.done():
                begin = self._loop.time()
                poll = self._begin(self._poll(name, until))
                try:
                    either: set[asyncio.Future[Any]] = {poll, alarm}
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    poll.cancel()
                if alarm.done():
                    break
                try:
                    # Also a call that the gate cancels ends its task as cancelled.
                    status = None if poll.cancelled() else poll.result()
                except _Pointless:
                    return latest
                if status is not None:
                    latest = status
                    if status.state is not ApprovalState.PENDING:
                        return status
                now = self._loop.time()
                if now >= until:
                    return latest
                if status is not None and now - begin >= _REAL_WAIT_S:
                    backoff.reset()
                    continue
                # Law 6.
                await asyncio.wait({alarm}, timeout=min(until - now, backoff.next_pause_s()))
        return local_denial(alarm.result())

    async def _poll(self, name: str, until: float) -> ApprovalStatus | None:
        """Let the gate wait once; None if it did not say how *name* stands."""
        try:
            async with asyncio.timeout_at(max(until, self._loop.time() + _SHORTEST_S)):
                await self._slots.acquire()
        except TimeoutError:
            return None
        try:
            return await self._poll_once(name, until)
        finally:
            self._slots.release()

    async def _poll_once(self, name: str, until: float) -> ApprovalStatus | None:
        wait_s = max(_SHORTEST_S, min(_LONGEST_S, until - self._loop.time()))
        request = guard_pb2.WaitApprovalRequest(approval=name)
        request.timeout.FromNanoseconds(int(wait_s * 1e9))
        call = self._stub.WaitApproval(request, timeout=wait_s + _SLACK_S)
        try:
            message = await call
        except grpc.aio.AioRpcError as error:
            if error.code() in _POINTLESS:
                log.warning("the gate lets nobody wait for a human: %s", error.code().name)
                raise _Pointless from None
            return None
        except _BROKEN:
            return None
        finally:
            call.cancel()
        # None is grpc's way to say that the bytes were no such message.
        return approval_status_of(message) if message is not None else None

    def _bounded(self, deadline: float, expire_time: datetime | None) -> float:
        """Return *deadline*, or an earlier one if the request itself ends before it."""
        if expire_time is None:
            return deadline
        left_s = max(0.0, expire_time.timestamp() - time.time())
        return min(deadline, self._loop.time() + left_s + _LATE_S)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._loop.create_task(work, name="holdfast-approval")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @contextlib.contextmanager
    def _interest(self, name: str) -> Iterator[None]:
        """Withdraw *name* if the caller is cancelled inside and nobody else waits for it (law 3)."""
        self._callers[name] += 1
        try:
            yield
        except asyncio.CancelledError:
            if self._callers[name] == 1:
                self.withdraw_soon(name)
            raise
        finally:
            self._callers[name] -= 1
            if not self._callers[name]:
                del self._callers[name]

    @contextlib.contextmanager
    def _alarm(self, is_own: bool) -> Iterator[asyncio.Future[Cause]]:
        """Give a future that says why the wait is over, if a kill or the guard's end ends it."""
        alarm: asyncio.Future[Cause] = self._loop.create_future()

        def changed(is_killed: bool) -> None:
            if is_killed:
                _raise_alarm(alarm, self._state.cause)

        self._alarms.add(alarm)
        if is_own:
            self._state.listen(changed)
        if self._is_closed:
            _raise_alarm(alarm, Cause.CLOSED)
        elif is_own and self._state.is_killed:
            _raise_alarm(alarm, self._state.cause)
        try:
            yield alarm
        finally:
            self._state.unlisten(changed)
            self._alarms.discard(alarm)


def _raise_alarm(alarm: asyncio.Future[Cause], cause: Cause) -> None:
    if not alarm.done():
        alarm.set_result(cause)


def _is_undecided(decision: Decision) -> bool:
    """Return whether the gate was not asked, or nobody knows what it answered."""
    return decision.is_local and decision.reasons[0].metadata.get("cause") in _UNDECIDED
