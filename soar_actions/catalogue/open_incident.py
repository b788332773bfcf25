# SPDX-License-Identifier: Apache-2.0
"""open incident: the standard record of an agent that went wrong."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import Mappings, Parameter
from soar_actions.catalogue.common import AGENT, NOT_FOUND, NOTE, SINCE, TECHNIQUES, UNTIL, VERDICTS
from soar_actions.catalogue.kinds import records
from soar_actions.catalogue.outputs import REPEATED, incident_outputs

__all__ = ["OPEN_INCIDENT"]

OPEN_INCIDENT: Final = records(
    "open incident",
    "Open the record of an agent incident: control gathers who the agent is, the policy in force, its "
    "calls and what it touched in the window, and what holds it.",
    reversal="update incident with close; a record is not taken back",
    parameters=(
        AGENT,
        Parameter(
            name="title",
            description="What to call it, at most 200 characters.",
            example="banking moved money after a poisoned ticket",
            pattern=r".{1,200}",
        ),
        Parameter(
            name="severity",
            description="How bad it is.",
            example="HIGH",
            is_required=False,
            default="MEDIUM",
            choices=("LOW", "MEDIUM", "HIGH", "CRITICAL"),
        ),
        SINCE,
        UNTIL,
        TECHNIQUES,
        Parameter(
            name="verdict",
            description="What people make of it so far.",
            example="THREAT",
            is_required=False,
            default="UNDETERMINED",
            choices=VERDICTS,
        ),
        NOTE,
        Parameter(
            name="external_reference",
            description="Id of the same incident elsewhere, for example this platform's case.",
            example="case-4711",
            is_required=False,
            pattern=r".{1,200}",
        ),
    ),
    outputs=(*incident_outputs("incident."), REPEATED),
    errors=(NOT_FOUND,),
    mappings=Mappings(ocsf="2005/1"),
)
