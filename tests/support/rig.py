# SPDX-License-Identifier: Apache-2.0
"""A gate without its servers, and the writing half of a control, in one process.

Latch, journal, log, policy and pipeline are the real ones over a real directory; only the clock and
the resolver may be the test's. What ``contain`` publishes is seen by the next call through the
mapped latch, as it is between two processes. For attacks that need an exact moment, or a guard taken
out under the test's own ``monkeypatch``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit.log import AuditLog
from sidecar.audit.outcomes import OutcomeJoiner
from sidecar.audit.reader import read_entries
from sidecar.audit.redaction import Redactor
from sidecar.authorize.cache import DecisionCache
from sidecar.authorize.limits import Throttle
from sidecar.authorize.pipeline import Pipeline
from sidecar.authorize.question import Question
from sidecar.authorize.record import Recorder
from sidecar.canonical import CallParser
from sidecar.clock import Clock, ManualClock
from sidecar.containment.drafts import (
    Moment,
    draft_containment,
    draft_release,
    draft_revocation,
    draft_token_rules,
)
from sidecar.containment.events import PolicyActivated
from sidecar.containment.journal import ContainmentJournal
from sidecar.containment.orders import ContainmentOrder, ReleaseOrder, RevocationOrder
from sidecar.destination.resolver import ResolutionError, Resolver
from sidecar.gate.policies import PolicyBuilder
from sidecar.gate.state import GateState
from sidecar.ids import RandomIds
from sidecar.latch.reader import LatchReader
from sidecar.latch.writer import LatchWriter
from sidecar.model import AgentId, Decision, Level, Operator, OperatorKind, Role, Target, TargetKind
from sidecar.policy.bundle import load_bundle
from sidecar.policy.engine import PolicyVerdict
from tests.support.bundles import OTHER_ISSUER, IdentityProvider, write_bundle
from tests.support.clients import new_id
from tests.support.desk import ScriptedDesk

__all__ = ["BOOT_ID", "GateRig", "TableResolver", "codes_of"]

BOOT_ID = "11111111-2222-3333-4444-555555555555"
_ALICE = Operator(
    name="alice",
    kind=OperatorKind.HUMAN,
    human_id="alice",
    roles=frozenset({Role.CONTAIN, Role.BREAK_GLASS}),
    identity="spiffe://holdfast.test/operator/alice",
)
_BOB = Operator(
    name="bob",
    kind=OperatorKind.HUMAN,
    human_id="bob",
    roles=frozenset({Role.RELEASE}),
    identity="spiffe://holdfast.test/operator/bob",
)


def codes_of(decision: Decision) -> str:
    """Return effect and first reason, such as ``DENY KILLED``."""
    return f"{decision.effect} {decision.reasons[0].code}"


class TableResolver:
    """Answers from a table of lists; each look-up takes the next list of its host."""

    def __init__(self, table: Mapping[str, list[tuple[str, ...]]] | None = None) -> None:
        self.table = {host: list(answers) for host, answers in (table or {}).items()}
        self.asked: list[str] = []
        self.before_answer: Callable[[str], Any] = lambda host: None

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the next answer of *host*; the last one stays."""
        self.asked.append(host)
        waiting = self.before_answer(host)
        if waiting is not None:
            await waiting
        answers = self.table.get(host)
        if not answers:
            raise ResolutionError("no such host")
        return answers.pop(0) if len(answers) > 1 else answers[0]


