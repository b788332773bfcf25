# SPDX-License-Identifier: Apache-2.0
"""From a gate's question about a held call to a request for a human, and back.

Laws:

1. What is shown and granted is the canonical form the gate sent, and its fingerprint is computed
   here. Agent, session and tool are read from those same bytes.
2. A gate asks for its own agents alone; about any other approval it learns that it knows none.
3. What policy asks of the approvers can only be made stricter by the bundle's tiers.
4. The bundle that held the call must be the one in force here: another one is a denial.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Any, Final

import structlog

from sidecar.approvals.service import Approvals, Consumed, Denied, Pending
from sidecar.approvals.tiers import TierRule
from sidecar.approvals.values import (
    Approval,
    ApprovalState,
    Binding,
    Cause,
    Request,
    RequestKind,
    Tier,
    Verdict,
)
from sidecar.control.policies import ControlPolicy
from sidecar.control.summary import call_sentence
from sidecar.errors import HoldfastError
from sidecar.internal.v1 import sync_pb2
from sidecar.model import Fingerprint, Reason, ReasonCode, Role

__all__ = ["HoldRelay", "changed_message"]

_FIELDS: Final = frozenset(
    {"agent", "arguments", "cwd", "environment_digest", "nonce", "session", "tool", "url", "v"}
)
_UNKNOWN: Final = "UNKNOWN"
_CODES: Final = {
    ApprovalState.PENDING: ReasonCode.POLICY_HOLD,
    ApprovalState.GRANTED: ReasonCode.APPROVAL_GRANTED,
    ApprovalState.CONSUMED: ReasonCode.APPROVAL_GRANTED,
    ApprovalState.REFUSED: ReasonCode.APPROVAL_REFUSED,
    ApprovalState.EXPIRED: ReasonCode.APPROVAL_EXPIRED,
    ApprovalState.CANCELLED: ReasonCode.APPROVAL_CANCELLED,
}
log = structlog.get_logger("holdfast.control")

Held = sync_pb2.SyncResponse.Held
Changed = sync_pb2.SyncResponse.ApprovalChanged


class HoldRelay:
    """Implements ``control.gates.Holds`` over the approvals."""

    def __init__(
        self,
        *,
        approvals: Approvals,
        policy: ControlPolicy,
        tiers: Callable[[], Mapping[Tier, TierRule]],
        url: Callable[[str], str],
    ) -> None:
        self._approvals = approvals
        self._policy = policy
        self._tiers = tiers
        self._url = url

    async def hold(self, agents: Collection[str], question: sync_pb2.SyncRequest.Hold) -> Held:
        """Use the grant of the call, or open a request for one; never raises ``HoldfastError``."""
        if question.policy_digest != self._policy.state.bundle.digest:
            return _denied(
                question.id, ReasonCode.APPROVAL_BINDING, "another policy has come into force"
            )
        try:
            request = self._request(agents, question)
        except (HoldfastError, ValueError, KeyError, TypeError) as exc:
            log.error("a gate asked about a call that cannot be held", problem=type(exc).__name__)
            return _denied(question.id, ReasonCode.APPROVAL_UNAVAILABLE, "the held call is unfit")
        binding = Binding(
            fingerprint=request.fingerprint,
            agent=request.agent,
            session=request.session,
            policy_digest=request.policy_digest,
            epoch=request.epoch,
        )
        answer = await self._approvals.hold(request, binding, decision_id=question.decision_id)
        match answer:
            case Pending():
                held = Held(id=question.id, approval=answer.approval.id)
                held.pending.expire_time_ns = answer.approval.expire_time_ns
                held.pending.approvers.extend(answer.approvers)
                held.pending.url = self._url(answer.approval.id)
            case Consumed():
                held = Held(id=question.id, approval=answer.approval.id)
                held.consumed.epoch = answer.approval.grant_epoch
                held.consumed.policy_digest = answer.approval.request.policy_digest
                held.consumed.fingerprint = answer.approval.request.fingerprint
                held.consumed.granters.extend(_granters(answer.approval))
            case Denied():
                held = Held(id=question.id, approval=answer.approval_id)
                held.denied.code, held.denied.text = answer.reason.code, answer.reason.text
                held.denied.metadata.update(answer.reason.metadata)
        return held

    async def status(self, agent: str, approval: str) -> Changed:
        """Return how an approval of *agent* stands (law 2)."""
        try:
            found = await self._approvals.get(approval)
        except HoldfastError:
            return _unknown(agent, approval)
        if found.request.kind is not RequestKind.CALL or found.request.agent != agent:
            return _unknown(agent, approval)
        return changed_message(found)

    async def abandon(self, agent: str, approval: str, *, is_asked: bool) -> Changed:
        """Withdraw an approval of *agent*, who asked for it or is gone."""
        known = await self.status(agent, approval)
        if known.state == _UNKNOWN:
            return known
        cause = Cause.WITHDRAWN if is_asked else Cause.AGENT_GONE
        detail = "the agent withdrew it" if is_asked else "the agent went away while it waited"
        try:
            await self._approvals.cancel(approval, cause, detail=detail, agent=agent)
        except HoldfastError as exc:
            log.error("a request could not be withdrawn", approval=approval, problem=str(exc))
        return await self.status(agent, approval)

    def _request(self, agents: Collection[str], question: sync_pb2.SyncRequest.Hold) -> Request:
        canonical = question.canonical
        call: dict[str, Any] = json.loads(canonical)
        if call.keys() != _FIELDS or call["agent"] != question.agent:
            raise ValueError("this is not the canonical form of a call of that agent")
        agent, tool_name = call["agent"], call["tool"]
        if agent not in agents:
            raise ValueError("a gate asks for its own agents only")
        bundle = self._policy.state.bundle
        tool, spec = bundle.tools[tool_name], bundle.agents[agent]
        tier = Tier[question.tier]
        rule = self._tiers()[tier]
        return Request(
            kind=RequestKind.CALL,
            fingerprint=Fingerprint(sha256(canonical).hexdigest()),
            canonical=canonical,
            summary=call_sentence(agent, tool, call["arguments"]),
            reason=question.reason,
            tier=tier,
            role=Role(question.approver_role),
            quorum=max(question.quorum, rule.quorum),
            is_passkey_needed=rule.is_passkey_needed,
            is_reason_needed=rule.is_reason_needed,
            expiry_s=min(question.expiry_s, rule.expiry_s),
            grant_life_s=rule.grant_life_s,
            policy_digest=question.policy_digest,
            epoch=question.epoch,
            agent=agent,
            owner=spec.owner,
            session=call["session"],
            tool=tool_name,
            decision_id=question.decision_id,
            policies=tuple(question.policies),
        )


def changed_message(approval: Approval) -> Changed:
    """Return how *approval* stands, as its gate and its agent may know it."""
    message = Changed(
        approval=approval.id,
        agent=approval.request.agent,
        state=approval.state.value,
        expire_time_ns=approval.expire_time_ns if approval.is_live else 0,
    )
    message.reason.code = _CODES[approval.state]
    message.reason.text = approval.detail or approval.request.reason
    return message


def _granters(approval: Approval) -> list[str]:
    return sorted(vote.operator for vote in approval.votes if vote.verdict is Verdict.GRANT)


def _unknown(agent: str, approval: str) -> Changed:
    return Changed(approval=approval, agent=agent, state=_UNKNOWN)


def _denied(id_: int, code: ReasonCode, text: str) -> Held:
    reason = Reason(code, text)
    held = Held(id=id_)
    held.denied.code, held.denied.text = reason.code, reason.text
    return held
