# SPDX-License-Identifier: Apache-2.0
"""A control with real approvals, a real latch and a bundle that a test can change."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidecar.approvals.answers import ApprovalLimits, Ballot
from sidecar.approvals.service import Approvals
from sidecar.approvals.store_sqlite import SqliteApprovals
from sidecar.approvals.values import Approval, Channel, Request, Verdict
from sidecar.clock import ManualClock
from sidecar.containment.history import MemoryHistory
from sidecar.containment.rules import FleetAgent
from sidecar.ids import RandomIds
from sidecar.model import Operator, OperatorKind, Role
from sidecar.operations.service import Operations
from sidecar.operations.values import Operation
from sidecar.policy.bundle import Bundle, load_bundle_from_files
from sidecar.policy.engine import PolicyEngine
from tests.unit.containment.containment_kit import BOOT, Bench, ListFleet, operator

ALICE = operator("alice", Role.CONTAIN, Role.RELEASE, Role.APPROVE, Role.POLICY_AUTHOR)
BOB = operator("bob", Role.CONTAIN, Role.RELEASE, Role.APPROVE, Role.POLICY_APPROVE)
CAROL = operator("carol", Role.APPROVE, Role.POLICY_APPROVE)
SOAR = operator("soar", Role.CONTAIN, Role.RELEASE, kind=OperatorKind.AUTOMATION)
DAVE = operator("dave", Role.CONTAIN, Role.BREAK_GLASS)
AUDITOR = operator("audrey", Role.AUDIT_READ)
LOCAL = replace(
    operator("local", Role.CONTAIN, Role.BREAK_GLASS, Role.AUDIT_READ, Role.ADMIN),
    identity="unix socket",
    is_local=True,
)
EVERYBODY = (ALICE, BOB, CAROL, SOAR, DAVE, AUDITOR)

TOOLS = "version: 1\ntools:\n  ping:\n    class: read\n  pay:\n    class: write\n"
AGENTS = "version: 1\nagents:\n  banking:\n    owner: emma@example.com\n"
OPERATORS = "version: 1\noperators: {}\n"
PING = '@id("ping") permit(principal, action == Action::"ping", resource);\n'
PAY = '@id("pay") permit(principal, action == Action::"pay", resource);\n'
NEVER = '@id("never") forbid(principal, action == Action::"pay", resource);\n'


def bundle_files(policies: str = PING, approvals: str = "") -> dict[str, bytes]:
    """Return a bundle's files."""
    texts = {
        "tools.yaml": TOOLS,
        "agents.yaml": AGENTS,
        "operators.yaml": OPERATORS,
        "policies/main.cedar": policies,
    }
    if approvals:
        texts["approvals.yaml"] = approvals
    return {path: text.encode() for path, text in texts.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Implements ``InForce``."""

    bundle: Bundle
    epoch: int


class FakePolicy:
    """Implements ``PolicySource`` over files in memory, and brings bundles into force."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.directory = dict(files)
        self.known: tuple[Operator, ...] = EVERYBODY
        self.state: State = State(bundle=load_bundle_from_files(files), epoch=0)
        self.reloading = asyncio.Lock()
        self.activated: list[tuple[str, str]] = []

    def operators(self) -> Mapping[str, Operator]:
        return {operator.identity: operator for operator in self.known}

    async def read(self) -> tuple[Bundle, PolicyEngine]:
        bundle = load_bundle_from_files(self.directory)
        return bundle, PolicyEngine(bundle)

    async def activate(self, bundle: Bundle, engine: PolicyEngine, author: Operator) -> State:
        await asyncio.sleep(0)
        self.activated.append((bundle.digest, author.name))
        self.state = State(bundle=bundle, epoch=self.state.epoch + 1)
        return self.state


class _Log:
    """Keeps entries."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Mapping[str, Any]]] = []

    async def append(self, kind: str, body: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        self.entries.append((kind, body))


class _Passkeys:
    """Takes any assertion."""

    async def verify(self, *, human_id: str, challenge: bytes, assertion: bytes) -> str:
        return "{}"


class _World:
    """Reaches everybody and tells nobody."""

    refused = ""

    def refusal(self, request: Request) -> str:
        return self.refused

    def announce(self, approval: Approval, kind: str) -> None:
        """Nobody listens."""

    def alert(self, agent: str, text: str) -> None:
        """Nobody listens."""


class Desk:
    """Everything an operation goes through, in reach of a test. One run of one control."""

    def __init__(
        self,
        home: Path,
        *,
        policy: FakePolicy,
        clock: ManualClock,
        history: MemoryHistory,
        fleet: ListFleet,
        boot_id: str = BOOT,
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.bench = Bench(
            home / "latch", clock=clock, history=history, fleet=fleet, boot_id=boot_id
        )
        self.containment = self.bench.service
        self.world = _World()
        self.store = SqliteApprovals(home / "approvals.db")
        self.approvals = Approvals(
            store=self.store,
            directory=_Directory(policy),
            audit=_Log(),
            passkeys=_Passkeys(),
            reach=self.world,
            announcer=self.world,
            clock=clock,
            boot_id=boot_id,
            ids=RandomIds(),
            epoch=lambda: self.containment.epoch,
            policy_digest=lambda: policy.state.bundle.digest,
            limits=ApprovalLimits(max_pending_per_requester=1000),
        )
        self.operations = Operations(
            approvals=self.approvals,
            containment=self.containment,
            policy=policy,
            activate=policy.activate,
            clock=clock,
            outsiders=(LOCAL,),
        )

    async def start(self) -> None:
        """Take up what was left."""
        await self.containment.start()
        await self.approvals.start()
        await self.operations.start()

    async def aclose(self) -> None:
        """Stop as after a signal."""
        await self.operations.aclose()
        await self.approvals.close()
        self.store.close()
        await self.bench.aclose()

    async def vote(
        self, operation: Operation, caller: Operator, verdict: Verdict = Verdict.GRANT
    ) -> None:
        """Let *caller* decide *operation*, and carry it out if that grants it."""
        await self.approvals.decide(
            Ballot(
                approval_id=operation.id,
                verdict=verdict,
                fingerprint=operation.fingerprint,
                reason="looked at it",
                request_id=f"vote-{caller.name}-{operation.id}",
                channel=Channel.API,
                assertion=b"signed",
            ),
            caller,
        )
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing happens any more by itself."""
        await asyncio.sleep(0)  # listeners are told in the next round of the loop
        await self.operations.settle()
        await asyncio.sleep(0)
        await self.operations.settle()

    async def now(self, operation: Operation) -> Operation:
        """Return *operation* as it stands now."""
        return await self.operations.get(operation.id, AUDITOR)

    @property
    def levels(self) -> list[str]:
        """What stands."""
        return [
            f"{directive.target.describe()} {directive.level.name}"
            for directive in self.containment.state.directives
        ]


class _Directory:
    def __init__(self, policy: FakePolicy) -> None:
        self._policy = policy

    def operators(self) -> Collection[Operator]:
        return self._policy.operators().values()


class Office:
    """A host whose control can be stopped, crash and start again."""

    def __init__(self, home: Path, *, policies: str = PING, approvals: str = "") -> None:
        self.home = home
        self.policy = FakePolicy(bundle_files(policies, approvals))
        self.clock = ManualClock()
        self.history = MemoryHistory()
        self.fleet = ListFleet(
            *(FleetAgent(id=name) for name in ("banking", "mail", "notes", "search")),
            FleetAgent(id="core", is_protected=True),
        )

    @asynccontextmanager
    async def open(self, *, boot_id: str = BOOT) -> AsyncIterator[Desk]:
        """Run control until the block is left."""
        desk = Desk(
            self.home,
            policy=self.policy,
            clock=self.clock,
            history=self.history,
            fleet=self.fleet,
            boot_id=boot_id,
        )
        await desk.start()
        try:
            yield desk
        finally:
            await desk.aclose()


def digest(text: bytes) -> str:
    """Return the SHA-256 of *text* in hex."""
    return hashlib.sha256(text).hexdigest()
