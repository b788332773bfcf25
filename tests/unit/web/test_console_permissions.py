# SPDX-License-Identifier: Apache-2.0
"""Who gets which page, and that what is not for somebody looks as if it were not there."""

from __future__ import annotations

import pytest

from sidecar.approvals.values import Approval
from sidecar.model import Role
from tests.support.console import Console
from tests.support.console_demo import fill
from tests.unit.web.web_kit import Browser, Page

NO_SUCH = "apr_" + "0" * 32
MATRIX = {
    # path: who gets it
    "/": {"alice", "bob", "carol", "dave", "erin", "olga", "nobody"},
    "/agents": {"alice", "bob", "carol", "dave", "erin", "olga"},
    "/agents/billing-bot": {"alice", "bob", "carol", "dave", "erin", "olga"},
    "/directives/40": {"alice", "bob", "carol", "dave", "erin", "olga"},
    "/audit": {"alice", "carol", "dave"},
    "/audit/export.jsonl": {"alice", "carol", "dave"},
    f"/decisions/dec_{7:032x}": {"alice", "carol", "dave"},
}
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "olga", "nobody")


async def test_pages_are_for_the_roles_that_they_are_for(
    console: Console, browser: Browser
) -> None:
    """The whole matrix of people and pages."""
    await fill(console)

    found = {
        path: {name for name in PEOPLE if (await browser.get(path, as_=name)).status == 200}
        for path in MATRIX
    }

    assert found == MATRIX


async def test_approvals_are_for_role_requester_and_auditors(
    console: Console, browser: Browser
) -> None:
    """A call for approvers, a release for those who may release; both for auditors."""
    call = await console.hold(arguments={"amount": 5})
    release = await console.ask(action="release", body={"e": 1}, summary="release 1")

    seen = {
        item.request.kind.value: {
            name
            for name in PEOPLE
            if (await browser.get(f"/approvals/{item.id}", as_=name)).status == 200
        }
        for item in (call, release)
    }

    assert seen == {
        "call": {"alice", "bob", "carol", "dave", "olga"},
        "action": {"alice", "bob", "erin", "carol", "dave"},
    }


async def test_only_the_lever_s_roles_are_offered_the_lever(
    console: Console, browser: Browser
) -> None:
    """Others see the agent without the form, and their order is refused."""
    await fill(console)
    form = {"level": "kill", "reason": "x", "confirm": "billing-bot", "request_id": "contain-0001"}

    offered, obeyed = set(), set()
    for name in PEOPLE:
        page = await browser.get("/agents/billing-bot", as_=name)
        if page.all("form", action="/agents/billing-bot/contain"):
            offered.add(name)
        sent = await browser.post("/agents/billing-bot/contain", form, as_=name)
        if sent.status == 303:
            obeyed.add(name)

    assert offered == obeyed == {"alice", "erin"}
    assert {caller.name for _, caller in console.containment.orders} == {"alice", "erin"}


async def test_break_glass_alone_may_pull_the_lever(console: Console, browser: Browser) -> None:
    """Either of the two roles is enough."""
    await fill(console)
    console.people["olga"] = type(console.people["olga"])(
        name="olga",
        kind=console.people["olga"].kind,
        human_id=console.people["olga"].human_id,
        roles=frozenset({Role.BREAK_GLASS}),
        identity=console.people["olga"].identity,
    )
    form = {"level": "kill", "reason": "x", "confirm": "billing-bot", "request_id": "contain-0001"}

    page = await browser.post("/agents/billing-bot/contain", form, as_="olga")

    assert page.status == 303


async def test_verification_is_for_auditors(console: Console, browser: Browser) -> None:
    """It costs work, and its report names logs."""
    for name in PEOPLE:
        page = await browser.post("/audit/verify", {}, as_=name)
        assert page.status == (200 if name in ("alice", "carol", "dave") else 403)
    assert console.logs.verify_count == 3


async def test_navigation_offers_what_one_may_open(console: Console, browser: Browser) -> None:
    """No link leads to a refusal."""
    for name in PEOPLE:
        page = await browser.get("/", as_=name)
        start = next(i for i, item in enumerate(page.elements) if item.tag == "nav")
        links = [
            item.attributes["href"] or ""
            for item in page.elements[start : start + 20]
            if item.tag == "a"
        ]
        for link in links:
            assert (await browser.get(link, as_=name)).status == 200, (name, link)


# --- D26 ------------------------------------------------------------------------------------------


def faceless(page: Page) -> tuple[int, str, dict[str, str]]:
    """Return all of an answer that somebody could tell it from another by."""
    headers = {name: value for name, value in page.headers.items() if name != "Date"}
    return page.status, page.body, headers


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_d26_a_foreign_approval_looks_like_none(
    console: Console, browser: Browser, accept: str
) -> None:
    """Missing, malformed and somebody else's: one and the same answer, to GET and to POST."""
    theirs = await console.ask(action="release", body={"e": 1}, summary="x", requester="bob")
    headers = {"Accept": accept}
    form = {"verdict": "refuse", "fingerprint": "0" * 64, "request_id": "guess-000001"}
    answers, refusals = [], []
    for name in (theirs.id, NO_SUCH, "x", "apr_" + "f" * 32, theirs.id[:-1], theirs.id.upper()):
        answers.append(await browser.get(f"/approvals/{name}", as_="olga", headers=headers))
        refusals.append(
            await browser.post(f"/approvals/{name}/decision", form, as_="olga", headers=headers)
        )

    assert {answer.status for answer in (*answers, *refusals)} == {404}
    assert len({str(faceless(answer)) for answer in answers}) == 1
    assert len({str(faceless(answer)) for answer in refusals}) == 1
    assert not console.desk.ballots


async def test_d26_a_foreign_approval_negative_control(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the look at who may see it, the id alone opens it."""
    theirs = await console.ask(action="release", body={"e": 1}, summary="x", requester="bob")
    monkeypatch.setattr(console.approvals, "may_see", lambda approval, caller: True)

    assert (await browser.get(f"/approvals/{theirs.id}", as_="olga")).status == 200


async def test_d26_foreign_approvals_are_in_nobody_s_list(
    console: Console, browser: Browser
) -> None:
    """Neither in the inbox, nor counted, nor among earlier decisions."""
    theirs = await console.ask(action="release", body={"e": 1}, summary="x", requester="bob")

    page = await browser.get("/", as_="olga")
    twin = await browser.get("/", as_="olga", headers={"Accept": "application/json"})

    assert theirs.id not in page.body
    assert twin.json() == {"mine": [], "others": [], "decided": [], "next_before": None}


async def test_d26_ids_are_random(console: Console) -> None:
    """128 bits each; none tells of another."""
    made: list[Approval] = [
        await console.hold(arguments={"n": number}, agent=f"bot-{number}") for number in range(20)
    ]

    digits = [item.id.removeprefix("apr_") for item in made]
    assert {len(item) for item in digits} == {32}
    assert len({item[:8] for item in digits}) == 20


async def test_when_nobody_knows_the_operators_nothing_is_shown(
    console: Console, browser: Browser
) -> None:
    """Fail closed: no list of operators, no pages."""
    approval = await console.hold(arguments={"amount": 987654})
    console.directory.is_broken = True

    page = await browser.get(f"/approvals/{approval.id}")

    assert page.status == 503
    assert "987654" not in page.body
