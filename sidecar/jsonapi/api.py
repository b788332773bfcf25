# SPDX-License-Identifier: Apache-2.0
"""Which HTTP request becomes which call, and which answer becomes which response.

Laws:

1. What is called are the very behaviours that gRPC serves (``Routes``), behind the very ``Admission``:
   who may call what, what is recorded and what is idempotent is decided there and nowhere else.
2. A stranger's body is never read, and nothing that a stranger sends is parsed.
3. Only POST calls a method. GET reads what changes nothing; every other verb is refused. An address is
   compared as it was written; ``Host`` and every ``Forwarded`` are nobody's.
4. A body is ``application/json`` and not encoded: a browser cannot send that to another site unasked,
   and no compression can blow up.
5. An answer never says more than gRPC would. What nobody foresaw has no words.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from aiohttp import web
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from sidecar.api.v1 import operation_pb2, options_pb2
from sidecar.clock import Clock
from sidecar.control.admission import Admission
from sidecar.control.identity import AUTHORIZATION, Identities, one_authorization
from sidecar.control.routes import Routes
from sidecar.errors import ErrorReason, HoldfastError, UntrustedInputError
from sidecar.jsonapi.decode import decode, parse_object
from sidecar.jsonapi.encode import encode, json_bytes
from sidecar.jsonapi.errors import ApiError
from sidecar.jsonapi.listener import Peer
from sidecar.jsonapi.openc2 import OpenC2Consumer, Said
from sidecar.jsonapi.openc2_message import MEDIA_TYPE as OPENC2_MEDIA_TYPE
from sidecar.jsonapi.pacing import Slots
from sidecar.jsonapi.requests import (
    DEFAULT_S,
    JSON,
    deadline_s,
    idempotency_key,
    is_connect_spoken,
    read_body,
    take_only,
)
from sidecar.jsonapi.responses import (
    answer_of,
    error_of,
    internal,
    openc2_of,
    pending_of,
    response_of,
    with_headers,
)
from sidecar.model import Operator

__all__ = ["Api"]

log = structlog.get_logger("holdfast.control")

_OPENC2: Final = "/.well-known/openc2"
_OPERATION: Final = re.compile(r"/v1/operations/([A-Za-z0-9_]{1,64})", re.ASCII).fullmatch
_CONTAIN: Final = "/sidecar.api.v1.ContainmentService/Contain"
_GET_OPERATION: Final = "/sidecar.api.v1.OperationService/GetOperation"
_MAX_HEAD_BYTES: Final = 8 * 1024
Identify = Callable[[], Operator]


class _NoContext:
    """In place of gRPC's context: the generated base classes say with it that they do nothing."""

    def set_code(self, code: object) -> None:
        """Take what is said anyway by the ``NotImplementedError`` that follows."""

    def set_details(self, details: object) -> None:
        """Take the same in words."""


_NO_CONTEXT: Final[Any] = _NoContext()


