# SPDX-License-Identifier: Apache-2.0
"""Arguments as Cedar values, and as parts of a key."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy.convert import ABSENT, ConversionError, converter, key_part
from sidecar.policy.types import Attribute, CedarType, RecordType, Scalar, SetType

RECORD = RecordType(
    {"s": Attribute(Scalar.STRING, True), "l": Attribute(SetType(Scalar.LONG), False)}
)


def decimal_of(value: Any) -> str:
    found: str = converter(Scalar.DECIMAL)(value)["__extn"]["arg"]
    return found


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Scalar.STRING, "x", "x"),
        (Scalar.STRING, "é\x00", "é\x00"),
        (Scalar.BOOL, True, True),
        (Scalar.LONG, 5, 5),
        (Scalar.LONG, 5.0, 5),
        (Scalar.LONG, -0.0, 0),
        (SetType(Scalar.LONG), [1, 2.0], [1, 2]),
        (RECORD, {"s": "x", "l": None, "other": 1}, {"s": "x"}),
        (RECORD, {}, {}),
    ],
)
def test_values_become_cedar_values(kind: CedarType, value: Any, expected: Any) -> None:
    """Each JSON value becomes the Cedar value of its type; null and unknown names vanish."""
    found = converter(kind)(value)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5.0"), (-5, "-5.0"), (0, "0.0"), (0.5, "0.5"), (-0.0, "0.0"), (12.3456, "12.3456"),
        (1e3, "1000.0"), (1e-4, "0.0001"), (1e15 - 1e14, "900000000000000.0"),
        (922337203685477, "922337203685477.0"), (-922337203685477.5, "-922337203685477.5"),
    ],
)  # fmt: skip
def test_numbers_become_decimals(value: float, text: str) -> None:
    """Numbers with up to four digits after the point are exact decimals."""
    assert decimal_of(value) == text
    assert Decimal(text) == Decimal(repr(value))


@pytest.mark.parametrize(
    "value",
    [0.00001, 1.23456, 1e300, -1e300, 922337203685478, 10**30, 10**400, 1e15,
     float("nan"), float("inf"), True, "5", None, [1]],
)  # fmt: skip
def test_numbers_that_are_no_decimals_are_errors(value: Any) -> None:
    """Too many digits, out of range, or no number at all."""
    with pytest.raises(ConversionError):
        decimal_of(value)


@settings(max_examples=300, deadline=None)
@given(st.floats() | st.integers())
def test_a_decimal_is_exact_and_cedar_takes_it(value: float) -> None:
    """Whatever converts is equal to the number, and Cedar parses it."""
    try:
        text = decimal_of(value)
    except ConversionError:
        return

    assert Decimal(text) == Decimal(repr(value))
    policy = (
        f'permit(principal, action, resource) when {{ decimal("{text}") == decimal("{text}") }};'
    )
    entity = {"type": "A", "id": "a"}
    request = {"principal": entity, "action": {"type": "Action", "id": "a"}, "resource": entity}
    assert cedarpy.is_authorized(request, policy, "[]").allowed


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Scalar.STRING, 5), (Scalar.STRING, "\ud800"), (Scalar.BOOL, 1), (Scalar.BOOL, "true"),
        (Scalar.LONG, True), (Scalar.LONG, "5"), (Scalar.LONG, 1.5), (Scalar.LONG, 2**63),
        (Scalar.LONG, float("inf")), (Scalar.LONG, float("nan")), (SetType(Scalar.LONG), "12"),
        (SetType(Scalar.LONG), [None]), (SetType(Scalar.LONG), (1,)), (SetType(Scalar.LONG), ["1"]),
        (RECORD, []), (RECORD, {"s": 1}), (RECORD, {"l": [True]}),
    ],
)  # fmt: skip
def test_other_types_are_errors_without_the_value(kind: CedarType, value: Any) -> None:
    """A value of another type is never guessed at, and never repeated."""
    with pytest.raises(ConversionError) as caught:
        converter(kind)(value)

    assert "true" not in str(caught.value)
    assert "12" not in str(caught.value)


def test_key_parts_tell_types_apart() -> None:
    """1, "1", True, [1], null and a long text are all different; 1 and 1.0 are one number."""
    values: list[Any] = [1, "1", True, [1], ["1"], None, {"s": "1"}, "x" * 300, "x" * 301, 2]
    kinds: list[CedarType] = [
        Scalar.STRING, Scalar.BOOL, Scalar.LONG, Scalar.DECIMAL, SetType(Scalar.LONG), RECORD,
    ]  # fmt: skip

    assert key_part(Scalar.LONG)(1) == key_part(Scalar.LONG)(1.0)
    assert key_part(Scalar.STRING)(None) == ABSENT
    for kind in kinds:
        seen: dict[Any, Any] = {}
        for value in values:
            part = key_part(kind)(value)
            hash(part)
            if part in seen:  # equal parts: both convert alike, or neither converts
                assert _converted(kind, value) == _converted(kind, seen[part])
            seen[part] = value


def _converted(kind: CedarType, value: Any) -> Any:
    try:
        return converter(kind)(value)
    except ConversionError:
        return "no conversion"


def test_long_text_is_kept_out_of_keys() -> None:
    """A key holds a digest instead of text over 256 characters."""
    part = key_part(Scalar.STRING)("canary" * 1000)

    assert part[0] == "#"
    assert len(part[1]) == 32
    assert key_part(Scalar.STRING)("\ud800" * 300) != part
