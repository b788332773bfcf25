# SPDX-License-Identifier: Apache-2.0
"""``holdfast directives``: what holds whom."""

from __future__ import annotations

import asyncio

import click

from sidecar.api.v1 import containment_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit
from sidecar.cli.views import directive_data, show_directives

__all__ = ["directives"]


@group(name="directives")
def directives() -> None:
    """Containments that stand."""


@directives.command(
    name="list",
    examples=(
        "holdfast directives list",
        "holdfast directives list --agent banking",
        "holdfast directives list --all --json",
    ),
)
@click.option("--agent", default="", help="Only those that hold this agent.")
@click.option("--all", "is_all", is_flag=True, help="Also those that were released or lapsed.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_directives(
    options: ClientOptions, agent: str, is_all: bool, limit: int, page_token: str
) -> Exit:
    """List directives, newest first.

    With --agent, exits 1 if nothing holds the agent.
    """
    request = containment_pb2.ListDirectivesRequest(
        page_size=limit, page_token=page_token, include_ended=is_all, agent=agent
    )
    return asyncio.run(_list(options, request))


async def _list(options: ClientOptions, request: containment_pb2.ListDirectivesRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.containment.ListDirectives, request)

    def show(page: Page) -> None:
        if answer.directives:
            show_directives(page, answer.directives)
        else:
            page.line(f"nothing holds {request.agent or 'anybody'}")
        page.line(f"epoch {answer.epoch}")
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    data = {
        "directives": [directive_data(directive) for directive in answer.directives],
        "epoch": answer.epoch,
        "next_page_token": answer.next_page_token or None,
    }
    emit("DirectiveList", data, show)
    return Exit.FAILURE if request.agent and not answer.directives else Exit.OK
