# SPDX-License-Identifier: Apache-2.0
"""The levers on the wire: contain, release, list, receipt, watch, verify, revoke.

What one hand may not do alone answers with an operation; ``sidecar.operations`` decides which that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import grpc

from sidecar.api.v1 import (
    containment_pb2,
    containment_pb2_grpc,
    token_pb2,
    token_pb2_grpc,
    types_pb2,
)
from sidecar.containment.answers import ContainmentAnswer, ReleaseAnswer
from sidecar.containment.history import DirectiveEntry
from sidecar.containment.machine import ContainmentState
from sidecar.containment.orders import ContainmentOrder, ReleaseOrder, RevocationOrder
from sidecar.containment.service import ContainmentService
from sidecar.control.convert import (
    DIRECTIVE_STATES,
    directive_message,
    level_of,
    page_of,
    receipt_message,
    revocation_message,
    seconds_of,
    span_of,
    target_of,
    timestamp,
)
from sidecar.control.interceptor import caller
from sidecar.control.replay import ContainmentVerifier
from sidecar.errors import NotFoundError
from sidecar.identifiers import check_agent_id
from sidecar.operations.answers import Preview
from sidecar.operations.service import Operations
from sidecar.operations.values import Action, Operation

__all__ = ["ContainmentServicer", "Tell", "TokenServicer", "entry_message"]

Tell = Callable[[Operation], Awaitable[types_pb2.Operation]]
"""Makes an operation a message, with who may decide it, where, and what it gave."""

_MAX_EPOCHS: Final = 2**63


def entry_message(entry: DirectiveEntry) -> types_pb2.Directive:
    """Return a directive with how it ended, if it did."""
    message = directive_message(entry.directive)
    message.state = DIRECTIVE_STATES[entry.state]
    message.releaser = entry.releaser
    if entry.end_time_ns:
        message.end_time.CopyFrom(timestamp(entry.end_time_ns))
    return message


def _preview_message(preview: Preview) -> containment_pb2.ContainResponse:
    """Return what an order would do; an operation without a name says that it would be held."""
    response = containment_pb2.ContainResponse(
        agents=preview.agents, unknown_agents=preview.unknown
    )
    if preview.need is not None:
        response.operation.state = types_pb2.Operation.STATE_PENDING_APPROVAL
        response.operation.action = Action.CONTAIN.value
        response.operation.summary = preview.summary
        response.operation.detail = preview.need.why
    return response


class _Changes:
    """Lets any number of watchers wait for the next state; a slow one skips states in between."""

    def __init__(self, service: ContainmentService) -> None:
        self._service = service
        self._changed = asyncio.Event()
        service.add_listener(lambda _event: self._wake())

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, state: ContainmentState) -> ContainmentState:
        """Return the first state that is newer than *state*."""
        while self._service.state.epoch <= state.epoch:
            await self._changed.wait()
        return self._service.state


class ContainmentServicer(containment_pb2_grpc.ContainmentServiceServicer):
    """Answers ``ContainmentService``."""

    def __init__(
        self,
        *,
        service: ContainmentService,
        operations: Operations,
        tell: Tell,
        verifier: ContainmentVerifier,
    ) -> None:
        self._service = service
        self._operations = operations
        self._tell = tell
        self._verifier = verifier
        self._changes = _Changes(service)

    async def Contain(  # noqa: N802 - the names are the proto's
        self, request: containment_pb2.ContainRequest, context: grpc.aio.ServicerContext
    ) -> containment_pb2.ContainResponse:
        """Order a containment and return its receipt, or the operation that waits for a human."""
        order = ContainmentOrder(
            request_id=request.request_id,
            target=target_of(request.target),
            level=level_of(request.level),
            reason=request.reason,
            ttl=span_of(request.ttl) if request.HasField("ttl") else None,
            throttle_calls_per_minute=request.throttle_calls_per_minute,
        )
        preview = self._operations.preview(order, caller())
        if request.validate_only:
            return _preview_message(preview)
        outcome = await self._operations.contain(order, caller())
        if isinstance(outcome, ContainmentAnswer):
            return containment_pb2.ContainResponse(
                receipt=receipt_message(outcome.receipt),
                repeated_request=outcome.is_repeated,
                agents=outcome.receipt.receipt.agents,
                unknown_agents=preview.unknown,
            )
        operation = await self._tell(outcome)
        response = containment_pb2.ContainResponse(
            operation=operation, agents=preview.agents, unknown_agents=preview.unknown
        )
        if operation.HasField("receipt"):
            response.receipt.CopyFrom(operation.receipt)
            response.repeated_request = True
        return response

    async def Release(  # noqa: N802
        self, request: containment_pb2.ReleaseRequest, context: grpc.aio.ServicerContext
    ) -> containment_pb2.ReleaseResponse:
        """Ask for a release, and tell how it stands."""
        order = ReleaseOrder(
            request_id=request.request_id, directive_epoch=request.epoch, reason=request.reason
        )
        outcome = await self._operations.release(order, caller())
        if isinstance(outcome, ReleaseAnswer):
            return containment_pb2.ReleaseResponse(
                directive=entry_message(outcome.entry),
                epoch=outcome.epoch,
                remaining=[directive_message(directive) for directive in outcome.remaining],
            )
        operation = await self._tell(outcome)
        response = containment_pb2.ReleaseResponse(operation=operation)
        if operation.HasField("directive"):
            result = await self._operations.result(outcome)
            response.directive.CopyFrom(operation.directive)
            response.epoch = operation.epoch
            response.remaining.extend(map(directive_message, result.remaining))
        return response

    async def ListDirectives(  # noqa: N802
        self, request: containment_pb2.ListDirectivesRequest, context: grpc.aio.ServicerContext
    ) -> containment_pb2.ListDirectivesResponse:
        """List directives, newest first."""
        limit, before = page_of(request.page_size, request.page_token)
        target = target_of(request.target) if request.HasField("target") else None
        page = await self._service.list_directives(
            include_ended=request.include_ended,
            before_epoch=before or None,
            limit=limit,
            agent=check_agent_id(request.agent) if request.agent else "",
            target=target,
        )
        return containment_pb2.ListDirectivesResponse(
            directives=[entry_message(entry) for entry in page.entries],
            next_page_token=str(page.next_before_epoch or ""),
            epoch=page.epoch,
        )

    async def GetReceipt(  # noqa: N802
        self, request: containment_pb2.GetReceiptRequest, context: grpc.aio.ServicerContext
    ) -> containment_pb2.GetReceiptResponse:
        """Return a receipt as it stands now."""
        if request.epoch >= _MAX_EPOCHS:
            raise NotFoundError(f"there is no directive {request.epoch}")
        receipt = await self._service.get_receipt(request.epoch)
        return containment_pb2.GetReceiptResponse(receipt=receipt_message(receipt))

    async def WatchDirectives(  # noqa: N802
        self, request: containment_pb2.WatchDirectivesRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[containment_pb2.WatchDirectivesResponse]:
        """Stream every change, beginning with what stands."""
        state = self._service.state
        for directive in state.directives:
            yield containment_pb2.WatchDirectivesResponse(
                directive=directive_message(directive), epoch=state.epoch, initial=True
            )
        while True:
            newest = await self._changes.after(state)
            for directive in newest.directives:
                if directive.epoch not in state.contained:
                    yield containment_pb2.WatchDirectivesResponse(
                        directive=directive_message(directive), epoch=newest.epoch
                    )
            for contained in state.contained.values():
                if contained.epoch not in newest.contained:
                    page = await self._service.list_directives(
                        include_ended=True, before_epoch=contained.epoch + 1, limit=1
                    )
                    for entry in page.entries:
                        yield containment_pb2.WatchDirectivesResponse(
                            directive=entry_message(entry), epoch=newest.epoch
                        )
            state = newest

    async def VerifyContainment(  # noqa: N802
        self, request: containment_pb2.VerifyContainmentRequest, context: grpc.aio.ServicerContext
    ) -> containment_pb2.VerifyContainmentResponse:
        """Have the agent's last calls decided again."""
        return await self._verifier.verify(check_agent_id(request.agent), request.max_calls)


