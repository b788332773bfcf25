# SPDX-License-Identifier: Apache-2.0
"""The logs' pages: search, one decision, verification, export."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from sidecar.errors import EnvironmentFailure
from sidecar.web.ports import LogReport, PolicyView, VerifyReport
from tests.support.console import DIGEST, Console
from tests.support.console_demo import fill
from tests.unit.web.web_kit import Browser, Page


def rows(page: Page) -> list[str]:
    """Return the entries of the table."""
    return [item.text for item in page.all("tr")][1:]


async def test_a_search_finds_by_every_field(console: Console, browser: Browser) -> None:
    """Agent, tool, kind, verdict, decision, time, and the log they are in."""
    for number in range(3):
        console.logs.add(
            kind="decision", agent=f"a{number}", tool=f"t{number}",
            effect="DENY" if number else "ALLOW", decision_id=f"dec_{number}",
            time=f"2026-11-22T10:0{number}:00.000000Z",
        )  # fmt: skip
    console.logs.add("gate-1", kind="decision", agent="a0")
    counts = {
        query: len(rows(await browser.get(f"/audit?{query}")))
        for query in (
            "",
            "agent=a1",
            "tool=t2",
            "kind=decision",
            "kind=other",
            "effect=DENY",
            "decision_id=dec_0",
            "since=2026-11-22T10:01",
            "until=2026-11-22T10:01",
            "since=2026-11-22T10:01&until=2026-11-22T10:02&effect=DENY",
            "log=gate-1",
            "agent=a1&tool=t2",
        )
    }

    assert list(counts.values()) == [3, 1, 1, 3, 0, 2, 1, 2, 1, 1, 1, 0]


async def test_a_search_keeps_what_was_typed_and_pages(console: Console, browser: Browser) -> None:
    """The form comes back filled in, and older entries are of the same search."""
    for number in range(120):
        console.logs.add(kind="decision", agent="bot" if number % 2 else "other", n=number)

    page = await browser.get("/audit?agent=bot")
    older = next(item for item in page.all("a") if item.text == "Older entries")
    second = await browser.get(older.attributes["href"] or "")

    assert page.by_id("agent").attributes["value"] == "bot"
    assert (len(rows(page)), len(rows(second))) == (50, 10)
    assert second.by_id("agent").attributes["value"] == "bot"
    assert any(item.text == "Newest" for item in second.all("a"))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("until=2026-13-01T00:00", "until"),
        ("agent=" + "x" * 300, "agent"),
        ("agent=a&agent=b", "agent"),
    ],
)
async def test_a_mistake_in_a_search_is_described(browser: Browser, query: str, field: str) -> None:
    """Nothing is searched, and the field says why."""
    page = await browser.get(f"/audit?{query}")

    assert page.status == 400
    assert page.by_id(field).attributes["aria-describedby"] == f"{field}-error"
    assert "nothing was searched" in page.text


async def test_a_log_that_is_not_ours_is_not_read(browser: Browser) -> None:
    """A name in an address opens no file."""
    for name in ("../../etc/passwd", "%2e%2e%2f", "nope"):
        assert (await browser.get(f"/audit?log={name}")).status == 400
        assert (await browser.get(f"/audit/export.jsonl?log={name}")).status == 400


async def test_a_decision_shows_entry_policies_and_proof(
    console: Console, browser: Browser
) -> None:
    """What was decided, why, on which inputs, what came of it, and how to prove that it is logged."""
    await fill(console)

    page = await browser.get(f"/decisions/dec_{7:032x}")

    for words in (
        "billing-bot asked for crm.read",
        "policies/approvals.cedar:12",
        "args.amount",
        "hmac:5d1f7a90",
        "refund booked",
        "holdfast audit prove 6 --log gate-1 --json",
    ):
        assert words in " ".join(page.text.split()), words


async def test_a_decision_under_other_policies_says_so(console: Console, browser: Browser) -> None:
    """The policy text on the page is today's."""
    console.explain.policies["p"] = PolicyView(id="p", file="f", line=1, effect="permit")
    console.logs.add(kind="decision", decision_id="dec_1", policies=["p"], policy_digest="0" * 64)
    console.logs.add(kind="decision", decision_id="dec_2", policies=["p"], policy_digest=DIGEST)

    old, new = await browser.get("/decisions/dec_1"), await browser.get("/decisions/dec_2")

    assert "how they stand now" in old.text
    assert "how they stand now" not in new.text


