# SPDX-License-Identifier: Apache-2.0
"""Deadlines on two clocks.

Laws:

1. A deadline stands on the wall clock and on the boot clock; whichever passes first ends it, so a
   clock that is set back gives nobody more time.
2. The boot clock of another boot says nothing. A request that waits goes by the wall clock then.
"""

from __future__ import annotations

from sidecar.approvals.values import Approval, Moment
from sidecar.clock import NS_PER_SECOND

__all__ = ["is_due", "is_of_earlier_boot", "share_of_wait"]


def is_of_earlier_boot(approval: Approval, moment: Moment) -> bool:
    """Return whether the boot clock of *moment* cannot bound *approval*."""
    return approval.boot_id != moment.boot_id


def is_due(approval: Approval, moment: Moment) -> bool:
    """Return whether a deadline of *approval* has passed (law 7)."""
    if moment.wall_ns >= approval.expire_time_ns:
        return True
    return not is_of_earlier_boot(approval, moment) and moment.boot_ns >= approval.deadline_boot_ns


def share_of_wait(approval: Approval, moment: Moment) -> float:
    """Return how much of its waiting time has passed, 0 to 1, by the clock that says more."""
    share = approval.share_of_wait(moment.wall_ns)
    span_ns = approval.request.expiry_s * NS_PER_SECOND
    if is_of_earlier_boot(approval, moment):
        return share
    by_boot = 1 - (approval.deadline_boot_ns - moment.boot_ns) / span_ns
    return max(share, min(1.0, by_boot))
