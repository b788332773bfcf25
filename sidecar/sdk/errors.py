# SPDX-License-Identifier: Apache-2.0
"""What the SDK raises when a call may not be made.

::

    GuardError
    ├── Denied            a policy, a limit or the call's own shape forbids it
    ├── Held              a human must decide first; ``wait()`` waits for it and asks again
    ├── Suspended         the agent is contained (killed, frozen, read-only, throttled)
    └── GateUnavailable   nobody could decide, so the SDK denied

``authorize()`` raises none of them: there a denial is a value. Frameworks put ``str(error)`` in
front of the language model, so it is ``for_model()`` and nothing else.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sidecar.sdk._holds import MAX_HOLD_S, Origin, hold_seconds
from sidecar.sdk.values import Decision, Effect, Reason

__all__ = ["Denied", "GateUnavailable", "GuardError", "Held", "Suspended", "error_of"]

_CONTAINED: Final = frozenset({"KILLED", "FROZEN", "READ_ONLY", "THROTTLED"})
_UNDECIDED: Final = frozenset({"GATE_UNAVAILABLE", "DEADLINE", "SHUTTING_DOWN", "OVERLOAD"})


class GuardError(Exception):
    """A call may not be made; ``decision`` says why."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.decision = decision

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why; the first cause decided."""
        return self.decision.reasons

    @property
    def decision_id(self) -> str:
        """The decision's name in the gate's log; ``local_…`` if the gate was not asked."""
        return self.decision.decision_id

    def for_model(self) -> str:
        """Return a short text that may be shown to the language model."""
        return self.decision.for_model()

    def __str__(self) -> str:
        return self.for_model()


class Denied(GuardError):
    """The call must not be made."""


class Held(GuardError):
    """The call must not be made until a human grants it.

    ::

        try:
            await pay("bob", 12)
        except Held as held:
            await tell(f"{', '.join(held.approvers)} must decide: {held.url}")
            decision = await held.wait(timeout=600)      # SyncGuard: without await
            if decision.allowed:
                ...

    The request stays open when nobody waits for it; the identical call finds the grant.
    """

    @property
    def approval(self) -> str:
        """``approvals/<id>`` of the request; empty if no human is asked."""
        return self.decision.obligations.approval

    @property
    def url(self) -> str:
        """Where a human can decide; empty if there is no such page."""
        return self.decision.obligations.hold_url

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who may decide, by operator name."""
        return self.decision.obligations.hold_approvers

    @property
    def expire_time(self) -> datetime | None:
        """When the request is refused by itself, if the gate said so."""
        return self.decision.obligations.hold_expire_time

    @property
    def reason(self) -> str:
        """Why a human must decide."""
        return self.decision.obligations.hold_reason or self.decision.reasons[0].text

    def wait(self, timeout: timedelta | float | None = None) -> Any:
        """Wait until a human has decided, then ask the gate again; return that ``Decision``.

        To be awaited, unless a ``SyncGuard`` or a blocking tool raised this: then it blocks. The
        decision is an ALLOW only if the gate gives one for the identical call then; it is the held
        decision again if *timeout* passed. Cancelling the wait withdraws the request.

        Args:
            timeout: How long; None for as long as the request lives.

        Raises:
            RuntimeError: this error comes from another process, or was not raised by a guard.
        """
        timeout_s = MAX_HOLD_S if timeout is None else hold_seconds(timeout)
        origin = self._origin()
        return origin.guard._outlast(self.decision, origin.call, timeout_s)

    def cancel(self) -> Any:
        """Withdraw the request and return its ``ApprovalStatus``: nobody need decide any more.

        To be awaited, as ``wait`` is or is not.

        Raises:
            ValueError: no human was asked.
            GateUnavailable: the gate could not be told; the request ends by itself in time.
            RuntimeError: as for ``wait``.
        """
        return self._origin().guard.cancel_approval(self.decision)

    def _origin(self) -> Origin:
        origin = self.decision._origin
        if not isinstance(origin, Origin):
            raise RuntimeError(
                "this held call was asked by another process; wait with guard.wait_approval() and "
                "ask again with guard.authorize()"
            )
        return origin


class Suspended(GuardError):
    """The agent is contained."""


class GateUnavailable(GuardError):
    """Nobody could decide about the call, so it must not be made."""


def error_of(decision: Decision) -> GuardError:
    """Return the error that says *decision*, which is not (or no longer) an ALLOW."""
    code = decision.reasons[0].code if decision.reasons else ""
    if decision.effect is Effect.HOLD:
        return Held(decision)
    if decision.effect is Effect.DENY and code in _CONTAINED:
        return Suspended(decision)
    if decision.is_local and code in _UNDECIDED:
        return GateUnavailable(decision)
    return Denied(decision)
