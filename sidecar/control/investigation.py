# SPDX-License-Identifier: Apache-2.0
"""Investigations on the wire: an agent's timeline, and what it can have touched."""

from __future__ import annotations

import grpc
from google.protobuf.message import Message

from sidecar.api.v1 import investigation_pb2, investigation_pb2_grpc
from sidecar.control.convert import blast_radius_message, event_message, instant_of, page_of
from sidecar.control.tracing import Traces, Window
from sidecar.identifiers import check_agent_id, check_session_id

__all__ = ["InvestigationServicer", "window_of"]


def window_of(traces: Traces, request: Message) -> Window:
    """Return the window that *request*'s ``since`` and ``until`` name.

    Raises:
        UntrustedInputError: It is empty, or no window.
    """
    bounds = [
        instant_of(getattr(request, name)) if request.HasField(name) else None
        for name in ("since", "until")
    ]
    return traces.window(*bounds)


class InvestigationServicer(investigation_pb2_grpc.InvestigationServiceServicer):
    """Answers ``InvestigationService``."""

    def __init__(self, *, traces: Traces) -> None:
        self._traces = traces

    async def GetAgentTimeline(  # noqa: N802 - the names are the proto's
        self, request: investigation_pb2.GetAgentTimelineRequest, context: grpc.aio.ServicerContext
    ) -> investigation_pb2.GetAgentTimelineResponse:
        """Return what an agent did and what was done to it, newest first."""
        agent = check_agent_id(request.agent)
        limit, _ = page_of(request.page_size, "")
        window = window_of(self._traces, request)
        session = check_session_id(request.session) if request.session else ""
        self._traces.require(agent)
        found = await self._traces.timeline(
            agent, window, session=session, limit=limit, token=request.page_token
        )
        return investigation_pb2.GetAgentTimelineResponse(
            events=[event_message(event) for event in found.events],
            next_page_token=found.next_page_token,
        )

    async def GetBlastRadius(  # noqa: N802
        self, request: investigation_pb2.GetBlastRadiusRequest, context: grpc.aio.ServicerContext
    ) -> investigation_pb2.GetBlastRadiusResponse:
        """Return what an agent can have touched."""
        agent = check_agent_id(request.agent)
        window = window_of(self._traces, request)
        self._traces.require(agent)
        found = await self._traces.blast_radius(agent, window)
        return investigation_pb2.GetBlastRadiusResponse(blast_radius=blast_radius_message(found))
