# SPDX-License-Identifier: Apache-2.0
"""What an investigation finds. Frozen.

Laws:

1. No value here holds an argument of a tool call, or a word that an agent chose freely: names are
   ones that were checked when the call was, hosts are ones that the destination rules took.
2. Times are wall nanoseconds as the log wrote them; order is the log's, never the clock's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sidecar.model import Effect, ToolClass

__all__ = ["BlastRadius", "Event", "Revealed", "ToolFacts", "ToolUse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """What a decision's entry tells beside its event; for the blast radius."""

    hosts: tuple[str, ...] = ()
    credential: str = ""
    """``<issuer>: <jti>`` of the token that came with the call."""
    policy_digest: str = ""
    replaces: str = ""
    """The decision in whose place this one was made, before either was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something an agent did, or that was done to it."""

    time_ns: int
    kind: str
    log: str
    index: int
    session: str = ""
    tool: str = ""
    tool_class: ToolClass | None = None
    effect: Effect | None = None
    reason: str = ""
    destination: str = ""
    decision_id: str = ""
    fingerprint: str = ""
    outcome: str = ""
    operator: str = ""
    summary: str = ""
    revealed: Revealed = field(default_factory=Revealed)
    humans: tuple[str, ...] = ()
    """Operators who voted, of an approval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """What the registry says of a tool."""

    tool_class: ToolClass
    data_class: str
    undo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """One tool of a blast radius; ``last_allow_ns`` is 0 if it was never allowed."""

    tool: str
    tool_class: ToolClass | None
    data_class: str
    undo: str
    allow_count: int
    deny_count: int
    hold_count: int
    destinations: tuple[str, ...]
    last_allow_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """What an agent can have touched in a window of time."""

    agent: str
    since_ns: int
    until_ns: int
    tools: tuple[ToolUse, ...] = ()
    data_classes: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    humans: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    decision_counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    irreversible_count: int = 0
    first_call_ns: int = 0
    last_allow_ns: int = 0
    is_truncated: bool = False
    statement: str = ""
    policy_digests: tuple[str, ...] = ()
