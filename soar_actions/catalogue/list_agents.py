# SPDX-License-Identifier: Apache-2.0
"""list agents: who there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import FieldType, Mappings, Output
from soar_actions.catalogue.common import LIMIT
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import agent_outputs

__all__ = ["LIST_AGENTS"]

LIST_AGENTS: Final = reads(
    "list agents",
    "Return the agents that the policy bundle declares and those that a gate serves, with what holds "
    "each.",
    parameters=(replace(LIMIT, default="1000"),),
    outputs=(
        *agent_outputs("agents[]."),
        Output("held_count", "How many of them are held.", 0, FieldType.NUMBER),
        Output("count", "How many are listed.", 1, FieldType.NUMBER),
        Output("truncated", "Whether there are more.", False, FieldType.BOOLEAN),
    ),
    mappings=Mappings(openc2="query x-holdfast:agent"),
)
