# SPDX-License-Identifier: Apache-2.0
"""The page on which a human decides: what it shows, in which order, and what it must not show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sidecar.approvals.values import Approval, ApprovalState, Tier, Verdict
from sidecar.canonical import fingerprint_words
from sidecar.model import Level, ToolClass
from sidecar.operations.values import Outcome
from sidecar.web import approval_pages, approval_view
from sidecar.web.ports import AgentView, PolicyView, ToolUse, ToolView
from tests.support.console import Console
from tests.support.console_demo import HOSTILE, fill, long_script
from tests.unit.web.web_kit import Browser, Page

ORDER = ["state", "exactly", "why", "reach", "chain", "earlier", "decide"]


async def shown(browser: Browser, approval: Approval, as_: str = "alice") -> Page:
    page = await browser.get(f"/approvals/{approval.id}", as_=as_)
    assert page.status == 200
    return page


def listing(page: Page) -> str:
    """Return the text of what will run, as it stands on the page."""
    return "\n".join(
        "".join(item.texts).strip("\n") for item in page.elements if "line" in item.classes
    )


def swapped(console: Console, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Have the store return approvals whose request differs by *changes*."""
    real = console.approvals.get

    async def get(approval_id: str) -> Approval:
        approval = await real(approval_id)
        return replace(approval, request=replace(approval.request, **changes))

    monkeypatch.setattr(console.approvals, "get", get)


# --- order and content ----------------------------------------------------------------------------


async def test_the_page_has_its_parts_in_their_order(console: Console, browser: Browser) -> None:
    """Sentence, state, what will run, why, reach, chain, history, form."""
    paths = await fill(console)

    page = await browser.get(paths["medium"])

    ids = [item.attributes.get("id") for item in page.elements if item.tag == "h2"]
    assert [name for name in ids if name in ORDER] == ORDER
    assert page.one("h1").text == (
        "Agent billing-bot wants to run payments.refund with amount 1240, customer cust_8812 "
        "and 1 more argument."
    )


async def test_the_state_says_when_how_many_and_who(console: Console, browser: Browser) -> None:
    """Tier, expiry absolute and remaining, votes, and who may vote."""
    approval = await console.hold(arguments={"amount": 5}, tier=Tier.MEDIUM)
    console.clock.advance(seconds=60)

    page = await shown(browser, approval)

    assert "Medium tier" in page.text
    assert "29 min left" in page.text
    assert "0 of 1 grant" in page.text
    assert "alice (you), bob, carol" in " ".join(page.text.split())
    assert "olga" not in page.one("dl", class_="wide").text  # the owner is no approver
    times = page.all("time")
    assert all((item.attributes["datetime"] or "").endswith("Z") for item in times)
    assert any("UTC" in item.text for item in times)
    timer = page.one("span", role="timer")
    assert timer.attributes["data-remaining-ms"] == str(29 * 60 * 1000)
    assert timer.attributes["aria-live"] == "off"


async def test_d19_the_fingerprint_is_shown_as_everywhere(
    console: Console, browser: Browser
) -> None:
    """Sixteen digits and four words, and the whole hash under the text."""
    approval = await console.hold(arguments={"amount": 5})

    page = await shown(browser, approval)

    assert fingerprint_words(approval.request.fingerprint) in page.text
    assert approval.request.fingerprint in page.by_id("end").text


async def test_why_it_is_held_names_policy_file_and_line(
    console: Console, browser: Browser
) -> None:
    """The reason, the policies that hold it, where they stand, and their text."""
    console.explain.policies = {
        name: PolicyView(id=name, file="policies/pay.cedar", line=line, effect="permit", text=text)
        for name, line, text in (("mine", 12, "permit (x);"), ("other", 99, "forbid (y);"))
    }
    approval = await console.hold(arguments={"amount": 5}, policies=("mine",), reason="Large sum.")

    page = await shown(browser, approval)

    assert "Large sum." in page.text
    assert "policies/pay.cedar:12" in page.text
    assert "permit (x);" in page.text
    assert "forbid (y);" not in page.text


