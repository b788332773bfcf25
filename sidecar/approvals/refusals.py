# SPDX-License-Identifier: Apache-2.0
"""Every *no* of the approval machine, as a value, and the sentences about what happened.

A sentence says what happened, when and by whom. It holds names of operators and times, never a word
of an agent or an approver, so it may be shown to anybody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.approvals.values import Approval, ApprovalState, Verdict, Vote
from sidecar.clock import datetime_of
from sidecar.errors import ErrorReason, PreconditionError, RefusedError
from sidecar.model import Reason, ReasonCode

__all__ = [
    "No",
    "Refusal",
    "clock_time",
    "error_of",
    "granters_sentence",
    "reason_of",
    "state_sentence",
]


class No(StrEnum):
    """Why a transition is refused."""

    SELF_APPROVAL = "SELF_APPROVAL"
    NOT_AN_APPROVER = "NOT_AN_APPROVER"
    CLOSED = "CLOSED"
    """It has ended, or it is past the state in which this can be done."""
    NOT_GRANTED = "NOT_GRANTED"
    EXPIRED = "EXPIRED"
    """A deadline has passed that nobody has written down yet: expire it."""
    REBOOTED = "REBOOTED"
    """A grant of an earlier boot: cancel it."""
    VOID = "VOID"
    """Epoch or policy moved since it was granted: cancel it."""
    ALREADY_VOTED = "ALREADY_VOTED"
    FINGERPRINT_MISMATCH = "FINGERPRINT_MISMATCH"
    REASON_NEEDED = "REASON_NEEDED"
    PASSKEY_NEEDED = "PASSKEY_NEEDED"
    BINDING = "BINDING"
    """It is another call than the one that was granted."""
    NO_APPROVER = "NO_APPROVER"
    """Too few people may decide, or too few of those who granted still may."""
    NOT_DUE = "NOT_DUE"


_ERRORS: Final = {
    No.SELF_APPROVAL: ErrorReason.SELF_APPROVAL,
    No.NOT_AN_APPROVER: ErrorReason.NOT_AN_APPROVER,
    No.CLOSED: ErrorReason.APPROVAL_CLOSED,
    No.NOT_GRANTED: ErrorReason.APPROVAL_CLOSED,
    No.EXPIRED: ErrorReason.APPROVAL_CLOSED,
    No.REBOOTED: ErrorReason.APPROVAL_CLOSED,
    No.VOID: ErrorReason.APPROVAL_CLOSED,
    No.ALREADY_VOTED: ErrorReason.ALREADY_VOTED,
    No.FINGERPRINT_MISMATCH: ErrorReason.FINGERPRINT_MISMATCH,
    No.REASON_NEEDED: ErrorReason.REASON_NEEDED,
    No.PASSKEY_NEEDED: ErrorReason.PASSKEY_NEEDED,
    No.BINDING: ErrorReason.APPROVAL_CLOSED,
    No.NO_APPROVER: ErrorReason.NO_APPROVER,
    No.NOT_DUE: ErrorReason.APPROVAL_CLOSED,
}
_STATES: Final = frozenset(
    {
        ErrorReason.APPROVAL_CLOSED,
        ErrorReason.ALREADY_VOTED,
    }
)
_CODES: Final = {
    ApprovalState.PENDING: ReasonCode.POLICY_HOLD,
    ApprovalState.GRANTED: ReasonCode.APPROVAL_GRANTED,
    ApprovalState.CONSUMED: ReasonCode.APPROVAL_GRANTED,
    ApprovalState.REFUSED: ReasonCode.APPROVAL_REFUSED,
    ApprovalState.EXPIRED: ReasonCode.APPROVAL_EXPIRED,
    ApprovalState.CANCELLED: ReasonCode.APPROVAL_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A transition that is not made. ``hint`` says what to do about it."""

    code: No
    text: str
    hint: str = ""


def error_of(refusal: Refusal) -> PreconditionError | RefusedError:
    """Return what an operator is told of *refusal*."""
    reason = _ERRORS[refusal.code]
    family = PreconditionError if reason in _STATES else RefusedError
    return family(refusal.text, reason=reason, hint=refusal.hint)


def reason_of(approval: Approval) -> Reason:
    """Return how *approval* stands, as its agent may know it."""
    return Reason(
        _CODES[approval.state],
        approval.detail or state_sentence(approval),
        {"approval": approval.name},
    )


def clock_time(wall_ns: int) -> str:
    """Return ``12:03 UTC on 2026-02-14``."""
    return f"{datetime_of(wall_ns):%H:%M UTC on %Y-%m-%d}"


def granters_sentence(votes: Collection[Vote]) -> str:
    """Return ``granted by bob at 12:03 UTC on 2026-02-14 and carol at …``."""
    return "granted by " + " and ".join(
        f"{vote.operator} at {clock_time(vote.time_ns)}"
        for vote in votes
        if vote.verdict is Verdict.GRANT
    )


def state_sentence(approval: Approval) -> str:
    """Return how *approval* stands: what happened, when and by whom."""
    if approval.state is ApprovalState.PENDING:
        return f"it waits for a human until {clock_time(approval.expire_time_ns)}"
    return approval.detail or f"it is {approval.state}"
