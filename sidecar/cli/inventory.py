# SPDX-License-Identifier: Apache-2.0
"""``holdfast agents`` and ``holdfast tools``: what there is, declared and observed."""

from __future__ import annotations

import asyncio

import click

from sidecar.api.v1 import agent_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit
from sidecar.cli.views import agent_data, show_directives, tool_data

__all__ = ["agents", "tools"]


@group(name="agents")
def agents() -> None:
    """Agents: declared, served, contained."""


@group(name="tools")
def tools() -> None:
    """Tools: declared and asked for."""


@agents.command(name="list", examples=("holdfast agents list", "holdfast agents list --json"))
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_agents(options: ClientOptions, limit: int, page_token: str) -> Exit:
    """List agents: those the bundle declares and those a gate serves."""
    request = agent_pb2.ListAgentsRequest(page_size=limit, page_token=page_token)
    return asyncio.run(_list_agents(options, request))


async def _list_agents(options: ClientOptions, request: agent_pb2.ListAgentsRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.agents.ListAgents, request)
    rows = [agent_data(agent) for agent in answer.agents]

    def show(page: Page) -> None:
        page.table(
            ("AGENT", "OWNER", "HELD AT", "GATES", "LAST CALL", "ALLOW", "DENY", "HOLD"),
            [
                (
                    row["agent"] + ("" if row["declared"] else " (undeclared)"),
                    row["owner"] or "-",
                    row["level"] or "-",
                    ", ".join(row["gates"]) or "none",
                    row["last_call_time"] or "-",
                    *(row["decision_counts"].get(e, 0) for e in ("ALLOW", "DENY", "HOLD")),
                )
                for row in rows
            ],
        )
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    emit("AgentList", {"agents": rows, "next_page_token": answer.next_page_token or None}, show)
    return Exit.OK


@agents.command(name="show", examples=("holdfast agents show banking",))
@click.argument("agent")
@connected
def show_agent(options: ClientOptions, agent: str) -> Exit:
    """Show one agent and what holds it."""
    return asyncio.run(_show_agent(options, agent_pb2.GetAgentRequest(agent=agent)))


async def _show_agent(options: ClientOptions, request: agent_pb2.GetAgentRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.agents.GetAgent, request)
    agent = answer.agent
    row = agent_data(agent)

    def show(page: Page) -> None:
        counts = ", ".join(f"{count} {effect}" for effect, count in row["decision_counts"].items())
        page.fields(
            [
                ("agent", row["agent"]),
                ("declared", "yes" if row["declared"] else "no: every call is denied"),
                ("owner", row["owner"] or "-"),
                ("groups", ", ".join(row["groups"]) or "-"),
                ("labels", ", ".join(f"{k}={v}" for k, v in row["labels"].items()) or "-"),
                ("gates", ", ".join(row["gates"]) or "none connected"),
                ("last call", row["last_call_time"] or "-"),
                ("decisions", counts or "-"),
                ("held at", row["level"] or "not held"),
            ]
        )
        if agent.directives:
            show_directives(page, agent.directives)

    emit("Agent", {"agent": row}, show)
    return Exit.OK


@tools.command(name="list", examples=("holdfast tools list", "holdfast tools list --json"))
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_tools(options: ClientOptions, limit: int, page_token: str) -> Exit:
    """List tools: those the bundle declares and those agents asked for."""
    request = agent_pb2.ListToolsRequest(page_size=limit, page_token=page_token)
    return asyncio.run(_list_tools(options, request))


async def _list_tools(options: ClientOptions, request: agent_pb2.ListToolsRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.agents.ListTools, request)
    rows = [tool_data(tool) for tool in answer.tools]

    def show(page: Page) -> None:
        page.table(
            ("TOOL", "CLASS", "DATA", "CALLS", "AGENTS", "DESTINATIONS"),
            [
                (
                    row["tool"] + ("" if row["declared"] else " (undeclared)"),
                    row["class"] or "-",
                    row["data_class"] or "-",
                    row["call_count"],
                    ", ".join(row["agents"]) or "-",
                    ", ".join(row["destinations"]) or "-",
                )
                for row in rows
            ],
        )
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    emit("ToolList", {"tools": rows, "next_page_token": answer.next_page_token or None}, show)
    return Exit.OK
