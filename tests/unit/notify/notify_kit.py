# SPDX-License-Identifier: Apache-2.0
"""What the tests of notifications share: notices, a channel that does as it is told, virtual time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.notify.channel import EVERYTHING, DeliveryError, Fault, Route, Routed
from sidecar.notify.lane import LaneLimits
from sidecar.notify.notice import Notice, NoticeKind
from sidecar.notify.notifier import Notifier
from sidecar.notify.outbox import NoticeStore

CANARY = "canary-7f3a9c41"
"""Stands in every secret; must be found nowhere."""

HOSTILE = (
    "pay\r\nBcc: evil@x.test\r\n\r\n<!channel> <@U1> @here [click](https://evil.test) "
    "<https://evil.test|bank> &lt; **b** <b>x</b> {{DATE(2024-01-01T00:00:00Z)}} <at>Ann</at> "
    "\u202egpj.exe \u200b \U000e0041 \x1b[31m \u2028 a\u0301\u0301\u0301\u0301\u0301 \u3164 \ufe0f"
)
"""Header injection, mentions, links, markup, dates, direction, invisible and steering characters."""

INVISIBLE = ("\u202e", "\u200b", "\U000e0041", "\x1b", "\u2028", "\u3164", "\ufe0f", "\r", "\n")

OPENED = Notice(
    kind=NoticeKind.OPENED,
    approval="approvals/apr_0001",
    summary="Agent billing-bot wants to run payments.refund for 1240 EUR",
    reason="refunds above 1000 EUR need a human",
    tier="HIGH",
    state="PENDING",
    words="ab12cd34ab12cd34 amber-ocean-lamp-nine",
    create_time_ns=1_760_000_000 * NS_PER_SECOND,
    expire_time_ns=1_760_003_600 * NS_PER_SECOND,
    url="https://holdfast.test/approvals/apr_0001",
    command="holdfast approvals show apr_0001",
    agent="billing-bot",
    tool="payments.refund",
    approvers=("alice", "bob"),
    addresses=("alice@example.test", "bob@example.test"),
)


def notice(kind: NoticeKind = NoticeKind.OPENED, number: int = 1, **changes: Any) -> Notice:
    """Return a notice about approval *number*."""
    named = {"approval": f"approvals/apr_{number:04d}"} | changes
    return replace(OPENED, kind=kind, **named)


def outcome(number: int = 1, state: str = "GRANTED", **changes: Any) -> Notice:
    """Return what was decided about approval *number*."""
    detail = changes.pop("detail", f"{state.lower()} by alice on the console")
    return notice(NoticeKind.DECIDED, number, state=state, detail=detail, **changes)


def unreachable(text: str = "cannot be connected") -> DeliveryError:
    """Return that nobody answered."""
    return DeliveryError(text, fault=Fault.UNREACHABLE)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(100):
        await asyncio.sleep(0)


class VirtualTime:
    """A clock, and a sleep that ends when the clock is moved."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved by *seconds*."""
        future = asyncio.get_running_loop().create_future()
        due_ns = self.clock.boot_ns() + round(seconds * NS_PER_SECOND)
        heapq.heappush(self._sleepers, (due_ns, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let *seconds* pass; whoever wakes meanwhile runs at its own time."""
        await settle()
        end_ns = self.clock.boot_ns() + round(seconds * NS_PER_SECOND)
        while self._sleepers and self._sleepers[0][0] <= end_ns:
            due_ns, _, future = heapq.heappop(self._sleepers)
            self._move_to(due_ns)
            if not future.done():
                future.set_result(None)
                await settle()
        self._move_to(end_ns)
        await settle()

    def _move_to(self, boot_ns: int) -> None:
        left_ns = boot_ns - self.clock.boot_ns()
        if left_ns > 0:
            self.clock.advance(seconds=left_ns / NS_PER_SECOND)


@dataclass
class FakeChannel:
    """Delivers into a list, or fails with what ``error`` returns."""

    name: str = "fake"
    kind: str = "webhook"
    timeout_s: float = 60.0
    error: Callable[[Notice], Exception | None] = lambda notice: None
    probe_error: Exception | None = None
    sent: list[tuple[Notice, str | None]] = field(default_factory=list)
    attempts: int = 0
    probes: int = 0
    gate: asyncio.Event | None = None

    async def send(self, notice: Notice, handle: str | None) -> str:
        self.attempts += 1
        if self.gate is not None:
            await self.gate.wait()
        if (error := self.error(notice)) is not None:
            raise error
        self.sent.append((notice, handle))
        return f"handle-{len(self.sent)}"

    async def probe(self) -> None:
        self.probes += 1
        if self.probe_error is not None:
            raise self.probe_error

    def break_down(self, error: Exception | None = None) -> None:
        """From now on nothing arrives."""
        failure = error or unreachable()
        self.error = lambda notice: failure
        self.probe_error = failure

    def recover(self) -> None:
        """From now on everything arrives."""
        self.error = lambda notice: None
        self.probe_error = None

    @property
    def kinds(self) -> list[str]:
        """What arrived, in order."""
        return [notice.kind.value for notice, _ in self.sent]


class Desk:
    """A notifier over fake channels and virtual time."""

    def __init__(
        self,
        *channels: FakeChannel,
        routes: Sequence[Route] = (),
        store: NoticeStore | None = None,
        watchers: int = 0,
        limits: LaneLimits | None = None,
        time: VirtualTime | None = None,
    ) -> None:
        self.time = time or VirtualTime()
        self.unreachable: list[str] = []
        self.watchers = watchers
        routed = [
            Routed(channel=one, route=routes[at] if at < len(routes) else EVERYTHING)
            for at, one in enumerate(channels)
        ]
        self.notifier = Notifier(
            channels=routed,
            clock=self.time.clock,
            store=store,
            watchers=lambda: self.watchers,
            on_unreachable=self.unreachable.append,
            sleep=self.time.sleep,
            limits=limits,
        )

    async def __aenter__(self) -> Desk:
        await self.notifier.start()
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.notifier.aclose()

    async def tell(self, *notices: Notice) -> None:
        """Notify, and let everything run that can."""
        for one in notices:
            self.notifier.notify(one)
        await settle()
