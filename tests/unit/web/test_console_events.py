# SPDX-License-Identifier: Apache-2.0
"""Server-sent events: that something changed, told to whom it concerns while they are signed in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from sidecar.approvals.values import Verdict
from sidecar.clock import ManualClock
from sidecar.model import Role
from sidecar.web.app import HUB
from sidecar.web.events import EventHub
from tests.support.console import Console
from tests.support.console import console as serve


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    """A console whose streams beat fast."""
    async with serve(
        clock=ManualClock(), directory=tmp_path, event_heartbeat_s=0.05, max_event_streams=5
    ) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


class Stream:
    """An open stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.status = answer.status

    async def next(self, *, is_beat_wanted: bool = False) -> str:
        """Return the next event as it is on the wire; beats only if wanted. Empty at the end."""
        async with asyncio.timeout(10):
            while True:
                lines: list[str] = []
                while line := (await self.answer.content.readline()).decode().rstrip("\n"):
                    lines.append(line)
                text = "\n".join(lines)
                if not text or is_beat_wanted or not (text == ": beat" or "retry:" in text):
                    return text


@asynccontextmanager
async def stream(
    console: Console, http: aiohttp.ClientSession, name: str = "alice"
) -> AsyncIterator[Stream]:
    """Open a stream as *name*, and wait until the console knows of it."""
    url = console.url.replace("localhost", "127.0.0.1") + "/events"
    headers = {
        "Cookie": console.headers(name)["Cookie"],
        "Host": console.url.removeprefix("http://"),
        "Accept": "text/event-stream",
    }
    async with http.get(url, headers=headers) as answer:
        opened = Stream(answer)
        if opened.status == 200:
            assert "retry:" in await opened.next(is_beat_wanted=True)
        yield opened


async def test_a_change_is_told_without_a_word_of_anybody(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """Id, state and version; nothing that an agent wrote."""
    async with stream(console, http) as events:
        approval = await console.hold(arguments={"note": "\ndata: fake\n\n"}, reason="x\ndata: y")
        opened = await events.next()
        await console.vote(approval, "bob", Verdict.REFUSE, "event: end\n\n".strip())
        refused = await events.next()

    assert opened == (
        f'event: approval\ndata: {{"id":"{approval.id}","state":"PENDING","version":1}}'
    )
    assert refused == (
        f'event: approval\ndata: {{"id":"{approval.id}","state":"REFUSED","version":2}}'
    )


async def test_changes_of_containment_are_told(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """With the agent's id; what is no id is not told."""
    async with stream(console, http, "erin") as events:
        console.fleet.changed("evil\n\ndata: x")
        console.fleet.changed("billing-bot")

        assert await events.next() == 'event: agent\ndata: {"id":"billing-bot"}'


async def test_nobody_is_told_of_what_they_may_not_see(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """Olga decides calls, not releases; the auditor sees both."""
    async with stream(console, http, "olga") as hers, stream(console, http, "dave") as his:
        release = await console.ask(action="release", body={"e": 1}, summary="x", requester="bob")
        call = await console.hold(arguments={"n": 1})

        assert call.id in await hers.next()
        assert release.id in await his.next()
        assert call.id in await his.next()


async def test_nobody_is_told_of_what_they_may_not_see_negative_control(
    console: Console, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the look, the release is told to her as well."""
    monkeypatch.setattr(console.approvals, "may_see", lambda approval, caller: True)
    async with stream(console, http, "olga") as hers:
        release = await console.ask(action="release", body={"e": 1}, summary="x", requester="bob")

        assert release.id in await hers.next()


async def test_a_stream_ends_with_its_session(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """Signed out, or no operator any more: told once, then nothing."""
    async with stream(console, http) as events:
        console.sessions.end_human(console.people["alice"].human_id)

        assert await events.next() == "event: end\ndata: {}"
        assert await events.next() == ""


async def test_a_stream_ends_when_its_operator_is_gone(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """Nobody who was removed hears of the next change."""
    async with stream(console, http) as events:
        console.people.pop("alice")
        await console.hold(arguments={"n": 1})

        assert await events.next() == "event: end\ndata: {}"


async def test_a_stream_keeps_no_session_alive(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """A page that is left open is no human who is there."""
    async with stream(console, http) as events:
        told = []
        for _ in range(3):
            console.clock.advance(seconds=700)
            told.append(await events.next(is_beat_wanted=True))

    assert told == [": beat", ": beat", "event: end\ndata: {}"]


async def test_strangers_have_no_stream(console: Console, http: aiohttp.ClientSession) -> None:
    """Nor a redirect that a browser would follow for ever."""
    url = console.url.replace("localhost", "127.0.0.1") + "/events"
    headers = {"Host": console.url.removeprefix("http://"), "Accept": "text/event-stream"}

    async with http.get(url, headers=headers) as answer:
        assert answer.status == 401


async def test_watchers_are_counted_by_human_and_role(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """Two pages of one person are one; who is gone does not count."""
    hub: EventHub = console.app[HUB]
    async with stream(console, http), stream(console, http), stream(console, http, "dave"):
        assert hub.watchers() == 2
        assert hub.watchers(Role.APPROVE) == 1
    async with asyncio.timeout(10):
        while hub.watchers():
            await asyncio.sleep(0)

    assert hub.watchers(Role.AUDIT_READ) == 0


async def test_the_oldest_stream_of_a_session_gives_way(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """A browser has few connections; its newest pages are the ones that are looked at."""
    async with (
        stream(console, http) as first,
        stream(console, http),
        stream(console, http),
        stream(console, http),
        stream(console, http) as fifth,
    ):
        assert await first.next() == "event: displaced\ndata: {}"
        assert await first.next() == ""
        approval = await console.hold(arguments={"n": 1})
        assert approval.id in await fifth.next()


async def test_there_are_not_more_streams_than_the_console_bears(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """Whoever comes last is told to try later."""
    async with (
        stream(console, http, "alice"),
        stream(console, http, "bob"),
        stream(console, http, "carol"),
        stream(console, http, "dave"),
        stream(console, http, "erin"),
        stream(console, http, "olga") as last,
    ):
        assert last.status == 429
        assert last.answer.headers["Retry-After"] == "30"


async def test_a_slow_reader_is_told_that_it_missed_something(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """More changes than fit are not kept for anybody; the page loads again."""
    async with stream(console, http) as events:
        for number in range(200):
            console.fleet.changed(f"bot-{number}")

        assert await events.next() == "event: missed\ndata: {}"
        assert "bot-0" in await events.next()


async def test_the_console_ends_its_streams_when_it_ends(
    console: Console, http: aiohttp.ClientSession
) -> None:
    """Nobody waits for a browser."""
    async with stream(console, http) as events:
        await console.app[HUB].close()

        assert await events.next() == ""


async def test_streams_carry_the_headers(console: Console, http: aiohttp.ClientSession) -> None:
    """As every answer does."""
    async with stream(console, http) as events:
        headers = events.answer.headers

    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
