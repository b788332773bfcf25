# SPDX-License-Identifier: Apache-2.0
"""How a person gets from a message to a decision: few steps, by keyboard, without scripts, in time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from sidecar.approvals.values import ApprovalState, Tier, Verdict
from sidecar.clock import ManualClock
from sidecar.web.oidc import OidcConfig
from tests.browser.browser_kit import DESKTOP, Elsewhere, Tab, Tabs, enrol
from tests.support.console import Console
from tests.support.console import console as serve
from tests.support.openid import FakeProvider

_SUBMIT = "form.decision button[type=submit]"


@dataclass
class Hand:
    """A hand that counts what it does: a press, a choice, a text typed and left."""

    page: Page
    count: int = 0

    async def press(self, thing: Locator) -> None:
        """Press *thing*."""
        self.count += 1
        await thing.click()

    async def choose_grant(self) -> None:
        """Choose Grant."""
        await self.press(self.page.locator("input[value=grant]"))

    async def submit(self) -> None:
        """Press the button of the decision."""
        await self.press(self.page.locator(_SUBMIT))

    async def sign_in(self) -> None:
        """Use the passkey."""
        await self.press(self.page.get_by_role("button", name="Use a passkey"))


async def _focused(page: Page) -> str:
    """Return the id of what has the focus."""
    found: str = await page.evaluate("document.activeElement.id || document.activeElement.tagName")
    return found


async def test_a_link_leads_to_a_decision_in_three_steps(console: Console, tabs: Tabs) -> None:
    """Signed out, with a passkey: sign in, choose, press; then the result has the focus."""
    tab = await tabs.open()
    await enrol(tab, console, "alice")
    for verdict, steps in ((Verdict.GRANT, 3), (Verdict.REFUSE, 2)):
        approval = await console.hold(arguments={"amount": 5, "for": verdict.value})
        await tab.context.clear_cookies()
        hand = Hand(tab.page)

        await tab.page.goto(f"{console.url}/approvals/{approval.id}")
        await hand.sign_in()
        if verdict is Verdict.GRANT:
            await hand.choose_grant()
        await hand.submit()
        await expect(tab.page.locator("#result")).to_be_focused()

        assert hand.count == steps
        (vote,) = (await console.approvals.get(approval.id)).votes
        assert (vote.operator, vote.verdict) == ("alice", verdict)


async def test_a_link_in_a_web_mail_takes_as_few_steps(
    console: Console, tabs: Tabs, elsewhere: Elsewhere
) -> None:
    """From a page of another site the browser holds the cookie back: the page goes on by itself."""
    approval = await console.hold(arguments={"amount": 5})
    elsewhere.put("mail", f'<a href="{console.url}/approvals/{approval.id}">Decide</a>')
    tab = await tabs.open(console, "alice")
    hand = Hand(tab.page)

    await tab.page.goto(elsewhere.url("mail"))
    await tab.page.get_by_role("link", name="Decide").click()
    await hand.choose_grant()
    await hand.submit()
    await expect(tab.page.locator("#result")).to_be_focused()

    assert hand.count == 2
    assert (await console.approvals.get(approval.id)).state is ApprovalState.GRANTED


async def test_who_is_signed_in_decides_in_two_steps(console: Console, tabs: Tabs) -> None:
    """Grant takes two, Refuse one; from HIGH the reading and a reason come on top."""
    tab = await tabs.open(console, "alice")
    hand = Hand(tab.page)
    counts = []
    for verdict in Verdict:
        approval = await console.hold(arguments={"for": verdict.value})
        hand.count = 0
        await tab.page.goto(f"{console.url}/approvals/{approval.id}")
        if verdict is Verdict.GRANT:
            await hand.choose_grant()
        await hand.submit()
        await expect(tab.page.locator("#result")).to_be_focused()
        counts.append((verdict, hand.count))

    assert counts == [(Verdict.GRANT, 2), (Verdict.REFUSE, 1)]
    assert {ballot.verdict for ballot, _ in console.desk.ballots} == set(Verdict)


async def test_the_button_says_what_it_will_do(console: Console, tabs: Tabs) -> None:
    """Refuse is chosen when the page opens; the button names the deed and its object."""
    approval = await console.hold(arguments={"amount": 1240, "customer": "cust_8812"})
    tab = await tabs.open(console, "alice")
    await tab.page.goto(f"{console.url}/approvals/{approval.id}")
    button = tab.page.locator(_SUBMIT)

    await expect(tab.page.locator("input[value=refuse]")).to_be_checked()
    await expect(button).to_have_text("Refuse: payments.refund (amount 1240, customer cust_8812)")
    await tab.page.locator("input[value=grant]").check()
    await expect(button).to_have_text(
        "Grant once: payments.refund (amount 1240, customer cust_8812)"
    )


async def test_there_is_no_way_to_allow_for_ever(console: Console, tabs: Tabs) -> None:
    """D23: two choices, and no third."""
    approval = await console.hold(arguments={"amount": 5})
    tab = await tabs.open(console, "alice")
    await tab.page.goto(f"{console.url}/approvals/{approval.id}")

    choices = await tab.page.locator("form.decision [name=verdict]").evaluate_all(
        "found => found.map((item) => item.value)"
    )

    assert choices == ["refuse", "grant"]
    assert "always" not in (await tab.page.locator("main").inner_text()).lower()


# -- without scripts -----------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", Verdict)
async def test_it_works_without_scripts(console: Console, tabs: Tabs, verdict: Verdict) -> None:
    """Inbox, page, decision, result."""
    approval = await console.hold(arguments={"amount": 5})
    tab = await tabs.open(console, "alice", java_script_enabled=False)
    page = tab.page

    await page.goto(console.url)
    await page.get_by_role("link", name="Review").click()
    if verdict is Verdict.GRANT:
        await page.locator("input[value=grant]").check()
    await page.get_by_label("Reason").fill("known customer")
    await page.locator(_SUBMIT).click()
    await expect(page.locator("#result")).to_be_focused()
    result = await page.locator("#result").inner_text()

    (vote,) = (await console.approvals.get(approval.id)).votes
    assert (vote.verdict, vote.reason) == (verdict, "known customer")
    assert result.startswith("Your decision is recorded")


@dataclass
class WithProvider:
    """A console that a provider signs Alice in to."""

    console: Console
    provider: FakeProvider


@pytest_asyncio.fixture(loop_scope="session")
async def with_provider(tabs: Tabs) -> AsyncIterator[WithProvider]:
    """Both on loopback."""
    clock = ManualClock()
    provider = FakeProvider(clock)
    await provider.start()
    config = OidcConfig(issuer=provider.issuer, client_id="holdfast", label="the IdP")
    async with serve(clock=clock, oidc=[config]) as running:
        alice = running.people["alice"]
        running.people["alice"] = replace(alice, logins=((provider.issuer, "sub-alice"),))
        yield WithProvider(running, provider)
        await tabs.release()
    await provider.close()


async def test_from_a_link_through_a_provider_without_scripts(
    with_provider: WithProvider, tabs: Tabs
) -> None:
    """Signed out and without scripts: three steps too, there and back through another site."""
    console = with_provider.console
    approval = await console.hold(arguments={"amount": 5})
    tab = await tabs.open(java_script_enabled=False)
    hand = Hand(tab.page)

    await tab.page.goto(f"{console.url}/approvals/{approval.id}")
    await hand.press(tab.page.get_by_role("link", name="Sign in with the IdP"))
    await tab.page.wait_for_url(f"{console.url}/approvals/{approval.id}")
    await hand.choose_grant()
    await hand.submit()
    await tab.page.locator("#result").wait_for()

    assert hand.count == 3
    assert (await console.approvals.get(approval.id)).state is ApprovalState.GRANTED


# -- what goes wrong on the way ------------------------------------------------------------------


async def test_a_reason_outlives_a_second_sign_in(console: Console, tabs: Tabs) -> None:
    """HIGH without a passkey asks for a sign-in that is five minutes young; what was typed is kept."""
    approval = await console.hold(
        arguments={"host": "db-2"}, tier=Tier.HIGH, is_passkey_needed=False
    )
    tab = await tabs.open()
    await enrol(tab, console, "alice")
    page = tab.page
    await page.goto(f"{console.url}/approvals/{approval.id}")
    await page.get_by_role("button", name="Use a passkey").click()
    await page.wait_for_url(f"{console.url}/approvals/{approval.id}")
    console.clock.advance(seconds=400)

    for _ in range(2):
        await page.locator("[data-end]").scroll_into_view_if_needed()
        await page.locator("input[name=read]").check()
        await page.locator("input[value=grant]").check()
        if await page.get_by_label("Reason").input_value() == "":
            await page.get_by_label("Reason").fill("INC-7: failover tonight")
        await page.locator(_SUBMIT).click()
        if "/login" in page.url:
            await page.get_by_role("button", name="Use a passkey").click()
            await page.wait_for_url(f"{console.url}/approvals/{approval.id}")
            kept = await page.get_by_label("Reason").input_value()
    await page.locator("#result").wait_for()

    assert kept == "INC-7: failover tonight"
    assert (await console.approvals.get(approval.id)).votes[0].reason == "INC-7: failover tonight"


async def test_what_is_missing_is_said_where_it_is_missing(console: Console, tabs: Tabs) -> None:
    """The focus goes to the summary, the summary links to the fields, the fields name their error."""
    approval = await console.hold(
        arguments={"host": "db-2"}, tier=Tier.HIGH, is_passkey_needed=False
    )
    tab = await tabs.open(console, "alice", java_script_enabled=False)
    page = tab.page
    await page.goto(f"{console.url}/approvals/{approval.id}")

    await page.locator("input[value=grant]").check()
    await page.locator(_SUBMIT).click()
    await expect(page.get_by_role("heading", name="Nothing was decided yet")).to_be_focused()
    links = (
        await page.get_by_role("alert")
        .first.locator("a")
        .evaluate_all("links => links.map((link) => document.querySelector(link.hash) !== null)")
    )
    reason = page.get_by_label("Reason")
    described = await reason.evaluate(
        """field => field.getAttribute("aria-describedby").split(" ")
          .map((id) => document.getElementById(id).textContent).join(" ")"""
    )

    assert links == [True, True]
    assert "needs a reason" in described
    assert await reason.get_attribute("aria-invalid") == "true"
    assert await page.locator("input[value=grant]").is_checked()


async def test_a_vote_that_comes_too_late_says_who_decided(console: Console, tabs: Tabs) -> None:
    """Somebody else was faster: nothing is counted, and the page says who, what and when."""
    approval = await console.hold(arguments={"amount": 5})
    tab = await tabs.open(console, "alice")
    page = tab.page
    await page.goto(f"{console.url}/approvals/{approval.id}")
    await console.vote(approval, "bob", Verdict.REFUSE, "no ticket")
    notice = page.locator(".status[role=status]")
    await expect(notice).to_contain_text("This approval was refused")
    focus = await _focused(page)

    await page.locator("input[value=grant]").check()
    await page.locator(_SUBMIT).click()
    await expect(page.get_by_role("alert").first).to_contain_text("Your vote was not counted")
    text = await page.locator("main").inner_text()

    assert focus == "BODY"  # the notice takes no focus away
    assert "bob refused at" in text
    assert "no ticket" in text
    assert (await console.approvals.get(approval.id)).state is ApprovalState.REFUSED


async def test_the_time_that_is_left_is_said_at_five_minutes_one_and_the_end(
    console: Console, tabs: Tabs
) -> None:
    """A silent countdown, and a polite notice three times."""
    approval = await console.hold(arguments={"amount": 5})  # MEDIUM: half an hour
    tab = await tabs.open(console, "alice")
    page = tab.page
    tab.is_spoilt = True  # its clock is not the time any more
    await page.clock.install()
    await page.goto(f"{console.url}/approvals/{approval.id}")
    timer, notice = page.get_by_role("timer"), page.locator("[data-timer-notice]")
    heard = []
    for minutes, seconds in ((20, 0), (5, 1), (4, 1), (1, 0)):
        await page.clock.run_for((minutes * 60 + seconds) * 1000)
        heard.append((await timer.inner_text(), await notice.text_content()))

    assert await timer.get_attribute("aria-live") == "off"
    assert await notice.get_attribute("role") == "status"
    assert [text for _, text in heard] == [
        "",
        "Five minutes left to decide.",
        "One minute left to decide.",
        "The time is over. What nobody granted is refused.",
    ]
    assert heard[0][0] == "10 min left" or heard[0][0].startswith("9 min")
    assert heard[-1][0] == "over"


# -- by keyboard ---------------------------------------------------------------------------------

_RING = """() => {
  const style = getComputedStyle(document.activeElement);
  const box = document.activeElement.getBoundingClientRect();
  const isOnScreen = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  return { name: document.activeElement.outerHTML.slice(0, 120),
    hasRing: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    isOnScreen, box: [box.width, box.height] };
}"""


async def _tab_to(tab: Tab, selector: str) -> int:
    """Press Tab until *selector* has the focus; check the ring of everything on the way."""
    for count in range(1, 80):
        await tab.page.keyboard.press("Tab")
        ring = await tab.page.evaluate(_RING)
        assert ring["hasRing"], ring
        assert ring["isOnScreen"], ring
        if await tab.page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return count
    raise AssertionError(f"{selector} cannot be reached by Tab")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_decision_by_keyboard_alone(console: Console, tabs: Tabs, scheme: str) -> None:
    """From the inbox, with Tab, arrows, Space and Enter; whatever has the focus shows it."""
    approval = await console.hold(arguments={"amount": 5})
    tab = await tabs.open(
        console, "alice", viewport=DESKTOP, color_scheme=scheme, reduced_motion="reduce"
    )
    page = tab.page
    await page.goto(console.url)

    await _tab_to(tab, "a.go")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{console.url}/approvals/{approval.id}")
    await _tab_to(tab, "input[value=refuse]")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("input[value=grant]")).to_be_checked()
    await _tab_to(tab, "textarea[name=reason]")
    await page.keyboard.type("known customer")
    await _tab_to(tab, _SUBMIT)
    await page.keyboard.press("Enter")
    await expect(page.locator("#result")).to_be_focused()

    (vote,) = (await console.approvals.get(approval.id)).votes
    assert (vote.verdict, vote.reason) == (Verdict.GRANT, "known customer")


async def test_the_first_tab_skips_to_the_content(console: Console, tabs: Tabs) -> None:
    """And the first link in it leads to the form, which on long pages is far below."""
    approval = await console.hold(arguments={"cmd": "x\n" * 200})
    tab = await tabs.open(console, "alice")
    page = tab.page
    await page.goto(f"{console.url}/approvals/{approval.id}")

    names = []
    for _ in range(2):
        await page.keyboard.press("Tab")
        names.append(await page.evaluate("document.activeElement.textContent"))
        await page.keyboard.press("Enter")

    assert names == ["Skip to the content", "Go to the decision"]
    await expect(page.locator("#decide")).to_be_in_viewport()
