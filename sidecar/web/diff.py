# SPDX-License-Identifier: Apache-2.0
"""What is different from the last similar call, field by field.

Laws: every leaf of both documents is compared by its JSON text, so ``1`` and ``"1"`` differ; a field
that only one of them has is said to be added or removed; what is equal is counted, not shown. Long
values are shown around their first difference: the whole text is on the page anyway.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

__all__ = ["Change", "Diff", "FieldDiff", "compare"]

_WINDOW: Final = 240
_LEAD: Final = 40
_MAX_SHOWN: Final = 200


class Change(StrEnum):
    """How a field differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDiff:
    """One field that differs; ``before`` and ``after`` are JSON texts, None where it is absent."""

    path: str
    change: Change
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What differs; ``more_count`` fields beyond those listed."""

    fields: tuple[FieldDiff, ...]
    same_count: int
    more_count: int = 0


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def compare(before: bytes, after: bytes) -> Diff:
    """Return how the canonical JSON *after* differs from *before*.

    Raises:
        ValueError: One of them is not JSON.
    """
    old, new = dict(_leaves("", _load(before))), dict(_leaves("", _load(after)))
    found: list[FieldDiff] = []
    same = 0
    for path in sorted(old.keys() | new.keys(), key=lambda path: (not _is_argument(path), path)):
        if old.get(path) == new.get(path):
            same += 1
            continue
        first, second = _around(old.get(path), new.get(path))
        change = (
            Change.ADDED
            if path not in old
            else Change.REMOVED
            if path not in new
            else Change.CHANGED
        )
        found.append(FieldDiff(path=path, change=change, before=first, after=second))
    return Diff(
        fields=tuple(found[:_MAX_SHOWN]),
        same_count=same,
        more_count=max(0, len(found) - _MAX_SHOWN),
    )


def _is_argument(path: str) -> bool:
    return path == "arguments" or path.startswith(("arguments.", "arguments["))


def _load(document: bytes) -> Any:
    return json.loads(document, parse_int=_Number, parse_float=_Number)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            name = (
                key if key.isidentifier() and key.isascii() else json.dumps(key, ensure_ascii=False)
            )
            yield from _leaves(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(f"{path}[{index}]", item)
    else:
        is_number = isinstance(value, _Number)
        yield path, str(value) if is_number else json.dumps(value, ensure_ascii=False)


def _around(before: str | None, after: str | None) -> tuple[str | None, str | None]:
    start = 0
    if before is not None and after is not None:
        shared = 0
        for left, right in zip(before, after, strict=False):
            if left != right:
                break
            shared += 1
        start = max(0, shared - _LEAD)
    return _window(before, start), _window(after, start)


def _window(text: str | None, start: int) -> str | None:
    if text is None or len(text) <= _WINDOW:
        return text
    end = start + _WINDOW
    head = f"({start} characters) … " if start else ""
    tail = f" … ({len(text) - end} more characters)" if len(text) > end else ""
    return f"{head}{text[start:end]}{tail}"
