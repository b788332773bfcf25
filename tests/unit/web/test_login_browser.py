# SPDX-License-Identifier: Apache-2.0
"""Signing in with a real browser: what its rules about cookies, sites and passkeys make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from sidecar.approvals.challenge import grant_challenge
from sidecar.clock import ManualClock
from sidecar.web import login
from sidecar.web.access import FORM, visitor_of
from sidecar.web.loginsteps import as_attribute
from sidecar.web.oidc import OidcConfig
from tests.support.console_login import LoginConsole
from tests.support.openid import FakeProvider

CHROMIUM = Path("/usr/bin/chromium")
CHALLENGE = grant_challenge("apr_1", "ab" * 32)

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no chromium")


@dataclass
class Desk:
    """A console with one page that asks for a decision, a provider, and a foreign page."""

    console: LoginConsole
    provider: FakeProvider
    votes: list[tuple[str, str]] = field(default_factory=list)

    def head(self) -> str:
        """Return how each page begins: with an icon, or the browser would look for one."""
        icon = self.console.pages.assets.url("holdfast.svg")
        return f'<!doctype html><title>decide</title><link rel="icon" href="{icon}">'

    async def decision_page(self, request: web.Request) -> web.Response:
        """Show the form of a decision, as the approval's page does."""
        visitor = visitor_of(request)
        options = await self.console.desk.passkeys.authentication_options(
            challenge=CHALLENGE, human_id=visitor.operator.human_id
        )
        text = (
            f'{self.head()}<form method="post" action="/approvals/apr_1" '
            f"data-passkey-options='{as_attribute(options)}' data-passkey-when=\"verdict=grant\">"
            f'<input type="hidden" name="csrf" value="{visitor.session.csrf}">'
            '<input type="hidden" name="assertion" value="">'
            '<button name="verdict" value="refuse">Refuse</button>'
            '<button name="verdict" value="grant">Grant</button></form>'
            f'<script src="{self.console.pages.assets.url("passkey.js")}" defer></script>'
        )
        return web.Response(text=text, content_type="text/html")

    async def decide(self, request: web.Request) -> web.Response:
        """Take the decision."""
        form = request[FORM]
        record = ""
        if form["assertion"]:
            record = await self.console.desk.passkeys.verify(
                human_id=visitor_of(request).operator.human_id,
                challenge=CHALLENGE,
                assertion=form["assertion"].encode(),
            )
        self.votes.append((form["verdict"], record))
        return web.Response(text=f"{self.head()}decided", content_type="text/html")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """On localhost, where a browser makes passkeys without TLS."""
    clock = ManualClock()
    provider = FakeProvider(clock)
    await provider.start()
    config = OidcConfig(issuer=provider.issuer, client_id="holdfast", name="idp", label="the IdP")
    console = LoginConsole(
        tmp_path / "passkeys.db",
        clock,
        oidc=[config],
        origin=f"http://localhost:{unused_port()}",
    )
    made = Desk(console, provider)
    await console.start_guarded(
        web.get("/approvals/apr_1", made.decision_page),
        web.post("/approvals/apr_1", made.decide),
    )
    alice = console.people["alice"]
    console.people["alice"] = replace(alice, logins=((provider.issuer, "sub-alice"),))
    yield made
    await console.close()
    await provider.close()


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"]
        )
        yield browser
        await browser.close()


async def with_device(context: BrowserContext, problems: list[str]) -> tuple[Page, Any, str]:
    """Return a page with an authenticator; what the browser complains of goes to *problems*."""
    page = await context.new_page()
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    devtools = await context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    made = await devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
            }
        },
    )
    return page, devtools, made["authenticatorId"]


