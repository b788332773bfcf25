# SPDX-License-Identifier: Apache-2.0
"""What a notice says in words, the same in every channel.

Laws:

1. Words of an agent or an approver are text. What cannot be seen is made visible as ``\\u{hex}``:
   control and direction characters, zero widths, fillers that look like nothing, variation
   selectors, and combining marks beyond three in a row. One line stays one line.
2. Everything is cut to a length that every channel carries, and a cut says so: who decides looks at
   the page or the command, never at a message alone.
3. A message holds a link and a command, never a button that decides.
4. The link is made of characters that mean nothing to any markup, or it is left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.audit.safetext import escape_text
from sidecar.clock import datetime_of
from sidecar.notify.notice import Notice, NoticeKind

__all__ = ["Message", "plain", "safe_link", "wording_of"]

_MAX_TEXT: Final = 600
_MAX_NAME: Final = 128
_MAX_LISTED: Final = 20
_MAX_MARKS: Final = 3
_MAX_LINK: Final = 1024
# Printable for Python, and nothing to see: grapheme joiner, Hangul and Khmer fillers, Mongolian and
# general variation selectors, the empty Braille cell.
_NOTHING_TO_SEE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0"
    "\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_LINK: Final = re.compile(
    r"(?:https://[A-Za-z0-9.-]{1,253}|http://(?:localhost|127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?"
    r"(?:/[A-Za-z0-9._~/-]*)?"
).fullmatch
_TITLES: Final[Mapping[NoticeKind, str]] = {
    NoticeKind.OPENED: "Approval needed",
    NoticeKind.REMINDER: "Still waiting for a decision",
    NoticeKind.ESCALATION: "Escalation: nobody has decided",
    NoticeKind.ALERT: "Holdfast alert",
}
_OUTCOMES: Final[Mapping[str, str]] = {
    "GRANTED": "Granted",
    "CONSUMED": "Granted and used",
    "REFUSED": "Refused",
    "EXPIRED": "Expired: nobody decided in time",
    "CANCELLED": "Cancelled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A notice in words. Only ``title``, ``label``s, ``link`` and ``command`` are wholly ours.

    Attributes:
        title: What it is about; with the tier, if there is one.
        facts: Label and text, in the order in which people need them. Texts are escaped and cut.
        link: Where it is decided; empty if there is none.
        command: How to see it in a terminal; empty if there is none.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    link: str
    command: str


def wording_of(notice: Notice) -> Message:
    """Return what *notice* says."""
    is_over = notice.kind is NoticeKind.DECIDED
    if is_over:
        title = _OUTCOMES.get(notice.state) or plain(notice.state, _MAX_NAME)
    else:
        title = _TITLES[notice.kind]
    if notice.tier:
        title += f" [{plain(notice.tier, _MAX_NAME)}]"
    facts = [
        ("What", plain(notice.summary)),
        ("What happened", "" if notice.detail == notice.summary else plain(notice.detail)),
        ("Agent", plain(notice.agent, _MAX_NAME)),
        ("Tool", plain(notice.tool, _MAX_NAME)),
        ("Why a human must decide", plain(notice.reason)),
        ("Risk", plain(notice.tier, _MAX_NAME)),
        ("Fingerprint", plain(notice.words, _MAX_NAME)),
        ("Who may decide", _listed(notice.approvers)),
        ("Refused by itself at", "" if is_over else _time(notice.expire_time_ns)),
        ("Approval", plain(notice.approval, _MAX_NAME)),
    ]
    return Message(
        title=title,
        facts=tuple((label, text) for label, text in facts if text),
        link=safe_link(notice.url),
        command=plain(notice.command, 2 * _MAX_NAME),
    )


def plain(text: str, max_chars: int = _MAX_TEXT) -> str:
    """Return *text* on one line, with everything visible (law 1), cut to *max_chars* (law 2)."""
    pieces: list[str] = []
    room = max_chars
    marks = 0
    for at, char in enumerate(text):
        is_mark = unicodedata.category(char) in {"Mn", "Me"}
        marks = marks + 1 if is_mark else 0
        if marks > _MAX_MARKS or _NOTHING_TO_SEE.match(char):
            piece = f"\\u{{{ord(char):x}}}"
        else:
            piece = escape_text(char)
        room -= len(piece)
        if room < 0:
            pieces.append(f"… (+{len(text) - at} characters)")
            break
        pieces.append(piece)
    return "".join(pieces)


def safe_link(url: str) -> str:
    """Return *url* if it is one that no markup can misread (law 4), else nothing."""
    return url if len(url) <= _MAX_LINK and _LINK(url) else ""


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(plain(name, _MAX_NAME) for name in names[:_MAX_LISTED])
    more = len(names) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown


def _time(wall_ns: int) -> str:
    return f"{datetime_of(wall_ns):%Y-%m-%d %H:%M:%S} UTC" if wall_ns > 0 else ""
