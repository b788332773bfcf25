# SPDX-License-Identifier: Apache-2.0
"""Follows an agent through the logs of this host: control's, and those of the gates that serve it.

Laws:

1. A gate's log is asked about the agents that the gate serves or served, and about no other: what a
   gate says of another's agent is nobody's word.
2. The work of one question is bounded, and happens off the event loop; what was not looked at is said.
3. A log that cannot be read hides no other, and is not passed over in silence.
4. Nothing that is told holds an argument (``sidecar.investigate``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from sidecar.audit.index_sqlite import AuditIndex, token_before
from sidecar.audit.reader import EntryFilter
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.containment.events import target_from_json
from sidecar.containment.machine import ContainmentState
from sidecar.containment.rules import FleetAgent, covered_agents
from sidecar.control.gates import GateRegistry
from sidecar.control.logs import HostLogs
from sidecar.control.policies import ControlPolicy
from sidecar.errors import (
    ErrorReason,
    HoldfastError,
    NotFoundError,
    UntrustedInputError,
)
from sidecar.identifiers import CONTROL_LOG
from sidecar.investigate.blast import BlastCount
from sidecar.investigate.reading import CONTROL_KINDS, GATE_KINDS, event_of, outcome_of
from sidecar.investigate.timeline import Cursor, Part, merge, with_outcomes
from sidecar.investigate.values import BlastRadius, Event, ToolFacts

__all__ = ["Timeline", "Traces", "Window"]

DEFAULT_WINDOW_NS: Final = 24 * 3600 * NS_PER_SECOND
_NEWEST: Final = 2**63 - 1
_NS_PER_US: Final = 1000
_STEP: Final = 500
_MAX_LOOKED_AT: Final = 5_000
"""Entries of one log that one question for a page may make us look at."""
_MAX_COUNTED: Final = 50_000
"""Entries of one log that one blast radius may make us look at."""
_UNREADABLE: Final = "unreadable"
log = structlog.get_logger("holdfast.control")

_Keep = Callable[[Mapping[str, Any], int], Event | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From when (included) until when (not included), wall nanoseconds; in whole microseconds."""

    since_ns: int
    until_ns: int

    @classmethod
    def of(cls, *, since_ns: int | None, until_ns: int | None, now_ns: int) -> Window:
        """Return the window of a question; what it leaves out is the last 24 hours.

        Raises:
            UntrustedInputError: It is empty.
        """
        until = now_ns if until_ns is None else until_ns
        since = max(0, until - DEFAULT_WINDOW_NS) if since_ns is None else since_ns
        if not 0 <= since // _NS_PER_US < until // _NS_PER_US:
            raise UntrustedInputError(
                "the window is empty: `since` must be before `until`",
                reason=ErrorReason.INVALID_ARGUMENT,
            )
        return cls(since_ns=since - since % _NS_PER_US, until_ns=until - until % _NS_PER_US)

    def filter(self, **fields: Any) -> EntryFilter:
        """Return the filter for entries of this window."""
        return EntryFilter(
            since=_datetime_of(self.since_ns), until=_datetime_of(self.until_ns), **fields
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A page of events, newest first; ``next_page_token`` is empty on the last one."""

    events: tuple[Event, ...]
    next_page_token: str


class Traces:
    """Reads what an agent left in the logs.

    Args:
        logs: The logs of this host.
        gates: Who served whom.
        policy: The registry of tools and agents in force.
        containment: What stands.
        clock: Time.
    """

    def __init__(
        self,
        *,
        logs: HostLogs,
        gates: GateRegistry,
        policy: ControlPolicy,
        containment: Callable[[], ContainmentState],
        clock: Clock,
    ) -> None:
        self._logs = logs
        self._gates = gates
        self._policy = policy
        self._containment = containment
        self._clock = clock

    def require(self, agent: str) -> None:
        """Refuse an agent that nobody knows.

        Raises:
            NotFoundError: It is neither declared, served nor contained.
        """
        contained = {d.target.agent for d in self._containment().directives}
        if agent in self._policy.state.bundle.agents or agent in self._gates.agents() | contained:
            return
        raise NotFoundError(
            f"no agent {agent!r} is declared, served or contained",
            hint="list the agents; names are exact",
        )

    def window(self, since_ns: int | None, until_ns: int | None) -> Window:
        """Return the window of a question, which ends now unless it says otherwise."""
        return Window.of(since_ns=since_ns, until_ns=until_ns, now_ns=self._clock.wall_ns())

    def owner(self, agent: str) -> str:
        """Return the human behind *agent*, as the bundle in force names them; or nothing."""
        spec = self._policy.state.bundle.agents.get(agent)
        return spec.owner if spec is not None else ""

    async def timeline(
        self, agent: str, window: Window, *, session: str = "", limit: int = 100, token: str = ""
    ) -> Timeline:
        """Return a page of what *agent* did and what was done to it.

        Raises:
            UntrustedInputError: *token* is not of this question.
        """
        logs = self.logs_of(agent)
        if token:
            cursor = Cursor.of_token(token, agent=agent, session=session, logs=logs)
            window = Window(since_ns=cursor.since_ns, until_ns=cursor.until_ns)
        else:
            cursor = Cursor(
                since_ns=window.since_ns,
                until_ns=window.until_ns,
                below={name: await self._size(name) for name in logs},
            )
        parts: dict[str, Part] = {}
        for name, below in cursor.below.items():
            parts[name] = await self._part(
                name, agent, window, below=below, session=session, limit=limit
            )
        told, rest = merge(parts, cursor, limit=limit)
        return Timeline(
            events=tuple(await self._with_outcomes(agent, told)),
            next_page_token=rest.token(agent=agent, session=session) if rest is not None else "",
        )

    async def calls(self, agent: str, window: Window, *, limit: int) -> tuple[list[Event], bool]:
        """Return the newest calls of *agent*, and whether there are more, or no gate is known."""
        gates = self._logs.of_agent(agent)
        is_cut = not gates
        parts: dict[str, Part] = {}
        for name in gates:
            part = await self._part(
                name, agent, window, below=_NEWEST, session="", limit=limit, kinds=("decision",)
            )
            is_cut |= not part.is_whole or any(e.kind == _UNREADABLE for e in part.events)
            calls = [event for event in part.events if event.kind == "decision"]
            parts[name] = Part(events=calls, down_to=part.down_to, is_whole=True)
        whole = Cursor(since_ns=0, until_ns=0, below=dict.fromkeys(parts, _NEWEST))
        told, rest = merge(parts, whole, limit=limit)
        return await self._with_outcomes(agent, told), is_cut or rest is not None

    async def blast_radius(self, agent: str, window: Window) -> BlastRadius:
        """Return what *agent* can have touched in *window*."""
        count = BlastCount(agent=agent, since_ns=window.since_ns, until_ns=window.until_ns)
        gates = self._logs.of_agent(agent)
        for name in gates:
            await self._count(count, name, agent, window.filter(agent=agent, kind="decision"))
        await self._count(count, CONTROL_LOG, agent, window.filter(agent=agent, kind="approval"))
        tools = self._policy.state.bundle.tools
        return count.result(
            registry={
                name: ToolFacts(
                    tool_class=spec.tool_class, data_class=spec.data_class, undo=spec.undo
                )
                for name, spec in tools.items()
            },
            owner=self.owner(agent),
            has_socket=bool(gates),
        )

    # -- private --------------------------------------------------------------------------------

    async def _size(self, name: str) -> int:
        """Return how many entries of a log there are now: what comes later is of no page."""
        try:
            return await self._logs.read(name, lambda index: index.catch_up())
        except (HoldfastError, OSError, ValueError):
            return _NEWEST  # reading the page says what is wrong with it

    async def _part(
        self,
        name: str,
        agent: str,
        window: Window,
        *,
        below: int,
        session: str,
        limit: int,
        kinds: tuple[str, ...] = GATE_KINDS,
    ) -> Part:
        """Return what one log holds of a page (laws 2 and 3)."""
        is_own = name == CONTROL_LOG
        wanted = (
            window.filter(kinds=CONTROL_KINDS)
            if is_own
            else window.filter(agent=agent, kinds=kinds)
        )
        concerns = self.concerning(agent)

        def keep(fields: Mapping[str, Any], index: int) -> Event | None:
            if is_own and not concerns(fields):
                return None
            event = event_of(fields, log=name, index=index, describe=_described)
            return event if event is not None and session in ("", event.session) else None

        def work(index: AuditIndex) -> Part:
            return _scan(index, wanted, keep, below=below, limit=limit, most=_MAX_LOOKED_AT)

        try:
            return await self._logs.read(name, work)
        except (HoldfastError, OSError, ValueError) as exc:
            log.error("a log cannot be read", log=name, problem=str(exc))
            missing = Event(
                time_ns=window.until_ns - 1,
                kind=_UNREADABLE,
                log=name,
                index=0,
                summary=f"the log {name} cannot be read: what it holds is missing here",
            )
            return Part(events=(missing,), down_to=0, is_whole=True)  # so it is told once

    async def _with_outcomes(self, agent: str, events: list[Event]) -> list[Event]:
        by_log: dict[str, list[str]] = {}
        for event in events:
            if event.kind == "decision" and event.decision_id:
                by_log.setdefault(event.log, []).append(event.decision_id)
        outcomes: dict[str, str] = {}
        for name, ids in by_log.items():
            try:
                outcomes |= await self._logs.read(name, _outcomes(agent, ids))
            except (HoldfastError, OSError, ValueError) as exc:
                log.error("a log cannot be read", log=name, problem=str(exc))
        return with_outcomes(events, outcomes)

    async def _count(self, count: BlastCount, name: str, agent: str, wanted: EntryFilter) -> None:
        """Count one log up, a step at a time: others may read between two steps."""
        below, left = _NEWEST, _MAX_COUNTED

        def keep(fields: Mapping[str, Any], index: int) -> Event | None:
            return event_of(fields, log=name, index=index, describe=_described)

        while left > 0:
            step = min(_STEP, left)

            def work(index: AuditIndex, below: int = below, step: int = step) -> Part:
                return _scan(index, wanted, keep, below=below, limit=step, most=step)

            try:
                part = await self._logs.read(name, work)
            except (HoldfastError, OSError, ValueError) as exc:
                log.error("a log cannot be read", log=name, problem=str(exc))
                count.truncate()  # law 3
                return
            count.add(part.events)
            if part.is_whole:
                return
            below, left = part.down_to, left - step
        count.truncate()

    def logs_of(self, agent: str) -> list[str]:
        """Return the logs that *agent* may have left something in (law 1)."""
        return [CONTROL_LOG, *self._logs.of_agent(agent)]

    def concerning(self, agent: str) -> Callable[[Mapping[str, Any]], bool]:
        """Return what says whether an entry of control's log is about *agent*."""
        spec = self._policy.state.bundle.agents.get(agent)
        fleet = (
            FleetAgent(
                id=agent,
                labels=spec.labels if spec else {},
                principals=frozenset((spec.owner,)) if spec else frozenset(),
            ),
        )

        def concerns(fields: Mapping[str, Any]) -> bool:
            rule, directive = fields.get("rule"), fields.get("directive")
            if "agent" in fields:
                return bool(fields["agent"] == agent)
            if isinstance(rule, dict):
                # A rule that names no agent reaches it if it names nothing else of its own.
                return rule.get("agent") == agent or not rule.keys() & {"agent", "jti", "session"}
            if not isinstance(directive, dict) or not isinstance(directive.get("target"), dict):
                return False
            agents = fields.get("agents")
            if isinstance(agents, list) and agent in agents:
                return True
            try:
                target = target_from_json(directive["target"])
            except HoldfastError:
                return False
            return agent in covered_agents(target, fleet)

        return concerns


def _datetime_of(wall_ns: int) -> datetime:
    """Return the instant exactly; the window is in whole microseconds."""
    seconds, rest = divmod(wall_ns, NS_PER_SECOND)
    try:
        return datetime.fromtimestamp(seconds, tz=UTC) + timedelta(microseconds=rest // _NS_PER_US)
    except (OverflowError, ValueError, OSError) as exc:
        raise UntrustedInputError(
            "a time must be between the years 1970 and 9999", reason=ErrorReason.INVALID_ARGUMENT
        ) from exc


def _scan(
    index: AuditIndex, wanted: EntryFilter, keep: _Keep, *, below: int, limit: int, most: int
) -> Part:
    """Return up to *limit* events below entry *below*, after looking at up to *most* entries."""
    events: list[Event] = []
    down_to, looked_at = below, 0
    while looked_at < most:
        step = min(_STEP, most - looked_at)
        page = index.query(
            wanted, limit=step, page_token=token_before(down_to), is_newest_first=True
        )
        for entry in page.entries:
            down_to, looked_at = entry.seq, looked_at + 1
            event = keep(entry.fields(), entry.seq)
            if event is None:
                continue
            events.append(event)
            if len(events) == limit:
                is_last = entry is page.entries[-1] and not page.next_page_token
                return Part(events=events, down_to=down_to, is_whole=is_last)
        if not page.next_page_token:
            return Part(events=events, down_to=down_to, is_whole=True)
    return Part(events=events, down_to=down_to, is_whole=False)


def _outcomes(agent: str, ids: list[str]) -> Callable[[AuditIndex], dict[str, str]]:
    def work(index: AuditIndex) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in index.referring(ids, kind="outcome"):
            decision_id, result = outcome_of(entry.fields(), agent=agent)
            if decision_id:
                found.setdefault(decision_id, result)
        return found

    return work


def _described(target: Mapping[str, Any]) -> str:
    try:
        return target_from_json(target).describe()
    except HoldfastError:
        return ""
