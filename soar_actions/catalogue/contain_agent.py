# SPDX-License-Identifier: Apache-2.0
"""contain agent: hold one agent at a level, and prove it."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import Mappings, Parameter
from soar_actions.catalogue.common import AGENT, LEVELS, REASON, TTL
from soar_actions.catalogue.kinds import tightens
from soar_actions.catalogue.outputs import HELD_OUTPUTS, ORDERED, REPEATED

__all__ = ["CONTAIN_AGENT"]

LEVEL: Final = Parameter(
    name="level",
    description="How tightly: OBSERVE marks calls, THROTTLE slows them, HOLD asks a human for each, "
    "READ_ONLY lets only reading tools pass, FREEZE denies all and keeps the process for forensics, "
    "KILL denies all, revokes the agent's tokens and stops its runtime.",
    example="KILL",
    is_required=False,
    default="FREEZE",
    choices=LEVELS,
)
AFTER_KILL: Final = "tokens that a KILL revoked and runtimes that it stopped do not come back"
CONTAIN_AGENT: Final = tightens(
    "contain agent",
    "Hold an agent at a containment level. Bites on its very next tool call; the answer is a signed "
    "receipt that lists every gate.",
    reversal=f"release agent, granted by a human; {AFTER_KILL}",
    parameters=(AGENT, LEVEL, REASON, TTL),
    outputs=(*ORDERED, REPEATED, *HELD_OUTPUTS),
    mappings=Mappings(
        attack=("T1041", "T1485", "T1567"),
        atlas=("AML.T0053", "AML.T0086", "AML.T0101", "AML.T0108"),
        d3fend="D3-PT",
        ocsf="7001/1",
        openc2="contain x-holdfast:agent",
    ),
)
