# SPDX-License-Identifier: Apache-2.0
"""What a request says beside its method: each header once, the body in time, and nothing encoded."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from sidecar.errors import ErrorReason
from sidecar.jsonapi.decode import MAX_BODY_BYTES
from sidecar.jsonapi.errors import ApiError
from sidecar.jsonapi.openc2_message import MEDIA_TYPE as OPENC2_MEDIA_TYPE

__all__ = [
    "DEFAULT_S",
    "JSON",
    "deadline_s",
    "idempotency_key",
    "is_connect_spoken",
    "one_value",
    "read_body",
    "take_only",
]

JSON: Final = "application/json"
DEFAULT_S: Final = 30.0
_MAX_S: Final = 60.0
_BODY_S: Final = 10.0
_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{8,128}", re.ASCII).fullmatch
_TIMEOUT: Final = re.compile(r"[0-9]{1,10}", re.ASCII).fullmatch


def take_only(request: web.BaseRequest, method: str) -> None:
    """Law 3."""
    if request.method == method:
        return
    raise ApiError(
        code="unimplemented",
        message=f"this address takes {method} and nothing else",
        status=405,
        reason=ErrorReason.INVALID_ARGUMENT.value,
        headers=(("Allow", method),),
        is_last=True,
    )


def one_value(request: web.BaseRequest, name: str) -> str:
    """Return the one value of a header, "" if it is not there."""
    values = request.headers.getall(name, [])
    if len(values) > 1:
        raise _invalid(f"the header {name} comes more than once")
    return values[0] if values else ""


def is_connect_spoken(request: web.BaseRequest) -> bool:
    """Return whether the caller speaks the Connect protocol."""
    said = one_value(request, "Connect-Protocol-Version")
    if said not in ("", "1"):
        raise _invalid("Connect-Protocol-Version must be 1")
    return bool(said)


def deadline_s(request: web.BaseRequest) -> float:
    """Return how long the caller waits for an answer."""
    if "Connect-Timeout-Ms" not in request.headers:
        return DEFAULT_S
    said = one_value(request, "Connect-Timeout-Ms")
    if not _TIMEOUT(said):
        raise _invalid("Connect-Timeout-Ms must be a number of milliseconds")
    return min(int(said) / 1000, _MAX_S)


def idempotency_key(request: web.BaseRequest) -> str:
    """Return the request id that a header says, "" if there is none."""
    if "Idempotency-Key" not in request.headers:
        return ""
    said = one_value(request, "Idempotency-Key")
    if not _KEY(said):
        raise _invalid(
            "Idempotency-Key must be 8 to 128 characters of [A-Za-z0-9._:-]",
            hint="send it bare, without quotation marks; a UUID is one",
        )
    return said


async def read_body(request: web.BaseRequest, media_type: str) -> bytes:
    """Return the body of a request of *media_type* (law 4)."""
    said, _, parameters = one_value(request, "Content-Type").partition(";")
    parameter = parameters.strip().lower().replace(" ", "")
    if said.strip().lower() != media_type or parameter not in _PARAMETERS[media_type]:
        raise ApiError(
            code="invalid_argument",
            message=f"the content type must be {media_type}",
            status=415,
            reason=ErrorReason.MALFORMED.value,
            headers=(("Accept-Post", media_type),),
            is_last=True,
        )
    if one_value(request, "Content-Encoding").lower() not in ("", "identity"):
        raise ApiError(
            code="unimplemented",
            message="encoded bodies are not taken",
            status=415,
            reason=ErrorReason.MALFORMED.value,
            headers=(("Accept-Encoding", "identity"),),
            is_last=True,
        )
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    expected = one_value(request, "Expect").lower()
    if expected not in ("", "100-continue"):
        raise ApiError(
            code="invalid_argument",
            message="this expectation cannot be met",
            status=417,
            reason=ErrorReason.MALFORMED.value,
            is_last=True,
        )
    if expected:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # it is no part of the answer
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for part in request.content.iter_any():
                data += part
                if len(data) > MAX_BODY_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise ApiError(
            code="deadline_exceeded",
            message="the body did not come in time",
            status=408,
            reason=ErrorReason.DEADLINE.value,
            is_last=True,
        ) from None
    except (web.PayloadAccessError, web.RequestPayloadError):
        raise ApiError(
            code="invalid_argument",
            message="the body is not what the headers say",
            reason=ErrorReason.MALFORMED.value,
            is_last=True,
        ) from None
    return bytes(data)


_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    JSON: ("", "charset=utf-8", 'charset="utf-8"'),
    OPENC2_MEDIA_TYPE: ("", "version=1.0", 'version="1.0"'),
}


def _invalid(message: str, *, hint: str = "") -> ApiError:
    return ApiError(
        code="invalid_argument",
        message=message,
        reason=ErrorReason.INVALID_ARGUMENT.value,
        hint=hint,
        is_last=True,
    )


def _too_large() -> ApiError:
    return ApiError(
        code="resource_exhausted",
        message=f"the body has more than {MAX_BODY_BYTES} bytes",
        status=413,
        reason=ErrorReason.MALFORMED.value,
        is_last=True,
    )
