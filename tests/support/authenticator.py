# SPDX-License-Identifier: Apache-2.0
"""An authenticator and a browser in software: makes what ``navigator.credentials`` would answer.

Everything a test may want to be wrong is an argument: origin, relying party, flags, counter, type.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

__all__ = ["Authenticator", "Credential", "b64url", "unb64url"]

ES256, EDDSA, RS256 = -7, -8, -257
PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40
_RSA_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def b64url(data: bytes) -> str:
    """Return *data* as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """Return the bytes of *text*."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Credential:
    """One passkey, with its private half."""

    id: bytes
    key: Any
    algorithm: int
    user_handle: bytes
    counter: int = 0

    def cose(self) -> bytes:
        """Return the public half as COSE."""
        public = self.key.public_key()
        match self.algorithm:
            case -7:
                numbers = public.public_numbers()
                return cbor2.dumps(
                    {
                        1: 2,
                        3: -7,
                        -1: 1,
                        -2: numbers.x.to_bytes(32, "big"),
                        -3: numbers.y.to_bytes(32, "big"),
                    }
                )
            case -8:
                return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()})
            case _:
                numbers = public.public_numbers()
                return cbor2.dumps(
                    {1: 3, 3: -257, -1: numbers.n.to_bytes(256, "big"), -2: b"\x01\x00\x01"}
                )

    def sign(self, data: bytes) -> bytes:
        """Return a signature over *data*."""
        match self.algorithm:
            case -7:
                return bytes(self.key.sign(data, ec.ECDSA(SHA256())))
            case -8:
                return bytes(self.key.sign(data))
            case _:
                return bytes(self.key.sign(data, padding.PKCS1v15(), SHA256()))


@dataclass
class Authenticator:
    """Keeps passkeys and answers for them.

    Attributes:
        origin: Where the browser is.
        counts: Whether it counts; most synchronised passkeys do not.
    """

    origin: str = "https://console.example"
    algorithm: int = ES256
    counts: bool = True
    credentials: dict[bytes, Credential] = field(default_factory=dict)

    def create(
        self,
        options: Mapping[str, Any],
        *,
        origin: str | None = None,
        rp_id: str | None = None,
        flags: int = PRESENT | VERIFIED | ATTESTED,
        kind: str = "webauthn.create",
        challenge: bytes | None = None,
        client: Mapping[str, Any] | None = None,
        credential_id: bytes | None = None,
        fmt: str = "none",
    ) -> bytes:
        """Return what ``navigator.credentials.create`` answers to *options*, as JSON."""
        if self.algorithm == ES256:
            key: Any = ec.generate_private_key(ec.SECP256R1())
        elif self.algorithm == EDDSA:
            key = ed25519.Ed25519PrivateKey.generate()
        else:
            key = _RSA_KEY
        made = Credential(
            id=credential_id or os.urandom(32),
            key=key,
            algorithm=self.algorithm,
            user_handle=unb64url(options["user"]["id"]),
        )
        self.credentials[made.id] = made
        cose = made.cose()
        data = (
            hashlib.sha256((rp_id or options["rp"]["id"]).encode()).digest()
            + bytes([flags])
            + made.counter.to_bytes(4, "big")
            + bytes(16)
            + len(made.id).to_bytes(2, "big")
            + made.id
            + cose
        )
        client_data = self._client_data(kind, challenge, options, origin, client)
        statement: dict[str, Any] = {}
        if fmt != "none":  # self attestation: the new key signs for itself
            signature = made.sign(data + hashlib.sha256(client_data).digest())
            statement = {"alg": self.algorithm, "sig": signature}
        attestation = cbor2.dumps({"fmt": fmt, "attStmt": statement, "authData": data})
        return _answer(
            made.id,
            {
                "clientDataJSON": b64url(client_data),
                "attestationObject": b64url(attestation),
                "transports": ["internal", "made-up"],
            },
        )

    def get(
        self,
        options: Mapping[str, Any],
        *,
        credential: Credential | None = None,
        origin: str | None = None,
        rp_id: str | None = None,
        flags: int = PRESENT | VERIFIED,
        kind: str = "webauthn.get",
        challenge: bytes | None = None,
        counter: int | None = None,
        client: Mapping[str, Any] | None = None,
        extra: bytes = b"",
        user_handle: bytes | None = None,
    ) -> bytes:
        """Return what ``navigator.credentials.get`` answers to *options*, as JSON."""
        used = credential or self._choose(options)
        if self.counts:
            used.counter += 1
        count = used.counter if counter is None else counter
        data = (
            hashlib.sha256((rp_id or options["rpId"]).encode()).digest()
            + bytes([flags])
            + count.to_bytes(4, "big")
            + extra
        )
        client_data = self._client_data(kind, challenge, options, origin, client)
        return _answer(
            used.id,
            {
                "clientDataJSON": b64url(client_data),
                "authenticatorData": b64url(data),
                "signature": b64url(used.sign(data + hashlib.sha256(client_data).digest())),
                "userHandle": b64url(user_handle or used.user_handle),
            },
        )

    def _choose(self, options: Mapping[str, Any]) -> Credential:
        allowed = [unb64url(item["id"]) for item in options.get("allowCredentials", [])]
        return next(
            credential
            for credential in self.credentials.values()
            if not allowed or credential.id in allowed
        )

    def _client_data(
        self,
        kind: str,
        challenge: bytes | None,
        options: Mapping[str, Any],
        origin: str | None,
        more: Mapping[str, Any] | None,
    ) -> bytes:
        signed = options["challenge"] if challenge is None else b64url(challenge)
        document = {
            "type": kind,
            "challenge": signed,
            "origin": origin or self.origin,
            "crossOrigin": False,
            **(more or {}),
        }
        return json.dumps(document, separators=(",", ":")).encode()


def _answer(credential_id: bytes, response: Mapping[str, Any]) -> bytes:
    return json.dumps(
        {
            "id": b64url(credential_id),
            "rawId": b64url(credential_id),
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
        }
    ).encode()
