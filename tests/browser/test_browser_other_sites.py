# SPDX-License-Identifier: Apache-2.0
"""Pages of other sites cannot decide in somebody's name, nor show the console inside theirs (D12, D13).

Three guards stand against a forged form: the cookie's ``SameSite``, the form's token, and the check
of where it comes from. Each is shown to be enough alone, where the browser lets it come to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from sidecar.approvals.values import ApprovalState, Cause
from sidecar.web import security
from tests.browser.browser_kit import Elsewhere, Tab, Tabs, arrived, forged, record
from tests.support.console import Console
from tests.support.polling import eventually

_SUBMIT = "<script>document.getElementById('f').submit()</script>"


def _attack(kind: str, form: str) -> str:
    """Return a page that makes the browser send *form* as soon as it is opened."""
    body = "body: new URLSearchParams(new FormData(document.getElementById('f')))"
    match kind:
        case "form":
            return form + _SUBMIT
        case "no-referrer":  # the browser then says "Origin: null"
            return f'<meta name="referrer" content="no-referrer">{form}{_SUBMIT}'
        case "sandbox":  # an origin of its own, which is "null" to everybody
            inner = (form + _SUBMIT).replace("&", "&amp;").replace('"', "&quot;")
            return f'<iframe sandbox="allow-scripts allow-forms" srcdoc="{inner}"></iframe>'
        case "fetch":
            given = f"{{method: 'POST', mode: 'no-cors', credentials: 'include', {body}}}"
            return f"{form}<script>fetch(document.getElementById('f').action, {given})</script>"
        case _:
            data = body.removeprefix("body: ")
            return (
                f"{form}<script>navigator.sendBeacon(document.getElementById('f').action, {data})"
                "</script>"
            )


_KINDS = ("form", "no-referrer", "sandbox", "fetch", "beacon")
_PLACES = ("cross-site", "same-site")
_EVERYTHING = [(place, kind) for place in _PLACES for kind in _KINDS]
_CARRIERS = {
    "Strict": [("same-site", kind) for kind in ("form", "no-referrer", "fetch", "beacon")],
    "None": [
        *(("cross-site", kind) for kind in ("form", "no-referrer")),
        *(("same-site", kind) for kind in _KINDS),
    ],
}
"""What carries the session's cookie, by its SameSite. From another port of the same site: everything,
but that a sandbox is no site. From another site: nothing, until SameSite is stripped; and even then
the browser keeps back what a page's parts send in a third party's name."""


async def _signed_in(tabs: Tabs, console: Console, same_site: str) -> Tab:
    """Return a tab of Alice's, whose cookie says *same_site*."""
    cookie: Any = {**console.cookie("alice"), "sameSite": same_site}
    if same_site == "None":
        cookie = {**cookie, "secure": True, "domain": "localhost", "path": "/"}
        del cookie["url"]
    tab = await tabs.open()
    await tab.context.add_cookies([cookie])
    return tab


@dataclass(frozen=True)
class Outcome:
    """What came of a forged form."""

    status: int
    has_cookie: bool
    origin: str
    is_granted: bool


@dataclass
class Forger:
    """Has Alice open pages that send a form in her name."""

    console: Console
    elsewhere: Elsewhere
    tab: Tab

    async def forge(self, place: str, kind: str) -> Outcome:
        """Have her open one from *place*, which sends it in the way *kind*."""
        console = self.console
        approval = await console.hold(arguments={"amount": 5, "by": f"{place} {kind}"})
        self.elsewhere.put("attack", _attack(kind, forged(console, approval)))
        before = await record(console)

        await self.tab.page.goto(self.elsewhere.url("attack", is_same_site=place == "same-site"))
        (post,) = await eventually(
            arrived(console, lambda item: item.method == "POST" and approval.id in item.path)
        )

        state = (await console.approvals.get(approval.id)).state
        assert (await record(console) == before) == (state is ApprovalState.PENDING)
        await console.approvals.cancel_agent("billing-bot", Cause.WITHDRAWN, detail="tried")
        return Outcome(
            status=post.status,
            has_cookie="Cookie" in post.headers,
            origin=post.headers.get("Origin", ""),
            is_granted=state is ApprovalState.GRANTED,
        )


@pytest_asyncio.fixture(loop_scope="session", params=["Strict", "None"])
async def same_site(request: pytest.FixtureRequest) -> str:
    """The cookie's SameSite: as it is, and stripped."""
    return str(request.param)


@pytest_asyncio.fixture(loop_scope="session")
async def forger(console: Console, tabs: Tabs, elsewhere: Elsewhere, same_site: str) -> Forger:
    """An attacker whose page Alice opens."""
    return Forger(console, elsewhere, await _signed_in(tabs, console, same_site))


async def test_d12_a_form_of_another_origin_is_refused(forger: Forger, same_site: str) -> None:
    """Whatever makes the browser send it, with the cookie as it is and with SameSite stripped."""
    for place, kind in _EVERYTHING:
        outcome = await forger.forge(place, kind)

        assert (outcome.status, outcome.is_granted) == (403, False), (place, kind)
        assert (outcome.origin == "null") == (kind in ("no-referrer", "sandbox")), (place, kind)
        assert outcome.origin not in ("", forger.console.url)
        assert outcome.has_cookie == ((place, kind) in _CARRIERS[same_site]), (place, kind)


