# SPDX-License-Identifier: Apache-2.0
"""Runs one action from start to end: the only way a handler is called, by adapters and CLI alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from soar_actions.catalogue.action import Action
from soar_actions.client import Connection, ControlClient
from soar_actions.errors import ActionError
from soar_actions.handlers.result import Handler, Status

__all__ = ["run_action"]


async def run_action(
    action: Action,
    handler: Handler,
    *,
    connection: Connection,
    parameters: Mapping[str, str],
    key: str,
) -> dict[str, Any]:
    """Check *parameters*, do the action, and return its result as data; never raises ActionError.

    Args:
        action: The declaration.
        handler: What does it.
        connection: Where control is.
        parameters: As the playbook gave them.
        key: The idempotency key of this playbook run.
    """
    call_time_ns = time.time_ns()
    try:
        values = action.check(parameters)
        async with ControlClient(connection) as client:
            call_time_ns = time.time_ns()
            result = await handler(client, values, key)
    except ActionError as exc:
        return {
            **_frame(action, Status.FAILED, exc.message, key, call_time_ns),
            "error": {
                "class": exc.kind.value,
                "reason": exc.reason,
                "remedy": exc.remedy,
                "retryable": exc.is_retryable,
            },
        }
    return {**_frame(action, result.status, result.summary, key, call_time_ns), **result.data}


def _frame(
    action: Action, status: Status, summary: str, key: str, call_time_ns: int
) -> dict[str, Any]:
    return {
        "apiVersion": "holdfast/v1",
        "kind": "ActionResult",
        "action": action.name,
        "status": status.value,
        "summary": summary,
        "idempotency_key": key,
        "timing": {"call_time_ns": str(call_time_ns), "ack_time_ns": str(time.time_ns())},
    }
