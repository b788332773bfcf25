# SPDX-License-Identifier: Apache-2.0
"""update incident: add what people make of it, or close it."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Mappings, Parameter
from soar_actions.catalogue.common import INCIDENT, NOT_FOUND, NOTE, TECHNIQUES, VERDICTS
from soar_actions.catalogue.kinds import records
from soar_actions.catalogue.outputs import incident_outputs

__all__ = ["UPDATE_INCIDENT"]

UPDATE_INCIDENT: Final = records(
    "update incident",
    "Add a verdict, techniques or a note to an incident, or close it. What control gathered when it "
    "was opened does not change.",
    reversal="none: what was added stays; add a note",
    parameters=(
        INCIDENT,
        Parameter(
            name="verdict",
            description="What people make of it; empty: as it is.",
            example="MISCONFIGURATION",
            is_required=False,
            choices=VERDICTS,
        ),
        TECHNIQUES,
        NOTE,
        Parameter(
            name="close",
            description="Close it; a closed incident takes notes and nothing else.",
            example="true",
            type=FieldType.BOOLEAN,
            is_required=False,
            default="false",
        ),
    ),
    outputs=incident_outputs("incident."),
    errors=(NOT_FOUND,),
    mappings=Mappings(ocsf="2005/2"),
)
