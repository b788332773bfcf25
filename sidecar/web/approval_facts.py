# SPDX-License-Identifier: Apache-2.0
"""Small truths about an approval that its pages stand on. Pure."""

from __future__ import annotations

from hashlib import sha256

from sidecar.approvals.eligibility import fold
from sidecar.approvals.values import Approval, ApprovalState, Request, Tier, Vote
from sidecar.model import Operator
from sidecar.web.config import ConsoleConfig

__all__ = ["is_genuine", "is_kept", "may_read", "must_read_to_end", "vote_of", "why_not"]


def is_genuine(request: Request) -> bool:
    """Return whether the bytes are what was fingerprinted (D18)."""
    return sha256(request.canonical).hexdigest() == request.fingerprint


def is_kept(approval: Approval) -> bool:
    """Return whether the bytes are still kept: of what ended long ago, they are not."""
    return bool(approval.request.canonical) or approval.is_live


def may_read(request: Request, caller: Operator) -> bool:
    """Return whether *caller* may read what would be done (approval_view, law 3)."""
    if request.role in caller.roles or (request.requester and request.requester == caller.name):
        return True
    human = fold(caller.human_id)
    return bool(human) and human == fold(request.requester_human)


def must_read_to_end(request: Request, line_count: int, config: ConsoleConfig) -> bool:
    """Return whether a grant needs that the end of the text was shown (D17)."""
    return (
        request.tier >= Tier.HIGH
        or len(request.canonical) > config.read_gate_bytes
        or line_count > config.read_gate_lines
    )


def vote_of(approval: Approval, caller: Operator) -> Vote | None:
    """Return *caller*'s vote, if they have voted."""
    human = fold(caller.human_id)
    return next((vote for vote in approval.votes if fold(vote.human_id) == human), None)


def why_not(approval: Approval, caller: Operator, own_vote: Vote | None) -> str:
    """Return why *caller* cannot decide *approval*, in words for them."""
    request = approval.request
    if approval.state is not ApprovalState.PENDING:
        return "It is decided or over; nothing can be decided here any more."
    if own_vote is not None:
        return "You have voted. It waits for others."
    if request.role not in caller.roles:
        return (
            f"It is decided by operators with the role {request.role.value}, and you have it not."
        )
    return (
        "You asked for this, or you own the agent, or you count as one person with who does: "
        "somebody else must decide."
    )
