# SPDX-License-Identifier: Apache-2.0
"""Operators, targets and fakes for tests of containment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.clock import ManualClock
from sidecar.containment.acks import AckTracker
from sidecar.containment.answers import AuditPosition, ServiceLimits
from sidecar.containment.consent import Consent
from sidecar.containment.events import Contained, RevocationRule
from sidecar.containment.history import (
    DirectiveEntry,
    HistoryStore,
    MemoryHistory,
    MemoryRevocations,
    RequestNote,
)
from sidecar.containment.isolation import IsolationDriver, IsolationItem, IsolationResult
from sidecar.containment.orders import ContainmentOrder, ReleaseOrder
from sidecar.containment.receipt import ReceiptSigner
from sidecar.containment.rules import BlastLimit, FleetAgent
from sidecar.containment.service import ContainmentService
from sidecar.errors import EnvironmentFailure
from sidecar.latch.files import FileOps
from sidecar.latch.writer import LatchWriter
from sidecar.model import (
    Directive,
    Level,
    Operator,
    OperatorKind,
    Role,
    Target,
    TargetKind,
)

BOOT = "11111111-2222-3333-4444-555555555555"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def operator(
    name: str,
    *roles: Role,
    kind: OperatorKind = OperatorKind.HUMAN,
    human_id: str | None = None,
    is_local: bool = False,
) -> Operator:
    """Return an operator; a human is called by its name unless said otherwise."""
    if human_id is None:
        human_id = name if kind is OperatorKind.HUMAN else ""
    return Operator(
        name=name,
        kind=kind,
        human_id=human_id,
        roles=frozenset(roles),
        identity=f"spiffe://holdfast.dev/operator/{name}",
        is_local=is_local,
    )


ALICE = operator("alice", Role.CONTAIN, Role.RELEASE)
BOB = operator("bob", Role.CONTAIN, Role.RELEASE)
SOAR = operator("soar", Role.CONTAIN, kind=OperatorKind.AUTOMATION)
ROOT = operator("root", Role.BREAK_GLASS, Role.RELEASE, is_local=True)


def agreed(*humans: str) -> Consent:
    """Return the consent of these humans."""
    return Consent(approval="approvals/apr_1", humans=humans)


BY_CAROL = agreed("carol")


def agent(name: str) -> Target:
    """Return a target on one agent."""
    return Target(kind=TargetKind.AGENT, agent=name)


ALL = Target(kind=TargetKind.ALL)


def directive(
    epoch: int, target: Target | None = None, level: Level = Level.KILL, **change: Any
) -> Directive:
    """Return a directive."""
    return Directive(
        **{
            "epoch": epoch,
            "target": target or agent("banking"),
            "level": level,
            "reason": "because",
            "author": "alice",
            "create_time_ns": 1_760_000_000_000_000_000,
            **change,
        }
    )


def contained(epoch: int, target: Target | None = None, level: Level = Level.KILL) -> Contained:
    """Return the event of a directive that alice ordered."""
    return Contained(
        directive=directive(epoch, target, level),
        author_human_id="alice",
        author_kind=OperatorKind.HUMAN,
    )


def order(
    request_id: str = "request-1",
    target: Target | None = None,
    level: Level = Level.KILL,
    **change: Any,
) -> ContainmentOrder:
    """Return an order to contain."""
    return ContainmentOrder(
        **{
            "request_id": request_id,
            "target": target or agent("banking"),
            "level": level,
            "reason": "it sends money to strangers",
            **change,
        }
    )


def release(
    epoch: int, request_id: str = "release-1", reason: str = "it was a test"
) -> ReleaseOrder:
    """Return an order to release."""
    return ReleaseOrder(request_id=request_id, directive_epoch=epoch, reason=reason)


class ListFleet:
    """Implements ``Fleet`` over a list."""

    def __init__(self, *agents: FleetAgent) -> None:
        self.known = list(agents)

    def agents(self) -> Sequence[FleetAgent]:
        return self.known


class FakeAudit:
    """A log that keeps its entries, and fails when told to."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Mapping[str, Any]]] = []
        self.is_failing = False
        self.is_hanging = False

    async def append(self, kind: str, body: Mapping[str, Any]) -> AuditPosition:
        await asyncio.sleep(0)  # no log answers before others had their turn
        if self.is_hanging:
            await asyncio.Event().wait()
        if self.is_failing:
            raise EnvironmentFailure("the log is gone")
        self.entries.append((kind, body))
        index = len(self.entries) - 1
        return AuditPosition(index=index, checkpoint=f"checkpoint {index + 1}")

    @property
    def kinds(self) -> list[str]:
        """The kinds of the entries, in order."""
        return [kind for kind, _ in self.entries]


