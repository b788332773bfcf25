# SPDX-License-Identifier: Apache-2.0
"""Signs what a webhook posts, and verifies it as a receiver would.

``Holdfast-Signature: v1=<hex>`` is HMAC-SHA256 over ``<Holdfast-Id>.<Holdfast-Timestamp>.<body>``.

Laws:

1. Id and time are signed with the body: neither can be exchanged without the secret. An id has no
   dot and a time only digits, so one text has one reading.
2. While a secret is being replaced there are two, and a signature by each, separated by a space. A
   receiver accepts any signature that any of its secrets made.
3. A receiver refuses what is more than five minutes old, or as far in the future, and remembers ids
   for as long: a repetition with the same id is a repetition, not another event.
4. Signatures are compared in constant time.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from sidecar.notify.secret import Secret

__all__ = [
    "ID_HEADER",
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "TOLERANCE_S",
    "sign",
    "verify_signature",
]

ID_HEADER: Final = "Holdfast-Id"
TIMESTAMP_HEADER: Final = "Holdfast-Timestamp"
SIGNATURE_HEADER: Final = "Holdfast-Signature"
TOLERANCE_S: Final = 300
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}").fullmatch
_MAX_SIGNATURES: Final = 8


def sign(*, secrets: Sequence[Secret], notice_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of the signature header (laws 1 and 2)."""
    return " ".join(f"v1={_mac(secret, notice_id, str(timestamp_s), body)}" for secret in secrets)


def verify_signature(
    *,
    secrets: Sequence[Secret],
    notice_id: str,
    timestamp: str,
    signature: str,
    body: bytes,
    now_s: float,
    tolerance_s: float = TOLERANCE_S,
) -> bool:
    """Return whether *body* was signed with one of *secrets*, for this id, about now.

    Args:
        secrets: Every secret that is good at the moment.
        notice_id: The header ``Holdfast-Id`` as it came.
        timestamp: The header ``Holdfast-Timestamp`` as it came.
        signature: The header ``Holdfast-Signature`` as it came.
        body: The body as it came, before anything parsed it.
        now_s: Unix time.
        tolerance_s: How far the time may be off.
    """
    if not _ID(notice_id) or not _TIMESTAMP(timestamp):  # law 1
        return False
    if abs(now_s - int(timestamp)) > tolerance_s:  # law 3
        return False
    given = [one.removeprefix("v1=") for one in signature.split(" ") if one.startswith("v1=")]
    is_good = False
    for secret in secrets:
        expected = _mac(secret, notice_id, timestamp, body).encode()
        for one in given[:_MAX_SIGNATURES]:
            is_good |= hmac.compare_digest(expected, one.encode("utf-8", "replace"))  # law 4
    return is_good


def _mac(secret: Secret, notice_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{notice_id}.{timestamp}.".encode("ascii", "replace") + body
    return hmac.new(secret.reveal().encode(), signed, sha256).hexdigest()
