# SPDX-License-Identifier: Apache-2.0
"""Lets gRPC calls through that ``Admission`` admits, before their bytes are even parsed.

Laws:
1. Who may call what is decided by ``Admission`` alone, keyed on the handler that was found, not on
   the path as it was written.
2. A long stream must outlive neither the credential nor the role it began with: before each message
   it is asked again.
3. An unexpected failure is answered without its words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from sidecar.control.admission import (
    Admission,
    RefusalLog,
    caller,
    current_caller,
    methods_of,
)
from sidecar.control.identity import CallerIdentity
from sidecar.control.status import abort_with
from sidecar.errors import HoldfastError
from sidecar.wire import is_exact

__all__ = ["AuthorizationInterceptor", "RefusalLog", "caller", "current_caller", "methods_of"]

log = structlog.get_logger("holdfast.control")

_PASSED_ON: Final = (grpc.aio.AbortError, NotImplementedError)
"""What gRPC itself turns into a status: one that was set, UNIMPLEMENTED."""

Handler = Callable[[Any, grpc.aio.ServicerContext], Any]


class AuthorizationInterceptor(grpc.aio.ServerInterceptor):
    """Asks *admission* about every call of one listener, whose callers *identity* knows."""

    def __init__(self, *, identity: CallerIdentity, admission: Admission) -> None:
        self._identity = identity
        self._admission = admission

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # becomes UNIMPLEMENTED
        path = handler_call_details.method
        method = self._admission.methods.get(path)
        if method is None:
            return handler  # health, which has no levers
        # Without a deserialiser gRPC hands over the bytes: what a stranger sends is never parsed.
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(path, method, handler.unary_stream),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(path, method, handler.unary_unary),
            response_serializer=handler.response_serializer,
        )

    def _unary(self, path: str, method: MethodDescriptor, behaviour: Handler) -> Handler:
        async def call(data: bytes, context: grpc.aio.ServicerContext) -> Any:
            try:
                request = await self._admit(path, method, data, context)
                return await behaviour(request, context)
            except HoldfastError as exc:
                await abort_with(context, exc)
            except _PASSED_ON:
                raise
            except Exception:
                log.exception("control call failed", method=path)
                await _fail(context)

        return call

    def _stream(self, path: str, method: MethodDescriptor, behaviour: Handler) -> Handler:
        async def call(data: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            try:
                request = await self._admit(path, method, data, context)
                async for message in behaviour(request, context):
                    self._admission.check(path, self._identity.operator(context), request)  # law 2
                    yield message
            except HoldfastError as exc:
                await abort_with(context, exc)
            except _PASSED_ON:
                raise
            except Exception:
                log.exception("control call failed", method=path)
                await _fail(context)

        return call

    async def _admit(
        self, path: str, method: MethodDescriptor, data: bytes, context: grpc.aio.ServicerContext
    ) -> Message | None:
        decoded: list[Message | None] = []

        def decode() -> Message | None:
            decoded.append(_exactly(method, data))
            return decoded[0]

        await self._admission.admit(path, decode, lambda: self._identity.operator(context))
        return decoded[0]


async def _fail(context: grpc.aio.ServicerContext) -> None:
    """Answer an unexpected failure without its words: gRPC would send them to the caller."""
    await context.abort(
        grpc.StatusCode.INTERNAL, "control failed while it answered; the failure is logged"
    )


def _exactly(method: MethodDescriptor, data: bytes) -> Message | None:
    """Return the message that *data* is, or None if another reader might find another in it."""
    message = GetMessageClass(method.input_type)()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return message if is_exact(message, data) else None
