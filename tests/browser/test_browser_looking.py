# SPDX-License-Identifier: Apache-2.0
"""Looking decides nothing: crawlers, prefetchers and mail scanners in front of approvals (D10, D11)."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext

from sidecar.approvals.answers import Ballot
from sidecar.approvals.values import Approval, ApprovalState, Channel, Tier, Verdict
from sidecar.web import approval_pages
from sidecar.web.access import Door, Visitor
from tests.browser.browser_kit import Elsewhere, Tab, Tabs, arrived, record
from tests.support.console import Console
from tests.support.console_demo import fill
from tests.support.polling import eventually

_MAX_PAGES = 400


class _Links(HTMLParser):
    """Whatever a page lets a browser ask for without a form being sent."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_get = tag != "form" or (given.get("method") or "get").lower() == "get"
        for name in ("href", "src", "action"):
            if given.get(name) and is_get:
                self.found.append(str(given[name]))


async def crawl(context: BrowserContext, console: Console, *starts: str) -> list[str]:
    """Ask GET, HEAD and OPTIONS of every page that can be reached from *starts*; return them."""
    queue = [urljoin(console.url, start) for start in starts]
    seen: dict[str, None] = {}
    while queue and len(seen) < _MAX_PAGES:
        url = queue.pop(0).split("#")[0]
        is_ours = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" == console.url
        if not is_ours or url in seen or urlsplit(url).path == "/events":
            continue
        seen[url] = None
        for method in ("HEAD", "OPTIONS"):
            await context.request.fetch(url, method=method)
        answer = await context.request.get(url)
        if "text/html" in answer.headers.get("content-type", ""):
            queue += [urljoin(answer.url, link) for link in _Links(await answer.text()).found]
    return list(seen)


def decide_by_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the guard out: let the page of an approval decide it when it is opened."""
    find = approval_pages.ApprovalPages._find

    async def find_and_refuse(self: Any, request: web.Request, visitor: Visitor) -> Approval:
        approval = await find(self, request, visitor)
        if approval.state is ApprovalState.PENDING:
            ballot = Ballot(
                approval_id=approval.id,
                verdict=Verdict.REFUSE,
                fingerprint=approval.request.fingerprint,
                reason="by a link",
                request_id=f"by-link-{approval.id}",
                channel=Channel.CONSOLE,
            )
            await self._console.ports.approvals.decide(ballot, visitor.operator)
        return approval

    monkeypatch.setattr(approval_pages.ApprovalPages, "_find", find_and_refuse)


# -- D10: only POST decides ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", ""])
async def test_d10_a_crawler_changes_nothing(console: Console, tabs: Tabs, name: str) -> None:
    """GET, HEAD and OPTIONS of every link on every page, signed in and not."""
    shown = await fill(console)
    tab = await tabs.open(console, name)
    before = await record(console)

    pages = await crawl(tab.context, console, "/", await console.link("bob"), *shown.values())

    after = await record(console)
    assert after.pop("log") == before.pop("log") + 1  # the link that was given out
    assert after == before
    assert len(pages) > (60 if name else 20)


async def test_d10_a_crawler_negative_control(
    tabs: Tabs, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the page decided when it is opened, the crawler would have decided."""
    approval = await console.hold(arguments={"amount": 5})
    decide_by_looking(monkeypatch)
    tab = await tabs.open(console, "alice")

    await crawl(tab.context, console, "/")

    assert (await console.approvals.get(approval.id)).state is ApprovalState.REFUSED


