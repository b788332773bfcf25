# SPDX-License-Identifier: Apache-2.0
"""Signing in with a passkey: who comes in, with which cookie, and who does not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.clock import ManualClock
from sidecar.web import csrf, login, loginsteps
from sidecar.web import presession as presession_module
from sidecar.web.sessions import SessionLimits, Sessions
from tests.support.authenticator import PRESENT, Authenticator, unb64url
from tests.support.console_login import Browser, LoginConsole, Page
from tests.support.passkeys import ORIGIN, person


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
async def console(tmp_path: Path, clock: ManualClock) -> AsyncIterator[LoginConsole]:
    """The sign-in pages, served."""
    made = await LoginConsole(tmp_path / "passkeys.db", clock).start()
    yield made
    await made.close()


@pytest.fixture
async def device(console: LoginConsole) -> Authenticator:
    """Alice's."""
    return await console.desk.enrol("alice")


async def signed_in(console: LoginConsole, device: Authenticator) -> Browser:
    """Return a browser in which the owner of *device* is signed in."""
    browser = console.browser()
    assert (await browser.sign_in(device)).status == 303
    return browser


# -- coming in ------------------------------------------------------------------------------------


async def test_a_passkey_signs_its_owner_in(console: LoginConsole, device: Authenticator) -> None:
    """Without a name: the passkey says whose it is. It leads to where one wanted to go."""
    browser = console.browser()

    answer = await browser.sign_in(device, wanted="/approvals/apr_1")

    assert (answer.status, answer.headers["Location"]) == (303, "/approvals/apr_1")
    assert await console.who(browser) == "alice"
    session = console.session()
    assert (session.human_id, session.method) == ("alice", "passkey")
    assert session.login_time_ns == console.clock.wall_ns()
    assert console.log.entries[-1][1] == {
        "event": "signed_in",
        "operator": "alice",
        "human": "alice",
        "session": session.id,
        "method": "passkey",
        "credential": session.credential_id,
        "issuer": None,
        "acr": None,
    }


async def test_the_cookies_have_every_protection_there_is(
    console: LoginConsole, device: Authenticator
) -> None:
    """__Host-, Secure, HttpOnly, no domain; Strict for the session, Lax for the way there."""
    browser = console.browser()
    page = await browser.get("/login")
    answer = await browser.post(
        "/login/passkey",
        {"csrf": page.field("csrf"), "assertion": device.get(page.options()).decode()},
    )

    before = page.cookies["__Host-holdfast-signin"]
    session = answer.cookies["__Host-holdfast"]
    for cookie, same_site in ((before, "Lax"), (session, "Strict")):
        assert cookie["secure"]
        assert cookie["httponly"]
        assert cookie["path"] == "/"
        assert cookie["domain"] == ""
        assert cookie["samesite"] == same_site
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", session.value)
    assert answer.cookies["__Host-holdfast-signin"]["max-age"] == "0"
    assert session.value not in repr(console.sessions.__dict__)


def test_on_plain_http_the_cookie_claims_no_more_than_it_has(clock: ManualClock) -> None:
    """A browser drops a __Host- cookie without TLS; ours is then called plainly."""
    assert Sessions(clock=clock, is_secure=False).cookie_name == "holdfast"


async def test_a_security_key_that_does_not_know_whose_it_is(
    console: LoginConsole, device: Authenticator
) -> None:
    """With the operator's name, the browser is told which passkeys to look for."""
    browser = console.browser()
    page = await browser.get("/login?next=/agents")

    named = await browser.post(
        "/login/passkey/options", {"csrf": page.field("csrf"), "name": "alice"}
    )
    stranger = await browser.post(
        "/login/passkey/options", {"csrf": page.field("csrf"), "name": "mallory"}
    )
    again = await browser.post(
        "/login/passkey",
        {"csrf": named.field("csrf"), "assertion": device.get(named.options()).decode()},
    )

    assert [unb64url(item["id"]) for item in named.options()["allowCredentials"]] == list(
        device.credentials
    )
    assert len(stranger.options()["allowCredentials"]) == 1
    assert page.options()["allowCredentials"] == []
    assert again.headers["Location"] == "/agents"


