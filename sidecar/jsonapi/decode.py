# SPDX-License-Identifier: Apache-2.0
"""JSON to protobuf, strictly: a text that two readers could understand differently is refused.

Protobuf's own reader is made to be lenient (``"1_000"`` is a number to it, base64 may hold anything
between its letters, an enum may be any number), and this is where orders to contain come in.

Laws:

1. The text is strict I-JSON (``sidecar.canonical``): one object, no key twice, no NaN, no lone
   surrogate, bounded in bytes, depth and values.
2. A field goes by its ``lowerCamelCase`` or by its original name, and comes once; a field that we do
   not know is refused, for an order with it is one that we did not understand.
3. A value has the one form that the proto3 JSON mapping writes: integers in plain decimal (as number
   or text), enums by name, bytes in padded base64 of either alphabet, times as RFC 3339 in UTC, spans
   as seconds with ``s``. ``null`` is an absent field, and nothing else.
4. A refusal names the place and the rule, never the value.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from sidecar.canonical import JsonLimits, ShapeError, parse_arguments
from sidecar.errors import ErrorReason, UntrustedInputError

__all__ = ["MAX_BODY_BYTES", "decode", "parse_object"]

MAX_BODY_BYTES: Final = 1024 * 1024
"""As much as a gRPC request may have."""

_LIMITS: Final = JsonLimits(
    max_bytes=MAX_BODY_BYTES, max_depth=32, max_nodes=10_000, max_string_bytes=MAX_BODY_BYTES
)
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,19}", re.ASCII).fullmatch
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}|[A-Za-z0-9_-]*={0,2}", re.ASCII).fullmatch
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII).fullmatch
_SPAN: Final = re.compile(r"(-?)(0|[1-9]\d{0,11})(?:\.(\d{1,9}))?s", re.ASCII).fullmatch
_MAX_SPAN_S: Final = 315_576_000_000
_BOUNDS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_M = TypeVar("_M", bound=Message)


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in *data* (law 1).

    Raises:
        UntrustedInputError: MALFORMED; no other exception leaves this function.
    """
    try:
        return parse_arguments(data, limits=_LIMITS)
    except ShapeError as exc:
        # Its sentences speak of the arguments of a tool call; here they are the body's.
        said = exc.message.replace("the arguments", "its values")
        raise UntrustedInputError(
            f"the body is not taken: {said}",
            reason=ErrorReason.MALFORMED,
            hint=exc.hint or "send one JSON object",
        ) from None


def decode(value: Mapping[str, Any], message: _M) -> _M:
    """Fill the empty *message* from the parsed JSON object *value*, and return it.

    Raises:
        UntrustedInputError: MALFORMED; *message* must not be used then.
    """
    _fill(value, message, "")
    return message


def _fill(value: Any, message: Message, at: str) -> None:
    descriptor: Any = message.DESCRIPTOR
    special = _SPECIAL.get(descriptor.full_name)
    if special is not None:
        special(value, message, at)
        return
    if type(value) is not dict:
        raise _bad(at, "must be an object")
    fields = _fields_of(descriptor)
    seen: set[int] = set()
    members: set[str] = set()
    for key, item in value.items():
        field = fields.get(key)
        if field is None:
            raise _bad(at, "holds a field that there is not", hint=_known(descriptor))
        if field.number in seen:
            raise _bad(_below(at, field), "comes twice, under both of its names")
        seen.add(field.number)
        if item is None:
            continue  # law 3
        if field.containing_oneof is not None:
            if field.containing_oneof.name in members:
                raise _bad(at, f"says more than one {field.containing_oneof.name}")
            members.add(field.containing_oneof.name)
        _set(field, item, message, _below(at, field))


def _set(field: FieldDescriptor, item: Any, message: Message, at: str) -> None:
    if _is_map(field):
        _set_map(field, item, message, at)
    elif field.is_repeated:
        if type(item) is not list:
            raise _bad(at, "must be an array")
        into = getattr(message, field.name)
        for index, one in enumerate(item):
            place = f"{at}[{index}]"
            if field.message_type is not None:
                _fill(one, into.add(), place)
            else:
                into.append(_scalar(field, one, place))
    elif field.message_type is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()  # an empty object is there, too
        _fill(item, inner, at)
    else:
        setattr(message, field.name, _scalar(field, item, at))


