# SPDX-License-Identifier: Apache-2.0
"""JWK sets from outside: what is read, what is left out, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import UntrustedInputError
from sidecar.tokens import jwks as jwks_module
from sidecar.tokens.jwks import MAX_KEYS, MAX_SET_BYTES, parse_jwk_set


def as_set(*entries: Any) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


def rsa_jwk(bits: int, exponent: int = 65537) -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=exponent, key_size=bits)
    return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "weak"}


def private_jwk(idp, kid: str) -> dict[str, Any]:
    algorithm, key = idp.keys[kid]
    return {**jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True), "kid": kid}


def test_keys_of_every_kind_are_read(idp):
    """Each key serves the one algorithm it names, under its own id."""
    key_set = idp.key_set()

    assert {kid: set(key.algorithms) for kid, key in key_set.keys.items()} == {
        "ed": {"EdDSA"},
        "ed2": {"EdDSA"},
        "ec": {"ES256"},
        "rs": {"RS256"},
        "ps": {"PS256"},
    }
    assert key_set.find("nobody") is None


def test_rsa_key_that_names_no_algorithm_serves_both_of_its_kind(idp):
    """Many issuers leave alg out; the issuer's configuration then decides."""
    entry = idp.jwk("rs")
    del entry["alg"]

    assert parse_jwk_set(as_set(entry)).keys["rs"].algorithms == {"RS256", "PS256"}


@pytest.mark.parametrize(
    "left_out",
    [
        {"use": "enc"},
        {"use": "enc", "key_ops": ["encrypt"]},
        {"use": ..., "key_ops": ["encrypt"]},
        {"kty": "AKP"},
        {"crv": "Ed448"},
        {"kty": "OKP", "crv": "X25519", "alg": "ECDH-ES"},
    ],
    ids=str,
)
def test_keys_for_other_uses_are_left_out(idp, left_out):
    """An encryption key or an unknown kind does not verify, and does not spoil the set."""
    entry = {k: v for k, v in (idp.jwk("ed2") | left_out).items() if v is not ...}

    assert set(parse_jwk_set(as_set(idp.jwk("ed"), entry)).keys) == {"ed"}


def test_rsa_algorithm_that_we_do_not_use_is_left_out(idp):
    """RS512 is RSA all right, and no issuer of ours may use it."""
    key_set = parse_jwk_set(as_set(idp.jwk("ed"), idp.jwk("rs", alg="RS512")))

    assert set(key_set.keys) == {"ed"}


def without(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != name}


