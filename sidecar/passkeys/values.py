# SPDX-License-Identifier: Apache-2.0
"""What a passkey and a link to enrol one are: frozen values, without I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.canonical import JsonLimits, ShapeError, parse_arguments
from sidecar.errors import ErrorReason, RefusedError, UntrustedInputError

__all__ = [
    "EnrolmentLink",
    "Passkey",
    "PasskeyState",
    "Ticket",
    "fold_human",
    "from_base64url",
    "parse_json",
    "refused",
    "to_base64url",
]

MAX_JSON_BYTES = 16 * 1024
_LIMITS = JsonLimits(max_bytes=MAX_JSON_BYTES, max_depth=6, max_nodes=200)


class PasskeyState(StrEnum):
    """Where a passkey stands. Stable: stored; never rename."""

    PENDING = "pending"
    """Made, but the log does not say so yet: opens nothing."""
    ACTIVE = "active"
    REMOVED = "removed"
    """Opens nothing, for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """A public key that one human's authenticator keeps the private half of.

    Attributes:
        credential_id: As the authenticator names it, base64url.
        human_id: Whose it is, folded.
        operator: The operator it was enrolled for.
        public_key: COSE key.
        counter: How often the authenticator says it was used; 0 for ever if it does not count.
        name: What its owner calls it. Untrusted text.
        transports: How a browser reaches it.
        author: Operator who gave out the link it was enrolled with.
        is_seen: Whether its owner has confirmed it, by some other way of signing in.
    """

    credential_id: str
    human_id: str
    operator: str
    public_key: bytes = field(repr=False)
    counter: int
    name: str
    author: str
    state: PasskeyState
    create_time_ns: int
    transports: tuple[str, ...] = ()
    use_time_ns: int = 0
    is_seen: bool = False
    remover: str = ""
    remove_time_ns: int = 0

    @property
    def public_key_sha256(self) -> str:
        """What names the key in the log."""
        return hashlib.sha256(self.public_key).hexdigest()

    def is_of(self, human_id: str) -> bool:
        """Return whether it belongs to *human_id*."""
        return bool(human_id) and self.human_id == fold_human(human_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The right to enrol one passkey for one operator, once. ``hash`` is all that is kept of it."""

    hash: bytes = field(repr=False)
    operator: str
    human_id: str
    author: str
    request_id: str
    create_time_ns: int
    expire_time_ns: int
    create_boot_ns: int
    deadline_boot_ns: int
    use_time_ns: int = 0

    def is_open(self, *, wall_ns: int, boot_ns: int) -> bool:
        """Return whether it can still be used; after a reboot the boot clock began anew."""
        return (
            self.use_time_ns == 0
            and wall_ns < self.expire_time_ns
            and self.create_boot_ns <= boot_ns < self.deadline_boot_ns
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentLink:
    """What an administrator hands to a person. Whoever opens the link first has the passkey."""

    url: str = field(repr=False)
    operator: str
    expire_time_ns: int


def fold_human(human_id: str) -> str:
    """Return *human_id* as it is compared: an alias in another spelling is not another human."""
    return unicodedata.normalize("NFKC", human_id).strip().casefold()


def to_base64url(data: bytes) -> str:
    """Return *data* as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: object, *, what: str) -> bytes:
    """Return the bytes of *text*, which has exactly one spelling.

    Raises:
        UntrustedInputError: It is not base64url without padding.
    """
    if isinstance(text, str) and text.isascii():
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (ValueError, binascii.Error):
            data = b""
        if to_base64url(data) == text:
            return data
    raise UntrustedInputError(f"{what} is not base64url")


def parse_json(data: bytes, *, what: str) -> dict[str, object]:
    """Return the JSON object in *data*: strict, bounded, no key twice.

    Raises:
        UntrustedInputError: It is not one.
    """
    try:
        return parse_arguments(data, limits=_LIMITS)
    except ShapeError as exc:
        raise UntrustedInputError(f"{what} is not strict JSON of at most 16 KiB") from exc


def refused(message: str, hint: str = "") -> RefusedError:
    """Return the refusal of a passkey."""
    return RefusedError(
        message,
        reason=ErrorReason.PASSKEY_INVALID,
        hint=hint or "try again with a passkey that was enrolled here",
    )
