# SPDX-License-Identifier: Apache-2.0
"""What a held call needs to be asked again once a human has granted it. No connection, no protobuf.

Laws:

1. The call that is asked again is the call that was held, byte for byte; its token is read anew.
2. A held decision knows its call only in the process and the guard that asked: pickled, it has
   forgotten it. Neither arguments nor token can be read from it.
3. How a request ended says why a call is denied, never that it is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Protocol

from sidecar.sdk.values import ApprovalState, ApprovalStatus, Decision, Effect, Reason

__all__ = [
    "AGAIN_S",
    "MAX_HOLD_S",
    "OVERTIME_S",
    "HeldCall",
    "Origin",
    "Waiter",
    "approval_name",
    "ended",
    "hold_seconds",
    "remember",
]

MAX_HOLD_S: Final = 24 * 3600.0
"""No request for a human's decision lives longer."""

AGAIN_S: Final = 5.0
"""How long the gate may take to answer a call that a human has granted: it asks control, and both
write it down. A shorter deadline would throw the grant away."""
OVERTIME_S: Final = 10.0
"""How much longer than its time-out a wait may take in all: for a gate that hangs, and to ask again."""

_ENDS: Final = {
    ApprovalState.REFUSED: ("APPROVAL_REFUSED", "a human refused the call"),
    ApprovalState.EXPIRED: ("APPROVAL_EXPIRED", "no human decided about the call in time"),
    ApprovalState.CANCELLED: ("APPROVAL_CANCELLED", "the request for a human's decision ended"),
    ApprovalState.UNKNOWN: ("APPROVAL_UNKNOWN", "the gate knows of no such request"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCall:
    """A call as it was asked, but for the token."""

    tool: str
    arguments: bytes = field(repr=False)
    session: str
    url: str = field(repr=False)
    cwd: str = field(repr=False)
    nonce: str = field(repr=False)


class Waiter(Protocol):
    """A guard, asynchronous (its answers are awaitables) or blocking."""

    def _outlast(self, held: Decision, call: HeldCall, timeout_s: float) -> Any: ...

    def cancel_approval(self, approval: Decision | str) -> Any: ...


class Origin:
    """Where a held decision came from: the guard, and the call it asked about."""

    __slots__ = ("call", "guard")

    def __init__(self, guard: Waiter, call: HeldCall) -> None:
        self.guard = guard
        self.call = call

    def __repr__(self) -> str:
        return f"<a call of {self.call.tool!r}>"

    def __copy__(self) -> Origin:
        return self

    def __deepcopy__(self, memo: object) -> Origin:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Law 2: what is pickled is None.
        return type(None), ()


def remember(decision: Decision, guard: Waiter, call: HeldCall) -> Decision:
    """Return *decision* so that, if it is a HOLD, *guard* can wait for it and ask again."""
    if decision.effect is not Effect.HOLD:
        return decision
    return replace(decision, _origin=Origin(guard, call))


def ended(held: Decision, status: ApprovalStatus) -> Decision:
    """Return the denial that the end of *held*'s request amounts to.

    It is the gate's word about the request, so it is not local; it keeps the id of the decision
    that the gate's log knows.
    """
    code, text = _ENDS[status.state]
    metadata: dict[str, str] = {}
    if status.reason is not None:
        text = status.reason.text or text
        metadata.update(status.reason.metadata)
    metadata["approval"] = held.obligations.approval
    return replace(
        held,
        effect=Effect.DENY,
        reasons=(Reason(code, text, metadata),),
        valid_until_ns=0,
        _origin=None,
    )


def hold_seconds(timeout: timedelta | float) -> float:
    """Return how long to wait for a human, in seconds; at most ``MAX_HOLD_S``.

    Raises:
        ValueError: that is no span of time.
    """
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    if not seconds >= 0:
        raise ValueError("the time to wait for a human can't be negative")
    return min(seconds, MAX_HOLD_S)


def approval_name(approval: Decision | str) -> str:
    """Return the name of the request that *approval* is, or waits for.

    Raises:
        ValueError: it waits for none.
    """
    name = approval.obligations.approval if isinstance(approval, Decision) else approval
    if not name:
        raise ValueError("no human is asked about this call: its decision names no approval")
    return name
