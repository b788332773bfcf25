# SPDX-License-Identifier: Apache-2.0
"""Where approvals are kept.

Laws, for every implementation:

1. A method returns only after what it changed is durable.
2. A transition is one compare-and-swap: it is made of the version that was read, in the state that
   was read, or not at all. For a use, also only while fingerprint, agent, session, policy digest and
   epoch are those of the use; for a vote and a use, only before both deadlines.
3. At most one live approval of the same call, at most one of the same action's request id.
4. Nothing that has ended goes away; only what would have been done is forgotten after a while.

Every method blocks, and raises ``EnvironmentFailure`` if the store cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.approvals.values import Approval, Binding, Moment

__all__ = ["ApprovalStore", "Guard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What must hold at the very moment of a transition.

    Attributes:
        moment: Now: both deadlines of what was read lie after it. A grant is of the same boot.
        binding: What the use is for; None if it is no use by a call.
    """

    moment: Moment
    binding: Binding | None = None


class ApprovalStore(Protocol):
    """Keeps approvals."""

    def insert(self, approval: Approval) -> bool:
        """Keep a new approval; False if law 3 forbids it. Its entry is in the log already."""

    def swap(
        self, before: Approval, after: Approval, *, guard: Guard | None, is_logged: bool
    ) -> bool:
        """Put *after* in the place of *before*, or return False (law 2).

        Args:
            guard: What must hold now; None for a transition that only tightens.
            is_logged: Whether the log has the entry of *after* already.
        """

    def get(self, approval_id: str) -> Approval | None:
        """Return one. One that is not there takes as long as one that is."""

    def by_request_id(self, request_id: str) -> Approval | None:
        """Return the action that was asked for with *request_id*."""

    def by_call(
        self, *, fingerprint: str, agent: str, session: str, policy_digest: str
    ) -> Approval | None:
        """Return the live approval of that very call."""

    def live(self) -> Sequence[Approval]:
        """Return those that wait or are granted, oldest first."""

    def unfinished(self) -> Sequence[Approval]:
        """Return the actions that were granted or taken and have no result, oldest first."""

    def refused_since(self, wall_ns: int) -> Sequence[Approval]:
        """Return the calls that were refused at *wall_ns* or later."""

    def page(
        self, *, pending_only: bool, agent: str, limit: int, before: str | None
    ) -> Sequence[Approval]:
        """Return at most *limit*, newest first, that are older than the approval *before*."""

    def unlogged(self, *, limit: int) -> Sequence[Approval]:
        """Return some whose last transition the log may not have."""

    def mark_logged(self, versions: Mapping[str, int]) -> None:
        """Note that the log has the entries of these versions."""

    def count_folded(self, counts: Mapping[str, int]) -> None:
        """Note how often the identical call was asked while these waited."""

    def mark_announced(self, approval_id: str, kind: str) -> bool:
        """Note that *kind* is told of it; False if it was noted before."""

    def announced(self) -> Mapping[str, frozenset[str]]:
        """Return what was told of those that are live."""

    def purge(self, *, ended_before_ns: int) -> int:
        """Forget canonical form and summary of those that ended earlier; return of how many."""

    def close(self) -> None:
        """Release what it holds; every other method fails from now on."""
