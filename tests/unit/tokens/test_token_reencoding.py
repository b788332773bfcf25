# SPDX-License-Identifier: Apache-2.0
"""One token, many spellings: a revocation holds whichever of them is shown."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.model import ReasonCode
from sidecar.tokens.claims import VerifiedToken
from sidecar.tokens.revocations import RevocationSet

ISSUER = "https://idp.example"
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def unb64(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def twin_of(token: str) -> str:
    """Return *token* with the other signature that ES256 accepts for the same claims."""
    signed, _, signature = token.rpartition(".")
    raw = unb64(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    r, s = decode_dss_signature(encode_dss_signature(r, _P256_ORDER - s))
    return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def reencodings(idp):
    """Strategies that write the same good token in another way."""
    claims = idp.claims()

    def signed_anew(parts):
        spaces, order, kid, kind = parts
        items = sorted(claims.items(), reverse=order)
        body = json.dumps(dict(items), separators=(f",{spaces}", f":{spaces}"))
        header = {"alg": idp.keys[kid][0], "kid": kid} | ({"typ": kind} if kind else {})
        return idp.sign(header, (spaces + body + spaces).encode(), kid=kid)

    def escaped(character):
        body = json.dumps(claims).replace(character, f"\\u{ord(character):04x}")
        return idp.sign({"alg": "ES256", "kid": "ec"}, body.encode(), kid="ec")

    base = idp.token(kid="ec")
    return st.one_of(
        st.tuples(
            st.text(alphabet=" \t\n\r", max_size=3),
            st.booleans(),
            st.sampled_from(["ed", "ec", "rs", "ps"]),
            st.sampled_from(["", "JWT", "jwt", "at+jwt"]),
        ).map(signed_anew),
        st.sampled_from("bank1").map(escaped),
        st.just(twin_of(base)),
        # the last character of a part has bits to spare; another with the same bits decodes alike
        st.tuples(st.integers(0, 2), st.sampled_from(_ALPHABET)).map(
            lambda at: ".".join(
                part[:-1] + at[1] if number == at[0] else part
                for number, part in enumerate(base.split("."))
            )
        ),
        st.tuples(st.integers(0, len(base)), st.sampled_from("= \n\t.+/\0")).map(
            lambda at: base[: at[0]] + at[1] + base[at[0] :]
        ),
        st.sampled_from([base + "=", base + "==", base.swapcase(), "Bearer " + base]),
    )


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_f04_no_spelling_of_a_revoked_token_escapes(bench, make_rule, data):
    """Whatever validates is the same (iss, jti), and that is revoked."""
    revocations = RevocationSet.empty().with_rules([make_rule(jti="token-1", issuer=ISSUER)])
    token = data.draw(reencodings(bench.idp))

    verdict = bench.validate(token)

    if isinstance(verdict, VerifiedToken):
        assert verdict.identity == (ISSUER, "token-1")
        refusal = revocations.match(verdict)
        assert refusal is not None
        assert refusal.code is ReasonCode.TOKEN_REVOKED


@pytest.mark.parametrize("spelling", ["twin", "whitespace", "escape", "order"])
def test_f04_negative_control(bench, make_rule, spelling):
    """A list of revoked token texts lets each of these spellings of the token through."""
    token = bench.idp.token(kid="ec")
    claims = bench.idp.claims()
    header = {"alg": "ES256", "kid": "ec"}
    other = {
        "twin": lambda: twin_of(token),
        "whitespace": lambda: bench.idp.sign(
            header, json.dumps(claims, indent=1).encode(), kid="ec"
        ),
        "escape": lambda: bench.idp.sign(
            header, json.dumps(claims).replace("b", "\\u0062").encode(), kid="ec"
        ),
        "order": lambda: bench.idp.sign(
            header, json.dumps(dict(reversed(claims.items()))).encode(), kid="ec"
        ),
    }[spelling]()
    revoked_texts = {hashlib.sha256(token.encode()).digest()}
    verified = bench.good(other)

    assert hashlib.sha256(other.encode()).digest() not in revoked_texts
    assert RevocationSet.empty().with_rules([make_rule(jti="token-1")]).match(verified) is not None
