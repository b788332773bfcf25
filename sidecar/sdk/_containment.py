# SPDX-License-Identifier: Apache-2.0
"""What this process knows about the containment of its agent. No I/O.

It informs; the gate enforces. Laws:

1. ``is_killed`` becomes true when the watch says that calls in flight must be cancelled, or when a
   decision about the guard's own session says KILLED or FROZEN.
2. It becomes false only by the gate's word: the watch, or (for what a decision had said) a later
   decision, of no older epoch. Losing the gate changes nothing.
3. Nothing here allows a call. An ALLOW that was decided before the kill we know of is refused.
4. Whoever asked to be told of a kill is told once, at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sidecar.sdk._local import Cause
from sidecar.sdk.values import Containment, Decision, Effect

__all__ = ["ContainmentState"]

_KILLS: Final = frozenset({"KILLED", "FROZEN"})


class ContainmentState:
    """The containment of one agent as its gate last told it."""

    def __init__(self) -> None:
        self.latest = Containment()
        self.is_killed = False
        self.event = asyncio.Event()
        self._told_epoch = 0
        self._decided_epoch = 0
        self._was_told = False
        self._was_decided = False
        self._cause = Cause.KILLED
        self._listeners: set[Callable[[bool], None]] = set()

    @property
    def cause(self) -> Cause:
        """Why: killed, or frozen."""
        return self._cause

    def told(self, containment: Containment) -> None:
        """Take what the watch says."""
        self.latest = containment
        if containment.cancel_in_flight:
            self._was_told = True
            self._told_epoch = containment.epoch
            self._cause = Cause.FROZEN if containment.level == "FREEZE" else Cause.KILLED
        else:
            self._was_told = False
            if containment.epoch >= self._decided_epoch:
                self._was_decided = False
        self._update()

    def decided(self, decision: Decision, *, own_session: bool) -> bool:
        """Take what the gate decided; return whether an ALLOW may still be used."""
        code = decision.reasons[0].code
        if code in _KILLS and not decision.is_local:
            if own_session and not _is_narrow(decision):
                self._was_decided = True
                self._decided_epoch = max(self._decided_epoch, decision.epoch)
                self._cause = Cause.FROZEN if code == "FROZEN" else Cause.KILLED
                self._update()
            return True
        if not self.is_killed or decision.effect is not Effect.ALLOW:
            return True
        if self._was_told:
            # Another session's ALLOW may be as old as this session's kill, but no older.
            return decision.epoch >= self._told_epoch + int(own_session)
        if not own_session:
            return True
        if decision.epoch < self._decided_epoch:
            return False
        self._was_decided = False
        self._update()
        return True

    def rebind(self) -> None:
        """Make the event usable in another event loop than the last."""
        self.event = asyncio.Event()
        if self.is_killed:
            self.event.set()

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call *listener* with every change of ``is_killed``."""
        self._listeners.add(listener)

    def unlisten(self, listener: Callable[[bool], None]) -> None:
        """Do not call *listener* any more."""
        self._listeners.discard(listener)

    def _update(self) -> None:
        is_killed = self._was_told or self._was_decided
        if is_killed == self.is_killed:
            return
        self.is_killed = is_killed
        if is_killed:
            self.event.set()
        else:
            self.event.clear()
        for listener in list(self._listeners):
            listener(is_killed)


def _is_narrow(decision: Decision) -> bool:
    """Return whether the kill is of a tool or a destination, not of the agent."""
    target = decision.reasons[0].metadata.get("target", "")
    return target.startswith(("tool ", "destination "))
