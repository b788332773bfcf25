# SPDX-License-Identifier: Apache-2.0
"""unblock tool."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.block_tool import tool_target
from soar_actions.handlers.releasing import release, release_matching, require_one
from soar_actions.steps import Steps

__all__ = ["unblock_tool"]


def unblock_tool(values: Mapping[str, str], key: str) -> Steps:
    """Ask for the end of one directive, or of all that block exactly this tool."""
    require_one("unblock tool", epoch=values["epoch"], tool=values["tool"])
    if values["epoch"]:
        return release(values["epoch"], key, values["reason"])
    target, what = tool_target(values)
    return release_matching(target, key, values["reason"], what=what)
