# SPDX-License-Identifier: Apache-2.0
"""get agent timeline."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.investigating import event_data
from soar_actions.handlers.listing import pages, without_empty
from soar_actions.steps import Result, Status, Steps

__all__ = ["get_agent_timeline"]


def get_agent_timeline(values: Mapping[str, str], _key: str) -> Steps:
    """Return what an agent did and what was done to it, newest first."""
    items, is_more = yield from pages(
        "InvestigationService/GetAgentTimeline",
        {
            "agent": values["agent"],
            **without_empty(
                since=values["since"], until=values["until"], session=values["session"]
            ),
        },
        "events",
        int(values["limit"]),
    )
    events = [event_data(item) for item in items]
    more = " and more" if is_more else ""
    return Result(
        status=Status.SUCCESS,
        summary=f"{len(events)} events of agent {values['agent']}{more}",
        data={"events": events, "count": len(events), "truncated": is_more},
    )