@pytest.mark.parametrize("guard", ["check_origin", "check_token"])
async def test_d12_origin_and_token_are_each_enough(
    forger: Forger, same_site: str, guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cookie goes along, and one of the two guards is taken out."""
    monkeypatch.setattr(security, guard, lambda *_args, **_more: None)

    for place, kind in _CARRIERS[same_site]:
        outcome = await forger.forge(place, kind)

        assert outcome.has_cookie
        assert (outcome.status, outcome.is_granted) == (403, False), (place, kind)


async def test_d12_a_form_of_another_origin_negative_control(
    forger: Forger, same_site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both taken out, the attacker's page grants in Alice's name wherever the cookie goes along.

    From another site it does not, as long as SameSite is there: that guard is enough alone too.
    """
    for guard in ("check_origin", "check_token"):
        monkeypatch.setattr(security, guard, lambda *_args, **_more: None)

    for place, kind in _EVERYTHING:
        outcome = await forger.forge(place, kind)

        is_carried = (place, kind) in _CARRIERS[same_site]
        assert outcome.is_granted == is_carried, (place, kind)
        assert outcome.status == (303 if is_carried else 401), (place, kind)


async def test_d12_nobody_is_signed_out_or_contains_by_another_site(
    console: Console, tabs: Tabs, elsewhere: Elsewhere
) -> None:
    """The other forms of the console, from the same site at another port."""
    tab = await tabs.open(console, "alice")
    before = await record(console)
    paths = (
        "logout",
        "login/passkey",
        "login/passkeys/confirm",
        "login/passkeys/remove",
        "agents/billing-bot/contain",
        "audit/verify",
    )

    for path in paths:
        form = f'<form id="f" method="post" action="{console.url}/{path}"></form>'
        elsewhere.put("form", form + _SUBMIT)
        async with tab.page.expect_response(f"{console.url}/{path}"):
            await tab.page.goto(elsewhere.url("form", is_same_site=True))
    posts = [item for item in console.arrivals if item.method == "POST"]

    assert [(item.status, "Cookie" in item.headers) for item in posts] == [(403, True)] * len(paths)
    assert await record(console) == before


# -- D13: framing --------------------------------------------------------------------------------


_CSP_ONLY = {"Content-Security-Policy": "frame-ancestors 'none'"}
_XFO_ONLY = {"X-Frame-Options": "DENY"}


async def _framed(
    console: Console, tabs: Tabs, elsewhere: Elsewhere, *, is_same_site: bool, how: str = "iframe"
) -> str:
    """Return what a page elsewhere shows in its frame."""
    approval = await console.hold(arguments={"amount": 5})
    url = f"{console.url}/approvals/{approval.id}"
    tag = {"iframe": "src", "embed": "src", "object": "data"}[how]
    elsewhere.put("frame", f'<{how} {tag}="{url}" width="600" height="600"></{how}>')
    tab = await tabs.open(console, "alice")
    await tab.page.goto(elsewhere.url("frame", is_same_site=is_same_site))
    assert arrived(console, lambda item: item.method == "GET")()
    return "\n".join(
        [
            await frame.locator("body").inner_text()
            for frame in tab.page.frames
            if frame.url.startswith(console.url)
        ]
    )


@pytest.mark.parametrize("how", ["iframe", "object", "embed"])
async def test_d13_no_page_is_shown_inside_another(
    console: Console, tabs: Tabs, elsewhere: Elsewhere, how: str
) -> None:
    """From another site and from another port of the same site, where the cookie goes along."""
    for is_same_site in (False, True):
        assert await _framed(console, tabs, elsewhere, is_same_site=is_same_site, how=how) == ""


@pytest.mark.parametrize("left", [_CSP_ONLY, _XFO_ONLY], ids=["csp", "x-frame-options"])
async def test_d13_each_header_is_enough(
    console: Console,
    tabs: Tabs,
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
    left: dict[str, str],
) -> None:
    """Browsers that know only one of them are safe too."""
    monkeypatch.setattr(security, "_HEADERS", left)

    assert await _framed(console, tabs, elsewhere, is_same_site=True) == ""


async def test_d13_no_page_is_shown_inside_another_negative_control(
    console: Console, tabs: Tabs, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the headers, an attacker's page shows the real form, signed in, for a click."""
    monkeypatch.setattr(security, "_HEADERS", {})

    text = await _framed(console, tabs, elsewhere, is_same_site=True)

    assert "Grant once" in text


async def test_d13_every_answer_says_so(console: Console, tabs: Tabs) -> None:
    """Pages, redirects, errors, files and what is refused before any page."""
    tab = await tabs.open(console, "alice")
    request = tab.context.request
    answers = [
        await request.get(f"{console.url}/"),
        await request.get(f"{console.url}/nothing"),
        await request.get(f"{console.url}/login?next=/agents", max_redirects=0),
        await request.get(f"{console.url}/static/live.js"),
        await request.get(f"{console.url}/", headers={"Accept": "application/json"}),
        await request.get(f"{console.url}/", headers={"Host": "evil.example"}),
        await request.post(f"{console.url}/approvals/x/decision", form={}),
        await request.fetch(f"{console.url}/", method="DELETE"),
    ]

    assert [answer.status for answer in answers] == [200, 404, 303, 200, 200, 421, 403, 405]
    for answer in answers:
        assert answer.headers["x-frame-options"] == "DENY", answer.url
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], answer.url
        assert "default-src 'none'" in answer.headers["content-security-policy"], answer.url
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store", "no-cache"}