def _set_map(field: FieldDescriptor, item: Any, message: Message, at: str) -> None:
    if type(item) is not dict:
        raise _bad(at, "must be an object")
    entry: Any = field.message_type
    key_field, value_field = entry.fields_by_name["key"], entry.fields_by_name["value"]
    into = getattr(message, field.name)
    for key, one in item.items():
        if key_field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
            raise _bad(at, "has keys that this service does not take")
        if value_field.message_type is not None:
            _fill(one, into[key], f"{at}[…]")
        else:
            into[key] = _scalar(value_field, one, f"{at}[…]")


def _scalar(field: FieldDescriptor, item: Any, at: str) -> Any:
    kind = field.cpp_type
    if kind in _BOUNDS:
        return _integer(item, at, *_BOUNDS[kind])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if type(item) is not bool:
            raise _bad(at, "must be true or false")
        return item
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        kinds: Any = field.enum_type
        found = kinds.values_by_name.get(item) if type(item) is str else None
        if found is None:
            names = ", ".join(value.name for value in kinds.values)
            raise _bad(at, "must be the name of a value", hint=f"one of {names}")
        return found.number
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if type(item) is not str:
            raise _bad(at, "must be text")
        return _bytes(item, at) if field.type == FieldDescriptor.TYPE_BYTES else item
    if type(item) not in (int, float):
        raise _bad(at, "must be a number")
    return float(item)


def _integer(item: Any, at: str, low: int, high: int) -> int:
    if type(item) is str and _INTEGER(item):
        item = int(item)
    if type(item) is not int:
        raise _bad(at, "must be an integer, as a number or as plain decimal text")
    if not low <= item <= high:
        raise _bad(at, f"must be between {low} and {high}")
    return item


def _bytes(text: str, at: str) -> bytes:
    if len(text) % 4 == 0 and _BASE64(text):
        data = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_"))
        # The last letter can carry bits that belong to no byte: then the text says more than the bytes.
        if binascii.b2a_base64(data, newline=False).decode() == (
            text.replace("-", "+").replace("_", "/")
        ):
            return data
    raise _bad(at, "must be padded base64")


def _timestamp(value: Any, message: Any, at: str) -> None:
    found = _TIME(value) if type(value) is str else None
    if found is None:
        raise _bad(at, "must be a time", hint="RFC 3339 in UTC: 2026-01-31T12:00:00Z")
    try:
        moment = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        raise _bad(at, "is a time that there is not") from None
    if moment.year < 1:
        raise _bad(at, "is out of bounds")
    message.seconds = int(moment.timestamp())
    message.nanos = int((found[2] or "").ljust(9, "0"))


def _duration(value: Any, message: Any, at: str) -> None:
    found = _SPAN(value) if type(value) is str else None
    if found is None or int(found[2]) > _MAX_SPAN_S:
        raise _bad(at, "must be a span of time", hint='seconds with an s: "90s" or "0.5s"')
    sign = -1 if found[1] else 1
    message.seconds = sign * int(found[2])
    message.nanos = sign * int((found[3] or "").ljust(9, "0"))


_SPECIAL: Final[Mapping[str, Callable[[Any, Any, str], None]]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
}
_FIELDS: Final[dict[str, Mapping[str, FieldDescriptor]]] = {}


def _fields_of(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    known = _FIELDS.get(descriptor.full_name)
    if known is None:
        known = {
            name: field for field in descriptor.fields for name in (field.name, field.json_name)
        }
        _FIELDS[descriptor.full_name] = known
    return known


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _below(at: str, field: FieldDescriptor) -> str:
    return f"{at}.{field.json_name}" if at else str(field.json_name)


def _known(descriptor: Descriptor) -> str:
    names = ", ".join(field.json_name for field in descriptor.fields)
    return f"{descriptor.name} has {names}" if names else f"{descriptor.name} has no fields"


def _bad(at: str, what: str, *, hint: str = "") -> UntrustedInputError:
    return UntrustedInputError(
        f"{at or 'the body'} {what}", reason=ErrorReason.MALFORMED, hint=hint
    )
