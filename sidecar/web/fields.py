# SPDX-License-Identifier: Apache-2.0
"""Log entries as lines of names and values; every value is a text, however deep it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["FieldLine", "field_lines"]

_MAX_LINES: Final = 400


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One value and where it stands: ``token.issuer``, ``reasons[0]``."""

    name: str
    value: str


def field_lines(
    fields: Mapping[str, Any], *, without: frozenset[str] = frozenset()
) -> tuple[FieldLine, ...]:
    """Return the leaves of *fields* but for the top-level names in *without*."""
    found = tuple(_leaves("", {name: fields[name] for name in fields if name not in without}))
    if len(found) <= _MAX_LINES:
        return found
    left = len(found) - _MAX_LINES
    return (
        *found[:_MAX_LINES],
        FieldLine("…", f"{left} more values; export the entry to read them"),
    )


def _leaves(path: str, value: Any) -> Iterator[FieldLine]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), item)
    elif isinstance(value, (list, tuple)) and value:
        if all(isinstance(item, str) for item in value):
            yield FieldLine(path, ", ".join(value))
        else:
            for index, item in enumerate(value):
                yield from _leaves(f"{path}[{index}]", item)
    elif isinstance(value, str):
        yield FieldLine(path, value)
    else:
        yield FieldLine(path, json.dumps(value, ensure_ascii=False))
