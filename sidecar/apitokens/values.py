# SPDX-License-Identifier: Apache-2.0
"""API tokens as values: what one is, how its secret is written, what it can never carry.

Laws:

1. A secret is 256 random bits behind the token's id, ``hfat_<id>_<secret>``. Kept is SHA-256 of the
   whole text; no repr shows either.
2. Only roles in ``GRANTABLE`` can be carried: whoever approves, approves policy, administers or
   breaks glass shows a certificate or a passkey. This holds at each use, whatever a store says.

Compatibility: the form of a secret may get other prefixes beside this one; none changes its meaning.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sidecar.errors import ErrorReason, RefusedError
from sidecar.model import Role

__all__ = [
    "GRANTABLE",
    "ApiToken",
    "IssuedToken",
    "TokenRefused",
    "TokenState",
    "digest_of",
    "is_id",
    "is_same",
    "new_id",
    "new_secret",
    "split_authorization",
]

GRANTABLE: Final = frozenset({Role.CONTAIN, Role.RELEASE, Role.POLICY_AUTHOR, Role.AUDIT_READ})
"""Every role that a token may carry (law 2)."""

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH: Final = 12
_SECRET_BYTES: Final = 32
_AUTHORIZATION: Final = re.compile(
    r"(?i:bearer) (?P<text>hfat_(?P<id>[a-z2-7]{12})_[A-Za-z0-9_-]{43})"
).fullmatch
_ID: Final = re.compile(r"[a-z2-7]{12}").fullmatch


class TokenState(StrEnum):
    """Where a token stands."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token, with the hash of its secret.

    Attributes:
        id: Names it; no secret.
        operator: Whom it acts for.
        identity: That operator's identity when it was made: another one of the name is another one.
        human_id: The same of the human behind the operator.
        permissions: Roles it may use, of those the operator has at that moment.
        agents: The only agents it may act on or ask about; empty for all.
        description: What it is for. Untrusted text.
        author: Who made it.
        hash: SHA-256 of the secret.
        previous_hash: The same of the secret before that; it works until its own time.
        use_time_ns: When it was last used, to the minute; 0 if it never was.
    """

    id: str
    operator: str
    identity: str
    human_id: str
    permissions: frozenset[Role]
    agents: frozenset[str]
    description: str
    author: str
    hash: bytes = field(repr=False)
    create_time_ns: int
    expire_time_ns: int
    rotate_time_ns: int = 0
    previous_hash: bytes = field(default=b"", repr=False)
    previous_expire_time_ns: int = 0
    revoke_time_ns: int = 0
    revoker: str = ""
    revoke_reason: str = ""
    use_time_ns: int = 0

    @property
    def name(self) -> str:
        """Its resource name."""
        return f"apiTokens/{self.id}"

    def state_at(self, wall_ns: int) -> TokenState:
        """Return where it stands."""
        if self.revoke_time_ns:
            return TokenState.REVOKED
        return TokenState.ACTIVE if wall_ns < self.expire_time_ns else TokenState.EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token and its secret, which is shown to whoever asked and to nobody else, ever."""

    token: ApiToken
    secret: str = field(repr=False)


class TokenRefused(RefusedError):
    """A token whose secret was right does not work; ``token`` is its id, for the log."""

    default_reason = ErrorReason.UNAUTHENTICATED

    def __init__(self, message: str, *, token: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.token = token


def new_id() -> str:
    """Return an id that no token has."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


def new_secret(token_id: str) -> str:
    """Return a secret for the token *token_id* (law 1)."""
    text = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
    return f"hfat_{token_id}_{text}"


def digest_of(secret: str) -> bytes:
    """Return what is kept of *secret*."""
    return hashlib.sha256(secret.encode("ascii")).digest()


def split_authorization(header: str) -> tuple[str, bytes] | None:
    """Return the id and the digest of the token in *header*, or None if there is no token in it."""
    match = _AUTHORIZATION(header)
    return (match["id"], digest_of(match["text"])) if match else None


def is_same(digest: bytes, kept: bytes) -> bool:
    """Return whether the digests are equal, in a time that does not tell where they differ."""
    return bool(kept) and hmac.compare_digest(digest, kept)


def is_id(text: str) -> bool:
    """Return whether *text* is of the form of a token's id."""
    return _ID(text) is not None