async def test_policies_that_changed_since_are_said_to_have_changed(
    console: Console, browser: Browser
) -> None:
    """What is explained is the bundle in force, which may not be the one that held it."""
    approval = await console.hold(arguments={"amount": 5})
    console.explain.digest = "ffff" * 16

    page = await shown(browser, approval)

    assert "not those that held this call" in page.text


@pytest.mark.parametrize(
    ("tool_class", "words"),
    [
        (ToolClass.READ, "reads only"),
        (ToolClass.WRITE, "can be changed back"),
        (ToolClass.DESTRUCTIVE, "cannot be taken back"),
        (ToolClass.EXTERNAL, "outside: it cannot be taken back"),
        (None, "not declared"),
    ],
)
async def test_whether_it_can_be_taken_back_comes_from_the_tools_class(
    console: Console, browser: Browser, tool_class: ToolClass | None, words: str
) -> None:
    """The registry says it, and how; never the caller."""
    console.fleet.tools["payments.refund"] = ToolView(
        tool="payments.refund", tool_class=tool_class, undo="Call the bank."
    )
    approval = await console.hold(arguments={"amount": 5})

    page = await shown(browser, approval)

    assert words in page.text
    assert "Call the bank." in page.text


async def test_reach_and_calls_are_drawn_and_tabled(console: Console, browser: Browser) -> None:
    """Each picture has a table of the same beside it, in a region that scrolls by keyboard."""
    paths = await fill(console)

    page = await browser.get(paths["medium"])

    drawings = page.all("svg", role="img")
    assert len(drawings) == 2
    for host in ("api.payments.example", "crm.corp.example", "smtp.corp.example"):
        assert host in page.text
    regions = [item for item in page.all("div", role="region") if "scroll" in item.classes]
    assert all(item.attributes.get("tabindex") == "0" for item in regions)
    assert all(item.attributes.get("aria-label") for item in regions)
    tables = page.all("table")
    assert len(tables) >= 4


async def test_the_chain_goes_from_human_to_gate(console: Console, browser: Browser) -> None:
    """Owner, agent with its containment, gate and host."""
    console.fleet.known["billing-bot"] = AgentView(
        agent="billing-bot", owner="x", gates=("gate-7",), host="node-3", level=Level.OBSERVE
    )
    approval = await console.hold(arguments={"amount": 5})

    chain = (await shown(browser, approval)).one("ol", class_="chain").text

    assert chain.index("olga@corp.example") < chain.index("billing-bot") < chain.index("gate-7")
    assert "OBSERVE" in chain
    assert "node-3" in chain


async def test_earlier_decisions_of_the_same_tool_are_listed(
    console: Console, browser: Browser
) -> None:
    """With outcome, who and why; other tools and what waits are not among them."""
    first = await console.hold(arguments={"amount": 1})
    await console.vote(first, "bob", Verdict.REFUSE, "not without a ticket")
    await console.hold(arguments={"a": 1}, tool="files.write")
    await console.hold(arguments={"amount": 2})
    approval = await console.hold(arguments={"amount": 3})

    page = await shown(browser, approval)

    rows = page.elements[[item.attributes.get("id") for item in page.elements].index("earlier") :]
    assert sum("Refused" in item.text for item in rows if item.tag == "tr") == 1
    assert "not without a ticket" in page.text


async def test_the_difference_to_the_last_similar_call_is_shown(
    console: Console, browser: Browser
) -> None:
    """Field by field, against the last one that ended."""
    first = await console.hold(arguments={"amount": 120, "customer": "c1"})
    await console.vote(first, "bob")
    await console.use(first)
    console.clock.advance(seconds=5)
    approval = await console.hold(arguments={"amount": 9000, "customer": "c1"})

    page = await shown(browser, approval)

    row = next(item for item in page.all("tr") if "arguments.amount" in item.text)
    assert row.text == "arguments.amountchanged1209000"
    assert not [item for item in page.all("tr") if "arguments.customer" in item.text]


