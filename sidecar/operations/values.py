# SPDX-License-Identifier: Apache-2.0
"""A held control action and what came of it: frozen values, derived from its approval alone.

Laws:

1. An operation has no life of its own: its state is a function of the approval with the same id and
   of the result attached to it, so the two can never disagree.
2. DONE and FAILED are said only of what control wrote down; a grant that was taken and has no
   result is RUNNING, and is carried out again (with the same request id) after a crash.

Compatibility of the result: a JSON object with ``"v":1``. Keys may be added, never renamed; numbers
are decimal texts; what cannot be read is a failure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.approvals.values import Approval, ApprovalState, Cause, RequestKind
from sidecar.canonical import canonicalise
from sidecar.clock import NS_PER_SECOND

__all__ = [
    "ENDED",
    "Action",
    "Operation",
    "OperationState",
    "Outcome",
    "operation_of",
]

_VERSION: Final = 1
_UNREADABLE: Final = "UNREADABLE_RESULT"


class Action(StrEnum):
    """What a human can be asked to grant. Stable: hashed, stored and sent."""

    CONTAIN = "contain"
    RELEASE = "release"
    ACTIVATE_POLICY = "activate_policy"
    CONFIRM = "confirm"
    """A question, which nothing but its answer comes of (``questions``)."""


class OperationState(StrEnum):
    """Where an operation stands. Every state but the first two is an end."""

    PENDING_APPROVAL = "PENDING_APPROVAL"
    RUNNING = "RUNNING"
    DONE = "DONE"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


ENDED: Final = frozenset(OperationState) - {
    OperationState.PENDING_APPROVAL,
    OperationState.RUNNING,
}
"""States that never change again."""

_STATES: Final = {
    ApprovalState.PENDING: OperationState.PENDING_APPROVAL,
    ApprovalState.GRANTED: OperationState.RUNNING,
    ApprovalState.CONSUMED: OperationState.RUNNING,
    ApprovalState.REFUSED: OperationState.REFUSED,
    ApprovalState.EXPIRED: OperationState.EXPIRED,
    ApprovalState.CANCELLED: OperationState.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What carrying out an operation gave.

    Attributes:
        directive_epoch: The directive that was ordered or released; 0 for a policy or a question.
        policy_digest: The digest in force since; empty for a directive.
        epoch: The epoch that it created; 0 if it failed, and for a question.
        error_reason: Stable code of a failure; empty otherwise.
    """

    directive_epoch: int = 0
    policy_digest: str = ""
    epoch: int = 0
    error_reason: str = ""

    def to_json(self) -> str:
        """Return the outcome as it is stored."""
        body = {
            "v": _VERSION,
            "directive_epoch": str(self.directive_epoch),
            "policy_digest": self.policy_digest,
            "epoch": str(self.epoch),
            "error_reason": self.error_reason,
        }
        return canonicalise(body).decode()

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Return the outcome in *text*; one that cannot be read is a failure."""
        try:
            body = json.loads(text)
            if body["v"] != _VERSION:
                return cls(error_reason=_UNREADABLE)
            return cls(
                directive_epoch=int(body.get("directive_epoch", "0")),
                policy_digest=str(body.get("policy_digest", "")),
                epoch=int(body.get("epoch", "0")),
                error_reason=str(body.get("error_reason", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls(error_reason=_UNREADABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A control action that waits for humans, is being carried out, or has ended.

    ``expire_time_ns`` is when it is refused by itself if nobody decides; ``end_time_ns`` is 0 until
    it has ended. ``approval`` is the value it was derived from.
    """

    id: str
    state: OperationState
    action: Action
    summary: str
    request_id: str
    requester: str
    fingerprint: str
    create_time_ns: int
    expire_time_ns: int
    end_time_ns: int
    detail: str
    outcome: Outcome
    approval: Approval

    @property
    def name(self) -> str:
        """Resource name."""
        return f"operations/{self.id}"

    @property
    def approval_name(self) -> str:
        """Resource name of the request for a human decision."""
        return self.approval.name

    @property
    def is_ended(self) -> bool:
        """Whether it never changes again."""
        return self.state in ENDED


def operation_of(approval: Approval) -> Operation:
    """Return the operation that *approval* is the request of (law 1).

    Raises:
        ValueError: It is a request for a tool call.
    """
    request = approval.request
    if request.kind is not RequestKind.ACTION:
        raise ValueError("only a control action is an operation")
    state, outcome = _standing(approval)
    return Operation(
        id=approval.id,
        state=state,
        action=Action(request.action),
        summary=request.summary,
        request_id=request.request_id,
        requester=request.requester,
        fingerprint=request.fingerprint,
        create_time_ns=approval.create_time_ns,
        expire_time_ns=approval.create_time_ns + request.expiry_s * NS_PER_SECOND,
        end_time_ns=approval.end_time_ns if state in ENDED else 0,
        detail=approval.detail,
        outcome=outcome,
        approval=approval,
    )


def _standing(approval: Approval) -> tuple[OperationState, Outcome]:
    """Return state and outcome; law 2 is here."""
    state = _STATES[approval.state]
    outcome = Outcome.from_json(approval.result) if approval.result else Outcome()
    if approval.cause is Cause.FAILED:
        if not outcome.error_reason:
            outcome = Outcome(error_reason=_UNREADABLE)
        return OperationState.FAILED, outcome
    if approval.state is ApprovalState.CONSUMED and approval.result:
        is_failed = bool(outcome.error_reason)
        return (OperationState.FAILED if is_failed else OperationState.DONE), outcome
    return state, outcome
