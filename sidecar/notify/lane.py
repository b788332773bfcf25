# SPDX-License-Identifier: Apache-2.0
"""One channel at work: its queue, its retries, its state.

Laws:

1. ``accept`` never waits and never raises. The queue is bounded; what does not fit is counted.
2. Notices about one approval go out in the order in which they came, and the next waits until the one
   before has arrived or was given up. Approvals do not wait for each other, so that one message that
   a server chokes on does not silence the rest; at most ``slots`` are sent at once.
3. An outcome supersedes what was to be said before it: a request that has been decided is neither
   announced nor called to mind, even if that was being tried again at the time.
4. What failed is tried again after 0.5 s, 1 s, 2 s … up to 30 s, each with jitter, for at most an
   hour; an opening, reminder or escalation not beyond the request's own end. When the other side
   says when to come back, nothing is sent before, within ``MAX_RETRY_AFTER_S``. When the channel
   turns out to be up again, everything that waits is tried at once.
5. No attempt outlives the channel's deadline. Whatever a channel raises, its lane lives on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import structlog
import tenacity

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.notify.channel import ChannelHealth, DeliveryError, Fault, Routed
from sidecar.notify.circuit import Circuit
from sidecar.notify.notice import Notice, NoticeKind

__all__ = ["MAX_RETRY_AFTER_S", "Lane", "LaneLimits", "LaneOwner", "Parcel", "Result", "Sleep"]

Sleep = Callable[[float], Awaitable[None]]
MAX_RETRY_AFTER_S: Final = 300.0
_MAX_HANDLES: Final = 10_000
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0
_BEFORE_OUTCOME: Final = frozenset({NoticeKind.OPENED, NoticeKind.REMINDER, NoticeKind.ESCALATION})
_AGAIN: Final = frozenset({Fault.UNREACHABLE, Fault.BROKEN, Fault.REFUSED, Fault.BUSY})

_log = structlog.get_logger(__name__)


class Result(StrEnum):
    """How a notice ended on a channel; also a label of the metric."""

    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"
    """The queue was full."""
    SUPERSEDED = "superseded"
    """Decided, or over, before it could be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A notice on its way. ``key`` is its approval, or its own name if it is about none."""

    notice: Notice
    notice_id: str
    accept_boot_ns: int

    @property
    def key(self) -> str:
        """What is kept in order."""
        return self.notice.approval or self.notice_id


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """Bounds of one lane."""

    max_queued: int = 1000
    slots: int = 4
    max_age_s: float = 3600.0
    closing_grace_s: float = 2.0


class LaneOwner(Protocol):
    """Whom a lane tells, in the loop; nothing here may raise."""

    def ended(self, lane: Lane, parcel: Parcel, result: Result, handle: str | None) -> None:
        """*parcel* is done with; *handle* is what stands there now, if it was sent."""

    def stumbled(self, lane: Lane) -> None:
        """An attempt or a probe failed."""

    def went_down(self, lane: Lane) -> None:
        """The channel was up, and is not any more."""


@dataclass(slots=True)
class _Chain:
    """What waits about one approval; the first is being sent."""

    key: str
    parcels: deque[Parcel] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    is_decided: bool = False
    is_sending: bool = False


class _Superseded(Exception):
    """There is nothing to say any more."""


class Lane:
    """Delivers on one channel.

    Args:
        routed: The channel, and what it is told.
        clock: The host's clocks.
        sleep: Waits; for tests.
        owner: Whom to tell.
        limits: Bounds.
    """

    def __init__(
        self, *, routed: Routed, clock: Clock, sleep: Sleep, owner: LaneOwner, limits: LaneLimits
    ) -> None:
        self.route = routed.route
        self.name = routed.channel.name
        self.counts = dict.fromkeys(Result, 0)
        self._channel = routed.channel
        self._clock = clock
        self._sleep = sleep
        self._owner = owner
        self._limits = limits
        self._circuit = Circuit()
        self._chains: dict[str, _Chain] = {}
        self._handles: OrderedDict[str, str] = OrderedDict()
        self._slots = asyncio.Semaphore(limits.slots)
        self._not_before_ns = 0
        self._last_success_ns = 0
        self._is_closing = False

    @property
    def is_up(self) -> bool | None:
        """Whether the channel works; None if nobody knows."""
        return self._circuit.is_up

    @property
    def last_error(self) -> str:
        """Why it does not, or what failed last."""
        return self._circuit.last_error

    @property
    def queued(self) -> int:
        """Notices that wait."""
        return sum(len(chain.parcels) for chain in self._chains.values())

    def health(self) -> ChannelHealth:
        """Return how it does."""
        return ChannelHealth(
            name=self.name,
            kind=self._channel.kind,
            is_up=self.is_up,
            last_success_ns=self._last_success_ns,
            last_error=self.last_error,
            queued=self.queued,
            sent=self.counts[Result.SENT],
            failed=self.counts[Result.FAILED],
            dropped=self.counts[Result.DROPPED],
            superseded=self.counts[Result.SUPERSEDED],
        )

    def knows(self, approval: str) -> bool:
        """Return whether the channel was told, or is being told, of *approval*."""
        return approval in self._handles or approval in self._chains

    def remember(self, approval: str, handle: str) -> None:
        """Take over the handle that a former process got for *approval*."""
        self._handles[approval] = handle
        self._handles.move_to_end(approval)
        if len(self._handles) > _MAX_HANDLES:
            self._handles.popitem(last=False)

    def accept(self, parcel: Parcel) -> bool:
        """Queue *parcel* (law 1), once; return whether there was room."""
        chain = self._chains.get(parcel.key)
        if chain is not None and any(parcel.notice_id == one.notice_id for one in chain.parcels):
            return True
        if parcel.notice.kind is NoticeKind.DECIDED and chain is not None:
            self._supersede(chain)
        if self._is_closing or self.queued >= self._limits.max_queued:
            self.counts[Result.DROPPED] += 1
            _log.warning("notification dropped", channel=self.name, queued=self.queued)
            return False
        if chain is None:
            chain = self._chains[parcel.key] = _Chain(parcel.key)
            chain.parcels.append(parcel)
            chain.task = asyncio.create_task(self._run(chain), name=f"notify-{self.name}")
        else:
            chain.parcels.append(parcel)
        return True

    async def probe(self) -> None:
        """Find out whether the channel works."""
        error: DeliveryError | None = None
        try:
            async with asyncio.timeout(self._channel.timeout_s):
                await self._channel.probe()
        except Exception as exc:  # noqa: BLE001 - law 5
            error = self._error_of(exc)
        was_up = self.is_up
        self._circuit.probed(error, now_ns=self._clock.boot_ns())
        self._changed(was_up)
        if error is not None:
            self._owner.stumbled(self)

    async def aclose(self) -> None:
        """Stop. What is being sent has a moment to arrive; the rest stays in the outbox."""
        self._is_closing = True
        sending: list[asyncio.Task[None]] = []
        for chain in self._chains.values():
            if chain.task is not None and chain.is_sending:
                sending.append(chain.task)
            elif chain.task is not None:
                chain.task.cancel()
        if sending:
            await asyncio.wait(sending, timeout=self._limits.closing_grace_s)
        tasks = [chain.task for chain in self._chains.values() if chain.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- private --------------------------------------------------------------------------------

    def _supersede(self, chain: _Chain) -> None:
        """Take out what an outcome makes pointless (law 3); the first is told to stop."""
        chain.is_decided = True
        parcels = list(chain.parcels)
        chain.parcels = deque(parcels[:1])
        for parcel in parcels[1:]:
            if parcel.notice.kind in _BEFORE_OUTCOME:
                self._end(parcel, Result.SUPERSEDED, None)
            else:
                chain.parcels.append(parcel)
        chain.wake.set()

    async def _run(self, chain: _Chain) -> None:
        while chain.parcels and not self._is_closing:
            parcel = chain.parcels[0]
            try:
                handle = await self._deliver(chain, parcel)
            except _Superseded:
                result, handle = Result.SUPERSEDED, None
            except DeliveryError as exc:
                if self._is_leaving():
                    return  # not given up: it stays in the outbox
                result, handle = Result.FAILED, None
                _log.warning(
                    "notification failed",
                    channel=self.name,
                    kind=parcel.notice.kind.value,
                    approval=parcel.notice.approval,
                    notice=parcel.notice_id,
                    error=str(exc),
                )
            else:
                result = Result.SENT
                _log.info(
                    "notification sent",
                    channel=self.name,
                    kind=parcel.notice.kind.value,
                    approval=parcel.notice.approval,
                    notice=parcel.notice_id,
                )
            chain.parcels.popleft()
            self._end(parcel, result, handle)
        if not chain.parcels:
            del self._chains[chain.key]

    def _is_leaving(self) -> bool:
        return self._is_closing

    def _end(self, parcel: Parcel, result: Result, handle: str | None) -> None:
        self.counts[result] += 1
        self._owner.ended(self, parcel, result, handle)

    async def _deliver(self, chain: _Chain, parcel: Parcel) -> str:
        """Try until it arrives, or law 4 says to stop."""
        give_up_ns = parcel.accept_boot_ns + round(self._limits.max_age_s * NS_PER_SECOND)

        def is_enough(_: tenacity.RetryCallState) -> bool:
            return (
                self._is_closing
                or self._is_pointless(chain, parcel)
                or self._clock.boot_ns() >= give_up_ns
            )

        retrying = tenacity.AsyncRetrying(
            sleep=lambda seconds: self._nap(chain, seconds),
            stop=is_enough,
            wait=_wait_s,
            retry=tenacity.retry_if_exception(_is_worth_another_try),
            reraise=True,
        )
        try:
            return await retrying(self._attempt, chain, parcel)
        except DeliveryError:
            if self._is_pointless(chain, parcel):
                raise _Superseded from None
            raise

    async def _attempt(self, chain: _Chain, parcel: Parcel) -> str:
        async with self._slots:
            while (wait_ns := self._not_before_ns - self._clock.boot_ns()) > 0:
                await self._sleep(wait_ns / NS_PER_SECOND)
            if self._is_pointless(chain, parcel):
                raise _Superseded
            approval = parcel.notice.approval
            chain.is_sending = True
            try:
                async with asyncio.timeout(self._channel.timeout_s):
                    handle = await self._channel.send(parcel.notice, self._handles.get(approval))
            except Exception as exc:  # noqa: BLE001 - law 5
                error = self._error_of(exc)
                now_ns, was_up = self._clock.boot_ns(), self.is_up
                self._circuit.failed(error, now_ns=now_ns)
                if error.retry_after_s:
                    pause_s = min(error.retry_after_s, MAX_RETRY_AFTER_S)
                    self._not_before_ns = max(
                        self._not_before_ns, now_ns + round(pause_s * NS_PER_SECOND)
                    )
                self._changed(was_up)
                self._owner.stumbled(self)
                raise error from None
            finally:
                chain.is_sending = False
        self._last_success_ns = self._clock.wall_ns()
        was_up = self.is_up
        self._circuit.delivered()
        if approval:
            self.remember(approval, handle)
        self._changed(was_up)
        return handle

    def _is_pointless(self, chain: _Chain, parcel: Parcel) -> bool:
        notice = parcel.notice
        if notice.kind not in _BEFORE_OUTCOME:
            return False
        is_over = 0 < notice.expire_time_ns <= self._clock.wall_ns()
        return chain.is_decided or is_over

    def _error_of(self, exc: Exception) -> DeliveryError:
        if isinstance(exc, DeliveryError):
            return exc
        if isinstance(exc, TimeoutError):
            return DeliveryError(
                f"no answer within {self._channel.timeout_s:g} s", fault=Fault.BROKEN
            )
        # A mistake of ours. Its text may hold anything, so only its kind is told.
        _log.error("notification channel is broken", channel=self.name, kind=type(exc).__name__)
        return DeliveryError(f"internal error ({type(exc).__name__})", fault=Fault.REJECTED)

    def _changed(self, was_up: bool | None) -> None:
        """Tell of a change of state; on recovery try everything again at once (law 4)."""
        is_up = self.is_up
        if is_up is was_up:
            return
        if is_up is False:
            _log.warning("notification channel down", channel=self.name, error=self.last_error)
            if was_up:
                self._owner.went_down(self)
            return
        _log.info("notification channel up", channel=self.name, is_certain=is_up is True)
        for chain in self._chains.values():
            chain.wake.set()

    async def _nap(self, chain: _Chain, seconds: float) -> None:
        """Sleep, unless something wakes the chain before."""
        chain.wake.clear()
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        waking = asyncio.ensure_future(chain.wake.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()


_backoff: Final = tenacity.wait_exponential(
    multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S
) + tenacity.wait_random(0, _FIRST_WAIT_S)


def _wait_s(state: tenacity.RetryCallState) -> float:
    return float(_backoff(state))


def _is_worth_another_try(exc: BaseException) -> bool:
    return isinstance(exc, DeliveryError) and exc.fault in _AGAIN
