# SPDX-License-Identifier: Apache-2.0
"""The proof of a token: what passes, what never does, and which guard stops what."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.model import ReasonCode
from sidecar.tokens import validator as validator_module
from sidecar.tokens.claims import Rejection, VerifiedToken
from sidecar.tokens.issuers import IssuerSpec
from sidecar.tokens.keys import KeyRing
from sidecar.tokens.validator import MAX_TOKEN_CHARS, TokenValidator

NOW_S = 1_760_000_000
Mint = Callable[[Any], str]


@pytest.mark.parametrize("kid", ["ed", "ec", "rs", "ps"])
def test_good_token_of_every_algorithm_is_verified(bench, kid):
    """EdDSA, ES256, RS256 and PS256 pass, and the claims arrive as they were signed."""
    token = bench.idp.token(
        kid=kid, sid="s1", nbf=NOW_S - 5, auth_time=NOW_S - 99, principal="emma"
    )

    verified = bench.good(token)

    assert verified == VerifiedToken(
        issuer_name="corp",
        issuer="https://idp.example",
        jti="token-1",
        subject="banking",
        agent="banking",
        issue_time_s=NOW_S - 10,
        expire_time_s=NOW_S + 600,
        not_before_s=NOW_S - 5,
        session="s1",
        auth_time_s=NOW_S - 99,
        principal="emma",
    )


def _payload_with_duplicate_audience(bench) -> str:
    body = json.dumps(bench.idp.claims(aud="somebody"))[:-1] + ',"aud":"holdfast"}'
    return bench.idp.sign({"alg": "EdDSA", "kid": "ed"}, body.encode())


def _with_padding(bench) -> str:
    token = bench.idp.token(kid="ec")
    return token + "=" * (-len(token.rpartition(".")[2]) % 4)


BAD_TOKENS: dict[str, Mint] = {
    # required claims and their types
    "no exp": lambda b: b.idp.token(exp=...),
    "no iat": lambda b: b.idp.token(iat=...),
    "no jti": lambda b: b.idp.token(jti=...),
    "no sub": lambda b: b.idp.token(sub=...),
    "no aud": lambda b: b.idp.token(aud=...),
    "no iss": lambda b: b.idp.token(iss=...),
    "exp is text": lambda b: b.idp.token(exp=str(NOW_S + 60)),
    "exp is a float": lambda b: b.idp.token(exp=NOW_S + 60.0),
    "exp is true": lambda b: b.idp.token(exp=True, iat=0),
    "exp is null": lambda b: b.idp.token(exp=None),
    "iat is a float": lambda b: b.idp.token(iat=NOW_S - 1.5),
    "iat is negative": lambda b: b.idp.token(iat=-1),
    "nbf is null": lambda b: b.idp.token(nbf=None),
    "auth_time is text": lambda b: b.idp.token(auth_time="now"),
    "jti is a number": lambda b: b.idp.token(jti=7),
    "jti is empty": lambda b: b.idp.token(jti=""),
    "jti has a newline": lambda b: b.idp.token(jti="a\nb"),
    "jti has a lone surrogate": lambda b: b.idp.token(jti="\ud800"),
    "sub is a list": lambda b: b.idp.token(sub=["banking"]),
    "sid is a number": lambda b: b.idp.token(sid=1),
    "principal is a list": lambda b: b.idp.token(principal=["emma"]),
    # for whom, from whom, for how long
    "aud list of us alone": lambda b: b.idp.token(aud=["holdfast"]),
    "aud list with us": lambda b: b.idp.token(aud=["holdfast", "mail"]),
    "aud in upper case": lambda b: b.idp.token(aud="HOLDFAST"),
    "aud with a space": lambda b: b.idp.token(aud="holdfast "),
    "iss of another": lambda b: b.idp.token(iss="https://other.example"),
    "iss with a slash": lambda b: b.idp.token(iss="https://idp.example/"),
    "another agent's": lambda b: b.idp.token(sub="mailer"),
    "lives too long": lambda b: b.idp.token(exp=NOW_S - 10 + 3601),
    "never expires": lambda b: b.idp.token(exp=2**53),
    "expires before it is issued": lambda b: b.idp.token(iat=NOW_S, exp=NOW_S - 1),
    "issued in the future": lambda b: b.idp.token(iat=NOW_S + 31),
    "not valid yet": lambda b: b.idp.token(nbf=NOW_S + 31),
    # header
    "alg none, unsigned": lambda b: (
        ".".join(b.idp.token(header={"alg": "none"}).split(".")[:2]) + "."
    ),
    "alg none, signed": lambda b: b.idp.token(header={"alg": "none"}),
    "alg in upper case": lambda b: b.idp.token(header={"alg": "EDDSA"}),
    "alg HS256 with the public key": lambda b: b.idp.hmac_with_public_key(kid="rs"),
    "alg missing": lambda b: b.idp.token(header={"alg": ...}),
    "alg is a list": lambda b: b.idp.token(header={"alg": ["EdDSA"]}),
    "alg of another key type": lambda b: b.idp.token(kid="ed", header={"alg": "RS256"}),
    "RS256 key used for PS256": lambda b: b.idp.sign(
        {"alg": "PS256", "kid": "rs"}, b.idp.claims(), kid="rs", algorithm="PS256"
    ),
    "kid missing": lambda b: b.idp.token(header={"kid": ...}),
    "kid is a number": lambda b: b.idp.token(header={"kid": 1}),
    "kid unknown": lambda b: b.idp.token(header={"kid": "nobody"}),
    "kid is a path": lambda b: b.idp.token(header={"kid": "../../dev/null"}),
    "kid of another issuer": lambda b: b.other_idp.token(kid="foreign"),
    "kid shared with another issuer": lambda b: b.other_idp.token(kid="ed"),
    "jku": lambda b: b.idp.token(header={"jku": "https://evil.example/jwks"}),
    "x5u": lambda b: b.idp.token(header={"x5u": "https://evil.example/x5"}),
    "x5c": lambda b: b.idp.token(header={"x5c": ["MIIB"]}),
    "jwk": lambda b: b.idp.token(header={"jwk": b.idp.jwk("ed")}),
    "crit": lambda b: b.idp.token(header={"crit": ["exp"]}),
    "b64 false": lambda b: b.idp.token(header={"b64": False, "crit": ["b64"]}),
    "b64 true": lambda b: b.idp.token(header={"b64": True}),
    "typ of a logout token": lambda b: b.idp.token(header={"typ": "logout+jwt"}),
    "typ is a list": lambda b: b.idp.token(header={"typ": ["JWT"]}),
    # bytes
    "not a token": lambda b: "hello",
    "two parts": lambda b: b.idp.token().rpartition(".")[0],
    "five parts": lambda b: b.idp.token() + ".a.b",
    "trailing newline": lambda b: b.idp.token() + "\n",
    "leading space": lambda b: " " + b.idp.token(),
    "padding": _with_padding,
    "fullwidth dot": lambda b: b.idp.token().replace(".", "\uff0e"),
    "NUL": lambda b: b.idp.token() + "\0",
    "lone surrogate": lambda b: b.idp.token() + "\ud800",
    "too long": lambda b: b.idp.token(note="x" * MAX_TOKEN_CHARS),
    "header not an object": lambda b: b.idp.sign(b"[]", b.idp.claims()),
    "header nested without end": lambda b: b.idp.sign(b"[" * 3000, b.idp.claims()),
    "header with a duplicate key": lambda b: b.idp.sign(
        b'{"alg":"none","alg":"EdDSA","kid":"ed"}', b.idp.claims()
    ),
    "claims not an object": lambda b: b.idp.sign({"alg": "EdDSA", "kid": "ed"}, b"[]"),
    "claims with a duplicate key": _payload_with_duplicate_audience,
    "claims with NaN": lambda b: b.idp.sign(
        {"alg": "EdDSA", "kid": "ed"}, json.dumps(b.idp.claims(x=math.nan)).encode()
    ),
    "claims not UTF-8": lambda b: b.idp.sign({"alg": "EdDSA", "kid": "ed"}, b'{"a":"\xff"}'),
    "claims nested without end": lambda b: b.idp.sign(
        {"alg": "EdDSA", "kid": "ed"}, b'{"a":' + b"[" * 4000
    ),
    "an int of 4301 digits": lambda b: b.idp.sign(
        {"alg": "EdDSA", "kid": "ed"}, b'{"exp":' + b"1" * 4301 + b"}"
    ),
    "signature of other claims": lambda b: ".".join(
        b.idp.token(sub="mailer").split(".")[:1]
        + b.idp.token().split(".")[1:2]
        + b.idp.token(sub="mailer").split(".")[2:]
    ),
    "signature cut": lambda b: b.idp.token()[:-4],
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_f02_bad_token_is_rejected(bench, name):
    """Every token of the table is TOKEN_INVALID, and the answer quotes nothing of it."""
    token = BAD_TOKENS[name](bench)

    verdict = bench.validate(token)

    assert isinstance(verdict, Rejection)
    assert verdict.code is ReasonCode.TOKEN_INVALID
    assert not any(part and part in verdict.text for part in token.split(".") if len(part) > 5)


def test_f02_expired_and_missing_tokens_have_reasons_of_their_own(bench):
    """No token is TOKEN_MISSING; one whose time is over is TOKEN_EXPIRED."""
    expired = bench.idp.token(iat=NOW_S - 100, exp=NOW_S - 1)

    assert bench.code("") is ReasonCode.TOKEN_MISSING
    assert bench.code(expired) is ReasonCode.TOKEN_EXPIRED


def test_f02_token_for_an_issuer_that_is_not_configured_is_rejected(bench):
    """A tool that names an unknown issuer gets no token accepted."""
    assert bench.code(bench.idp.token(), issuer_name="nobody") is ReasonCode.TOKEN_INVALID


# Which one guard stops which attack: without it, the attack succeeds.
GUARDS = {
    "_check_audience": ["aud list with us", "aud list of us alone", "aud in upper case", "no aud"],
    "_check_life": ["lives too long", "never expires"],
    "_check_subject": ["another agent's"],
    "_check_no_foreign_key": ["jku", "x5u", "x5c", "jwk", "b64 true"],
    "_check_type": ["typ of a logout token", "typ is a list"],
    "_check_identifiers": [
        "jti is empty",
        "jti has a newline",
        "jti is a number",
        "sid is a number",
    ],
    "_check_times": ["auth_time is text"],
}


@pytest.mark.parametrize(
    ("guard", "name"), [(guard, name) for guard, names in GUARDS.items() for name in names]
)
def test_f02_negative_control(bench, monkeypatch, guard, name):
    """With its guard taken out, the attack succeeds: nothing else would have stopped it."""
    removed = getattr(validator_module, guard)
    for guards in ("_HEADER_GUARDS", "_CLAIM_GUARDS"):
        kept = tuple(g for g in getattr(validator_module, guards) if g is not removed)
        monkeypatch.setattr(validator_module, guards, kept)

    verdict = bench.validate(BAD_TOKENS[name](bench))

    assert isinstance(verdict, VerifiedToken)


def test_f02_issuer_negative_control(bench, monkeypatch):
    """Without the issuer guard, one issuer's key vouches for another's claims."""
    monkeypatch.setattr(
        validator_module,
        "_CLAIM_GUARDS",
        tuple(g for g in validator_module._CLAIM_GUARDS if g.__name__ != "_check_issuer"),
    )

    assert bench.code(BAD_TOKENS["iss of another"](bench)) is None


def test_f02_key_bound_to_issuer_negative_control(bench, clock):
    """With all issuers' keys in one set, another issuer's key signs for ours."""

    class OneSetForAll:
        def current(self, issuer_name):
            return bench.ring.current("other")

    validator = TokenValidator(issuers=bench.validator._issuers, keys=OneSetForAll(), clock=clock)

    for name in ("kid of another issuer", "kid shared with another issuer"):
        verdict = validator.validate(BAD_TOKENS[name](bench), issuer_name="corp", agent="banking")
        assert isinstance(verdict, VerifiedToken)


def test_f02_key_algorithm_negative_control(bench, monkeypatch):
    """Without the guard, a key published for RS256 verifies PS256 too."""
    token = BAD_TOKENS["RS256 key used for PS256"](bench)
    monkeypatch.setattr(validator_module, "_check_key_serves", lambda header, key: None)

    assert bench.code(token) is None


def test_f02_shape_negative_control(bench, monkeypatch):
    """Without the shape guard, padding gives one token a second spelling."""
    token = BAD_TOKENS["padding"](bench)
    monkeypatch.setattr(validator_module, "_check_shape", lambda token: None)

    assert bench.code(token) is None


def test_f02_duplicate_key_negative_control(bench, monkeypatch):
    """A reader that keeps the last of two keys accepts a token signed for somebody else."""
    token = BAD_TOKENS["claims with a duplicate key"](bench)
    monkeypatch.setattr(validator_module, "parse_object", lambda data, what: json.loads(data))

    assert bench.code(token) is None


def test_f02_algorithm_list_is_the_issuers(make_bench):
    """An algorithm that we know, but that this issuer does not use, is rejected."""
    bench = make_bench(algorithms=frozenset({"ES256"}))

    assert bench.code(bench.idp.token(kid="ec")) is None
    assert bench.code(bench.idp.token(kid="ed")) is ReasonCode.TOKEN_INVALID


def test_f02_algorithm_negative_control(make_bench, monkeypatch):
    """Without the guard, an issuer's unused algorithm passes."""
    bench = make_bench(algorithms=frozenset({"ES256"}))
    monkeypatch.setattr(
        validator_module,
        "_HEADER_GUARDS",
        tuple(g for g in validator_module._HEADER_GUARDS if g.__name__ != "_check_algorithm"),
    )

    assert bench.code(bench.idp.token(kid="ed")) is None


