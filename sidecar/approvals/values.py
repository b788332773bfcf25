# SPDX-License-Identifier: Apache-2.0
"""What an approval is: frozen values, without I/O.

A **request** says what would be done, byte for byte, and who asks. An **approval** is a request with
its life: votes, state, deadlines. A **binding** is what a use of the grant must match.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from sidecar.clock import NS_PER_SECOND
from sidecar.model import Fingerprint, Role

__all__ = [
    "LIVE",
    "Approval",
    "ApprovalState",
    "Binding",
    "Cause",
    "Channel",
    "Moment",
    "Request",
    "RequestKind",
    "Tier",
    "Verdict",
    "Vote",
]


class Tier(IntEnum):
    """How much is at stake; a higher tier asks more of whoever grants."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class RequestKind(StrEnum):
    """What would be done."""

    CALL = "call"
    """An agent's tool call: the agent makes it again, and it is allowed once."""
    ACTION = "action"
    """A control action: control carries it out once, when it is granted."""


class ApprovalState(StrEnum):
    """Where an approval stands. PENDING → GRANTED → CONSUMED; every other state is an end."""

    PENDING = "PENDING"
    GRANTED = "GRANTED"
    CONSUMED = "CONSUMED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


LIVE: Final = frozenset({ApprovalState.PENDING, ApprovalState.GRANTED})
"""States that something can still be done with."""


class Verdict(StrEnum):
    """What a human decides. A policy allows and denies; a human grants and refuses."""

    GRANT = "GRANT"
    REFUSE = "REFUSE"


class Channel(StrEnum):
    """How a vote reached control."""

    CONSOLE = "console"
    CLI = "cli"
    API = "api"


class Cause(StrEnum):
    """Why an approval was cancelled. Stable: stored, logged and shown; never rename or reuse."""

    CONTAINED = "CONTAINED"
    """The agent was contained at FREEZE or KILL, or its tokens were revoked."""
    POLICY_CHANGED = "POLICY_CHANGED"
    EPOCH_MOVED = "EPOCH_MOVED"
    """Containment or policy changed between the grant and its use."""
    WITHDRAWN = "WITHDRAWN"
    """Whoever asked took it back."""
    AGENT_GONE = "AGENT_GONE"
    """The agent vanished while it waited, or its runtime ended."""
    UNREACHABLE = "UNREACHABLE"
    """No channel reached any approver."""
    NO_APPROVER = "NO_APPROVER"
    """Too few humans are left who may decide, or a vote is no longer valid."""
    REBOOTED = "REBOOTED"
    """A grant does not outlive the boot whose clock bounds it."""
    FAILED = "FAILED"
    """A control action was granted and could not be carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A point in time on both clocks. Deadlines hold on both; whichever passes first ends them."""

    wall_ns: int
    boot_ns: int
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What would be done, and who asks. ``canonical`` hashes to ``fingerprint``; it is what is shown.

    For a CALL, ``agent``, ``session``, ``tool`` and ``decision_id`` are set; ``owner`` is the agent's
    owner as ``agents.yaml`` names it. For an ACTION, ``action``, ``requester`` and ``request_id``
    are; ``requester_human`` is empty when automation asks, ``agent`` names the one agent that it is
    about, if it is about one, and ``owner`` its owner where that one may not decide it.
    """

    kind: RequestKind
    fingerprint: Fingerprint
    canonical: bytes = field(repr=False)
    summary: str
    """One sentence; holds words of an agent, so every place that shows it shows it as text."""
    reason: str
    """Why a human must decide."""
    tier: Tier
    role: Role
    """Whose members may decide."""
    quorum: int
    is_passkey_needed: bool
    is_reason_needed: bool
    expiry_s: int
    """How long it may wait."""
    grant_life_s: int
    """How long a grant may wait for its use; at most 900."""
    policy_digest: str
    epoch: int
    """The epoch the call was held under, or the action was asked under."""
    agent: str = ""
    owner: str = ""
    session: str = ""
    tool: str = ""
    decision_id: str = ""
    policies: tuple[str, ...] = ()
    action: str = ""
    requester: str = ""
    requester_human: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one human decided, and how control knows that it was them.

    ``assertion`` is the passkey's signature (JSON of the WebAuthn assertion together with the
    credential's public key), so that anybody can check later who signed what; empty if there is none.
    """

    human_id: str
    operator: str
    identity: str
    verdict: Verdict
    reason: str
    time_ns: int
    channel: Channel
    request_id: str = ""
    assertion: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A request and its life. ``version`` counts transitions; a store swaps it only as it was read.

    ``expire_time_ns`` (wall) and ``deadline_boot_ns`` (boot clock of the boot ``boot_id``) bound the
    state it is in: how long a PENDING one waits, how long a GRANTED one may be used.
    """

    id: str
    request: Request
    state: ApprovalState
    version: int
    create_time_ns: int
    expire_time_ns: int
    deadline_boot_ns: int
    boot_id: str
    votes: tuple[Vote, ...] = ()
    grant_epoch: int = 0
    """The epoch the grant is bound to: that of the last vote. 0 until it is granted."""
    end_time_ns: int = 0
    detail: str = ""
    """Why it is in this state and by whom, in one sentence."""
    cause: Cause | None = None
    consuming_decision_id: str = ""
    folded_count: int = 0
    result: str = ""
    """What carrying out an ACTION gave, as JSON; empty until it has ended."""

    @property
    def name(self) -> str:
        """Resource name."""
        return f"approvals/{self.id}"

    @property
    def is_live(self) -> bool:
        """Whether something can still be done with it."""
        return self.state in LIVE

    def share_of_wait(self, wall_ns: int) -> float:
        """Return how much of its waiting time has passed, from 0 to 1 (for reminders)."""
        span = self.request.expiry_s * NS_PER_SECOND
        return min(1.0, max(0.0, (wall_ns - self.create_time_ns) / span)) if span else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a use of a grant must match, field by field (promise P4)."""

    fingerprint: str
    agent: str
    session: str
    policy_digest: str
    epoch: int
