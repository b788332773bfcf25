# SPDX-License-Identifier: Apache-2.0
"""list directives: what holds now."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import FieldType, Output, Parameter
from soar_actions.catalogue.common import AGENT, LIMIT
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import directive_outputs

__all__ = ["LIST_DIRECTIVES"]

LIST_DIRECTIVES: Final = reads(
    "list directives",
    "Return containment directives, newest first: all, or those that hold one agent, whatever their "
    "target.",
    parameters=(
        replace(
            AGENT, description="Only those that hold this agent; empty: all.", is_required=False
        ),
        Parameter(
            name="include_ended",
            description="Also those that were released or lapsed.",
            example="true",
            type=FieldType.BOOLEAN,
            is_required=False,
            default="false",
        ),
        LIMIT,
    ),
    outputs=(
        *directive_outputs("directives[]."),
        Output("count", "How many are listed.", 1, FieldType.NUMBER),
        Output("truncated", "Whether there are more.", False, FieldType.BOOLEAN),
    ),
)