def test_f02_agent_b_cannot_use_the_token_of_agent_a(bench):
    """The same token passes for its agent and for no other, remembered or not."""
    token = bench.idp.token(sub="banking")
    bench.good(token, agent="banking")

    assert bench.code(token, agent="mailer") is ReasonCode.TOKEN_INVALID


@pytest.mark.parametrize(
    ("subject", "is_accepted"),
    [
        ("spiffe://corp.example/agent/banking", True),
        ("spiffe://corp.example/agent/mailer", False),
        ("spiffe://evil.example/agent/banking", False),
        ("spiffe://corp.example/agent/x/banking", False),
        ("SPIFFE://corp.example/agent/banking", False),
        ("banking", False),
    ],
)
def test_f02_spiffe_subject_is_exact(make_bench, subject, is_accepted):
    """A subject template admits the one name of the agent that asks."""
    bench = make_bench(subject="spiffe://corp.example/agent/{agent}")

    assert (bench.code(bench.idp.token(sub=subject)) is None) is is_accepted


def test_f09_never_expiring_token_is_refused_at_admission(bench):
    """No exp, an exp in a distant age, and an exp beyond the longest life are all refused."""
    for exp in (..., None, 2**53, 2**63, NOW_S - 10 + 3601):
        assert bench.code(bench.idp.token(exp=exp)) is ReasonCode.TOKEN_INVALID


