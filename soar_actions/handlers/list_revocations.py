# SPDX-License-Identifier: Apache-2.0
"""list revocations."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.listing import pages
from soar_actions.handlers.render import revocation_data
from soar_actions.steps import Result, Status, Steps

__all__ = ["list_revocations"]


def list_revocations(values: Mapping[str, str], _key: str) -> Steps:
    """Return the revocations that stand, newest first."""
    items, is_more = yield from pages(
        "TokenService/ListRevocations", {}, "revocations", int(values["limit"])
    )
    revocations = [revocation_data(item) for item in items]
    return Result(
        status=Status.SUCCESS,
        summary=f"{len(revocations)} revocations{' and more' if is_more else ''}",
        data={"revocations": revocations, "count": len(revocations), "truncated": is_more},
    )
