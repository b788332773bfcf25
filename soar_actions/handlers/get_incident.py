# SPDX-License-Identifier: Apache-2.0
"""get incident."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.investigating import incident_data
from soar_actions.handlers.reading import required
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["get_incident"]


def get_incident(values: Mapping[str, str], _key: str) -> Steps:
    """Return one incident."""
    answer = yield Call("IncidentService/GetIncident", {"name": values["incident"]})
    incident = incident_data(required(answer, "incident"))
    return Result(
        status=Status.SUCCESS,
        summary=f"{incident['state']}, {incident['severity']}, verdict {incident['verdict']}: "
        f"{incident['title']}",
        data={"incident": incident},
    )
