# SPDX-License-Identifier: Apache-2.0
"""Obligations 1 to 9: what a call may do in the world as it is now.

Synchronous from start to end, and without a side effect but the charge of an ALLOW, so nothing can
change under a decision while it is made. That holds for the look at the disk in 5 too: it blocks the
event loop for a walk of ``open`` calls per path, which only tools whose schema has a ``holdfast-…``
format pay, at every call. The numbers are those of ``pipeline``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sidecar.arguments import FormatRules
from sidecar.authorize.cache import DecisionCache, cache_key
from sidecar.authorize.destination import destination_of
from sidecar.authorize.draft import Draft
from sidecar.authorize.limits import LimitRefusal, Throttle
from sidecar.authorize.question import Question
from sidecar.authorize.world import PolicyInForce, WorldSource
from sidecar.canonical import CallParser
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.containment.machine import Verdict
from sidecar.destination.rules import Refusal, check_destination
from sidecar.model import (
    Effect,
    Executable,
    Level,
    Obligations,
    Reason,
    ReasonCode,
    Role,
    Subject,
)
from sidecar.policy.agents import AgentSpec
from sidecar.policy.engine import PolicyVerdict
from sidecar.policy.policies import HoldObligation
from sidecar.policy.tools import ToolSpec
from sidecar.shape import ShapeError
from sidecar.tokens.validator import Rejection

__all__ = ["ALLOW_LIFE_NS", "DENY_LIFE_NS", "Evaluator"]

ALLOW_LIFE_NS: Final = 5 * NS_PER_SECOND
"""How long an ALLOW may wait before it is acted on, and be remembered (promise P3)."""
DENY_LIFE_NS: Final = NS_PER_SECOND
_CONTAINMENT_HOLD: Final = HoldObligation(
    reason="", tier="MEDIUM", approver_role=Role.APPROVE.value, quorum=1, expiry_s=1800
)
"""What a directive at HOLD asks for; where policy holds the call too, policy's obligation counts."""


