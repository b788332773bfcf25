# SPDX-License-Identifier: Apache-2.0
"""Every page of the console, and how one comes to it: for what must hold on all of them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from sidecar.approvals.values import Tier
from sidecar.clock import ManualClock
from sidecar.passkeys.values import from_base64url
from sidecar.web.oidc import OidcConfig
from tests.browser.browser_kit import MEMORY, Tabs, add_device
from tests.support.authenticator import Authenticator
from tests.support.console import Console
from tests.support.console import console as serve
from tests.support.console_demo import fill
from tests.support.openid import FakeProvider

__all__ = ["MAIN", "PAGES", "Demo", "demo"]


@dataclass
class Demo:
    """A console on an eventful day, one on its first day, and who looks at them.

    Attributes:
        shown: Paths by title, as ``console_demo.fill`` names them.
    """

    console: Console
    empty: Console
    shown: dict[str, str]
    tabs: Tabs
    options: dict[str, object]

    async def go(self, path: str, *, name: str = "alice", is_empty: bool = False) -> Page:
        """Return *path* as *name* sees it; as nobody if that is empty."""
        console = self.empty if is_empty else self.console
        tab = await self.tabs.open(console, name, **self.options)
        await tab.page.goto(console.url + self.shown.get(path, path))
        return tab.page

    async def fill_in(self, page: Page, **fields: str) -> None:
        """Fill in *fields* by their names, and send the form they are in."""
        for name, value in fields.items():
            field = page.locator(f"main form:not(.search) [name={name}]")
            if await field.first.get_attribute("type") == "radio":
                await page.locator(f"[name={name}][value={value}]").check()
            elif await field.evaluate("field => field.tagName") == "SELECT":
                await field.select_option(value)
            else:
                await field.fill(value)
        async with page.expect_navigation():
            await page.locator("main form:not(.search)").first.evaluate(
                "form => HTMLFormElement.prototype.submit.call(form)"
            )


@asynccontextmanager
async def demo(tabs: Tabs, **options: object) -> AsyncIterator[Demo]:
    """Serve both; *options* are those of every tab."""
    provider = FakeProvider(ManualClock(), subject="00u1f9xk2aQ7nDc5e5d7")
    await provider.start()
    config = OidcConfig(issuer=provider.issuer, client_id="holdfast", label="Corp SSO")
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        first, second = Path(place) / "demo", Path(place) / "empty"
        first.mkdir()
        second.mkdir()
        async with (
            serve(clock=ManualClock(), directory=first, oidc=[config], instance="demo") as console,
            serve(clock=ManualClock(), directory=second) as empty,
        ):
            shown = await fill(console)
            await give_passkey(console, "alice")
            yield Demo(console, empty, shown, tabs, options)
            await tabs.release()
    await provider.close()


async def give_passkey(console: Console, name: str) -> Authenticator:
    """Give *name* a passkey on a device in software, without a browser."""
    device = Authenticator(origin=console.url)
    secret = (await console.link(name)).rsplit("/", 1)[1]
    ticket = await console.accounts.open_ticket(secret)
    challenge = console.passkeys.new_challenge()
    options = await console.accounts.registration_options(ticket, challenge=challenge)
    assert from_base64url(options["challenge"], what="the challenge") == challenge
    await console.accounts.enrol(
        secret, challenge=challenge, response=device.create(options), name="work laptop"
    )
    return device


# -- how one comes to each -----------------------------------------------------------------------


def _at(
    path: str, *, name: str = "alice", is_empty: bool = False
) -> Callable[[Demo], Awaitable[Page]]:
    async def come(it: Demo) -> Page:
        return await it.go(path, name=name, is_empty=is_empty)

    return come


async def _decided(it: Demo) -> Page:
    approval = await it.console.hold(
        arguments={"customer": "cust_4", "amount": 700}, session="s-decided"
    )
    page = await it.go(f"/approvals/{approval.id}")
    await it.fill_in(page, verdict="grant", reason="known customer, INC-9")
    await page.locator("#result").wait_for()
    return page


async def _incomplete(it: Demo) -> Page:
    page = await it.go("high, no passkey")
    await page.locator("[data-end]").scroll_into_view_if_needed()
    await page.locator("input[value=grant]:enabled").wait_for()
    await it.fill_in(page, verdict="grant")
    return page


async def _too_late(it: Demo) -> Page:
    approval = await it.console.hold(arguments={"amount": 701}, session="s-late")
    page = await it.go(f"/approvals/{approval.id}")
    await it.console.vote(approval, "bob", reason="fine")
    await it.fill_in(page, verdict="refuse")
    return page


async def _half_granted(it: Demo) -> Page:
    approval = await it.console.hold(
        arguments={"amount": 90_000},
        session="s-two",
        quorum=2,
        tier=Tier.MEDIUM,
    )
    await it.console.vote(approval, "bob", reason="fine by me")
    return await it.go(f"/approvals/{approval.id}")


async def _changed_meanwhile(it: Demo) -> Page:
    approval = await it.console.hold(arguments={"amount": 702}, session="s-live")
    page = await it.go(f"/approvals/{approval.id}")
    await it.console.vote(approval, "bob", reason="fine")
    await page.locator(".status", has_text="was granted").wait_for()
    return page


async def _contained(it: Demo) -> Page:
    page = await it.go("/agents/support-bot")
    await it.fill_in(page, level="freeze", reason="INC-12", confirm="support-bot")
    await page.locator("#result").wait_for()
    return page


async def _not_contained(it: Demo) -> Page:
    page = await it.go("/agents/docs-bot")
    await it.fill_in(page, level="freeze", reason="", confirm="docs")
    return page


async def _verified(it: Demo) -> Page:
    page = await it.go("/audit")
    await page.get_by_role("button", name="Verify the logs").click()
    await page.locator("#result").wait_for()
    return page


async def _enrol(it: Demo) -> Page:
    page = await it.go("/", name="")
    await page.goto(await it.console.link("bob"))
    return page


async def _enrolled(it: Demo) -> Page:
    page = await _enrol(it)
    await add_device(it.tabs.of(page))
    await page.get_by_label("What you call it").fill("phone")
    await page.get_by_role("button", name="Add a passkey").click()
    await page.get_by_role("heading", name="The passkey was added").wait_for()
    return page


async def _problem(it: Demo) -> Page:
    return await it.go("/enrol/no-such-link", name="")


async def _nobody(it: Demo) -> Page:
    page = await it.go("/login", name="")
    await page.get_by_role("link", name="Sign in with Corp SSO").click()
    await page.get_by_role("heading", name="You are not an operator here").wait_for()
    return page


async def _named(it: Demo) -> Page:
    page = await it.go("/login", name="")
    await page.locator("summary").click()
    await page.locator("#name").fill("alice")
    await page.get_by_role("button", name="Look for its passkeys").click()
    await page.get_by_text("Looking for the passkeys of").wait_for()
    return page


async def _signed_out(it: Demo) -> Page:
    page = await it.go("/agents", name="erin")
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("heading", name="You are signed out").wait_for()
    return page


PAGES: Final[dict[str, Callable[[Demo], Awaitable[Page]]]] = {
    "inbox": _at("/"),
    "inbox, empty": _at("/", is_empty=True),
    "inbox of who decides nothing": _at("/", name="nobody", is_empty=True),
    "approval, low": _at("low"),
    "approval, medium": _at("medium"),
    "approval, high, long": _at("high, long script"),
    "approval, high": _at("high, no passkey"),
    "approval, critical, hostile": _at("critical, hostile"),
    "approval, action": _at("release"),
    "approval, question": _at("question"),
    "approval, question answered": _at("question answered"),
    "approval, own agent": _at("own agent"),
    "approval, used": _at("used"),
    "approval, refused": _at("refused"),
    "approval, expired": _at("expired"),
    "approval, cancelled": _at("cancelled"),
    "approval, carried out": _at("carried out"),
    "approval, arguments hidden": _at("medium", name="dave"),
    "approval, half granted": _half_granted,
    "approval, just decided": _decided,
    "approval, incomplete": _incomplete,
    "approval, too late": _too_late,
    "approval, changed meanwhile": _changed_meanwhile,
    "agents": _at("/agents"),
    "agents, none": _at("/agents", is_empty=True),
    "agent": _at("agent"),
    "agent, contained": _at("contained agent"),
    "agent, not contained": _not_contained,
    "contain result": _contained,
    "directive": _at("directive"),
    "decision": _at("decision"),
    "audit": _at("/audit"),
    "audit of a gate": _at("audit of a gate"),
    "audit, empty": _at("/audit", is_empty=True),
    "audit, mistake": _at("/audit?log=x&agent=y&since=yesterday"),
    "verification": _verified,
    "login": _at("/login", name=""),
    "login, again": _at("/login?fresh=1"),
    "login, security key": _named,
    "login, stranger": _nobody,
    "signed out": _signed_out,
    "passkeys": _at("/login/passkeys"),
    "passkeys, none": _at("/login/passkeys", name="erin"),
    "enrol": _enrol,
    "enrolled": _enrolled,
    "link used": _problem,
    "not allowed": _at("/audit", name="bob"),
    "not there": _at("/approvals/apr_00000000000000000000000000000000"),
}
"""By title."""

MAIN: Final = (
    "inbox",
    "inbox, empty",
    "approval, medium",
    "approval, high, long",
    "approval, critical, hostile",
    "approval, action",
    "approval, question",
    "approval, just decided",
    "approval, carried out",
    "agents",
    "agent",
    "agent, contained",
    "contain result",
    "decision",
    "audit",
    "verification",
    "login",
    "passkeys",
    "enrol",
    "not there",
)
"""Titles of the pages that people see most."""
