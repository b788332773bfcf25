# SPDX-License-Identifier: Apache-2.0
"""Reads the COSE key (RFC 9053) of a passkey, and nothing else that CBOR can say.

Laws:

1. A key is one CBOR map of small integers to integers and byte strings, definite lengths, no key
   twice, nothing after it. Anything else is refused, so two readers cannot see two keys.
2. ``kty``, ``alg`` and ``crv`` agree and are one of ES256 on P-256, EdDSA on Ed25519, RS256.
3. Nothing of the library that verifies sign-ins is used here: this is how evidence is checked
   independently of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from sidecar.errors import UntrustedInputError

__all__ = ["ALGORITHMS", "MAX_KEY_BYTES", "PublicKey", "load_cose_key", "verify_signature"]

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

MAX_KEY_BYTES: Final = 2048
ES256, EDDSA, RS256 = -7, -8, -257
ALGORITHMS: Final = (ES256, EDDSA, RS256)
"""COSE numbers of the algorithms a passkey may have, the ones we like best first."""

_KTY, _ALG, _CRV, _X, _Y, _N, _E = 1, 3, -1, -2, -3, -1, -2
_OKP, _EC2, _RSA = 1, 2, 3
_P256, _ED25519 = 1, 6
_COORDINATE_BYTES: Final = 32
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_MIN_EXPONENT, _MAX_EXPONENT = 65537, 2**32
_MAX_ENTRIES: Final = 8

_Map: TypeAlias = dict[int, int | bytes]


def load_cose_key(data: bytes) -> PublicKey:
    """Return the public key in *data*.

    Raises:
        UntrustedInputError: It is no key that we take (laws 1 and 2).
    """
    if len(data) > MAX_KEY_BYTES:
        raise _bad("is too long")
    entries = _read_map(data)
    build = _KINDS.get((entries.get(_KTY), entries.get(_ALG)))
    if build is None:
        raise _bad("is not for ES256, EdDSA or RS256")
    try:
        return build(entries)
    except ValueError as exc:
        raise _bad("is not a valid public key") from exc


def verify_signature(key: PublicKey, *, signature: bytes, data: bytes) -> bool:
    """Return whether *signature* over *data* was made with the private half of *key*."""
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(signature, data, ec.ECDSA(SHA256()))
            case ed25519.Ed25519PublicKey():
                key.verify(signature, data)
            case rsa.RSAPublicKey():
                key.verify(signature, data, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _ec2(entries: _Map) -> PublicKey:
    x, y = _exactly(entries, _X, _COORDINATE_BYTES), _exactly(entries, _Y, _COORDINATE_BYTES)
    _only(entries, {_KTY, _ALG, _CRV, _X, _Y})
    if entries[_CRV] != _P256:
        raise _bad("is on another curve than its algorithm's")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)


def _okp(entries: _Map) -> PublicKey:
    x = _exactly(entries, _X, _COORDINATE_BYTES)
    _only(entries, {_KTY, _ALG, _CRV, _X})
    if entries[_CRV] != _ED25519:
        raise _bad("is on another curve than its algorithm's")
    return ed25519.Ed25519PublicKey.from_public_bytes(x)


def _rsa(entries: _Map) -> PublicKey:
    _only(entries, {_KTY, _ALG, _N, _E})
    n, e = entries[_N], entries[_E]
    if not isinstance(n, bytes) or not isinstance(e, bytes):
        raise _bad("has numbers of another type")
    modulus, exponent = int.from_bytes(n, "big"), int.from_bytes(e, "big")
    if not _MIN_RSA_BITS <= modulus.bit_length() <= _MAX_RSA_BITS:
        raise _bad(f"has not {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits")
    if not _MIN_EXPONENT <= exponent <= _MAX_EXPONENT:
        raise _bad("has an exponent out of bounds")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


_KINDS: Final[dict[tuple[object, object], Callable[[_Map], PublicKey]]] = {
    (_EC2, ES256): _ec2,
    (_OKP, EDDSA): _okp,
    (_RSA, RS256): _rsa,
}


def _exactly(entries: _Map, label: int, length: int) -> bytes:
    value = entries.get(label)
    if not isinstance(value, bytes) or len(value) != length:
        raise _bad("has a coordinate of another length")
    return value


def _only(entries: _Map, labels: set[int]) -> None:
    if entries.keys() != labels:
        raise _bad("holds more or less than its kind has")


def _read_map(data: bytes) -> _Map:
    major, count, at = _head(data, 0)
    if major != 5 or count > _MAX_ENTRIES:
        raise _bad("is not a small CBOR map")
    entries: _Map = {}
    for _ in range(count):
        label, at = _item(data, at)
        value, at = _item(data, at)
        if not isinstance(label, int) or label in entries:
            raise _bad("has a label twice, or one that is no number")
        entries[label] = value
    if at != len(data):
        raise _bad("has bytes after it")
    return entries


def _item(data: bytes, at: int) -> tuple[int | bytes, int]:
    major, value, at = _head(data, at)
    match major:
        case 0:
            return value, at
        case 1:
            return -1 - value, at
        case 2 if at + value <= len(data):
            return data[at : at + value], at + value
        case _:
            raise _bad("holds something else than numbers and bytes")


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Return major type, argument and where it goes on; lengths up to 16 bits, shortest form."""
    if at >= len(data):
        raise _bad("is cut off")
    major, short = data[at] >> 5, data[at] & 0x1F
    if short < 24:
        return major, short, at + 1
    width = {24: 1, 25: 2}.get(short, 0)
    value = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    if not width or at + 1 + width > len(data) or value < (24, 256)[width - 1]:
        raise _bad("is not CBOR in its shortest form")
    return major, value, at + 1 + width


def _bad(what: str) -> UntrustedInputError:
    return UntrustedInputError(f"the passkey's public key {what}")
