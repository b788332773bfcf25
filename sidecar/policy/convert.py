# SPDX-License-Identifier: Apache-2.0
"""Arguments as Cedar's context, and as parts of a cache key. Two sides of one type tree.

Laws:

1. The context holds exactly the visible attributes; an argument of another type than its schema's
   is an error, never a guess. An unknown argument cannot become an attribute.
2. A number becomes a ``decimal``: finite, at most four digits after the point, or it is an error.
3. Two values with equal key parts convert to equal Cedar values, or both fail to convert.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from sidecar.policy.types import CedarType, RecordType, Scalar, SetType

__all__ = ["ABSENT", "ConversionError", "Converter", "KeyPart", "converter", "key_part"]

Converter = Callable[[Any], Any]
KeyPart = Callable[[Any], Any]

_LONG_MAX: Final = 2**63 - 1
_DECIMAL_MAX: Final = Decimal("922337203685477.5807")
_DECIMAL_DIGITS: Final = 4
_SAFE_WHOLE_DIGITS: Final = 14
_LONG_STRING: Final = 256

# Tuples no converted value can equal: values are scalars, or tuples that start with [ { or #.
ABSENT: Final = ("absent",)
_OTHER_TYPE: Final = ("other type",)


class ConversionError(ValueError):
    """An argument cannot become a Cedar value. The message never holds the value."""


def converter(of: CedarType) -> Converter:
    """Return the function that turns a JSON value of type *of* into Cedar's JSON."""
    match of:
        case Scalar.STRING:
            return _string
        case Scalar.BOOL:
            return _bool
        case Scalar.LONG:
            return _long
        case Scalar.DECIMAL:
            return _decimal
        case SetType():
            element = converter(of.element)

            def convert_set(value: Any) -> list[Any]:
                if type(value) is not list:
                    raise ConversionError("is not a list")
                return [element(item) for item in value]

            return convert_set
        case RecordType():
            return _record_converter(of)


def _record_converter(of: RecordType) -> Converter:
    parts = tuple((name, converter(sub.type)) for name, sub in of.attributes.items())

    def convert_record(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ConversionError("is not an object")
        record = {}
        for name, convert in parts:
            found = value.get(name)
            if found is not None:
                try:
                    record[name] = convert(found)
                except ConversionError as exc:
                    raise ConversionError(f"{name} {exc}") from exc
        return record

    return convert_record


def _string(value: Any) -> str:
    if type(value) is not str:
        raise ConversionError("is not a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ConversionError("is not Unicode text") from exc
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ConversionError("is not a boolean")
    return value


def _long(value: Any) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not -_LONG_MAX <= value <= _LONG_MAX:
        raise ConversionError("is not an integer of 64 bits")
    return value


def _decimal(value: Any) -> dict[str, Any]:
    if type(value) is int:
        text = f"{value}.0" if abs(value) <= _LONG_MAX else ""
    elif type(value) is float:
        text = repr(value + 0.0)  # -0.0 becomes 0.0: equal numbers, equal decimals
    else:
        raise ConversionError("is not a number")
    whole, _, fraction = text.partition(".")
    if not fraction.isdigit() or len(fraction) > _DECIMAL_DIGITS or len(whole) > _SAFE_WHOLE_DIGITS:
        text = _decimal_slowly(text)
    return {"__extn": {"fn": "decimal", "arg": text}}


def _decimal_slowly(text: str) -> str:
    """Return *text* in Cedar's notation; exponents and numbers near the bounds come here."""
    try:
        number = Decimal(text)
    except InvalidOperation as exc:
        raise ConversionError("is out of range for a policy") from exc
    if not number.is_finite() or abs(number) > _DECIMAL_MAX:
        raise ConversionError("is out of range for a policy")
    shown = format(number.normalize(), "f")
    if len(shown.partition(".")[2]) > _DECIMAL_DIGITS:
        raise ConversionError(f"has more than {_DECIMAL_DIGITS} digits after the point")
    return shown if "." in shown else f"{shown}.0"


def key_part(of: CedarType) -> KeyPart:
    """Return the function that turns a JSON value of type *of* into a hashable key part."""
    match of:
        case Scalar.STRING:
            return _string_part
        case Scalar.BOOL:
            return _bool_part
        case Scalar.LONG | Scalar.DECIMAL:
            return _number_part
        case SetType():
            element = key_part(of.element)

            def set_part(value: Any) -> Any:
                if type(value) is not list:
                    return ABSENT if value is None else _OTHER_TYPE
                return ("[", *[element(item) for item in value])

            return set_part
        case RecordType():
            return _record_part(of)


def _record_part(of: RecordType) -> KeyPart:
    parts = tuple((name, key_part(sub.type)) for name, sub in of.attributes.items())

    def record_part(value: Any) -> Any:
        if type(value) is not dict:
            return ABSENT if value is None else _OTHER_TYPE
        return ("{", *[part(value.get(name)) for name, part in parts])

    return record_part


def _string_part(value: Any) -> Any:
    if type(value) is str:
        # Long text would make the cache hold the arguments themselves; a digest stands for it.
        return value if len(value) <= _LONG_STRING else _digest(value)
    return ABSENT if value is None else _OTHER_TYPE


def _digest(value: str) -> tuple[str, bytes]:
    return ("#", hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest())


def _bool_part(value: Any) -> Any:
    if value is True or value is False:
        return value
    return ABSENT if value is None else _OTHER_TYPE


def _number_part(value: Any) -> Any:
    # bool is another type: True must not meet 1, which Python calls equal.
    if type(value) is int or type(value) is float:
        return value
    return ABSENT if value is None else _OTHER_TYPE
