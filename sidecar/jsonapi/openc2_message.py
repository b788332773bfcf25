# SPDX-License-Identifier: Apache-2.0
"""OpenC2 messages as they travel: Language Specification 1.0 inside the HTTPS transfer 1.1.

Laws:

1. A message is strict JSON of exactly the documented form; what we do not know is refused (400), what
   we know and do not do is not implemented (501). A time or an option is never silently left out.
2. A response answers what was asked: same ``request_id``, to whoever sent it.
3. An order may say when it ends, and a retry of it must say the same: the length of a containment comes
   from the message alone, never from when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sidecar.errors import ErrorReason, HoldfastError, UntrustedInputError
from sidecar.jsonapi.decode import parse_object

__all__ = [
    "MEDIA_TYPE",
    "PROFILE",
    "VERSION",
    "Command",
    "NotImplementedHereError",
    "parse_message",
    "response_message",
]

MEDIA_TYPE: Final = "application/openc2+json"
VERSION: Final = "1.0"
PROFILE: Final = "x-holdfast"

_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII).fullmatch
_TIMES: Final = ("start_time", "stop_time", "duration")
_MAX_MS: Final = 2**53 - 1
_CONSUMER: Final = "holdfast-control"


class NotImplementedHereError(HoldfastError):
    """OpenC2 has it, and this consumer does not do it; becomes 501."""

    default_reason = ErrorReason.INVALID_ARGUMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a producer asks for."""

    action: str
    target_type: str
    target: Any
    start_ms: int | None = None
    stop_ms: int | None = None
    duration_ms: int | None = None
    response_requested: str = "complete"
    reason: str = ""
    level: str = ""
    id: str = ""
    """``command_id``, or the message's ``request_id``; "" if there is neither."""
    created_ms: int | None = None
    request_id: str = ""
    sender: str = ""
    has_own_arguments: bool = field(default=False)
    """Whether the profile's own arguments came."""

    @property
    def pair(self) -> tuple[str, str]:
        """What it asks for, as OpenC2 names capabilities."""
        return self.action, self.target_type

    @property
    def has_time(self) -> bool:
        """Whether it says when it begins or ends."""
        return any(value is not None for value in (self.start_ms, self.stop_ms, self.duration_ms))

    def ttl(self, now_ms: int) -> timedelta | None:
        """Return how long it is to hold (law 3), None if it says nothing.

        Raises:
            NotImplementedHereError: It is to begin later.
            UntrustedInputError: It ends before it begins, or when cannot be told from it.
        """
        if self.start_ms is not None and self.start_ms > now_ms + _SKEW_MS:
            raise NotImplementedHereError(
                "start_time is in the future, and nothing is put off here"
            )
        if self.duration_ms is not None:
            return timedelta(milliseconds=self.duration_ms)
        if self.stop_ms is None:
            return None
        begin_ms = self.start_ms if self.start_ms is not None else self.created_ms
        if begin_ms is None:
            raise _bad("stop_time needs start_time, or created in the message's headers")
        if self.stop_ms <= max(begin_ms, now_ms - _LATE_MS):
            raise _bad("stop_time is over")
        return timedelta(milliseconds=self.stop_ms - begin_ms)


_SKEW_MS: Final = 5_000
_LATE_MS: Final = 24 * 3600 * 1000
"""A retry of an order whose time is over is still the order that was carried out."""


