# SPDX-License-Identifier: Apache-2.0
"""block tool: deny a tool, at one agent or everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import Mappings, Tier
from soar_actions.catalogue.common import AGENT, REASON, TOOL, TTL
from soar_actions.catalogue.kinds import tightens
from soar_actions.catalogue.outputs import HELD_OUTPUTS, ORDERED, REPEATED

__all__ = ["BLOCK_TOOL"]

BLOCK_TOOL: Final = tightens(
    "block tool",
    "Deny every call of a tool: at one agent, or at all. Bites on the very next call.",
    reversal="unblock tool, granted by a human",
    tier=Tier.MEDIUM,
    parameters=(
        TOOL,
        replace(AGENT, description="Only at this agent; empty: at all agents.", is_required=False),
        REASON,
        TTL,
    ),
    outputs=(*ORDERED, REPEATED, *HELD_OUTPUTS),
    mappings=Mappings(
        atlas=("AML.T0053", "AML.T0099", "AML.T0101", "AML.T0110"),
        ocsf="7001/1",
        openc2="deny x-holdfast:tool",
    ),
)
