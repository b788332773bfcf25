# SPDX-License-Identifier: Apache-2.0
"""Arguments become bytes once, here, and the gate decides about exactly these bytes.

Laws:

1. What is not JSON in the narrow sense is refused, not coerced: only ``str`` keys (``json`` would
   turn ``1`` and ``None`` into strings and so make two arguments one), no NaN, no other types.
2. The refusal costs no more than ``MAX_BYTES`` worth of looking, however large, deep or cyclic the
   value is, and it never carries a piece of the value.
3. Nothing that a hostile mapping does escapes, except what isn't an ``Exception``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sidecar.sdk._local import Cause

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Unfit", "encode_arguments"]

MAX_BYTES: Final = 64 * 1024
"""The contract's limit; a larger message could break the stream for every other call on it."""
MAX_DEPTH: Final = 64
_MAX_INTEGER_BITS: Final = 1024
"""More is no number in JSON (RFC 7493), and turning it into digits takes quadratic time."""

_encode: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
).encode


class Unfit(Exception):
    """A call can't be carried to the gate; becomes a local denial."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


def encode_arguments(arguments: Mapping[str, Any] | bytes) -> bytes:
    """Return *arguments* as UTF-8 JSON; bytes are taken as they are.

    Raises:
        Unfit: they can't be carried.
    """
    if isinstance(arguments, (bytes, bytearray, memoryview)):
        data = bytes(arguments)
    else:
        try:
            plain = arguments if type(arguments) is dict else _as_dict(arguments)
            _inspect(plain, MAX_BYTES, MAX_DEPTH)
            data = _encode(plain).encode()
        except Unfit:
            raise
        except Exception:  # noqa: BLE001 - a hostile mapping may raise anything
            # Without its cause, which may hold the arguments.
            raise Unfit(Cause.ARGUMENTS_NOT_JSON) from None
    if len(data) > MAX_BYTES:
        raise Unfit(Cause.ARGUMENTS_TOO_LARGE)
    return data


def _as_dict(arguments: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(arguments, Mapping):
        raise Unfit(Cause.ARGUMENTS_NOT_JSON)
    # One look at the mapping, bounded: what is inspected is what is encoded.
    plain: dict[str, Any] = {}
    for count, key in enumerate(arguments):
        if count >= MAX_BYTES:
            raise Unfit(Cause.ARGUMENTS_TOO_LARGE)
        plain[key] = arguments[key]
    return plain


def _inspect(value: dict[str, Any], budget: int, depth: int) -> int:
    """Return what is left of *budget* (one per node, one per character) after *value*."""
    for key, member in value.items():
        if not isinstance(key, str):
            raise Unfit(Cause.ARGUMENTS_NOT_JSON)
        budget = _inspect_member(member, budget - len(key) - 1, depth)
    return budget


def _inspect_member(value: Any, budget: int, depth: int) -> int:
    if budget < 0:
        raise Unfit(Cause.ARGUMENTS_TOO_LARGE)
    if isinstance(value, str):
        return budget - len(value)
    if isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            raise Unfit(Cause.ARGUMENTS_NOT_JSON)
    elif isinstance(value, (dict, list, tuple)):
        if depth <= 1:
            raise Unfit(Cause.ARGUMENTS_TOO_DEEP)
        if isinstance(value, dict):
            return _inspect(value, budget, depth - 1)
        for member in value:
            budget = _inspect_member(member, budget - 1, depth - 1)
    elif value is not None and not isinstance(value, float):
        raise Unfit(Cause.ARGUMENTS_NOT_JSON)
    return budget
