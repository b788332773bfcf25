# SPDX-License-Identifier: Apache-2.0
"""What stands behind the console's ports: control's own parts, looked at from a page.

Nothing here decides anything. What a page orders goes to the same services as an RPC does, with the
operator that the session stands for.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from sidecar.approvals.ports import AuditSink
from sidecar.audit.index_sqlite import Page
from sidecar.audit.reader import EntryFilter, StoredEntry
from sidecar.clock import Clock
from sidecar.compose.approving import Approving
from sidecar.containment.events import Contained as ContainedEvent
from sidecar.containment.events import Event, PolicyActivated
from sidecar.containment.machine import ContainmentState
from sidecar.containment.orders import ContainmentOrder
from sidecar.containment.receipt import Receipt
from sidecar.containment.service import ContainmentService
from sidecar.control.gates import GateRegistry
from sidecar.control.logs import HostLogs
from sidecar.control.policies import ControlPolicy
from sidecar.errors import HoldfastError, NotFoundError
from sidecar.identifiers import CONTROL_LOG
from sidecar.ids import RandomIds
from sidecar.internal.v1 import sync_pb2
from sidecar.model import Operator, Subject
from sidecar.operations.service import Operations
from sidecar.operations.values import Operation
from sidecar.policy.explain import PolicyOutcome, explain
from sidecar.policy.policies import PolicySpec
from sidecar.settings import Settings, split_address
from sidecar.web.app import HUB, build_app, make_pages
from sidecar.web.config import ConsoleConfig
from sidecar.web.login import login_routes
from sidecar.web.loginports import LoginPorts
from sidecar.web.oidc import OidcConfig
from sidecar.web.ports import (
    AgentView,
    AuditPage,
    ConsolePorts,
    Contained,
    Explanation,
    Held,
    LogEntry,
    LogReport,
    PolicyView,
    ToolUse,
    ToolView,
    VerifyReport,
)
from sidecar.web.server import bind_console, tls_context
from sidecar.web.sessions import Sessions

__all__ = [
    "ConsoleAudit",
    "ConsoleExplain",
    "ConsoleFleet",
    "ConsoleLever",
    "ConsoleTimeline",
    "serve_console",
]

_SCANNED: Final = 1000
"""Entries of an agent that are looked through for one session's."""
Seen = sync_pb2.SyncRequest.Inventory.Seen


class ConsoleFleet:
    """Implements ``web.ports.Fleet`` over the bundle, the gates and what stands."""

    def __init__(
        self, *, policy: ControlPolicy, gates: GateRegistry, service: ContainmentService
    ) -> None:
        self._policy = policy
        self._gates = gates
        self._service = service
        self._listeners: list[Callable[[str], None]] = []
        service.add_listener(self._changed)

    async def agents(self) -> Sequence[AgentView]:
        """Return every agent that is declared, served or contained, by id."""
        return [self._view(name) for name in sorted(self._names())]

    async def agent(self, agent: str) -> AgentView:
        """Return one agent."""
        if agent not in self._names():
            raise NotFoundError(f"no agent {agent!r} is known", hint="list the agents")
        return self._view(agent)

    async def tool(self, tool: str) -> ToolView:
        """Return one tool, as far as it is declared."""
        return self._tool(tool)

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Call *listener* with an agent's id when its containment changed."""
        self._listeners.append(listener)

    def _changed(self, event: Event) -> None:
        if isinstance(event, PolicyActivated):
            return
        named = event.directive.target.agent if isinstance(event, ContainedEvent) else ""
        for agent in (named,) if named else self._names():
            for listener in self._listeners:
                listener(agent)

    def _names(self) -> set[str]:
        contained = {
            directive.target.agent
            for directive in self._service.state.directives
            if directive.target.agent
        }
        return set(self._policy.state.bundle.agents) | self._gates.agents() | contained

    def _view(self, name: str) -> AgentView:
        spec = self._policy.state.bundle.agents.get(name)
        state: ContainmentState = self._service.state
        subject = Subject(
            agent=name,
            principals=frozenset((spec.owner,)) if spec else frozenset(),
            labels=spec.labels if spec else {},
        )
        directives = tuple(d for d in state.directives if d.target.matches(subject))
        seen = [item for item in self._seen() if item.agent == name]
        effects: dict[str, int] = {}
        for item in seen:
            for effect, count in item.effects.items():
                effects[effect] = effects.get(effect, 0) + count
        gates = self._gates.of_agent(name)
        return AgentView(
            agent=name,
            owner=spec.owner if spec else "",
            groups=tuple(spec.groups) if spec else (),
            labels=dict(spec.labels) if spec else {},
            is_declared=spec is not None,
            is_protected=spec.is_protected if spec else False,
            gates=tuple(gate.gate for gate in gates),
            identity=f"socket of agent {name}" if gates else "",
            host=socket.gethostname(),
            level=max((d.level for d in directives), default=None),
            directives=directives,
            last_call_time_ns=max((item.last_call_time_ns for item in seen), default=0),
            effects=effects,
            tools=tuple(
                ToolUse(
                    tool=self._tool(item.tool),
                    call_count=item.calls,
                    last_call_time_ns=item.last_call_time_ns,
                    effects=dict(item.effects),
                    hosts=tuple(item.hosts),
                )
                for item in sorted(seen, key=lambda item: -item.calls)
            ),
        )

    def _seen(self) -> Iterator[Seen]:
        for gate in self._gates.connected():
            yield from gate.inventory

    def _tool(self, name: str) -> ToolView:
        spec = self._policy.state.bundle.tools.get(name)
        if spec is None:
            return ToolView(tool=name)
        return ToolView(
            tool=name,
            tool_class=spec.tool_class,
            data_class=spec.data_class,
            description=spec.description,
            undo=spec.undo,
        )


