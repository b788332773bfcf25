# SPDX-License-Identifier: Apache-2.0
"""Denials made in the agent's process because the gate could not be asked or not be understood.

Laws:

1. A local decision is always DENY; there is no other constructor here.
2. Its id starts with ``local_``, which no gate may use, so nobody looks for it in the gate's log.
3. Its sentences are fixed: nothing of the call, the gate's answer or an exception enters them.
"""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Final

from sidecar.sdk.values import Decision, Effect, Reason

__all__ = ["LOCAL_PREFIX", "Cause", "local_denial"]

LOCAL_PREFIX: Final = "local_"


class Cause(StrEnum):
    """Why the SDK denied by itself; stands in the reason's metadata as ``cause``."""

    # the call can't be carried
    ARGUMENTS_NOT_JSON = "ARGUMENTS_NOT_JSON"
    ARGUMENTS_TOO_DEEP = "ARGUMENTS_TOO_DEEP"
    ARGUMENTS_TOO_LARGE = "ARGUMENTS_TOO_LARGE"
    ARGUMENTS_CHANGED = "ARGUMENTS_CHANGED"
    EXECUTABLE_CHANGED = "EXECUTABLE_CHANGED"
    TEXT_NOT_UNICODE = "TEXT_NOT_UNICODE"
    TEXT_TOO_LARGE = "TEXT_TOO_LARGE"
    TOKEN_UNREADABLE = "TOKEN_UNREADABLE"  # noqa: S105 - a cause, not a credential
    # the gate can't be asked
    NOT_CONNECTED = "NOT_CONNECTED"
    STREAM_LOST = "STREAM_LOST"
    NO_ANSWER = "NO_ANSWER"
    TOO_MANY_WAITING = "TOO_MANY_WAITING"
    CLOSED = "CLOSED"
    FORKED = "FORKED"
    # the answer can't be used
    NOT_UNDERSTOOD = "NOT_UNDERSTOOD"
    LAPSED = "LAPSED"
    KILLED = "KILLED"
    FROZEN = "FROZEN"


_UNAVAILABLE = "GATE_UNAVAILABLE"
_TEXTS: Final[dict[Cause, tuple[str, str]]] = {
    Cause.ARGUMENTS_NOT_JSON: ("MALFORMED", "the arguments are not a JSON object"),
    Cause.ARGUMENTS_TOO_DEEP: ("LIMITS", "the arguments are nested too deeply"),
    Cause.ARGUMENTS_TOO_LARGE: ("TOO_LARGE", "the arguments are larger than 64 KiB"),
    Cause.ARGUMENTS_CHANGED: ("MALFORMED", "the arguments changed while the gate decided"),
    Cause.EXECUTABLE_CHANGED: ("SCHEMA", "the program is not the one that was decided on"),
    Cause.TEXT_NOT_UNICODE: ("MALFORMED", "a field of the call is not Unicode text"),
    Cause.TEXT_TOO_LARGE: ("TOO_LARGE", "a field of the call is too long"),
    Cause.TOKEN_UNREADABLE: ("TOKEN_MISSING", "the agent's token could not be obtained"),
    Cause.NOT_CONNECTED: (_UNAVAILABLE, "the gate is not reachable"),
    Cause.STREAM_LOST: (_UNAVAILABLE, "the connection to the gate broke before it answered"),
    Cause.NO_ANSWER: ("DEADLINE", "the gate did not answer before the deadline"),
    Cause.TOO_MANY_WAITING: ("OVERLOAD", "too many calls already wait for the gate"),
    Cause.CLOSED: ("SHUTTING_DOWN", "the guard is closed"),
    Cause.FORKED: (
        _UNAVAILABLE,
        "this process was forked after its guard had connected; connect after the fork",
    ),
    Cause.NOT_UNDERSTOOD: (_UNAVAILABLE, "the gate's answer could not be understood"),
    Cause.LAPSED: ("DEADLINE", "the permission lapsed before it could be used"),
    Cause.KILLED: ("KILLED", "the agent was stopped"),
    Cause.FROZEN: ("FROZEN", "the agent was frozen"),
}


def local_denial(cause: Cause, *, status: str = "") -> Decision:
    """Return a denial for *cause*; *status* is the name of the gRPC status, if there was one."""
    code, text = _TEXTS[cause]
    metadata = {"cause": cause.value, "status": status} if status else {"cause": cause.value}
    return Decision(
        effect=Effect.DENY,
        reasons=(Reason(code, text, metadata),),
        decision_id=LOCAL_PREFIX + secrets.token_hex(16),
        is_local=True,
    )
