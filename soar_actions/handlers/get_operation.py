# SPDX-License-Identifier: Apache-2.0
"""get operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.handlers.held import HAS_ENDED, IS_WAITING, operation_data, pending_data
from soar_actions.handlers.proof import proved
from soar_actions.handlers.reading import has, malformed, message, required
from soar_actions.handlers.render import directive_data, receipt_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["get_operation"]


def get_operation(values: Mapping[str, str], _key: str) -> Steps:
    """Tell how a held action stands: PENDING while it waits, SUCCESS once it has ended, however.

    That it was refused is what was asked for, and no failure of the asking. But a containment that was
    carried out is not told better than its receipt is: PARTIAL if that is not whole.
    """
    wait_s = int(values["wait_seconds"])
    answer = yield Call(
        "OperationService/GetOperation",
        {"name": values["operation"], **({"wait": f"{wait_s}s"} if wait_s else {})},
        patience_s=float(wait_s),
    )
    operation = required(answer, "operation")
    shown = operation_data(operation)
    state = shown["state"]
    if state not in IS_WAITING | HAS_ENDED:
        raise malformed("state")
    is_waiting = state in IS_WAITING
    status = Status.PENDING if is_waiting else Status.SUCCESS
    said = f"{state}: {shown['detail'] or shown['summary']}"
    data: dict[str, Any] = {
        "operation": shown,
        "is_final": not is_waiting,
        "is_granted": state in ("RUNNING", "DONE", "FAILED"),
    }
    if is_waiting:
        data.update(pending_data(operation))
    if has(operation, "receipt"):
        receipt = receipt_data(message(operation, "receipt"))
        data["receipt"] = receipt
        if not is_waiting:
            status, lacks = proved(receipt)
            said += lacks
    elif state == "DONE" and shown["action"] == "contain":
        raise malformed("receipt")
    if has(operation, "directive"):
        data["directive"] = directive_data(message(operation, "directive"))
    return Result(status=status, summary=said, data=data)
