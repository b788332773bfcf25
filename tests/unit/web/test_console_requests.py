# SPDX-License-Identifier: Apache-2.0
"""What holds for every request and every answer, whatever the page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from sidecar.approvals.values import ApprovalState, Tier
from sidecar.containment.orders import ContainmentOrder
from sidecar.errors import ConfigurationError, EnvironmentFailure
from sidecar.model import Operator
from sidecar.web import approval_view, security
from sidecar.web.config import ConsoleConfig
from tests.support.console import Console
from tests.support.console_demo import fill
from tests.unit.web.web_kit import Browser, decision_form

CSP = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}


def paths_of(console: Console, approval_id: str) -> Iterator[tuple[str, str]]:
    """Yield every (method, path) that the console serves, with names filled in."""
    names = {
        "id": approval_id,
        "agent": "billing-bot",
        "epoch": "40",
        "name": "live.js",
        "provider": "none",
        "ticket": "x" * 43,
    }
    for route in console.app.router.routes():
        resource = route.resource
        assert resource is not None
        path = resource.canonical
        for name, value in names.items():
            path = path.replace("{" + name + "}", value)
        if path.startswith("/decisions/"):
            path = f"/decisions/dec_{7:032x}"
        yield route.method, path


async def snapshot(console: Console) -> Any:
    """Return everything that a request could have changed."""
    page = await console.approvals.list(limit=1000)
    return (
        [(item.id, item.version, item.state, item.votes) for item in page.approvals],
        list(console.desk.ballots),
        list(console.containment.orders),
        console.logs.verify_count,
        len(console.logs.entries),
        [passkey.credential_id for passkey in console.passkey_store.all()],
        len(console.sessions),
        len(console.log.entries),
    )


# --- GET changes nothing --------------------------------------------------------------------------


async def test_d10_get_head_and_options_change_nothing(console: Console, browser: Browser) -> None:
    """Every route, by everybody, also with a form's fields in the address: nothing moves."""
    shown = await fill(console)
    approval = await console.approvals.get(shown["medium"].rpartition("/")[2])
    form = await decision_form(browser, approval)
    query = "&".join(f"{name}={value}" for name, value in {**form, "verdict": "grant"}.items())
    for name in ("alice", "bob", "dave"):
        console.session(name)
    before = await snapshot(console)

    for method in ("GET", "HEAD", "OPTIONS"):
        for _, path in paths_of(console, approval.id):
            if path == "/events" and method == "GET":
                continue  # an endless answer; test_console_events.py
            for suffix in ("", f"?{query}"):
                await browser.request(method, path + suffix, as_="alice")
    for prefetch in (
        {"Sec-Purpose": "prefetch"},
        {"Purpose": "preview"},
        {"User-Agent": "MailScan"},
    ):
        await browser.get(f"/approvals/{approval.id}", headers=prefetch)
        await browser.get(f"/approvals/{approval.id}/decision?{query}", headers=prefetch)

    assert await snapshot(console) == before


async def test_d10_get_changes_nothing_negative_control(console: Console, browser: Browser) -> None:
    """The look notices a change: the same form, posted, moves the approval."""
    approval = await console.hold(arguments={"amount": 5})
    before = await snapshot(console)

    await browser.decide(approval, "refuse")

    assert await snapshot(console) != before


