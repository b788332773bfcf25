# SPDX-License-Identifier: Apache-2.0
"""Checks, offline and years later, that a passkey signed exactly one grant.

The record is what ``Passkeys.verify`` returned when the human granted: canonical JSON that stands in
the vote and in control's log. Nothing here touches the library that accepted the signature then, a
database or a clock: ``cryptography`` alone, over the bytes in the record.

What is checked, each a problem of its own:

1. *Form*: strict JSON with exactly the known fields.
2. *What was signed*: ``clientDataJSON`` says ``webauthn.get``, the challenge that is expected (which
   names the approval and the fingerprint), the origin of the record, and no foreign frame.
3. *By whom, where*: ``authenticatorData`` is for this relying party, with the human present and
   verified.
4. *Signature*: over ``authenticatorData ‖ SHA-256(clientDataJSON)``, by the record's public key.
5. *Whose key*: a record proves what its own key signed. That the key is a certain human's is what
   the log says where it was enrolled (kind ``account``, event ``passkey_added``); hand those
   entries in as ``enrolled``, or the report says ``is_key_known=False``.

Compatibility: fields of the record are never renamed or removed; ``v`` grows if one is added.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.canonical import canonicalise
from sidecar.errors import UntrustedInputError
from sidecar.passkeys.cose import load_cose_key, verify_signature
from sidecar.passkeys.values import from_base64url, parse_json, to_base64url

__all__ = ["EnrolledKey", "EvidenceReport", "check_evidence", "make_record"]

_VERSION: Final = 1
_FIELDS: Final = frozenset(
    {
        "v",
        "credential_id",
        "public_key",
        "client_data_json",
        "authenticator_data",
        "signature",
        "rp_id",
        "origin",
    }
)
_HASH_BYTES: Final = 32
_MIN_BYTES: Final = 37
_PRESENT, _VERIFIED, _ELIGIBLE, _BACKED_UP, _HAS_MORE = 0x01, 0x04, 0x08, 0x10, 0xC0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledKey:
    """A passkey as the log says it was enrolled."""

    credential_id: str
    public_key_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReport:
    """What checking one record gave. Good only if ``problems`` is empty."""

    problems: tuple[str, ...]
    credential_id: str = ""
    public_key_sha256: str = ""
    rp_id: str = ""
    origin: str = ""
    counter: int = 0
    is_key_known: bool = False
    """Whether the key was compared with enrolled ones (check 5)."""

    @property
    def is_ok(self) -> bool:
        """Whether everything that was checked holds."""
        return not self.problems


def make_record(
    *,
    credential_id: str,
    public_key: bytes,
    client_data_json: bytes,
    authenticator_data: bytes,
    signature: bytes,
    rp_id: str,
    origin: str,
) -> str:
    """Return the record of an assertion, as canonical JSON."""
    return canonicalise(
        {
            "v": _VERSION,
            "credential_id": credential_id,
            "public_key": to_base64url(public_key),
            "client_data_json": to_base64url(client_data_json),
            "authenticator_data": to_base64url(authenticator_data),
            "signature": to_base64url(signature),
            "rp_id": rp_id,
            "origin": origin,
        }
    ).decode()


def check_evidence(
    record: str,
    *,
    challenge: bytes,
    rp_id: str | None = None,
    origins: Collection[str] | None = None,
    enrolled: Collection[EnrolledKey] | None = None,
) -> EvidenceReport:
    """Return whether *record* proves that a passkey signed *challenge*. Raises nothing.

    Args:
        record: From a vote, or from the log. Hostile until checked.
        challenge: What must have been signed (``approvals.challenge.grant_challenge``).
        rp_id: The relying party it must be for; None takes the record's own, and reports it.
        origins: Origins it may come from; None takes the record's own, and reports it.
        enrolled: The keys that the human had, from the log; None leaves check 5 out.
    """
    try:
        parsed = _parse(record)
    except UntrustedInputError as exc:
        return EvidenceReport(problems=(exc.message,))
    problems = [
        *_check_client_data(parsed, challenge),
        *_check_authenticator_data(parsed),
        *_check_signature(parsed),
    ]
    if rp_id is not None and parsed.rp_id != rp_id:
        problems.append("it is for another relying party")
    if origins is not None and parsed.origin not in origins:
        problems.append("it comes from another origin")
    key_hash = hashlib.sha256(parsed.public_key).hexdigest()
    if enrolled is not None and not any(
        key.credential_id == parsed.credential_id and key.public_key_sha256 == key_hash
        for key in enrolled
    ):
        problems.append("the key is none that was enrolled for the human")
    return EvidenceReport(
        problems=tuple(problems),
        credential_id=parsed.credential_id,
        public_key_sha256=key_hash,
        rp_id=parsed.rp_id,
        origin=parsed.origin,
        counter=int.from_bytes(parsed.authenticator_data[33:37], "big"),
        is_key_known=enrolled is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    credential_id: str
    public_key: bytes
    client_data_json: bytes
    authenticator_data: bytes
    signature: bytes
    rp_id: str
    origin: str


def _parse(record: str) -> _Record:
    """Check 1."""
    document = parse_json(record.encode("utf-8", "surrogatepass"), what="the record")
    version = document.get("v")
    if document.keys() != _FIELDS or version != _VERSION or version is True:
        raise UntrustedInputError("the record does not have the fields of version 1")

    def text(name: str) -> str:
        value = document[name]
        if not isinstance(value, str) or not value:
            raise UntrustedInputError(f"the record's {name} is no text")
        return value

    def data(name: str) -> bytes:
        return from_base64url(document[name], what=f"the record's {name}")

    data("credential_id")
    return _Record(
        credential_id=text("credential_id"),
        public_key=data("public_key"),
        client_data_json=data("client_data_json"),
        authenticator_data=data("authenticator_data"),
        signature=data("signature"),
        rp_id=text("rp_id"),
        origin=text("origin"),
    )


def _check_client_data(record: _Record, challenge: bytes) -> list[str]:
    """Check 2."""
    try:
        data: Mapping[str, object] = parse_json(record.client_data_json, what="clientDataJSON")
        signed = from_base64url(data.get("challenge"), what="the challenge in clientDataJSON")
    except UntrustedInputError as exc:
        return [exc.message]
    problems = []
    if data.get("type") != "webauthn.get":
        problems.append("clientDataJSON is not of a signature")
    if not challenge or not hmac.compare_digest(signed, challenge):
        problems.append("another challenge was signed: another approval or another fingerprint")
    if data.get("origin") != record.origin:
        problems.append("clientDataJSON names another origin than the record")
    if data.get("crossOrigin", False) is not False or "topOrigin" in data:
        problems.append("it was signed inside a page of somebody else")
    return problems


def _check_authenticator_data(record: _Record) -> list[str]:
    """Check 3."""
    data = record.authenticator_data
    if len(data) < _MIN_BYTES:
        return ["authenticatorData is too short"]
    flags = data[_HASH_BYTES]
    problems = []
    if data[:_HASH_BYTES] != hashlib.sha256(record.rp_id.encode()).digest():
        problems.append("authenticatorData is for another relying party than the record")
    if not flags & _PRESENT:
        problems.append("nobody was present")
    if not flags & _VERIFIED:
        problems.append("the authenticator did not verify its human")
    if flags & _BACKED_UP and not flags & _ELIGIBLE:
        problems.append("authenticatorData contradicts itself about backup")
    if len(data) > _MIN_BYTES and not flags & _HAS_MORE:
        problems.append("authenticatorData has bytes that its flags do not announce")
    return problems


def _check_signature(record: _Record) -> list[str]:
    """Check 4."""
    try:
        key = load_cose_key(record.public_key)
    except UntrustedInputError as exc:
        return [exc.message]
    signed = record.authenticator_data + hashlib.sha256(record.client_data_json).digest()
    if not verify_signature(key, signature=record.signature, data=signed):
        return ["the signature does not verify"]
    return []
