# SPDX-License-Identifier: Apache-2.0
"""The inventory: what is declared in the bundle, and what gates have seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import grpc

from sidecar.api.v1 import agent_pb2, agent_pb2_grpc
from sidecar.containment.machine import ContainmentState
from sidecar.control.convert import LEVELS, TOOL_CLASSES, directive_message, page_of, timestamp
from sidecar.control.gates import GateRegistry
from sidecar.control.policies import ControlPolicy
from sidecar.errors import NotFoundError
from sidecar.internal.v1 import sync_pb2
from sidecar.model import Directive, Subject

__all__ = ["AgentServicer"]

Seen = sync_pb2.SyncRequest.Inventory.Seen


class AgentServicer(agent_pb2_grpc.AgentServiceServicer):
    """Answers ``AgentService``."""

    def __init__(
        self,
        *,
        policy: ControlPolicy,
        gates: GateRegistry,
        containment: Callable[[], ContainmentState],
    ) -> None:
        self._policy = policy
        self._gates = gates
        self._containment = containment

    async def ListAgents(  # noqa: N802 - the names are the proto's
        self, request: agent_pb2.ListAgentsRequest, context: grpc.aio.ServicerContext
    ) -> agent_pb2.ListAgentsResponse:
        """List agents by id."""
        limit, offset = page_of(request.page_size, request.page_token)
        names = sorted(self._names())
        page = names[offset : offset + limit]
        return agent_pb2.ListAgentsResponse(
            agents=[self._agent(name) for name in page],
            next_page_token=str(offset + limit) if offset + limit < len(names) else "",
        )

    async def GetAgent(  # noqa: N802
        self, request: agent_pb2.GetAgentRequest, context: grpc.aio.ServicerContext
    ) -> agent_pb2.GetAgentResponse:
        """Return one agent."""
        if request.agent not in self._names():
            raise NotFoundError(
                f"no agent {request.agent!r} is declared, served or contained",
                hint="list the agents; names are exact",
            )
        return agent_pb2.GetAgentResponse(agent=self._agent(request.agent))

    async def ListTools(  # noqa: N802
        self, request: agent_pb2.ListToolsRequest, context: grpc.aio.ServicerContext
    ) -> agent_pb2.ListToolsResponse:
        """List tools by name."""
        limit, offset = page_of(request.page_size, request.page_token)
        declared = self._policy.state.bundle.tools
        names = sorted(set(declared) | {seen.tool for seen in self._seen()})
        page = names[offset : offset + limit]
        return agent_pb2.ListToolsResponse(
            tools=[self._tool(name) for name in page],
            next_page_token=str(offset + limit) if offset + limit < len(names) else "",
        )

    def _names(self) -> set[str]:
        contained = {
            directive.target.agent
            for directive in self._containment().directives
            if directive.target.agent
        }
        return set(self._policy.state.bundle.agents) | self._gates.agents() | contained

    def _seen(self) -> Iterator[Seen]:
        for gate in self._gates.connected():
            yield from gate.inventory

    def _agent(self, name: str) -> agent_pb2.Agent:
        spec = self._policy.state.bundle.agents.get(name)
        subject = Subject(
            agent=name,
            principals=frozenset((spec.owner,)) if spec else frozenset(),
            labels=spec.labels if spec else {},
        )
        directives = self._holding(subject)
        message = agent_pb2.Agent(
            agent=name,
            owner=spec.owner if spec else "",
            groups=spec.groups if spec else (),
            labels=dict(spec.labels) if spec else {},
            declared=spec is not None,
            gates=[gate.gate for gate in self._gates.of_agent(name)],
            directives=[directive_message(directive) for directive in directives],
            level=LEVELS[max((d.level for d in directives), default=None)],
        )
        effects: Counter[str] = Counter()
        last = 0
        for seen in self._seen():
            if seen.agent == name:
                effects.update(seen.effects)
                last = max(last, seen.last_call_time_ns)
        message.decision_counts.update(effects)
        if last:
            message.last_call_time.CopyFrom(timestamp(last))
        return message

    def _holding(self, subject: Subject) -> list[Directive]:
        return [
            directive
            for directive in self._containment().directives
            if directive.target.matches(subject)
        ]

    def _tool(self, name: str) -> agent_pb2.Tool:
        spec = self._policy.state.bundle.tools.get(name)
        seen = [item for item in self._seen() if item.tool == name]
        return agent_pb2.Tool(
            tool=name,
            tool_class=TOOL_CLASSES[spec.tool_class if spec else None],
            data_class=spec.data_class if spec else "",
            description=spec.description if spec else "",
            declared=spec is not None,
            agents=sorted({item.agent for item in seen}),
            call_count=sum(item.calls for item in seen),
            destinations=sorted({host for item in seen for host in item.hosts}),
        )