class GateRig:
    """The rig. Use as ``async with GateRig(directory) as rig``."""

    def __init__(
        self, directory: Path, *, clock: Clock | None = None, resolver: Resolver | None = None
    ) -> None:
        self.directory = directory
        self.clock = clock or ManualClock(wall_ns=time.time_ns(), boot_ns=10**12)
        self.resolver = resolver or TableResolver()
        self.desk = ScriptedDesk()
        self.idp = IdentityProvider()
        self.other_idp = IdentityProvider(OTHER_ISSUER, "other-1")
        self._key = Ed25519PrivateKey.generate()
        self.writer = LatchWriter.initialise(directory / "latch", boot_id=BOOT_ID)
        self.journal = ContainmentJournal(writer=self.writer, clock=self.clock, boot_id=BOOT_ID)
        self.beat()

    async def __aenter__(self) -> Self:
        self._open_gate()
        self.state.take_revocations(())
        await self.activate()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close_gate()
        self.writer.close()

    def _open_gate(self) -> None:
        clock = self.clock
        self.audit = AuditLog.open(
            self.directory / "audit",
            origin="holdfast.local/gate/rig",
            signing_key=self._key,
            clock=clock,
        )
        self.joiner = OutcomeJoiner()
        self.recorder = Recorder(
            audit=self.audit, redactor=Redactor(b"k" * 32), joiner=self.joiner, clock=clock
        )
        self.latch = LatchReader(self.directory / "latch", boot_id=BOOT_ID)
        self.state = GateState(
            latch=self.latch, clock=clock, max_staleness_s=5.0, changed=lambda world: None
        )
        self.cache: DecisionCache[PolicyVerdict] = DecisionCache(max_entries=1000, clock=clock)
        self.pipeline = Pipeline(
            worlds=self.state,
            parser=CallParser(),
            cache=self.cache,
            throttle=Throttle(),
            resolver=self.resolver,
            desk=self.desk,
            recorder=self.recorder,
            audit=self.audit,
            clock=clock,
            ids=RandomIds(),
        )
        self.builder = PolicyBuilder(clock=clock, restore=lambda limiter: None)

    async def _close_gate(self) -> None:
        await self.builder.aclose()
        await self.audit.aclose()
        self.latch.close()

    async def restart_gate(self) -> None:
        """Start the gate anew over the same files, as after a crash."""
        await self._close_gate()
        self._open_gate()
        self.state.take_revocations(())
        await self.stage()

    # -- what control does --------------------------------------------------------------------

    def beat(self) -> None:
        """Let control's heart beat once."""
        self.writer.heartbeat(self.clock.boot_ns())

    async def stage(self) -> str:
        """Build the bundle as it lies there now and hand it to the gate; return its digest."""
        bundle = load_bundle(self.directory / "bundle")
        self.state.stage_policy(await self.builder.build(dict(bundle.files)))
        return bundle.digest

    async def activate(self, **changes: Any) -> str:
        """Write the bundle with *changes* and bring it into force; return its digest."""
        write_bundle(self.directory / "bundle", idp=self.idp, other=self.other_idp, **changes)
        digest = await self.stage()
        self.name_policy(digest)
        return digest

    def name_policy(self, digest: str) -> None:
        """Let the latch name the policy in force."""
        self.journal.publish(
            PolicyActivated(
                epoch=self.journal.next_epoch,
                digest=digest,
                author="carol",
                create_time_ns=self.clock.wall_ns(),
            )
        )

    def contain(self, target: Target | str = "alpha", level: Level = Level.KILL) -> int:
        """Publish a directive and return its epoch. No await: it may be called at any moment."""
        if isinstance(target, str):
            target = Target(kind=TargetKind.AGENT, agent=target)
        order = ContainmentOrder(request_id=new_id(), target=target, level=level, reason="test")
        contained = draft_containment(order, _ALICE, self._moment())
        agents = (target.agent,) if target.agent else ()
        self.journal.publish_containment(contained, draft_token_rules(contained, agents))
        return contained.epoch

    def release(self, epoch: int) -> None:
        """End the directive of *epoch*."""
        order = ReleaseOrder(request_id=new_id(), directive_epoch=epoch, reason="test")
        self.journal.publish(draft_release(order, _BOB, self._moment()))

    def revoke(self, **selectors: Any) -> None:
        """Revoke tokens."""
        order = RevocationOrder(request_id=new_id(), reason="test", **selectors)
        self.journal.publish(draft_revocation(order, _ALICE, self._moment()))

    def _moment(self) -> Moment:
        return Moment(
            epoch=self.journal.next_epoch,
            wall_ns=self.clock.wall_ns(),
            boot_ns=self.clock.boot_ns(),
            boot_id=BOOT_ID,
        )

    def log_lines(self) -> list[bytes]:
        """Return the gate's log, entry by entry."""
        entries = read_entries(self.directory / "audit", 0, 10_000, is_unsigned_included=True)
        return [entry.line for entry in entries]

    # -- what an agent does -------------------------------------------------------------------

    async def ask(
        self,
        tool: str = "note.read",
        arguments: Mapping[str, Any] | bytes | None = None,
        *,
        agent: str = "alpha",
        **fields: Any,
    ) -> Decision:
        """Return the decision on one call."""
        if not isinstance(arguments, bytes):
            arguments = json.dumps(arguments or {}).encode()
        return await self.pipeline.authorize(Question(AgentId(agent), tool, arguments, **fields))

    async def verdict(self, *args: Any, **kwargs: Any) -> str:
        """Return effect and first reason of one call."""
        return codes_of(await self.ask(*args, **kwargs))

    def token(self, agent: str = "alpha", **claims: Any) -> str:
        """Return a token that is good by the rig's own clock."""
        now = self.clock.wall_ns() // 10**9
        return self.idp.token(agent, **{"iat": now - 2, "exp": now + 600, **claims})
