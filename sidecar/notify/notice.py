# SPDX-License-Identifier: Apache-2.0
"""What approvers are told. Frozen; holds nothing secret: no argument that the registry hides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Notice", "NoticeKind"]


class NoticeKind(StrEnum):
    """Why approvers hear of it."""

    OPENED = "opened"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    DECIDED = "decided"
    """Granted, refused, expired, cancelled or used: ``state`` and ``detail`` say which and by whom."""
    ALERT = "alert"
    """Something operators must look at: too many requests of one agent, a channel that is down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell.

    Attributes:
        approval: ``approvals/<id>``; empty for an ALERT that is about none. A channel that can
            update its message updates the one it sent for the same approval.
        summary: One sentence: who wants to do what. Holds words of an agent: text, never markup.
        words: The fingerprint as people compare it.
        expire_time_ns: When it is refused by itself.
        url: Opaque link to the approval's page; no capability, GET decides nothing. May be empty.
        addresses: E-mail addresses of the humans who may decide.
        detail: What happened and by whom, for DECIDED and ALERT.
    """

    kind: NoticeKind
    approval: str
    summary: str
    reason: str
    tier: str
    state: str
    words: str
    create_time_ns: int
    expire_time_ns: int
    url: str
    command: str
    """The command that shows it: ``holdfast approvals show <id>``."""
    agent: str = ""
    tool: str = ""
    approvers: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    detail: str = ""
