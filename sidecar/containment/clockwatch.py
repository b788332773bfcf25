# SPDX-License-Identifier: Apache-2.0
"""Notices that the wall clock stepped: evidence would carry a wrong time, so nothing is loosened."""

from __future__ import annotations

from sidecar.clock import NS_PER_SECOND, Clock

__all__ = ["ClockWatch"]


class ClockWatch:
    """Compares the wall clock with the boot clock, each time it is asked.

    Args:
        clock: Both clocks.
        max_step_s: Less than this, between two looks, is drift or slewing.
        unstable_s: How long the wall clock is not trusted after a step.
    """

    def __init__(self, *, clock: Clock, max_step_s: float, unstable_s: float) -> None:
        self._clock = clock
        self._max_step_ns = round(max_step_s * NS_PER_SECOND)
        self._unstable_ns = round(unstable_s * NS_PER_SECOND)
        self._offset_ns = clock.wall_ns() - clock.boot_ns()
        self._trusted_from_ns = 0

    def is_trusted(self) -> bool:
        """Look at the clocks; return whether the wall clock has been steady for long enough."""
        boot_ns = self._clock.boot_ns()
        offset_ns = self._clock.wall_ns() - boot_ns
        if abs(offset_ns - self._offset_ns) > self._max_step_ns:
            self._trusted_from_ns = boot_ns + self._unstable_ns
        self._offset_ns = offset_ns
        return boot_ns >= self._trusted_from_ns
