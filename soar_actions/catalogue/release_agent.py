# SPDX-License-Identifier: Apache-2.0
"""release agent: ask for the end of what holds an agent; humans must grant it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import Mappings
from soar_actions.catalogue.common import AGENT, REASON
from soar_actions.catalogue.kinds import loosens
from soar_actions.catalogue.loosening import EPOCH

__all__ = ["RELEASE_AGENT"]

RELEASE_AGENT: Final = loosens(
    "release agent",
    "End one containment directive, named by its epoch; or, named by an agent, every standing "
    "directive whose target is exactly that agent. Others that hold it stay and are listed.",
    reversal="contain agent",
    parameters=(
        EPOCH,
        replace(
            AGENT,
            description="Instead of an epoch: exact id of the agent; no wildcards.",
            is_required=False,
        ),
        REASON,
    ),
    mappings=Mappings(ocsf="7001/3", openc2="restore x-holdfast:agent"),
)