class BrokenHistory(MemoryHistory):
    """A history that fails when told to."""

    is_failing = False

    def record(self, entries: Iterable[DirectiveEntry], requests: Iterable[RequestNote]) -> None:
        self._check()
        super().record(entries, requests)

    def directives(
        self, *, before_epoch: int | None, limit: int, include_ended: bool
    ) -> Sequence[DirectiveEntry]:
        self._check()
        return super().directives(
            before_epoch=before_epoch, limit=limit, include_ended=include_ended
        )

    def _check(self) -> None:
        if self.is_failing:
            raise EnvironmentFailure("the database is gone")


class FakeDriver:
    """A driver that stops what it is told to have, when it is told to."""

    def __init__(self, *agents: str, name: str = "fake") -> None:
        self.name = name
        self.agents = agents
        self.asked: list[tuple[str, ...]] = []
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.error: Exception | None = None

    def pending(self, agents: Collection[str]) -> Sequence[IsolationItem]:
        return self._items(agents, IsolationResult.RUNNING)

    async def isolate(self, agents: Collection[str]) -> Sequence[IsolationItem]:
        self.asked.append(tuple(sorted(agents)))
        await self.may_finish.wait()
        if self.error is not None:
            raise self.error
        return self._items(agents, IsolationResult.TERMINATED)

    def _items(self, agents: Collection[str], result: IsolationResult) -> list[IsolationItem]:
        return [
            IsolationItem(driver=self.name, subject=f"runtime of {name}", result=result)
            for name in self.agents
            if name in agents
        ]


class Bench:
    """A service with everything around it in reach of a test."""

    def __init__(
        self,
        latch: Path,
        *,
        ops: FileOps | None = None,
        history: HistoryStore | None = None,
        revocations: MemoryRevocations | None = None,
        clock: ManualClock | None = None,
        isolation: Sequence[IsolationDriver] = (),
        fleet: ListFleet | None = None,
        boot_id: str = BOOT,
        half_bytes: int = 64 * 4096,
        limits: ServiceLimits | None = None,
        epoch_floor: int = 0,
    ) -> None:
        opening: Callable[..., LatchWriter] = LatchWriter.open
        options: dict[str, Any] = {"boot_id": boot_id, "ops": ops, "epoch_floor": epoch_floor}
        if not LatchWriter.is_installed(latch):
            opening = LatchWriter.initialise
            options["half_bytes"] = half_bytes
        self.writer = opening(latch, **options)
        self.clock = clock or ManualClock()
        self.acks = AckTracker()
        self.audit = FakeAudit()
        self.history: HistoryStore = history if history is not None else MemoryHistory()
        self.revocations = revocations if revocations is not None else MemoryRevocations()
        self.fleet = fleet or ListFleet(FleetAgent(id="banking"), FleetAgent(id="mail"))
        self.signer = ReceiptSigner(KEY)
        self.service = ContainmentService(
            writer=self.writer,
            clock=self.clock,
            boot_id=boot_id,
            acks=self.acks,
            signer=self.signer,
            audit=self.audit,
            history=self.history,
            revocations=self.revocations,
            fleet=self.fleet,
            isolation=isolation,
            blast=BlastLimit(),
            limits=limits or ServiceLimits(ack_timeout_s=0.05, audit_timeout_s=0.05),
        )

    def rules(self) -> list[RevocationRule]:
        """Return the revocations that a gate would get."""
        return list(self.service.standing_revocations())

    async def aclose(self) -> None:
        """Close service and latch."""
        await self.service.aclose()
        self.writer.close()


@asynccontextmanager
async def bench(latch: Path, **options: Any) -> AsyncIterator[Bench]:
    """Yield a started bench on the latch in *latch*, made if it is missing."""
    made = Bench(latch, **options)
    await made.service.start()
    try:
        yield made
    finally:
        await made.aclose()