class Api:
    """Answers requests, whatever port they come from.

    Args:
        routes: What answers, by path.
        admission: Who may call what.
        identities: Who calls, by certificate and token.
        is_serving: Whether control serves.
        documents: What is shown to everybody, by address: bytes of JSON.
        clock: Time.
        slots: How much is answered at the same time.
    """

    def __init__(
        self,
        *,
        routes: Routes,
        admission: Admission,
        identities: Identities,
        is_serving: Callable[[], bool],
        documents: Mapping[str, bytes],
        clock: Clock,
        slots: Slots | None = None,
    ) -> None:
        self._unary = dict(routes.unary)
        self._admission = admission
        self._identities = identities
        self._is_serving = is_serving
        self._documents = documents
        self._slots = slots or Slots(total=128, kept=32, per_caller=32)
        self._openc2 = OpenC2Consumer(clock=clock)

    async def handle(self, request: web.BaseRequest, peer: Peer) -> web.Response:
        """Return the answer to *request*."""
        try:
            return await self._route(request, peer)
        except ApiError as exc:
            return error_of(exc)
        except HoldfastError as exc:
            return error_of(ApiError.of(exc))
        except Exception:
            log.exception("the JSON port failed", path=_path_of(request))
            return error_of(internal())

    @staticmethod
    def refuse(status: int) -> web.Response:
        """Return the answer to what aiohttp could not read."""
        if status >= 500:
            return error_of(internal())
        return error_of(
            ApiError(
                code="invalid_argument",
                message="this is no HTTP request that is taken here",
                status=status,
                reason=ErrorReason.MALFORMED.value,
                is_last=True,
            )
        )

    # -- which request it is ------------------------------------------------------------------

    async def _route(self, request: web.BaseRequest, peer: Peer) -> web.Response:
        if sum(len(name) + len(value) for name, value in request.raw_headers) > _MAX_HEAD_BYTES:
            raise ApiError(
                code="invalid_argument",
                message="the headers are too long",
                status=431,
                reason=ErrorReason.MALFORMED.value,
                is_last=True,
            )
        path = request.raw_path
        if path == "/healthz":
            take_only(request, "GET")
            is_up = self._is_serving()
            body = {"status": "SERVING" if is_up else "NOT_SERVING"}
            return response_of(200 if is_up else 503, json_bytes(body))
        if path in self._documents:
            take_only(request, "GET")
            return response_of(200, self._documents[path])
        if operation := _OPERATION(path):
            take_only(request, "GET")
            return await self._operation(request, peer, operation[1])
        if path == _OPENC2:
            take_only(request, "POST")
            return await self._command(request, peer)
        method = self._admission.methods.get(path)
        if method is None:
            raise ApiError(
                code="unimplemented",
                message="there is nothing at this address",
                status=404,
                hint="/openapi.json names every method",
                reason=ErrorReason.NOT_FOUND.value,
            )
        take_only(request, "POST")
        return await self._method(request, peer, path, method)

    # -- methods ------------------------------------------------------------------------------

    async def _method(
        self, request: web.BaseRequest, peer: Peer, path: str, method: MethodDescriptor
    ) -> web.Response:
        identify = self._identify(request, peer)
        operator = await self._known(path, identify)
        if path not in self._unary:
            raise _unimplemented()  # as gRPC says it, whoever asks
        is_connect = is_connect_spoken(request)
        seconds = deadline_s(request)
        key = idempotency_key(request)
        read: list[Message] = []

        async def answer() -> Message:
            data = await read_body(request, JSON)

            def parse() -> Message:
                read.append(_message_of(parse_object(data), method, key))
                return read[0]

            await self._admission.admit(path, parse, identify)
            return await self._behave(path, read[0])

        is_lever = bool(_options(method)[options_pb2.mutates]) and self._admission.may_call(
            path, operator
        )
        with self._slots.one(_name_of(operator), is_lever=is_lever):
            message = await _within(seconds, answer())
        return answer_of(message, is_connect=is_connect)

    async def _operation(self, request: web.BaseRequest, peer: Peer, name: str) -> web.Response:
        identify = self._identify(request, peer)
        operator = await self._known(_GET_OPERATION, identify)
        wanted = operation_pb2.GetOperationRequest(name=f"operations/{name}")

        async def answer() -> Message:
            return await self._call(_GET_OPERATION, wanted, identify)

        with self._slots.one(_name_of(operator), is_lever=False):
            message = await _within(deadline_s(request), answer())
        assert isinstance(message, operation_pb2.GetOperationResponse)  # noqa: S101 - of the method
        return pending_of(
            message.operation, json_bytes(encode(message.operation)), is_connect=False
        ) or response_of(200, json_bytes(encode(message.operation)))

    async def _command(self, request: web.BaseRequest, peer: Peer) -> web.Response:
        identify = self._identify(request, peer)

        async def call(path: str, message: Message) -> Message:
            return await self._call(path, message, identify)

        async def answer() -> Said:
            return await self._openc2.answer(await read_body(request, OPENC2_MEDIA_TYPE), call)

        try:
            operator = await self._known(_OPENC2, identify)
            # What the command is nobody knows yet: it may be a lever if its caller has one.
            is_lever = self._admission.may_call(_CONTAIN, operator)
            with self._slots.one(_name_of(operator), is_lever=is_lever):
                return openc2_of(await _within(DEFAULT_S, answer()))
        except HoldfastError as exc:
            return with_headers(ApiError.of(exc), openc2_of(self._openc2.failure(exc)))
        except ApiError as exc:
            response = openc2_of(self._openc2.failure(exc))
            response.set_status(exc.http_status)
            return with_headers(exc, response)

    # -- calls --------------------------------------------------------------------------------

    def _identify(self, request: web.BaseRequest, peer: Peer) -> Identify:
        def identify() -> Operator:
            values = request.headers.getall(AUTHORIZATION, [])
            return self._identities.of_peer(
                certificate_pem=peer.certificate_pem, authorization=one_authorization(values)
            )

        return identify

    async def _known(self, path: str, identify: Identify) -> Operator:
        """Return who calls, before anything of theirs is read (law 2).

        Raises:
            HoldfastError: It is nobody we know; that is recorded.
        """
        try:
            return identify()
        except HoldfastError:
            await self._admission.admit(path, None, identify)
            raise

    async def _call(self, path: str, message: Message, identify: Identify) -> Message:
        await self._admission.admit(path, message, identify)
        return await self._behave(path, message)

    async def _behave(self, path: str, message: Message) -> Message:
        behaviour = self._unary.get(path)
        if behaviour is None:
            raise _unimplemented()
        try:
            return await behaviour(message, _NO_CONTEXT)
        except NotImplementedError:
            raise _unimplemented() from None
        except (HoldfastError, ApiError):
            raise
        except Exception:
            log.exception("control call failed", method=path)
            raise internal() from None