def parse_message(data: bytes) -> Command:
    """Return the command in *data*, a whole message.

    Raises:
        UntrustedInputError: It is no message (law 1).
        NotImplementedHereError: It asks for what this consumer does not do.
    """
    message = parse_object(data)
    _check_keys(message, "the message", {"headers", "body"})
    headers = _map(message.get("headers", {}), "headers")
    _check_keys(headers, "headers", {"request_id", "created", "from", "to"})
    body = _map(message.get("body"), "body")
    _check_keys(body, "body", {"openc2"})
    content = _map(body.get("openc2"), "body.openc2")
    if set(content) != {"request"}:
        raise _bad("body.openc2 must hold a request and nothing else")
    request = _map(content["request"], "request")
    _check_keys(request, "request", {"action", "target", "args", "actuator", "command_id"})
    _check_actuator(request.get("actuator"))
    target_type, target = _one_target(request.get("target"))
    request_id = _text(headers.get("request_id", ""), "headers.request_id")
    command_id = _text(request.get("command_id", ""), "command_id")
    for name, value in (("headers.request_id", request_id), ("command_id", command_id)):
        if value and not _ID(value):
            raise _bad(f"{name} must be 1 to 64 characters of [A-Za-z0-9._:-]")
    return Command(
        action=_text(request.get("action"), "action"),
        target_type=target_type,
        target=target,
        id=command_id or request_id,
        created_ms=_milliseconds(headers.get("created"), "headers.created"),
        request_id=request_id,
        sender=_text(headers.get("from", ""), "headers.from")[:256],
        **_arguments(_map(request.get("args", {}), "args")),
    )


def response_message(
    status: int,
    text: str = "",
    results: Mapping[str, Any] | None = None,
    *,
    command: Command | None,
    now_ms: int,
) -> dict[str, Any]:
    """Return the whole message that answers *command*, as far as it could be read (law 2)."""
    headers: dict[str, Any] = {"created": now_ms, "from": _CONSUMER}
    if command is not None and command.request_id:
        headers["request_id"] = command.request_id
    if command is not None and command.sender:
        headers["to"] = [command.sender]
    response: dict[str, Any] = {"status": status}
    if text:
        response["status_text"] = text
    if results:
        response["results"] = dict(results)
    return {"headers": headers, "body": {"openc2": {"response": response}}}


def _arguments(args: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(args) - {*_TIMES, "response_requested", PROFILE}
    if unknown:
        raise NotImplementedHereError(
            "args holds one that is not supported", hint="query features tells what is"
        )
    start_ms, stop_ms, duration_ms = (_milliseconds(args.get(name), name) for name in _TIMES)
    if None not in (start_ms, stop_ms, duration_ms):
        raise _bad("of start_time, stop_time and duration only two may be given")
    requested = _text(args.get("response_requested", "complete"), "response_requested")
    if requested not in ("none", "ack", "status", "complete"):
        raise _bad("response_requested must be none, ack, status or complete")
    own = _map(args.get(PROFILE, {}), f"args.{PROFILE}")
    _check_keys(own, f"args.{PROFILE}", {"reason", "level"})
    return {
        "start_ms": start_ms,
        "stop_ms": stop_ms,
        "duration_ms": duration_ms,
        "response_requested": requested,
        "reason": _text(own.get("reason", ""), "reason"),
        "level": _text(own.get("level", ""), "level"),
        "has_own_arguments": bool(own),
    }


def _check_actuator(actuator: Any) -> None:
    if actuator is None:
        return
    if set(_map(actuator, "actuator")) != {PROFILE}:
        raise NotImplementedHereError(f"this consumer has the actuator profile {PROFILE} alone")
    if _map(actuator[PROFILE], f"actuator.{PROFILE}"):
        raise NotImplementedHereError(f"the actuator profile {PROFILE} has no specifiers")


def _one_target(target: Any) -> tuple[str, Any]:
    found = _map(target, "target")
    if len(found) != 1:
        raise _bad("target must name exactly one target")
    return next(iter(found.items()))


def _milliseconds(value: Any, what: str) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _MAX_MS:
        raise _bad(f"{what} must be a number of milliseconds")
    return value


def _map(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise _bad(f"{what} must be an object")
    return value


def _text(value: Any, what: str) -> str:
    if type(value) is not str:
        raise _bad(f"{what} must be text")
    return value


def _check_keys(value: Mapping[str, Any], what: str, known: set[str]) -> None:
    if set(value) - known:
        raise _bad(f"{what} may hold {', '.join(sorted(known))} and nothing else")


def _bad(message: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.MALFORMED)