async def test_the_form_begins_with_refuse(console: Console, browser: Browser) -> None:
    """Refuse is chosen, nothing else is, and there is no way to allow always."""
    approval = await console.hold(arguments={"amount": 5})

    page = await shown(browser, approval)

    radios = page.all("input", type="radio", name="verdict")
    assert [item.attributes["value"] for item in radios if "checked" in item.attributes] == [
        "refuse"
    ]
    assert {item.attributes["value"] for item in radios} == {"refuse", "grant"}
    assert "always" not in page.text.lower()
    form = page.form(f"/approvals/{approval.id}/decision")
    assert form["fingerprint"] == approval.request.fingerprint
    assert form["verdict"] == "refuse"


async def test_the_button_repeats_the_object(console: Console, browser: Browser) -> None:
    """Also without JavaScript one reads what one decides on where one decides."""
    approval = await console.hold(arguments={"amount": 1240, "customer": "cust_8812"})

    page = await shown(browser, approval)

    button = next(item for item in page.all("button") if "data-submit" in item.attributes)
    assert button.text == (
        "Record my decision about payments.refund (amount 1240, customer cust_8812)"
    )


async def test_an_action_shows_its_order_and_later_its_receipt(
    console: Console, browser: Browser
) -> None:
    """Control actions are decided on the same page, and it says what came of them."""
    approval = await console.ask(
        action="release", body={"directive_epoch": "40"}, summary="release directive 40"
    )
    before = await shown(browser, approval)
    await browser.decide(approval, "grant", reason="false alarm")
    await console.approvals.take(approval.id)
    await fill(console)
    result = Outcome(directive_epoch=40, epoch=41).to_json()
    await console.approvals.finish(approval.id, result=result, detail="carried out")

    after = await shown(browser, approval)
    console.containment.receipts.clear()
    without = await shown(browser, approval)

    assert '"directive_epoch": "40"' in listing(before)
    assert "erin" in before.text
    assert "gate-2" in after.text
    assert "Laggard" in after.text
    assert after.one("a", href="/directives/40")
    assert "Nothing is known of the receipt." in without.text
    assert not after.all("form", action=f"/approvals/{approval.id}/decision")


# --- what is shown is what is signed --------------------------------------------------------------


async def test_d18_what_is_shown_is_what_is_hashed(console: Console, browser: Browser) -> None:
    """The listing holds the canonical text, whatever summary travels beside it."""
    approval = await console.hold(
        arguments={"amount": 5, "note": 'a "quoted" note'}, summary="something harmless"
    )

    page = await shown(browser, approval)

    compact = "".join(listing(page).split())
    assert compact == "".join(approval.request.canonical.decode().split())
    assert "something harmless" not in page.text


FORGED: dict[str, Mapping[str, Any]] = {
    "other bytes": {"canonical": b'{"agent":"billing-bot","arguments":{"amount":1}}'},
    "one byte": {"canonical": b" "},
    "no bytes": {"canonical": b""},
    "other fingerprint": {"fingerprint": "0" * 64},
}


