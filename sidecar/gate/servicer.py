# SPDX-License-Identifier: Apache-2.0
"""Answers the guard service for one agent.

The agent is a constructor argument, set by the server from the socket it listens on; whatever a
client writes into messages or metadata about who it is has no effect. A denial is an OK answer. An
RPC error here means that the gate could not decide, and the SDK turns it into a local denial.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, TypeAlias

import grpc
import structlog
from google.protobuf import duration_pb2

from sidecar.api.v1 import guard_pb2
from sidecar.authorize.draft import Draft
from sidecar.authorize.pipeline import Pipeline
from sidecar.clock import NS_PER_SECOND
from sidecar.gate.approvals import ApprovalDesk, approval_id
from sidecar.gate.batching import Outbox
from sidecar.gate.convert import MAX_BATCH, Received, decision_message, decoder, question_of
from sidecar.gate.outcomes import OutcomeService
from sidecar.gate.watch import ContainmentWatch
from sidecar.model import AgentId, Reason, ReasonCode

__all__ = ["SERVICE", "GuardServicer"]

SERVICE: Final = "sidecar.api.v1.GuardService"
_MAX_TASKS: Final = 64
"""Batches of one stream that wait for the disk or for DNS; beyond, nothing more is read."""
_MAX_WAIT_S: Final = 30.0
_IDENTITY_CLAIMS: Final = ("x-agent-id", "x-forwarded-", "x-holdfast-")

log = structlog.get_logger("holdfast.gate")

Context: TypeAlias = grpc.aio.ServicerContext
_BATCH_TOO_LARGE = f"a message may hold at most {MAX_BATCH} items"


class GuardServicer:
    """The guard service on one agent's socket."""

    def __init__(
        self,
        *,
        agent: AgentId,
        pipeline: Pipeline,
        outcomes: OutcomeService,
        watch: ContainmentWatch,
        approvals: ApprovalDesk,
        max_in_flight: int,
    ) -> None:
        self._agent = agent
        self._pipeline = pipeline
        self._outcomes = outcomes
        self._watch = watch
        self._approvals = approvals
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._claims = 0

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler that serves exactly the guard service's methods."""
        unary = grpc.unary_unary_rpc_method_handler
        stream = grpc.stream_stream_rpc_method_handler
        methods: Mapping[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Authorize": unary(
                self.authorize,
                request_deserializer=decoder(guard_pb2.AuthorizeRequest),
                response_serializer=guard_pb2.AuthorizeResponse.SerializeToString,
            ),
            "AuthorizeStream": stream(
                self.authorize_stream,
                request_deserializer=decoder(guard_pb2.AuthorizeStreamRequest),
                response_serializer=guard_pb2.AuthorizeStreamResponse.SerializeToString,
            ),
            "Log": unary(
                self.log,
                request_deserializer=decoder(guard_pb2.LogRequest),
                response_serializer=guard_pb2.LogResponse.SerializeToString,
            ),
            "LogStream": stream(
                self.log_stream,
                request_deserializer=decoder(guard_pb2.LogStreamRequest),
                response_serializer=guard_pb2.LogStreamResponse.SerializeToString,
            ),
            "WatchContainment": grpc.unary_stream_rpc_method_handler(
                self.watch_containment,
                request_deserializer=decoder(guard_pb2.WatchContainmentRequest),
                response_serializer=guard_pb2.WatchContainmentResponse.SerializeToString,
            ),
            "WaitApproval": unary(
                self.wait_approval,
                request_deserializer=decoder(guard_pb2.WaitApprovalRequest),
                response_serializer=guard_pb2.WaitApprovalResponse.SerializeToString,
            ),
            "CancelApproval": unary(
                self.cancel_approval,
                request_deserializer=decoder(guard_pb2.CancelApprovalRequest),
                response_serializer=guard_pb2.CancelApprovalResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    # -- Authorize ----------------------------------------------------------------------------

    async def authorize(self, received: Received, context: Context) -> guard_pb2.AuthorizeResponse:
        """Decide one call."""
        self._note_claims(context)
        request = received.message
        if request is None:
            assert received.problem is not None  # noqa: S101 - the decoder's contract
            decision = self._pipeline.refuse(self._agent, received.problem)
        elif self._in_flight >= self._max_in_flight:
            decision = self._pipeline.refuse(self._agent, _overload(self._max_in_flight))
        else:
            assert isinstance(request, guard_pb2.AuthorizeRequest)  # noqa: S101 - the decoder's type
            self._in_flight += 1
            try:
                decision = await self._pipeline.authorize(question_of(self._agent, request))
            finally:
                self._in_flight -= 1
        return guard_pb2.AuthorizeResponse(decision=decision_message(decision))

    async def authorize_stream(self, _requests: AsyncIterator[Received], context: Context) -> None:
        """Decide whatever comes, and answer whatever is ready, until the caller hangs up."""
        self._note_claims(context)
        outbox = Outbox(context, lambda items: guard_pb2.AuthorizeStreamResponse(items=items))
        async with outbox:
            while True:
                received = await context.read()
                if received is grpc.aio.EOF:
                    break
                await outbox.has_room(_MAX_TASKS)
                await self._decide_batch(received, outbox, context)

    async def _decide_batch(self, received: Received, outbox: Outbox, context: Context) -> None:
        batch = received.message
        if batch is None:
            assert received.problem is not None  # noqa: S101 - the decoder's contract
            # Which items it held can't be told from bytes we do not trust, so the stream ends.
            self._pipeline.refuse(self._agent, received.problem)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, received.problem.text)
        assert isinstance(batch, guard_pb2.AuthorizeStreamRequest)  # noqa: S101 - decoder's type
        if len(batch.items) > MAX_BATCH:
            self._pipeline.refuse(self._agent, Reason(ReasonCode.TOO_LARGE, _BATCH_TOO_LARGE))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _BATCH_TOO_LARGE)
        item_type = guard_pb2.AuthorizeStreamResponse.Item
        pipeline, agent = self._pipeline, self._agent
        waiting: list[tuple[int, Draft]] = []
        for item in batch.items:
            draft = pipeline.begin(question_of(agent, item.request))
            decision = pipeline.finish(draft)
            if decision is None:
                waiting.append((item.id, draft))
            else:
                outbox.put(item_type(id=item.id, decision=decision_message(decision)))
        if waiting:
            outbox.start(self._settle_batch(waiting, outbox))
        await outbox.flush()

    async def _settle_batch(self, waiting: list[tuple[int, Draft]], outbox: Outbox) -> None:
        """Wait once for everything in *waiting* that only needs its record to be durable."""
        item_type = guard_pb2.AuthorizeStreamResponse.Item
        plain = [(id_, draft) for id_, draft in waiting if not draft.is_open]
        for id_, draft in waiting:
            if draft.is_open:
                outbox.start(self._settle_one(id_, draft, outbox))
        if not plain:
            return
        await self._pipeline.wait_durable([draft for _, draft in plain if draft.must_wait])
        for id_, draft in plain:
            decision = self._pipeline.finish(draft) or await self._pipeline.settle(draft)
            outbox.put(item_type(id=id_, decision=decision_message(decision)))
        await outbox.flush()

    async def _settle_one(self, id_: int, draft: Draft, outbox: Outbox) -> None:
        decision = await self._pipeline.settle(draft)
        outbox.put(
            guard_pb2.AuthorizeStreamResponse.Item(id=id_, decision=decision_message(decision))
        )
        await outbox.flush()

    # -- Log ----------------------------------------------------------------------------------

    async def log(self, received: Received, context: Context) -> guard_pb2.LogResponse:
        """Record one outcome durably."""
        request = received.message
        if request is None:
            assert received.problem is not None  # noqa: S101 - the decoder's contract
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, received.problem.text)
        assert isinstance(request, guard_pb2.LogRequest)  # noqa: S101 - the decoder's type
        result = await self._outcomes.report(self._agent, [request.outcome])
        return await self._first(result, context)

    async def _first(self, results: list[Any], context: Context) -> guard_pb2.LogResponse:
        result = results[0]
        if result.refusal is not None:
            await context.abort(result.status, result.refusal.text)
        return guard_pb2.LogResponse(log_index=result.log_index, mark=result.mark)

    async def log_stream(self, _requests: AsyncIterator[Received], context: Context) -> None:
        """Record whatever comes, confirm whatever is durable."""
        outbox = Outbox(context, lambda items: guard_pb2.LogStreamResponse(items=items))
        async with outbox:
            while True:
                received = await context.read()
                if received is grpc.aio.EOF:
                    break
                batch = received.message
                if batch is None or len(batch.items) > MAX_BATCH:
                    text = received.problem.text if received.problem else _BATCH_TOO_LARGE
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
                await outbox.has_room(_MAX_TASKS)
                outbox.start(self._log_batch(batch, outbox))

    async def _log_batch(self, batch: guard_pb2.LogStreamRequest, outbox: Outbox) -> None:
        results = await self._outcomes.report(self._agent, [item.outcome for item in batch.items])
        for item, result in zip(batch.items, results, strict=True):
            outbox.put(result.as_item(item.id))
        await outbox.flush()

    # -- watching and waiting -----------------------------------------------------------------

    async def watch_containment(
        self, received: Received, context: Context
    ) -> AsyncIterator[guard_pb2.WatchContainmentResponse]:
        """Tell how the agent is held, now and at every change."""
        request = received.message
        if request is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "malformed request")
        assert isinstance(request, guard_pb2.WatchContainmentRequest)  # noqa: S101 - decoder's type
        async for message in self._watch.follow(self._agent, request.session_id):
            yield message

    async def wait_approval(
        self, received: Received, context: Context
    ) -> guard_pb2.WaitApprovalResponse:
        """Answer as soon as the approval is no longer pending, or at the end of the wait."""
        request = received.message
        if request is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "malformed request")
        assert isinstance(request, guard_pb2.WaitApprovalRequest)  # noqa: S101 - decoder's type
        status = await self._approvals.wait(
            self._agent, approval_id(request.approval), timeout_s=_wait_of(request.timeout)
        )
        if status is None:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, "control, which keeps the approvals, does not answer"
            )
        assert status is not None  # noqa: S101 - abort raises
        response = guard_pb2.WaitApprovalResponse(state=status.state)
        if status.code or status.text:
            response.reason.code, response.reason.text = status.code, status.text
        if status.expire_time_ns:
            expire = response.expire_time
            expire.seconds, expire.nanos = divmod(status.expire_time_ns, NS_PER_SECOND)
        return response

    async def cancel_approval(
        self, received: Received, context: Context
    ) -> guard_pb2.CancelApprovalResponse:
        """Withdraw a held call on the word of the agent that made it."""
        request = received.message
        if request is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "malformed request")
        assert isinstance(request, guard_pb2.CancelApprovalRequest)  # noqa: S101 - decoder's type
        status = await self._approvals.withdraw(self._agent, approval_id(request.approval))
        if status is None:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, "control, which keeps the approvals, does not answer"
            )
        assert status is not None  # noqa: S101 - abort raises
        return guard_pb2.CancelApprovalResponse(state=status.state)

    def _note_claims(self, context: Context) -> None:
        """Log metadata that claims an identity: it has no effect, but somebody tries something."""
        keys = [
            key[:64]
            for key, _value in context.invocation_metadata() or ()
            if key.startswith(_IDENTITY_CLAIMS)
        ]
        if not keys:
            return
        self._claims += 1
        if self._claims.bit_count() == 1:  # 1, 2, 4, 8 … so that claims cannot flood the log
            log.warning(
                "identity claim in metadata ignored",
                agent=self._agent,
                keys=keys,
                times=self._claims,
            )


def _overload(limit: int) -> Reason:
    return Reason(ReasonCode.OVERLOAD, f"more than {limit} calls of this agent are in flight")


def _wait_of(span: duration_pb2.Duration) -> float:
    """Return a wait in seconds; whoever names none waits as long as one may."""
    seconds = span.seconds + span.nanos / NS_PER_SECOND
    return min(seconds, _MAX_WAIT_S) if seconds > 0 else _MAX_WAIT_S
