# SPDX-License-Identifier: Apache-2.0
"""The same calls over gRPC, for whoever has grpcio and Holdfast's generated code: the command line.

TLS always, with a client certificate, an API token or both. Answers and errors are those of the JSON
twin, so that a handler cannot tell the two apart.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2, status_pb2

# Imported so that their services can be found by name.
from sidecar.api.v1 import (  # noqa: F401
    agent_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    incident_pb2,
    investigation_pb2,
    operation_pb2,
    token_pb2,
)
from soar_actions.client.answer import CLASS_OF_CODE, MAX_ANSWER
from soar_actions.client.connection import Connection
from soar_actions.client.retry import MAX_ATTEMPTS, with_retries
from soar_actions.errors import ActionError, ErrorClass
from soar_actions.steps import Call

__all__ = ["GrpcTransport"]

_PACKAGE: Final = "sidecar.api.v1"
_NOT_TRUSTED: Final = (
    "CERTIFICATE_VERIFY_FAILED",
    "Hostname Verification",
    "Peer name",
    "SSL_ERROR_SSL",
)
"""What grpc says of a handshake that this side ended."""
_DETAILS: Final = "grpc-status-details-bin"


class GrpcTransport:
    """Calls of one action, which share its time; use as ``with``.

    Args:
        connection: Where to, and as whom.
        total_s: Longest time of all calls together, from the first, retries included.
    """

    def __init__(self, connection: Connection, *, total_s: float) -> None:
        self._connection = connection
        self._total_s = total_s
        self._deadline: float | None = None
        self._is_down = False
        self._channel = grpc.secure_channel(
            connection.address,
            grpc.ssl_channel_credentials(
                root_certificates=_bytes(connection.ca_certificate),
                private_key=_bytes(connection.client_key.reveal()),
                certificate_chain=_bytes(connection.client_certificate),
            ),
            options=[
                ("grpc.enable_retries", 0),
                ("grpc.service_config_disable_resolution", 1),
                ("grpc.max_receive_message_length", MAX_ANSWER),
                *([("grpc.http_proxy", connection.proxy.reveal())] if connection.proxy else []),
            ],
        )

    def __enter__(self) -> GrpcTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def send(self, call: Call) -> Mapping[str, Any]:
        """Return the answer to *call*; raises ``ActionError`` as ``Transport`` says."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._total_s
        try:
            answer = with_retries(
                lambda seconds: self._attempt(call, seconds),
                attempt_s=self._connection.timeout_s + call.patience_s,
                deadline=self._deadline,
                max_attempts=1 if self._is_down else MAX_ATTEMPTS,
            )
        except ActionError as exc:
            # What was down four times is asked once for each further call of the action.
            self._is_down = exc.is_retryable
            raise
        self._is_down = False
        return answer

    def _attempt(self, call: Call, seconds: float) -> Mapping[str, Any]:
        service, _, name = call.method.partition("/")
        pool = descriptor_pool.Default()
        method = pool.FindServiceByName(f"{_PACKAGE}.{service}").methods_by_name[name]
        request = message_factory.GetMessageClass(method.input_type)()
        answer_class = message_factory.GetMessageClass(method.output_type)
        try:
            json_format.ParseDict(dict(call.body), request)
        except json_format.ParseError:
            raise ActionError(
                ErrorClass.BAD_INPUT, "a parameter is not of the form that control takes"
            ) from None
        ask = self._channel.unary_unary(
            f"/{_PACKAGE}.{call.method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer_class.FromString,
        )
        token = self._connection.api_token.reveal()
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        try:
            answer = ask(request, timeout=seconds, metadata=metadata)
        except grpc.RpcError as exc:
            raise _error_of(exc) from None  # its text can name what the asset holds
        return json_format.MessageToDict(answer)


def _bytes(text: str) -> bytes | None:
    return text.encode() or None


def _error_of(exc: Any) -> ActionError:
    code = exc.code().name.lower()
    details = exc.details() or ""
    kind = CLASS_OF_CODE.get("canceled" if code == "cancelled" else code, ErrorClass.FAILED)
    reason, hint = _error_info(exc)
    if reason or kind is not ErrorClass.UNAVAILABLE:
        said = details or code.replace("_", " ")
        return ActionError(kind, said, reason=reason or code.upper(), remedy=hint)
    if "ALERT" in details.upper():
        return ActionError(
            ErrorClass.REFUSED,
            "control did not accept the client certificate",
            reason="UNAUTHENTICATED",
            remedy="give a certificate of control's own CA that is not over, or an API token",
        )
    if any(word in details for word in _NOT_TRUSTED):
        return ActionError(
            ErrorClass.REFUSED,
            "control's certificate was not accepted",
            reason="SERVER_NOT_TRUSTED",
            remedy="give the CA of control's certificate, and use a host name that stands in the "
            "certificate; verification cannot be switched off",
        )
    if code == "deadline_exceeded":
        return ActionError(kind, "control did not answer in time", reason="DEADLINE")
    return ActionError(kind, "control could not be reached")


def _error_info(exc: Any) -> tuple[str, str]:
    """Return (reason, hint) of control's ``ErrorInfo``; empty if there is none."""
    for key, value in exc.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason, info.metadata.get("hint", "")
    return "", ""