class TokenServicer(token_pb2_grpc.TokenServiceServicer):
    """Answers ``TokenService``."""

    def __init__(self, *, service: ContainmentService) -> None:
        self._service = service

    async def RevokeTokens(  # noqa: N802
        self, request: token_pb2.RevokeTokensRequest, context: grpc.aio.ServicerContext
    ) -> token_pb2.RevokeTokensResponse:
        """Revoke every token that matches all selectors."""
        order = RevocationOrder(
            request_id=request.request_id,
            reason=request.reason,
            jti=request.jti,
            agent=request.agent,
            session=request.session,
            issuer=request.issuer,
            issued_before_s=seconds_of(request.issued_before)
            if request.HasField("issued_before")
            else None,
        )
        outcome = await self._service.revoke_tokens(order, caller())
        return token_pb2.RevokeTokensResponse(
            revocation=revocation_message(outcome.rule),
            repeated_request=outcome.is_repeated,
            laggards=outcome.laggards,
        )

    async def ListRevocations(  # noqa: N802
        self, request: token_pb2.ListRevocationsRequest, context: grpc.aio.ServicerContext
    ) -> token_pb2.ListRevocationsResponse:
        """List revocations, newest first."""
        limit, offset = page_of(request.page_size, request.page_token)
        rules = (await self._service.list_revocations())[::-1]
        page = rules[offset : offset + limit]
        return token_pb2.ListRevocationsResponse(
            revocations=[revocation_message(rule) for rule in page],
            next_page_token=str(offset + limit) if offset + limit < len(rules) else "",
        )
