# SPDX-License-Identifier: Apache-2.0
"""Time as an argument.

Deadlines and staleness are measured on ``CLOCK_BOOTTIME`` (monotonic, counts suspend, the same for
every process of the host); evidence carries wall time too. No decision depends on wall time alone,
so a clock that is set back can neither revive an allow nor void a kill.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol

__all__ = ["NS_PER_SECOND", "Clock", "ManualClock", "SystemClock", "datetime_of"]

NS_PER_SECOND: Final = 1_000_000_000


class Clock(Protocol):
    """Where a component takes the time from; both readings are in nanoseconds."""

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch (may jump)."""

    def boot_ns(self) -> int:
        """Return nanoseconds since boot, suspend included (never goes back)."""


class SystemClock:
    """The host's clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def boot_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class ManualClock:
    """A clock that moves only when told to; for tests and simulations."""

    def __init__(
        self, *, wall_ns: int = 1_760_000_000 * NS_PER_SECOND, boot_ns: int = NS_PER_SECOND
    ) -> None:
        self._wall_ns = wall_ns
        self._boot_ns = boot_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def boot_ns(self) -> int:
        return self._boot_ns

    def advance(self, *, seconds: float) -> None:
        """Let both clocks pass *seconds*."""
        self._wall_ns += round(seconds * NS_PER_SECOND)
        self._boot_ns += round(seconds * NS_PER_SECOND)

    def step_wall(self, *, seconds: float) -> None:
        """Set the wall clock forward or back by *seconds*; the boot clock does not notice."""
        self._wall_ns += round(seconds * NS_PER_SECOND)


def datetime_of(wall_ns: int) -> datetime:
    """Return the aware UTC datetime of *wall_ns*."""
    return datetime.fromtimestamp(wall_ns / NS_PER_SECOND, tz=UTC)
