# SPDX-License-Identifier: Apache-2.0
"""RFC 8785: the one sequence of bytes for a JSON value.

Two values have the same canonical bytes exactly if they are the same JSON value: keys in UTF-16
order, no spaces, shortest escapes, numbers as ECMAScript prints them (``1`` and ``1.0`` are one).
"""

from __future__ import annotations

from typing import Any

import rfc8785

from sidecar.canonical import fast
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

__all__ = ["canonicalise"]


def canonicalise(value: Any) -> bytes:
    """Return the RFC 8785 bytes of *value*.

    Raises:
        ShapeError: If *value* is not I-JSON (NaN, integers beyond 2^53 - 1, lone surrogates, keys
            that are not strings, foreign types) or nests too deep.
    """
    quick = fast.encode(value)
    if quick is not None:
        return quick
    try:
        return rfc8785.dumps(value)
    except RecursionError:
        raise ShapeError("the value nests too deep", code=ReasonCode.LIMITS) from None
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        # Their texts quote the value.
        raise ShapeError("the value has no canonical form (RFC 8785)") from None