class ConsoleTimeline:
    """Implements ``web.ports.Timeline`` over the logs of the gates that serve or served an agent."""

    def __init__(self, *, logs: HostLogs, gates: GateRegistry) -> None:
        self._logs = logs
        self._gates = gates

    async def of_agent(
        self, agent: str, *, session: str = "", limit: int = 50
    ) -> Sequence[LogEntry]:
        """Return decisions of *agent*, newest first."""
        found: list[LogEntry] = []
        for name in self._logs_of(agent):
            wanted = EntryFilter(agent=agent, kind="decision")
            page = await self._logs.query(wanted, log=name, limit=_SCANNED if session else limit)
            found += _entries(name, page)
        if session:
            found = [entry for entry in found if entry.fields.get("session") == session]
        found.sort(key=lambda entry: str(entry.fields.get("time", "")), reverse=True)
        return found[:limit]

    async def of_decision(self, decision_id: str) -> Sequence[LogEntry]:
        """Return the entry of a decision first, then those that refer to it."""
        found: list[LogEntry] = []
        for name in self._logs.names():
            try:
                page = await self._logs.query(EntryFilter(decision_id=decision_id), log=name)
            except HoldfastError:
                continue  # a gate whose log is gone must not hide another's
            found += _entries(name, page)
        found.sort(key=lambda entry: entry.fields.get("kind") != "decision")
        return found

    def _logs_of(self, agent: str) -> list[str]:
        return [
            name
            for name in self._logs.names()
            if (gate := self._gates.known(name)) is not None and agent in gate.agents
        ]


class ConsoleAudit:
    """Implements ``web.ports.AuditSearch`` over the logs of this host."""

    def __init__(self, *, logs: HostLogs) -> None:
        self._logs = logs

    def logs(self) -> Sequence[str]:
        """Return the names of the logs that can be read."""
        return self._logs.names()

    async def query(
        self, wanted: EntryFilter, *, log: str = "", limit: int = 100, token: str = ""
    ) -> AuditPage:
        """Return a page, newest first."""
        page = await self._logs.query(wanted, log=log, limit=limit, page_token=token)
        return AuditPage(
            entries=tuple(_entries(log or CONTROL_LOG, page)), next_token=page.next_page_token
        )

    async def verify(self) -> VerifyReport:
        """Verify every log."""
        reports = []
        for name in self._logs.names():
            try:
                report = await self._logs.verify(name)
            except HoldfastError as exc:
                reports.append(LogReport(log=name, is_ok=False, size=0, detail=exc.message))
                continue
            problems = "; ".join(problem.what for problem in report.problems[:3])
            detail = problems or "every entry, hash and signature was checked"
            reports.append(LogReport(log=name, is_ok=report.ok, size=report.size, detail=detail))
        return VerifyReport(logs=tuple(reports), time_ns=time.time_ns())

    def export(self, wanted: EntryFilter, *, log: str = "") -> AsyncIterator[bytes]:
        """Yield canonical entries, oldest first."""
        return self._logs.export(wanted, log=log)


