# SPDX-License-Identifier: Apache-2.0
"""How answers look in HTTP, whatever they say: status, headers, JSON."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from google.protobuf.message import Message

from sidecar.api.v1 import types_pb2
from sidecar.jsonapi.encode import encode, json_bytes
from sidecar.jsonapi.errors import ApiError, error_body
from sidecar.jsonapi.openc2 import Said
from sidecar.jsonapi.openc2_message import MEDIA_TYPE as OPENC2_MEDIA_TYPE
from sidecar.jsonapi.requests import JSON

__all__ = [
    "answer_of",
    "error_of",
    "internal",
    "openc2_of",
    "pending_of",
    "response_of",
    "with_headers",
]

_RETRY_AFTER: Final = "5"
_LIVE: Final = (types_pb2.Operation.STATE_PENDING_APPROVAL, types_pb2.Operation.STATE_RUNNING)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "holdfast",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


def internal() -> ApiError:
    return ApiError(
        code="internal", message="control failed while it answered; the failure is logged"
    )


def answer_of(message: Message, *, is_connect: bool) -> web.Response:
    """Return *message* as the answer to a call: 202 while humans are still to decide it."""
    body = json_bytes(encode(message))
    field = message.DESCRIPTOR.fields_by_name.get("operation")
    if field is not None and field.message_type is not None and message.HasField("operation"):
        operation = message.operation  # type: ignore[attr-defined]
        if isinstance(operation, types_pb2.Operation):
            waits = pending_of(operation, body, is_connect=is_connect)
            if waits is not None:
                return waits
    return response_of(200, body)


def pending_of(
    operation: types_pb2.Operation, body: bytes, *, is_connect: bool
) -> web.Response | None:
    """Return the answer while *operation* has not ended, None if it has or would only begin.

    The Connect protocol knows no success but 200: whoever says that they speak it gets that.
    """
    if not operation.name or operation.state not in _LIVE:
        return None
    response = response_of(200 if is_connect else 202, body)
    response.headers["Location"] = f"/v1/{operation.name}"
    response.headers["Retry-After"] = _RETRY_AFTER
    return response


def error_of(error: ApiError) -> web.Response:
    return with_headers(error, response_of(error.http_status, json_bytes(error_body(error))))


def openc2_of(said: Said) -> web.Response:
    """Return what an OpenC2 consumer says."""
    if said.body is None:
        return response_of(said.http_status, b"", content_type="")
    return response_of(
        said.http_status,
        json_bytes(said.body, is_ascii=True),  # there are producers that read nothing else
        content_type=f"{OPENC2_MEDIA_TYPE};version=1.0",
    )


def with_headers(error: ApiError, response: web.Response) -> web.Response:
    for name, value in error.headers:
        response.headers[name] = value
    # After 401 the body of a stranger may still be on the way: nobody reads it.
    if error.is_last or error.code == "unauthenticated":
        response.force_close()
    return response


def response_of(status: int, body: bytes, *, content_type: str = JSON) -> web.Response:
    headers = {**_HEADERS, **({"Content-Type": content_type} if content_type else {})}
    return web.Response(status=status, body=body, headers=headers)
