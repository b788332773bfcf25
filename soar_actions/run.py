# SPDX-License-Identifier: Apache-2.0
"""Runs one action from start to end: the only way a handler is driven, by every platform.

Laws:

1. Nothing that a playbook, its settings or control can cause leaves here as an exception: it is a
   result with status ``FAILED`` and an ``error`` that says what to do.
2. Whatever is not what it must be is a failure, never a success.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import Action
from soar_actions.client.connection import Connection
from soar_actions.client.http import HttpTransport
from soar_actions.client.transport import Transport
from soar_actions.errors import ActionError, ErrorClass, clean_text
from soar_actions.handlers import HANDLERS
from soar_actions.steps import Handler, Result, Status

__all__ = ["ACTIONS", "HANDLERS", "failure", "perform", "run_action"]

_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{8,128}")


def perform(
    slug: str, *, asset: Mapping[str, str], parameters: Mapping[str, str], key: str
) -> dict[str, Any]:
    """Do the action *slug* over HTTPS and return its result as data.

    Args:
        slug: Of the catalogue: ``contain-agent``.
        asset: Where control is and with which credential (``client.connection``).
        parameters: As the playbook gave them, all of them text.
        key: Idempotency key made from the platform's run; a parameter ``idempotency_key`` wins.
    """
    action = ACTIONS.get(slug)
    try:
        if action is None:
            raise ActionError(
                ErrorClass.BAD_INPUT,
                f"there is no action {slug!r}",
                reason="NO_SUCH_ACTION",
                remedy=f"there are: {', '.join(ACTIONS)}",
            )
        connection = Connection.from_asset(asset)
    except ActionError as exc:
        return failure(exc, action=slug.replace("-", " "), key=key)
    with HttpTransport(connection, total_s=action.deadline_s) as transport:
        return run_action(
            action, HANDLERS[slug], transport=transport, parameters=parameters, key=key
        )


def run_action(
    action: Action,
    handler: Handler,
    *,
    transport: Transport,
    parameters: Mapping[str, str],
    key: str,
) -> dict[str, Any]:
    """Check *parameters*, do the action, and return its result as data; never raises ActionError.

    Args:
        action: The declaration.
        handler: What does it.
        transport: The way to control.
        parameters: As the playbook gave them.
        key: The idempotency key of this playbook run, unless the playbook gave one itself in the
            parameter ``idempotency_key``.
    """
    call_time_ns = time.time_ns()
    try:
        values = action.check(parameters)
        key = values.get("idempotency_key") or key
        if not action.is_read_only and not _KEY.fullmatch(key):
            raise ActionError(
                ErrorClass.BAD_INPUT,
                "the idempotency key is missing or not of the form that it must have",
                reason="BAD_IDEMPOTENCY_KEY",
                remedy="8 to 128 characters of A-Z a-z 0-9 . _ : - which stay the same whenever "
                "this step of this playbook run is tried again",
            )
        call_time_ns = time.time_ns()
        result = _drive(handler, values, key, transport)
    except ActionError as exc:
        return failure(exc, action=action.name, key=key, call_time_ns=call_time_ns)
    summary = clean_text(result.summary)
    return {**_frame(action.name, result.status, summary, key, call_time_ns), **result.data}


def failure(
    error: ActionError, *, action: str, key: str, call_time_ns: int | None = None
) -> dict[str, Any]:
    """Return the result of an *action* that failed with *error*.

    A retry may be sent as long as the answer is the same by then: the key says that it is.
    """
    return {
        **_frame(
            clean_text(action, 100),
            Status.FAILED,
            error.message,
            clean_text(key, 200),
            time.time_ns() if call_time_ns is None else call_time_ns,
        ),
        "error": {
            "class": error.kind.value,
            "reason": error.reason,
            "remedy": error.remedy,
            "retryable": error.is_retryable,
        },
    }


def _drive(handler: Handler, values: Mapping[str, str], key: str, transport: Transport) -> Result:
    steps = handler(values, key)
    try:
        call = next(steps)
        while True:
            try:
                answer = transport.send(call)
            except ActionError as exc:
                call = steps.throw(exc)
            else:
                call = steps.send(answer)
    except StopIteration as stop:
        result = stop.value
        if not isinstance(result, Result):
            raise TypeError("a handler returns a Result") from None
        return result


def _frame(
    action: str, status: Status, summary: str, key: str, call_time_ns: int
) -> dict[str, Any]:
    return {
        "apiVersion": "holdfast/v1",
        "kind": "ActionResult",
        "action": action,
        "status": status.value,
        "summary": summary,
        "idempotency_key": key,
        "timing": {"call_time_ns": str(call_time_ns), "ack_time_ns": str(time.time_ns())},
    }
