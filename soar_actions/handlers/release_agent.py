# SPDX-License-Identifier: Apache-2.0
"""release agent."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.reading import message, messages
from soar_actions.handlers.releasing import release, release_matching, require_one
from soar_actions.handlers.render import directive_data
from soar_actions.steps import Call, Result, Steps

__all__ = ["release_agent"]


def release_agent(values: Mapping[str, str], key: str) -> Steps:
    """Ask for the end of one directive, or of all that hold exactly this agent."""
    agent, epoch = values["agent"], values["epoch"]
    require_one("release agent", epoch=epoch, agent=agent)
    if epoch:
        return (yield from release(epoch, key, values["reason"]))
    result = yield from release_matching(
        {"agent": agent}, key, values["reason"], what=f"agent {agent}"
    )
    if result.data["releases"]:
        return result
    # Nothing stands that names it: is there such an agent, and does something else hold it?
    answer = yield Call("AgentService/GetAgent", {"agent": agent})
    others = [directive_data(each) for each in messages(message(answer, "agent"), "directives")]
    said = result.summary
    if others:
        said += f"; still held by {', '.join(str(item['epoch']) for item in others)}"
    return Result(status=result.status, summary=said, data={**result.data, "remaining": others})