class Evaluator:
    """Fulfils obligations 1 to 9 for one call after the other."""

    def __init__(
        self,
        *,
        worlds: WorldSource,
        parser: CallParser,
        cache: DecisionCache[PolicyVerdict],
        throttle: Throttle,
        clock: Clock,
    ) -> None:
        self._worlds = worlds
        self._parser = parser
        self._cache = cache
        self._throttle = throttle
        self._clock = clock

    def decide(self, draft: Draft) -> None:
        """Let *draft* say what may be done; if it ends ``unresolved``, its addresses come first."""
        question, world = draft.question, draft.world
        # 1. Identity: question.agent was set from the socket by the servicer, nothing else.
        # 2. Shape.
        try:
            draft.call = self._parser.parse(
                agent=question.agent,
                session=question.session,
                tool=question.tool,
                arguments=question.arguments,
                url=question.url,
                cwd=question.cwd,
                environment_digest=question.environment_digest,
                nonce=question.nonce,
            )
        except ShapeError as exc:
            draft.deny(Reason(exc.code, exc.message))
            self.prefer_containment(draft)
            return
        # 3. Containment.
        if world.blocker is not None:
            draft.deny(world.blocker)
            return
        policy = world.policy
        if policy is None:
            draft.deny(Reason(ReasonCode.NOT_READY, "the gate has no policy yet"))
            return
        agent = policy.bundle.agents.get(question.agent)
        tool = policy.bundle.tools.get(question.tool)
        is_quiet = not world.containment.contained  # no directive stands: nothing can match
        if not is_quiet and self._contain(draft, _subject(question, agent), tool):
            return
        stale = self._worlds.staleness()
        # 4. Token. Which tool it is decides whether one is needed; revoked outranks stale.
        if tool is not None and tool.token_issuer is not None:
            refusal = self._check_token(draft, policy, tool)
            if refusal is not None and refusal.code is ReasonCode.TOKEN_REVOKED:
                draft.deny(refusal)
                return
            if stale is None and refusal is not None:
                draft.deny(refusal)
                return
        if stale is not None:
            draft.deny(stale)
            return
        # 5. Registry.
        if agent is None:
            draft.deny(
                Reason(
                    ReasonCode.UNKNOWN_AGENT, f"agents.yaml does not name agent {question.agent}"
                )
            )
            return
        if tool is None:
            draft.deny(Reason(ReasonCode.UNKNOWN_TOOL, f"no tool {question.tool} is registered"))
            return
        draft.tool = tool
        problem = tool.validate_arguments(draft.call.arguments)
        if problem is not None:
            draft.deny(Reason(ReasonCode(problem.kind), problem.text))
            return
        formats = policy.formats.get(tool.name)
        if formats is not None and not self._check_formats(draft, tool, formats):
            return
        # 6. Destination.
        if not self._check_destination(draft, tool):
            return
        # 3 again, with what only now is known: hosts, and the human a token names.
        if (
            not is_quiet
            and (draft.hosts or draft.principal)
            and self._contain(
                draft,
                _subject(question, agent, hosts=draft.hosts, principal=draft.principal),
                tool,
            )
        ):
            return
        # An address needs no look-up: one that nobody may dial is denied before policy is asked.
        literal = draft.destination
        if literal is not None and literal.is_ip and not self._pin(draft, tool, (literal.host,)):
            return
        # 7. Limits.
        if not self._check_limits(draft, policy):
            return
        # 8. Policy, 9. approval.
        self._apply_policy(draft, policy)
        self._apply_grant(draft, policy)
        # 6 again, for what would be allowed: its addresses.
        if draft.effect is Effect.ALLOW:
            self._resolve_or_pin(draft, tool)
        if draft.effect is Effect.ALLOW and draft.directive is not None:
            self._soften(draft, draft.directive, tool)
            self._apply_grant(draft, policy)
        if draft.effect is Effect.ALLOW and draft.charge is not None and not draft.is_rehearsal:
            over = policy.limiter.charge(draft.charge)
            if over is not None:
                draft.deny(Reason(over.code, over.text, {"limit": over.limit}))

    def prefer_containment(self, draft: Draft) -> None:
        """Let a kill outrank whatever else is wrong with a call that could not be read."""
        verdict = draft.world.containment.effective(Subject(agent=draft.question.agent))
        if verdict is not None and verdict.level >= Level.FREEZE:
            shape = draft.reasons
            draft.deny(verdict.reason())
            draft.reasons += shape

    def _contain(self, draft: Draft, subject: Subject, tool: ToolSpec | None) -> bool:
        """Return whether a directive denies *subject*; gentler ones are kept for the end."""
        verdict = draft.world.containment.effective(subject)
        if verdict is None:
            return False
        draft.directive = verdict
        judgement = verdict.judge(tool.tool_class if tool is not None else None)
        if judgement.effect is not Effect.DENY:
            return False
        draft.deny(judgement.reasons[0])
        return True

    def _soften(self, draft: Draft, verdict: Verdict, tool: ToolSpec) -> None:
        """Apply to an ALLOW the directives that hold, slow down or only observe."""
        judgement = verdict.judge(tool.tool_class)
        if judgement.effect is Effect.HOLD:
            draft.hold(
                judgement.reasons[0],
                Obligations(
                    addresses=draft.obligations.addresses,
                    executables=draft.obligations.executables,
                    hold_reason=judgement.hold_reason,
                    hold_tier=_CONTAINMENT_HOLD.tier,
                    hold_approver_role=_CONTAINMENT_HOLD.approver_role,
                    hold_quorum=_CONTAINMENT_HOLD.quorum,
                    hold_expiry_s=_CONTAINMENT_HOLD.expiry_s,
                ),
            )
            return
        for directive in () if draft.is_rehearsal else judgement.throttles:
            if not self._throttle.take(
                directive.epoch,
                draft.question.agent,
                directive.throttle_calls_per_minute,
                boot_ns=self._clock.boot_ns(),
            ):
                draft.deny(
                    Reason(
                        ReasonCode.THROTTLED,
                        f"{directive.name} lets {directive.throttle_calls_per_minute} calls pass "
                        "per minute",
                    )
                )
                return
        draft.reasons += judgement.reasons

    def _check_token(self, draft: Draft, policy: PolicyInForce, tool: ToolSpec) -> Reason | None:
        if not draft.question.token:
            return Reason(
                ReasonCode.TOKEN_MISSING, f"{tool.name} needs a token of issuer {tool.token_issuer}"
            )
        result = policy.validator.validate(
            draft.question.token, issuer_name=str(tool.token_issuer), agent=draft.question.agent
        )
        if isinstance(result, Rejection):
            return Reason(result.code, result.text)
        draft.token = result
        revoked = draft.world.revocations.match(result)
        return Reason(revoked.code, revoked.text) if revoked is not None else None

    def _check_formats(self, draft: Draft, tool: ToolSpec, formats: FormatRules) -> bool:
        call = draft.call
        assert call is not None  # noqa: S101 - set in step 2
        try:
            found = formats.check(call.arguments, roots=tool.path_roots)
        except ShapeError as exc:
            draft.deny(Reason(exc.code, exc.message))
            return False
        if found.executables:
            draft.obligations = Obligations(
                executables=tuple(
                    Executable(
                        path=program.path,
                        device=program.device,
                        inode=program.inode,
                        change_time_ns=program.change_time_ns,
                        sha256=program.sha256,
                    )
                    for program in found.executables
                )
            )
        return True

    def _check_destination(self, draft: Draft, tool: ToolSpec) -> bool:
        """Apply the host rules; return whether the call may go on. No name is resolved here."""
        call = draft.call
        assert call is not None  # noqa: S101 - set in step 2
        if tool.destination is None:
            if call.url:
                draft.deny(
                    Reason(
                        ReasonCode.DESTINATION,
                        f"{tool.name} is not a network tool, so its call may not carry a url",
                    )
                )
                return False
            return True
        try:
            destination = destination_of(call, tool.destination)
        except ShapeError as exc:
            draft.deny(Reason(exc.code, exc.message))
            return False
        draft.destination = destination
        draft.hosts = (destination.host,)
        return True

    def _resolve_or_pin(self, draft: Draft, tool: ToolSpec) -> None:
        """Pin the addresses of an ALLOW, or ask for them to be resolved first.

        Last of all, because a name that is looked up is told to whoever serves it: for a call that
        policy, limits or containment deny, nothing may be looked up.
        """
        destination, spec = draft.destination, tool.destination
        if destination is None or destination.is_ip or spec is None or not spec.is_resolved:
            return
        if draft.addresses is None:
            draft.effect = Effect.DENY  # until somebody calls ``resolve``
            draft.unresolved = destination.host
            return
        self._pin(draft, tool, draft.addresses)

    def _pin(self, draft: Draft, tool: ToolSpec, addresses: tuple[str, ...]) -> bool:
        assert draft.destination is not None  # noqa: S101 - set in step 6
        result = check_destination(
            draft.destination, addresses, allow_private=tool.allow_private_addresses
        )
        if isinstance(result, Refusal):
            draft.deny(Reason(result.code, result.text))
            return False
        draft.obligations = replace(draft.obligations, addresses=result)
        return True

    def _check_limits(self, draft: Draft, policy: PolicyInForce) -> bool:
        question, call = draft.question, draft.call
        assert call is not None  # noqa: S101 - set in step 2
        if not policy.limiter.applies(question.agent, question.tool):
            return True
        result = policy.limiter.check(
            question.agent,
            question.tool,
            call.arguments,
            boot_ns=self._clock.boot_ns(),
            wall_ns=self._clock.wall_ns(),
        )
        if isinstance(result, LimitRefusal):
            draft.deny(Reason(result.code, result.text, {"limit": result.limit}))
            return False
        draft.charge = result
        return True

    def _apply_policy(self, draft: Draft, policy: PolicyInForce) -> None:
        verdict = self._cached_verdict(draft, policy)
        draft.policy_ids = verdict.policy_ids
        draft.shadow_ids = verdict.shadow_ids
        match verdict.effect:
            case Effect.ALLOW:
                draft.allow(Reason(ReasonCode.POLICY_ALLOW, verdict.text))
            case Effect.HOLD:
                hold = verdict.hold
                assert hold is not None  # noqa: S101 - the engine's contract
                draft.hold(
                    Reason(ReasonCode.POLICY_HOLD, hold.reason, {"tier": hold.tier}),
                    Obligations(
                        addresses=draft.obligations.addresses,
                        executables=draft.obligations.executables,
                        hold_reason=hold.reason,
                        hold_tier=hold.tier,
                        hold_approver_role=hold.approver_role,
                        hold_quorum=hold.quorum,
                        hold_expiry_s=hold.expiry_s,
                    ),
                )
            case Effect.DENY:
                draft.deny(Reason(verdict.reason, verdict.text))

    def _apply_grant(self, draft: Draft, policy: PolicyInForce) -> None:
        """Let the grant that was used for this call, if there is one, lift what holds it.

        The desk has bound it once already; the world may have moved since, and then it is void. A
        grant lifts a hold and nothing else: whatever denies was asked before, or is asked after.
        """
        grant, call = draft.grant, draft.call
        if grant is None or draft.effect is not Effect.HOLD:
            return
        assert call is not None  # noqa: S101 - set in step 2
        bound = (grant.fingerprint, grant.policy_digest, grant.epoch)
        if bound != (call.fingerprint, policy.bundle.digest, draft.world.epoch):
            draft.deny(
                Reason(
                    ReasonCode.APPROVAL_BINDING,
                    "containment or policy changed while the grant was used; ask again",
                    {"approval": grant.approval},
                )
            )
            return
        obligations = draft.obligations
        draft.is_at_desk = False
        draft.allow(
            Reason(
                ReasonCode.APPROVAL_GRANTED,
                f"granted by {' and '.join(grant.granters)}",
                {"approval": grant.approval},
            )
        )
        draft.obligations = Obligations(
            addresses=obligations.addresses,
            executables=obligations.executables,
            approval=f"approvals/{grant.approval}",
        )

    def _cached_verdict(self, draft: Draft, policy: PolicyInForce) -> PolicyVerdict:
        question, call = draft.question, draft.call
        assert call is not None  # noqa: S101 - set in step 2
        key = cache_key(
            agent=question.agent,
            token=draft.token.identity if draft.token is not None else "",
            policy_digest=policy.bundle.digest,
            epoch=draft.world.epoch,
            projection=policy.engine.cache_key(
                agent=question.agent,
                session=question.session,
                tool=question.tool,
                arguments=call.arguments,
                destination=draft.destination,
            ),
        )
        now = self._clock.boot_ns()
        verdict = self._cache.get(key, now)
        if verdict is not None:
            draft.is_cached = True
            return verdict
        verdict = policy.engine.decide(
            agent=question.agent,
            session=question.session,
            tool=question.tool,
            arguments=call.arguments,
            destination=draft.destination,
        )
        if verdict.is_cacheable:
            life = ALLOW_LIFE_NS if verdict.effect is Effect.ALLOW else DENY_LIFE_NS
            deadline = now + life
            if draft.token is not None:
                deadline = min(deadline, policy.validator.deadline_boot_ns(draft.token))
            self._cache.put(key, verdict, deadline)
        return verdict


def _subject(
    question: Question,
    agent: AgentSpec | None,
    *,
    hosts: tuple[str, ...] = (),
    principal: str = "",
) -> Subject:
    """Return what of the call a directive can match on, as far as it is known by now."""
    principals = {agent.owner} if agent is not None else set()
    if principal:
        principals.add(principal)
    return Subject(
        agent=question.agent,
        session=question.session,
        tool=question.tool,
        hosts=frozenset(hosts),
        principals=frozenset(principals),
        labels=agent.labels if agent is not None else {},
    )
