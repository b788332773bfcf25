# SPDX-License-Identifier: Apache-2.0
"""What goes into the approval service and what comes out. Frozen, without I/O.

A denial of a held call is a value (``Denied``); a human's vote that does not count raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sidecar.approvals.values import Approval, ApprovalState, Channel, Verdict
from sidecar.model import Reason

__all__ = [
    "ApprovalLimits",
    "ApprovalPage",
    "Ballot",
    "Consumed",
    "DecideAnswer",
    "Denied",
    "HoldAnswer",
    "Pending",
    "WaitStats",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """What a human sends to decide.

    ``fingerprint`` is the whole one that the human was shown. ``assertion`` is the WebAuthn assertion
    (AuthenticationResponseJSON) over ``grant_challenge``; empty if there is none.
    """

    approval_id: str
    verdict: Verdict
    fingerprint: str
    reason: str
    request_id: str
    channel: Channel
    assertion: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class DecideAnswer:
    """The approval after a vote; ``is_repeated`` if that very vote had been counted before."""

    approval: Approval
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """A human must decide; nobody has yet. ``approvers`` are operator names."""

    approval: Approval
    approvers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Consumed:
    """A human had granted exactly this call; the grant is used up now."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class Denied:
    """Nobody will be asked, or nobody can be."""

    reason: Reason
    approval_id: str = ""


HoldAnswer: TypeAlias = Pending | Consumed | Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPage:
    """Approvals, newest first. ``next_before`` asks for the next page; None on the last one."""

    approvals: tuple[Approval, ...]
    next_before: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalLimits:
    """Bounds of the service.

    Attributes:
        max_pending_per_agent: Calls of one agent that may wait for humans at once.
        max_pending_per_requester: Control actions of one operator that may wait at once.
        refusal_memory_s: How long an identical call is denied after a human refused it.
        alert_every_s: An agent over its cap is told about at most this often.
        retention_s: What would have been done is kept this long after an approval ended; who
            decided what is kept for good.
        audit_timeout_s: How long the log may take for one entry.
        store_timeout_s: How long the disk may take for one transition.
        tick_s: How often ``run`` looks at the clock.
        purge_every_s: How often ``run`` looks for what it may forget.
    """

    max_pending_per_agent: int = 5
    max_pending_per_requester: int = 100
    refusal_memory_s: int = 300
    alert_every_s: int = 60
    retention_s: int = 30 * 24 * 3600
    audit_timeout_s: float = 5.0
    store_timeout_s: float = 10.0
    tick_s: float = 1.0
    purge_every_s: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitStats:
    """How approvals stand and how long they took, since the start of the process."""

    pending: int
    granted: int
    oldest_wait_s: float
    """Of those that wait now."""
    decided_count: int
    """Granted, refused, expired or cancelled while waiting."""
    decided_wait_s: float
    """How long those waited, together."""
    ended: Mapping[ApprovalState, int]
    unlogged: int
    """Transitions that the log has not taken yet."""
    unwritten: int
    """Ends that hold in memory and that the disk has not taken yet."""
