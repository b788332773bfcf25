# SPDX-License-Identifier: Apache-2.0
"""Which requests nobody has heard of, and when to stop hoping. Without I/O.

Laws:

1. A request is *heard of* as soon as one channel delivered its opening.
2. A channel has *failed* a request if it gave the opening up, or if it was down at some moment after
   the request had waited for ``PATIENCE_S``. A channel that is only slow has not failed it.
3. A request is *unheard* when every channel that was to carry its opening has failed it. That is said
   once.
4. What has been decided is not watched any more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sidecar.clock import NS_PER_SECOND

__all__ = ["PATIENCE_S", "ReachWatch"]

PATIENCE_S: Final = 5.0


class ReachWatch:
    """Watches openings. Times are readings of the boot clock."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[int, set[str]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def opened(self, approval: str, channels: Collection[str], *, now_ns: int) -> None:
        """*channels* are to carry the opening of *approval*."""
        self._waiting[approval] = (now_ns, set(channels))

    def settled(self, approval: str) -> None:
        """Somebody has heard of *approval* (law 1), or it has been decided (law 4)."""
        self._waiting.pop(approval, None)

    def gave_up(self, approval: str, channel: str) -> bool:
        """Return whether *approval* is unheard now that *channel* gave it up."""
        return self._fail(approval, channel)

    def is_down(self, channel: str, *, now_ns: int) -> tuple[str, ...]:
        """Return what is unheard now that *channel* is known to be down (law 2)."""
        late = [
            approval
            for approval, (since_ns, channels) in self._waiting.items()
            if channel in channels and now_ns - since_ns >= PATIENCE_S * NS_PER_SECOND
        ]
        return tuple(approval for approval in late if self._fail(approval, channel))

    def _fail(self, approval: str, channel: str) -> bool:
        found = self._waiting.get(approval)
        if found is None:
            return False
        found[1].discard(channel)
        if found[1]:
            return False
        del self._waiting[approval]  # law 3: once
        return True
