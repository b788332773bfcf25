# SPDX-License-Identifier: Apache-2.0
"""One canonicaliser, one hash: the bytes that policy, cache, approval, page and log all share.

* ``parse_arguments``: strict I-JSON (RFC 7493) in, or a ``ShapeError``;
* ``canonicalise``: RFC 8785 bytes out;
* ``fingerprint_call``, ``fingerprint_control``: SHA-256 over them;
* ``fingerprint_words``: what people compare;
* ``CallParser``: all of it for one tool call, with a memo.
"""

from sidecar.canonical.call import CallParser
from sidecar.canonical.fingerprint import (
    canonical_call,
    canonical_control,
    fingerprint_call,
    fingerprint_control,
    fingerprint_words,
)
from sidecar.canonical.form import canonicalise
from sidecar.canonical.parse import (
    DEFAULT_LIMITS,
    MAX_SAFE_INTEGER,
    JsonLimits,
    JsonObject,
    parse_and_canonicalise,
    parse_arguments,
)
from sidecar.shape import ShapeError

__all__ = [
    "DEFAULT_LIMITS",
    "MAX_SAFE_INTEGER",
    "CallParser",
    "JsonLimits",
    "JsonObject",
    "ShapeError",
    "canonical_call",
    "canonical_control",
    "canonicalise",
    "fingerprint_call",
    "fingerprint_control",
    "fingerprint_words",
    "parse_and_canonicalise",
    "parse_arguments",
]
