# SPDX-License-Identifier: Apache-2.0
"""get operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.handlers.held import IS_WAITING, operation_data, pending_data
from soar_actions.handlers.reading import has, message
from soar_actions.handlers.render import directive_data, receipt_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["get_operation"]


def get_operation(values: Mapping[str, str], _key: str) -> Steps:
    """Tell how a held action stands: PENDING while it waits, SUCCESS once it has ended, however.

    That it was refused is what was asked for, and no failure of the asking.
    """
    wait_s = int(values["wait_seconds"])
    answer = yield Call(
        "OperationService/GetOperation",
        {"name": values["operation"], **({"wait": f"{wait_s}s"} if wait_s else {})},
        patience_s=float(wait_s),
    )
    operation = message(answer, "operation")
    shown = operation_data(operation)
    state = shown["state"]
    is_waiting = state in IS_WAITING
    data: dict[str, Any] = {
        "operation": shown,
        "is_final": not is_waiting,
        "is_granted": state in ("RUNNING", "DONE", "FAILED"),
    }
    if is_waiting:
        data.update(pending_data(operation))
    if has(operation, "receipt"):
        data["receipt"] = receipt_data(message(operation, "receipt"))
    if has(operation, "directive"):
        data["directive"] = directive_data(message(operation, "directive"))
    return Result(
        status=Status.PENDING if is_waiting else Status.SUCCESS,
        summary=f"{state}: {shown['detail'] or shown['summary']}",
        data=data,
    )
