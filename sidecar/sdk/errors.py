# SPDX-License-Identifier: Apache-2.0
"""What the SDK raises when a call may not be made.

::

    GuardError
    ├── Denied            a policy, a limit or the call's own shape forbids it
    ├── Held              a human must decide first
    ├── Suspended         the agent is contained (killed, frozen, read-only, throttled)
    └── GateUnavailable   nobody could decide, so the SDK denied

``authorize()`` raises none of them: there a denial is a value. Frameworks put ``str(error)`` in
front of the language model, so it is ``for_model()`` and nothing else.
"""

from __future__ import annotations

from typing import Final

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
    """The call must not be made until a human grants it."""


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
