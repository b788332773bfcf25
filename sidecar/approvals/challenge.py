# SPDX-License-Identifier: Apache-2.0
"""What a passkey signs to grant.

Laws:

1. The challenge names the verdict, the approval and the whole fingerprint: a signature for one
   approval grants no other, and none for another call grants this one.
2. It is a hash of canonical JSON, so its parts cannot run into each other.

Compatibility: the format is named by ``v``. A stored assertion is checked with the challenge of its
own format for ever, so a field may be added only together with a new ``v``.
"""

from __future__ import annotations

from hashlib import sha256

from sidecar.canonical import canonicalise

__all__ = ["grant_challenge"]


def grant_challenge(approval_id: str, fingerprint: str) -> bytes:
    """Return the 32 bytes that a passkey must sign to grant *approval_id* for *fingerprint*."""
    statement = {"v": 1, "action": "grant", "approval": approval_id, "fingerprint": fingerprint}
    return sha256(canonicalise(statement)).digest()
