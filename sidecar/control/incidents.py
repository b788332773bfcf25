# SPDX-License-Identifier: Apache-2.0
"""Incidents on the wire, and what control gathers when one is opened.

Laws:

1. What is gathered is kept as canonical proto3 JSON, and told from those bytes: what is hashed and
   logged is what is shown, then and later.
2. For a caller that is limited to some agents, an incident of another one does not exist.
3. Gathering changes nothing, and what it could not find is said in it (``truncated``).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import grpc
from google.protobuf import json_format

from sidecar.api.v1 import incident_pb2, incident_pb2_grpc
from sidecar.canonical import canonicalise
from sidecar.containment.service import ContainmentService
from sidecar.control.containment import entry_message
from sidecar.control.convert import (
    blast_radius_message,
    event_message,
    instant_of,
    page_of,
    timestamp,
)
from sidecar.control.interceptor import caller
from sidecar.control.tracing import Traces
from sidecar.errors import (
    ErrorReason,
    HoldfastError,
    IntegrityError,
    NotFoundError,
    UntrustedInputError,
)
from sidecar.identifiers import check_agent_id
from sidecar.incidents.service import Incidents
from sidecar.incidents.values import (
    Gathered,
    Incident,
    IncidentState,
    IncidentVerdict,
    OpenOrder,
    UpdateOrder,
)
from sidecar.investigate.values import BlastRadius

__all__ = ["GATHERED_FIELDS", "IncidentServicer"]

GATHERED_FIELDS: Final = (
    "agent", "owner", "policy_digest", "policy_digests", "since", "until", "events", "truncated",
    "blast_radius", "directives", "prompts",
)  # fmt: skip
"""Fields of an incident that are gathered when it is opened, and that ``sha256`` is over."""

_MAX_CALLS: Final = 1000
_MAX_DIRECTIVES: Final = 100
_SHOWN_SESSIONS: Final = 5
_NAME: Final = re.compile(r"incidents/(inc_[0-9a-f]{32})", re.ASCII)
_Message = incident_pb2.Incident
_STATES: Final = {
    IncidentState.OPEN: _Message.STATE_OPEN,
    IncidentState.CLOSED: _Message.STATE_CLOSED,
}
_VERDICTS: Final = {
    IncidentVerdict.UNDETERMINED: _Message.VERDICT_UNDETERMINED,
    IncidentVerdict.THREAT: _Message.VERDICT_THREAT,
    IncidentVerdict.MISCONFIGURATION: _Message.VERDICT_MISCONFIGURATION,
    IncidentVerdict.FALSE_POSITIVE: _Message.VERDICT_FALSE_POSITIVE,
}
_VERDICT_OF: Final = {message: verdict for verdict, message in _VERDICTS.items()}


class IncidentServicer(incident_pb2_grpc.IncidentServiceServicer):
    """Answers ``IncidentService``.

    Args:
        incidents: The incidents.
        traces: What agents left in the logs.
        containment: What holds them.
        policy_digest: Digest of the bundle in force.
    """

    def __init__(
        self,
        *,
        incidents: Incidents,
        traces: Traces,
        containment: ContainmentService,
        policy_digest: Callable[[], str],
    ) -> None:
        self._incidents = incidents
        self._traces = traces
        self._containment = containment
        self._policy_digest = policy_digest

    async def OpenIncident(  # noqa: N802 - the names are the proto's
        self, request: incident_pb2.OpenIncidentRequest, context: grpc.aio.ServicerContext
    ) -> incident_pb2.OpenIncidentResponse:
        """Open an incident with everything that is known of the agent."""
        order = OpenOrder(
            request_id=request.request_id,
            agent=request.agent,
            title=request.title,
            severity=request.severity,
            since_ns=instant_of(request.since) if request.HasField("since") else None,
            until_ns=instant_of(request.until) if request.HasField("until") else None,
            techniques=tuple(request.techniques),
            verdict=_verdict_of(request.verdict),
            note=request.note,
            external_reference=request.external_reference,
        )
        answer = await self._incidents.open(order, caller(), lambda: self._gather(order))
        return incident_pb2.OpenIncidentResponse(
            incident=await _message(answer.incident), repeated_request=answer.is_repeated
        )

    async def GetIncident(  # noqa: N802
        self, request: incident_pb2.GetIncidentRequest, context: grpc.aio.ServicerContext
    ) -> incident_pb2.GetIncidentResponse:
        """Return one incident."""
        incident = await self._incidents.get(_id_of(request.name), agents=caller().agents)  # law 2
        return incident_pb2.GetIncidentResponse(incident=await _message(incident))

    async def ListIncidents(  # noqa: N802
        self, request: incident_pb2.ListIncidentsRequest, context: grpc.aio.ServicerContext
    ) -> incident_pb2.ListIncidentsResponse:
        """List incidents, newest first, without their calls."""
        limit, before = page_of(request.page_size, request.page_token)
        agents = caller().agents  # law 2
        if request.agent:
            agent = check_agent_id(request.agent)
            if agents and agent not in agents:
                return incident_pb2.ListIncidentsResponse()
            agents = frozenset({agent})
        page = await self._incidents.list(
            limit=limit,
            before_seq=before or None,
            agents=agents,
            open_only=request.open_only,
        )
        return incident_pb2.ListIncidentsResponse(
            incidents=await asyncio.to_thread(lambda: [_tell(item) for item in page.incidents]),
            next_page_token=str(page.next_before_seq or ""),
        )

    async def UpdateIncident(  # noqa: N802
        self, request: incident_pb2.UpdateIncidentRequest, context: grpc.aio.ServicerContext
    ) -> incident_pb2.UpdateIncidentResponse:
        """Add a verdict, techniques or a note, or close the incident."""
        order = UpdateOrder(
            request_id=request.request_id,
            incident_id=_id_of(request.name),
            verdict=_verdict_of(request.verdict),
            techniques=tuple(request.techniques),
            note=request.note,
            is_closing=request.close,
        )
        operator = caller()
        answer = await self._incidents.update(order, operator, agents=operator.agents)  # law 2
        return incident_pb2.UpdateIncidentResponse(incident=await _message(answer.incident))

    # -- gathering ------------------------------------------------------------------------------

    async def _gather(self, order: OpenOrder) -> Gathered:
        agent = order.agent
        window = self._traces.window(order.since_ns, order.until_ns)
        self._traces.require(agent)
        calls, is_cut = await self._traces.calls(agent, window, limit=_MAX_CALLS)
        radius = await self._traces.blast_radius(agent, window)
        held = await self._containment.list_directives(agent=agent, limit=_MAX_DIRECTIVES)
        owner = self._traces.owner(agent)
        digest = self._policy_digest()
        standing = held.entries
        is_cut |= held.next_before_epoch is not None

        def write() -> Gathered:
            message = incident_pb2.Incident(
                agent=agent,
                owner=owner,
                policy_digest=digest,
                policy_digests=radius.policy_digests,
                since=timestamp(window.since_ns),
                until=timestamp(window.until_ns),
                events=[event_message(event) for event in calls],
                truncated=is_cut,
                blast_radius=blast_radius_message(radius),
                directives=[entry_message(entry) for entry in standing],
                prompts=_prompts(agent, owner, radius),
            )
            document = _canonical(message)
            message.ClearField("events")
            return Gathered(document=document, brief=_canonical(message))

        return await asyncio.to_thread(write)


def _prompts(agent: str, owner: str, radius: BlastRadius) -> str:
    """Return where prompts may be found; none are recorded here."""
    sessions = radius.sessions
    more = f" and {len(sessions) - _SHOWN_SESSIONS} more" if len(sessions) > _SHOWN_SESSIONS else ""
    which = f", session {', '.join(sessions[:_SHOWN_SESSIONS])}{more}" if sessions else ""
    return (
        "Holdfast records no prompts. Ask the runtime or the model provider of agent "
        f"{agent}{which} for its transcript"
        + (f"; {owner} is responsible for it." if owner else "; nobody is named as its owner.")
    )


def _canonical(message: incident_pb2.Incident) -> bytes:
    """Return the canonical proto3 JSON of *message* (law 1)."""
    return canonicalise(json_format.MessageToDict(message))


async def _message(incident: Incident) -> incident_pb2.Incident:
    """Return *incident* as protobuf; its calls may be many, so not in the event loop."""
    return await asyncio.to_thread(_tell, incident)


def _tell(incident: Incident) -> incident_pb2.Incident:
    message = incident_pb2.Incident()
    try:
        if incident.document and sha256(incident.document).hexdigest() != incident.sha256:
            raise ValueError("it is not what was hashed")
        gathered: dict[str, Any] = json.loads(incident.document or incident.brief)
        json_format.ParseDict(gathered, message, ignore_unknown_fields=True)
    except (ValueError, TypeError, json_format.ParseError, HoldfastError) as exc:
        raise IntegrityError(
            f"what was gathered for {incident.name} cannot be read",
            hint="restore incidents.db from a backup; its SHA-256 is in control's log",
        ) from exc
    message.name = incident.name
    message.state = _STATES[incident.state]
    message.title = incident.title
    message.severity = incident.severity
    message.agent = incident.agent
    message.techniques.extend(incident.techniques)
    if incident.verdict is not None:
        message.verdict = _VERDICTS[incident.verdict]
    for note in incident.notes:
        message.notes.add(
            author=note.author, create_time=timestamp(note.create_time_ns), text=note.text
        )
    message.author = incident.author
    message.create_time.CopyFrom(timestamp(incident.create_time_ns))
    message.update_time.CopyFrom(timestamp(incident.update_time_ns))
    if incident.end_time_ns:
        message.end_time.CopyFrom(timestamp(incident.end_time_ns))
    message.external_reference = incident.external_reference
    message.log_index = incident.log_index
    message.sha256 = incident.sha256
    return message


def _id_of(name: str) -> str:
    """Return the id in ``incidents/<id>``; a name that cannot be one names nothing."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise NotFoundError("there is no such incident", hint="list the incidents")
    return match[1]


def _verdict_of(message: incident_pb2.Incident.Verdict) -> IncidentVerdict | None:
    if message == _Message.VERDICT_UNSPECIFIED:
        return None
    verdict = _VERDICT_OF.get(message)
    if verdict is None:
        raise UntrustedInputError("verdict is unknown", reason=ErrorReason.INVALID_ARGUMENT)
    return verdict
