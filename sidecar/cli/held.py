# SPDX-License-Identifier: Apache-2.0
"""An order that a human must grant first: who decides, how to watch it, and what came of it.

Held is neither done nor failed. It has an exit code of its own (4), and no command waits unless it
was told to with ``--wait``.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from sidecar.api.v1 import operation_pb2, types_pb2
from sidecar.cli.approval_views import words_of
from sidecar.cli.client import ControlClient
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page
from sidecar.cli.views import (
    directive_data,
    enum_name,
    receipt_data,
    remaining_text,
    show_directives,
    show_receipt,
    time_text,
)

__all__ = [
    "has_ended",
    "operation_data",
    "operation_exit",
    "rehearsal",
    "show_operation",
    "until_ended",
]

Operation = types_pb2.Operation
_MAX_POLL_S: Final = 30.0
"""The longest that control lets one question wait."""
_OPEN: Final = {Operation.STATE_PENDING_APPROVAL, Operation.STATE_RUNNING}
_EXITS: Final = {
    Operation.STATE_PENDING_APPROVAL: Exit.HELD,
    Operation.STATE_RUNNING: Exit.HELD,
    Operation.STATE_DONE: Exit.OK,
    Operation.STATE_REFUSED: Exit.DENIED,
    Operation.STATE_EXPIRED: Exit.DENIED,
    Operation.STATE_CANCELLED: Exit.DENIED,
}


def has_ended(operation: types_pb2.Operation) -> bool:
    """Return whether nothing more will come of *operation*."""
    return operation.state not in _OPEN


def rehearsal(operation: types_pb2.Operation) -> str:
    """Return what a dry run says of an *operation* that it did not ask for."""
    why = f": {operation.detail}" if operation.detail else ""
    return f"it would be held until another human grants it{why}"


def operation_exit(operation: types_pb2.Operation) -> Exit:
    """Return the exit code that says how *operation* stands."""
    return _EXITS.get(operation.state, Exit.FAILURE)


async def until_ended(
    client: ControlClient, operation: types_pb2.Operation, wait: timedelta | None
) -> types_pb2.Operation:
    """Return *operation* as it ended, or as it stands when *wait* is over.

    Raises:
        HoldfastError: Control could not be asked.
    """
    now = asyncio.get_running_loop().time
    end = now() + (wait.total_seconds() if wait else 0.0)
    while not has_ended(operation) and (left_s := end - now()) > 0:
        poll_s = min(left_s, _MAX_POLL_S)
        request = operation_pb2.GetOperationRequest(name=operation.name)
        request.wait.FromTimedelta(timedelta(seconds=poll_s))
        answer = await client.ask(client.operations.GetOperation, request, longer_s=poll_s)
        operation = answer.operation
    return operation


def operation_data(operation: types_pb2.Operation) -> dict[str, Any]:
    """Return *operation* as data."""
    has_receipt, has_directive = operation.HasField("receipt"), operation.HasField("directive")
    return {
        "name": operation.name,
        "state": enum_name(Operation.State, operation.state, "STATE_"),
        "action": operation.action,
        "summary": operation.summary,
        "request_id": operation.request_id,
        "requester": operation.requester,
        "approval": operation.approval or None,
        "approvers": list(operation.approvers),
        "url": operation.url or None,
        "fingerprint": operation.fingerprint,
        "fingerprint_words": words_of(operation.fingerprint),
        "create_time": time_text(operation.create_time),
        "expire_time": time_text(operation.expire_time),
        "end_time": time_text(operation.end_time),
        "detail": operation.detail or None,
        "error_reason": operation.error_reason or None,
        "receipt": receipt_data(operation.receipt) if has_receipt else None,
        "directive": directive_data(operation.directive) if has_directive else None,
        "policy_digest": operation.policy_digest or None,
        "epoch": operation.epoch or None,
    }


def show_operation(page: Page, operation: types_pb2.Operation, *, now_ns: int) -> None:
    """Show *operation*: what waits and for whom, or how it ended and what it gave."""
    state = enum_name(Operation.State, operation.state, "STATE_")
    mark = {Exit.OK: True, Exit.HELD: None}.get(operation_exit(operation), False)
    page.mark(mark, _headline(operation, state))
    rows: list[tuple[str, object]] = [
        ("operation", operation.name),
        ("action", f"{operation.action}: {operation.summary}"),
        ("asked by", f"{operation.requester} at {time_text(operation.create_time) or '-'}"),
        ("fingerprint", words_of(operation.fingerprint)),
    ]
    if operation.state == Operation.STATE_PENDING_APPROVAL:
        left = remaining_text(operation.expire_time, now_ns=now_ns)
        rows += [
            ("may decide", ", ".join(operation.approvers) or "see the approval"),
            ("until", f"{time_text(operation.expire_time) or '-'} ({left})"),
            ("decide at", operation.url or "control has no console"),
            ("or with", f"holdfast approvals show {operation.approval}"),
        ]
    if not has_ended(operation):
        rows.append(("watch", f"holdfast operations show {operation.name} --wait 30m"))
    if operation.detail:
        rows.append(("detail", operation.detail))
    if operation.error_reason:
        rows.append(("failure", operation.error_reason))
    if operation.HasField("end_time"):
        rows.append(("ended", time_text(operation.end_time) or "-"))
    if operation.epoch:
        rows.append(("epoch", operation.epoch))
    if operation.policy_digest:
        rows.append(("policy", operation.policy_digest))
    page.fields(rows)
    if operation.HasField("receipt"):
        show_receipt(page, operation.receipt)
    if operation.HasField("directive"):
        show_directives(page, [operation.directive])


def _headline(operation: types_pb2.Operation, state: str) -> str:
    match operation.state:
        case Operation.STATE_PENDING_APPROVAL:
            return "held: nothing is done until another human grants it"
        case Operation.STATE_RUNNING:
            return "granted, and being carried out"
        case Operation.STATE_DONE if operation.action == "confirm":
            return "granted: the answer is yes"
        case Operation.STATE_REFUSED if operation.action == "confirm":
            return "refused: the answer is no"
        case Operation.STATE_DONE:
            return "granted and carried out"
        case Operation.STATE_REFUSED:
            return "refused: nothing was done"
        case Operation.STATE_EXPIRED:
            return "nobody decided in time: nothing was done"
        case Operation.STATE_CANCELLED:
            return "cancelled: nothing was done"
        case _:
            return f"{state}: granted, and could not be carried out"
