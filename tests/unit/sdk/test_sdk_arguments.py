# SPDX-License-Identifier: Apache-2.0
"""Arguments become bytes once, and only if they are JSON in the narrow sense."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.sdk._arguments import MAX_BYTES, MAX_DEPTH, Unfit, encode_arguments
from sidecar.sdk._local import Cause

TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Hostile(Mapping[str, Any]):
    """A mapping that raises whatever it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, key: str) -> Any:
        raise self.error

    def __iter__(self) -> Iterator[str]:
        raise self.error

    def __len__(self) -> int:
        raise self.error


class Endless(Mapping[str, Any]):
    """A mapping that never stops."""

    def __getitem__(self, key: str) -> Any:
        return key

    def __iter__(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield str(number)

    def __len__(self) -> int:
        return 1


class HostileDict(dict[str, Any]):
    """A dict whose items explode."""

    def items(self) -> Any:
        raise RuntimeError("secret-canary")

    def keys(self) -> Any:
        raise RuntimeError("secret-canary")

    def __iter__(self) -> Any:
        raise RuntimeError("secret-canary")


@settings(max_examples=150, deadline=None)
@given(arguments=st.dictionaries(TEXT, JSON, max_size=5))
def test_plain_json_round_trips(arguments: dict[str, Any]) -> None:
    """What is decided is exactly what the caller has."""
    assert json.loads(encode_arguments(arguments)) == arguments


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (OrderedDict(b=1, a=2), b'{"b":1,"a":2}'),
        (MappingProxyType({"a": (1, 2)}), b'{"a":[1,2]}'),
        ({"a": Colour.RED, "b": Number.ONE}, b'{"a":"red","b":1}'),
        (b'{"as": "it is"}', b'{"as": "it is"}'),
        (bytearray(b"{}"), b"{}"),
    ],
)
def test_usual_values_are_taken(arguments: Any, expected: bytes) -> None:
    """Mappings, tuples and enums of plain values are JSON; bytes are taken as they are."""
    assert encode_arguments(arguments) == expected


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({1: "a", "1": "b"}, Cause.ARGUMENTS_NOT_JSON),
        ({None: "a"}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": {True: 1}}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": float("nan")}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": [float("-inf")]}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": "\ud800"}, Cause.ARGUMENTS_NOT_JSON),
        ({"\udfff": 1}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": {1, 2}}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": b"bytes"}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": object()}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": 10**5000}, Cause.ARGUMENTS_NOT_JSON),
        ({"a": 1j}, Cause.ARGUMENTS_NOT_JSON),
        ([("a", 1)], Cause.ARGUMENTS_NOT_JSON),
        ("text", Cause.ARGUMENTS_NOT_JSON),
        (None, Cause.ARGUMENTS_NOT_JSON),
        (Hostile(RuntimeError("secret-canary")), Cause.ARGUMENTS_NOT_JSON),
        (Hostile(RecursionError()), Cause.ARGUMENTS_NOT_JSON),
        (HostileDict(a=1), Cause.ARGUMENTS_NOT_JSON),
        ({"a": HostileDict(a=1)}, Cause.ARGUMENTS_NOT_JSON),
        (Endless(), Cause.ARGUMENTS_TOO_LARGE),
        (nested(MAX_DEPTH + 1), Cause.ARGUMENTS_TOO_DEEP),
        (nested(20_000), Cause.ARGUMENTS_TOO_DEEP),
        (cyclic(), Cause.ARGUMENTS_TOO_DEEP),
        ({"a": "x" * MAX_BYTES}, Cause.ARGUMENTS_TOO_LARGE),
        ({"a": "é" * (MAX_BYTES // 2)}, Cause.ARGUMENTS_TOO_LARGE),
        ({"a": [[]] * 1_000_000}, Cause.ARGUMENTS_TOO_LARGE),
        ({"a": [None] * 1_000_000}, Cause.ARGUMENTS_TOO_LARGE),
        ({"k" * (MAX_BYTES + 1): 1}, Cause.ARGUMENTS_TOO_LARGE),
        (b"x" * (MAX_BYTES + 1), Cause.ARGUMENTS_TOO_LARGE),
    ],
)
def test_a02_a03_a04_hostile_values_are_refused_fast(arguments: Any, cause: Cause) -> None:
    """What is not JSON, or too much of it, is refused quickly, and nothing of it is shown."""
    begin = time.monotonic()

    with pytest.raises(Unfit) as raised:
        encode_arguments(arguments)

    assert raised.value.cause is cause
    assert time.monotonic() - begin < 0.5
    assert "canary" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a01_coerced_keys_negative_control() -> None:
    """The plain encoder makes one document with a key twice: two readers, two calls."""
    assert json.dumps({1: "ls", "1": "rm"}) == '{"1": "ls", "1": "rm"}'


def test_interrupts_are_not_swallowed() -> None:
    """Only errors become denials: a user who presses Ctrl-C is obeyed."""
    with pytest.raises(KeyboardInterrupt):
        encode_arguments(Hostile(KeyboardInterrupt()))


@pytest.mark.parametrize("size", [MAX_BYTES - 8, MAX_BYTES])
def test_a15_the_limit_itself_is_taken(size: int) -> None:
    """At the limit the arguments still travel, whole."""
    assert len(encode_arguments({"a": "x" * (size - 8)})) == size
    assert len(encode_arguments(nested(MAX_DEPTH))) == 6 * (MAX_DEPTH - 1) + 2