async def test_a_person_enrols_signs_in_and_signs_a_grant(desk: Desk, chromium: Browser) -> None:
    """From the link to the signed grant; a refusal needs no passkey; the pages' rules hold."""
    problems: list[str] = []
    page, devtools, device = await with_device(await chromium.new_context(), problems)
    origin = desk.console.origin
    await page.goto(f"{origin}/enrol/{await desk.console.desk.link('alice')}")
    await page.fill("#name", "laptop")
    await page.click("button[type=submit]")
    await page.get_by_text("laptop").wait_for()

    await page.goto(f"{origin}/approvals/apr_1")
    await page.click("text=Use a passkey")
    await page.wait_for_url(f"{origin}/approvals/apr_1")
    await page.click("text=Refuse")
    await page.get_by_text("decided").wait_for()
    await page.goto(f"{origin}/approvals/apr_1")
    await page.click("text=Grant")
    await page.get_by_text("decided").wait_for()
    (refused, granted) = desk.votes
    assert refused == ("refuse", "")
    assert granted[0] == "grant"
    assert "signature" in granted[1]

    await devtools.send(
        "WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False}
    )
    await page.goto(f"{origin}/approvals/apr_1")
    await page.click("text=Grant")
    await page.locator("[role=alert]").filter(has_text="passkey").wait_for()

    assert len(desk.votes) == 2
    assert problems == []


@pytest.fixture
async def elsewhere(desk: Desk) -> AsyncIterator[str]:
    """A page of another site, with a link to an approval and a form that would grant it."""

    async def foreign(_: web.Request) -> web.Response:
        target = f"{desk.console.origin}/approvals/apr_1"
        text = (
            f'<a href="{target}">look</a><form method="post" action="{target}">'
            '<input name="verdict" value="grant"><button>win</button></form>'
        )
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", foreign)])
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield str(server.make_url("/"))
    await server.close()


async def signed_in(desk: Desk, chromium: Browser) -> Page:
    """Return a page of a browser in which Alice is signed in."""
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"{desk.console.origin}/login?next=/approvals/apr_1")
    await page.click("text=Sign in with the IdP")
    await page.wait_for_url(f"{desk.console.origin}/approvals/apr_1")
    return page


async def test_d12_a_link_from_another_site_finds_the_session_and_a_form_does_not(
    desk: Desk, chromium: Browser, elsewhere: str
) -> None:
    """The Strict cookie stays behind, the page reloads itself once, and the person arrives.

    A form of the other site brings no cookie and another origin, and is refused.
    """
    page = await signed_in(desk, chromium)
    target = f"{desk.console.origin}/approvals/apr_1"

    await page.goto(elsewhere)
    await page.click("text=look")
    await page.wait_for_url(target)
    await page.goto(elsewhere)
    async with page.expect_response(target) as answer:
        await page.click("text=win")

    assert (await answer.value).status == 403
    assert desk.votes == []


async def test_d12_a_link_from_another_site_negative_control(
    desk: Desk, chromium: Browser, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the reload the link ends at the sign-in page: the cookie really stays behind."""
    page = await signed_in(desk, chromium)
    monkeypatch.setattr(login, "_ELSEWHERE", frozenset())

    await page.goto(elsewhere)
    await page.click("text=look")
    await page.get_by_role("button", name="Use a passkey").wait_for()

    assert "/login?next=" in page.url


async def test_openid_connect_needs_no_javascript(desk: Desk, chromium: Browser) -> None:
    """There and back through another site, with scripts off; the page says what a passkey needs."""
    context = await chromium.new_context(java_script_enabled=False)
    page = await context.new_page()
    origin = desk.console.origin
    await page.goto(f"{origin}/login?next=/whoami")
    text = await page.inner_text("main")

    await page.click("text=Sign in with the IdP")
    await page.wait_for_url(f"{origin}/whoami")

    assert "A passkey needs JavaScript" in text
    assert await page.inner_text("body") == "alice"
    (cookie,) = [item for item in await context.cookies() if item["name"] == "holdfast"]
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Strict", True)


async def test_a_device_without_a_passkey_is_told(desk: Desk, chromium: Browser) -> None:
    """In the page, where a screen reader says it; the form can be sent again."""
    problems: list[str] = []
    page, _, _ = await with_device(await chromium.new_context(), problems)
    await page.goto(f"{desk.console.origin}/login")

    await page.click("text=Use a passkey")
    alert = page.locator("[role=alert]").filter(has_text="passkey was not used")
    await alert.wait_for()

    assert await page.get_by_role("button", name="Use a passkey").is_enabled()
    assert problems == []