class ConsoleExplain:
    """Implements ``web.ports.Explain`` over the bundle in force."""

    def __init__(self, *, policy: ControlPolicy) -> None:
        self._policy = policy

    async def explain(
        self, *, agent: str, tool: str, arguments: Mapping[str, Any], session: str, url: str
    ) -> Explanation:
        """Evaluate every policy that names *tool* for this call."""
        bundle = self._policy.state.bundle
        found = await asyncio.to_thread(
            explain,
            bundle,
            agent=agent,
            tool=tool,
            arguments=dict(arguments),
            session=session or "explain",
            url=url,
        )
        return Explanation(
            policy_digest=bundle.digest,
            policies=tuple(_outcome(item) for item in found.policies),
            reads=found.reads,
            effect=found.verdict.effect,
            reasons=(),
        )

    async def find(self, *, tool: str, policies: Collection[str]) -> Explanation:
        """Return the named *policies* and what *tool*'s verdicts can read."""
        state = self._policy.state
        found = state.engine.slice_of(tool)
        return Explanation(
            policy_digest=state.bundle.digest,
            policies=tuple(_policy(p) for p in state.bundle.policies if p.id in policies),
            reads=found.describe_key() if found else (),
        )


class ConsoleLever:
    """Implements ``web.ports.Containment`` over the same operations as the RPC."""

    def __init__(self, *, operations: Operations, service: ContainmentService) -> None:
        self._operations = operations
        self._service = service

    async def contain(self, order: ContainmentOrder, caller: Operator) -> Contained | Held:
        """Carry out *order*, or hold it for a second human."""
        answer = await self._operations.contain(order, caller)
        if isinstance(answer, Operation):
            return Held(approval_id=answer.id)
        return Contained(receipt=answer.receipt.receipt, is_repeated=answer.is_repeated)

    async def receipt(self, epoch: int) -> Receipt:
        """Return the receipt of a directive as it stands now."""
        return (await self._service.get_receipt(epoch)).receipt


def _entries(log: str, page: Page) -> list[LogEntry]:
    return [_entry(log, entry) for entry in page.entries]


def _entry(log: str, entry: StoredEntry) -> LogEntry:
    return LogEntry(log=log, index=entry.seq, fields=entry.fields())


def _policy(policy: PolicySpec) -> PolicyView:
    return PolicyView(
        id=policy.id,
        file=policy.path,
        line=policy.line,
        effect=policy.effect,
        text=policy.text,
        annotations=dict(policy.annotations),
    )


def _outcome(item: PolicyOutcome) -> PolicyView:
    view = _policy(item.policy)
    return PolicyView(
        id=view.id,
        file=view.file,
        line=view.line,
        effect=view.effect,
        text=view.text,
        outcome=item.outcome,
        annotations=view.annotations,
        error=item.error,
    )


async def serve_console(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    approving: Approving,
    policy: ControlPolicy,
    gates: GateRegistry,
    service: ContainmentService,
    logs: HostLogs,
    audit: AuditSink,
    clock: Clock,
    is_dev: bool,
) -> Callable[[], int]:
    """Serve the console until *stack* is closed; return how many people watch it.

    Raises:
        ConfigurationError: Its certificate, its address or its OpenID provider cannot be used.
    """
    origin = settings.console_origin
    config = ConsoleConfig(
        origin=origin,
        is_dev=is_dev,
        instance=socket.gethostname(),
        state_directory=str(settings.layout.root),
    )
    sessions = Sessions(clock=clock, is_secure=config.is_secure)
    pages = make_pages(config, clock=clock)
    assert approving.passkeys is not None and approving.accounts is not None  # noqa: S101, PT018
    login = LoginPorts(
        operators=lambda: policy.operators().values(),
        audit=audit,
        origin=origin,
        clock=clock,
        sessions=sessions,
        passkeys=approving.passkeys,
        accounts=approving.accounts,
        page=pages,
        oidc=_providers(settings),
    )
    ports = ConsolePorts(
        approvals=approving.approvals,
        fleet=ConsoleFleet(policy=policy, gates=gates, service=service),
        timeline=ConsoleTimeline(logs=logs, gates=gates),
        audit=ConsoleAudit(logs=logs),
        explain=ConsoleExplain(policy=policy),
        containment=ConsoleLever(operations=approving.operations, service=service),
        operators=lambda: policy.operators().values(),
        passkeys=approving.passkeys,
    )
    app = build_app(
        ports,
        config,
        clock=clock,
        ids=RandomIds(),
        sessions=sessions,
        pages=pages,
        login_routes=login_routes(login),
    )
    host, port = split_address(settings.console_listen)
    certificate, key = settings.console_certificate, settings.console_key
    tls = tls_context(certificate=certificate, key=key) if certificate and key else None
    stack.push_async_callback(await bind_console(app, host=host, port=port, tls=tls))
    return app[HUB].watchers


def _providers(settings: Settings) -> tuple[OidcConfig, ...]:
    if not settings.oidc_issuer:
        return ()
    return (
        OidcConfig(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret_file=settings.oidc_client_secret_file,
        ),
    )
