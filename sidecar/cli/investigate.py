# SPDX-License-Identifier: Apache-2.0
"""``holdfast investigate``: what an agent did, and what it can have touched."""

from __future__ import annotations

import asyncio

import click

from sidecar.api.v1 import investigation_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit
from sidecar.cli.trace_views import event_data, radius_data, show_events, show_radius
from sidecar.cli.windows import set_window, windowed

__all__ = ["investigate"]


@group(name="investigate")
def investigate() -> None:
    """What an agent did, and what it can have touched."""


@investigate.command(
    name="timeline",
    examples=(
        "holdfast investigate timeline banking",
        "holdfast investigate timeline banking --since 2h --session s-41 --json",
    ),
)
@click.argument("agent")
@windowed
@click.option("--session", default="", help="Only this session's calls.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def timeline(
    options: ClientOptions,
    agent: str,
    since: str | None,
    until: str | None,
    session: str,
    limit: int,
    page_token: str,
) -> Exit:
    """Show what AGENT did and what was done to it, newest first. No argument of a call is in it.

    Exits 1 if nothing is known of the window.
    """
    request = investigation_pb2.GetAgentTimelineRequest(
        agent=agent, session=session, page_size=limit, page_token=page_token
    )
    return asyncio.run(_timeline(options, set_window(request, since, until)))


async def _timeline(
    options: ClientOptions, request: investigation_pb2.GetAgentTimelineRequest
) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.investigation.GetAgentTimeline, request)
    token = answer.next_page_token

    def show(page: Page) -> None:
        if answer.events:
            show_events(page, answer.events)
        elif not token:
            page.line("nothing is known of this window")
        if token:
            page.line(f"there are more: --page-token {token}")

    rows = [event_data(event) for event in answer.events]
    emit("AgentTimeline", {"events": rows, "next_page_token": token or None}, show)
    return Exit.OK if answer.events or token else Exit.FAILURE


@investigate.command(
    name="blast-radius",
    examples=(
        "holdfast investigate blast-radius banking",
        "holdfast investigate blast-radius banking --since 2026-11-22T14:00:00Z --json",
    ),
)
@click.argument("agent")
@windowed
@connected
def blast_radius(options: ClientOptions, agent: str, since: str | None, until: str | None) -> Exit:
    """Show what AGENT can have touched: tools, hosts, data, credentials, people.

    It rests on what went through the agent's gates; what went around them is not in it.
    """
    request = investigation_pb2.GetBlastRadiusRequest(agent=agent)
    return asyncio.run(_blast_radius(options, set_window(request, since, until)))


async def _blast_radius(
    options: ClientOptions, request: investigation_pb2.GetBlastRadiusRequest
) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.investigation.GetBlastRadius, request, longer_s=20.0)
    radius = answer.blast_radius
    emit(
        "BlastRadius",
        {"blast_radius": radius_data(radius)},
        lambda page: show_radius(page, radius),
    )
    return Exit.OK
