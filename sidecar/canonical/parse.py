# SPDX-License-Identifier: Apache-2.0
"""Strict I-JSON (RFC 7493): the only way in which arguments enter.

The decider and the doer must see the same arguments, so whatever two parsers could read in two ways
is refused, and nothing is repaired:

1. UTF-8 without byte order mark; one object and nothing after it; RFC 8259 grammar (no NaN).
2. No key twice in one object, at any depth.
3. Every number has one meaning as an IEEE 754 double: its magnitude is at most 2^53 - 1 however
   it is written (``1e300`` too), it does not overflow, and it does not vanish (``1e-400``).
   An integral number is an ``int`` whether it came as ``1``, ``1.0`` or ``-0.0``: the parsed value
   is a function of the canonical bytes, so ``parse(canonical(parse(x))) == parse(x)``.
4. No lone surrogate and no U+0000 in any string.
5. Limits on bytes, depth, nodes and string length, tested before they cost anything.

A refusal tells the rule that was broken, never a piece of the text (``from None``: the decoder's
own errors carry all of it). Parsed values are shared by a memo: treat them as immutable.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Never

from sidecar.canonical import fast
from sidecar.canonical.form import canonicalise
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

__all__ = [
    "DEFAULT_LIMITS",
    "MAX_SAFE_INTEGER",
    "JsonLimits",
    "JsonObject",
    "parse_and_canonicalise",
    "parse_arguments",
]

JsonObject = dict[str, Any]

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Beyond it, neighbouring integers are one and the same double (RFC 7493 section 2.2)."""

_LONGEST_SAFE_INTEGER: Final = len(str(-MAX_SAFE_INTEGER))
_FORBIDDEN_CHARACTER: Final = re.compile("[\0\ud800-\udfff]").search
_JSON_SPACE: Final = " \t\n\r"
# An unterminated string runs to the end: linear on any input.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NOT_A_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLimits:
    """How much one argument object may hold. Depth counts the object itself as 1."""

    max_bytes: int = 64 * 1024
    max_depth: int = 32
    max_nodes: int = 10_000
    """Values: objects, arrays and scalars; keys are not counted."""
    max_string_bytes: int = 64 * 1024
    """UTF-8 bytes of one string or key."""

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_depth, self.max_nodes, self.max_string_bytes) < 1:
            raise ValueError("every limit must be at least 1")
        if self.max_depth > 200:
            raise ValueError("max_depth must stay far below the interpreter's recursion limit")

    @property
    def max_harmless_bytes(self) -> int:
        """Size up to which no text can break the limits on nodes and strings.

        Each value costs at least two bytes (itself and a comma or a pair of brackets).
        """
        return min(self.max_bytes, self.max_string_bytes, 2 * self.max_nodes)


DEFAULT_LIMITS: Final = JsonLimits()


def parse_arguments(data: bytes, *, limits: JsonLimits = DEFAULT_LIMITS) -> JsonObject:
    """Return the JSON object in *data*.

    Raises:
        ShapeError: MALFORMED, LIMITS or TOO_LARGE; no other exception leaves this function.
    """
    if len(data) > limits.max_bytes:
        raise ShapeError(
            f"the arguments are longer than {limits.max_bytes} bytes", code=ReasonCode.TOO_LARGE
        )
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ShapeError("the arguments are not UTF-8") from None
    _check_structure(data, limits)
    value = _decode(text.strip(_JSON_SPACE))
    if type(value) is not dict:
        raise ShapeError("the arguments are not a JSON object")
    if "\\u" in text or len(data) > limits.max_string_bytes:
        _check_strings(value, limits)
    return value


def parse_and_canonicalise(
    data: bytes, *, limits: JsonLimits = DEFAULT_LIMITS
) -> tuple[JsonObject, bytes]:
    """Return the JSON object in *data* and its RFC 8785 bytes; raises as ``parse_arguments``."""
    quick = fast.parse_object(data, max_bytes=limits.max_harmless_bytes, max_depth=limits.max_depth)
    if quick is not None:
        return quick
    value = parse_arguments(data, limits=limits)
    return value, canonicalise(value)


