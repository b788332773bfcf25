# SPDX-License-Identifier: Apache-2.0
"""An incident and the orders that make and change one. Frozen; an order that exists is well-formed.

Laws:

1. Titles, notes and references are words of people, perhaps copied from an alert: they are bounded,
   hold no control characters (a note may have line breaks), and are text wherever they are shown.
2. A technique is an identifier of ATT&CK or ATLAS, never free text.
3. The fingerprint of an order is over everything that it says, and nothing else.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final

from sidecar.canonical import canonicalise
from sidecar.errors import ErrorReason, UntrustedInputError
from sidecar.identifiers import check_agent_id, check_request_id

__all__ = [
    "MAX_NOTE",
    "MAX_NOTES",
    "MAX_NOTES_BYTES",
    "MAX_REFERENCE",
    "MAX_TECHNIQUES",
    "MAX_TITLE",
    "SEVERITIES",
    "Gathered",
    "Incident",
    "IncidentState",
    "IncidentVerdict",
    "Note",
    "OpenOrder",
    "UpdateOrder",
]

MAX_TITLE: Final = 200
MAX_NOTE: Final = 4000
MAX_REFERENCE: Final = 200
MAX_NOTES: Final = 500
MAX_NOTES_BYTES: Final = 512 * 1024
"""Notes of one incident together, UTF-8: whoever reads an incident gets all of them at once."""
MAX_TECHNIQUES: Final = 50
SEVERITIES: Final = ("LOW", "MEDIUM", "HIGH", "CRITICAL")

_TECHNIQUE: Final = re.compile(r"(?:AML\.)?T[0-9]{4}(?:\.[0-9]{3})?", re.ASCII)
_BREAKING: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_LAYOUT: Final = frozenset("\n\t")


class IncidentState(StrEnum):
    """Where an incident stands. Stable: stored."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


class IncidentVerdict(StrEnum):
    """What people make of it. Stable: stored."""

    UNDETERMINED = "UNDETERMINED"
    THREAT = "THREAT"
    MISCONFIGURATION = "MISCONFIGURATION"
    FALSE_POSITIVE = "FALSE_POSITIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What somebody added."""

    author: str
    create_time_ns: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What control found when the incident was opened: canonical JSON that this component never reads.

    ``brief`` is the same without the calls, for lists.
    """

    document: bytes = field(repr=False)
    brief: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of the document, hex."""
        return sha256(self.document).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident. ``document`` is empty where only a list is wanted; ``seq`` orders by opening."""

    id: str
    seq: int
    version: int
    state: IncidentState
    title: str
    severity: str
    agent: str
    document: bytes = field(repr=False)
    brief: bytes = field(repr=False)
    sha256: str
    techniques: tuple[str, ...]
    verdict: IncidentVerdict | None
    notes: tuple[Note, ...]
    author: str
    create_time_ns: int
    update_time_ns: int
    end_time_ns: int
    external_reference: str
    log_index: int

    @property
    def name(self) -> str:
        """Resource name."""
        return f"incidents/{self.id}"

    @property
    def brief_size(self) -> int:
        """Bytes of what a list tells of it, roughly."""
        return len(self.brief) + sum(len(note.text.encode()) for note in self.notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """Asks for an incident to be opened.

    Raises:
        UntrustedInputError: A field is not what it must be (laws 1 and 2).
    """

    request_id: str
    agent: str
    title: str
    severity: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    techniques: tuple[str, ...] = ()
    verdict: IncidentVerdict | None = None
    note: str = ""
    external_reference: str = ""

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_agent_id(self.agent)
        _check_line("title", self.title, MAX_TITLE)
        if not self.title.strip():
            raise _unfit("the title is empty")
        if self.severity not in ("", *SEVERITIES):
            raise _unfit(f"severity is none of {', '.join(SEVERITIES)}")
        _check_techniques(self.techniques)
        _check_note(self.note)
        _check_line("external_reference", self.external_reference, MAX_REFERENCE)

    def fingerprint(self, author: str) -> str:
        """Return what tells this order of *author* from every other (law 3)."""
        return _fingerprint(
            {
                "order": "open",
                "author": author,
                "agent": self.agent,
                "title": self.title,
                "severity": self.severity,
                "since": _number(self.since_ns),
                "until": _number(self.until_ns),
                "techniques": list(self.techniques),
                "verdict": self.verdict or "",
                "note": self.note,
                "external_reference": self.external_reference,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOrder:
    """Asks for something to be added to an incident, or for it to be closed.

    Raises:
        UntrustedInputError: A field is not what it must be, or there is nothing to add.
    """

    request_id: str
    incident_id: str
    verdict: IncidentVerdict | None = None
    techniques: tuple[str, ...] = ()
    note: str = ""
    is_closing: bool = False

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        _check_techniques(self.techniques)
        _check_note(self.note)
        if not (self.verdict or self.techniques or self.note or self.is_closing):
            raise _unfit("there is nothing to add: give a verdict, techniques, a note, or close it")

    def fingerprint(self, author: str) -> str:
        """Return what tells this order of *author* from every other (law 3)."""
        return _fingerprint(
            {
                "order": "update",
                "author": author,
                "incident": self.incident_id,
                "verdict": self.verdict or "",
                "techniques": list(self.techniques),
                "note": self.note,
                "close": self.is_closing,
            }
        )


def _fingerprint(body: dict[str, object]) -> str:
    return sha256(canonicalise(body)).hexdigest()


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _check_techniques(techniques: tuple[str, ...]) -> None:
    if len(techniques) > MAX_TECHNIQUES:
        raise _unfit(f"there are more than {MAX_TECHNIQUES} techniques")
    if not all(_TECHNIQUE.fullmatch(technique) for technique in techniques):
        raise _unfit(
            "a technique is not of the form T1234, T1234.001, AML.T0053 or AML.T0051.001",
            "name it as MITRE ATT&CK or ATLAS does",
        )


def _check_note(text: str) -> None:
    _check_line("note", text, MAX_NOTE, allowed=_LAYOUT)


def _check_line(name: str, text: str, most: int, *, allowed: frozenset[str] = frozenset()) -> None:
    if len(text) > most:
        raise _unfit(f"{name} is longer than {most} characters")
    if any(unicodedata.category(char) in _BREAKING and char not in allowed for char in text):
        raise _unfit(f"{name} holds a control character" + ("" if allowed else " or a line break"))


def _unfit(message: str, hint: str = "") -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT, hint=hint)