async def test_a_decision_that_no_log_holds_is_nothing(browser: Browser) -> None:
    """With a hint that an entry takes a moment to show."""
    page = await browser.get("/decisions/dec_unknown")

    assert page.status == 404
    assert "checkpoint" in page.text


async def test_an_entry_of_any_shape_is_shown(console: Console, browser: Browser) -> None:
    """A log may hold what we did not write: nothing in it breaks a page."""
    console.logs.add(
        kind="decision", decision_id="dec_9", agent=["x"], tool={"a": 1}, effect=7, reasons="no list",
        policies="p", arguments="text", time=5, nested={"a": [{"b": [1, {"c": True}]}]},
    )  # fmt: skip

    page = await browser.get("/decisions/dec_9")
    table = await browser.get("/audit")

    assert (page.status, table.status) == (200, 200)
    assert "nested.a[0].b[1].c" in page.text


async def test_verification_says_which_log_is_broken(console: Console, browser: Browser) -> None:
    """A pass is a pass of every log; no log is no pass."""
    console.logs.reports = [
        LogReport(log="control", is_ok=True, size=5),
        LogReport(log="gate-1", is_ok=False, size=9, detail="entry 7 does not hash"),
    ]
    broken = await browser.post("/audit/verify", {})
    console.logs.reports = console.logs.reports[:1]
    whole = await browser.post("/audit/verify", {})
    console.logs.reports = []
    empty = await browser.post("/audit/verify", {})

    assert broken.by_id("result").text == "A log does not verify"
    assert "entry 7 does not hash" in broken.text
    assert whole.by_id("result").text == "Every log verifies"
    assert empty.by_id("result").text == "There is no log to verify"
    twin = await browser.post("/audit/verify", {}, headers={"Accept": "application/json"})
    assert twin.json()["ok"] is False


async def test_one_verification_runs_at_a_time(
    console: Console, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd of clicks is one piece of work."""
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> VerifyReport:
        started.set()
        await go_on.wait()
        return VerifyReport(logs=(), time_ns=1)

    monkeypatch.setattr(console.logs, "verify", slow)
    first = asyncio.create_task(browser.post("/audit/verify", {}))
    await started.wait()

    second = await browser.post("/audit/verify", {})
    go_on.set()

    assert second.status == 429
    assert (await first).status == 200


async def test_an_export_is_json_lines_of_the_search(console: Console, browser: Browser) -> None:
    """Oldest first, as a file, with the same filter."""
    for number in range(5):
        console.logs.add(kind="decision", agent=f"bot-{number % 2}", n=number)

    page = await browser.get("/audit/export.jsonl?agent=bot-0")

    assert [json.loads(line)["n"] for line in page.body.splitlines()] == [0, 2, 4]
    assert page.headers["Content-Disposition"].startswith('attachment; filename="holdfast-audit-')
    assert page.headers["Content-Type"].startswith("application/x-ndjson")


@pytest.mark.parametrize("error", [EnvironmentFailure("the disk is gone"), ValueError("a bug")])
async def test_an_export_that_breaks_off_does_not_look_complete(
    console: Console, browser: Browser, error: Exception
) -> None:
    """The connection ends without its end, so no reader takes half for all."""
    for number in range(5):
        console.logs.add(kind="decision", n=number)
    console.logs.breaks_after, console.logs.breaks_with = 3, error

    with pytest.raises(aiohttp.ClientError):
        await browser.get("/audit/export.jsonl")


async def test_an_export_that_breaks_off_negative_control(
    console: Console, browser: Browser
) -> None:
    """A whole one ends as it should, also an empty one."""
    empty = await browser.get("/audit/export.jsonl")
    console.logs.add(kind="decision", n=1)
    whole = await browser.get("/audit/export.jsonl")

    assert (empty.status, empty.body) == (200, "")
    assert len(whole.body.splitlines()) == 1


async def test_an_export_that_cannot_begin_is_a_page(console: Console, browser: Browser) -> None:
    """What fails at once is said in words."""
    console.logs.is_broken = True

    page = await browser.get("/audit/export.jsonl")

    assert page.status == 503
    assert "cannot be read" in page.text


async def test_searches_and_decisions_have_json_twins(console: Console, browser: Browser) -> None:
    """Entries as the log holds them."""
    await fill(console)
    accept = {"Accept": "application/json"}

    found = await browser.get("/audit?kind=contain", headers=accept)
    one = await browser.get(f"/decisions/dec_{7:032x}", headers=accept)

    assert found.json()["entries"][0]["entry"]["level"] == "KILL"
    assert one.json()["decision"]["entry"]["tool"] == "crm.read"
    assert one.json()["policies"][0]["line"] == 12
