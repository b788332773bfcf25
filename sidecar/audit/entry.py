# SPDX-License-Identifier: Apache-2.0
"""What one audit entry is.

An entry is one JSON object in RFC 8785 canonical form: one line without a line break, at most
65535 bytes. Laws:

1. The log, not the caller, sets ``v``, ``seq``, ``time``, ``boot_ns`` and ``origin``. Order is
   ``seq`` (which is also the leaf's index in the tree); a clock that goes back reorders nothing.
2. The values are strings, integers of at most 53 bits, booleans, lists and objects with ASCII keys;
   there are no floats and no nulls. In this domain orjson's sorted output *is* RFC 8785 (a property
   test holds it to the reference implementation), at a twentieth of the cost.
3. No string holds a character that steers a terminal or breaks a line (``safetext``).
4. An absent value is an absent field; ``None`` at the top level means absent.

Compatibility, for everybody who ever reads a log: fields and kinds may be **added**; none may be
renamed, removed, change its type or its meaning. Readers ignore fields and kinds that they do not
know. ``v`` grows only if one of these sentences has to be broken. Wide integers (nanoseconds,
``boot_ns``) are decimal strings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, cast

import orjson

from sidecar.audit.safetext import escape_text
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import ErrorReason, IntegrityError, UntrustedInputError

__all__ = [
    "ENTRY_VERSION",
    "MAX_ENTRY_BYTES",
    "RESERVED_FIELDS",
    "EntryEncoder",
    "Kind",
    "canonical_json",
    "decode_entry",
    "format_time",
]

ENTRY_VERSION: Final = 1
MAX_ENTRY_BYTES: Final = 65535
MAX_SAFE_INTEGER: Final = 2**53 - 1
RESERVED_FIELDS: Final = frozenset({"v", "seq", "time", "boot_ns", "origin"})

_MAX_DEPTH: Final = 16
_MAX_KNOWN_KINDS: Final = 256
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z")
_PLAIN_SCALARS: Final = frozenset({str, bool, int})
_ORJSON_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


class Kind(StrEnum):
    """The kinds that Holdfast itself writes. Add at the end; never rename, never reuse (law)."""

    START = "start"
    STOP = "stop"
    DECISION = "decision"
    OUTCOME = "outcome"
    CONTAIN = "contain"
    RELEASE = "release"
    EXPIRE = "expire"
    REVOKE = "revoke"
    APPROVAL = "approval"
    POLICY = "policy"
    REFUSAL = "refusal"
    RECEIPT = "receipt"
    ALERT = "alert"
    ACCOUNT = "account"
    API_TOKEN = "api_token"  # noqa: S105 - a kind of entry
    INCIDENT = "incident"
    INCIDENT_UPDATE = "incident_update"
    EVIDENCE = "evidence"


class EntryEncoder:
    """Makes the bytes of entries for one log."""

    def __init__(self, *, origin: str, clock: Clock) -> None:
        self._origin = origin
        self._clock = clock
        self._second = -1
        self._second_text = ""
        self._known_kinds: set[object] = set()

    def encode(self, seq: int, fields: Mapping[str, Any]) -> bytes:
        """Return the canonical bytes of entry *seq* with *fields*.

        Raises:
            ValueError: *fields* are outside the domain of law 2, lack ``kind`` or set a reserved
                field. That is a mistake of ours, not of an agent.
            UntrustedInputError: the entry is larger than ``MAX_ENTRY_BYTES``.
        """
        document = dict(fields)
        if None in document.values():
            document = {key: value for key, value in document.items() if value is not None}
        if document.get("kind") not in self._known_kinds:
            self._admit_kind(document.get("kind"))
        given = len(document)
        document["v"] = ENTRY_VERSION
        document["seq"] = seq
        document["time"] = self._now()
        document["boot_ns"] = str(self._clock.boot_ns())
        document["origin"] = self._origin
        if len(document) != given + len(RESERVED_FIELDS):  # law 1
            raise ValueError(f"the log sets {sorted(RESERVED_FIELDS & fields.keys())} itself")
        line = canonical_json(document)
        if len(line) > MAX_ENTRY_BYTES:
            raise UntrustedInputError(
                f"an audit entry of {len(line)} bytes is over the limit of {MAX_ENTRY_BYTES}",
                reason=ErrorReason.INVALID_ARGUMENT,
                hint="send smaller arguments or reveal fewer of them",
            )
        # orjson's result keeps its 8 KiB working buffer; entries wait in memory, so copy it out.
        return bytes(memoryview(line))

    def _admit_kind(self, kind: object) -> None:
        if not isinstance(kind, str) or not _KIND.match(kind):
            raise ValueError("an entry needs a kind")
        if len(self._known_kinds) < _MAX_KNOWN_KINDS:
            self._known_kinds.add(kind)

    def _now(self) -> str:
        second, nanoseconds = divmod(self._clock.wall_ns(), NS_PER_SECOND)
        if second != self._second:  # formatting a date costs ten times the rest
            self._second_text = _format_second(second)
            self._second = second
        return f"{self._second_text}.{nanoseconds:09d}Z"


def canonical_json(document: Mapping[str, Any]) -> bytes:
    """Return *document* in canonical form, strings escaped (laws 2 and 3).

    Raises:
        ValueError: *document* is outside the domain.
    """
    _check_items(document.values(), 0)
    try:
        line = orjson.dumps(document, option=_ORJSON_OPTIONS)
        # In canonical JSON every control character, quote and backslash shows as a backslash: a
        # line of plain ASCII without one, and without DEL, needs no second look.
        if b"\\" not in line and line.isascii() and b"\x7f" not in line:
            return line
    except orjson.JSONEncodeError:
        pass  # a lone surrogate is escaped like any other character that nobody can see
    try:
        return orjson.dumps(_escaped(document), option=_ORJSON_OPTIONS)
    except orjson.JSONEncodeError as exc:
        raise ValueError(f"not an audit entry: {exc}") from exc


def decode_entry(line: bytes) -> dict[str, Any]:
    """Return the entry in *line*.

    Raises:
        IntegrityError: *line* is not a JSON object with the fields of law 1.
    """
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise IntegrityError("an audit entry is not JSON") from exc
    if not isinstance(document, dict) or not isinstance(document.get("seq"), int):
        raise IntegrityError("an audit entry is not an object with a sequence number")
    return document


def format_time(wall_ns: int) -> str:
    """Return *wall_ns* as entries write it: RFC 3339, UTC, nine digits, so that text sorts."""
    second, nanoseconds = divmod(wall_ns, NS_PER_SECOND)
    return f"{_format_second(second)}.{nanoseconds:09d}Z"


def _format_second(second: int) -> str:
    moment = time.gmtime(second)
    return (
        f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}"
        f"T{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}"
    )


def _check_items(items: Iterable[object], depth: int) -> None:
    """Refuse what law 2 refuses; keys and the width of integers are left to the encoder."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"an audit entry is nested deeper than {_MAX_DEPTH}")
    for item in items:
        kind = type(item)
        if kind in _PLAIN_SCALARS:
            continue
        if kind is dict:
            _check_items(cast("dict[str, object]", item).values(), depth + 1)
        elif kind is list or kind is tuple:
            _check_items(cast("Sequence[object]", item), depth + 1)
        elif not isinstance(item, (str, int)):  # the enums of ``sidecar.model`` are one of both
            raise ValueError(f"an audit entry cannot hold a {kind.__name__}")


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return escape_text(value)
        case dict():
            if not all(isinstance(key, str) and key.isascii() for key in value):
                raise ValueError("keys of an audit entry are ASCII strings")
            return {escape_text(key): _escaped(item) for key, item in value.items()}
        case list() | tuple():
            return [_escaped(item) for item in value]
        case _:
            return value