def test_f09_negative_control(bench):
    """PyJWT by itself accepts a token without exp; the refusal is ours."""
    token = bench.idp.token(exp=...)
    _, key = bench.idp.keys["ed"]

    claims = jwt.decode(token, key.public_key(), algorithms=["EdDSA"], audience="holdfast")

    assert "exp" not in claims


def test_life_is_bounded_to_the_second(bench):
    """A life of exactly max_token_life passes."""
    assert bench.code(bench.idp.token(iat=NOW_S, exp=NOW_S + 3600)) is None
    assert bench.code(bench.idp.token(iat=NOW_S, exp=NOW_S + 3601)) is ReasonCode.TOKEN_INVALID


def test_leeway_covers_iat_and_nbf_and_never_exp(bench):
    """30 s of leeway excuse an issuer's fast clock; an expired token is expired."""
    assert bench.code(bench.idp.token(iat=NOW_S + 30, nbf=NOW_S + 30)) is None
    assert bench.code(bench.idp.token(iat=NOW_S - 60, exp=NOW_S)) is ReasonCode.TOKEN_EXPIRED


def test_c04_remembered_token_expires_at_exp(bench):
    """A token that was just accepted is refused in the second in which it expires."""
    token = bench.idp.token(exp=NOW_S + 5)
    bench.good(token)
    bench.clock.advance(seconds=4.999)
    before = bench.code(token)
    bench.clock.advance(seconds=0.001)

    assert (before, bench.code(token)) == (None, ReasonCode.TOKEN_EXPIRED)


