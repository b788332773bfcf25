# SPDX-License-Identifier: Apache-2.0
"""``holdfast incidents``: records of agents that went wrong."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import click

from sidecar.api.v1 import incident_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit, talk
from sidecar.cli.trace_views import incident_data, show_incident
from sidecar.cli.windows import set_window, windowed
from sidecar.documents import short
from sidecar.ids import RandomIds

__all__ = ["incidents"]

_SEVERITIES: Final = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
_VERDICTS: Final = ("UNDETERMINED", "THREAT", "MISCONFIGURATION", "FALSE_POSITIVE")
_ID: Final = re.compile(r"(?:incidents/)?(inc_[0-9a-f]{32})", re.ASCII)
_GATHERING_S: Final = 20.0
_VERDICT = click.option(
    "--verdict", type=click.Choice(_VERDICTS, case_sensitive=False), help="What it was."
)
_TECHNIQUE = click.option(
    "--technique",
    "techniques",
    multiple=True,
    metavar="ID",
    help="ATT&CK or ATLAS: T1041, AML.T0053. May be repeated.",
)
_REQUEST_ID = click.option(
    "--request-id", help="Makes a retry the same order; default: a fresh one."
)


@group(name="incidents")
def incidents() -> None:
    """Records of agents that went wrong: open, look, add, close."""


@incidents.command(
    name="open",
    examples=(
        'holdfast incidents open banking --title "wires money at night"',
        'holdfast incidents open banking --title "exfiltration" --severity high --technique T1041',
    ),
)
@click.argument("agent")
@click.option("--title", required=True, help="What to call it; at most 200 characters.")
@click.option(
    "--severity",
    type=click.Choice(_SEVERITIES, case_sensitive=False),
    default="MEDIUM",
    show_default=True,
)
@windowed
@_TECHNIQUE
@_VERDICT
@click.option("--note", default="", help="A first note; at most 4,000 characters.")
@click.option("--reference", default="", help="Id of the same incident elsewhere.")
@_REQUEST_ID
@connected
def open_incident(
    options: ClientOptions,
    agent: str,
    title: str,
    severity: str,
    since: str | None,
    until: str | None,
    techniques: tuple[str, ...],
    verdict: str | None,
    note: str,
    reference: str,
    request_id: str | None,
) -> Exit:
    """Open an incident about AGENT: control gathers what it did, touched, and what holds it."""
    request = incident_pb2.OpenIncidentRequest(
        request_id=request_id or RandomIds().new("cli"),
        agent=agent,
        title=title,
        severity=severity.upper(),
        techniques=techniques,
        verdict=_verdict(verdict),
        note=note,
        external_reference=reference,
    )
    return asyncio.run(_open(options, set_window(request, since, until)))


async def _open(options: ClientOptions, request: incident_pb2.OpenIncidentRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.incidents.OpenIncident, request, longer_s=_GATHERING_S)
    _tell(answer.incident, request_id=request.request_id, is_repeated=answer.repeated_request)
    if answer.repeated_request:
        talk("it had been opened before with this request id; nothing new was done")
    return Exit.OK


@incidents.command(
    name="list",
    examples=("holdfast incidents list", "holdfast incidents list --agent banking --all --json"),
)
@click.option("--agent", default="", help="Only this agent's.")
@click.option("--all", "is_all", is_flag=True, help="Also closed ones.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_incidents(
    options: ClientOptions, agent: str, is_all: bool, limit: int, page_token: str
) -> Exit:
    """List open incidents, newest first, without their calls."""
    request = incident_pb2.ListIncidentsRequest(
        agent=agent, open_only=not is_all, page_size=limit, page_token=page_token
    )
    return asyncio.run(_list(options, request))


async def _list(options: ClientOptions, request: incident_pb2.ListIncidentsRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.incidents.ListIncidents, request)
    rows = [incident_data(incident) for incident in answer.incidents]

    def show(page: Page) -> None:
        for row in rows:
            page.line(
                f"{row['name']}  {row['state']}  {row['severity']}  agent {row['agent']}  "
                f"by {row['author']} at {row['create_time']}"
            )
            page.line(f"    {row['title']}")
        if not rows:
            page.line("no incident is open" if request.open_only else "there is no incident")
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    data = {"incidents": rows, "next_page_token": answer.next_page_token or None}
    emit("IncidentList", data, show)
    return Exit.OK


@incidents.command(
    name="show",
    examples=("holdfast incidents show inc_0123456789abcdef0123456789abcdef",),
)
@click.argument("incident")
@connected
def show_incident_(options: ClientOptions, incident: str) -> Exit:
    """Show one incident with everything that was gathered."""
    return asyncio.run(_show(options, incident_pb2.GetIncidentRequest(name=_name(incident))))


async def _show(options: ClientOptions, request: incident_pb2.GetIncidentRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.incidents.GetIncident, request)
    _tell(answer.incident)
    return Exit.OK


@incidents.command(
    name="update",
    examples=(
        "holdfast incidents update inc_0123456789abcdef0123456789abcdef --verdict threat",
        'holdfast incidents update inc_0123456789abcdef0123456789abcdef --note "token rotated"',
    ),
)
@click.argument("incident")
@_VERDICT
@_TECHNIQUE
@click.option("--note", default="", help="A note to add; at most 4,000 characters.")
@_REQUEST_ID
@connected
def update_incident(
    options: ClientOptions,
    incident: str,
    verdict: str | None,
    techniques: tuple[str, ...],
    note: str,
    request_id: str | None,
) -> Exit:
    """Add a verdict, techniques or a note. What was gathered never changes."""
    request = incident_pb2.UpdateIncidentRequest(
        request_id=request_id or RandomIds().new("cli"),
        name=_name(incident),
        verdict=_verdict(verdict),
        techniques=techniques,
        note=note,
    )
    return asyncio.run(_update(options, request))


@incidents.command(
    name="close",
    examples=(
        "holdfast incidents close inc_0123456789abcdef0123456789abcdef --verdict false_positive",
    ),
)
@click.argument("incident")
@_VERDICT
@click.option("--note", default="", help="A last note; later ones can be added.")
@_REQUEST_ID
@connected
def close_incident(
    options: ClientOptions,
    incident: str,
    verdict: str | None,
    note: str,
    request_id: str | None,
) -> Exit:
    """Close an incident. It stays as it is, takes notes, and is never open again."""
    request = incident_pb2.UpdateIncidentRequest(
        request_id=request_id or RandomIds().new("cli"),
        name=_name(incident),
        verdict=_verdict(verdict),
        note=note,
        close=True,
    )
    return asyncio.run(_update(options, request))


async def _update(options: ClientOptions, request: incident_pb2.UpdateIncidentRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.incidents.UpdateIncident, request)
    _tell(answer.incident, request_id=request.request_id)
    return Exit.OK


def _tell(
    incident: incident_pb2.Incident, *, request_id: str = "", is_repeated: bool = False
) -> None:
    data: dict[str, Any] = {"incident": incident_data(incident)}
    if request_id:
        data |= {"request_id": request_id, "repeated_request": is_repeated}
    emit("Incident", data, lambda page: show_incident(page, incident))


def _verdict(text: str | None) -> str:
    return f"VERDICT_{(text or 'unspecified').upper()}"


def _name(text: str) -> str:
    """Return ``incidents/<id>`` for *text*; exact or not at all."""
    match = _ID.fullmatch(text)
    if match is None:
        raise click.UsageError(
            f"{short(text)} is not of the form inc_ and 32 digits; see `holdfast incidents list`"
        )
    return f"incidents/{match[1]}"
