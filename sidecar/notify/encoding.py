# SPDX-License-Identifier: Apache-2.0
"""A notice as bytes: what the outbox keeps, and what its name is made of.

Laws:

1. A notice has one encoding, and its name is the SHA-256 of it: the same notice has the same name at
   every attempt, on every channel, after every restart. Receivers tell duplicates by it.
2. Encoding never fails on text: what is no Unicode text becomes visible escapes.

Compatibility: keys may be added with a default; none is renamed or given another meaning. Numbers of
nanoseconds are texts, because JSON numbers end at 2^53.
"""

from __future__ import annotations

import json
from dataclasses import fields
from hashlib import sha256
from typing import Any, Final

from sidecar.canonical import canonicalise
from sidecar.errors import IntegrityError
from sidecar.notify.notice import Notice, NoticeKind

__all__ = ["decode_notice", "encode_notice", "notice_id"]

_VERSION: Final = 1
_TIMES: Final = frozenset({"create_time_ns", "expire_time_ns"})
_LISTS: Final = frozenset({"approvers", "addresses"})
_NAMES: Final = tuple(field.name for field in fields(Notice))


def encode_notice(notice: Notice) -> bytes:
    """Return the one encoding of *notice*."""
    body: dict[str, Any] = {"v": _VERSION}
    for name in _NAMES:
        value = getattr(notice, name)
        if name in _LISTS:
            body[name] = [_clean(item) for item in value]
        else:
            body[name] = _clean(str(value))
    return canonicalise(body)


def decode_notice(data: bytes) -> Notice:
    """Return the notice that *data* encodes.

    Raises:
        IntegrityError: It encodes none that this release knows.
    """
    try:
        body = json.loads(data)
        if body["v"] != _VERSION:
            raise ValueError("another version")
        values: dict[str, Any] = {name: body[name] for name in _NAMES if name in body}
        for name in _TIMES:
            values[name] = int(values[name])
        for name in _LISTS & values.keys():
            values[name] = tuple(str(item) for item in values[name])
        values["kind"] = NoticeKind(values["kind"])
        return Notice(**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise IntegrityError("a stored notice cannot be read") from exc


def notice_id(notice: Notice) -> str:
    """Return the name of *notice*: ``ntc_`` and 32 hex digits."""
    return f"ntc_{sha256(encode_notice(notice)).hexdigest()[:32]}"


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
