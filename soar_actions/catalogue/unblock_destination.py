# SPDX-License-Identifier: Apache-2.0
"""unblock destination: ask for the end of what blocks a host; humans must grant it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import Mappings
from soar_actions.catalogue.common import DESTINATION, REASON
from soar_actions.catalogue.kinds import loosens
from soar_actions.catalogue.loosening import EPOCH

__all__ = ["UNBLOCK_DESTINATION"]

UNBLOCK_DESTINATION: Final = loosens(
    "unblock destination",
    "End one directive, named by its epoch; or, named by a destination, every standing directive that "
    "blocks exactly this one.",
    reversal="block destination",
    parameters=(
        EPOCH,
        replace(
            DESTINATION,
            description="Instead of an epoch: the destination, as it was blocked.",
            is_required=False,
        ),
        REASON,
    ),
    mappings=Mappings(ocsf="7004/3", openc2="allow domain_name"),
)
