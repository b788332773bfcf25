# SPDX-License-Identifier: Apache-2.0
"""contain session: hold one session and let the agent's others go on."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import Mappings
from soar_actions.catalogue.common import AGENT, REASON, SESSION, TTL
from soar_actions.catalogue.contain_agent import AFTER_KILL, LEVEL
from soar_actions.catalogue.kinds import tightens
from soar_actions.catalogue.outputs import HELD_OUTPUTS, ORDERED, REPEATED

__all__ = ["CONTAIN_SESSION"]

CONTAIN_SESSION: Final = tightens(
    "contain session",
    "Hold one session of an agent at a containment level; its other sessions go on. A session is named "
    "by the agent itself: against an agent that may lie, contain the agent.",
    reversal=f"release agent by epoch, granted by a human; {AFTER_KILL}",
    parameters=(AGENT, SESSION, LEVEL, REASON, TTL),
    outputs=(*ORDERED, REPEATED, *HELD_OUTPUTS),
    mappings=Mappings(
        atlas=("AML.T0051", "AML.T0080", "AML.T0093"),
        d3fend="D3-ST",
        ocsf="7001/1",
        openc2="contain x-holdfast:session",
    ),
)
