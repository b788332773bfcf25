# SPDX-License-Identifier: Apache-2.0
"""RFC 8785: its own examples, the library, and ECMAScript where Node.js is at hand."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from enum import IntEnum, StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.canonical import MAX_SAFE_INTEGER, ShapeError, canonicalise, fast
from sidecar.model import ReasonCode

# RFC 8785 appendix B: IEEE 754 bits and the text of the number.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_a02_numbers_print_as_in_the_rfc(bits: str, text: str) -> None:
    """Appendix B of RFC 8785, line by line."""
    number = struct.unpack(">d", bytes.fromhex(bits))[0]

    assert canonicalise([number]) == f"[{text}]".encode()


def test_example_of_the_rfc() -> None:
    """Section 3.2.4: key order by UTF-16, shortest escapes, numbers, literals."""
    value = json.loads(
        '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
        '"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}'
    )

    assert canonicalise(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_sort_by_utf16() -> None:
    """Section 3.2.3: a character outside the plane sorts by its surrogates, before U+FB33."""
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5, "\x80": 6, "ö": 7}

    assert list(json.loads(canonicalise(value))) == ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]


@settings(max_examples=300, deadline=None)
@given(trees)
@example({"\ue000": 1, "😀": {"\uffff": 2, "𝒳": 3}})
@example(['\x7f\x00\x1f\u2028\ufeff/\\"', 0.001, 0.00099, 1e15 + 0.5, 4503599627370497.5])
def test_fast_lane_equals_the_library(value: Any) -> None:
    """Whatever the tree: if the fast lane answers, it answers as the library does."""
    quick = fast.encode(value)

    assert quick is None or quick == rfc8785.dumps(value)


@settings(max_examples=1500, deadline=None)
@given(st.floats(1e-3, 2**53) | st.decimals(0, 10**9, places=4).map(float))
def test_fast_lane_prints_floats_as_the_library(number: float) -> None:
    """The floats that the fast lane takes are those that orjson and ECMAScript print alike."""
    for signed in (number, -number):
        quick = fast.encode([signed])

        assert quick is None or quick == rfc8785.dumps([signed])


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is the reference here")
@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=200, max_size=200))
def test_a02_numbers_print_as_ecmascript_does(numbers: list[float]) -> None:
    """ECMAScript's own JSON.stringify prints each double as our canonical form does."""
    script = "process.stdin.on('data',d=>process.stdout.write(JSON.stringify(JSON.parse(d))))"
    done = subprocess.run(
        ["node", "-e", script],
        input=json.dumps(numbers).encode(),
        capture_output=True,
        check=True,
        timeout=30,
    )

    assert canonicalise(numbers) == done.stdout


class Colour(StrEnum):
    """A text that is not exactly a ``str``."""

    RED = "red"


class Count(IntEnum):
    """A number that is not exactly an ``int``."""

    TWO = 2


def test_subclasses_are_what_they_are() -> None:
    """Enumerations and tuples have the form of their plain values."""
    value = {"b": (1, Count.TWO), "a": Colour.RED}

    assert canonicalise(value) == b'{"a":"red","b":[1,2]}'


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        {"a": -float("inf")},
        2**53,
        [-(2**53)],
        2**64,
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        {None: 1},
        {"a": b"bytes"},
        {"a": {1, 2}},
        [object],
        {"a": complex(1, 2)},
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_installed", [True, False])
def test_values_without_canonical_form_are_refused(
    value: Any, is_installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not I-JSON raises the domain error, in both lanes."""
    if not is_installed:
        monkeypatch.setattr(fast, "_orjson", None)

    with pytest.raises(ShapeError):
        canonicalise(value)


def test_a04_endless_nesting_is_refused_without_recursion_error() -> None:
    """A value that nests deeper than Python can follow raises the domain error."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ShapeError) as caught:
        canonicalise(value)

    assert caught.value.code is ReasonCode.LIMITS
    while value:  # takes it apart from the outside: freeing it whole would recurse
        value = value.pop()