async def test_a_name_with_markup_is_text(console: LoginConsole) -> None:
    """D14: what somebody typed as a name comes back escaped."""
    browser = console.browser()
    page = await browser.get("/login")

    answer = await browser.post(
        "/login/passkey/options",
        {"csrf": page.field("csrf"), "name": '"><script>alert(1)</script>\u202e'},
    )

    assert answer.status == 200
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


async def test_two_tabs_do_not_disturb_each_other(
    console: LoginConsole, device: Authenticator
) -> None:
    """A login page that was opened again does not void the first one."""
    browser = console.browser()
    first = await browser.get("/login")
    second = await browser.get("/login")

    answer = await browser.post(
        "/login/passkey",
        {"csrf": first.field("csrf"), "assertion": device.get(first.options()).decode()},
    )

    assert first.field("csrf") == second.field("csrf")
    assert answer.status == 303


# -- staying out ----------------------------------------------------------------------------------


async def attempt(
    browser: Browser, device: Authenticator, page: Page | None = None, **headers: str | None
) -> Page:
    """Try to sign in; *headers* replace the browser's."""
    page = page or await browser.get("/login")
    form = {"csrf": page.field("csrf"), "assertion": device.get(page.options()).decode()}
    return await browser.post("/login/passkey", form, **headers)


async def test_an_assertion_signs_in_once(console: LoginConsole, device: Authenticator) -> None:
    """Replayed with everything the browser had, it opens nothing."""
    device.counts = False
    browser = console.browser()
    page = await browser.get("/login")
    cookies = dict(browser.cookies)
    form = {"csrf": page.field("csrf"), "assertion": device.get(page.options()).decode()}
    assert (await browser.post("/login/passkey", form)).status == 303

    thief = Browser(console, dict(cookies))
    answer = await thief.post("/login/passkey", form)

    assert answer.status == 401
    assert thief.session_cookie == ""


