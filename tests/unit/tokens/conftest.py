# SPDX-License-Identifier: Apache-2.0
"""An identity provider in memory, honest or not, for the token tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.model import ReasonCode
from sidecar.tokens.claims import Rejection, VerifiedToken
from sidecar.tokens.issuers import IssuerSpec
from sidecar.tokens.jwks import KeySet, parse_jwk_set
from sidecar.tokens.keys import KeyRing
from sidecar.tokens.revocations import RevocationRule
from sidecar.tokens.validator import TokenValidator

NOW_S = 1_760_000_000
ISSUER = "https://idp.example"
OTHER_ISSUER = "https://other.example"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(part: Mapping[str, Any] | bytes) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()


@dataclass
class Idp:
    """Signs whatever it is told to, the wrong things too."""

    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def jwk(self, kid: str, /, **changes: Any) -> dict[str, Any]:
        algorithm, key = self.keys[kid]
        data = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        data.pop("key_ops", None)
        return {**data, "kid": kid, "alg": algorithm, "use": "sig", **changes}

    def jwks(self, *kids: str) -> bytes:
        return json.dumps({"keys": [self.jwk(kid) for kid in kids or self.keys]}).encode()

    def key_set(self, *kids: str) -> KeySet:
        return parse_jwk_set(self.jwks(*kids))

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return good claims with *changes*; a value of ``...`` takes the claim away."""
        good = {
            "iss": ISSUER,
            "aud": "holdfast",
            "sub": "banking",
            "jti": "token-1",
            "iat": NOW_S - 10,
            "exp": NOW_S + 600,
        }
        return {name: value for name, value in (good | changes).items() if value is not ...}

    def sign(
        self,
        header: Mapping[str, Any] | bytes,
        payload: Mapping[str, Any] | bytes,
        *,
        kid: str = "ed",
        algorithm: str | None = None,
    ) -> str:
        own_algorithm, key = self.keys[kid]
        signed = f"{b64(to_bytes(header))}.{b64(to_bytes(payload))}"
        signature = jwt.get_algorithm_by_name(algorithm or own_algorithm).sign(signed.encode(), key)
        return f"{signed}.{b64(signature)}"

    def token(
        self, *, kid: str = "ed", header: Mapping[str, Any] | None = None, **claims: Any
    ) -> str:
        algorithm, _ = self.keys[kid]
        full = {"typ": "JWT", "alg": algorithm, "kid": kid} | dict(header or {})
        return self.sign(
            {name: value for name, value in full.items() if value is not ...},
            self.claims(**claims),
            kid=kid,
        )

    def hmac_with_public_key(self, *, kid: str) -> str:
        """Return a token whose HMAC secret is the issuer's public key (algorithm confusion)."""
        _, key = self.keys[kid]
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        signed = f"{b64(to_bytes({'alg': 'HS256', 'kid': kid}))}.{b64(to_bytes(self.claims()))}"
        return f"{signed}.{b64(hmac.digest(public, signed.encode(), hashlib.sha256))}"


@pytest.fixture(scope="session")
def idp() -> Idp:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return Idp(
        keys={
            "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
            "ed2": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
            "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
            "rs": ("RS256", rsa_key),
            "ps": ("PS256", rsa_key),
        }
    )


@pytest.fixture(scope="session")
def other_idp() -> Idp:
    return Idp(
        keys={
            "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
            "foreign": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        }
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ns=NOW_S * NS_PER_SECOND, boot_ns=NS_PER_SECOND)


def make_spec(**changes: Any) -> IssuerSpec:
    good: dict[str, Any] = {
        "name": "corp",
        "issuer": ISSUER,
        "audience": "holdfast",
        "algorithms": frozenset({"EdDSA", "ES256", "RS256", "PS256"}),
        "jwks_file": "jwks.json",
    }
    return IssuerSpec(**(good | changes))


@dataclass
class Bench:
    """A validator for two issuers with what it stands on."""

    idp: Idp
    other_idp: Idp
    clock: ManualClock
    ring: KeyRing
    validator: TokenValidator

    def validate(
        self, token: str, *, issuer_name: str = "corp", agent: str = "banking"
    ) -> VerifiedToken | Rejection:
        return self.validator.validate(token, issuer_name=issuer_name, agent=agent)

    def good(self, token: str, **kwargs: Any) -> VerifiedToken:
        verdict = self.validate(token, **kwargs)
        assert isinstance(verdict, VerifiedToken), verdict
        return verdict

    def code(self, token: str, **kwargs: Any) -> ReasonCode | None:
        verdict = self.validate(token, **kwargs)
        return verdict.code if isinstance(verdict, Rejection) else None


@pytest.fixture
def make_bench(idp: Idp, other_idp: Idp, clock: ManualClock) -> Callable[..., Bench]:
    def make(**changes: Any) -> Bench:
        issuers = {
            "corp": make_spec(**changes),
            "other": make_spec(name="other", issuer=OTHER_ISSUER),
        }
        ring = KeyRing(issuers=issuers, clock=clock)
        ring.put("corp", idp.key_set(), as_of_boot_ns=clock.boot_ns())
        ring.put("other", other_idp.key_set(), as_of_boot_ns=clock.boot_ns())
        validator = TokenValidator(issuers=issuers, keys=ring, clock=clock)
        return Bench(idp, other_idp, clock, ring, validator)

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture(scope="session")
def make_rule() -> Callable[..., RevocationRule]:
    def make(**changes: Any) -> RevocationRule:
        good: dict[str, Any] = {
            "author": "alice",
            "reason": "leaked",
            "epoch": 7,
            "create_time_ns": NOW_S * NS_PER_SECOND,
        }
        return RevocationRule(**(good | changes))

    return make


@pytest.fixture(scope="session")
def make_claims() -> Callable[..., VerifiedToken]:
    def make(**changes: Any) -> VerifiedToken:
        good: dict[str, Any] = {
            "issuer_name": "corp",
            "issuer": ISSUER,
            "jti": "token-1",
            "subject": "banking",
            "agent": "banking",
            "issue_time_s": NOW_S - 10,
            "expire_time_s": NOW_S + 600,
        }
        return VerifiedToken(**(good | changes))

    return make
