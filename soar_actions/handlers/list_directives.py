# SPDX-License-Identifier: Apache-2.0
"""list directives."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.listing import pages, without_empty
from soar_actions.handlers.render import directive_data
from soar_actions.steps import Result, Status, Steps

__all__ = ["list_directives"]


def list_directives(values: Mapping[str, str], _key: str) -> Steps:
    """Return what holds, newest first."""
    items, is_more = yield from pages(
        "ContainmentService/ListDirectives",
        without_empty(agent=values["agent"], includeEnded=values["include_ended"] == "true"),
        "directives",
        int(values["limit"]),
    )
    directives = [directive_data(item) for item in items]
    whose = f" hold agent {values['agent']}" if values["agent"] else ""
    return Result(
        status=Status.SUCCESS,
        summary=f"{len(directives)} directives{' and more' if is_more else ''}{whose}",
        data={"directives": directives, "count": len(directives), "truncated": is_more},
    )
