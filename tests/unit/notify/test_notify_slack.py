# SPDX-License-Identifier: Apache-2.0
"""Slack: one message per approval, and words of an agent that mention, link and mark up nothing."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from sidecar.clock import ManualClock
from sidecar.notify import slack as slack_module
from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.endpoint import Endpoint
from sidecar.notify.notice import NoticeKind
from sidecar.notify.secret import Secret
from sidecar.notify.slack import SlackChannel
from tests.unit.notify.notify_kit import CANARY, HOSTILE, INVISIBLE, OPENED, notice, outcome

TOKEN = f"xoxb-{CANARY}"


def fake_slack(errors=(), *, status: int = 200, headers=None):
    """Return a handler that answers like Slack, with each of *errors* first."""
    left = list(errors)

    async def answer(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if left:
            body = {"ok": False, "error": left.pop(0)}
            return web.json_response(body, status=status, headers=headers)
        if request.path.endswith("/chat.postMessage"):
            return web.json_response({"ok": True, "channel": "C0123", "ts": "1712.000100"})
        return web.json_response({"ok": True})

    return answer


def channel(url: str, *, token: str = TOKEN) -> SlackChannel:
    api = Endpoint(address=Secret(f"{url}/api"), clock=ManualClock())
    return SlackChannel(name="ops", api=api, token=Secret(token), channel="#approvals")


def texts(blocks) -> list[dict]:
    """Return every text object of *blocks*."""
    return [block["text"] for block in blocks]


async def failure(slack: SlackChannel, what=OPENED) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await slack.send(what, None)
    return caught.value


async def test_a_request_is_posted_with_link_and_command_and_without_a_button(serve):
    """One message in the configured channel; nothing in it can be pressed to decide."""
    host = await serve(fake_slack())
    handle = await channel(host.url).send(OPENED, None)
    (heard,) = host.heard
    body = heard.json

    assert heard.path == "/api/chat.postMessage"
    assert body["channel"] == "#approvals"
    assert {block["type"] for block in body["blocks"]} == {"header", "section"}
    shown = [text["text"] for text in texts(body["blocks"])]
    assert f"What: {OPENED.summary}" in shown
    assert f"Fingerprint: {OPENED.words}" in shown
    assert f"<{OPENED.url}|Open the request>" in shown
    assert f"In a terminal: {OPENED.command}" in shown
    assert body["unfurl_links"] is body["unfurl_media"] is False
    assert json.loads(handle) == {"channel": "C0123", "ts": "1712.000100", "outcomes": []}


async def test_the_same_message_is_changed_with_outcome_and_who(serve):
    """A grant and its use: one message, both lines, the deadline gone."""
    host = await serve(fake_slack())
    slack = channel(host.url)
    handle = await slack.send(OPENED, None)
    handle = await slack.send(outcome(), handle)
    handle = await slack.send(outcome(state="CONSUMED", detail="used by decision dec_1"), handle)
    _, granted, used = host.heard

    assert [heard.path for heard in (granted, used)] == ["/api/chat.update"] * 2
    assert used.json["ts"] == "1712.000100"
    assert used.json["channel"] == "C0123"
    shown = [text["text"] for text in texts(used.json["blocks"])]
    assert shown[0] == "Granted and used [HIGH]"
    assert shown[1:3] == [
        "Granted [HIGH]: granted by alice on the console",
        "Granted and used [HIGH]: used by decision dec_1",
    ]
    assert not any("Refused by itself" in text for text in shown)


async def test_updating_twice_with_one_outcome_says_it_once(serve):
    """At least once must not read like two grants."""
    host = await serve(fake_slack())
    slack = channel(host.url)
    handle = await slack.send(outcome(), await slack.send(OPENED, None))
    handle = await slack.send(outcome(), handle)

    assert len(json.loads(handle)["outcomes"]) == 1


@pytest.mark.parametrize("kind", [NoticeKind.REMINDER, NoticeKind.ESCALATION])
async def test_a_reminder_is_a_reply_that_the_channel_sees(serve, kind):
    """Changing a message tells nobody; a reply does, and the handle stays."""
    host = await serve(fake_slack())
    slack = channel(host.url)
    handle = await slack.send(OPENED, None)
    again = await slack.send(notice(kind), handle)

    assert host.heard[1].path == "/api/chat.postMessage"
    assert host.heard[1].json["thread_ts"] == "1712.000100"
    assert host.heard[1].json["reply_broadcast"] is True
    assert again == handle


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message"])
async def test_a_message_that_is_gone_is_posted_anew(serve, error):
    """Somebody deleted it: people still learn what happened, and who did it."""
    host = await serve(fake_slack([error]))
    slack = channel(host.url)
    handle = json.dumps({"channel": "C9", "ts": "1.2", "outcomes": ["Granted by alice"]})
    again = await slack.send(outcome(state="CONSUMED", detail=""), handle)

    assert [heard.path for heard in host.heard] == ["/api/chat.update", "/api/chat.postMessage"]
    assert json.loads(again)["ts"] == "1712.000100"
    assert json.loads(again)["outcomes"] == ["Granted by alice", "Granted and used [HIGH]"]


@pytest.mark.parametrize("handle", ["", "x", "[]", "{}", '{"channel":"C1"}', "null"])
async def test_a_handle_that_is_none_means_a_new_message(serve, handle):
    """Whatever an older release left there."""
    host = await serve(fake_slack())
    await channel(host.url).send(outcome(), handle)

    assert host.heard[0].path == "/api/chat.postMessage"


# -- hostile words --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [NoticeKind.OPENED, NoticeKind.REMINDER, NoticeKind.DECIDED])
async def test_d15_words_of_an_agent_mention_link_and_mark_up_nothing(serve, kind):
    """In every call and field: plain text, escaped, invisible characters shown, no automatic link."""
    host = await serve(fake_slack())
    slack = channel(host.url)
    handle = await slack.send(OPENED, None)
    evil = notice(
        kind, summary=HOSTILE, reason=HOSTILE, agent=HOSTILE, tool=HOSTILE, words=HOSTILE,
        command=HOSTILE, detail=HOSTILE, url=HOSTILE, approvers=(HOSTILE,), state="GRANTED",
    )  # fmt: skip
    await slack.send(evil, handle)
    body = host.heard[1].json
    found = texts(body["blocks"])

    assert all(text["type"] == "plain_text" and text["emoji"] is False for text in found)
    for text in found:
        assert not set("<>") & set(text["text"])
        assert not set(INVISIBLE) & set(text["text"])
        assert len(text["text"]) <= 3000
    assert any("&lt;!channel&gt;" in text["text"] for text in found)
    assert any("&amp;lt;" in text["text"] for text in found)
    assert body["parse"] == "none"
    assert body["link_names"] is False
    assert "evil" not in body["text"]


async def test_d15_words_of_an_agent_mention_nothing_negative_control(serve, monkeypatch):
    """Without the escapes everybody in the channel would be called."""
    monkeypatch.setattr(slack_module, "_escaped", lambda text, limit: text[:limit])
    host = await serve(fake_slack())
    await channel(host.url).send(notice(summary=HOSTILE), None)

    assert "<!channel>" in str(host.heard[0].json["blocks"])


async def test_a_long_text_of_escapes_is_cut_between_them(serve):
    """Slack counts characters after escaping, and half an escape is another text."""
    host = await serve(fake_slack())
    await channel(host.url).send(notice(summary="&" * 5000, tier="&" * 128), None)

    for text in texts(host.heard[0].json["blocks"]):
        assert len(text["text"]) <= 3000
        assert "&" not in text["text"].replace("&amp;", "")
    assert len(host.heard[0].json["blocks"][0]["text"]["text"]) <= 150


# -- what Slack says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ("invalid_auth", Fault.REFUSED),
        ("not_in_channel", Fault.REFUSED),
        ("channel_not_found", Fault.REFUSED),
        ("ratelimited", Fault.BUSY),
        ("internal_error", Fault.BROKEN),
        ("msg_too_long", Fault.REJECTED),
        ("something_new", Fault.REFUSED),
    ],
)
async def test_what_an_error_means(serve, error, fault):
    """Slack says no with status 200; the code decides what follows."""
    host = await serve(fake_slack([error]))
    found = await failure(channel(host.url))

    assert found.fault is fault
    assert error in str(found)


async def test_a_rate_limit_says_when_to_come_back(serve):
    """Status 429 with Retry-After, as Slack does it."""
    host = await serve(fake_slack(["ratelimited"], status=429, headers={"Retry-After": "30"}))
    found = await failure(channel(host.url))

    assert (found.fault, found.retry_after_s) == (Fault.BUSY, 30)


@pytest.mark.parametrize(
    "body", ["<html>login</html>", "[]", '"ok"', "[" * 50_000, '{"ok": "true"}', '{"ok": 1}', ""]
)
async def test_what_answers_is_not_slack(serve, body):
    """A portal that says 200 to everything has delivered nothing."""

    async def answer(request):
        return web.Response(text=body)

    assert (await failure(channel((await serve(answer)).url))).fault is Fault.REFUSED


@pytest.mark.parametrize("error", [f"oops {CANARY}", CANARY.upper(), 7, None, "a" * 500, ["x"]])
async def test_p9_only_a_code_of_slacks_form_is_repeated(serve, error):
    """Whatever else stands there is not ours to log."""
    host = await serve(fake_slack([error]))
    found = await failure(channel(host.url))

    assert CANARY not in str(found).lower()
    assert "an error without a code" in str(found)


async def test_a_probe_proves_the_token(serve):
    """``auth.test`` writes nothing; a token that was revoked is known before it is needed."""
    host = await serve(fake_slack())
    await channel(host.url).probe()
    with pytest.raises(DeliveryError, match="invalid_auth") as caught:
        await channel(host.url, token="xoxb-other").probe()

    assert {heard.path for heard in host.heard} == {"/api/auth.test"}
    assert "token_file" in caught.value.hint


async def test_a_gateway_that_fails_has_delivered_nothing(serve):
    """Whatever its body says."""

    async def answer(request):
        return web.json_response({"ok": True, "channel": "C1", "ts": "1.2"}, status=502)

    assert (await failure(channel((await serve(answer)).url))).fault is Fault.BROKEN


async def test_an_outcome_is_said_once(serve):
    """As the line of the outcome, not again among the facts."""
    host = await serve(fake_slack())
    await channel(host.url).send(outcome(), None)

    assert str(host.heard[0].json["blocks"]).count("granted by alice") == 1


@pytest.mark.parametrize(
    ("name", "ts"),
    [("C1/../x", "1.2"), (["C1"], "1.2"), (None, "1.2"), ("C1", "1"), ("C1", 1.2), ("C1", None)],
)
async def test_an_answer_without_a_message_gives_no_handle(serve, name, ts):
    """Nothing that Slack did not say in its own form is used later."""

    async def answer(request):
        return web.json_response({"ok": True, "channel": name, "ts": ts})

    assert await channel((await serve(answer)).url).send(OPENED, None) == ""
