# SPDX-License-Identifier: Apache-2.0
"""update incident."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.errors import ActionError, ErrorClass
from soar_actions.handlers.investigating import incident_data
from soar_actions.handlers.listing import without_empty
from soar_actions.handlers.reading import required
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["update_incident"]


def update_incident(values: Mapping[str, str], key: str) -> Steps:
    """Add what people make of an incident, or close it."""
    changes = without_empty(
        verdict=f"VERDICT_{values['verdict']}" if values["verdict"] else "",
        techniques=values["techniques"].split(",") if values["techniques"] else [],
        note=values["note"],
        close=values["close"] == "true",
    )
    if not changes:
        raise ActionError(
            ErrorClass.BAD_INPUT,
            "update incident has nothing to change",
            remedy="give a verdict, techniques, a note, or close",
        )
    answer = yield Call(
        "IncidentService/UpdateIncident",
        {"requestId": key, "name": values["incident"], **changes},
    )
    incident = incident_data(required(answer, "incident"))
    return Result(
        status=Status.SUCCESS,
        summary=f"incident {incident['name']} is {incident['state'].lower()}, "
        f"verdict {incident['verdict']}",
        data={"incident": incident},
    )
