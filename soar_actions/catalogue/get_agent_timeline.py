# SPDX-License-Identifier: Apache-2.0
"""get agent timeline: what it did, and what was done to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import FieldType, Output
from soar_actions.catalogue.common import AGENT, LIMIT, NOT_FOUND, SESSION, SINCE, UNTIL
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import event_outputs

__all__ = ["GET_AGENT_TIMELINE"]

GET_AGENT_TIMELINE: Final = reads(
    "get agent timeline",
    "Return decisions with their outcomes, containments, releases, revocations and approvals of an "
    "agent in a window of time, newest first. No argument of a call is in it.",
    parameters=(
        AGENT,
        SINCE,
        UNTIL,
        replace(SESSION, description="Only this session; empty: all.", is_required=False),
        LIMIT,
    ),
    outputs=(
        *event_outputs("events[]."),
        Output("count", "How many are listed.", 1, FieldType.NUMBER),
        Output("truncated", "Whether there are more.", False, FieldType.BOOLEAN),
    ),
    errors=(NOT_FOUND,),
)
