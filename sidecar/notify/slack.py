# SPDX-License-Identifier: Apache-2.0
"""Tells a Slack channel, and changes its message when something has been decided.

Laws:

1. Words that are not ours stand in ``plain_text`` objects alone, with emoji names off and ``&``,
   ``<`` and ``>`` escaped as Slack wants it, so there is no ``<!channel>``, no ``<@user>``, no link
   and no markup in them. The preview text holds our words alone. ``parse`` and ``link_names`` are
   switched off in every call: ``chat.update`` has other defaults than ``chat.postMessage``.
2. Nothing is unfurled: Slack's servers fetch no link of ours.
3. There is no button. The message links to the page, where a person signs in and decides.
4. One approval, one message. An outcome changes it in place and keeps earlier outcomes; reminders
   and escalations are replies in its thread that the channel sees too. A message that is gone is
   posted anew.
5. What Slack answers is not repeated but for an error code of Slack's own form.

Handle (compatibility: keys may be added): ``{"channel": "C…", "ts": "…", "outcomes": ["…"]}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.endpoint import Answer, Endpoint
from sidecar.notify.notice import Notice, NoticeKind
from sidecar.notify.secret import Secret
from sidecar.notify.wording import Message, plain, wording_of

__all__ = ["SLACK_API", "SlackChannel"]

SLACK_API: Final = "https://slack.com/api"
_MAX_TITLE: Final = 150
_MAX_SECTION: Final = 2900
_MAX_OUTCOMES: Final = 5
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch
_TS: Final = re.compile(r"[0-9]{1,20}\.[0-9]{1,10}").fullmatch
_CHANNEL_ID: Final = re.compile(r"[A-Z0-9]{1,32}").fullmatch
_QUIET: Final[Mapping[str, Any]] = {"parse": "none", "link_names": False}
_GONE: Final = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
)
_BROKEN: Final = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)
_REJECTED: Final = frozenset(
    {"msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "no_text",
     "invalid_arguments", "invalid_json", "json_not_object"}
)  # fmt: skip
_HINTS: Final[Mapping[str, str]] = {
    "not_in_channel": "invite the app to the channel",
    "channel_not_found": "check `channel`; invite the app if the channel is private",
    "missing_scope": "the app needs chat:write",
    "invalid_auth": "put the bot token of the installed app into token_file",
    "token_revoked": "install the app again and put its token into token_file",
    "is_archived": "name a channel that is in use",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """The message that stands for an approval."""

    channel: str
    ts: str
    outcomes: tuple[str, ...] = ()

    def handle(self) -> str:
        body = {"channel": self.channel, "ts": self.ts, "outcomes": list(self.outcomes)}
        return json.dumps(body, ensure_ascii=False)


class SlackChannel:
    """A channel of a Slack workspace.

    Args:
        name: What the configuration calls it.
        api: Slack's API; another for a sovereign cloud.
        token: The app's bot token (``xoxb-…``) with ``chat:write``.
        channel: Id (or ``#name``) of the channel to write to.
    """

    kind: Final = "slack"

    def __init__(self, *, name: str, api: Endpoint, token: Secret, channel: str) -> None:
        self.name = name
        self._api = api
        self._token = token
        self._channel = channel

    @property
    def timeout_s(self) -> float:
        """How long one attempt may take: an update that finds nothing posts anew."""
        return 2 * self._api.timeout_s

    async def send(self, notice: Notice, handle: str | None) -> str:
        """Post *notice*, reply to the message of *handle*, or change it (law 4)."""
        standing = _standing(handle)
        message = wording_of(notice)
        if standing is None:
            return await self._first(notice, message, outcomes=())
        try:
            if notice.kind is NoticeKind.DECIDED:
                return await self._update(notice, message, standing)
            return await self._reply(message, standing)
        except _MessageGone:
            return await self._first(notice, message, outcomes=standing.outcomes)

    async def probe(self) -> None:
        """Ask Slack who we are: proves the way there and the token."""
        await self._call("auth.test", {})

    async def _first(self, notice: Notice, message: Message, *, outcomes: Sequence[str]) -> str:
        outcomes = _with_outcome(outcomes, notice, message)
        found = await self._call(
            "chat.postMessage",
            {
                "channel": self._channel,
                "text": _preview(message),
                "blocks": _blocks(message, outcomes),
                "mrkdwn": False,
                "unfurl_links": False,
                "unfurl_media": False,
                **_QUIET,
            },
        )
        channel, ts = found.get("channel"), found.get("ts")
        if not (isinstance(channel, str) and _CHANNEL_ID(channel)):
            return ""
        if not (isinstance(ts, str) and _TS(ts)):
            return ""
        return _Standing(channel=channel, ts=ts, outcomes=tuple(outcomes)).handle()

    async def _update(self, notice: Notice, message: Message, standing: _Standing) -> str:
        outcomes = _with_outcome(standing.outcomes, notice, message)
        await self._call(
            "chat.update",
            {
                "channel": standing.channel,
                "ts": standing.ts,
                "text": _preview(message),
                "blocks": _blocks(message, outcomes),
                **_QUIET,
            },
        )
        return _Standing(channel=standing.channel, ts=standing.ts, outcomes=outcomes).handle()

    async def _reply(self, message: Message, standing: _Standing) -> str:
        await self._call(
            "chat.postMessage",
            {
                "channel": standing.channel,
                "thread_ts": standing.ts,
                "reply_broadcast": True,
                "text": _preview(message),
                "blocks": _blocks(message, ()),
                "mrkdwn": False,
                "unfurl_links": False,
                "unfurl_media": False,
                **_QUIET,
            },
        )
        return standing.handle()

    async def _call(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._api.post(
            json.dumps(body).encode(),
            path=f"/{method}",
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "Authorization": f"Bearer {self._token.reveal()}",
            },
        )
        answer.require_good()
        return _checked(answer)


class _MessageGone(Exception):
    """The message of a handle is not there any more."""


def _checked(answer: Answer) -> dict[str, Any]:
    """Return a good answer; raise what a bad one means (law 5)."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DeliveryError("what answered is not Slack", fault=Fault.REFUSED, hint="check api_url")
    if found.get("ok") is True:
        return found
    error = found.get("error")
    code = error if isinstance(error, str) and _CODE(error) else "an error without a code"
    if code in _GONE:
        raise _MessageGone
    if code in {"ratelimited", "rate_limited"}:
        raise DeliveryError(
            f"Slack says {code}", fault=Fault.BUSY, retry_after_s=answer.retry_after_s
        )
    if code in _BROKEN:
        raise DeliveryError(f"Slack says {code}", fault=Fault.BROKEN)
    if code in _REJECTED:
        raise DeliveryError(f"Slack says {code}", fault=Fault.REJECTED)
    raise DeliveryError(f"Slack says {code}", fault=Fault.REFUSED, hint=_HINTS.get(code, ""))


def _standing(handle: str | None) -> _Standing | None:
    if not handle:
        return None
    try:
        body = json.loads(handle)
        return _Standing(
            channel=str(body["channel"]),
            ts=str(body["ts"]),
            outcomes=tuple(str(line) for line in body.get("outcomes", ())),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _with_outcome(earlier: Sequence[str], notice: Notice, message: Message) -> tuple[str, ...]:
    if notice.kind is not NoticeKind.DECIDED:
        return tuple(earlier)
    line = f"{message.title}: {plain(notice.detail)}" if notice.detail else message.title
    return (*(one for one in earlier if one != line), line)[-_MAX_OUTCOMES:]


def _preview(message: Message) -> str:
    """Return what a telephone shows: our words alone."""
    return _escaped(message.title, _MAX_TITLE)


def _blocks(message: Message, outcomes: Sequence[str]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _text(message.title, _MAX_TITLE)},
        *({"type": "section", "text": _text(line)} for line in outcomes),
    ]
    for label, text in message.facts:
        if not (outcomes and label == "What happened"):
            blocks.append({"type": "section", "text": _text(f"{label}: {text}")})
    if message.link:
        link = {"type": "mrkdwn", "text": f"<{message.link}|Open the request>", "verbatim": True}
        blocks.append({"type": "section", "text": link})
    if message.command:
        blocks.append({"type": "section", "text": _text(f"In a terminal: {message.command}")})
    return blocks


def _text(text: str, limit: int = _MAX_SECTION) -> dict[str, Any]:
    return {"type": "plain_text", "text": _escaped(text, limit), "emoji": False}


def _escaped(text: str, limit: int) -> str:
    """Return *text* in Slack's escapes (law 1), cut so that no escape is."""
    pieces: list[str] = []
    for char in text:
        piece = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(char, char)
        limit -= len(piece)
        if limit < 1:
            pieces.append("…")
            break
        pieces.append(piece)
    return "".join(pieces)
