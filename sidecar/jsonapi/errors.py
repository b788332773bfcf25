# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, as the Connect protocol says it, with the codes that gRPC would have given.

One table, one place. A message is what ``HoldfastError`` says, which never holds a secret; what nobody
foresaw has no words but a number that stands in control's own log.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.rpc import error_details_pb2

from sidecar.control.status import DOMAIN, status_of
from sidecar.documents import DocumentErrors
from sidecar.errors import HoldfastError

__all__ = ["HTTP_STATUS", "ApiError", "code_of", "error_body"]

HTTP_STATUS: Final[Mapping[str, int]] = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}
"""The Connect protocol's statuses, by code."""

_MAX_MESSAGE: Final = 1200


@dataclass(eq=False)
class ApiError(Exception):  # not frozen: Python writes tracebacks into exceptions
    """A request that ends with something else than an answer.

    Args:
        code: One of ``HTTP_STATUS``.
        message: What is wrong.
        status: The HTTP status, if HTTP knows a better one than the code's.
        reason: Stable cause, for programs.
        hint: What to do about it.
        headers: Of the answer.
        is_last: The connection ends with this answer.
    """

    code: str
    message: str
    status: int = 0
    reason: str = ""
    hint: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    is_last: bool = False

    @property
    def http_status(self) -> int:
        """The HTTP status that it travels under."""
        return self.status or HTTP_STATUS[self.code]

    @classmethod
    def of(cls, error: HoldfastError) -> ApiError:
        """Return *error* as it travels, with the very code and words that gRPC has for it."""
        code = code_of(error)
        headers = (("WWW-Authenticate", 'Bearer realm="holdfast"'),)
        return cls(
            code=code,
            message=_message(error),
            reason=error.reason.value,
            hint=error.hint,
            headers=headers if code == "unauthenticated" else (),
        )


def code_of(error: HoldfastError) -> str:
    """Return the Connect code of *error*: gRPC's, in lower case."""
    return str(status_of(error).name).lower()


def error_body(error: ApiError) -> dict[str, Any]:
    """Return *error* as the JSON of a Connect error."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.reason:
        metadata = {"hint": error.hint} if error.hint else {}
        info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
        debug: dict[str, Any] = {"reason": error.reason, "domain": DOMAIN}
        if metadata:
            debug["metadata"] = metadata
        # Connect's base64 has no padding.
        value = base64.b64encode(info.SerializeToString()).decode().rstrip("=")
        body["details"] = [{"type": "google.rpc.ErrorInfo", "value": value, "debug": debug}]
    return body


def _message(error: HoldfastError) -> str:
    """Return what is wrong; of a bundle every place, as gRPC does."""
    if isinstance(error, DocumentErrors) and len(error.all) > 1:
        return str(error)[:_MAX_MESSAGE]
    return error.message
