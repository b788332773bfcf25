# SPDX-License-Identifier: Apache-2.0
"""One place that decides who may call which control method, for every method.

Laws:
1. The permission is the method's own proto option (``sidecar.api.v1.permission``); a method without
   it is refused to everybody.
2. The check runs before the request is even deserialised into a servicer's hands, and it is keyed on
   the handler that was found, not on the path as it was written.
3. A refusal is recorded in the log, with who and what; the record can fail, the refusal cannot.
4. Messages must be exact (``sidecar.wire``): an unknown field in an order to contain is an order we
   did not understand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from sidecar.api.v1 import options_pb2
from sidecar.control.identity import CallerIdentity
from sidecar.control.status import abort_with
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.model import Operator
from sidecar.wire import is_exact

__all__ = ["AuthorizationInterceptor", "RefusalLog", "caller", "current_caller", "methods_of"]

log = structlog.get_logger("holdfast.control")

_caller: ContextVar[Operator] = ContextVar("holdfast_caller")
_current: ContextVar[Callable[[], Operator]] = ContextVar("holdfast_current_caller")
_INEXACT: Final = UntrustedInputError(
    "the request holds unknown fields or a field twice",
    reason=ErrorReason.MALFORMED,
    hint="use a client of this version",
)

_PASSED_ON: Final = (grpc.aio.AbortError, NotImplementedError)
"""What gRPC itself turns into a status: one that was set, UNIMPLEMENTED."""

RefusalLog = Callable[[str, Operator | None, HoldfastError], Awaitable[None]]
Handler = Callable[[Any, grpc.aio.ServicerContext], Any]


def caller() -> Operator:
    """Return the operator on whose behalf the current RPC runs."""
    return _caller.get()


def current_caller() -> Operator:
    """Return who the caller of a long stream is by now, who may have other roles than at first.

    Raises:
        RefusedError: It is nobody we know any more, or may not call the method any more.
    """
    return _current.get()()


def methods_of(*services: ServiceDescriptor) -> dict[str, MethodDescriptor]:
    """Return the methods of *services* by their gRPC path."""
    return {
        f"/{service.full_name}/{method.name}": method
        for service in services
        for method in service.methods
    }


class AuthorizationInterceptor(grpc.aio.ServerInterceptor):
    """Lets a call through if its caller holds one of the method's permissions."""

    def __init__(
        self,
        *,
        identity: CallerIdentity,
        methods: Mapping[str, MethodDescriptor],
        refused: RefusalLog,
    ) -> None:
        self._identity = identity
        self._methods = methods
        self._refused = refused

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
        method = self._methods.get(path)
        if method is None:
            return handler  # health, which has no levers
        decode = _exact_decoder(method)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(path, method, handler.unary_stream),
                request_deserializer=decode,
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(path, method, handler.unary_unary),
            request_deserializer=decode,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, path: str, method: MethodDescriptor, behaviour: Handler) -> Handler:
        async def call(request: Message | None, context: grpc.aio.ServicerContext) -> Any:
            try:
                await self._admit(path, method, request, context)
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
        async def call(
            request: Message | None, context: grpc.aio.ServicerContext
        ) -> AsyncIterator[Any]:
            try:
                await self._admit(path, method, request, context)
                async for message in behaviour(request, context):
                    # A long stream must outlive neither the certificate nor the role it began with.
                    _check_permission(method, self._identity.operator(context))
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
        self,
        path: str,
        method: MethodDescriptor,
        request: Message | None,
        context: grpc.aio.ServicerContext,
    ) -> None:
        operator: Operator | None = None
        try:
            operator = self._identity.operator(context)
            _check_permission(method, operator)
            if request is None:
                raise _INEXACT
        except HoldfastError as exc:
            log.warning(
                "control call refused",
                method=path,
                operator=operator.name if operator else None,
                reason=exc.reason,
            )
            try:
                await self._refused(path, operator, exc)
            except EnvironmentFailure:
                log.error("a refusal could not be recorded", method=path)
            raise
        _caller.set(operator)

        def current() -> Operator:
            found = self._identity.operator(context)
            _check_permission(method, found)
            return found

        _current.set(current)


async def _fail(context: grpc.aio.ServicerContext) -> None:
    """Answer an unexpected failure without its words: gRPC would send them to the caller."""
    await context.abort(
        grpc.StatusCode.INTERNAL, "control failed while it answered; the failure is logged"
    )


def _check_permission(method: MethodDescriptor, operator: Operator) -> None:
    extensions: Any = method.GetOptions().Extensions
    wanted: list[str] = list(extensions[options_pb2.permission])
    if any(role in wanted for role in operator.roles):
        return
    raise RefusedError(
        f"{operator.name} may not call {method.name}: it needs one of the roles "
        f"{', '.join(wanted) or '(none: the method is closed)'}",
        hint="ask an operator who holds the role; roles are set in operators.yaml",
    )


def _exact_decoder(method: MethodDescriptor) -> Callable[[bytes], Message | None]:
    message_type = GetMessageClass(method.input_type)

    def decode(data: bytes) -> Message | None:
        message = message_type()
        try:
            message.ParseFromString(data)
        except DecodeError:
            return None
        return message if is_exact(message, data) else None

    return decode