async def test_d10_no_other_method_decides(console: Console, tabs: Tabs) -> None:
    """Every route, with every method but POST, with a good form in the query and overrides."""
    approval = await console.hold(arguments={"amount": 5})
    tab = await tabs.open(console, "alice")
    form = {
        "csrf": console.session("alice").csrf,
        "verdict": "grant",
        "fingerprint": approval.request.fingerprint,
        "request_id": "by-query-1",
        "read": "all",
        "level": "kill",
        "reason": "x",
        "confirm": "billing-bot",
        "_method": "POST",
    }
    values = {"id": approval.id, "agent": "billing-bot", "epoch": "40", "ticket": "t", "name": "x"}
    paths = {
        route.resource.canonical.format(**values, provider="idp")
        for route in console.app.router.routes()
        if route.resource is not None
    } - {"/events"}
    before = await record(console)

    statuses = set()
    for path in paths:
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "QUERY"):
            answer = await tab.context.request.fetch(
                f"{console.url}{path}?{urlencode(form)}",
                method=method,
                headers={"Origin": console.url, "X-HTTP-Method-Override": "POST"},
            )
            statuses.add((method in ("GET", "HEAD"), answer.status))

    assert await record(console) == before
    assert f"/approvals/{approval.id}/decision" in paths
    assert {status for is_look, status in statuses if not is_look} == {405}


_PREFETCHES: dict[str, Callable[[str], str]] = {
    "link": lambda url: f'<link rel="prefetch" href="{url}">',
    "speculative": lambda url: _rules("prefetch", url),
    "prerendered": lambda url: _rules("prerender", url),
    "image": lambda url: f'<img src="{url}">',
}


def _rules(kind: str, url: str) -> str:
    rule = f'{{"{kind}":[{{"urls":["{url}"],"eagerness":"immediate"}}]}}'
    return f'<script type="speculationrules">{rule}</script>'


@pytest.mark.parametrize("kind", _PREFETCHES)
async def test_d10_what_a_browser_fetches_ahead_decides_nothing(
    console: Console, tabs: Tabs, elsewhere: Elsewhere, kind: str
) -> None:
    """From a page of the same site, so that the session's cookie goes with it."""
    tab, approval = await _fetch_ahead(console, tabs, elsewhere, kind)
    before = await record(console)

    await tab.page.goto(elsewhere.url("ahead", is_same_site=True))
    arrivals = await eventually(arrived(console, lambda item: approval.id in item.path))

    assert "Cookie" in arrivals[0].headers
    assert await record(console) == before


