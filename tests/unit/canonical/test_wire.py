# SPDX-License-Identifier: Apache-2.0
"""Exact protobuf messages: one reading of the bytes, or none."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar import wire
from sidecar.wire import is_exact

_TYPES = descriptor_pb2.FieldDescriptorProto


def _build() -> type[Any]:
    """Return a message class with a field of every kind that can be written in two ways."""
    file = descriptor_pb2.FileDescriptorProto(name="w.proto", package="w", syntax="proto3")
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="text", number=1, type=_TYPES.TYPE_STRING, label=1)
    inner.field.add(name="count", number=2, type=_TYPES.TYPE_INT32, label=1)
    outer = file.message_type.add(name="Outer")
    entry = outer.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_TYPES.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type=_TYPES.TYPE_STRING, label=1)
    add = outer.field.add
    add(name="tool", number=1, type=_TYPES.TYPE_STRING, label=1)
    add(name="arguments", number=2, type=_TYPES.TYPE_BYTES, label=1)
    add(name="flag", number=3, type=_TYPES.TYPE_BOOL, label=1)
    add(name="inner", number=4, type=_TYPES.TYPE_MESSAGE, label=1, type_name=".w.Inner")
    add(name="inners", number=5, type=_TYPES.TYPE_MESSAGE, label=3, type_name=".w.Inner")
    add(name="a", number=6, type=_TYPES.TYPE_INT32, label=3)
    add(name="b", number=7, type=_TYPES.TYPE_INT32, label=3)
    add(
        name="labels", number=8, type=_TYPES.TYPE_MESSAGE, label=3, type_name=".w.Outer.LabelsEntry"
    )
    outer.oneof_decl.add(name="choice")
    add(name="left", number=9, type=_TYPES.TYPE_STRING, label=1, oneof_index=0)
    add(name="right", number=10, type=_TYPES.TYPE_STRING, label=1, oneof_index=0)
    add(name="exact", number=11, type=_TYPES.TYPE_DOUBLE, label=1)
    add(name="half", number=12, type=_TYPES.TYPE_FIXED32, label=1)
    add(name="texts", number=13, type=_TYPES.TYPE_STRING, label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("w.Outer"))


Outer = _build()


def parsed(data: bytes) -> bool:
    """Return whether *data*, parsed, is exact."""
    message = Outer()
    message.ParseFromString(data)
    return is_exact(message, data)


def field(number: int, body: bytes) -> bytes:
    """Return a length-delimited field."""
    return bytes([number << 3 | 2, len(body)]) + body


FULL = Outer(
    tool="t",
    arguments=b"{}",
    flag=True,
    inner={"text": "x", "count": -1},
    inners=[{"text": "1"}, {}, {"text": "2"}],
    a=[1, 2],
    b=[3],
    labels={"k": "v", "l": ""},
    right="r",
    exact=1.5,
    half=7,
    texts=["p", "q", "p"],
).SerializeToString(deterministic=True)  # a map has no order of its own

TOOL, FLAG = field(1, b"ls"), b"\x18\x01"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        FULL,
        TOOL,
        FLAG + TOOL,
        field(4, b""),
        FLAG + b"\x0a\x80\x01" + b"x" * 128,
        b"\x65\7\0\0\0" + b"\x59" + b"\1" * 8 + FLAG,
        b"\x59" + b"\1" * 8 + FLAG + TOOL,
    ],
    ids=bytes.hex,
)
def test_a05_plain_messages_are_exact(data: bytes) -> None:
    """What an encoder writes is exact, in any order of fields."""
    assert parsed(data)


@pytest.mark.parametrize(
    "data",
    [
        TOOL + field(1, b"rm"),
        TOOL + TOOL,
        FLAG + FLAG,
        field(2, b"{}") + field(2, b'{"a":1}'),
        field(4, field(1, b"x")) + field(4, field(1, b"y")),
        field(4, field(1, b"x") + field(1, b"y")),
        field(5, field(1, b"x") + field(1, b"y")),
        field(8, field(1, b"k") + field(2, b"v")) + field(8, field(1, b"k") + field(2, b"w")),
        field(8, field(1, b"k") + field(2, b"v") + field(2, b"w")),
        field(9, b"l") + field(10, b"r"),
        field(9, b"l") + field(9, b"m"),
        b"\x61" + bytes(8) + b"\x61" + bytes(8),
        TOOL + field(14, b"unknown"),
        TOOL + field(4, field(15, b"unknown inside")),
        TOOL + field(8, field(1, b"k") + field(2, b"v") + field(3, b"u")),
        TOOL + b"\x7b\x7c",
        TOOL + b"\x0d\x00\x00\x00\x00",
        TOOL + b"\x18\x00",
        b"\x18\x81\x00",
        b"\x98\x80\x00\x01",
        b"\x0a\x82\x00ls",
        field(1, b""),
        b"\x30\x01\x30\x02",
        field(6, b"\x01") + field(6, b"\x02"),
        field(8, field(1, b"k")),
    ],
    ids=bytes.hex,
)
def test_a05_second_readings_are_refused(data: bytes) -> None:
    """Twice-written fields, map keys and choices, unknown fields and padding are not exact."""
    assert not parsed(data)


def test_a05_equal_length_is_not_enough() -> None:
    """Two one-item lists written unpacked make room for a second ``flag``: still refused."""
    data = b"\x18\x01" + b"\x30\x01" + b"\x38\x02" + b"\x18\x01"
    message = Outer()
    message.ParseFromString(data)

    assert message.ByteSize() == len(data)
    assert not is_exact(message, data)


def test_a05_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """With lengths alone that trick passes, and an unchecked parser takes the last tool name."""
    monkeypatch.setattr(wire, "_in_order", lambda *_: b"")
    message = Outer()
    message.ParseFromString(TOOL + field(1, b"rm"))

    assert parsed(b"\x18\x01" + b"\x30\x01" + b"\x38\x02" + b"\x18\x01")
    assert message.tool == "rm"


def test_a05_unknown_fields_are_gone_afterwards() -> None:
    """A message that was looked at holds nothing hidden any more."""
    message = Outer()
    message.ParseFromString(TOOL + field(14, b"hidden"))

    assert not is_exact(message, TOOL + field(14, b"hidden"))
    assert message.SerializeToString() == TOOL


def test_a05_well_known_types_of_any_map_order_are_exact() -> None:
    """A map may come in any order, nested too; a repeated key in it may not."""
    one = struct_pb2.Struct(fields={"a": struct_pb2.Value(number_value=1)}).SerializeToString()
    two = struct_pb2.Struct(fields={"b": struct_pb2.Value(bool_value=True)}).SerializeToString()

    for data, expected in ((one + two, True), (two + one, True), (one + two + one, False)):
        for number in (0, 1):
            outer = b"" if number == 0 else b"\x0a" + bytes([len(data)]) + data
            message: Any = struct_pb2.Struct()
            body = data
            if number:
                message, body = struct_pb2.Value(), b"\x2a" + outer[1:]
            message.ParseFromString(body)
            assert is_exact(message, body) is expected


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a05_any_order_of_the_same_fields_is_exact(data: st.DataObject) -> None:
    """Shuffled fields stay exact; a shuffled and doubled one never is."""
    texts = [field(13, b"p"), field(13, b"q")]
    singles = [
        TOOL,
        FLAG,
        field(4, field(1, b"x") + b"\x10\x05"),
        field(10, b"r"),
        field(6, b"\1\2"),
    ]
    pairs = [field(8, field(1, key) + field(2, b"v")) for key in (b"k", b"l", b"m")]
    chunks = data.draw(st.permutations(singles + texts + pairs))
    doubled = data.draw(st.sampled_from(singles + pairs))

    assert parsed(b"".join(chunks))
    assert not parsed(b"".join([*chunks, doubled]))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=24), st.data())
def test_a05_damaged_bytes_never_raise_and_agree_with_the_slow_truth(
    tail: bytes, data: st.DataObject
) -> None:
    """Whatever parses is exact only if writing it again gives the same pieces of bytes."""
    from google.protobuf.message import DecodeError

    place = data.draw(st.integers(0, len(FULL)))
    damaged = FULL[:place] + tail + FULL[place + data.draw(st.integers(0, 3)) :]
    message = Outer()
    try:
        message.ParseFromString(damaged)
    except DecodeError:
        return

    if is_exact(message, damaged):
        assert sorted(message.SerializeToString()) == sorted(damaged)


@pytest.mark.parametrize(
    "data", [b"\x80" * 12, b"\x0a\x05a", b"\x0b", b"\x09\x01", b"\x0d\x01", b"\x08"], ids=bytes.hex
)
def test_a05_bytes_that_do_not_parse_are_not_exact(data: bytes) -> None:
    """A message of the same length beside broken bytes is refused, not misread."""
    message = Outer(texts=["x" * (len(data) - 2)] if len(data) > 1 else [])
    if len(data) == 1:
        assert not is_exact(message, data)
        return

    assert message.ByteSize() == len(data)
    assert not is_exact(message, data)


@pytest.mark.parametrize(("levels", "expected"), [(3, True), (20, False)])
def test_a05_reordered_maps_below_many_levels_are_refused(levels: int, expected: bool) -> None:
    """Deeper than any of our messages, another order is no longer looked into, and refused."""
    entries = [
        struct_pb2.Struct(fields={key: struct_pb2.Value(number_value=1)}).SerializeToString()
        for key in ("b", "a")
    ]
    body = b"\x2a" + bytes([2 * len(entries[0])]) + b"".join(entries)
    for _ in range(levels):
        for tag in (b"\x0a", b"\x32"):  # ListValue.values, Value.list_value
            size = len(body)
            body = (
                tag + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + body
            )

    assert is_exact(struct_pb2.Value.FromString(body), body) is expected
