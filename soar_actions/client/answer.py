# SPDX-License-Identifier: Apache-2.0
"""What an HTTP answer of control means: data, or an ``ActionError``.

Laws:

1. Only JSON in the form that control sends is read. What something in between answers (a portal, a
   proxy's page) is never repeated: it may hold anything.
2. Redirects are not followed: a credential goes to the host that the asset names, and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from soar_actions.errors import ActionError, ErrorClass

__all__ = ["CLASS_OF_CODE", "MAX_ANSWER", "Answer", "data_of"]

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes."""
CLASS_OF_CODE: Final[Mapping[str, ErrorClass]] = {
    "invalid_argument": ErrorClass.BAD_INPUT,
    "out_of_range": ErrorClass.BAD_INPUT,
    "not_found": ErrorClass.NOT_FOUND,
    "already_exists": ErrorClass.CONFLICT,
    "aborted": ErrorClass.CONFLICT,
    "permission_denied": ErrorClass.REFUSED,
    "unauthenticated": ErrorClass.REFUSED,
    "failed_precondition": ErrorClass.REFUSED,
    "unavailable": ErrorClass.UNAVAILABLE,
    "deadline_exceeded": ErrorClass.UNAVAILABLE,
    "resource_exhausted": ErrorClass.UNAVAILABLE,
}
"""By Connect's code, which is gRPC's in lower case; everything else has ``FAILED``."""
_OTHER_CODES: Final = frozenset({"canceled", "data_loss", "internal", "unimplemented", "unknown"})
_BUSY: Final = frozenset({408, 425, 429, 502, 503, 504})
_NOT_CONTROL: Final = (
    "check the endpoint: it names the JSON API of control (port 7445), nothing else"
)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, as far as it is looked at."""

    status: int
    content_type: str
    content_encoding: str
    body: bytes


def data_of(answer: Answer) -> Mapping[str, Any]:
    """Return the message that *answer* holds.

    Raises:
        ActionError: It is an error, or nothing of control.
    """
    if 300 <= answer.status < 400:
        raise ActionError(
            ErrorClass.FAILED,
            f"the endpoint answered with a redirect ({answer.status}), which is not followed",
            reason="REDIRECTED",
            remedy=_NOT_CONTROL,
        )
    data = _json_object(answer)
    if answer.status in (200, 202) and data is not None:
        return data
    if data is not None and _is_of_control(data):
        raise _error_of(data)
    if answer.status in _BUSY:
        raise ActionError(
            ErrorClass.UNAVAILABLE, f"control cannot be reached: HTTP status {answer.status}"
        )
    raise ActionError(
        ErrorClass.FAILED,
        f"what answered is not control: HTTP status {answer.status} without an answer in its form",
        reason="NOT_CONTROL",
        remedy=_NOT_CONTROL,
    )


def _json_object(answer: Answer) -> Mapping[str, Any] | None:
    if len(answer.body) > MAX_ANSWER:
        raise ActionError(
            ErrorClass.FAILED,
            f"the answer is longer than {MAX_ANSWER // 1024 // 1024} MiB",
            reason="ANSWER_TOO_LONG",
            remedy="ask for less: a shorter window, fewer entries",
        )
    if answer.content_type.partition(";")[0].strip().lower() != "application/json":
        return None
    if answer.content_encoding.lower() not in ("", "identity"):
        return None
    try:
        data = json.loads(answer.body.decode("utf-8"), parse_constant=_no_constant)
        if b"\\ud" in answer.body.lower():  # half a character: who prints it later would fail
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _is_of_control(data: Mapping[str, Any]) -> bool:
    """Whether *data* is an error of control, and not of a gateway before it (law 1)."""
    code = data.get("code")
    if not isinstance(code, str):
        return False
    return (
        code in CLASS_OF_CODE or code in _OTHER_CODES or bool(_error_info(data.get("details"))[0])
    )


def _error_of(data: Mapping[str, Any]) -> ActionError:
    code = data["code"]
    message = data.get("message")
    reason, hint = _error_info(data.get("details"))
    return ActionError(
        CLASS_OF_CODE.get(code, ErrorClass.FAILED),
        message if isinstance(message, str) and message else code.replace("_", " "),
        reason=reason or code.upper(),
        remedy=hint,
    )


def _error_info(details: Any) -> tuple[str, str]:
    """Return (reason, hint) of the ``ErrorInfo`` among *details*; empty if there is none."""
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("type") == "google.rpc.ErrorInfo":
            info = detail.get("debug")
            if isinstance(info, dict) and isinstance(info.get("reason"), str):
                metadata = info.get("metadata")
                hint = metadata.get("hint", "") if isinstance(metadata, dict) else ""
                return info["reason"], hint if isinstance(hint, str) else ""
    return "", ""