REFUSED: dict[str, Callable[[Any], bytes]] = {
    "not JSON": lambda idp: b"<html>",
    "not UTF-8": lambda idp: b'{"keys":"\xff"}',
    "a list": lambda idp: b"[]",
    "no keys": lambda idp: b"{}",
    "keys is an object": lambda idp: b'{"keys":{}}',
    "no key at all": lambda idp: as_set(),
    "duplicate member": lambda idp: (
        b'{"keys":[],"keys":[' + json.dumps(idp.jwk("ed")).encode() + b"]}"
    ),
    "nested without end": lambda idp: b'{"keys":' + b"[" * 50_000,
    "entry is text": lambda idp: as_set("key"),
    "only unusable keys": lambda idp: as_set(idp.jwk("ed", use="enc")),
    "private Ed25519": lambda idp: as_set(idp.jwk("ed"), private_jwk(idp, "ed2")),
    "private EC": lambda idp: as_set(idp.jwk("ed"), private_jwk(idp, "ec")),
    "private RSA": lambda idp: as_set(idp.jwk("ed"), private_jwk(idp, "rs")),
    "symmetric": lambda idp: as_set(
        idp.jwk("ed"), {"kty": "oct", "k": "c2VjcmV0", "kid": "h", "alg": "HS256"}
    ),
    "symmetric without k": lambda idp: as_set(idp.jwk("ed"), {"kty": "oct", "kid": "h"}),
    "kid missing": lambda idp: as_set(without(idp.jwk("ed"), "kid")),
    "kid is a number": lambda idp: as_set({**idp.jwk("ed"), "kid": 1}),
    "kid is empty": lambda idp: as_set({**idp.jwk("ed"), "kid": ""}),
    "kid has a newline": lambda idp: as_set({**idp.jwk("ed"), "kid": "a\n"}),
    "kid twice": lambda idp: as_set(idp.jwk("ed"), idp.jwk("ed2", kid="ed")),
    "kty missing": lambda idp: as_set(without(idp.jwk("ed"), "kty")),
    "kty is a list": lambda idp: as_set({**idp.jwk("ed"), "kty": ["OKP"]}),
    "alg HS256 on RSA": lambda idp: as_set(idp.jwk("rs", alg="HS256")),
    "alg none": lambda idp: as_set({**idp.jwk("ed"), "alg": "none"}),
    "alg is a number": lambda idp: as_set({**idp.jwk("ed"), "alg": 1}),
    "alg of another type": lambda idp: as_set({**idp.jwk("ed"), "alg": "ES256"}),
    "alg of another curve": lambda idp: as_set(idp.jwk("ec", alg="ES384")),
    "crv is a number": lambda idp: as_set({**idp.jwk("ed"), "crv": 1}),
    "RSA with a curve": lambda idp: as_set(idp.jwk("rs", crv="P-256")),
    "use is a list": lambda idp: as_set({**idp.jwk("ed"), "use": ["sig"]}),
    "use and key_ops contradict": lambda idp: as_set(
        {**idp.jwk("ed"), "use": "sig", "key_ops": ["sign"]}
    ),
    "enc with verify": lambda idp: as_set({**idp.jwk("ed"), "use": "enc", "key_ops": ["verify"]}),
    "key_ops is text": lambda idp: as_set({**idp.jwk("ed"), "key_ops": "verify"}),
    "x missing": lambda idp: as_set(without(idp.jwk("ed"), "x")),
    "x is a number": lambda idp: as_set({**idp.jwk("ed"), "x": 5}),
    "x is short": lambda idp: as_set({**idp.jwk("ed"), "x": "AAAA"}),
    "x is not base64url": lambda idp: as_set({**idp.jwk("ed"), "x": "+/=="}),
    "point off the curve": lambda idp: as_set(idp.jwk("ec", x="AAAA", y="AAAA")),
    "RSA of 1024 bits": lambda idp: as_set(rsa_jwk(1024)),
    "RSA exponent 3": lambda idp: as_set(rsa_jwk(2048, 3)),
    "RSA exponent huge": lambda idp: as_set(idp.jwk("rs", e="_" * 100)),
    "RSA exponent even": lambda idp: as_set(idp.jwk("rs", e="AQAA")),
    "too large": lambda idp: json.dumps(
        {"keys": [idp.jwk("ed")], "x": "y" * MAX_SET_BYTES}
    ).encode(),
    "too many": lambda idp: as_set(
        *({**idp.jwk("ed"), "kid": f"k{n}"} for n in range(MAX_KEYS + 1))
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_f11_bad_key_set_is_refused_whole(idp, name):
    """Each of these sets is refused with a domain error that quotes no key material."""
    with pytest.raises(UntrustedInputError) as caught:
        parse_jwk_set(REFUSED[name](idp))

    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "guard", "replacement"),
    [
        ("private Ed25519", "_refuse_private_material", lambda entry, where: None),
        ("private RSA", "_refuse_private_material", lambda entry, where: None),
        ("too large", "MAX_SET_BYTES", 10**9),
        ("too many", "MAX_KEYS", 10**9),
        ("RSA of 1024 bits", "_MIN_RSA_BITS", 0),
        ("RSA exponent 3", "_MIN_RSA_EXPONENT", 0),
        ("kid has a newline", "_KID", jwks_module.re.compile(r"(?s).*")),
        ("use is a list", "_is_for_verifying", lambda entry, where: True),
        ("alg none", "_algorithms_of", lambda entry, kty, where: frozenset({"EdDSA"})),
    ],
)
def test_f11_negative_control(idp, monkeypatch, name, guard, replacement):
    """With its guard taken out, the bad set is accepted."""
    monkeypatch.setattr(jwks_module, guard, replacement)

    assert parse_jwk_set(REFUSED[name](idp)).keys


def test_f11_limits_are_exact(idp):
    """Exactly as many keys and bytes as allowed are read."""
    ed = idp.jwk("ed")
    most = as_set(*({**ed, "kid": f"k{n}"} for n in range(MAX_KEYS)))
    padded = most[:-1] + b" " * (MAX_SET_BYTES - len(most)) + most[-1:]

    assert len(parse_jwk_set(padded).keys) == MAX_KEYS


def test_other_curves_never_reach_a_verifier():
    """A P-384 key without alg is of no kind that we use."""
    key = ec.generate_private_key(ec.SECP384R1())
    entry = {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "p384"}

    with pytest.raises(UntrustedInputError):
        parse_jwk_set(as_set(entry))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
MEMBERS = st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "crv", "x", "y", "n", "e"])


@settings(max_examples=300, deadline=None)
@given(changes=st.dictionaries(MEMBERS, JSON, max_size=4), kid=st.sampled_from(["ed", "ec", "rs"]))
def test_f11_any_change_of_a_key_gives_keys_or_a_domain_error(idp, changes, kid):
    """No member with any value makes the reader raise something of its own."""
    try:
        key_set = parse_jwk_set(as_set(idp.jwk(kid, **changes)))
    except UntrustedInputError:
        return
    assert all(key.algorithms for key in key_set.keys.values())


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_f11_any_bytes_are_a_domain_error(data):
    """Garbage is refused, not crashed on."""
    with pytest.raises(UntrustedInputError):
        parse_jwk_set(data)