@pytest.mark.parametrize("is_remembered", [True, False])
def test_wall_clock_set_back_does_not_revive_a_token(bench, is_remembered):
    """After an hour the token is over, whatever the wall clock says then."""
    token = bench.idp.token(exp=NOW_S + 600)
    if is_remembered:
        bench.good(token)
    bench.clock.advance(seconds=3600)
    bench.clock.step_wall(seconds=-3600)

    assert bench.code(token) is ReasonCode.TOKEN_EXPIRED


def test_wall_clock_set_back_negative_control(bench, monkeypatch):
    """Judged by the wall clock alone, the expired token lives again."""
    token = bench.idp.token(exp=NOW_S + 600)
    bench.clock.advance(seconds=3600)
    bench.clock.step_wall(seconds=-3600)
    monkeypatch.setattr(TokenValidator, "_latest_wall_ns", lambda self: self._clock.wall_ns())

    assert bench.code(token) is None


def test_wall_clock_can_be_believed_again(bench):
    """After a clock that ran ahead was corrected on purpose, tokens count by it."""
    bench.clock.step_wall(seconds=7200)
    bench.validator.accept_wall_clock()
    bench.clock.step_wall(seconds=-7200)
    token = bench.idp.token()
    before = bench.code(token)
    bench.validator.accept_wall_clock()

    assert (before, bench.code(token)) == (ReasonCode.TOKEN_EXPIRED, None)


