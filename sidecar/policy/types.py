# SPDX-License-Identifier: Apache-2.0
"""What of a tool's arguments a policy can see, as Cedar types.

The JSON Schema of a tool is read once into this small tree; the Cedar schema, the conversion of
arguments and the cache key are all derived from it, so they cannot disagree about a type.

====================================  =====================================
JSON Schema                           Cedar
====================================  =====================================
string                                String
boolean                               Bool
integer                               Long
number                                decimal (four digits after the point)
array of T                            Set<T>
object with properties                Record
nullable, or not ``required``         optional attribute; null means absent
anything else                         not visible to policies
====================================  =====================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

__all__ = [
    "EMPTY_RECORD",
    "Attribute",
    "CedarType",
    "RecordType",
    "Scalar",
    "SetType",
    "type_at",
    "visible_record",
]


class Scalar(Enum):
    """A type without parts."""

    STRING = "String"
    BOOL = "Bool"
    LONG = "Long"
    DECIMAL = "decimal"


@dataclass(frozen=True, slots=True)
class SetType:
    """Cedar's Set: order and duplicates do not matter to a policy."""

    element: CedarType


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a record; an optional one may be absent."""

    type: CedarType
    is_required: bool


@dataclass(frozen=True, slots=True)
class RecordType:
    """Cedar's Record with its known attributes."""

    attributes: Mapping[str, Attribute]


CedarType = Scalar | SetType | RecordType

EMPTY_RECORD: Final = RecordType(MappingProxyType({}))

_SCALARS: Final = {
    "string": Scalar.STRING,
    "boolean": Scalar.BOOL,
    "integer": Scalar.LONG,
    "number": Scalar.DECIMAL,
}


def visible_record(schema: Mapping[str, Any]) -> RecordType:
    """Return the visible part of an object schema that ``arguments.check_schema`` accepted."""
    required = frozenset(schema.get("required", ()))
    attributes: dict[str, Attribute] = {}
    for name, sub in schema.get("properties", {}).items():
        inner, is_nullable = _without_null(sub)
        found = _visible(inner)
        if found is not None:
            attributes[name] = Attribute(found, name in required and not is_nullable)
    return RecordType(MappingProxyType(attributes))


def _visible(schema: Mapping[str, Any] | None) -> CedarType | None:
    if schema is None:
        return None
    kind = schema.get("type")
    if not isinstance(kind, str):
        return None
    if kind == "array":
        element, is_nullable = _without_null(schema["items"])
        found = None if is_nullable else _visible(element)
        return None if found is None else SetType(found)
    if kind == "object":
        return visible_record(schema)
    return _SCALARS.get(kind)


def _without_null(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool]:
    """Return *schema* without null, and whether it took null; None when that has no one type."""
    if "anyOf" in schema:
        others = [sub for sub in schema["anyOf"] if sub.get("type") != "null"]
        is_nullable = len(others) < len(schema["anyOf"])
        return (others[0] if is_nullable and len(others) == 1 else None), is_nullable
    kinds = schema.get("type")
    if isinstance(kinds, list):
        others = [kind for kind in kinds if kind != "null"]
        is_nullable = len(others) < len(kinds)
        return ({**schema, "type": others[0]} if len(others) == 1 else None), is_nullable
    return schema, False


def type_at(record: RecordType, path: tuple[str, ...]) -> CedarType | None:
    """Return the type that *path* leads to inside *record*, or None if nothing is there."""
    current: CedarType = record
    for name in path:
        if not isinstance(current, RecordType) or name not in current.attributes:
            return None
        current = current.attributes[name].type
    return current