def _message_of(value: dict[str, Any], method: MethodDescriptor, key: str) -> Message:
    """Return the request in *value*; an absent request id is what the header said."""
    message = GetMessageClass(method.input_type)()
    decode(value, message)
    if key and "request_id" in method.input_type.fields_by_name:
        said = getattr(message, "request_id")  # noqa: B009 - which message it is, nobody knows here
        if said and said != key:
            raise UntrustedInputError(
                "requestId and Idempotency-Key differ",
                reason=ErrorReason.INVALID_ARGUMENT,
                hint="send one of them, or the same value in both",
            )
        setattr(message, "request_id", key)  # noqa: B010
    return message


async def _within(seconds: float, work: Awaitable[Any]) -> Any:
    """Return what *work* gives, if it gives it in time.

    Raises:
        ApiError: It did not; what was ordered may have been carried out all the same.
    """
    try:
        async with asyncio.timeout(seconds) as deadline:
            return await work
    except TimeoutError:
        if not deadline.expired():
            raise
        raise ApiError(
            code="deadline_exceeded",
            message="the answer took too long; what was ordered may have been carried out",
            reason=ErrorReason.DEADLINE.value,
            hint="ask again with the same request id",
        ) from None


def _name_of(operator: Operator) -> str:
    return f"token {operator.token}" if operator.token else f"operator {operator.name}"


def _options(method: MethodDescriptor) -> Any:
    return method.GetOptions().Extensions


def _path_of(request: web.BaseRequest) -> str:
    """Return the address, short and printable: it is hostile text."""
    return repr(request.raw_path[:128])


def _unimplemented() -> ApiError:
    return ApiError(
        code="unimplemented",
        message="this method is not served here",
        reason=ErrorReason.NOT_FOUND.value,
        hint="streams are served over gRPC alone; some methods need a console",
    )
