# SPDX-License-Identifier: Apache-2.0
"""Signing in with OpenID Connect, against a provider on loopback that obeys or attacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.errors import ConfigurationError, EnvironmentFailure, RefusedError
from sidecar.model import Operator
from sidecar.web import idtoken, login_oidc, oidc
from sidecar.web.idtoken import Identity
from sidecar.web.login import login_routes
from sidecar.web.oidc import OidcConfig, OidcProvider, operator_of_login
from sidecar.web.oidc_http import MAX_ANSWER_BYTES, ProviderHttp, is_acceptable_url
from tests.support.console_login import Browser, LoginConsole, Page
from tests.support.openid import FakeProvider
from tests.support.passkeys import ORIGIN, person


@dataclass
class World:
    """A console, and two providers that it knows: ``a`` and ``b``."""

    console: LoginConsole
    a: FakeProvider
    b: FakeProvider

    async def begin(self, browser: Browser, name: str = "a", *, path: str = "/login") -> str:
        """Go to the sign-in page, choose provider *name*; return where the browser is sent."""
        await browser.get(path)
        answer = await browser.get(f"/login/oidc?provider={name}")
        assert answer.status == 303, answer.text
        return answer.headers["Location"]

    async def back(self, browser: Browser, query: str, name: str = "a") -> Page:
        """Come back from provider *name* with *query*: a link from another site."""
        return await browser.get(
            f"/login/oidc/callback/{name}?{query}", sec_fetch_site="cross-site"
        )

    async def sign_in(self, browser: Browser, *, path: str = "/login", **changes: str) -> Page:
        """Sign in with provider ``a``."""
        location = await self.begin(browser, path=path)
        return await self.back(browser, self.a.authorize(location, **changes))

    async def refused(self, browser: Browser, answer: Page) -> str:
        """Check that *answer* signed nobody in; return what it says."""
        assert answer.status >= 400
        assert browser.session_cookie == ""
        assert len(self.console.sessions) == 0
        assert "signed_in" not in self.console.log.events()
        return answer.text


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    """Alice is known to provider ``a`` as ``sub-alice``, to ``b`` as ``sub-1``."""
    a, b = FakeProvider(clock), FakeProvider(clock, subject="sub-1")
    await a.start()
    await b.start()
    secret = tmp_path / "client.secret"
    secret.write_text(a.client_secret + "\n")
    secret.chmod(0o600)
    configs = [
        OidcConfig(
            name=name,
            issuer=provider.issuer,
            client_id="holdfast",
            client_secret_file=secret,
            label=f"Provider {name}",
        )
        for name, provider in (("a", a), ("b", b))
    ]
    console = await LoginConsole(tmp_path / "passkeys.db", clock, oidc=configs).start()
    console.people["alice"] = with_logins(
        console.people["alice"], (a.issuer, "sub-alice"), (b.issuer, "sub-1")
    )
    yield World(console, a, b)
    await console.close()
    await a.close()
    await b.close()


def with_logins(operator: Operator, *logins: tuple[str, str]) -> Operator:
    """Return *operator* with *logins*."""
    return replace(operator, logins=logins)


# -- coming in ------------------------------------------------------------------------------------


async def test_a_provider_signs_an_operator_in(world: World) -> None:
    """Code flow with PKCE, state and nonce; the page goes on by itself, as the console's own."""
    browser = world.console.browser()
    location = await world.begin(browser, path="/login?next=/approvals/apr_1")
    answer = await world.back(browser, world.a.authorize(location))

    query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == f"{ORIGIN}/login/oidc/callback/a"
    assert query["scope"] == "openid"
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3
    assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) == 43
    assert "prompt" not in query
    assert (answer.status, answer.headers["Refresh"]) == (200, "0; url=/approvals/apr_1")
    assert answer.cookies["__Host-holdfast"]["samesite"] == "Strict"
    assert await world.console.who(browser) == "alice"
    session = world.console.session()
    assert (session.method, session.issuer) == ("oidc", world.a.issuer)
    assert session.login_time_ns == world.console.clock.wall_ns()
    assert world.console.log.entries[-1][1]["issuer"] == world.a.issuer


