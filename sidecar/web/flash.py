# SPDX-License-Identifier: Apache-2.0
"""What somebody typed before they had to sign in again, kept for them and nobody else.

Laws: kept in memory, under the human and the thing it was typed for, never in an address; for a
quarter of an hour, or until it was used; bounded, the oldest goes first.
"""

from __future__ import annotations

from typing import Final

from sidecar.clock import NS_PER_SECOND, Clock

__all__ = ["Flash"]

_LIFE_NS: Final = 15 * 60 * NS_PER_SECOND
_MAX_KEPT: Final = 1000


class Flash:
    """Texts that survive a sign-in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[int, str]] = {}

    def keep(self, human_id: str, thing: str, text: str) -> None:
        """Keep *text* that *human_id* typed for *thing*."""
        self._kept.pop((human_id, thing), None)
        while len(self._kept) >= _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[human_id, thing] = (self._clock.boot_ns() + _LIFE_NS, text)

    def look(self, human_id: str, thing: str) -> str:
        """Return what *human_id* typed for *thing*, or an empty text. Changes nothing."""
        until, text = self._kept.get((human_id, thing), (0, ""))
        return text if self._clock.boot_ns() < until else ""

    def drop(self, human_id: str, thing: str) -> None:
        """Forget it: it was used."""
        self._kept.pop((human_id, thing), None)
