# SPDX-License-Identifier: Apache-2.0
"""The two formats of argument schemas that look at the file system.

Laws:

1. A format means what it says wherever it stands, or the bundle is refused: an annotation that no
   rule would ever reach (inside ``$defs``, ``patternProperties``, ``if`` …), or a misspelt
   ``holdfast-…``, is an error at load and never a check that silently does not happen.
2. A value under a format has the format's type. ``null`` and an absent property have no path to
   check; whether they may be missing is the schema's business.
3. Under ``anyOf``, ``oneOf`` and ``allOf`` every branch's formats apply: the strictest reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.arguments.executables import ExecutableIdentity, resolve_executable
from sidecar.arguments.paths import check_path
from sidecar.errors import DocumentError, ErrorReason
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

__all__ = ["ARGV_FORMAT", "PATH_FORMAT", "FormatFindings", "FormatRules", "check_formats"]

PATH_FORMAT: Final = "holdfast-path"
ARGV_FORMAT: Final = "holdfast-argv"
_PREFIX: Final = "holdfast-"
_BRANCHES: Final = ("anyOf", "oneOf", "allOf")
_VALUES: Final = ("enum", "const")
"""Keywords that hold values, not schemas: what looks like a format there is only data."""
_MAX_SCHEMA_DEPTH: Final = 64

_ITEMS: Final = None
"""A step of a rule's way that means: each item of the array."""
_Way = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatFindings:
    """What the formats of one call found: evidence, and what must still hold at use."""

    paths: tuple[str, ...] = ()
    executables: tuple[ExecutableIdentity, ...] = ()


class FormatRules:
    """The formats of one tool's argument schema, found once when the bundle is loaded."""

    def __init__(self, rules: Sequence[tuple[_Way, str]]) -> None:
        self._rules = tuple(dict.fromkeys(rules))

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> FormatRules:
        """Find the formats in *schema*.

        Raises:
            DocumentError: INVALID_BUNDLE, if one is unknown or stands where no rule reaches it.
        """
        rules = list(_reachable(schema, (), 0))
        written = list(_written(schema, 0))
        for name in written:
            if name not in (PATH_FORMAT, ARGV_FORMAT):
                raise _invalid(f"unknown format {name!r}")
        if len(written) != len(rules):
            raise _invalid(
                "a holdfast format stands outside properties, items, anyOf, oneOf and allOf"
            )
        return cls(rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def check(self, arguments: Mapping[str, Any], *, roots: Sequence[str]) -> FormatFindings:
        """Check every value of *arguments* that has a format.

        Raises:
            ShapeError: SCHEMA.
        """
        paths: list[str] = []
        executables: list[ExecutableIdentity] = []
        for way, name in self._rules:
            for value in _values(arguments, way):
                if name == PATH_FORMAT:
                    paths.append(check_path(value, roots=roots))
                else:
                    executables.append(_check_argv(value))
        return FormatFindings(paths=tuple(paths), executables=tuple(executables))


def check_formats(
    schema: Mapping[str, Any], arguments: Mapping[str, Any], roots: Sequence[str]
) -> FormatFindings:
    """Check *arguments* against the formats of *schema*; keep a ``FormatRules`` where it is hot.

    Raises:
        DocumentError: As ``FormatRules.of``.
        ShapeError: SCHEMA.
    """
    return FormatRules.of(schema).check(arguments, roots=roots)


def _check_argv(value: Any) -> ExecutableIdentity:
    if type(value) is not list or not value or any(type(word) is not str for word in value):
        raise ShapeError("a command is not a list of words", code=ReasonCode.SCHEMA)
    if any("\0" in word for word in value):
        raise ShapeError("a word of a command holds U+0000", code=ReasonCode.SCHEMA)
    return resolve_executable(value[0])


def _values(value: Any, way: _Way) -> Iterator[Any]:
    """Yield the values at *way*; a value of another shape ends the way (the schema judges it)."""
    if value is None:
        return
    if not way:
        yield value
        return
    step, rest = way[0], way[1:]
    if step is _ITEMS:
        if isinstance(value, list):
            for item in value:
                yield from _values(item, rest)
    elif isinstance(value, Mapping) and step in value:
        yield from _values(value[step], rest)


def _reachable(schema: Any, way: _Way, depth: int) -> Iterator[tuple[_Way, str]]:
    if not isinstance(schema, Mapping):
        return
    _limit(depth)
    name = schema.get("format")
    if isinstance(name, str) and name.startswith(_PREFIX):
        yield way, name
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for key, inner in properties.items():
            yield from _reachable(inner, (*way, key), depth + 1)
    yield from _reachable(schema.get("items"), (*way, _ITEMS), depth + 1)
    for branch in _BRANCHES:
        alternatives = schema.get(branch)
        if isinstance(alternatives, list):
            for inner in alternatives:
                yield from _reachable(inner, way, depth + 1)


def _written(node: Any, depth: int) -> Iterator[str]:
    """Yield every holdfast format that is written anywhere, also where it means nothing."""
    _limit(depth)
    if isinstance(node, Mapping):
        name = node.get("format")
        if isinstance(name, str) and name.startswith(_PREFIX):
            yield name
        is_schema = isinstance(node.get("type"), (str, list))  # not a mapping of properties
        for key, inner in node.items():
            if not (is_schema and key in _VALUES):
                yield from _written(inner, depth + 1)
    elif isinstance(node, list):
        for inner in node:
            yield from _written(inner, depth + 1)


def _limit(depth: int) -> None:
    if depth > _MAX_SCHEMA_DEPTH:
        raise _invalid(f"the schema nests deeper than {_MAX_SCHEMA_DEPTH}")


def _invalid(message: str) -> DocumentError:
    return DocumentError(
        message,
        key="format",
        reason=ErrorReason.INVALID_BUNDLE,
        hint=f"use {PATH_FORMAT} on a string or {ARGV_FORMAT} on an array of strings",
    )
