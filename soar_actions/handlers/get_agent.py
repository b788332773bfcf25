# SPDX-License-Identifier: Apache-2.0
"""get agent."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.api.v1 import types_pb2
from soar_actions.client import ControlClient
from soar_actions.handlers.render import directive_data, time_text
from soar_actions.handlers.result import Result, Status

__all__ = ["get_agent"]


async def get_agent(client: ControlClient, values: Mapping[str, str], _key: str) -> Result:
    """Return what is known of one agent."""
    agent = await client.get_agent(values["agent"])
    level = types_pb2.Level.Name(agent.level).removeprefix("LEVEL_")
    held = f"held at {level}" if agent.level else "not held"
    return Result(
        status=Status.SUCCESS,
        summary=f"agent {agent.agent} of {agent.owner or 'nobody known'} is {held}",
        data={
            "agent": {
                "agent": agent.agent,
                "owner": agent.owner,
                "groups": list(agent.groups),
                "labels": dict(agent.labels),
                "declared": agent.declared,
                "gates": list(agent.gates),
                "level": level if agent.level else "",
                "directives": [directive_data(directive) for directive in agent.directives],
                "last_call_time": time_text(agent.last_call_time),
                "decision_counts": dict(agent.decision_counts),
            }
        },
    )
