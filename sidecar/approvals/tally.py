# SPDX-License-Identifier: Apache-2.0
"""Counts what became of approvals, for metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sidecar.approvals.answers import WaitStats
from sidecar.approvals.values import Approval, ApprovalState
from sidecar.clock import NS_PER_SECOND

__all__ = ["Tally"]


class Tally:
    """Counts since the start of the process."""

    def __init__(self) -> None:
        self._ended: Counter[ApprovalState] = Counter()
        self._decided_count = 0
        self._decided_wait_s = 0.0

    def note(self, approval: Approval) -> None:
        """Count the transition that made *approval*."""
        if approval.state is ApprovalState.PENDING or approval.result:
            return
        if not approval.is_live:
            self._ended[approval.state] += 1
        is_granted = approval.state is ApprovalState.GRANTED
        # What ends after its grant has been counted at the grant; every epoch is above 0.
        if is_granted or not approval.grant_epoch:
            self._decided_count += 1
            waited_ns = max(0, approval.end_time_ns - approval.create_time_ns)
            self._decided_wait_s += waited_ns / NS_PER_SECOND

    def stats(
        self, live: Iterable[Approval], *, wall_ns: int, unlogged: int, unwritten: int
    ) -> WaitStats:
        """Return the counts, with how *live* stands at *wall_ns*."""
        standing = tuple(live)
        waiting = [item for item in standing if item.state is ApprovalState.PENDING]
        oldest_ns = min((item.create_time_ns for item in waiting), default=wall_ns)
        return WaitStats(
            pending=len(waiting),
            granted=len(standing) - len(waiting),
            oldest_wait_s=max(0, wall_ns - oldest_ns) / NS_PER_SECOND,
            decided_count=self._decided_count,
            decided_wait_s=self._decided_wait_s,
            ended=dict(self._ended),
            unlogged=unlogged,
            unwritten=unwritten,
        )