def test_wall_clock_set_forward_expires_at_once(bench):
    """A remembered token follows the wall clock forward."""
    token = bench.idp.token(exp=NOW_S + 600)
    bench.good(token)
    bench.clock.step_wall(seconds=601)

    assert bench.code(token) is ReasonCode.TOKEN_EXPIRED


def test_deadline_is_the_tokens_expiry_on_the_boot_clock(bench):
    """The deadline for whatever rests on a token is its exp, and follows a step of the clock."""
    token = bench.good(bench.idp.token(exp=NOW_S + 600))
    at_first = bench.validator.deadline_boot_ns(token) - bench.clock.boot_ns()
    bench.clock.step_wall(seconds=100)
    after_step = bench.validator.deadline_boot_ns(token) - bench.clock.boot_ns()

    assert (at_first, after_step) == (600 * 10**9, 500 * 10**9)


class CountingSignatures:
    """Counts how often a signature is verified."""

    def __init__(self, monkeypatch):
        self.count = 0
        self._inner = validator_module._jws
        monkeypatch.setattr(validator_module, "_jws", self)

    def decode_complete(self, *args, **kwargs):
        self.count += 1
        return self._inner.decode_complete(*args, **kwargs)


def test_signature_is_verified_once_per_token(bench, monkeypatch):
    """The second validation of the same bytes needs no signature check."""
    signatures = CountingSignatures(monkeypatch)
    token = bench.idp.token()
    first, second = bench.good(token), bench.good(token)

    assert (signatures.count, first) == (1, second)


def test_bad_tokens_are_not_remembered(bench, monkeypatch):
    """A flood of bad tokens fills no memory."""
    token = bench.idp.token(sub="mailer")
    for _ in range(3):
        bench.code(token)

    assert len(bench.validator._remembered) == 0


def test_memory_of_good_tokens_is_bounded(bench, clock):
    """The oldest token is forgotten first, and only costs a signature check again."""
    validator = TokenValidator(
        issuers=bench.validator._issuers, keys=bench.ring, clock=clock, max_remembered=3
    )
    for number in range(10):
        token = bench.idp.token(jti=f"t{number}")
        assert isinstance(
            validator.validate(token, issuer_name="corp", agent="banking"), VerifiedToken
        )

    assert len(validator._remembered) == 3


def test_f11_remembered_token_does_not_survive_its_key(bench):
    """After the issuer replaced its keys, a token of the old key is refused at once."""
    token = bench.idp.token(kid="ed")
    bench.good(token)
    bench.ring.put("corp", bench.idp.key_set("ed2"), as_of_boot_ns=bench.clock.boot_ns())

    assert bench.code(token) is ReasonCode.TOKEN_INVALID


