# SPDX-License-Identifier: Apache-2.0
"""open incident."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.investigating import incident_data
from soar_actions.handlers.listing import without_empty
from soar_actions.handlers.reading import flag, required
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["open_incident"]


def open_incident(values: Mapping[str, str], key: str) -> Steps:
    """Open the record of an agent that went wrong."""
    answer = yield Call(
        "IncidentService/OpenIncident",
        {
            "requestId": key,
            "agent": values["agent"],
            "title": values["title"],
            "severity": values["severity"],
            "verdict": f"VERDICT_{values['verdict']}",
            **without_empty(
                since=values["since"],
                until=values["until"],
                techniques=values["techniques"].split(",") if values["techniques"] else [],
                note=values["note"],
                externalReference=values["external_reference"],
            ),
        },
        patience_s=5.0,
    )
    incident = incident_data(required(answer, "incident"))
    return Result(
        status=Status.SUCCESS,
        summary=f"incident {incident['name']} is open: {incident['title']}",
        data={"incident": incident, "repeated_request": flag(answer, "repeatedRequest")},
    )