def _decode(text: str) -> Any:
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as exc:
        raise ShapeError(f"the arguments are not JSON: error at character {exc.pos}") from None
    if end != len(text):
        raise ShapeError(f"the arguments go on after the object's end, at character {end}")
    return value


def _check_structure(data: bytes, limits: JsonLimits) -> None:
    """Law 5, before the decoder recurses and builds anything."""
    opened = data.count(b"{") + data.count(b"[")
    if opened <= limits.max_depth and len(data) <= 2 * limits.max_nodes:
        return
    skeleton = _STRING.sub(b"0", data)
    _check_nodes(skeleton, limits.max_nodes)
    _check_depth(skeleton.translate(_BRACKETS, _NOT_A_BRACKET), limits.max_depth)


def _check_nodes(skeleton: bytes, max_nodes: int) -> None:
    """Count values: a container that is not empty holds one more than it has commas."""
    dense = skeleton.translate(None, _JSON_SPACE.encode())
    filled = dense.count(b"[") + dense.count(b"{") - dense.count(b"[]") - dense.count(b"{}")
    if 1 + dense.count(b",") + filled > max_nodes:
        raise ShapeError(f"the arguments hold more than {max_nodes} values", code=ReasonCode.LIMITS)


def _check_depth(brackets: bytes, max_depth: int) -> None:
    """Take away leaf brackets, one level at a time."""
    for _ in range(max_depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if not brackets:
        return
    opened = brackets.count(b"[")
    if opened <= max_depth and opened != brackets.count(b"]"):
        raise ShapeError("the arguments are not JSON: brackets do not match")
    raise ShapeError(f"the arguments nest deeper than {max_depth}", code=ReasonCode.LIMITS)


def _check_strings(root: JsonObject, limits: JsonLimits) -> None:
    """Laws 4 and 5 for text that could break them."""
    pending: list[Any] = [root]
    while pending:
        value = pending.pop()
        if type(value) is str:
            _check_string(value, limits)
        elif type(value) is dict:
            for key in value:
                _check_string(key, limits)
            pending.extend(value.values())
        elif type(value) is list:
            pending.extend(value)


def _check_string(text: str, limits: JsonLimits) -> None:
    if _FORBIDDEN_CHARACTER(text):
        raise ShapeError("a string of the arguments holds U+0000 or a lone surrogate")
    # Four bytes to a character at most: most strings need no encoding to be known as short.
    if 4 * len(text) > limits.max_string_bytes and len(text.encode()) > limits.max_string_bytes:
        raise ShapeError(
            f"a string of the arguments is longer than {limits.max_string_bytes} bytes",
            code=ReasonCode.LIMITS,
        )


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Law 2."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ShapeError("an object of the arguments has the same key twice")
    return value


def _integer(literal: str) -> int:
    """Law 3; the length first, because converting thousands of digits is slow and may raise."""
    if len(literal) <= _LONGEST_SAFE_INTEGER:
        number = int(literal)
        if -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER:
            return number
    raise _beyond_double()


def _number(literal: str) -> int | float:
    """Law 3 for literals with a fraction or an exponent."""
    number = float(literal)
    if not abs(number) <= MAX_SAFE_INTEGER:
        raise _beyond_double()
    if number == 0 and literal.lower().partition("e")[0].strip("-0."):
        raise ShapeError("a number of the arguments is too small", code=ReasonCode.LIMITS)
    return int(number) if number.is_integer() else number


def _constant(literal: str) -> Never:
    """Law 1: ``NaN`` and ``Infinity`` are JavaScript, not JSON."""
    del literal
    raise ShapeError("the arguments are not JSON: NaN or Infinity")


def _beyond_double() -> ShapeError:
    return ShapeError(
        "a number of the arguments is beyond 2^53 - 1",
        code=ReasonCode.LIMITS,
        hint="send large identifiers as strings",
    )


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_constant,
)
