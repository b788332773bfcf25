# SPDX-License-Identifier: Apache-2.0
"""JSON objects from outside, read so that two readers cannot disagree about them.

Duplicate keys, NaN and infinities, and text that is not UTF-8 are refused, never repaired: with a
duplicate key the verifier and the issuer could each see another audience in the same signed bytes.
The caller bounds the length; nesting that would exhaust the stack is refused as well.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from sidecar.errors import UntrustedInputError

__all__ = ["parse_object"]


def parse_object(data: bytes, *, what: str) -> dict[str, Any]:
    """Return the JSON object in *data*, which the error calls *what*.

    Raises:
        UntrustedInputError: The bytes are not one strict JSON object.
    """
    try:
        value = json.loads(
            data.decode("utf-8", "strict"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as exc:
        raise UntrustedInputError(f"{what} is not strict JSON") from exc
    if not isinstance(value, dict):
        raise UntrustedInputError(f"{what} is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")