async def test_d10_what_a_browser_fetches_ahead_negative_control(
    console: Console, tabs: Tabs, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the page decided when it is opened, fetching it ahead would have decided."""
    tab, approval = await _fetch_ahead(console, tabs, elsewhere, "prerendered")
    decide_by_looking(monkeypatch)

    await tab.page.goto(elsewhere.url("ahead", is_same_site=True))
    await eventually(lambda: console.desk.ballots)

    assert console.desk.ballots[0][0].approval_id == approval.id


async def _fetch_ahead(
    console: Console, tabs: Tabs, elsewhere: Elsewhere, kind: str
) -> tuple[Tab, Approval]:
    approval = await console.hold(arguments={"amount": 5})
    elsewhere.put("ahead", _PREFETCHES[kind](f"{console.url}/approvals/{approval.id}"))
    return await tabs.open(console, "alice"), approval


# -- D11: scanners that press what they find -----------------------------------------------------


async def press_everything(tab: Tab, url: str) -> list[str]:
    """Open *url*; send every form as it is served, press every button; return where that led."""
    page = tab.page
    places = []
    await page.goto(url)
    for kind in ("form", "button"):
        for index in range(await page.locator(kind).count()):
            async with page.expect_navigation():
                # as programs do it: neither scripts nor required fields nor closed folds stop them
                await (
                    page.locator(kind)
                    .nth(index)
                    .evaluate(
                        """it => {
                      if (it.form) { it.form.noValidate = true; it.click(); }
                      else HTMLFormElement.prototype.submit.call(it);
                    }"""
                    )
                )
            places.append(urlsplit(page.url).path)
            await page.goto(url)
    return places


async def _one_of_each(console: Console) -> list[Approval]:
    """Have one request wait at every tier, and one for a control action."""
    held = [
        await console.hold(arguments={"amount": 5, "tier": tier.name}, tier=tier, session=tier.name)
        for tier in Tier
    ]
    asked = await console.ask(
        action="release", body={"directive_epoch": "40"}, summary="release directive 40"
    )
    return [*held, asked]


async def test_d11_a_scanner_without_a_session_reaches_the_sign_in_page(
    console: Console, tabs: Tabs
) -> None:
    """It opens the link of a notification, sends every form and presses every button there."""
    approval = await console.hold(arguments={"amount": 5}, tier=Tier.LOW)
    tab = await tabs.open(java_script_enabled=False)
    before = await record(console)

    places = await press_everything(tab, f"{console.url}/approvals/{approval.id}")

    assert places == ["/login/passkey", "/login/passkey/options"] * 2
    assert await record(console) == before


async def test_d11_a_link_is_no_authority(console: Console, tabs: Tabs) -> None:
    """Whoever holds the id and the fingerprint, and sends the right form, is asked to sign in."""
    approval = await console.hold(arguments={"amount": 5})
    tab = await tabs.open()
    before = await record(console)

    statuses = []
    for verdict in ("grant", "refuse"):
        answer = await tab.context.request.post(
            f"{console.url}/approvals/{approval.id}/decision",
            form={"verdict": verdict, "fingerprint": approval.request.fingerprint},
            headers={"Origin": console.url, "Sec-Fetch-Site": "same-origin"},
        )
        statuses.append(answer.status)

    assert statuses == [401, 401]
    assert await record(console) == before


async def test_d11_a_link_is_no_authority_negative_control(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a link opened a session, the scanner would have decided."""
    approval = await console.hold(arguments={"amount": 5})
    session = console.session("alice")

    def anybody(self: Door, request: web.Request, *, is_activity: bool = True) -> Visitor:
        return Visitor(session=session, operator=console.people["alice"])

    monkeypatch.setattr(Door, "visitor", anybody)
    tab = await tabs.open()

    await _send_every_form(tab, console, f"/approvals/{approval.id}")

    assert (await console.approvals.get(approval.id)).state is ApprovalState.REFUSED


async def _send_every_form(tab: Tab, console: Console, *paths: str) -> list[Ballot]:
    for path in paths:
        await tab.page.goto(console.url + path)
        forms = tab.page.locator("form:not([action='/logout'])")
        for index in range(await forms.count()):
            await tab.page.goto(console.url + path)
            async with tab.page.expect_navigation():
                await forms.nth(index).evaluate(
                    "form => HTMLFormElement.prototype.submit.call(form)"
                )
    return [ballot for ballot, _ in console.desk.ballots]


async def test_d11_a_scanner_with_a_session_can_at_most_refuse(
    console: Console, tabs: Tabs
) -> None:
    """Inside a signed-in session, every form as it is served: Refuse is what is chosen."""
    approvals = await _one_of_each(console)
    await fill(console)
    tab = await tabs.open(console, "alice")
    pages = [f"/approvals/{approval.id}" for approval in approvals]

    ballots = await _send_every_form(tab, console, *pages, "/", "/agents/billing-bot", "/audit")

    assert [ballot.approval_id for ballot in ballots] == [approval.id for approval in approvals]
    assert {ballot.verdict for ballot in ballots} == {Verdict.REFUSE}
    assert console.containment.orders == []


async def test_d11_a_scanner_with_a_session_negative_control(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Grant were chosen beforehand, the scanner would have granted."""
    entry = approval_pages._Entry
    monkeypatch.setattr(
        approval_pages, "_Entry", lambda **given: entry(**{"verdict": "grant", **given})
    )
    approval = await console.hold(arguments={"amount": 5})
    tab = await tabs.open(console, "alice")

    await _send_every_form(tab, console, f"/approvals/{approval.id}")

    assert (await console.approvals.get(approval.id)).state is ApprovalState.GRANTED
