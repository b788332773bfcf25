# SPDX-License-Identifier: Apache-2.0
"""Tells approvers what waits for them, on every channel that is configured.

Laws:

1. ``notify`` never waits and never raises. No decision depends on a message: a notifier that is down
   delays nobody, loosens nothing, and grants nothing.
2. Silence is said at once. ``refusal`` is a sentence when no channel works and nobody watches, so
   that a call is denied, not held for an hour before nobody. When it turns out only afterwards that
   a request reached nobody, ``on_unreachable`` is called, once.
3. What was accepted is delivered at least once, also after a restart if there is a store, and carries
   the same id each time. A request is announced once per channel.
4. After an outcome nothing else is said about a request but further outcomes.
5. A channel that goes down is reported on the others, at most every ``ALERT_EVERY_S``.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Final

import structlog

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import IntegrityError
from sidecar.notify.channel import ChannelHealth, Routed
from sidecar.notify.encoding import decode_notice, encode_notice, notice_id
from sidecar.notify.lane import Lane, LaneLimits, Parcel, Result, Sleep
from sidecar.notify.notice import Notice, NoticeKind
from sidecar.notify.outbox import Accepted, Forgotten, NoticeStore, Outbox, Settled
from sidecar.notify.probes import samples_of
from sidecar.notify.reach import PATIENCE_S, ReachWatch
from sidecar.observe.metrics import Sample

__all__ = ["ALERT_EVERY_S", "PROBE_EVERY_S", "Notifier"]

PROBE_EVERY_S: Final = 30.0
ALERT_EVERY_S: Final = 900
_JITTER: Final = 0.2
_HANDLES_KEPT_S: Final = 48 * 3600  # a request lives for at most a day
_FORGET_EVERY_S: Final = 3600
_MAX_DECIDED: Final = 10_000
_MAX_EARLY: Final = 1000

_log = structlog.get_logger(__name__)


class Notifier:
    """Delivers notices. Everything but ``start`` and ``aclose`` is called in the loop.

    Args:
        channels: The channels, and what each is told; names are unique.
        clock: The host's clocks.
        store: Where accepted notices outlive a crash; None for nowhere.
        watchers: How many people look at the console or at ``holdfast approvals watch`` right now.
        on_unreachable: Called with ``approvals/<id>`` when its opening reached nobody.
        sleep: Waits; for tests.
        limits: Bounds of each channel's queue.
    """

    def __init__(
        self,
        *,
        channels: Sequence[Routed],
        clock: Clock,
        store: NoticeStore | None = None,
        watchers: Callable[[], int] = lambda: 0,
        on_unreachable: Callable[[str], None] = lambda approval: None,
        sleep: Sleep = asyncio.sleep,
        limits: LaneLimits | None = None,
    ) -> None:
        self._lanes = {
            routed.channel.name: Lane(
                routed=routed,
                clock=clock,
                sleep=sleep,
                owner=self,
                limits=limits or LaneLimits(),
            )
            for routed in channels
        }
        if len(self._lanes) != len(channels):
            raise ValueError("two channels have one name")
        self._clock = clock
        self._watchers = watchers
        self._on_unreachable = on_unreachable
        self._sleep = sleep
        self._outbox = Outbox(store)
        self._reach = ReachWatch()
        self._decided: OrderedDict[str, None] = OrderedDict()
        self._alerted_ns: dict[str, int] = {}
        self._early: list[Notice] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_running = False

    async def start(self) -> None:
        """Take up what a former process left, and begin to deliver and to probe."""
        stored, handles = await self._outbox.load()
        for (approval, channel), handle in handles.items():
            if channel in self._lanes:
                self._lanes[channel].remember(approval, handle)
        self._outbox.start()
        self._is_running = True
        by_notice: dict[str, tuple[bytes, list[str]]] = {}
        for one in stored:
            by_notice.setdefault(one.notice_id, (one.notice, []))[1].append(one.channel)
        for name, (data, channels) in by_notice.items():
            self._resume(name, data, channels)
        early, self._early = self._early, []
        for notice in early:
            self.notify(notice)
        for lane in self._lanes.values():
            self._spawn(self._probe(lane), f"notify-probe-{lane.name}")
        self._spawn(self._forget(), "notify-forget")

    async def aclose(self) -> None:
        """Stop; what was not delivered stays in the outbox."""
        self._is_running = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(lane.aclose() for lane in self._lanes.values()))
        await self._outbox.aclose()

    def notify(self, notice: Notice) -> None:
        """Have *notice* delivered on every channel that takes it (law 1)."""
        try:
            self._notify(notice)
        except Exception as exc:  # noqa: BLE001 - law 1; its text may hold anything
            _log.error("notice lost", error=type(exc).__name__)

    async def flush(self) -> None:
        """Wait until everything accepted so far would outlive a crash."""
        await self._outbox.flush()

    def refusal(self, tier: str = "") -> str:
        """Return why nobody would hear of a request of *tier*; empty if somebody may (law 2).

        Without a channel that announces such requests people look at the console, so that refuses
        nothing; nor does a channel of which nothing is known yet.
        """
        lanes = [lane for lane in self._lanes.values() if lane.route.announces(tier)]
        if not lanes or any(lane.is_up is not False for lane in lanes) or self._watchers() > 0:
            return ""
        told = ", ".join(f"{lane.name} ({lane.last_error or 'down'})" for lane in lanes)
        return f"no notification channel reaches anybody: {told}"

    def health(self) -> list[ChannelHealth]:
        """Return how every channel does."""
        return [lane.health() for lane in self._lanes.values()]

    @property
    def is_durable(self) -> bool:
        """Whether accepted notices outlive a crash."""
        return self._outbox.is_durable

    def samples(self) -> Iterator[Sample]:
        """Return every sample as of now."""
        return samples_of(self.health(), is_durable=self.is_durable)

    # -- what lanes tell (LaneOwner) ------------------------------------------------------------

    def ended(self, lane: Lane, parcel: Parcel, result: Result, handle: str | None) -> None:
        """Settle *parcel*, and see whether its request was heard of."""
        notice = parcel.notice
        self._outbox.note(
            Settled(
                notice_id=parcel.notice_id,
                channel=lane.name,
                time_ns=self._clock.wall_ns(),
                approval=notice.approval,
                handle=handle,
            )
        )
        if notice.kind is not NoticeKind.OPENED:
            return
        if result is Result.FAILED:
            if self._reach.gave_up(notice.approval, lane.name):
                self._unheard(notice.approval)
        else:
            self._reach.settled(notice.approval)

    def stumbled(self, lane: Lane) -> None:
        """See whether anything is unheard now."""
        if lane.is_up is False:
            for approval in self._reach.is_down(lane.name, now_ns=self._clock.boot_ns()):
                self._unheard(approval)

    def went_down(self, lane: Lane) -> None:
        """Report it on the other channels (law 5)."""
        now_ns = self._clock.boot_ns()
        last_ns = self._alerted_ns.get(lane.name)
        if last_ns is not None and now_ns - last_ns < ALERT_EVERY_S * NS_PER_SECOND:
            return
        self._alerted_ns[lane.name] = now_ns
        alert = Notice(
            kind=NoticeKind.ALERT,
            approval="",
            summary=f"The notification channel {lane.name} is down",
            reason="",
            tier="",
            state="",
            words="",
            create_time_ns=self._clock.wall_ns(),
            expire_time_ns=0,
            url="",
            command="holdfast doctor",
            detail=lane.last_error,
        )
        others = [one for one in self._lanes.values() if one is not lane]
        self._queue(alert, [one for one in others if one.route.carries(alert)])

    # -- private --------------------------------------------------------------------------------

    def _notify(self, notice: Notice) -> None:
        if not self._is_running:
            if len(self._early) < _MAX_EARLY:
                self._early.append(notice)
            return
        self._queue(notice, [lane for lane in self._lanes.values() if _takes(lane, notice)])

    def _queue(self, notice: Notice, lanes: Sequence[Lane]) -> None:
        """Note *notice*, then hand it to *lanes*."""
        approval = notice.approval
        if notice.kind is NoticeKind.DECIDED:
            self._decided[approval] = None
            if len(self._decided) > _MAX_DECIDED:
                self._decided.popitem(last=False)
            self._reach.settled(approval)
        elif approval and approval in self._decided:  # law 4
            return
        if not lanes:
            return
        name = notice_id(notice)
        self._outbox.note(
            Accepted(
                notice_id=name,
                channels=tuple(lane.name for lane in lanes),
                notice=encode_notice(notice),
                time_ns=self._clock.wall_ns(),
            )
        )
        self._hand_over(name, notice, lanes)

    def _hand_over(self, name: str, notice: Notice, lanes: Sequence[Lane]) -> None:
        now_ns = self._clock.boot_ns()
        parcel = Parcel(notice=notice, notice_id=name, accept_boot_ns=now_ns)
        taken = [lane.name for lane in lanes if lane.accept(parcel)]
        for lane in lanes:
            if lane.name not in taken:
                self._settle(name, lane.name)
        if notice.kind is not NoticeKind.OPENED:
            return
        if taken:
            self._reach.opened(notice.approval, taken, now_ns=now_ns)
            self._spawn(self._lose_patience(), "notify-patience")
        else:
            self._unheard(notice.approval)

    def _resume(self, name: str, data: bytes, channels: Sequence[str]) -> None:
        """Deliver what a former process had accepted."""
        lanes = [self._lanes[channel] for channel in channels if channel in self._lanes]
        for channel in channels:
            if channel not in self._lanes:
                self._settle(name, channel)
        try:
            notice = decode_notice(data)
        except IntegrityError:
            _log.warning("stored notice cannot be read", notice=name)
            for lane in lanes:
                self._settle(name, lane.name)
            return
        if notice.kind is NoticeKind.DECIDED:
            self._decided[notice.approval] = None
        self._hand_over(name, notice, lanes)

    def _settle(self, name: str, channel: str) -> None:
        self._outbox.note(Settled(notice_id=name, channel=channel, time_ns=self._clock.wall_ns()))

    def _unheard(self, approval: str) -> None:
        if self._watchers() > 0:
            return
        _log.warning("nobody was reached", approval=approval)
        # Later, so that whoever cancels the request and tells us so is not in the middle of us.
        asyncio.get_running_loop().call_soon(self._on_unreachable, approval)

    async def _lose_patience(self) -> None:
        """When openings have waited long enough, channels that are down by then have failed them."""
        await self._sleep(PATIENCE_S)
        for lane in self._lanes.values():
            self.stumbled(lane)

    async def _probe(self, lane: Lane) -> None:
        while True:
            await lane.probe()
            spread = 1 + random.uniform(-_JITTER, _JITTER)  # noqa: S311 - nothing secret
            await self._sleep(PROBE_EVERY_S * spread)

    async def _forget(self) -> None:
        while True:
            before_ns = self._clock.wall_ns() - _HANDLES_KEPT_S * NS_PER_SECOND
            self._outbox.note(Forgotten(before_ns=before_ns))
            await self._sleep(_FORGET_EVERY_S)

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _takes(lane: Lane, notice: Notice) -> bool:
    """Return whether *lane* is to carry *notice* (law 3, and the law of ``Route``)."""
    if not lane.route.carries(notice):
        return False
    if notice.kind is NoticeKind.OPENED:
        return not lane.knows(notice.approval)
    if notice.kind is NoticeKind.DECIDED and NoticeKind.OPENED not in lane.route.events:
        return lane.knows(notice.approval)
    return True
