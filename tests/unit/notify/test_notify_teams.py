# SPDX-License-Identifier: Apache-2.0
"""Teams: cards in which words of an agent are words."""

from __future__ import annotations

import pytest
from aiohttp import web

from sidecar.clock import ManualClock
from sidecar.notify import teams as teams_module
from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.endpoint import Endpoint
from sidecar.notify.secret import Secret
from sidecar.notify.teams import TeamsChannel
from tests.unit.notify.notify_kit import CANARY, HOSTILE, INVISIBLE, OPENED, notice, outcome


def channel(url: str) -> TeamsChannel:
    address = Secret(f"{url}/workflows/{CANARY}?sig=%2F{CANARY}")
    return TeamsChannel(name="soc", endpoint=Endpoint(address=address, clock=ManualClock()))


def card(heard):
    (attachment,) = heard.json["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    return attachment["content"]


def lines(content) -> list[str]:
    return ["".join(run["text"] for run in block["inlines"]) for block in content["body"]]


async def test_a_request_is_a_card_whose_one_action_opens_the_page(serve):
    """What, who, risk and expiry, the link, the command; nothing decides."""
    host = await serve()
    handle = await channel(host.url).send(OPENED, None)
    content = card(host.heard[0])

    assert handle == ""
    assert host.heard[0].json["type"] == "message"
    assert host.heard[0].path.endswith(f"?sig=%2F{CANARY}")
    assert content["type"] == "AdaptiveCard"
    assert lines(content)[:2] == ["Approval needed [HIGH]", f"What: {OPENED.summary}"]
    assert f"In a terminal: {OPENED.command}" in lines(content)
    assert content["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open the request", "url": OPENED.url}
    ]


async def test_an_outcome_is_a_message_of_its_own(serve):
    """A webhook cannot change what it posted; people still learn who decided."""
    host = await serve()
    await channel(host.url).send(outcome(), "")

    assert lines(card(host.heard[0]))[0] == "Granted [HIGH]"
    assert "What happened: granted by alice on the console" in lines(card(host.heard[0]))


async def test_d15_words_of_an_agent_are_no_markdown_mention_date_or_link(serve):
    """They stand in runs, which read no Markdown; nothing names a mention; dates are broken up."""
    host = await serve()
    await channel(host.url).send(
        notice(
            summary=HOSTILE, reason=HOSTILE, agent=HOSTILE, tool=HOSTILE, words=HOSTILE,
            command=HOSTILE, detail=HOSTILE, url=HOSTILE, approvers=(HOSTILE,), tier="HIGH",
        ),
        None,
    )  # fmt: skip
    content = card(host.heard[0])
    runs = [run for block in content["body"] for run in block["inlines"]]

    assert {block["type"] for block in content["body"]} == {"RichTextBlock"}
    assert {run["type"] for run in runs} == {"TextRun"}
    assert not any("selectAction" in run for run in runs)
    assert content["actions"] == []
    assert "msteams" not in content
    for run in runs:
        assert not set(INVISIBLE) & set(run["text"])
        assert "{{" not in run["text"]
    assert any("[click](https://evil.test)" in run["text"] for run in runs)
    assert len(host.heard[0].body) < 28_000


async def test_d15_words_of_an_agent_are_no_date_negative_control(serve, monkeypatch):
    """Left as they are, a client would rewrite them."""
    monkeypatch.setattr(teams_module, "_inert", lambda text: text)
    host = await serve()
    await channel(host.url).send(notice(summary=HOSTILE), None)

    assert b"{{DATE(" in host.heard[0].body


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"Webhook message delivery failed with error: 429 {CANARY}", Fault.BUSY),
        (f"Webhook message delivery failed with error: 403 {CANARY}", Fault.BROKEN),
    ],
)
async def test_a_failure_that_is_said_with_200_is_one(serve, text, fault):
    """Connectors do that; the text is not repeated."""

    async def answer(request):
        return web.Response(text=text)

    with pytest.raises(DeliveryError) as caught:
        await channel((await serve(answer)).url).send(OPENED, None)

    assert caught.value.fault is fault
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(("status", "text"), [(200, "1"), (202, ""), (200, "")])
async def test_what_counts_as_delivered(serve, status, text):
    """Connectors say 200 and ``1``, workflows 202."""

    async def answer(request):
        return web.Response(status=status, text=text)

    assert await channel((await serve(answer)).url).send(OPENED, None) == ""


@pytest.mark.parametrize(
    ("status", "fault"), [(404, Fault.REFUSED), (429, Fault.BUSY), (502, Fault.BROKEN)]
)
async def test_what_does_not_count_as_delivered(serve, status, fault):
    """A workflow that was switched off, one that is throttled, a gateway in between."""

    async def answer(request):
        return web.Response(status=status)

    with pytest.raises(DeliveryError) as caught:
        await channel((await serve(answer)).url).send(OPENED, None)

    assert caught.value.fault is fault


async def test_a_probe_posts_nothing(serve):
    """There is no way to ask without posting, so it only connects."""
    host = await serve()
    await channel(host.url).probe()
    with pytest.raises(DeliveryError, match="Connection refused"):
        await channel("http://127.0.0.1:1").probe()

    assert host.heard == []
