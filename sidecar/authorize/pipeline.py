# SPDX-License-Identifier: Apache-2.0
"""The authorize pipeline: eleven obligations, in this order, for every call.

 1. **Identity** comes from the socket the call arrived on.
 2. **Shape**: strict I-JSON arguments and ASCII identifiers; reject, never normalise.
 3. **Containment**: latch and directives.
 4. **Token**, when the tool asks for one.
 5. **Registry**: a known agent and tool, arguments that match its schema, and the files and
    programs they name, as they are on disk now; the class is the registry's.
 6. **Destination**, for network tools: strict host rules; addresses are resolved only for a call that
    would be allowed, and pinned as an obligation.
 7. **Limits**: rate and budget.
 8. **Policy**: from the cache or fresh from Cedar.
 9. **Approval**: a held call uses the grant that a human gave for exactly it, once; without one,
    humans are asked and the answer is HOLD. Nothing but a hold is lifted by a grant.
10. **Record**: durable before the answer for tools that write, destroy or reach outside, within
    milliseconds for reads. No record, no action.
11. **Epoch re-check** just before the reply; if the world changed, decide again, and after
    ``MAX_ATTEMPTS`` deny.

The order of verdicts is total: killed > revoked > stale > policy deny > needs approval > allow.
``evaluator`` fulfils 1 to 9, this module the rest, and it is the only place where an unexpected
exception becomes a denial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from sidecar.audit.log import AuditLog
from sidecar.authorize.cache import DecisionCache
from sidecar.authorize.draft import Draft
from sidecar.authorize.evaluator import ALLOW_LIFE_NS, DENY_LIFE_NS, Evaluator
from sidecar.authorize.holds import Desk, Grant, HeldCall, Opened, Turned, Used
from sidecar.authorize.limits import Throttle
from sidecar.authorize.question import Question
from sidecar.authorize.record import Recorder
from sidecar.authorize.world import WorldSource
from sidecar.canonical import CallParser, canonical_call
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.destination.resolver import Resolver
from sidecar.errors import EnvironmentFailure, UntrustedInputError
from sidecar.ids import Ids
from sidecar.model import (
    AgentId,
    Decision,
    Effect,
    Reason,
    ReasonCode,
)
from sidecar.policy.engine import PolicyVerdict

__all__ = ["MAX_ATTEMPTS", "Pipeline"]

MAX_ATTEMPTS: Final = 3
_DURABLE_DEADLINE_S: Final = 2.0
_RESOLVE_DEADLINE_S: Final = 1.0
_MAX_STEPS: Final = 4
"""A grant, an address, and either of them once more because of what the other brought to light."""

log = structlog.get_logger("holdfast.authorize")

_INTERNAL = Reason(ReasonCode.INTERNAL, "the gate failed while it decided; the failure is logged")
_NO_RECORD = Reason(
    ReasonCode.AUDIT_UNAVAILABLE,
    "the gate cannot write its log, and what is not recorded is not done",
)
_ENTRY_TOO_LARGE = Reason(
    ReasonCode.TOO_LARGE, "what the log must keep of this call is larger than a log entry"
)
_UNSTABLE = Reason(
    ReasonCode.EPOCH_UNSTABLE,
    "containment or policy changed again and again while this was decided",
)


class Pipeline:
    """Decides calls under the world of a ``WorldSource`` and records every decision."""

    def __init__(
        self,
        *,
        worlds: WorldSource,
        parser: CallParser,
        cache: DecisionCache[PolicyVerdict],
        throttle: Throttle,
        resolver: Resolver,
        desk: Desk,
        recorder: Recorder,
        audit: AuditLog,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._worlds = worlds
        self._evaluator = Evaluator(
            worlds=worlds, parser=parser, cache=cache, throttle=throttle, clock=clock
        )
        self._resolver = resolver
        self._desk = desk
        self._recorder = recorder
        self._audit = audit
        self._clock = clock
        self._ids = ids

    # -- one call, start to end ---------------------------------------------------------------

    async def authorize(self, question: Question) -> Decision:
        """Return the decision for *question*; never raises but ``CancelledError``."""
        draft = self.begin(question)
        return self.finish(draft) or await self.settle(draft)

    def begin(self, question: Question) -> Draft:
        """Fulfil obligations 1–10 as far as they need no waiting.

        Every draft goes on to ``finish``, and where that answers None to ``settle``.
        """
        draft = self._evaluate(question, addresses=None)
        if not draft.is_open:
            self._record(draft)
        return draft

    async def _close(self, draft: Draft) -> Draft:
        """Ask what *draft* leaves open, addresses or humans, until nothing is, and record it."""
        for _step in range(_MAX_STEPS):
            if draft.unresolved is not None:
                addresses = await self._addresses(draft.unresolved)
                draft = self._evaluate(draft.question, addresses=addresses, unfinished=draft)
            elif draft.is_at_desk:
                draft = await self._ask(draft)
        if draft.is_open:
            draft.unresolved = None
            draft.deny(_UNSTABLE)
        self._record(draft)
        return draft

    async def _ask(self, draft: Draft) -> Draft:
        """Use the grant for a held call, or ask humans for one (obligation 9)."""
        outcome = await self._desk.settle(_held(draft))
        match outcome:
            case Opened():
                draft.asked(outcome)
            case Turned():
                draft.deny(outcome.reason)
            case Used():
                draft.grant = outcome.grant
                draft = self._evaluate(draft.question, addresses=draft.addresses, unfinished=draft)
        return draft

    async def _addresses(self, host: str) -> tuple[str, ...]:
        """Return what *host* resolves to; nothing if it does not, which denies."""
        try:
            async with asyncio.timeout(_RESOLVE_DEADLINE_S):
                return await self._resolver.resolve(host)
        except (TimeoutError, OSError, EnvironmentFailure, UntrustedInputError):
            return ()

    async def rehearse(self, question: Question) -> Decision:
        """Decide *question* as it would be decided now; nothing is recorded, charged or allowed.

        A rehearsal of an agent that is contained is the proof that it is.
        """
        draft = self._evaluate(question, addresses=None, is_rehearsal=True)
        if draft.unresolved is not None:
            addresses = await self._addresses(draft.unresolved)
            draft = self._evaluate(question, addresses=addresses, is_rehearsal=True)
        return self._decision(draft)

    def refuse(self, agent: AgentId, reason: Reason) -> Decision:
        """Deny and record what could not even be read as a question."""
        world = self._worlds.current()
        draft = Draft(
            question=Question(agent, "", b""), world=world, decision_id=self._ids.new("dec")
        )
        draft.deny(reason)
        self._evaluator.prefer_containment(draft)
        self._record(draft)
        return self._decision(draft)

    async def wait_durable(self, drafts: Sequence[Draft]) -> None:
        """Wait until the records of *drafts* are durable (obligation 10); failure denies them."""
        tickets = [draft.ticket for draft in drafts if draft.ticket is not None]
        if not tickets:
            return
        try:
            await self._audit.durable(max(tickets), timeout_s=_DURABLE_DEADLINE_S)
        except EnvironmentFailure:
            for draft in drafts:
                draft.deny(_NO_RECORD)
        for draft in drafts:
            draft.is_durable = True

    def finish(self, draft: Draft) -> Decision | None:
        """Return the decision if it may be sent now, or None if there is something to wait for."""
        # 11. The world is compared after everything else, with no await before the reply.
        if draft.is_open or (draft.must_wait and not draft.is_durable):
            return None
        if draft.effect is Effect.DENY:
            return self._decision(draft)
        if not self._worlds.is_current(draft.world):
            return None
        if draft.effect is Effect.ALLOW:
            self._recorder.allowed(draft.question.agent, self._clock.wall_ns())
        return self._decision(draft)

    async def settle(self, draft: Draft) -> Decision:
        """Wait for what *draft* needs, decide again while the world changes, and answer."""
        for _attempt in range(MAX_ATTEMPTS):
            if draft.is_open:
                draft = await self._close(draft)
            if draft.must_wait and not draft.is_durable:
                await self.wait_durable((draft,))
            decision = self.finish(draft)
            if decision is not None:
                return decision
            draft = self._again(draft)
        draft.deny(_UNSTABLE)
        self._record(draft)
        return self._decision(draft)

    def _again(self, earlier: Draft) -> Draft:
        """Decide again under the world as it is now; the new record names the one it replaces."""
        draft = self._evaluate(earlier.question, addresses=earlier.addresses, grant=earlier.grant)
        draft.replaces = earlier.decision_id
        if not draft.is_open:
            self._record(draft)
        return draft

    # -- obligations 1 to 9, and 10 ------------------------------------------------------------

    def _evaluate(
        self,
        question: Question,
        *,
        addresses: tuple[str, ...] | None,
        is_rehearsal: bool = False,
        unfinished: Draft | None = None,
        grant: Grant | None = None,
    ) -> Draft:
        """Decide under the world as it is now.

        What goes on from an *unfinished* draft is the same decision: nothing was recorded of it, and
        whoever was asked on its behalf knows it by its id.
        """
        draft = Draft(
            question=question,
            world=self._worlds.current(),
            decision_id=unfinished.decision_id if unfinished else self._ids.new("dec"),
            addresses=addresses,
            is_rehearsal=is_rehearsal,
            grant=unfinished.grant if unfinished else grant,
            replaces=unfinished.replaces if unfinished else "",
        )
        try:
            self._evaluator.decide(draft)
        except Exception:
            log.exception("authorize failed", decision_id=draft.decision_id, agent=question.agent)
            draft.deny(_INTERNAL)
        return draft

    def _record(self, draft: Draft) -> None:
        # 10. Record. A log that cannot take the entry turns the decision into a denial.
        try:
            draft.ticket = self._recorder.record(draft)
        except UntrustedInputError:
            # The call fits its limits and its entry does not: denied, and recorded without arguments.
            draft.deny(_ENTRY_TOO_LARGE)
            draft.tool = None
            self._record(draft)
        except EnvironmentFailure:
            draft.ticket = None
            draft.deny(_NO_RECORD)

    def _decision(self, draft: Draft) -> Decision:
        now = self._clock.wall_ns()
        valid_until = now + (ALLOW_LIFE_NS if draft.effect is Effect.ALLOW else DENY_LIFE_NS)
        if draft.token is not None:
            valid_until = min(valid_until, draft.token.expire_time_s * NS_PER_SECOND)
        policy = draft.world.policy
        return Decision(
            effect=draft.effect,
            reasons=draft.reasons,
            decision_id=draft.decision_id,
            epoch=draft.world.epoch,
            valid_until_ns=valid_until,
            fingerprint=draft.call.fingerprint if draft.call is not None else "",
            policy_digest=policy.bundle.digest if policy is not None else "",
            tool_class=draft.tool.tool_class if draft.tool is not None else None,
            obligations=draft.obligations,
            is_cached=draft.is_cached,
        )


def _held(draft: Draft) -> HeldCall:
    call, policy, obligations = draft.call, draft.world.policy, draft.obligations
    assert call is not None and policy is not None  # noqa: S101, PT018 - nothing else is held
    return HeldCall(
        agent=call.agent,
        session=call.session,
        tool=call.tool,
        canonical=canonical_call(call),
        fingerprint=call.fingerprint,
        policy_digest=policy.bundle.digest,
        epoch=draft.world.epoch,
        decision_id=draft.decision_id,
        reason=obligations.hold_reason or draft.reasons[0].text,
        tier=obligations.hold_tier,
        approver_role=obligations.hold_approver_role,
        quorum=obligations.hold_quorum,
        expiry_s=obligations.hold_expiry_s,
        policies=draft.policy_ids,
    )