async def test_the_client_proves_itself_by_its_secret(world: World) -> None:
    """In the header, form-encoded first, as RFC 6749 asks; the verifier comes with the code."""
    await world.sign_in(world.console.browser())

    form, authorization = world.a.redeemed[-1]
    assert form["grant_type"] == "authorization_code"
    assert len(form["code_verifier"]) == 43
    assert "client_secret" not in form
    assert authorization == "Basic aG9sZGZhc3Q6czNjcmV0JTNBJTJCJTJG"


async def test_a_provider_that_takes_the_secret_in_the_form(world: World) -> None:
    """Where the metadata names only that."""
    world.a.metadata_changes["token_endpoint_auth_methods_supported"] = ["client_secret_post"]

    await world.sign_in(world.console.browser())

    form, authorization = world.a.redeemed[-1]
    assert (form["client_secret"], authorization) == ("s3cret:+/", "")


async def test_auth_time_and_acr_are_kept(world: World, clock: ManualClock) -> None:
    """A login at the provider two hours ago is no recent login here."""
    then = clock.wall_ns() // NS_PER_SECOND - 7200
    world.a.change_claims = lambda claims: claims.update(auth_time=then, acr="phr")

    await world.sign_in(world.console.browser())

    session = world.console.session()
    assert session.login_time_ns == then * NS_PER_SECOND
    assert not world.console.sessions.is_recent(session)
    assert session.acr == "phr"


async def test_a_fresh_sign_in_asks_the_provider_to_ask(world: World, clock: ManualClock) -> None:
    """``prompt=login``; an answer that rests on an earlier login is refused."""
    browser = world.console.browser()
    location = await world.begin(browser, path="/login?fresh=1&next=/x")
    world.a.change_claims = lambda claims: claims.update(auth_time=claims["iat"] - 3600)
    stale = await world.back(browser, world.a.authorize(location))
    assert "did not ask you again" in await world.refused(browser, stale)
    world.a.change_claims = lambda claims: claims.update(auth_time=claims["iat"])

    location = await world.begin(browser, path="/login?fresh=1&next=/x")
    answer = await world.back(browser, world.a.authorize(location))

    assert "prompt=login" in location
    assert "max_age=0" in location
    assert answer.headers["Refresh"] == "0; url=/x"
    assert world.console.sessions.is_recent(world.console.session())


async def test_metadata_and_keys_are_asked_for_once(world: World, clock: ManualClock) -> None:
    """And again when they are old, or when a token names a new key."""
    for _ in range(3):
        await world.sign_in(world.console.browser())
    assert world.a.hits.count("metadata") == world.a.hits.count("jwks") == 1
    world.a.kid = "key-2"
    clock.advance(seconds=11)
    assert (await world.sign_in(world.console.browser())).status == 200
    assert (world.a.hits.count("metadata"), world.a.hits.count("jwks")) == (1, 2)
    clock.advance(seconds=3600)
    await world.sign_in(world.console.browser())

    assert (world.a.hits.count("metadata"), world.a.hits.count("jwks")) == (2, 3)


# -- who it is ------------------------------------------------------------------------------------


async def test_d02_two_providers_and_two_subjects_are_one_human(world: World) -> None:
    """Signed in twice, by two issuers, Alice is one human: one operator, one human_id."""
    first, second = world.console.browser(), world.console.browser()
    await world.sign_in(first)
    location = await world.begin(second, "b")
    await world.back(second, world.b.authorize(location), "b")

    sessions = list(world.console.sessions._sessions.values())
    assert len(sessions) == 2
    assert {session.issuer for session in sessions} == {world.a.issuer, world.b.issuer}
    assert {session.human_id for session in sessions} == {"alice"}
    assert await world.console.who(first) == await world.console.who(second) == "alice"


@pytest.mark.parametrize(
    "subject", ["SUB-ALICE", "sub-alice%20", "sub-alic", "alice@example.com", "sub-1"]
)
async def test_d02_another_subject_is_nobody(world: World, subject: str) -> None:
    """Case, spaces, e-mail addresses and another provider's subject map to nobody."""
    browser = world.console.browser()
    world.a.subject = subject

    answer = await world.sign_in(browser)

    text = await world.refused(browser, answer)
    assert answer.status == 403
    assert world.a.issuer in text
    assert subject in text


