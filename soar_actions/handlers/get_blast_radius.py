# SPDX-License-Identifier: Apache-2.0
"""get blast radius."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.investigating import blast_data
from soar_actions.handlers.listing import without_empty
from soar_actions.handlers.reading import required
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["get_blast_radius"]


def get_blast_radius(values: Mapping[str, str], _key: str) -> Steps:
    """Return what an agent can have touched in a window of time."""
    answer = yield Call(
        "InvestigationService/GetBlastRadius",
        {
            "agent": values["agent"],
            **without_empty(since=values["since"], until=values["until"]),
        },
        patience_s=5.0,
    )
    blast = blast_data(required(answer, "blastRadius"))
    said = blast["statement"] or f"{len(blast['tools'])} tools of agent {values['agent']}"
    if blast["truncated"]:
        said += "; NOT all: the window holds more than was looked at"
    return Result(
        status=Status.PARTIAL if blast["truncated"] else Status.SUCCESS,
        summary=said,
        data={"blast_radius": blast},
    )
