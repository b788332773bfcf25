# SPDX-License-Identifier: Apache-2.0
"""block destination: deny every call that would reach a host."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import Mappings, Tier
from soar_actions.catalogue.common import DESTINATION, REASON, TTL
from soar_actions.catalogue.kinds import tightens
from soar_actions.catalogue.outputs import HELD_OUTPUTS, ORDERED, REPEATED

__all__ = ["BLOCK_DESTINATION"]

BLOCK_DESTINATION: Final = tightens(
    "block destination",
    "Deny every tool call of every agent that would reach a host, or a domain with everything below "
    "it. Bites on the very next call.",
    reversal="unblock destination, granted by a human",
    tier=Tier.MEDIUM,
    parameters=(DESTINATION, REASON, TTL),
    outputs=(*ORDERED, REPEATED, *HELD_OUTPUTS),
    mappings=Mappings(
        attack=("T1041", "T1048", "T1567"),
        atlas=("AML.T0025", "AML.T0086", "AML.T0108"),
        d3fend="D3-OTF",
        ocsf="7004/1",
        openc2="deny domain_name",
    ),
)
