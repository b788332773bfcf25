# SPDX-License-Identifier: Apache-2.0
"""request approval: ask humans to confirm a step of a playbook."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import Approval, FieldType, Parameter
from soar_actions.catalogue.common import AGENT
from soar_actions.catalogue.kinds import records
from soar_actions.catalogue.outputs import HELD_OUTPUTS, REPEATED

__all__ = ["REQUEST_APPROVAL"]

REQUEST_APPROVAL: Final = records(
    "request approval",
    "Ask humans to grant or refuse something, in words: a step of a playbook that no other action "
    "stands for. Nothing but the answer comes of it. They are asked by control, on the channels that "
    "it has, and the SOAR credential cannot answer for them.",
    reversal="none: it lapses by itself",
    approval=Approval.ALWAYS,
    approval_note="Always: that is what it is for. The status is PENDING until humans have decided.",
    parameters=(
        Parameter(
            name="question",
            description="What humans are asked, as one sentence, at most 300 characters.",
            example="Eradicate agent banking, although emma is on leave?",
            pattern=r".{1,300}",
        ),
        Parameter(
            name="details",
            description="What they should know before they answer, at most 4,000 characters.",
            example="Alert 4711: 12 transfers to an unknown account.",
            type=FieldType.LONG_TEXT,
            is_required=False,
        ),
        replace(AGENT, description="The agent it is about, if it is about one.", is_required=False),
    ),
    outputs=(*HELD_OUTPUTS, REPEATED),
)
