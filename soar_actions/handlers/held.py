# SPDX-License-Identifier: Apache-2.0
"""An order that a human must grant first.

Pending is neither success nor failure, and nobody sleeps here: running the action again with the
same idempotency key answers how the same operation stands by then, and orders nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from soar_actions.errors import ActionError, ErrorClass
from soar_actions.handlers.reading import enum, number, text, texts
from soar_actions.steps import Result, Status

__all__ = ["HAS_ENDED", "IS_WAITING", "ended_badly", "operation_data", "pending", "pending_data"]

IS_WAITING: Final = frozenset({"PENDING_APPROVAL", "RUNNING"})
"""States of an operation that has not ended."""
_ENDS: Final = {
    "REFUSED": ("APPROVAL_REFUSED", "a human refused it"),
    "EXPIRED": ("APPROVAL_EXPIRED", "nobody decided in time"),
    "CANCELLED": ("APPROVAL_CANCELLED", "it became moot"),
}
HAS_ENDED: Final = frozenset({"DONE", "FAILED", *_ENDS})
"""States of one that has."""


def pending(operation: Mapping[str, Any]) -> Result:
    """Return the result of an action whose *operation* has not been carried out.

    Raises:
        ActionError: It never will be: it was refused, expired, cancelled, or it failed.
    """
    data = operation_data(operation)
    if data["state"] == "PENDING_APPROVAL":
        who = ", ".join(data["approvers"]) or "an approver"
        said = f"waits for a human ({who}): {data['summary']}"
    elif data["state"] == "RUNNING":
        said = f"granted, and being carried out: {data['summary']}"
    else:
        raise ended_badly(operation)
    return Result(status=Status.PENDING, summary=said, data=pending_data(operation))


def pending_data(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every held action answers with."""
    return {
        "operation": operation_data(operation),
        "approval": text(operation, "approval"),
        "link": text(operation, "url"),
    }


def operation_data(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return *operation* as data; what it gave is data of the action itself."""
    return {
        "name": text(operation, "name"),
        "state": enum(operation, "state", "STATE_"),
        "action": text(operation, "action"),
        "summary": text(operation, "summary"),
        "requester": text(operation, "requester"),
        "approval": text(operation, "approval"),
        "approvers": texts(operation, "approvers"),
        "url": text(operation, "url"),
        "fingerprint": text(operation, "fingerprint"),
        "fingerprint_words": text(operation, "fingerprintWords"),
        "create_time": text(operation, "createTime"),
        "expire_time": text(operation, "expireTime"),
        "end_time": text(operation, "endTime"),
        "detail": text(operation, "detail"),
        "error_reason": text(operation, "errorReason"),
        "epoch": number(operation, "epoch"),
    }


def ended_badly(operation: Mapping[str, Any]) -> ActionError:
    """Return why an *operation* that has ended was not carried out."""
    data = operation_data(operation)
    ended = _ENDS.get(data["state"])
    if ended is None:
        return ActionError(
            ErrorClass.FAILED,
            f"it was granted and could not be carried out: {data['detail'] or data['name']}",
            reason=data["error_reason"] or "FAILED",
            remedy="look at the operation, and run the action again with a fresh idempotency key",
        )
    reason, said = ended
    return ActionError(
        ErrorClass.REFUSED,
        f"nothing was done: {data['detail'] or said}",
        reason=reason,
        remedy="ask again only with a fresh idempotency key, and if the approvers know why",
    )