async def test_d02_another_subject_negative_control(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were people found by their e-mail address, an attacker with Alice's would be Alice."""
    world.a.subject = "sub-mallory"

    def by_email(operators: Any, _: Identity) -> Operator | None:
        return next(item for item in operators if item.name == "alice")

    monkeypatch.setattr(login_oidc, "operator_of_login", by_email)
    browser = world.console.browser()
    await world.sign_in(browser)

    assert await world.console.who(browser) == "alice"


def test_d02_a_login_is_the_exact_pair() -> None:
    """Issuer and subject both, nothing normalised; automation and ambiguity are nobody."""
    alice = with_logins(person("alice"), ("https://idp.example", "1"))
    robot = with_logins(
        person("robot", human_id="", kind="automation"), ("https://idp.example", "2")
    )
    ghost = with_logins(person("ghost", human_id=""), ("https://idp.example", "3"))
    people = [alice, robot, ghost, person("bob")]

    def found(issuer: str, subject: str) -> Operator | None:
        return operator_of_login(people, Identity(issuer=issuer, subject=subject))

    assert found("https://idp.example", "1") is alice
    for issuer, subject in (
        ("https://idp.example/", "1"),
        ("https://IDP.example", "1"),
        ("https://other.example", "1"),
        ("https://idp.example", "2"),
        ("https://idp.example", "3"),
        ("https://idp.example", ""),
        ("", ""),
    ):
        assert found(issuer, subject) is None
    with pytest.raises(RefusedError):
        operator_of_login(
            [alice, with_logins(person("eve"), *alice.logins)],
            Identity(issuer="https://idp.example", subject="1"),
        )


async def test_an_unconfirmed_passkey_is_shown_to_who_signs_in_another_way(world: World) -> None:
    """An administrator who enrolled one in Alice's name cannot hide it from her."""
    await world.console.desk.enrol("alice")
    browser = world.console.browser()

    answer = await world.sign_in(browser, path="/login?next=/agents")
    listed = await browser.get(answer.headers["Refresh"].removeprefix("0; url="))

    assert answer.headers["Refresh"] == "0; url=/login/passkeys?next=%2Fagents"
    assert "not confirmed" in listed.text
    assert "carol" in listed.text


# -- tokens that prove nothing --------------------------------------------------------------------

Change = Callable[[dict[str, Any], FakeProvider], None]


def _set(**values: Any) -> Change:
    return lambda claims, _: claims.update(values)


def _shift(name: str, seconds: int) -> Change:
    return lambda claims, _: claims.update({name: claims["iat"] + seconds})


def _drop(name: str) -> Change:
    return lambda claims, _: claims.pop(name) and None


CLAIMS: dict[str, Change] = {
    "another issuer": _set(iss="https://evil.test"),
    "issuer with a slash": lambda claims, _: claims.update(iss=claims["iss"] + "/"),
    "no issuer": _drop("iss"),
    "for somebody else": _set(aud="another-client"),
    "for a list without us": _set(aud=["another-client"]),
    "for several, authorized party missing": _set(aud=["holdfast", "another-client"]),
    "for several, authorized party another": _set(aud=["holdfast", "other"], azp="other"),
    "authorized party another": _set(azp="other"),
    "no audience": _drop("aud"),
    "audience no text": _set(aud={"holdfast": True}),
    "another nonce": _set(nonce="A" * 43),
    "no nonce": _drop("nonce"),
    "nonce no text": _set(nonce=1),
    "expired": _shift("exp", 0),
    "expired long ago": _shift("exp", -86400),
    "no expiry": _drop("exp"),
    "expiry true": _set(exp=True),
    "expiry text": _set(exp="9999999999"),
    "no time of issue": _drop("iat"),
    "from the future": lambda claims, _: claims.update(iat=claims["iat"] + 61),
    "issued long ago": lambda claims, _: claims.update(iat=claims["iat"] - 601),
    "not valid yet": _shift("nbf", 120),
    "authenticated in the future": _shift("auth_time", 120),
    "no subject": _drop("sub"),
    "empty subject": _set(sub=""),
    "subject no text": _set(sub=["sub-alice"]),
    "subject with a line break": _set(sub="sub-alice\n"),
    "acr no text": _set(acr=["phr"]),
}


@pytest.mark.parametrize("story", CLAIMS)
async def test_a_token_with_wrong_claims_signs_nobody_in(world: World, story: str) -> None:
    """Signed by the provider's own key, and still not for this sign-in."""
    world.a.change_claims = lambda claims: CLAIMS[story](claims, world.a)
    browser = world.console.browser()

    await world.refused(browser, await world.sign_in(browser))


@pytest.mark.parametrize("story", CLAIMS)
def test_a_token_with_wrong_claims_negative_control(
    story: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every one of them breaks one guard alone: with that guard out, the claims pass."""
    provider = FakeProvider(ManualClock())
    now = provider.clock.wall_ns() // NS_PER_SECOND
    claims: dict[str, Any] = {
        "iss": "https://idp.example",
        "sub": "sub-alice",
        "aud": "holdfast",
        "iat": now,
        "exp": now + 300,
        "nonce": "n",
    }
    CLAIMS[story](claims, provider)
    expected = idtoken.Expected(
        issuer="https://idp.example",
        client_id="holdfast",
        nonce="n",
        algorithms=idtoken.ALGORITHMS,
        now_s=now,
    )

    def refuses(guard: Callable[..., None]) -> bool:
        try:
            guard(claims, expected)
        except RefusedError:
            return True
        return False

    assert sum(refuses(guard) for guard in idtoken._CLAIM_GUARDS) == 1


SIGNERS = [
    "unsigned",
    "hmac_with_public_key",
    "by_another_key",
    "with_own_key",
    "as_access_token",
]


@pytest.mark.parametrize("signer", SIGNERS)
async def test_a_token_that_is_not_signed_by_the_provider_signs_nobody_in(
    world: World, signer: str
) -> None:
    """``none``, HMAC with the public key, another key, a key it brings, another kind of token."""
    world.a.sign = getattr(world.a, signer)
    browser = world.console.browser()

    await world.refused(browser, await world.sign_in(browser))


async def test_a_token_that_is_not_signed_by_the_provider_negative_control(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the signature's check, a forged token signs in as whoever it names."""
    world.a.sign = world.a.by_another_key
    genuine = idtoken.jwt.PyJWS().decode_complete

    class Careless:
        def decode_complete(self, token: str, *_: Any, **__: Any) -> Any:
            return genuine(token, options={"verify_signature": False})

    monkeypatch.setattr(idtoken, "_jws", Careless())
    browser = world.console.browser()
    await world.sign_in(browser)

    assert await world.console.who(browser) == "alice"


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c.d", "a.b.c", "é.b.c", "A" * 20_000, "e30.e30.AA", "bnVsbA.e30.AA"]
)
async def test_a_token_that_is_none_signs_nobody_in(world: World, token: str) -> None:
    """Shapes that are no token."""
    world.a.sign = lambda _: token
    browser = world.console.browser()

    await world.refused(browser, await world.sign_in(browser))


# -- answers that belong to nothing ---------------------------------------------------------------


async def test_an_answer_to_another_browser_signs_nobody_in(world: World) -> None:
    """Login CSRF: the attacker's code and state, opened by the victim."""
    attacker, victim = world.console.browser(), world.console.browser()
    query = world.a.authorize(await world.begin(attacker))

    bare = await world.back(victim, query)
    assert bare.status == 401
    await world.begin(victim)
    await world.refused(victim, await world.back(victim, query))


async def test_an_answer_to_another_browser_negative_control(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without state, nonce and PKCE, the victim would be signed in as the attacker."""

    async def anything(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(OidcProvider, "check_answer", anything)
    monkeypatch.setattr(
        idtoken,
        "_CLAIM_GUARDS",
        [guard for guard in idtoken._CLAIM_GUARDS if guard is not idtoken._check_nonce],
    )
    genuine = oidc.Flow.begin
    flows: list[oidc.Flow] = []

    def same_verifier(**given: Any) -> oidc.Flow:
        flows.append(replace(genuine(**given), verifier="v" * 43))
        return flows[-1]

    monkeypatch.setattr(login_oidc.Flow, "begin", same_verifier)
    attacker, victim = world.console.browser(), world.console.browser()
    query = world.a.authorize(await world.begin(attacker))
    await world.begin(victim)
    await world.back(victim, query)

    assert await world.console.who(victim) == "alice"


async def test_a_stolen_code_is_worth_nothing_without_the_verifier(world: World) -> None:
    """Code injection: the victim's code with the attacker's own state; PKCE refuses it."""
    victim, attacker = world.console.browser(), world.console.browser()
    stolen = parse_qs(world.a.authorize(await world.begin(victim)))["code"][0]
    own = world.a.authorize(await world.begin(attacker))

    answer = await world.back(attacker, f"code={stolen}&state={parse_qs(own)['state'][0]}")

    await world.refused(attacker, answer)


@pytest.mark.parametrize("change", ["state=", "state=A", "", "code=", "code=a%20b"])
async def test_an_answer_without_its_parts_signs_nobody_in(world: World, change: str) -> None:
    """Empty, wrong and missing ones."""
    browser = world.console.browser()
    good = parse_qs(world.a.authorize(await world.begin(browser)))
    parts = {"state": good["state"][0], "code": good["code"][0]}
    if change:
        name, _, value = change.partition("=")
        parts[name] = value
    else:
        parts = {}

    answer = await world.back(browser, "&".join(f"{name}={value}" for name, value in parts.items()))

    await world.refused(browser, answer)
    assert not parts or "token" not in world.a.hits


@pytest.mark.parametrize("name", ["state", "code", "iss", "error"])
async def test_a_parameter_that_comes_twice_is_refused(world: World, name: str) -> None:
    """Two readers could each take another one."""
    browser = world.console.browser()
    query = world.a.authorize(await world.begin(browser))

    answer = await world.back(browser, f"{query}&{name}=x&{name}=y")

    await world.refused(browser, answer)


async def test_an_answer_counts_once(world: World) -> None:
    """The same callback again, in a browser that has kept every cookie."""
    browser = world.console.browser()
    query = world.a.authorize(await world.begin(browser))
    cookies = dict(browser.cookies)
    assert (await world.back(browser, query)).status == 200
    thief = Browser(world.console, cookies)

    answer = await world.back(thief, query)

    assert answer.status == 401
    assert thief.session_cookie == ""
    assert world.a.hits.count("token") == 1


async def test_a_code_counts_once(world: World) -> None:
    """Replayed under a new state, the provider itself refuses it."""
    browser = world.console.browser()
    query = world.a.authorize(await world.begin(browser))
    await world.back(browser, query)
    other = world.console.browser()
    state = parse_qs(world.a.authorize(await world.begin(other)))["state"][0]

    answer = await world.back(other, f"code={parse_qs(query)['code'][0]}&state={state}")

    assert answer.status == 503
    assert other.session_cookie == ""


async def test_an_answer_that_took_too_long_signs_nobody_in(
    world: World, clock: ManualClock
) -> None:
    """Ten minutes."""
    browser = world.console.browser()
    query = world.a.authorize(await world.begin(browser))
    clock.advance(seconds=600)

    await world.refused(browser, await world.back(browser, query))


# -- mix-up ---------------------------------------------------------------------------------------


async def mixed_up(world: World, browser: Browser) -> Page:
    """Begin with ``b``, an attacker, who sends the browser on to ``a`` and takes a's code back."""
    location = await world.begin(browser, "b")
    forwarded = location.replace(world.b.issuer, world.a.issuer)
    query = world.a.authorize(forwarded)
    return await world.back(browser, query, "b")


async def test_a_code_of_one_provider_never_goes_to_another(world: World) -> None:
    """Mix-up: the honest provider says who it is, and the attacker does not get its code."""
    world.a.sends_issuer = world.b.sends_issuer = True
    browser = world.console.browser()

    await world.refused(browser, await mixed_up(world, browser))

    assert world.b.redeemed == []


async def test_a_code_of_one_provider_never_comes_back_to_anothers_address(world: World) -> None:
    """Providers that do not say who they are: each has an address of its own to come back to."""
    browser = world.console.browser()
    location = await world.begin(browser, "b")
    # The honest provider sends the browser only to the address that is registered with it.
    query = world.a.authorize(location.replace(world.b.issuer, world.a.issuer))

    await world.refused(browser, await world.back(browser, query, "a"))

    assert world.a.redeemed == world.b.redeemed == []


async def test_a_code_of_one_provider_negative_control(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the check of the issuer, the attacker receives the honest provider's code."""

    async def state_alone(*_: Any, **__: Any) -> None:
        return None

    world.a.sends_issuer = world.b.sends_issuer = True
    monkeypatch.setattr(OidcProvider, "check_answer", state_alone)

    await mixed_up(world, world.console.browser())

    assert len(world.b.redeemed) == 1


@pytest.mark.parametrize("issuer", ["", "https://evil.test", "b"])
async def test_an_answer_of_another_issuer_is_refused(world: World, issuer: str) -> None:
    """RFC 9207: whatever ``iss`` there is must be the provider's; where it is promised, it must be."""
    world.a.sends_issuer = True
    browser = world.console.browser()
    location = await world.begin(browser)
    query = world.a.authorize(location, iss=world.b.issuer if issuer == "b" else issuer)
    if not issuer:
        query = "&".join(part for part in query.split("&") if not part.startswith("iss="))

    await world.refused(browser, await world.back(browser, query))

    assert world.a.redeemed == []


async def test_an_error_of_the_provider_is_told_in_our_words(world: World) -> None:
    """Its description is anybody's text and is never shown; one without our state is nobody's."""
    browser = world.console.browser()
    state = parse_qs(world.a.authorize(await world.begin(browser)))["state"][0]
    hostile = "error_description=<b>call+555</b>"

    forged = await world.back(browser, f"error=access_denied&state=A&{hostile}")
    told = await world.back(browser, f"error=access_denied&state={state}&{hostile}")
    unknown = await world.back(browser, f"error=call+555&state={state}&{hostile}")

    assert "does not belong" in await world.refused(browser, forged)
    assert "said no" in await world.refused(browser, told)
    for page in (forged, told, unknown):
        assert "555" not in page.text


# -- a provider that misbehaves -------------------------------------------------------------------


def _huge(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b" " * (MAX_ANSWER_BYTES + 1), content_type="application/json")


def _redirect(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/elsewhere"})


def _compressed(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})


def _text(text: str) -> Callable[[web.Request], web.StreamResponse]:
    return lambda _: web.Response(text=text)


ANSWERS: dict[str, Callable[[web.Request], web.StreamResponse]] = {
    "too large": _huge,
    "a redirect": _redirect,
    "compressed": _compressed,
    "an error": lambda _: web.Response(status=500),
    "no JSON": _text("<html>"),
    "a list": _text("[]"),
    "a key twice": _text('{"issuer": "a", "issuer": "b"}'),
    "nothing": _text(""),
    "empty": _text("{}"),
}


@pytest.mark.parametrize("endpoint", ["metadata", "token", "jwks"])
@pytest.mark.parametrize("story", ANSWERS)
async def test_an_answer_that_is_none_signs_nobody_in(
    world: World, endpoint: str, story: str
) -> None:
    """At each endpoint: bounded, no redirect followed, strict JSON; the page says something helpful."""
    world.a.behaviour[endpoint] = ANSWERS[story]
    browser = world.console.browser()
    await browser.get("/login")

    begun = await browser.get("/login/oidc?provider=a")
    if begun.status == 303:
        begun = await world.back(browser, world.a.authorize(begun.headers["Location"]))

    text = await world.refused(browser, begun)
    assert "127.0.0.1" not in text
    assert "code=" not in text


async def test_a_provider_that_does_not_answer_is_given_up(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its deadline, with a page that says so."""
    never = asyncio.Event()

    async def hang(*_: Any) -> bytes:
        await never.wait()
        return b""

    monkeypatch.setattr(ProviderHttp, "_exchange", hang)
    http = ProviderHttp(name="a", timeout_s=0.01)

    with pytest.raises(EnvironmentFailure, match="did not answer in"):
        await http.get("https://idp.example/x")


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.test"},
        {"token_endpoint": "http://idp.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"token_endpoint": "https://user@idp.example/token"},
        {"code_challenge_methods_supported": ["plain"]},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
    ],
)
async def test_metadata_that_would_lead_astray_is_refused(
    world: World, change: dict[str, Any]
) -> None:
    """Another issuer, an endpoint without TLS or of another scheme, PKCE withheld."""
    world.a.metadata_changes.update(change)
    browser = world.console.browser()
    await browser.get("/login")

    await world.refused(browser, await browser.get("/login/oidc?provider=a"))


async def test_a_provider_the_console_does_not_know_is_not_found(world: World) -> None:
    """Whatever its name looks like."""
    browser = world.console.browser()
    for path in (
        "/login/oidc",
        "/login/oidc?provider=c",
        "/login/oidc?provider=../a",
        "/login/oidc/callback/c?code=x&state=y",
    ):
        assert (await browser.get(path)).status == 404


async def test_a_secret_that_others_can_read_is_not_used(world: World, tmp_path: Path) -> None:
    """Its file belongs to one user; the message names the file and not what is in it."""
    (tmp_path / "client.secret").chmod(0o644)
    browser = world.console.browser()

    text = await world.refused(browser, await world.sign_in(browser))

    assert "s3cret" not in text
    assert world.a.redeemed == []


# -- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://idp.example", True),
        ("https://idp.example:8443/realms/x", True),
        ("http://127.0.0.1:9000", True),
        ("http://localhost:9000", True),
        ("http://[::1]:9000/x", True),
        ("http://idp.example", False),
        ("http://127.0.0.1.evil.test", False),
        ("http://localhost.evil.test", False),
        ("https://user:pw@idp.example", False),
        ("https://idp.example/#x", False),
        ("https://idp.example:0", False),
        ("https://idp.example:99999", False),
        ("https://", False),
        ("ftp://idp.example", False),
        ("https://idp.example/\n", False),
        ("https://idp.example\\@evil.test", False),
        (None, False),
    ],
)
def test_an_address_is_plain_and_https(url: object, is_good: bool) -> None:
    """Http is for loopback only, written as such."""
    assert is_acceptable_url(url) is is_good


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "http://idp.example"},
        {"issuer": "https://idp.example?x=1"},
        {"client_id": ""},
        {"name": "A"},
        {"name": "../x"},
        {"scopes": ("profile",)},
        {"algorithms": frozenset({"HS256"})},
        {"algorithms": frozenset({"none"})},
        {"algorithms": frozenset()},
    ],
)
def test_a_provider_that_cannot_be_used_is_said_at_start(change: dict[str, Any]) -> None:
    """Symmetric algorithms cannot even be configured."""
    with pytest.raises(ConfigurationError):
        OidcConfig(**{"issuer": "https://idp.example", "client_id": "x", **change})


async def test_two_providers_of_one_name_are_a_mistake(world: World) -> None:
    """Their addresses to come back to would be one."""
    ports = replace(world.console.ports, oidc=[*world.console.ports.oidc] * 2)

    with pytest.raises(ConfigurationError):
        login_routes(ports)


async def test_required_classes_and_times_are_demanded(
    world: World, tmp_path: Path, clock: ManualClock
) -> None:
    """``acr_values`` and ``is_auth_time_needed`` refuse what does not say so."""
    config = replace(
        world.console.ports.oidc[0], acr_values=("phr", "phrh"), is_auth_time_needed=True
    )
    provider = OidcProvider(config, origin=ORIGIN, clock=clock)

    async def outcome(**claims: Any) -> Identity:
        world.a.change_claims = lambda found: found.update(claims)
        flow = oidc.Flow.begin(start_time_s=0, is_fresh=False)
        url = await provider.authorization_url(flow)
        assert "acr_values=phr+phrh" in url
        code = parse_qs(world.a.authorize(url))["code"][0]
        return await provider.redeem(flow, code=code)

    now = clock.wall_ns() // NS_PER_SECOND
    assert (await outcome(acr="phrh", auth_time=now)).acr == "phrh"
    for claims in ({"acr": "pwd", "auth_time": now}, {"auth_time": now}, {"acr": "phr"}):
        with pytest.raises(RefusedError):
            await outcome(**claims)
