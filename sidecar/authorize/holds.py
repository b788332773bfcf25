# SPDX-License-Identifier: Apache-2.0
"""What the pipeline says of a held call, and what may come of it (obligation 9).

The desk is whoever keeps the approvals: it uses a grant, opens a request for one, or denies. A grant
that was used comes back with what it is bound to, and the evaluator holds the call against that once
more under the world as it is by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sidecar.model import Reason

__all__ = ["Desk", "Grant", "HeldCall", "Opened", "Outcome", "Turned", "Used"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCall:
    """A call that a human must decide, as the gate saw it."""

    agent: str
    session: str
    tool: str
    canonical: bytes = field(repr=False)
    fingerprint: str
    policy_digest: str
    epoch: int
    decision_id: str
    reason: str
    tier: str
    approver_role: str
    quorum: int
    expiry_s: int
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A grant that was used for one call, and what it is bound to."""

    approval: str
    fingerprint: str
    policy_digest: str
    epoch: int
    granters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A human must decide; nobody has yet."""

    approval: str
    expire_time_ns: int
    approvers: tuple[str, ...]
    url: str


@dataclass(frozen=True, slots=True)
class Used:
    """A human had granted exactly this call; the grant is used up now."""

    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """Nobody will be asked, or nobody can be: denied."""

    reason: Reason
    approval: str = ""


Outcome: TypeAlias = Opened | Used | Turned


class Desk(Protocol):
    """Keeps the approvals."""

    async def settle(self, call: HeldCall) -> Outcome:
        """Use the grant for *call*, or ask humans for one; never raises but ``CancelledError``."""