async def test_a_post_with_the_wrong_method_is_refused(console: Console, browser: Browser) -> None:
    """Methods other than GET, HEAD, OPTIONS and POST reach nothing."""
    approval = await console.hold(arguments={"amount": 5})

    for method in ("PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
        page = await browser.request(method, f"/approvals/{approval.id}/decision")
        assert page.status in (400, 405), method


# --- who sent it ----------------------------------------------------------------------------------

FORGERIES: dict[str, dict[str, str | None]] = {
    "another origin": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "another origin, no fetch metadata": {"Origin": "https://evil.example", "Sec-Fetch-Site": None},
    "origin null": {"Origin": "null", "Sec-Fetch-Site": None},
    "a sibling of the same site": {
        "Origin": "http://evil.localhost",
        "Sec-Fetch-Site": "same-site",
    },
    "same host, other port": {"Origin": "http://localhost:1", "Sec-Fetch-Site": "same-site"},
    "same host, other scheme": {"Origin": "https://localhost", "Sec-Fetch-Site": None},
    "no origin, no fetch metadata": {"Origin": None, "Sec-Fetch-Site": None},
    "right origin, cross-site by metadata": {"Sec-Fetch-Site": "cross-site"},
    "an address typed by hand": {"Origin": None, "Sec-Fetch-Site": "none"},
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_d12_a_form_of_another_site_is_refused(
    console: Console, browser: Browser, name: str
) -> None:
    """Cookie and even token are right: who sent it is not."""
    approval = await console.hold(arguments={"amount": 5})
    form = await decision_form(browser, approval)
    for path, fields in (
        (f"/approvals/{approval.id}/decision", {**form, "verdict": "grant"}),
        ("/agents/billing-bot/contain", {"level": "kill", "confirm": "billing-bot", "reason": "x"}),
        ("/audit/verify", {}),
    ):
        page = await browser.post(path, fields, headers=FORGERIES[name])

        assert page.status == 403
    assert not console.desk.ballots
    assert not console.containment.orders
    assert console.logs.verify_count == 0


async def test_d12_a_form_of_another_site_negative_control(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the look at the origin, the forged form decides."""
    monkeypatch.setattr(security, "check_origin", lambda request, *, origin: None)
    approval = await console.hold(arguments={"amount": 5})
    form = await decision_form(browser, approval)

    await browser.post(
        f"/approvals/{approval.id}/decision",
        {**form, "verdict": "grant"},
        headers=FORGERIES["another origin"],
    )

    assert (await console.approvals.get(approval.id)).state is ApprovalState.GRANTED


@pytest.mark.parametrize("token", [None, "", "x" * 43, "token of another session", "é"])
async def test_d12_a_form_without_the_sessions_token_is_refused(
    console: Console, browser: Browser, token: str | None
) -> None:
    """Missing, wrong, or that of somebody else: nothing is decided."""
    approval = await console.hold(arguments={"amount": 5})
    form = {**(await decision_form(browser, approval)), "verdict": "grant"}
    if token is None:
        del form["csrf"]
    else:
        form["csrf"] = console.session("bob").csrf if token.startswith("token of") else token

    page = await browser.request(
        "POST", f"/approvals/{approval.id}/decision", as_="alice", data=form
    )

    assert page.status == 403
    assert not console.desk.ballots


async def test_d12_a_form_without_the_sessions_token_negative_control(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the look at the token, it decides."""
    monkeypatch.setattr(security, "check_token", lambda form, *, expected: None)
    approval = await console.hold(arguments={"amount": 5})
    form = {**(await decision_form(browser, approval)), "verdict": "grant", "csrf": "x"}

    await browser.request("POST", f"/approvals/{approval.id}/decision", as_="alice", data=form)

    assert console.desk.ballots


async def test_d11_a_link_is_no_permission(console: Console, browser: Browser) -> None:
    """Without a session an address leads to the sign-in page and a form to a refusal."""
    approval = await console.hold(arguments={"amount": 5})

    shown = await browser.get(f"/approvals/{approval.id}?decided=1", as_="")
    sent = await browser.post(
        f"/approvals/{approval.id}/decision",
        {"verdict": "grant", "fingerprint": approval.request.fingerprint},
        as_="",
        headers={"Origin": console.url, "Sec-Fetch-Site": "same-origin"},
    )

    assert shown.status == 303
    assert shown.headers["Location"] == f"/login?next=/approvals/{approval.id}%3Fdecided%3D1"
    assert sent.status == 401
    assert not console.desk.ballots


async def test_d11_a_link_is_no_permission_negative_control(
    console: Console, browser: Browser
) -> None:
    """With the session, the same form decides."""
    approval = await console.hold(arguments={"amount": 5})

    await browser.decide(approval, "grant")

    assert console.desk.ballots


async def test_every_page_but_the_public_ones_needs_a_session(
    console: Console, browser: Browser
) -> None:
    """A route that nobody declared public shows nothing to a stranger."""
    approval = await console.hold(arguments={"amount": 987654})
    public = 0
    for method, path in paths_of(console, approval.id):
        if path.startswith(("/static/", "/login", "/enrol", "/logout")):
            public += 1
            continue
        page = await browser.request(
            method,
            path,
            as_="",
            headers={"Origin": console.url, "Sec-Fetch-Site": "same-origin"},
        )

        assert page.status in (303, 401), (method, path)
        assert "987654" not in page.body
    assert public > 5


async def test_the_operator_is_looked_up_at_every_request(
    console: Console, browser: Browser
) -> None:
    """Who is taken out of the operators is signed out at once, also if the name returns as another."""
    assert (await browser.get("/")).status == 200
    alice = console.people.pop("alice")

    assert (await browser.get("/")).status == 303
    console.people["alice"] = alice
    assert (await browser.get("/")).status == 303


async def test_another_human_of_the_same_name_is_not_signed_in(
    console: Console, browser: Browser
) -> None:
    """The session names a person, not a label."""
    assert (await browser.get("/")).status == 200
    console.people["alice"] = Operator(
        name="alice",
        kind=console.people["bob"].kind,
        human_id="mallory@corp.example",
        roles=console.people["bob"].roles,
        identity="spiffe://corp.example/operator/mallory",
    )

    assert (await browser.get("/")).status == 303


# --- host -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost", "127.0.0.1", "localhost:1", "", "localhost:{port}.evil"]
)
async def test_a_host_that_is_not_ours_is_refused(
    console: Console, browser: Browser, host: str
) -> None:
    """A name that somebody points at us (DNS rebinding) gets nothing."""
    port = console.url.rsplit(":", 1)[1]

    page = await browser.get("/", headers={"Host": host.format(port=port)})

    assert page.status in (400, 421)
    assert "Holdfast" not in page.body


async def test_a_host_that_is_not_ours_negative_control(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the list, any name is answered."""

    class Everybody(frozenset[str]):
        def __contains__(self, item: object) -> bool:
            return True

    object.__setattr__(console.config, "hosts", Everybody())

    assert (await browser.get("/", headers={"Host": "evil.example"})).status == 200


def test_the_origin_must_be_an_origin() -> None:
    """A console that is configured with more or less than an origin does not start."""
    for origin in (
        "",
        "localhost",
        "https://x/",
        "https://x/path",
        "ftp://x",
        "https://x?y",
        "//x",
    ):
        with pytest.raises(ConfigurationError, match="origin"):
            ConsoleConfig(origin=origin)


# --- headers --------------------------------------------------------------------------------------


async def test_d13_every_answer_carries_the_headers(console: Console, browser: Browser) -> None:
    """Pages, errors, files, redirects, refusals and answers to strangers alike."""
    await fill(console)
    approval = (await console.approvals.list(pending_only=True)).approvals[0]
    answers = [
        await browser.get(path)
        for method, path in paths_of(console, approval.id)
        if method == "GET" and path != "/events"
    ]
    answers += [
        await browser.get("/no/such/page"),
        await browser.get("/no/such/page", as_=""),
        await browser.get("/", as_=""),
        await browser.get("/", headers={"Host": "evil.example"}),
        await browser.get("/static/../app.py"),
        await browser.get("/static/nothing.css"),
        await browser.get("/agents", headers={"Accept": "application/json"}),
        await browser.request("PUT", "/"),
        await browser.post("/audit/verify", {}, headers={"Origin": "https://evil.example"}),
        await browser.post("/audit/verify", {"x": "y" * 300_000}),
    ]

    assert {answer.status for answer in answers} >= {200, 303, 403, 404, 405, 413, 421}
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        directives = dict(item.strip().split(" ", 1) for item in policy.split(";"))
        assert CSP.items() <= directives.items()
        assert "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "publickey-credentials-get=(self)" in answer.headers["Permissions-Policy"]
        assert "aiohttp" not in answer.headers.get("Server", "")
        is_file = "max-age" in answer.headers["Cache-Control"]
        assert is_file or answer.headers["Cache-Control"] in ("no-store", "no-cache")
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_pages_are_kept_by_nobody_and_files_by_their_hash(browser: Browser) -> None:
    """A page may not be found in a cache; a style sheet's address says which one it is."""
    page = await browser.get("/")
    address = page.one("link", rel="stylesheet").attributes["href"] or ""

    current = await browser.get(address, as_="")
    other = await browser.get("/static/holdfast.css?v=0000000000000000", as_="")

    assert page.headers["Cache-Control"] == "no-store"
    assert "immutable" in current.headers["Cache-Control"]
    assert other.headers["Cache-Control"] == "no-cache"
    assert current.headers["Content-Type"] == "text/css; charset=utf-8"


async def test_over_tls_browsers_are_told_to_stay_there() -> None:
    """HSTS is sent where the console is served over https, and only there."""
    for origin, is_told in (("https://holdfast.example", True), ("http://localhost:8900", False)):
        response = web.Response()
        await security.add_headers(ConsoleConfig(origin=origin))(None, response)  # type: ignore[arg-type]

        assert ("Strict-Transport-Security" in response.headers) is is_told


# --- limits and errors ----------------------------------------------------------------------------


async def test_a_form_names_each_field_once(console: Console, browser: Browser) -> None:
    """Of two values nobody can be shown the one and have the other counted."""
    approval = await console.hold(arguments={"amount": 5})
    form = await decision_form(browser, approval)

    page = await browser.request(
        "POST",
        f"/approvals/{approval.id}/decision",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        data="&".join(f"{name}={value}" for name, value in form.items())
        + "&verdict=grant&verdict=refuse",
    )

    assert page.status == 400
    assert not console.desk.ballots


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x--"),
        ("application/json", b'{"verdict": "grant"}'),
        ("text/plain", b"verdict=grant"),
        ("application/x-www-form-urlencoded", b"verdict=%ff"),
        ("application/x-www-form-urlencoded", b"verdict"),
        ("application/x-www-form-urlencoded", "verdict=é".encode()),
    ],
)
async def test_only_well_formed_forms_are_taken(
    console: Console, browser: Browser, content_type: str, body: bytes
) -> None:
    """What a cross-site page can send without asking (text/plain, multipart) is no form of ours."""
    approval = await console.hold(arguments={"amount": 5})

    page = await browser.request(
        "POST",
        f"/approvals/{approval.id}/decision",
        headers={"Content-Type": content_type},
        data=body,
    )

    assert page.status in (400, 403, 415)
    assert not console.desk.ballots


async def test_too_much_is_refused_before_it_is_read(console: Console, browser: Browser) -> None:
    """A body over the limit is an error page, declared or not."""
    approval = await console.hold(arguments={"amount": 5})

    async def chunks() -> Any:
        for _ in range(40):
            yield b"a=" + b"x" * 16384
            await asyncio.sleep(0)

    declared = await browser.request(
        "POST",
        f"/approvals/{approval.id}/decision",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        data=b"a=" + b"x" * 300_000,
    )
    streamed = await browser.request(
        "POST",
        f"/approvals/{approval.id}/decision",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        data=chunks(),
    )

    assert (declared.status, streamed.status) == (413, 413)


async def test_addresses_are_bounded(browser: Browser) -> None:
    """An address longer than any of ours is refused."""
    assert (await browser.get("/?x=" + "y" * 3000)).status == 400


@pytest.mark.parametrize(
    "error", [RuntimeError("secret-123 <b>"), KeyError("secret-123"), ZeroDivisionError()]
)
async def test_a_failure_says_nothing_but_a_number(
    console: Console,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """What nobody foresaw goes to the log of control; the page names where to look."""

    async def fail() -> None:
        raise error

    monkeypatch.setattr(console.fleet, "agents", fail)

    with capture_logs() as logged:
        page = await browser.get("/agents")

    assert page.status == 500
    assert "secret" not in page.body
    assert "Traceback" not in page.body
    assert type(error).__name__ not in page.body
    (entry,) = logged
    assert entry["incident"] in page.text
    assert entry["page"] == "/agents"


async def test_a_failure_says_nothing_but_a_number_negative_control(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was foreseen is said: the page shows the message of an error of ours."""

    async def fail() -> None:
        raise EnvironmentFailure("the inventory is on fire", hint="fetch water")

    monkeypatch.setattr(console.fleet, "agents", fail)

    page = await browser.get("/agents")

    assert page.status == 503
    assert "the inventory is on fire" in page.text
    assert "fetch water" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/%3Cscript%3Ealert(1)%3C/script%3E",
        "/approvals/%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/agents/%3Cscript%3E",
        "/decisions/%3Cscript%3E",
        "/directives/%3Cscript%3E",
        "/audit?agent=%22%3E%3Cscript%3E&since=%22onfocus=",
        "/?before=%22%3E%3Cscript%3E",
    ],
)
async def test_d14_addresses_are_never_echoed_as_markup(browser: Browser, path: str) -> None:
    """What stands in an address reaches a page as text or not at all."""
    page = await browser.get(path)

    assert not page.problems
    assert not [
        item for item in page.elements if item.tag == "script" and not item.attributes.get("src")
    ]
    assert not [item for item in page.elements if item.tag == "img"]
    assert not [name for item in page.elements for name in item.attributes if name.startswith("on")]


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/",
        "/\\evil.example",
        "/%2f%2fevil.example",
        "/?next=//evil.example",
        "/%0d%0aSet-Cookie:x",
    ],
)
async def test_redirects_lead_to_our_own_paths_only(browser: Browser, path: str) -> None:
    """Nothing in an address decides where a browser is sent."""
    page = await browser.get(path, as_="")

    target = page.headers.get("Location", "/")
    assert target.startswith("/")
    assert not target.startswith(("//", "/\\"))
    assert "Set-Cookie" not in page.headers


async def test_a_json_reader_gets_json_errors(browser: Browser) -> None:
    """Programs read a status, a stable code and a sentence."""
    page = await browser.get("/agents/nobody", headers={"Accept": "application/json"})

    assert page.status == 404
    assert page.json()["error"]["reason"] == "NOT_FOUND"


async def test_a_stranger_who_asks_for_json_is_told_to_sign_in(browser: Browser) -> None:
    """A program is not sent to a sign-in page."""
    page = await browser.get("/agents", as_="", headers={"Accept": "application/json"})

    assert (page.status, page.json()["error"]["reason"]) == (401, "UNAUTHENTICATED")


async def test_every_page_is_well_formed(console: Console, browser: Browser) -> None:
    """One main, one h1, a language, a skip link; every field has a label; ids are unique."""
    shown = await fill(console)
    for path in shown.values():
        page = await browser.get(path)
        ids = [item.attributes["id"] for item in page.elements if "id" in item.attributes]
        labels = {item.attributes.get("for") for item in page.all("label")}

        assert not page.problems, (path, page.problems)
        assert len(ids) == len(set(ids)), path
        assert page.one("html").attributes["lang"] == "en"
        assert len(page.all("main")) == len(page.all("h1")) == 1
        assert page.all("a", class_="skip")[0].attributes["href"] == "#main"
        for item in page.elements:
            if item.tag in ("input", "select", "textarea") and item.attributes.get("type") not in (
                "hidden",
                "radio",
                "checkbox",
            ):
                assert item.attributes.get("id") in labels, (path, item)
            for name in ("aria-describedby", "aria-labelledby"):
                for wanted in (item.attributes.get(name) or "").split():
                    assert wanted in ids, (path, wanted)
            if item.tag == "a" and (item.attributes.get("href") or "").startswith("#"):
                assert (item.attributes["href"] or "")[1:] in ids, (path, item)


async def test_held_orders_and_forms_of_others_stay_apart(
    console: Console, browser: Browser
) -> None:
    """The request id of a form makes a double click one order."""
    await fill(console)
    page = await browser.get("/agents/billing-bot")
    form = page.form("/agents/billing-bot/contain") | {
        "level": "freeze",
        "reason": "INC-9",
        "confirm": "billing-bot",
    }

    await browser.post("/agents/billing-bot/contain", form)
    await browser.post("/agents/billing-bot/contain", form)

    first, second = console.containment.orders
    assert isinstance(first[0], ContainmentOrder)
    assert first[0].request_id == second[0].request_id


async def test_tiers_are_words_and_shapes(console: Console, browser: Browser) -> None:
    """No state is told by colour alone."""
    for tier in (Tier.LOW, Tier.MEDIUM):
        await console.hold(arguments={"tier": int(tier)}, tier=tier)

    page = await browser.get("/")

    badges = page.all("span", class_="badge")
    assert {"Low tier", "Medium tier", "Waits"} <= {badge.text for badge in badges}


# --- control's loop and sessions ------------------------------------------------------------------


async def test_what_an_agent_can_make_long_is_laid_out_beside_the_loop(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill goes through the same loop; no page holds it up."""
    threads: dict[str, str] = {}

    def watched(name: str, work: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            threads[name] = threading.current_thread().name
            return work(*args, **named)

        return call

    for module, name in (
        (approval_view, "lay_out"),
        (approval_view, "compare"),
        (approval_view, "say"),
    ):
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    environment = console.pages._environment
    monkeypatch.setattr(environment, "get_template", watched("page", environment.get_template))
    first = await console.hold(arguments={"n": 1})
    await browser.decide(first, "refuse")
    second = await console.hold(arguments={"n": 2})

    await browser.get("/")
    await browser.get(f"/approvals/{second.id}")

    assert set(threads) == {"lay_out", "compare", "say", "page"}
    assert all(name.startswith("console") for name in threads.values())


async def test_a_page_that_asks_by_itself_keeps_no_session_alive(
    console: Console, browser: Browser
) -> None:
    """A script's own looks are no human who is there."""
    approval = await console.hold(arguments={"n": 1})
    console.session("alice")
    for _ in range(3):
        console.clock.advance(seconds=700)
        page = await browser.get(
            f"/approvals/{approval.id}", headers={"Accept": "application/json", "X-Quiet": "1"}
        )

    assert page.status == 401


async def test_a_page_that_asks_by_itself_negative_control(
    console: Console, browser: Browser
) -> None:
    """What a human asks for does keep it alive."""
    approval = await console.hold(arguments={"n": 1})
    console.session("alice")
    for _ in range(3):
        console.clock.advance(seconds=700)
        page = await browser.get(f"/approvals/{approval.id}")

    assert page.status == 200


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/approvals/apr_1/decision", "/approvals/apr_1"),
        ("/agents/billing-bot/contain", "/agents/billing-bot"),
        ("/audit/verify", "/audit#verify"),
        ("/approvals/%2F%2Fevil.example/decision", "/approvals/%2F%2Fevil.example"),
    ],
)
async def test_the_address_of_a_form_leads_back_to_its_page(
    browser: Browser, path: str, target: str
) -> None:
    """A reload after a mistake is no dead end, and repeats nothing."""
    page = await browser.get(path)

    assert (page.status, page.headers["Location"]) == (303, target)
