# SPDX-License-Identifier: Apache-2.0
"""The inventory: what the bundle declares and what gates have seen, told apart."""

from __future__ import annotations

from sidecar.api.v1 import agent_pb2, types_pb2
from tests.support.clients import refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed


async def test_agents_are_listed_declared_and_observed(bed: Testbed) -> None:
    """A declared agent has owner, labels and gates; counts follow its calls."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        await agent.ask("note.read")
        await agent.ask("note.forbidden")
        await agent.ask("note.held")

        async def counted() -> agent_pb2.Agent | None:
            found = await alice.agent(name)
            return found if sum(found.decision_counts.values()) == 3 else None

        known = await eventually(counted, 5)
        listed = await alice.agents.ListAgents(agent_pb2.ListAgentsRequest(page_size=1000))

    assert known.declared
    assert known.owner == f"{name}-owner@example.com"
    assert dict(known.labels) == {"team": name}
    assert list(known.gates) == ["gate"]
    assert dict(known.decision_counts) == {"ALLOW": 1, "DENY": 1, "HOLD": 1}
    assert known.HasField("last_call_time")
    names = [found.agent for found in listed.agents]
    assert names == sorted(names)
    assert name in names


async def test_agent_shows_what_holds_it(bed: Testbed) -> None:
    """Level and directives of an agent include those that reach it by label."""
    name = bed.fresh_agent()
    labels = types_pb2.Target(labels=types_pb2.Target.Labels(labels={"team": name}))
    async with bed.operator("alice") as alice:
        by_label = await alice.contain(labels, "FREEZE")
        by_name = await alice.contain(name, "OBSERVE")
        known = await alice.agent(name)

    assert known.level == types_pb2.LEVEL_FREEZE
    assert {d.epoch for d in known.directives} == {
        by_label.receipt.directive.epoch,
        by_name.receipt.directive.epoch,
    }


async def test_contained_agent_that_nobody_declares_is_listed(bed: Testbed) -> None:
    """A standing order on an unknown agent is not invisible."""
    async with bed.operator("alice") as alice:
        unknown = await refused(alice.agent("not-yet-there"))
        await alice.contain("not-yet-there")
        known = await alice.agent("not-yet-there")

    assert unknown.code.name == "NOT_FOUND"
    assert not known.declared
    assert known.level == types_pb2.LEVEL_KILL


async def test_tools_are_listed_declared_and_observed(bed: Testbed) -> None:
    """A tool shows class, callers and destinations; one that was only asked for is told apart."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        await agent.ask("mail.send", {"url": "https://inventory.example.net/x"})
        await agent.ask(f"made-up.{name}")

        async def seen() -> dict[str, agent_pb2.Tool] | None:
            answer = await alice.agents.ListTools(agent_pb2.ListToolsRequest(page_size=1000))
            tools = {tool.tool: tool for tool in answer.tools}
            return tools if f"made-up.{name}" in tools else None

        tools = await eventually(seen, 5)

    mail = tools["mail.send"]
    assert (mail.declared, mail.tool_class) == (True, types_pb2.TOOL_CLASS_EXTERNAL)
    assert name in mail.agents
    assert "inventory.example.net" in mail.destinations
    asked_for = tools[f"made-up.{name}"]
    assert (asked_for.declared, asked_for.tool_class) == (False, types_pb2.TOOL_CLASS_UNSPECIFIED)


async def test_pages_cover_everything_once(bed: Testbed) -> None:
    """Pages of agents neither repeat nor skip, and a bad token or size is refused."""
    async with bed.operator("alice") as alice:
        names: list[str] = []
        token = ""
        while True:
            page = await alice.agents.ListAgents(
                agent_pb2.ListAgentsRequest(page_size=17, page_token=token)
            )
            names += [found.agent for found in page.agents]
            token = page.next_page_token
            if not token:
                break
        whole = await alice.agents.ListAgents(agent_pb2.ListAgentsRequest(page_size=1000))
        bad = [
            (await refused(alice.agents.ListAgents(request))).code.name
            for request in (
                agent_pb2.ListAgentsRequest(page_size=-1),
                agent_pb2.ListAgentsRequest(page_size=1001),
                agent_pb2.ListAgentsRequest(page_token="-5"),
                agent_pb2.ListAgentsRequest(page_token="٣"),
            )
        ]

    assert names == [found.agent for found in whole.agents]
    assert bad == ["INVALID_ARGUMENT"] * 4
