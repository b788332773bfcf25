# SPDX-License-Identifier: Apache-2.0
"""Whether a channel works, as far as anybody can know: up, down, or unknown. Without I/O.

Laws:

1. Unknown until something was tried.
2. A delivery proves that it is up. A delivery that nobody took proves that it is down; being asked to
   come back later, or a message that alone was not accepted, proves neither.
3. A probe that fails proves that it is down. A probe that succeeds proves that it is up, unless a
   *delivery* was turned away: that a door can be reached says nothing about whether it opens. That is
   believed for ``REFUSAL_HOLDS_S``, then the channel is unknown, so that it is tried again.
"""

from __future__ import annotations

from typing import Final

from sidecar.clock import NS_PER_SECOND
from sidecar.notify.channel import DeliveryError, Fault

__all__ = ["REFUSAL_HOLDS_S", "Circuit"]

REFUSAL_HOLDS_S: Final = 300


class Circuit:
    """The state of one channel. Times are readings of the boot clock."""

    def __init__(self) -> None:
        self._is_up: bool | None = None
        self._refused_ns: int | None = None
        self.last_error = ""

    @property
    def is_up(self) -> bool | None:
        """True, False, or None for unknown."""
        return self._is_up

    def delivered(self) -> None:
        """A message arrived."""
        self._is_up, self._refused_ns, self.last_error = True, None, ""

    def failed(self, error: DeliveryError, *, now_ns: int) -> None:
        """A delivery failed (law 2)."""
        self.last_error = str(error)
        if error.fault in {Fault.REFUSED, Fault.BROKEN}:
            self._is_up, self._refused_ns = False, now_ns
        elif error.fault is Fault.UNREACHABLE:
            self._is_up = False

    def probed(self, error: DeliveryError | None, *, now_ns: int) -> None:
        """A probe ended, with *error* or well (law 3)."""
        if error is not None:
            if error.fault is not Fault.BUSY:
                self._is_up, self.last_error = False, str(error)
            return
        if self._refused_ns is None:
            self._is_up, self.last_error = True, ""
        elif now_ns - self._refused_ns >= REFUSAL_HOLDS_S * NS_PER_SECOND:
            self._is_up, self._refused_ns = None, None
