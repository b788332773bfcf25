# SPDX-License-Identifier: Apache-2.0
"""A decision in the making. Denies until something allows it; a denial is never undone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sidecar.audit.log import Ticket
from sidecar.authorize.holds import Grant, Opened
from sidecar.authorize.limits import Charge
from sidecar.authorize.question import Question
from sidecar.authorize.world import World
from sidecar.containment.machine import Verdict
from sidecar.model import (
    NO_OBLIGATIONS,
    Destination,
    Effect,
    Obligations,
    Reason,
    ToolCall,
    ToolClass,
)
from sidecar.policy.tools import ToolSpec
from sidecar.tokens.validator import VerifiedToken

__all__ = ["Draft"]


@dataclass(slots=True, kw_only=True)
class Draft:
    """What the pipeline knows about a call so far; lives for one call and never leaves the gate."""

    question: Question
    world: World
    decision_id: str
    effect: Effect = Effect.DENY
    reasons: tuple[Reason, ...] = ()
    obligations: Obligations = NO_OBLIGATIONS
    call: ToolCall | None = None
    tool: ToolSpec | None = None
    token: VerifiedToken | None = None
    directive: Verdict | None = None
    destination: Destination | None = None
    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] | None = None
    unresolved: str | None = None
    charge: Charge | None = None
    policy_ids: tuple[str, ...] = ()
    shadow_ids: tuple[str, ...] = ()
    is_cached: bool = False
    is_durable: bool = False
    is_rehearsal: bool = False
    grant: Grant | None = None
    is_at_desk: bool = False
    replaces: str = ""
    ticket: Ticket | None = field(default=None, repr=False)

    @property
    def principal(self) -> str:
        """The human a verified token speaks for, if it names one."""
        return self.token.principal if self.token is not None else ""

    @property
    def is_open(self) -> bool:
        """Whether something must be asked before this can be recorded: an address, or a human."""
        return self.unresolved is not None or self.is_at_desk

    @property
    def must_wait(self) -> bool:
        """Whether the record must be durable before the answer (obligation 10)."""
        return self.tool is not None and self.tool.tool_class is not ToolClass.READ

    def allow(self, reason: Reason) -> None:
        """Let the call pass so far."""
        self.effect = Effect.ALLOW
        self.reasons = (reason,)

    def hold(self, reason: Reason, obligations: Obligations) -> None:
        """Make the call wait for a human, who is asked next; a rehearsal asks nobody."""
        self.effect = Effect.HOLD
        self.reasons = (reason,)
        self.obligations = obligations
        self.is_at_desk = not self.is_rehearsal

    def asked(self, opened: Opened) -> None:
        """Note who was asked: the call stays held."""
        self.is_at_desk = False
        self.obligations = replace(
            self.obligations,
            approval=f"approvals/{opened.approval}",
            hold_expire_time_ns=opened.expire_time_ns,
            hold_approvers=opened.approvers,
            hold_url=opened.url,
        )

    def deny(self, reason: Reason) -> None:
        """Deny the call; obligations of an earlier ALLOW go with it."""
        self.effect = Effect.DENY
        self.reasons = (reason,)
        self.obligations = NO_OBLIGATIONS
        self.is_at_desk = False
