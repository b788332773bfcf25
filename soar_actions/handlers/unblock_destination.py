# SPDX-License-Identifier: Apache-2.0
"""unblock destination."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.releasing import release, release_matching, require_one
from soar_actions.steps import Steps

__all__ = ["unblock_destination"]


def unblock_destination(values: Mapping[str, str], key: str) -> Steps:
    """Ask for the end of one directive, or of all that block exactly this destination."""
    destination = values["destination"]
    require_one("unblock destination", epoch=values["epoch"], destination=destination)
    if values["epoch"]:
        return release(values["epoch"], key, values["reason"])
    return release_matching(
        {"destination": destination}, key, values["reason"], what=f"destination {destination}"
    )
