# SPDX-License-Identifier: Apache-2.0
"""get incident: the record of an agent that went wrong."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.common import INCIDENT, NOT_FOUND
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import incident_outputs

__all__ = ["GET_INCIDENT"]

GET_INCIDENT: Final = reads(
    "get incident",
    "Return one incident as it stands.",
    parameters=(INCIDENT,),
    outputs=incident_outputs("incident."),
    errors=(NOT_FOUND,),
)
