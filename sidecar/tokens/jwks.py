# SPDX-License-Identifier: Apache-2.0
"""Reads JWK sets (RFC 7517) from outside into verification keys.

Laws:

1. Bounded: at most ``MAX_SET_BYTES`` and ``MAX_KEYS``.
2. A set that holds private or symmetric key material is refused whole: whoever published it has
   lost it, and a symmetric key would let a verifier sign.
3. Every key that could verify has a ``kid`` of its own; two keys with one ``kid`` are refused.
4. ``alg``, ``kty``, ``crv``, ``use`` and ``key_ops`` must agree. A key serves only the algorithms
   that its type fits, and only the one that it names if it names one.
5. Keys for other uses (encryption) or of kinds we do not use are left out, as RFC 7517 §5 asks; a
   set in which no key is left is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sidecar.errors import UntrustedInputError
from sidecar.tokens.strict_json import parse_object

__all__ = ["MAX_KEYS", "MAX_SET_BYTES", "KeySet", "PublicKey", "VerificationKey", "parse_jwk_set"]

PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

MAX_SET_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 32
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_MIN_RSA_EXPONENT: Final = 65537
_MAX_RSA_EXPONENT: Final = 2**32
_KID: Final = re.compile(r"[\x21-\x7e]{1,256}")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})

_KINDS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("RSA", ""): frozenset({"RS256", "PS256"}),
}
_NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "OKP": ("x",),
    "EC": ("x", "y"),
    "RSA": ("n", "e"),
}
# Which algorithms RFC 7518 and RFC 8037 define for each key type; any other pair is a confusion.
_FAMILY: Final[Mapping[str, re.Pattern[str]]] = {
    "OKP": re.compile(r"EdDSA|Ed25519|Ed448|ECDH-ES(\+A(128|192|256)KW)?"),
    "EC": re.compile(r"ES(256|384|512|256K)|ECDH-ES(\+A(128|192|256)KW)?"),
    "RSA": re.compile(r"[RP]S(256|384|512)|RSA1_5|RSA-OAEP(-(256|384|512))?"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One public key and the algorithms it may verify."""

    kid: str
    algorithms: frozenset[str]
    key: PublicKey


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """The keys of one issuer. Two readings of the same bytes have the same ``digest``."""

    keys: Mapping[str, VerificationKey]
    digest: str

    def find(self, kid: str) -> VerificationKey | None:
        """Return the key that this set calls *kid*."""
        return self.keys.get(kid)


def parse_jwk_set(data: bytes) -> KeySet:
    """Return the verification keys in *data*, a JWK set as JSON.

    Raises:
        UntrustedInputError: The set breaks one of the laws above. No key material is quoted.
    """
    if len(data) > MAX_SET_BYTES:
        raise UntrustedInputError(f"the key set is larger than {MAX_SET_BYTES} bytes")
    document = parse_object(data, what="the key set")
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise UntrustedInputError('the key set has no list "keys"')
    if len(entries) > MAX_KEYS:
        raise UntrustedInputError(f"the key set has more than {MAX_KEYS} keys")
    keys: dict[str, VerificationKey] = {}
    for index, entry in enumerate(entries):
        key = _read_key(entry, where=f"key {index} of the key set")
        if key is None:
            continue
        if key.kid in keys:  # law 3
            raise UntrustedInputError(f"key {index} of the key set repeats the kid of another key")
        keys[key.kid] = key
    if not keys:  # law 5
        raise UntrustedInputError(
            "the key set has no key for EdDSA, ES256, RS256 or PS256",
            hint="publish the issuer's public signature keys",
        )
    return KeySet(MappingProxyType(keys), hashlib.sha256(data).hexdigest())


def _read_key(entry: object, *, where: str) -> VerificationKey | None:
    """Return the key in *entry*, or None for one that is not ours to use (law 5)."""
    if not isinstance(entry, dict):
        raise UntrustedInputError(f"{where} is not an object")
    _refuse_private_material(entry, where)
    kty = entry.get("kty")
    if not isinstance(kty, str):
        raise UntrustedInputError(f"{where} has no kty")
    kid = entry.get("kid")
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        raise UntrustedInputError(f"{where} has no usable kid", hint="give every key a unique kid")
    algorithms = _algorithms_of(entry, kty, where)
    if not _is_for_verifying(entry, where) or not algorithms:
        return None
    return VerificationKey(
        kid=kid, algorithms=algorithms, key=_build(entry, kty, min(algorithms), where)
    )


def _refuse_private_material(entry: Mapping[str, Any], where: str) -> None:
    """Law 2."""
    if entry.get("kty") == "oct" or not _PRIVATE.isdisjoint(entry):
        raise UntrustedInputError(
            f"{where} holds private or symmetric key material",
            hint="replace that key at the issuer, and publish only public keys",
        )


def _algorithms_of(entry: Mapping[str, Any], kty: str, where: str) -> frozenset[str]:
    """Law 4: return what the key may verify; empty for a kind that we do not use."""
    crv = entry.get("crv", "")
    named = entry.get("alg")
    if not isinstance(crv, str) or not (named is None or isinstance(named, str)):
        raise UntrustedInputError(f"{where} has a crv or alg that is not text")
    family = _FAMILY.get(kty)
    if family is not None and named is not None and family.fullmatch(named) is None:
        raise UntrustedInputError(f"{where} names an algorithm that its kty cannot serve")
    if kty == "RSA" and crv:
        raise UntrustedInputError(f"{where} is an RSA key with a curve")
    fitting = _KINDS.get((kty, crv), frozenset())
    if named is None or not fitting:
        return fitting
    if named.startswith("ES") and named not in fitting:
        raise UntrustedInputError(f"{where} names an algorithm for another curve")
    return fitting & {named}


def _is_for_verifying(entry: Mapping[str, Any], where: str) -> bool:
    use = entry.get("use")
    operations = entry.get("key_ops")
    if use is not None and not isinstance(use, str):
        raise UntrustedInputError(f"{where} has a use that is not text")
    if operations is None:
        return use in (None, "sig")
    if not isinstance(operations, list) or not all(isinstance(item, str) for item in operations):
        raise UntrustedInputError(f"{where} has key_ops that are not a list of text")
    is_verifying = "verify" in operations
    if use is not None and (use == "sig") != is_verifying:
        raise UntrustedInputError(f"{where} has use and key_ops that contradict each other")
    return is_verifying


def _build(entry: Mapping[str, Any], kty: str, algorithm: str, where: str) -> PublicKey:
    public = {"kty": kty} | ({"crv": entry["crv"]} if kty != "RSA" else {})
    for name in _NUMBERS[kty]:
        value = entry.get(name)
        if not isinstance(value, str) or _BASE64URL.fullmatch(value) is None:
            raise UntrustedInputError(f"{where} has no base64url {name}")
        public[name] = value
    try:
        key = jwt.PyJWK(public, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as exc:
        raise UntrustedInputError(f"{where} is not a valid {kty} public key") from exc
    match key:
        case RSAPublicKey():
            exponent = key.public_numbers().e
            if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
                raise UntrustedInputError(
                    f"{where}: RSA keys have {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits"
                )
            if not _MIN_RSA_EXPONENT <= exponent <= _MAX_RSA_EXPONENT:
                raise UntrustedInputError(f"{where}: the RSA exponent is out of bounds")
            return key
        case Ed25519PublicKey() | EllipticCurvePublicKey():
            return key
        case _:
            raise UntrustedInputError(f"{where} is not a public key for signatures")
