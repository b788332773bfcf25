# SPDX-License-Identifier: Apache-2.0
"""list agents."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.listing import pages
from soar_actions.handlers.render import agent_data
from soar_actions.steps import Result, Status, Steps

__all__ = ["list_agents"]


def list_agents(values: Mapping[str, str], _key: str) -> Steps:
    """Return the agents that the bundle declares and those that a gate serves."""
    items, is_more = yield from pages("AgentService/ListAgents", {}, "agents", int(values["limit"]))
    agents = [agent_data(item) for item in items]
    held = sum(bool(agent["level"]) for agent in agents)
    return Result(
        status=Status.SUCCESS,
        summary=f"{len(agents)} agents{' and more' if is_more else ''}, {held} of them held",
        data={"agents": agents, "count": len(agents), "held_count": held, "truncated": is_more},
    )
