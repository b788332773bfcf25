# SPDX-License-Identifier: Apache-2.0
"""list approvals."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.approvals import approval_data
from soar_actions.handlers.listing import pages, without_empty
from soar_actions.steps import Result, Status, Steps

__all__ = ["list_approvals"]


def list_approvals(values: Mapping[str, str], _key: str) -> Steps:
    """Return requests for human decisions, newest first."""
    items, is_more = yield from pages(
        "ApprovalService/ListApprovals",
        without_empty(agent=values["agent"], pendingOnly=values["pending_only"] == "true"),
        "approvals",
        int(values["limit"]),
    )
    approvals = [approval_data(item) for item in items]
    waiting = sum(approval["state"] == "PENDING" for approval in approvals)
    return Result(
        status=Status.SUCCESS,
        summary=f"{len(approvals)} approvals{' and more' if is_more else ''}, {waiting} wait",
        data={
            "approvals": approvals,
            "count": len(approvals),
            "pending_count": waiting,
            "truncated": is_more,
        },
    )
