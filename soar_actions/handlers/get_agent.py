# SPDX-License-Identifier: Apache-2.0
"""get agent."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.reading import required
from soar_actions.handlers.render import agent_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["get_agent"]


def get_agent(values: Mapping[str, str], _key: str) -> Steps:
    """Return what is known of one agent."""
    answer = yield Call("AgentService/GetAgent", {"agent": values["agent"]})
    agent = agent_data(required(answer, "agent"))
    held = f"held at {agent['level']}" if agent["level"] else "not held"
    return Result(
        status=Status.SUCCESS,
        summary=f"agent {agent['agent']} of {agent['owner'] or 'nobody known'} is {held}",
        data={"agent": agent},
    )
