# SPDX-License-Identifier: Apache-2.0
"""An order that a human must grant first.

Pending is neither success nor failure, and nobody sleeps here: running the action again with the
same idempotency key answers how the same operation stands by then, and orders nothing twice.
"""

from __future__ import annotations

from typing import Any, Final

from sidecar.api.v1 import types_pb2
from soar_actions.errors import ActionError, ErrorClass
from soar_actions.handlers.render import time_text
from soar_actions.handlers.result import Result, Status

__all__ = ["operation_data", "pending"]

Operation = types_pb2.Operation
_ENDS: Final = {
    Operation.STATE_REFUSED: ("APPROVAL_REFUSED", "a human refused it"),
    Operation.STATE_EXPIRED: ("APPROVAL_EXPIRED", "nobody decided in time"),
    Operation.STATE_CANCELLED: ("APPROVAL_CANCELLED", "it became moot"),
}


def pending(operation: types_pb2.Operation) -> Result:
    """Return the result of an action whose *operation* has not been carried out.

    Raises:
        ActionError: It never will be: it was refused, expired, cancelled, or it failed.
    """
    match operation.state:
        case Operation.STATE_PENDING_APPROVAL:
            who = ", ".join(operation.approvers) or "an approver"
            text = f"waits for a human ({who}): {operation.summary}"
        case Operation.STATE_RUNNING:
            text = f"granted, and being carried out: {operation.summary}"
        case _:
            raise _error_of(operation)
    return Result(
        status=Status.PENDING,
        summary=text,
        data={
            "operation": operation_data(operation),
            "approval": operation.approval,
            "link": operation.url,
        },
    )


def operation_data(operation: types_pb2.Operation) -> dict[str, Any]:
    """Return *operation* as data; what it gave is data of the action itself."""
    return {
        "name": operation.name,
        "state": Operation.State.Name(operation.state).removeprefix("STATE_"),
        "action": operation.action,
        "summary": operation.summary,
        "requester": operation.requester,
        "approval": operation.approval,
        "approvers": list(operation.approvers),
        "url": operation.url,
        "fingerprint": operation.fingerprint,
        "fingerprint_words": operation.fingerprint_words,
        "create_time": time_text(operation.create_time),
        "expire_time": time_text(operation.expire_time),
        "end_time": time_text(operation.end_time),
        "detail": operation.detail,
        "epoch": operation.epoch,
    }


def _error_of(operation: types_pb2.Operation) -> ActionError:
    ended = _ENDS.get(operation.state)
    if ended is None:
        return ActionError(
            ErrorClass.FAILED,
            f"it was granted and could not be carried out: {operation.detail or operation.name}",
            reason=operation.error_reason or "FAILED",
            remedy="look at the operation, and run the action again with a fresh idempotency key",
        )
    reason, text = ended
    return ActionError(
        ErrorClass.REFUSED,
        f"nothing was done: {operation.detail or text}",
        reason=reason,
        remedy="ask again only with a fresh idempotency key, and if the approvers know why",
    )
