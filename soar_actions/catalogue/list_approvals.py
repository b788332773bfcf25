# SPDX-License-Identifier: Apache-2.0
"""list approvals: what waits for a human."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import FieldType, Output, Parameter
from soar_actions.catalogue.common import AGENT, LIMIT
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import approval_outputs

__all__ = ["LIST_APPROVALS"]

LIST_APPROVALS: Final = reads(
    "list approvals",
    "Return requests for human decisions, newest first. Arguments of tool calls are not shown.",
    parameters=(
        replace(AGENT, description="Only this agent's; empty: all.", is_required=False),
        Parameter(
            name="pending_only",
            description="Only those that wait for a human.",
            example="true",
            type=FieldType.BOOLEAN,
            is_required=False,
            default="true",
        ),
        LIMIT,
    ),
    outputs=(
        *approval_outputs("approvals[]."),
        Output("pending_count", "How many of them wait.", 1, FieldType.NUMBER),
        Output("count", "How many are listed.", 1, FieldType.NUMBER),
        Output("truncated", "Whether there are more.", False, FieldType.BOOLEAN),
    ),
)
