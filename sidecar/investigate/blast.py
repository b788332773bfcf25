# SPDX-License-Identifier: Apache-2.0
"""What an agent can have touched, counted up from its events.

Laws:

1. Allowed calls count; denied and held ones are counted apart and touch nothing.
2. A decision that was made again before it was answered counts as the one that was answered.
3. The class that counts for what may not be undone is the one the gate recorded, not today's.
4. Nothing is left out silently: a list that is too long, and entries that were not looked at, make it
   truncated, and the sentence says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from sidecar.investigate.values import BlastRadius, Event, ToolFacts, ToolUse
from sidecar.model import Effect, ToolClass

__all__ = ["BlastCount"]

_MAX_LISTED: Final = 1000
_NAMED: Final = 3
_IRREVERSIBLE: Final = frozenset({ToolClass.DESTRUCTIVE, ToolClass.EXTERNAL})


class BlastCount:
    """Counts events up. Feed it the events of each log newest first."""

    def __init__(self, *, agent: str, since_ns: int, until_ns: int) -> None:
        self._agent = agent
        self._window = (since_ns, until_ns)
        self._tools: dict[str, _Tool] = {}
        self._replaced: set[str] = set()
        self._effects: Counter[str] = Counter()
        self._credentials: set[str] = set()
        self._humans: set[str] = set()
        self._sessions: set[str] = set()
        self._digests: set[str] = set()
        self._irreversible = 0
        self._first_ns = 0
        self._last_allow_ns = 0
        self._is_truncated = False

    def truncate(self) -> None:
        """Note that there is more than what was counted (law 4)."""
        self._is_truncated = True

    def add(self, events: Iterable[Event]) -> None:
        """Count *events*."""
        for event in events:
            self._humans.update(event.humans)
            if event.kind == "decision":
                self._count(event)

    def _count(self, event: Event) -> None:
        revealed = event.revealed
        if revealed.replaces:
            self._replaced.add(revealed.replaces)
        if event.decision_id in self._replaced or event.effect is None:  # law 2
            return
        self._effects[event.effect.value] += 1
        self._first_ns = min(self._first_ns or event.time_ns, event.time_ns)
        _note(self._sessions, event.session)
        _note(self._credentials, revealed.credential)
        _note(self._digests, revealed.policy_digest)
        tool = self._tools.setdefault(event.tool, _Tool())
        tool.effects[event.effect] += 1
        tool.recorded = tool.recorded or event.tool_class
        if event.effect is Effect.ALLOW:  # law 1
            tool.hosts.update(revealed.hosts)
            tool.last_allow_ns = max(tool.last_allow_ns, event.time_ns)
            self._last_allow_ns = max(self._last_allow_ns, event.time_ns)
            self._irreversible += event.tool_class in _IRREVERSIBLE  # law 3

    def result(
        self, *, registry: Mapping[str, ToolFacts], owner: str, has_socket: bool
    ) -> BlastRadius:
        """Return the blast radius.

        Args:
            registry: What the bundle in force says of tools.
            owner: The human behind the agent; may be empty.
            has_socket: Whether a gate serves or served it.
        """
        tools = [
            self._use(name, tool, registry.get(name)) for name, tool in self._tools.items() if name
        ]
        tools.sort(key=lambda use: (-use.allow_count, use.tool))
        allowed = [use for use in tools if use.allow_count]
        hosts = {host for tool in self._tools.values() for host in tool.hosts}
        humans = self._humans | ({owner} if owner else set())
        credentials = self._listed(self._credentials)
        if has_socket:
            credentials = (*credentials, f"gate socket of {self._agent}")
        found = BlastRadius(
            agent=self._agent,
            since_ns=self._window[0],
            until_ns=self._window[1],
            tools=tuple(tools[:_MAX_LISTED]),
            data_classes=tuple(sorted({use.data_class for use in allowed if use.data_class})),
            destinations=self._listed(hosts),
            credentials=credentials,
            humans=self._listed(humans),
            sessions=self._listed(self._sessions),
            decision_counts=MappingProxyType(dict(sorted(self._effects.items()))),
            irreversible_count=self._irreversible,
            first_call_ns=self._first_ns,
            last_allow_ns=self._last_allow_ns,
            policy_digests=self._listed(self._digests),
        )
        return _stated(found, is_truncated=self._is_truncated or len(tools) > _MAX_LISTED)

    def _use(self, name: str, tool: _Tool, facts: ToolFacts | None) -> ToolUse:
        return ToolUse(
            tool=name,
            tool_class=facts.tool_class if facts else tool.recorded,
            data_class=facts.data_class if facts else "",
            undo=facts.undo if facts else "",
            allow_count=tool.effects[Effect.ALLOW],
            deny_count=tool.effects[Effect.DENY],
            hold_count=tool.effects[Effect.HOLD],
            destinations=self._listed(tool.hosts),
            last_allow_ns=tool.last_allow_ns,
        )

    def _listed(self, items: set[str]) -> tuple[str, ...]:
        if len(items) > _MAX_LISTED:
            self._is_truncated = True  # law 4
        return tuple(sorted(items)[:_MAX_LISTED])


class _Tool:
    def __init__(self) -> None:
        self.effects: Counter[Effect] = Counter()
        self.hosts: set[str] = set()
        self.recorded: ToolClass | None = None
        self.last_allow_ns = 0


def _note(found: set[str], text: str) -> None:
    if text:
        found.add(text)


def _stated(found: BlastRadius, *, is_truncated: bool) -> BlastRadius:
    return replace(found, is_truncated=is_truncated, statement=_statement(found, is_truncated))


def _statement(found: BlastRadius, is_truncated: bool) -> str:
    counts = found.decision_counts
    allowed = counts.get(Effect.ALLOW.value, 0)
    total = sum(counts.values())
    more = " At least: the window holds more than was looked at." if is_truncated else ""
    if not total:
        return f"agent {found.agent} asked for nothing in this window.{more}"
    if not allowed:
        return (
            f"agent {found.agent} asked {_many(total, 'time')} and was allowed nothing in this "
            f"window.{more}"
        )
    tools = [use.tool for use in found.tools if use.allow_count]
    named = ", ".join(tools[:_NAMED]) + (", …" if len(tools) > _NAMED else "")
    parts = [
        f"agent {found.agent} was allowed {_many(allowed, 'call')} of {_many(total, 'decision')}"
        f" with {_many(len(tools), 'tool')} ({named})"
    ]
    if found.destinations:
        parts.append(f"reached {_many(len(found.destinations), 'destination')}")
    if found.data_classes:
        parts.append(f"touched data of class {', '.join(found.data_classes[:_NAMED])}")
    undone = found.irreversible_count
    parts.append(
        f"{_many(undone, 'call')} may not be undone"
        if undone
        else "none was destructive or external"
    )
    return f"{'; '.join(parts)}.{more}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
