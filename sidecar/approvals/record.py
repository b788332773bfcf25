# SPDX-License-Identifier: Apache-2.0
"""What control's log says of a transition.

Laws:

1. An entry names the approval, the ``version`` that the transition makes, and who caused it. The
   state of an approval is what its highest ``version`` says.
2. Whatever loosens (a vote to grant, a grant, its use) and the opening itself are written *before*
   they are made, so that nothing is loosened without a record. If it then is not made, a ``lapsed``
   entry of the same version says so; a later entry of the same version says so too.
3. Whatever tightens is written after it was made, at last when the service can write again.
4. No entry holds the canonical form, the summary or anything else that an agent wrote but its ids:
   arguments may be secrets. The fingerprint names them.
5. The passkey's assertion stands in the entry of the vote that it signs, whole, with the key that
   verifies it.

Compatibility: as ``sidecar.audit.entry``; fields may be added. ``folded`` is no event: a call that
waits already changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

from sidecar.approvals.values import Approval, ApprovalState, Vote

__all__ = ["KIND", "entry_of", "event_of", "lapsed_entry_of"]

KIND: Final = "approval"

_EVENTS: Final = {
    ApprovalState.GRANTED: "granted",
    ApprovalState.REFUSED: "refused",
    ApprovalState.EXPIRED: "expired",
    ApprovalState.CANCELLED: "cancelled",
}
# Events that a vote made; only their entries carry its assertion.
_VOTED: Final = frozenset({"voted", "granted", "refused"})


def event_of(approval: Approval) -> str:
    """Return the name of the transition that made this version of *approval*."""
    if approval.state is ApprovalState.PENDING:
        return "voted" if approval.votes else "opened"
    if approval.state is ApprovalState.CONSUMED:
        return "executed" if approval.result else "consumed"
    return _EVENTS[approval.state]


def lapsed_entry_of(approval: Approval) -> dict[str, Any]:
    """Return the body of the entry that the announced transition to *approval* was not made."""
    event = event_of(approval)
    optional = {
        "agent": approval.request.agent,
        "consuming_decision_id": approval.consuming_decision_id,
        "operator": approval.votes[-1].operator if event in _VOTED else "",
    }
    return {
        "event": "lapsed",
        "lapsed_event": event,
        "approval": approval.name,
        "version": approval.version,
        "fingerprint": approval.request.fingerprint,
    } | {name: value for name, value in optional.items() if value}


def entry_of(approval: Approval) -> dict[str, Any]:
    """Return the body of the entry about the transition that makes *approval*."""
    request = approval.request
    event = event_of(approval)
    last = len(approval.votes) - 1
    optional = {
        "agent": request.agent,
        "owner": request.owner,
        "session": request.session,
        "tool": request.tool,
        "action": request.action,
        "requester": request.requester,
        "requester_human": request.requester_human,
        "request_id": request.request_id,
        "policy_digest": request.policy_digest,
        "decision_id": approval.consuming_decision_id or request.decision_id,
        "consuming_decision_id": approval.consuming_decision_id,
        "grant_epoch": str(approval.grant_epoch) if approval.grant_epoch else "",
        "cause": approval.cause.value if approval.cause is not None else "",
        "detail": approval.detail,
        "result": approval.result,
        "policies": list(request.policies),
        "votes": [
            _vote(vote, is_whole=event in _VOTED and index == last)
            for index, vote in enumerate(approval.votes)
        ],
    }
    return {
        "event": event,
        "approval": approval.name,
        "version": approval.version,
        "state": approval.state.value,
        "request_kind": request.kind.value,
        "fingerprint": request.fingerprint,
        "epoch": str(request.epoch),
        "tier": request.tier.name,
        "role": request.role.value,
        "quorum": request.quorum,
        "expire_time_ns": str(approval.expire_time_ns),
    } | {name: value for name, value in optional.items() if value}


def _vote(vote: Vote, *, is_whole: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "operator": vote.operator,
        "human_id": vote.human_id,
        "identity": vote.identity,
        "verdict": vote.verdict.value,
        "channel": vote.channel.value,
        "reason": vote.reason,
        "time_ns": str(vote.time_ns),
        "is_signed": bool(vote.assertion),
    }
    if is_whole and vote.assertion:
        body["assertion"] = vote.assertion
    return body
