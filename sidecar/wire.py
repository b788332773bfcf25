# SPDX-License-Identifier: Apache-2.0
"""Did a protobuf message say exactly what its bytes say?

Protobuf is no canonical form. A singular field or a map key that comes twice is read as its last
value, unknown fields travel along unseen, a number may be padded: two readers of the same bytes can
see two messages, and the one who decides may not be the one who acts.

Laws:

1. ``is_exact`` is true only if every byte of the data is accounted for, once, by what the parsed
   message holds: no unknown field, no field, ``oneof`` member or map key twice, no field with its
   default written out, no padded number.
2. The order of fields and of map entries is free: encoders of other languages order them otherwise.

Only the interface of ``google.protobuf.message.Message`` is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["is_exact"]

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_TYPE_MESSAGE: Final = 11  # FieldDescriptor.TYPE_MESSAGE
_MAX_VARINT_BYTES: Final = 10
_MAX_DEPTH: Final = 32


class _NotExactError(Exception):
    """Internal: no encoder writes such data."""


def is_exact(message: Message, data: bytes) -> bool:
    """Return whether *message*, parsed from *data*, says exactly what *data* says.

    Unknown fields are dropped from *message* on the way, so nothing can act on them afterwards.
    """
    message.DiscardUnknownFields()
    written = message.SerializeToString(deterministic=True)
    if written == data:
        return True
    if len(written) != len(data):
        return False
    # Same length, other bytes: then both must be the same once law 2 is taken out. Equal length
    # alone proves nothing: a repeated number that is written item by item is shorter than in its
    # packed form, and so makes room for a second value of another field.
    try:
        return _in_order(message.DESCRIPTOR, data, 0) == _in_order(message.DESCRIPTOR, written, 0)
    except _NotExactError:
        return False


def _in_order(descriptor: Any, data: bytes, depth: int) -> bytes:
    """Return *data* with fields by number and map entries by their bytes, at every level."""
    if depth > _MAX_DEPTH:
        raise _NotExactError
    fields: list[tuple[int, bytes, bytes]] = []
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        body, position = _value(data, position, wire_type)
        field = descriptor.fields_by_number.get(number)
        encoded, rank = data[start:position], b""
        if wire_type == _LENGTH and field is not None and field.type == _TYPE_MESSAGE:
            inner = _in_order(field.message_type, data[body:position], depth + 1)
            encoded = data[start:body] + inner
            if field.message_type.GetOptions().map_entry:
                rank = encoded
        fields.append((number, rank, encoded))
    fields.sort(key=lambda part: part[:2])  # stable: repeated values keep their order
    return b"".join(part[2] for part in fields)


def _value(data: bytes, position: int, wire_type: int) -> tuple[int, int]:
    """Return where the value's body begins and where the value ends."""
    if wire_type == _VARINT:
        return position, _varint(data, position)[1]
    if wire_type == _LENGTH:
        size, position = _varint(data, position)
    elif wire_type == _FIXED64:
        size = 8
    elif wire_type == _FIXED32:
        size = 4
    else:
        raise _NotExactError
    if size > len(data) - position:
        raise _NotExactError
    return position, position + size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise _NotExactError
