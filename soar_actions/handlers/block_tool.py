# SPDX-License-Identifier: Apache-2.0
"""block tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.handlers.containing import contain
from soar_actions.steps import Steps

__all__ = ["block_tool", "tool_target"]


def block_tool(values: Mapping[str, str], key: str) -> Steps:
    """Deny every call of a tool, at one agent or at all."""
    target, what = tool_target(values)
    return contain(values, key, target=target, level="FREEZE", said=f"{what} is blocked")


def tool_target(values: Mapping[str, str]) -> tuple[Mapping[str, Any], str]:
    """Return the target that *values* name, and its name for people."""
    tool, agent = values["tool"], values["agent"]
    if agent:
        return {"toolAtAgent": {"agent": agent, "tool": tool}}, f"tool {tool} of agent {agent}"
    return {"tool": tool}, f"tool {tool}"
