# SPDX-License-Identifier: Apache-2.0
"""Agents' pages and the lever."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from sidecar.containment.receipt import DirectiveState
from sidecar.errors import ErrorReason, RefusedError
from sidecar.model import Level, TargetKind
from sidecar.web.ports import Held
from tests.support.console import Console
from tests.support.console_demo import fill
from tests.unit.web.web_kit import Browser, Page

ORDER: Mapping[str, str] = {
    "level": "freeze",
    "reason": "INC-9: odd transfers",
    "confirm": "billing-bot",
    "ttl": "8h",
    "request_id": "contain-00001",
}


async def pull(browser: Browser, **changes: str) -> Page:
    return await browser.post("/agents/billing-bot/contain", {**ORDER, **changes}, as_="erin")


async def test_the_list_has_the_contained_ones_first(console: Console, browser: Browser) -> None:
    """Where something is wrong is on top."""
    await fill(console)

    page = await browser.get("/agents")

    links = [item.text for item in page.all("a") if "/agents/" in (item.attributes["href"] or "")]
    assert links[0] == "scraper"
    assert "1 contained" in page.text


async def test_an_agent_shows_where_it_stands_and_what_it_did(
    console: Console, browser: Browser
) -> None:
    """Containment, facts, lanes of calls, reach; each picture with its table."""
    await fill(console)

    page = await browser.get("/agents/billing-bot")
    held = await browser.get("/agents/scraper")

    for words in ("Not contained", "olga@corp.example", "env=prod", "gate-1", "tok-5f2c91"):
        assert words in page.text
    assert len(page.all("svg", role="img")) == 2
    assert len(page.all("table")) == 2
    assert "KILL" in held.text
    assert held.all("a", href="/directives/40")
    assert "holdfast release 40" in held.text


async def test_an_order_is_carried_out_as_the_sessions_operator(
    console: Console, browser: Browser
) -> None:
    """Target, level, reason and span as chosen; the answer leads to the receipt."""
    await fill(console)

    sent = await pull(browser)
    page = await browser.get(sent.headers["Location"], as_="erin")

    ((order, caller),) = console.containment.orders
    assert caller.name == "erin"
    assert (order.target.kind, order.target.agent) == (TargetKind.AGENT, "billing-bot")
    assert (order.level, order.ttl) == (Level.FREEZE, timedelta(hours=8))
    assert order.reason == "INC-9: odd transfers"
    assert "Contained: every connected gate enforces it" in page.text
    assert "autofocus" in page.by_id("result").attributes


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"confirm": ""}, "confirm"),
        ({"confirm": "billing-bo"}, "confirm"),
        ({"confirm": "Billing-Bot"}, "confirm"),
        ({"confirm": " billing-bot"}, "confirm"),
        ({"confirm": "scraper"}, "confirm"),
        ({"level": ""}, "level"),
        ({"level": "nuke"}, "level"),
        ({"reason": "   "}, "reason"),
    ],
)
async def test_an_order_needs_the_name_typed_a_level_and_a_reason(
    console: Console, browser: Browser, changes: dict[str, str], field: str
) -> None:
    """Nothing is ordered; the field says why, and what was chosen stays."""
    await fill(console)

    page = await pull(browser, **changes)

    assert page.status == 422
    assert not console.containment.orders
    assert page.by_id(field).attributes["aria-invalid"] == "true"
    assert page.by_id(f"{field}-error")
    if field != "reason":
        assert page.by_id("reason").attributes["value"] == ORDER["reason"]
    assert page.by_id("confirm").attributes.get("value") is None


async def test_an_order_without_the_typed_name_negative_control(
    console: Console, browser: Browser
) -> None:
    """The same order with the name typed is carried out."""
    await fill(console)

    assert (await pull(browser)).status == 303


async def test_an_order_that_waits_leads_to_its_approval(
    console: Console, browser: Browser
) -> None:
    """A protected agent takes a second human: the page of the request is where one lands."""
    await fill(console)
    waits = await console.ask(action="contain", body={"a": 1}, summary="contain ops-bot")
    console.containment.answer = lambda order, caller: Held(approval_id=waits.id)

    sent = await pull(browser)
    page = await browser.get(sent.headers["Location"], as_="erin")

    assert sent.headers["Location"] == f"/approvals/{waits.id}?asked=1"
    assert page.status == 200
    assert "Waits for a decision" in page.text


async def test_an_order_that_is_refused_says_why(console: Console, browser: Browser) -> None:
    """What control refuses is on the page, and nothing that was typed is lost."""
    await fill(console)
    console.containment.error = RefusedError(
        "it covers too much of the fleet", reason=ErrorReason.WIDE_BLAST
    )

    page = await pull(browser)

    assert page.status == 403
    assert "It covers too much of the fleet" in page.text
    assert page.by_id("reason").attributes["value"] == ORDER["reason"]


async def test_a_reason_with_controls_is_not_ordered(console: Console, browser: Browser) -> None:
    """The order's own check speaks, on the page."""
    await fill(console)

    page = await pull(browser, reason="x\x00y")

    assert page.status == 400
    assert "control characters" in page.text
    assert not console.containment.orders