def test_f11_remembered_token_does_not_survive_another_key_under_the_same_kid(bench, other_idp):
    """A key cached by its kid alone would go on; ours is bound to the key set itself."""
    token = bench.idp.token(kid="ed")
    bench.good(token)
    bench.ring.put("corp", other_idp.key_set("ed"), as_of_boot_ns=bench.clock.boot_ns())

    assert bench.code(token) is ReasonCode.TOKEN_INVALID


def test_f11_key_change_negative_control(bench, monkeypatch):
    """If remembered proofs were not bound to the key set, the old key would go on working."""
    token = bench.idp.token(kid="ed")
    bench.good(token)
    bench.ring.put("corp", bench.idp.key_set("ed2"), as_of_boot_ns=bench.clock.boot_ns())
    monkeypatch.setattr(validator_module, "_is_current", lambda remembered, keys: True)

    assert bench.code(token) is None


def test_f11_same_keys_read_again_keep_the_memory(bench, monkeypatch):
    """A refresh that brings the same bytes costs no signature checks."""
    token = bench.idp.token()
    bench.good(token)
    signatures = CountingSignatures(monkeypatch)
    bench.ring.put("corp", bench.idp.key_set(), as_of_boot_ns=bench.clock.boot_ns())
    bench.good(token)

    assert signatures.count == 0


def test_f11_stale_keys_refuse_remembered_tokens_too(bench):
    """Past max_key_age nothing passes, not even what passed a moment ago."""
    bench.clock.advance(seconds=3595)
    token = bench.idp.token(iat=NOW_S + 3590, exp=NOW_S + 4000)
    bench.good(token)
    bench.clock.advance(seconds=6)

    assert bench.code(token) is ReasonCode.ISSUER_KEYS_STALE


def test_f06_no_token_counts_before_keys_are_loaded(bench, clock):
    """Until the first key set arrives, the answer is NOT_READY."""
    ring = KeyRing(issuers=bench.validator._issuers, clock=clock)
    validator = TokenValidator(issuers=bench.validator._issuers, keys=ring, clock=clock)

    verdict = validator.validate(bench.idp.token(), issuer_name="corp", agent="banking")

    assert isinstance(verdict, Rejection)
    assert verdict.code is ReasonCode.NOT_READY


def test_values_hold_no_part_of_the_token(bench):
    """Neither the verified claims nor the memory know the token's text."""
    token = bench.idp.token()
    verified = bench.good(token)
    seen = repr(verified) + repr(bench.validator._remembered)

    assert not any(part in seen for part in token.split("."))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    token=st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
)
def test_f02_any_text_gets_an_answer(bench, token):
    """Whatever arrives, the answer is a rejection and never an exception."""
    assert isinstance(bench.validate(token), Rejection)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    claims=st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "jti", "iat", "exp", "nbf", "sid", "auth_time"]),
        JSON_VALUES,
        min_size=1,
    ),
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk"]), JSON_VALUES),
)
def test_f02_any_signed_claims_get_an_answer(bench, claims, header):
    """Signed nonsense in any claim or header is an answer, and wrong types never pass."""
    verdict = bench.validate(bench.idp.token(header=header, **claims))

    if isinstance(verdict, VerifiedToken):
        assert type(verdict.issue_time_s) is int
        assert type(verdict.expire_time_s) is int
        assert verdict.subject == "banking"


@pytest.mark.parametrize(
    "change",
    [
        {"algorithms": frozenset({"HS256"})},
        {"algorithms": frozenset({"none", "EdDSA"})},
        {"algorithms": frozenset()},
        {"audience": ""},
        {"issuer": ""},
        {"jwks_url": "https://idp.example/keys"},
        {"jwks_file": None},
        {"max_token_life_s": 0},
        {"max_token_life_s": 86_401},
        {"leeway_s": -1},
        {"leeway_s": 301},
        {"max_key_age_s": 0},
        {"subject": "spiffe://corp.example/agent"},
        {"subject": "{agent}/{agent}"},
    ],
)
def test_issuer_that_would_weaken_the_proof_cannot_be_configured(change):
    """No symmetric algorithm, no empty audience, no endless life: these are misuse."""
    good = IssuerSpec(
        name="corp",
        issuer="https://idp.example",
        audience="holdfast",
        algorithms=frozenset({"EdDSA"}),
        jwks_file="jwks.json",
    )

    with pytest.raises(ValueError):
        dataclasses.replace(good, **change)
