# SPDX-License-Identifier: Apache-2.0
"""Held control actions on the wire: how they stand, and what came of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import grpc

from sidecar.api.v1 import operation_pb2, operation_pb2_grpc, types_pb2
from sidecar.approvals.eligibility import shortfall
from sidecar.approvals.service import Approvals
from sidecar.control.approvals import approver_names, is_within, page_token_of
from sidecar.control.containment import entry_message
from sidecar.control.convert import operation_message, page_of, receipt_message, span_of
from sidecar.control.interceptor import caller
from sidecar.errors import ErrorReason, NotFoundError, UntrustedInputError
from sidecar.operations.questions import Question
from sidecar.operations.service import Operations
from sidecar.operations.values import Operation

__all__ = ["OperationServicer"]

_MAX_WAIT: Final = timedelta(seconds=30)
_NAME: Final = re.compile(r"operations/(apr_[0-9a-f]{32})", re.ASCII)


def _missing() -> NotFoundError:
    """The one answer for whatever the caller may not know of, and for what no operation is called."""
    return NotFoundError("there is no such operation", hint="list those that you may see")


class OperationServicer(operation_pb2_grpc.OperationServiceServicer):
    """Answers ``OperationService``; one that the caller may not see does not exist.

    Args:
        operations: The operations.
        approvals: Knows who may decide them.
        urls: From an approval's id to the page where a human decides it, or "".
    """

    def __init__(
        self, *, operations: Operations, approvals: Approvals, urls: Callable[[str], str]
    ) -> None:
        self._operations = operations
        self._approvals = approvals
        self._urls = urls

    async def RequestConfirmation(  # noqa: N802 - the names are the proto's
        self, request: operation_pb2.RequestConfirmationRequest, context: grpc.aio.ServicerContext
    ) -> operation_pb2.RequestConfirmationResponse:
        """Ask humans a question; nothing but the answer comes of it."""
        asked = Question(
            request_id=request.request_id,
            question=request.question,
            details=request.details,
            agent=request.agent,
        )
        if request.validate_only:
            return operation_pb2.RequestConfirmationResponse(operation=self._rehearsal(asked))
        operation, is_repeated = await self._operations.confirm(asked, caller())
        return operation_pb2.RequestConfirmationResponse(
            operation=await self.message(operation), repeated_request=is_repeated
        )

    async def GetOperation(  # noqa: N802
        self, request: operation_pb2.GetOperationRequest, context: grpc.aio.ServicerContext
    ) -> operation_pb2.GetOperationResponse:
        """Return one operation with what it gave, at once or as soon as it ends."""
        match = _NAME.fullmatch(request.name)
        if match is None:
            raise _missing()
        wait = span_of(request.wait) if request.HasField("wait") else timedelta()
        if not timedelta() <= wait <= _MAX_WAIT:
            raise UntrustedInputError(
                "wait is out of bounds",
                reason=ErrorReason.INVALID_ARGUMENT,
                hint=f"0 to {_MAX_WAIT.total_seconds():.0f} seconds; ask again to wait longer",
            )
        operator = caller()
        try:
            operation = await self._operations.get(match[1], operator)
            if not is_within(operation.approval.request, operator):
                raise _missing()
            operation = await self._operations.wait(
                match[1], operator, timeout_s=wait.total_seconds()
            )
        except NotFoundError as exc:
            raise _missing() from exc
        return operation_pb2.GetOperationResponse(operation=await self.message(operation))

    async def ListOperations(  # noqa: N802
        self, request: operation_pb2.ListOperationsRequest, context: grpc.aio.ServicerContext
    ) -> operation_pb2.ListOperationsResponse:
        """List operations, newest first; what each gave is told by ``GetOperation``."""
        limit, _ = page_of(request.page_size, "")
        page = await self._operations.list(
            caller(),
            pending_only=request.pending_only,
            limit=limit,
            before=page_token_of(request.page_token),
        )
        return operation_pb2.ListOperationsResponse(
            operations=[
                self._brief(operation)
                for operation in page.operations
                if is_within(operation.approval.request, caller())
            ],
            next_page_token=page.next_before or "",
        )

    async def message(self, operation: Operation) -> types_pb2.Operation:
        """Return *operation* as protobuf, with what it gave; for every answer that tells of one.

        Raises:
            EnvironmentFailure: The history cannot be read.
        """
        message = self._brief(operation)
        result = await self._operations.result(operation)
        if result.receipt is not None:
            message.receipt.CopyFrom(receipt_message(result.receipt))
        if result.entry is not None:
            message.directive.CopyFrom(entry_message(result.entry))
        return message

    def _rehearsal(self, asked: Question) -> types_pb2.Operation:
        """Return what *asked* would wait for; without a name, because nobody is asked."""
        preview = self._operations.preview_confirmation(asked, caller())
        request = preview.request
        electorate = self._approvals.electorate(request)
        missing = shortfall(request, electorate)
        return types_pb2.Operation(
            state=types_pb2.Operation.STATE_PENDING_APPROVAL,
            action=request.action,
            summary=request.summary,
            requester=request.requester,
            fingerprint=request.fingerprint,
            detail=missing or preview.need.why,
            approvers=() if missing else electorate.names,
        )

    def _brief(self, operation: Operation) -> types_pb2.Operation:
        return operation_message(
            operation,
            url=self._urls(operation.id),
            approvers=approver_names(self._approvals, operation.approval),
        )