async def test_a_span_that_is_not_offered_is_refused(console: Console, browser: Browser) -> None:
    """The list of spans is the list of spans."""
    await fill(console)

    assert (await pull(browser, ttl="9999d")).status == 400
    assert not console.containment.orders


async def test_a_receipt_names_laggards(console: Console, browser: Browser) -> None:
    """Ordered is not enforced: who has not acknowledged is named."""
    await fill(console)

    page = await browser.get("/directives/40")

    assert "not enforced everywhere" in page.text
    assert "gate-2, gate-3" in page.text
    assert "ended 0.4 s after SIGTERM" in page.text
    twin = await browser.get("/directives/40", headers={"Accept": "application/json"})
    assert twin.json()["laggards"] == ["gate-2", "gate-3"]


async def test_a_released_directive_holds_nothing(console: Console, browser: Browser) -> None:
    """An old receipt does not look like containment."""
    from dataclasses import replace

    await fill(console)
    receipt = console.containment.receipts[40]
    console.containment.receipts[40] = replace(receipt, state=DirectiveState.RELEASED)

    page = await browser.get("/directives/40")

    assert "It was released: it holds nothing any more" in page.text


@pytest.mark.parametrize("epoch", ["0x28", "-40", "40.0", "４０", "9" * 25, "99", "%34%30%20"])
async def test_directives_are_named_by_plain_numbers(
    console: Console, browser: Browser, epoch: str
) -> None:
    """Any other spelling is nothing."""
    await fill(console)

    assert (await browser.get(f"/directives/{epoch}")).status == 404


async def test_an_unknown_agent_is_nothing(browser: Browser) -> None:
    """Neither page nor lever."""
    assert (await browser.get("/agents/ghost")).status == 404
    assert (
        await browser.post("/agents/ghost/contain", {**ORDER, "confirm": "ghost"})
    ).status == 404


async def test_agents_have_a_json_twin(console: Console, browser: Browser) -> None:
    """Programs read what the page shows."""
    await fill(console)

    one = await browser.get("/agents/scraper", headers={"Accept": "application/json"})
    every = await browser.get("/agents", headers={"Accept": "application/json"})

    assert one.json()["level"] == "KILL"
    assert one.json()["directives"][0]["epoch"] == 40
    assert len(every.json()["agents"]) == len(console.fleet.known)


async def test_a_log_that_cannot_be_read_leaves_the_rest(
    console: Console, browser: Browser
) -> None:
    """The lever does not depend on a picture."""
    await fill(console)
    console.logs.is_broken = True

    page = await browser.get("/agents/billing-bot")

    assert page.status == 200
    assert "could not be read" in page.text
    assert page.one("form", action="/agents/billing-bot/contain")
