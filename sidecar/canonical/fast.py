# SPDX-License-Identifier: Apache-2.0
"""A short cut for everyday JSON, by ``orjson`` where it is installed.

Laws:

1. *Never refuses, never decides.* ``None`` means "not my case": the strict lane (``parse``,
   ``form``) then parses, encodes or refuses. Without orjson everything is not its case, and only
   time is lost.
2. *Never differs.* What it does answer equals the strict lane's answer, byte for byte and type for
   type; a property test holds both against each other.

Why the few tests here are enough: orjson checks UTF-8, NaN, control characters, lone surrogates and
trailing bytes itself. It is silent about four things, and each has its test:

* **duplicate keys** (the last wins): every member that is dropped takes at least one colon with it,
  strings keep theirs, and text without ``\\u`` escapes cannot make one appear. So equal numbers of
  colons before and after mean that no member was lost;
* **escaped NUL and surrogates**: text with ``\\u`` is not our case;
* **integers beyond 2^53**: ``OPT_STRICT_INTEGER``, and beyond 64 bits they come as integral floats;
* **floats**: only those that orjson and ECMAScript print alike: not integral, not tiny.
"""

from __future__ import annotations

import re
from typing import Any, Final

_orjson: Any
try:
    import orjson
except ImportError:
    _orjson = None
else:
    _orjson = orjson

__all__ = ["encode", "parse_object"]

_MAX_DEPTH: Final = 64
_SCALARS: Final = frozenset({str, int, bool, type(None)})
_SMALLEST_PLAIN_FLOAT: Final = 1e-3
# Code point order (orjson) and UTF-16 order (RFC 8785) differ only if a key holds such characters.
_ASTRAL: Final = re.compile(rb"[\xf0-\xf4]").search
_OPTIONS: Final = (
    0
    if _orjson is None
    else _orjson.OPT_SORT_KEYS
    | _orjson.OPT_STRICT_INTEGER
    | _orjson.OPT_PASSTHROUGH_DATACLASS
    | _orjson.OPT_PASSTHROUGH_DATETIME
    | _orjson.OPT_PASSTHROUGH_SUBCLASS
)


def parse_object(
    data: bytes, *, max_bytes: int, max_depth: int
) -> tuple[dict[str, Any], bytes] | None:
    """Return the object in *data* and its RFC 8785 bytes, or ``None`` if this is not our case.

    The caller has chosen *max_bytes* so small that no such text can break a limit on nodes or
    string lengths.
    """
    if _orjson is None or len(data) > max_bytes or b"\\u" in data:
        return None
    if data.count(b"{") + data.count(b"[") > max_depth:
        return None
    try:
        value = _orjson.loads(data)
    except _orjson.JSONDecodeError:
        return None
    if type(value) is not dict:
        return None
    canonical = encode(value)
    if canonical is None or not _has_every_member(data, canonical):
        return None
    return value, canonical


def encode(value: Any) -> bytes | None:
    """Return the RFC 8785 bytes of *value*, or ``None`` if this is not our case."""
    if _orjson is None or not _is_everyday(value, 0):
        return None
    try:
        canonical: bytes = _orjson.dumps(value, None, _OPTIONS)
    except _orjson.JSONEncodeError:
        return None
    if not canonical.isascii() and _ASTRAL(canonical) and _has_astral_key(value):
        return None
    # An exact copy: orjson hands out its whole buffer, 4 KiB and up for a few bytes of text.
    return b"%b" % canonical


def _has_every_member(data: bytes, canonical: bytes) -> bool:
    return data.count(b":") == canonical.count(b":")


def _is_everyday(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is dict:
        items = value.values()
    elif kind is list:
        items = value
    else:
        return kind in _SCALARS or (kind is float and _is_plain_float(value))
    for item in items:
        kind = type(item)
        if kind in _SCALARS:
            continue
        if kind is float:
            if not _is_plain_float(item):
                return False
        elif depth >= _MAX_DEPTH or not _is_everyday(item, depth + 1):
            return False
    return True


def _has_astral_key(value: Any) -> bool:
    if type(value) is dict:
        if any(max(key, default="") > "\uffff" for key in value):
            return True
        value = value.values()
    elif type(value) is not list:
        return False
    return any(_has_astral_key(item) for item in value)


def _is_plain_float(number: float) -> bool:
    # NaN fails the comparison; infinity is above its upper end.
    return not number.is_integer() and _SMALLEST_PLAIN_FLOAT <= abs(number) < 2**53