async def test_an_assertion_signs_in_once_negative_control(
    console: LoginConsole, device: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a sign-in could succeed twice, the replay would open a session."""
    device.counts = False
    monkeypatch.setattr(console.ports.presessions, "finish", lambda *_: None)
    browser = console.browser()
    page = await browser.get("/login")
    cookies = dict(browser.cookies)
    form = {"csrf": page.field("csrf"), "assertion": device.get(page.options()).decode()}
    await browser.post("/login/passkey", form)

    thief = Browser(console, dict(cookies))
    answer = await thief.post("/login/passkey", form)

    assert answer.status == 303
    assert thief.session_cookie


async def test_an_assertion_of_another_browser_signs_nobody_in(
    console: LoginConsole, device: Authenticator
) -> None:
    """The challenge is sealed into the browser that asked for it."""
    asked = await console.browser().get("/login")
    other = console.browser()
    own = await other.get("/login")

    answer = await other.post(
        "/login/passkey",
        {"csrf": own.field("csrf"), "assertion": device.get(asked.options()).decode()},
    )

    assert answer.status == 403
    assert other.session_cookie == ""


async def test_no_pin_no_sign_in(console: LoginConsole, device: Authenticator) -> None:
    """A touch alone does not sign in."""
    browser = console.browser()
    page = await browser.get("/login")

    answer = await browser.post(
        "/login/passkey",
        {
            "csrf": page.field("csrf"),
            "assertion": device.get(page.options(), flags=PRESENT).decode(),
        },
    )

    assert answer.status == 403
    assert "check that it is you" in answer.text


async def test_without_javascript_it_is_said(console: LoginConsole) -> None:
    """An empty assertion is what a browser without JavaScript sends."""
    browser = console.browser()
    page = await browser.get("/login")

    answer = await browser.post("/login/passkey", {"csrf": page.field("csrf"), "assertion": ""})

    assert "<noscript>" in page.text
    assert answer.status == 403
    assert "A passkey needs JavaScript" in answer.text


async def test_an_old_page_signs_nobody_in(
    console: LoginConsole, device: Authenticator, clock: ManualClock
) -> None:
    """Ten minutes, by the boot clock."""
    browser = console.browser()
    page = await browser.get("/login")
    clock.advance(seconds=600)
    clock.step_wall(seconds=-600)

    assert (await attempt(browser, device, page)).status == 401


@pytest.mark.parametrize("change", ["gone", "automation", "another human", "no human"])
async def test_d01_an_operator_who_is_not_in_force_is_not_signed_in(
    console: LoginConsole, device: Authenticator, change: str
) -> None:
    """The passkey is genuine; operators.yaml says who counts, at this moment."""
    if change == "gone":
        del console.people["alice"]
    elif change == "automation":
        console.people["alice"] = person("alice", kind="automation")
    else:
        human = "mallory" if change == "another human" else ""
        console.people["alice"] = person("alice", human_id=human)

    browser = console.browser()
    answer = await attempt(browser, device)

    assert answer.status == 403
    assert browser.session_cookie == ""


async def test_d01_a_session_ends_with_its_operator(
    console: LoginConsole, device: Authenticator
) -> None:
    """Whoever leaves operators.yaml is signed out at the next request; so is who became another."""
    browser = await signed_in(console, device)
    alice = console.people.pop("alice")
    assert await console.who(browser) == ""

    console.people["alice"] = person("alice", human_id="mallory")
    assert await console.who(browser) == ""
    console.people["alice"] = alice
    assert await console.who(browser) == "alice"


async def test_a_sign_in_that_is_not_in_the_log_does_not_happen(
    console: LoginConsole, device: Authenticator
) -> None:
    """No record, no session: no cookie leaves, and none is kept."""
    browser = console.browser()
    console.log.is_broken = True

    answer = await attempt(browser, device)

    assert answer.status == 503
    assert browser.session_cookie == ""
    assert len(console.sessions) == 0


async def test_a_session_is_not_fixed_before_the_sign_in(
    console: LoginConsole, device: Authenticator
) -> None:
    """A cookie that somebody planted does not become the session of whoever signs in."""
    victim = console.browser()
    victim.cookies["__Host-holdfast"] = "A" * 43
    await victim.sign_in(device)

    attacker = console.browser()
    attacker.cookies["__Host-holdfast"] = "A" * 43
    assert victim.session_cookie != "A" * 43
    assert await console.who(victim) == "alice"
    assert await console.who(attacker) == ""


async def test_signing_in_again_ends_the_session_before(
    console: LoginConsole, device: Authenticator
) -> None:
    """Rotation: a fresh sign-in has a new cookie and a new form token, and the old ones are void."""
    browser = await signed_in(console, device)
    old, old_session = browser.session_cookie, console.session()
    page = await browser.get("/login?fresh=1&next=/approvals/apr_1")
    answer = await attempt(browser, device, page)

    thief = console.browser()
    thief.cookies["__Host-holdfast"] = old
    assert answer.headers["Location"] == "/approvals/apr_1"
    assert await console.who(thief) == ""
    assert await console.who(browser) == "alice"
    assert console.session().csrf != old_session.csrf


async def test_signing_in_again_ends_the_session_before_negative_control(
    console: LoginConsole, device: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If opening a session left the old one alone, the old cookie would stay good."""
    browser = await signed_in(console, device)
    old = browser.session_cookie
    page = await browser.get("/login?fresh=1")
    monkeypatch.setattr(console.sessions, "close", lambda *_: None)
    await attempt(browser, device, page)

    thief = console.browser()
    thief.cookies["__Host-holdfast"] = old
    assert await console.who(thief) == "alice"


# -- forgery --------------------------------------------------------------------------------------

FORGERIES: dict[str, dict[str, str | None]] = {
    "Origin: null": {"origin": "null", "sec_fetch_site": None},
    "another origin": {"origin": "https://evil.test", "sec_fetch_site": None},
    "same host, http": {"origin": "http://console.example", "sec_fetch_site": None},
    "no origin": {"origin": None, "sec_fetch_site": None},
    "no origin, cross-site": {"origin": None, "sec_fetch_site": "cross-site"},
    "no origin, same-site": {"origin": None, "sec_fetch_site": "same-site"},
    "our origin, but cross-site": {"origin": ORIGIN, "sec_fetch_site": "cross-site"},
    "our origin, but same-site": {"origin": ORIGIN, "sec_fetch_site": "same-site"},
    "by hand": {"origin": None, "sec_fetch_site": "none"},
}


@pytest.mark.parametrize("story", FORGERIES)
async def test_d12_a_form_from_elsewhere_signs_nobody_in(
    console: LoginConsole, device: Authenticator, story: str
) -> None:
    """Even with the right token and the right passkey."""
    browser = console.browser()

    answer = await attempt(browser, device, **FORGERIES[story])

    assert answer.status == 403
    assert browser.session_cookie == ""


@pytest.mark.parametrize("story", FORGERIES)
async def test_d12_a_form_from_elsewhere_negative_control(
    console: LoginConsole,
    device: Authenticator,
    monkeypatch: pytest.MonkeyPatch,
    story: str,
) -> None:
    """Without the question where a form comes from, all of them do."""
    monkeypatch.setattr(login, "check_origin", lambda *_, **__: None)

    answer = await attempt(console.browser(), device, **FORGERIES[story])

    assert answer.status == 303


async def test_d12_no_origin_but_same_origin_is_taken(
    console: LoginConsole, device: Authenticator
) -> None:
    """A browser that sends Sec-Fetch-Site alone has said enough; one that sends Origin alone, too."""
    for headers in (
        {"origin": None, "sec_fetch_site": "same-origin"},
        {"origin": ORIGIN, "sec_fetch_site": None},
    ):
        assert (await attempt(console.browser(), device, **headers)).status == 303


@pytest.mark.parametrize("token", [None, "", "A" * 43, "of another browser", "twice"])
async def test_d12_a_form_without_its_token_signs_nobody_in(
    console: LoginConsole, device: Authenticator, token: str | None
) -> None:
    """Login CSRF: an attacker's own passkey and page, sent by a victim's browser."""
    victim = console.browser()
    await victim.get("/login")
    attackers = await console.browser().get("/login")
    assertion = device.get(attackers.options()).decode()
    form = {"assertion": assertion}
    if token == "of another browser":
        form["csrf"] = attackers.field("csrf")
    elif token not in (None, "twice"):
        form["csrf"] = str(token)
    body: dict[str, str] | str = form
    if token == "twice":
        body = f"csrf={attackers.field('csrf')}&csrf=A&assertion=x"

    answer = await victim.post("/login/passkey", body)

    assert answer.status in (400, 403)
    assert victim.session_cookie == ""


async def test_d12_a_form_without_its_token_negative_control(
    console: LoginConsole, device: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the token, a form that names none signs in."""
    monkeypatch.setattr(login, "check_token", lambda *_, **__: None)
    browser = console.browser()
    page = await browser.get("/login")

    answer = await browser.post(
        "/login/passkey", {"assertion": device.get(page.options()).decode()}
    )

    assert answer.status == 303


async def test_a_form_without_the_cookie_it_was_served_with_is_refused(
    console: LoginConsole, device: Authenticator
) -> None:
    """Nothing is kept here of a half-finished sign-in, so nothing can be taken up without it."""
    page = await console.browser().get("/login")

    assert (await attempt(console.browser(), device, page)).status == 401


@pytest.mark.parametrize("where", [0, 20, 200, -1])
async def test_a_half_finished_sign_in_is_sealed(
    console: LoginConsole, device: Authenticator, where: int
) -> None:
    """A cookie that was changed anywhere is no cookie of ours; it shows nothing either."""
    browser = console.browser()
    page = await browser.get("/login")
    name = console.ports.presessions.cookie_name
    sealed = browser.cookies[name]
    assert page.field("csrf") not in sealed
    position = where % len(sealed)
    changed = "A" if sealed[position] != "A" else "B"
    browser.cookies[name] = sealed[:position] + changed + sealed[position + 1 :]

    answer = await attempt(browser, device, page)

    assert answer.status == 401


async def test_another_console_does_not_take_up_what_this_one_began(
    console: LoginConsole, device: Authenticator
) -> None:
    """The seal's key is the process's own."""
    browser = console.browser()
    page = await browser.get("/login")
    presessions = console.ports.presessions
    presessions._seal = presession_module.AESGCM(b"\x00" * 32)

    assert (await attempt(browser, device, page)).status == 401


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", "{}", 400),
        ("multipart/form-data; boundary=x", "--x--", 400),
        ("text/plain", "csrf=x", 400),
        ("application/x-www-form-urlencoded", "csrf=%ff", 400),
        ("application/x-www-form-urlencoded", "a=1&a=2", 400),
        ("application/x-www-form-urlencoded", "&".join(f"a{n}=1" for n in range(100)), 400),
        ("application/x-www-form-urlencoded", "a=" + "x" * 70_000, 400),
    ],
)
async def test_a_form_is_a_small_url_encoded_form(
    console: LoginConsole, content_type: str, body: str, status: int
) -> None:
    """Nothing else is read, and no field twice."""
    browser = console.browser()
    await browser.get("/login")

    answer = await browser.post("/login/passkey", body, content_type=content_type)

    assert answer.status == status


# -- signing out ----------------------------------------------------------------------------------


async def test_signing_out_ends_the_session(console: LoginConsole, device: Authenticator) -> None:
    """For whoever kept the cookie, too."""
    browser = await signed_in(console, device)
    cookie = browser.session_cookie

    answer = await browser.post("/logout", {"csrf": console.session().csrf})

    thief = console.browser()
    thief.cookies["__Host-holdfast"] = cookie
    assert answer.status == 200
    assert browser.session_cookie == ""
    assert await console.who(thief) == ""
    assert console.log.events()[-1] == "signed_out"


@pytest.mark.parametrize("token", ["", "A" * 43])
async def test_d12_nobody_is_signed_out_by_another_site(
    console: LoginConsole, device: Authenticator, token: str
) -> None:
    """Neither without the token, nor from elsewhere, nor with GET."""
    browser = await signed_in(console, device)
    right = console.session().csrf

    assert (await browser.post("/logout", {"csrf": token})).status == 403
    assert (
        await browser.post("/logout", {"csrf": right}, origin="null", sec_fetch_site=None)
    ).status == 403
    assert (await browser.get("/logout")).status == 405
    assert await console.who(browser) == "alice"


async def test_signing_out_works_while_the_log_fails(
    console: LoginConsole, device: Authenticator
) -> None:
    """Giving up an authority needs nobody's leave."""
    browser = await signed_in(console, device)
    csrf_token = console.session().csrf
    console.log.is_broken = True

    assert (await browser.post("/logout", {"csrf": csrf_token})).status == 200
    assert len(console.sessions) == 0


async def test_signing_out_twice_is_signed_out(console: LoginConsole) -> None:
    """Without a session there is nothing to protect."""
    assert (await console.browser().post("/logout", {"csrf": ""})).status == 200


# -- time and number ------------------------------------------------------------------------------


async def test_a_session_ends_when_nobody_uses_it(
    console: LoginConsole, device: Authenticator, clock: ManualClock
) -> None:
    """After half an hour; a request in between keeps it."""
    browser = await signed_in(console, device)
    clock.advance(seconds=1799)
    assert await console.who(browser) == "alice"
    clock.advance(seconds=1799)
    assert await console.who(browser) == "alice"
    clock.advance(seconds=1800)

    assert await console.who(browser) == ""


async def test_a_session_ends_after_eight_hours(
    console: LoginConsole, device: Authenticator, clock: ManualClock
) -> None:
    """However busy it is, and though the wall clock is set back."""
    browser = await signed_in(console, device)
    for _ in range(8 * 4 - 1):
        clock.advance(seconds=900)
        clock.step_wall(seconds=-900)
        assert await console.who(browser) == "alice"
    clock.advance(seconds=900)

    assert await console.who(browser) == ""


async def test_what_no_human_did_keeps_no_session_alive(
    console: LoginConsole, device: Authenticator, clock: ManualClock
) -> None:
    """A page that polls or streams by itself is no activity."""
    browser = await signed_in(console, device)
    request = _Request({"Cookie": f"__Host-holdfast={browser.session_cookie}"})
    clock.advance(seconds=1000)
    assert console.sessions.of(request, is_activity=False) is not None  # type: ignore[arg-type]
    clock.advance(seconds=1000)

    assert console.sessions.of(request) is None  # type: ignore[arg-type]


async def test_a_login_is_recent_for_five_minutes_by_both_clocks(
    console: LoginConsole, device: Authenticator, clock: ManualClock
) -> None:
    """What HIGH tiers ask; a clock set back makes no login younger."""
    await signed_in(console, device)
    session = console.session()
    assert console.sessions.is_recent(session)
    clock.advance(seconds=300)
    assert console.sessions.is_recent(session)
    clock.advance(seconds=1)
    assert not console.sessions.is_recent(session)
    clock.step_wall(seconds=-3600)

    assert not console.sessions.is_recent(session)


async def test_a_human_has_a_bounded_number_of_sessions(
    console: LoginConsole, device: Authenticator
) -> None:
    """The eleventh ends the first."""
    browsers = [await signed_in(console, device) for _ in range(11)]

    assert await console.who(browsers[0]) == ""
    assert await console.who(browsers[1]) == "alice"
    assert await console.who(browsers[10]) == "alice"
    assert len(console.sessions) == SessionLimits().max_per_human


async def test_a_cookie_that_comes_twice_is_none(
    console: LoginConsole, device: Authenticator
) -> None:
    """Two of one name: somebody planted one, and nobody knows which."""
    browser = await signed_in(console, device)
    good = f"__Host-holdfast={browser.session_cookie}"

    assert (await browser.get("/whoami", cookie=f"{good}; {good}")).text == ""
    assert (await browser.get("/whoami", cookie=f"{good}; __Host-holdfast=x")).text == ""
    assert (await browser.get("/whoami", cookie=f"{good}; other=1")).text == "alice"


class _Request:
    """As much of a request as ``Sessions.of`` reads."""

    def __init__(self, headers: dict[str, str]) -> None:
        from multidict import CIMultiDict

        self.headers = CIMultiDict(headers)


# -- where it leads -------------------------------------------------------------------------------


async def test_who_is_signed_in_is_not_asked_again(
    console: LoginConsole, device: Authenticator
) -> None:
    """The login page leads on; ``fresh`` asks all the same."""
    browser = await signed_in(console, device)

    assert (await browser.get("/login?next=/agents")).headers["Location"] == "/agents"
    assert (await browser.get("/login?next=/agents&fresh=1")).status == 200


async def test_a_link_from_a_mail_finds_the_session(
    console: LoginConsole, device: Authenticator
) -> None:
    """The browser held the Strict cookie back: the page reloads itself once, then it comes along."""
    browser = await signed_in(console, device)
    path = "/login?next=/approvals/apr_1"

    first = await browser.get(path, cookie="none=1", sec_fetch_site="cross-site")
    second = await browser.get(
        first.headers["Refresh"].removeprefix("0; url="), sec_fetch_site="same-origin"
    )

    assert first.status == 200
    assert first.headers["Refresh"] == "0; url=/login?next=%2Fapprovals%2Fapr_1"
    assert second.headers["Location"] == "/approvals/apr_1"


async def test_a_link_from_a_mail_without_a_session_ends_at_the_login_page(
    console: LoginConsole,
) -> None:
    """It reloads once, not for ever."""
    browser = console.browser()
    first = await browser.get("/login?next=/x", sec_fetch_site="cross-site")
    second = await browser.get(
        first.headers["Refresh"].removeprefix("0; url="), sec_fetch_site="same-origin"
    )

    assert "Use a passkey" in second.text
    assert "Refresh" not in second.headers


async def test_d10_looking_changes_nothing_that_lasts(
    console: LoginConsole, device: Authenticator
) -> None:
    """GET and HEAD of every page: no session, no entry, no passkey."""
    secret = await console.desk.link("bob")
    entries = list(console.log.entries)
    browser = console.browser()
    for path in ("/login", "/login?fresh=1", "/login/passkeys", f"/enrol/{secret}", "/logout"):
        await browser.get(path)
        await browser._send("HEAD", path, None, {})
        await browser._send("OPTIONS", path, None, {})

    assert console.log.entries == entries
    assert len(console.sessions) == 0
    assert await console.desk.accounts.open_ticket(secret)


def test_the_pages_ask_nothing_of_other_hosts() -> None:
    """No template and no script of signing in names an address elsewhere, or runs inline."""
    web = Path(login.__file__).parent
    files = [
        *(web / "templates").glob("login*.html"),
        *(web / "templates").glob("enrol*.html"),
        web / "templates" / "signed_out.html",
        web / "static" / "passkey.js",
    ]

    assert len(files) >= 8
    for path in files:
        text = path.read_text()
        assert not re.search(r"""https?:|["'(]//""", text), path
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|javascript:|style=|\beval\b", text)


def test_the_guards_are_where_the_tests_take_them_out() -> None:
    """The negative controls patch these names; they must be the ones in use."""
    assert login.check_origin is csrf.check_origin
    assert login.check_token is csrf.check_token
    assert loginsteps.Steps is login.Steps
