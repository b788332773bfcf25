# SPDX-License-Identifier: Apache-2.0
"""The values an agent's runtime sees: frozen, without I/O, without protobuf.

Laws:

1. A denial is a value. Whatever could not be decided is a denial too, made here and marked
   ``is_local``.
2. Only an ALLOW that is still valid is ``allowed``; a decision is true exactly then, so
   ``if decision:`` can't mistake a denial for a permission.
3. Effects and reasons that this version does not know are never an ALLOW.
4. No state of a human's decision is a permission: it is the gate, asked again, that allows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from sidecar.sdk import _text

__all__ = [
    "NO_OBLIGATIONS",
    "ApprovalState",
    "ApprovalStatus",
    "Containment",
    "Decision",
    "Effect",
    "Executable",
    "LogConfirmation",
    "Obligations",
    "Reason",
    "Result",
]

_NS: Final = 1_000_000_000


class Effect(StrEnum):
    """What a decision says. ``HOLD`` means a human must decide; a held call is not allowed."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    HOLD = "HOLD"


class ApprovalState(StrEnum):
    """Where the request for a human's decision stands."""

    PENDING = "PENDING"
    GRANTED = "GRANTED"
    """Ask the gate again, with the identical call: it allows it, once, or says what is so by now."""
    CONSUMED = "CONSUMED"
    """Granted, and the one call that the grant was for has been allowed."""
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    """The gate knows of no such request of this agent, or its answer could not be understood."""


class Result(StrEnum):
    """How an allowed action ended."""

    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    """It failed and had no effect."""
    AMBIGUOUS = "AMBIGUOUS"
    """Nobody knows whether it had its effect: a timeout, a lost connection, a cancellation."""
    CANCELLED = "CANCELLED"
    """It was cancelled before it began: the permission was not used."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a decision: a stable code, a sentence, and the sentence's words for programs."""

    code: str
    text: str
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """What a program was when the decision was made; another file of its name is not it."""

    path: str
    device: int
    inode: int
    change_time_ns: int
    sha256: str = ""
    """Lower-case hex; empty if the content is not pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """What the caller must do for an ALLOW to hold, or what a HOLD waits for."""

    addresses: tuple[str, ...] = ()
    """Addresses the destination resolved to: dial one of these, do not resolve again."""
    max_redirects: int = 0
    """How many redirects may be followed; each further hop is a new call."""
    hold_reason: str = ""
    hold_tier: str = ""
    hold_approver_role: str = ""
    hold_quorum: int = 0
    hold_expiry: timedelta = timedelta(0)
    executables: tuple[Executable, ...] = ()
    """Programs of the call's commands: see ``Permit.verify_executables``."""
    approval: str = ""
    """``approvals/<id>``: the request that waits for a human (HOLD), or the grant that was used."""
    hold_expire_time: datetime | None = None
    """When the request is refused by itself; None if the gate did not say."""
    hold_approvers: tuple[str, ...] = ()
    """Who may decide, by operator name."""
    hold_url: str = ""
    """Where a human can decide; no credential. Empty if there is no such page."""


NO_OBLIGATIONS: Final = Obligations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to one question, from the gate or (``is_local``) made here for want of one."""

    effect: Effect
    reasons: tuple[Reason, ...]
    decision_id: str
    epoch: int = 0
    valid_until_ns: int = 0
    """Wall nanoseconds: an ALLOW must be acted on, once, before this instant."""
    fingerprint: str = ""
    policy_digest: str = ""
    tool_class: str = ""
    """``read``, ``write``, ``destructive``, ``external``, or empty if the gate did not say."""
    obligations: Obligations = NO_OBLIGATIONS
    is_cached: bool = False
    is_local: bool = False
    _origin: object = field(default=None, repr=False, compare=False)
    """What lets ``Held.wait`` ask again; lost when pickled."""

    @property
    def allowed(self) -> bool:
        """Whether the call may be made now: an ALLOW, and not one that lapsed unused."""
        return self.effect is Effect.ALLOW and time.time_ns() < self.valid_until_ns

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def reason(self) -> Reason:
        """The cause that decided."""
        return self.reasons[0]

    @property
    def valid_until(self) -> datetime | None:
        """When an ALLOW lapses; None for any other effect."""
        if self.effect is not Effect.ALLOW:
            return None
        return datetime.fromtimestamp(self.valid_until_ns / _NS, tz=UTC)

    def raise_for_effect(self) -> None:
        """Return if the call may be made now.

        Raises:
            Held: a human must decide first.
            Suspended: the agent is contained.
            GateUnavailable: nobody could decide.
            Denied: any other denial, and an ALLOW that lapsed.
        """
        if not self.allowed:
            # Imported here because errors hold decisions.
            from sidecar.sdk.errors import error_of

            raise error_of(self)

    def for_model(self) -> str:
        """Return a short text about this decision that may be shown to the language model.

        One line of at most 500 characters: the reason codes, our own sentence about each, the gate's
        sentence without control characters, markup, paths and long words, and for a HOLD the name
        of the request. Arguments, tokens, metadata, links and approvers never enter it.
        """
        if self.allowed:
            return "Allowed."
        reasons = [(reason.code, reason.text) for reason in self.reasons]
        return _text.for_model(self.effect, reasons, approval=self.obligations.approval)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalStatus:
    """How the request for a human's decision stood when the gate last said.

    False, always: no state is a permission. Once it is GRANTED, ask the gate again.
    """

    state: ApprovalState
    reason: Reason | None = None
    """Why it ended, and who decided. Holds words that people typed: show it as text."""
    expire_time: datetime | None = None
    """When a PENDING request is refused by itself, or a GRANTED one lapses."""

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """How tightly the gate last said that this agent (or its session) is held."""

    level: str = ""
    """``OBSERVE``, ``THROTTLE``, ``HOLD``, ``READ_ONLY``, ``FREEZE`` or ``KILL``; empty if free."""
    epoch: int = 0
    cancel_in_flight: bool = False
    reason: Reason | None = None
    apply_time_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfirmation:
    """What the gate says about a reported outcome.

    ``refusal`` is set if the gate did not take it; else it is durable at ``log_index``.
    """

    log_index: int = 0
    mark: str = ""
    """Empty, ``duplicate`` or ``orphan``."""
    refusal: Reason | None = None

    def __bool__(self) -> bool:
        return self.refusal is None
