# SPDX-License-Identifier: Apache-2.0
"""request approval."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.held import operation_data, pending
from soar_actions.handlers.listing import without_empty
from soar_actions.handlers.reading import enum, flag, required
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["request_approval"]


def request_approval(values: Mapping[str, str], key: str) -> Steps:
    """Ask humans to confirm something: PENDING until they have, SUCCESS once they granted it."""
    answer = yield Call(
        "OperationService/RequestConfirmation",
        {
            "requestId": key,
            "question": values["question"],
            **without_empty(details=values["details"], agent=values["agent"]),
        },
    )
    operation = required(answer, "operation")
    is_repeated = flag(answer, "repeatedRequest")
    if enum(operation, "state", "STATE_") != "DONE":
        waits = pending(operation)
        return Result(waits.status, waits.summary, {**waits.data, "repeated_request": is_repeated})
    data = operation_data(operation)
    return Result(
        status=Status.SUCCESS,
        summary=f"granted: {data['detail'] or data['summary']}",
        data={"operation": data, "repeated_request": is_repeated},
    )
