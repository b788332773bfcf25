# SPDX-License-Identifier: Apache-2.0
"""unblock tool: ask for the end of what blocks a tool; humans must grant it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import Mappings
from soar_actions.catalogue.common import AGENT, REASON, TOOL
from soar_actions.catalogue.kinds import loosens
from soar_actions.catalogue.loosening import EPOCH

__all__ = ["UNBLOCK_TOOL"]

UNBLOCK_TOOL: Final = loosens(
    "unblock tool",
    "End one directive, named by its epoch; or, named by a tool, every standing directive that blocks "
    "exactly this tool at exactly this agent, or at all.",
    reversal="block tool",
    parameters=(
        EPOCH,
        replace(TOOL, description="Instead of an epoch: name of the tool.", is_required=False),
        replace(
            AGENT,
            description="With a tool: the agent at which it was blocked; empty: at all agents.",
            is_required=False,
        ),
        REASON,
    ),
    mappings=Mappings(ocsf="7001/3", openc2="allow x-holdfast:tool"),
)
