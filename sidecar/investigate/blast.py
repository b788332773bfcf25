# SPDX-License-Identifier: Apache-2.0
"""What an agent can have touched, counted up from its events.

Laws:

1. Allowed calls count; denied and held ones are counted apart and touch nothing.
2. A decision that was made again before it was answered counts as the one that was answered.
3. The class that counts for what may not be undone is the one the gate recorded, not today's.
4. Nothing is left out silently: lists that are too long, entries that were not looked at, and gates
   that nobody knows of make it truncated, and the sentence says so.
5. Names are an agent's or a gate's to choose, so they are bounded together: in memory, and in what is
   told, so that no agent can make its own record too large to be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from sidecar.investigate.values import BlastRadius, Event, ToolFacts, ToolUse
from sidecar.model import Effect, ToolClass

__all__ = ["BlastCount"]

_MAX_LISTED: Final = 1000
_MAX_KEPT_CHARS: Final = 64 * 1024 * 1024
_MAX_LISTED_CHARS: Final = 64 * 1024
"""Of one list; the destinations of all tools count as one."""
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
        self._room = _MAX_KEPT_CHARS

    def truncate(self) -> None:
        """Note that there is more than what was counted (law 4)."""
        self._is_truncated = True

    def add(self, events: Iterable[Event]) -> None:
        """Count *events*."""
        for event in events:
            self._keep(self._humans, *event.humans)
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
        self._keep(self._sessions, event.session)
        self._keep(self._credentials, revealed.credential)
        self._keep(self._digests, revealed.policy_digest)
        tool = self._tools.setdefault(event.tool, _Tool())
        tool.effects[event.effect] += 1
        tool.recorded = tool.recorded or event.tool_class
        if event.effect is Effect.ALLOW:  # law 1
            self._keep(tool.hosts, *revealed.hosts)
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
            has_socket: Whether a gate serves or served it; if none is known, nothing is of its calls.
        """
        credentials = self._listed(sorted(self._credentials))
        if has_socket:
            credentials = (*credentials, f"gate socket of {self._agent}")
        else:
            self.truncate()  # law 4
        by_use = sorted(
            (-tool.effects[Effect.ALLOW], name) for name, tool in self._tools.items() if name
        )
        touched = {
            registry[name].data_class for count, name in by_use if count and name in registry
        }
        room = _Room(_MAX_LISTED_CHARS)
        found = BlastRadius(
            agent=self._agent,
            since_ns=self._window[0],
            until_ns=self._window[1],
            tools=tuple(
                self._use(name, registry.get(name), room)
                for name in self._listed(name for _, name in by_use)
            ),
            data_classes=tuple(sorted(touched - {""})),
            destinations=self._listed(
                sorted({host for tool in self._tools.values() for host in tool.hosts})
            ),
            credentials=credentials,
            humans=self._listed(sorted(self._humans | ({owner} if owner else set()))),
            sessions=self._listed(sorted(self._sessions)),
            decision_counts=MappingProxyType(dict(sorted(self._effects.items()))),
            irreversible_count=self._irreversible,
            first_call_ns=self._first_ns,
            last_allow_ns=self._last_allow_ns,
            policy_digests=self._listed(sorted(self._digests)),
        )
        is_truncated = self._is_truncated
        statement = _statement(found, is_truncated) if has_socket or by_use else _unknown(found)
        return replace(found, is_truncated=is_truncated, statement=statement)

    def _use(self, name: str, facts: ToolFacts | None, room: _Room) -> ToolUse:
        tool = self._tools[name]
        return ToolUse(
            tool=name,
            tool_class=facts.tool_class if facts else tool.recorded,
            data_class=facts.data_class if facts else "",
            undo=facts.undo if facts else "",
            allow_count=tool.effects[Effect.ALLOW],
            deny_count=tool.effects[Effect.DENY],
            hold_count=tool.effects[Effect.HOLD],
            destinations=self._listed(sorted(tool.hosts), room),
            last_allow_ns=tool.last_allow_ns,
        )

    def _keep(self, found: set[str], *texts: str) -> None:
        """Note names that are not empty, while there is room (laws 4 and 5)."""
        for text in texts:
            if not text or text in found:
                continue
            if len(text) > self._room:
                self.truncate()
                continue
            self._room -= len(text)
            found.add(text)

    def _listed(self, items: Iterable[str], room: _Room | None = None) -> tuple[str, ...]:
        """Return the first *items*, as many as there is room for (laws 4 and 5)."""
        room = room or _Room(_MAX_LISTED_CHARS)
        listed: list[str] = []
        for text in items:
            if len(listed) == _MAX_LISTED or len(text) > room.chars:
                self.truncate()
                break
            room.chars -= len(text)
            listed.append(text)
        return tuple(listed)


@dataclass(slots=True)
class _Room:
    chars: int


class _Tool:
    def __init__(self) -> None:
        self.effects: Counter[Effect] = Counter()
        self.hosts: set[str] = set()
        self.recorded: ToolClass | None = None
        self.last_allow_ns = 0


def _unknown(found: BlastRadius) -> str:
    return (
        f"nothing is known of the calls of agent {found.agent}: no gate that serves it, or served it, "
        "has connected since control started."
    )


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
