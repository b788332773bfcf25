# SPDX-License-Identifier: Apache-2.0
"""get approval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from soar_actions.handlers.approvals import approval_data
from soar_actions.handlers.reading import required
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["get_approval"]

_GRANTED: Final = frozenset({"GRANTED", "CONSUMED"})
_NOT_GRANTED: Final = frozenset({"REFUSED", "EXPIRED", "CANCELLED"})


def get_approval(values: Mapping[str, str], _key: str) -> Steps:
    """Return one request for a human decision."""
    answer = yield Call("ApprovalService/GetApproval", {"name": values["approval"]})
    approval = approval_data(required(answer, "approval"))
    return Result(
        status=Status.SUCCESS,
        summary=f"{approval['state']}: {approval['detail'] or approval['summary']}",
        data={
            "approval": approval,
            "is_final": approval["state"] in _GRANTED | _NOT_GRANTED,
            "is_granted": approval["state"] in _GRANTED,
        },
    )
