# SPDX-License-Identifier: Apache-2.0
"""Several logs as one timeline, and where its next page begins.

Laws:

1. Within a log the order is the log's own; a clock that went back reorders nothing. Between logs the
   newer of two heads comes first, and the name of the log decides between equals: the same logs give
   the same timeline.
2. A page is stable: its token carries the window and, for each log, how far it was told. What is
   logged meanwhile changes no later page, and nothing is told twice or left out.
3. A log of which only a part was looked at is never overtaken: if it might hold something newer than
   what another log would show next, the page ends there, short.
4. A token opens nothing: it is only good for the question it was made for, and names no log that the
   question would not have read.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from sidecar.errors import ErrorReason, UntrustedInputError
from sidecar.investigate.values import Event

__all__ = ["Cursor", "Part", "merge", "with_outcomes"]

_VERSION: Final = 1
_MAX_TOKEN: Final = 64 * 1024
_MAX_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was found in one log, newest first.

    ``down_to`` is the entry down to which (itself included) the log was looked at; ``is_whole`` says
    that nothing older is wanted.
    """

    events: Sequence[Event]
    down_to: int
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a page begins: the window, and the first entry of each log that is not told any more.

    A log that is not in ``below`` was told whole.
    """

    since_ns: int
    until_ns: int
    below: Mapping[str, int]

    def token(self, *, agent: str, session: str) -> str:
        """Return the cursor as a page token of that question."""
        body = {
            "v": _VERSION,
            "q": _question(agent, session),
            "s": self.since_ns,
            "u": self.until_ns,
            "b": dict(self.below),
        }
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode("ascii")

    @classmethod
    def of_token(cls, token: str, *, agent: str, session: str, logs: Collection[str]) -> Cursor:
        """Return the cursor in *token* (law 4).

        Args:
            token: As an earlier answer gave it.
            agent: Of the question.
            session: Of the question.
            logs: Those that the question reads.

        Raises:
            UntrustedInputError: It is none, or one of another question.
        """
        body = _parsed(token)
        below = body.get("b")
        window = (body.get("s"), body.get("u"))
        if body.get("v") != _VERSION or body.get("q") != _question(agent, session):
            raise _foreign()
        if not isinstance(below, dict) or not below or not set(below) <= set(logs):
            raise _foreign()
        if not all(_is_number(value) for value in (*window, *below.values())):
            raise _foreign()
        return cls(since_ns=body["s"], until_ns=body["u"], below=below)


def merge(
    parts: Mapping[str, Part], cursor: Cursor, *, limit: int
) -> tuple[list[Event], Cursor | None]:
    """Return up to *limit* events of *parts*, newest first, and where the next page begins."""
    told: list[Event] = []
    place = dict.fromkeys(parts, 0)
    while len(told) < limit:
        heads = []
        for log, part in parts.items():
            if place[log] < len(part.events):
                heads.append((-part.events[place[log]].time_ns, log))
            elif not part.is_whole:
                heads = []  # law 3
                break
        if not heads:
            break
        _, log = min(heads)
        told.append(parts[log].events[place[log]])
        place[log] += 1
    below = {}
    for log, part in parts.items():
        if place[log] < len(part.events):
            at = place[log] - 1
            below[log] = part.events[at].index if at >= 0 else cursor.below[log]
        elif not part.is_whole:
            below[log] = part.down_to
    return told, replace(cursor, below=below) if below else None


def with_outcomes(events: Sequence[Event], outcomes: Mapping[str, str]) -> list[Event]:
    """Return *events* with how each decision's call ended, by decision id."""
    return [
        replace(event, outcome=outcomes[event.decision_id])
        if event.kind == "decision" and event.decision_id in outcomes
        else event
        for event in events
    ]


def _question(agent: str, session: str) -> str:
    return sha256(json.dumps([agent, session]).encode()).hexdigest()[:16]


def _parsed(token: str) -> Mapping[str, Any]:
    try:
        if len(token) > _MAX_TOKEN:
            raise _foreign()
        body = json.loads(base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as exc:
        raise _foreign() from exc
    if not isinstance(body, dict):
        raise _foreign()
    return body


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_INTEGER


def _foreign() -> UntrustedInputError:
    return UntrustedInputError(
        "page_token is not one that an earlier answer to this question gave",
        reason=ErrorReason.INVALID_ARGUMENT,
    )