@pytest.mark.parametrize("name", FORGED)
async def test_d18_bytes_that_do_not_hash_are_not_shown_and_not_decided(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A page without a form, without the text; and a form that was kept decides nothing."""
    approval = await console.hold(arguments={"amount": 987654})
    form = (await shown(browser, approval)).form(f"/approvals/{approval.id}/decision")
    swapped(console, monkeypatch, **FORGED[name])

    page = await browser.get(f"/approvals/{approval.id}")
    sent = await browser.post(f"/approvals/{approval.id}/decision", {**form, "verdict": "grant"})
    inbox = await browser.get("/")

    assert (page.status, sent.status, inbox.status) == (500, 500, 200)
    assert "987654" not in page.text
    assert not page.all("form", action=f"/approvals/{approval.id}/decision")
    assert "hash" in page.text
    assert not console.desk.ballots


async def test_d18_bytes_that_do_not_hash_negative_control(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the comparison the page shows other bytes than those that would be granted."""
    approval = await console.hold(arguments={"amount": 987654})
    swapped(console, monkeypatch, canonical=b'{"arguments":{"amount":1}}')
    for module in (approval_pages, approval_view):
        monkeypatch.setattr(module, "is_genuine", lambda request: True)

    page = await browser.get(f"/approvals/{approval.id}")

    assert page.status == 200
    assert "987654" not in listing(page)


async def test_the_form_of_another_fingerprint_is_not_a_grant(
    console: Console, browser: Browser
) -> None:
    """The service compares what was shown with what would be granted."""
    approval = await console.hold(arguments={"amount": 5})
    other = await console.hold(arguments={"amount": 6})

    page = await browser.decide(approval, "grant", fingerprint=other.request.fingerprint)

    assert page.status == 403
    assert (await console.approvals.get(approval.id)).state is ApprovalState.PENDING


async def test_what_ended_long_ago_has_no_text_and_no_form(
    console: Console, browser: Browser
) -> None:
    """After the time it is kept, the fingerprint and the votes remain."""
    approval = await console.hold(arguments={"amount": 987654})
    await console.vote(approval, "bob", Verdict.REFUSE, "no")
    console.clock.advance(seconds=40 * 24 * 3600)
    await console.approvals.purge()
    console.sign_in("alice")

    page = await shown(browser, approval)

    assert "no longer kept" in page.text
    assert "bob" in page.text
    assert "987654" not in page.text


# --- nothing hides --------------------------------------------------------------------------------


async def test_d15_tricks_are_chips_and_counted_in_a_banner(
    console: Console, browser: Browser
) -> None:
    """Controls, directions, tags, piles of marks, paddings and look-alikes, in their places."""
    approval = await console.hold(arguments=HOSTILE, tool="http.post")

    page = await shown(browser, approval)

    chips = {item.text for item in page.all("span", class_="chip")}
    wanted = {
        "\\u{202E}", "\\u{202C}", "\\u{200B}", "\\u{2066}", "\\u{2069}", "\\u{001B}", "\\u{0430}",
        "\\u{2215}", "\\u{E0041}", "\\u{E0042}", "400 spaces",
    }  # fmt: skip
    assert wanted <= chips
    banner = page.one("div", class_="odd").text
    for words in ("reading direction", "invisible", "control", "marks", "look like", "padding"):
        assert words in banner
    assert not [char for char in page.body if char in "\u202e\u202c\u200b\u2066\x1b\U000e0041"]


async def test_d15_a_plain_call_has_no_banner(console: Console, browser: Browser) -> None:
    """A banner that always shows is not read."""
    approval = await console.hold(arguments={"note": "Grüße, naïve — “ok” 日本語"})

    page = await shown(browser, approval)

    assert not page.all("div", class_="odd")
    assert not page.all("span", class_="chip")


async def test_d15_tricks_negative_control(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the chips the characters are on the page, and reorder it."""
    from sidecar.web import pretty
    from sidecar.web.text import Piece

    monkeypatch.setattr(pretty, "pieces", lambda text: (Piece(text, text),))
    approval = await console.hold(arguments=HOSTILE, tool="http.post")

    page = await shown(browser, approval)

    assert "\u202e" in page.body


@pytest.mark.parametrize(
    "arguments",
    [
        {"cmd": long_script()},
        {"cmd": "echo ok" + " " * 9000 + "; rm -rf /srv/data"},
        {"cmd": "x" * 30_000 + "; rm -rf /srv/data"},
        {"cmd": "echo\n" + "\n" * 5000 + "rm -rf /srv/data"},
    ],
)
async def test_d17_the_whole_text_is_on_the_page_and_must_be_read(
    console: Console, browser: Browser, arguments: dict[str, str]
) -> None:
    """However long, however padded: the tail is there, and a grant needs the tick after it."""
    approval = await console.hold(arguments=arguments, tool="shell.exec", tier=Tier.LOW)

    page = await shown(browser, approval)

    assert "rm -rf /srv/data" in listing(page)
    assert "\u2026" not in listing(page)
    tick = page.one("input", type="checkbox", name="read")
    assert "checked" not in tick.attributes
    names = [item.attributes.get("name") or item.attributes.get("id") for item in page.elements]
    assert names.index("end") < names.index("read")


@pytest.mark.parametrize("tier", [Tier.HIGH, Tier.CRITICAL])
async def test_d17_from_tier_high_every_text_must_be_read(
    console: Console, browser: Browser, tier: Tier
) -> None:
    """A short text has an end as well."""
    approval = await console.hold(arguments={"a": 1}, tier=tier)

    assert (await shown(browser, approval)).all("input", name="read")


async def test_d17_a_short_text_at_a_low_tier_needs_no_tick(
    console: Console, browser: Browser
) -> None:
    """Where all of it is in sight, a tick is a habit and no guard."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.MEDIUM)

    assert not (await shown(browser, approval)).all("input", name="read")


async def test_d17_a_grant_without_the_tick_is_not_counted(
    console: Console, browser: Browser
) -> None:
    """Without JavaScript the server asks for it; what was typed is kept."""
    approval = await console.hold(arguments={"cmd": long_script()}, tier=Tier.LOW)

    page = await browser.decide(approval, "grant", reason="looks fine")

    assert page.status == 422
    assert not console.desk.ballots
    assert page.by_id("reason").text == "looks fine"
    assert page.by_id("read-error")
    described = page.one("input", name="read").attributes["aria-describedby"] or ""
    assert "read-error" in described

    granted = await browser.decide(approval, "grant", reason="looks fine", read="all")
    assert granted.status == 303


async def test_d17_a_grant_without_the_tick_negative_control(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the guard, what nobody read is granted."""
    monkeypatch.setattr(approval_view, "must_read_to_end", lambda *args: False)
    approval = await console.hold(arguments={"cmd": long_script()}, tier=Tier.LOW)

    assert (await browser.decide(approval, "grant")).status == 303


async def test_d17_refusing_needs_no_reading(console: Console, browser: Browser) -> None:
    """Saying no is never made hard."""
    approval = await console.hold(arguments={"cmd": long_script()}, tier=Tier.CRITICAL)

    page = await browser.decide(approval, "refuse")

    assert page.status == 303
    assert (await console.approvals.get(approval.id)).state is ApprovalState.REFUSED


# --- what is missing is said ----------------------------------------------------------------------


async def test_what_helps_to_decide_may_be_missing(console: Console, browser: Browser) -> None:
    """Inventory, log and policies fail: the page says so, and one can still decide."""
    approval = await console.hold(arguments={"amount": 5})
    console.fleet.is_broken = console.logs.is_broken = console.explain.is_broken = True

    page = await shown(browser, approval)

    assert page.text.count("Could not be asked for") == 4
    assert page.one("form", action=f"/approvals/{approval.id}/decision")


async def test_auditors_see_that_it_is_and_not_what_is_in_it(
    console: Console, browser: Browser
) -> None:
    """Arguments are for those who may decide, and for who asked."""
    approval = await console.hold(arguments={"amount": 987654}, summary="refund 987654")
    await console.vote(approval, "bob", Verdict.REFUSE, "no")

    page = await shown(browser, approval, as_="dave")
    twin = await browser.get(
        f"/approvals/{approval.id}", as_="dave", headers={"Accept": "application/json"}
    )
    own = await browser.get(f"/approvals/{approval.id}", headers={"Accept": "application/json"})

    assert "987654" not in page.body
    assert fingerprint_words(approval.request.fingerprint) in page.text
    assert "canonical" not in twin.json()
    assert own.json()["canonical"] == approval.request.canonical.decode()


async def test_the_owner_is_told_why_they_may_not_decide(
    console: Console, browser: Browser
) -> None:
    """Olga owns the agent: she sees the page, and no form."""
    approval = await console.hold(arguments={"amount": 5})

    page = await shown(browser, approval, as_="olga")

    assert not page.all("form", action=f"/approvals/{approval.id}/decision")
    assert "somebody else must decide" in page.text


async def test_the_inbox_sorts_by_who_must_decide(console: Console, browser: Browser) -> None:
    """Mine first, the highest tier on top; then others'; then what was decided."""
    low = await console.hold(arguments={"n": 1}, tier=Tier.LOW)
    high = await console.hold(arguments={"n": 2}, tier=Tier.HIGH)
    own = await console.hold(arguments={"n": 3}, agent="alices", owner="alice@corp.example")
    done = await console.hold(arguments={"n": 4}, agent="other-bot")
    await console.vote(done, "bob", Verdict.REFUSE, "no")

    page = await browser.get("/")

    links = [item.attributes["href"] for item in page.all("a", class_="go")]
    assert links == [f"/approvals/{item.id}" for item in (high, low, own, done)]
    assert page.one("title").text.startswith("(2) Approvals")
    twin = (await browser.get("/", headers={"Accept": "application/json"})).json()
    assert [item["name"] for item in twin["others"]] == [own.name]


async def test_an_empty_inbox_says_what_would_be_in_it(browser: Browser) -> None:
    """Silence is explained, also to who has no role for it."""
    mine = await browser.get("/")
    nobody = await browser.get("/", as_="nobody")

    assert "holds an agent's tool call" in mine.text
    assert "None of your roles" in nobody.text


async def test_the_inbox_pages_through_what_was_decided(console: Console, browser: Browser) -> None:
    """Older approvals are a link away."""
    for number in range(23):
        item = await console.hold(arguments={"n": number}, agent=f"bot-{number}")
        await console.vote(item, "bob", Verdict.REFUSE, "no")

    first = await browser.get("/")
    older = next(item for item in first.all("a") if "before=" in (item.attributes["href"] or ""))
    second = await browser.get(older.attributes["href"] or "")

    assert len(first.all("li", class_="row")) == 20
    assert len(second.all("li", class_="row")) == 3


async def test_tools_without_calls_are_no_hole_in_the_page(
    console: Console, browser: Browser
) -> None:
    """An agent that nobody has seen is said to be one."""
    console.fleet.known["billing-bot"] = AgentView(agent="billing-bot")
    approval = await console.hold(arguments={"amount": 5})

    page = await shown(browser, approval)

    assert "have not seen this agent call anything" in page.text
    assert "no calls of this session" in page.text
    assert "There are none." in page.text


async def test_a_host_of_another_tool_is_in_the_picture(console: Console, browser: Browser) -> None:
    """The picture is of the agent, not only of this call."""
    console.fleet.known["billing-bot"] = AgentView(
        agent="billing-bot",
        tools=(ToolUse(tool=ToolView(tool="http.get"), hosts=("far.example",), call_count=3),),
    )
    approval = await console.hold(arguments={"amount": 5})

    page = await shown(browser, approval)

    assert "far.example" in page.one("svg", class_="reach").text


async def test_a_question_says_that_nothing_but_the_answer_comes_of_it(
    console: Console, browser: Browser
) -> None:
    """A playbook's words are text on the page, marked where they cannot be seen, and no order."""
    hostile = "\u202e<script>alert(1)</script> {{7*7}}"
    approval = await console.ask(
        action="confirm",
        body={"question": hostile, "details": f"{hostile}\nsecond", "agent": ""},
        sentence="erin asks: “\\u{202e}<script>alert(1)</script> {{7*7}}”",
    )

    page = await shown(browser, approval)
    await browser.decide(approval, "grant", reason="fine")
    await console.approvals.take(approval.id)
    await fill(console)
    await console.approvals.finish(
        approval.id, result=Outcome().to_json(), detail="granted by alice"
    )
    after = await shown(browser, approval)

    assert "Question ·" in page.text
    assert "tells it the answer, and does nothing else" in page.text
    assert "<script>alert(1)</script> {{7*7}}" in page.one("h1").text
    assert not [item for item in page.all("script") if "alert" in item.text]
    assert "\u202e" not in page.text
    assert "\\u{202E}" in listing(page)
    button = next(item for item in page.all("button") if "data-submit" in item.attributes)
    assert button.text.startswith("Record my decision about the question “")
    assert "control itself did nothing" in after.text
    assert "carried out" not in after.text
    assert page.one("h1").text.endswith("{{7*7}}”")


async def test_a_question_is_not_compared_with_the_last_one(
    console: Console, browser: Browser
) -> None:
    """Two questions have nothing in common; two orders of one kind have (the negative control)."""
    for action in ("confirm", "release"):
        for number in (1, 2):
            asked = await console.ask(
                action=action, body={"question": f"number {number}"}, sentence="erin asks: “it”"
            )
            page = await shown(browser, asked)
            await browser.decide(asked, "refuse", reason="no")
        assert ("Compared with the last" in page.text) is (action == "release")
