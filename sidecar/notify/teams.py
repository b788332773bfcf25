# SPDX-License-Identifier: Apache-2.0
"""Tells a Microsoft Teams channel through a workflow's (or an incoming) webhook, as Adaptive Cards.

Laws:

1. Words that are not ours stand in ``TextRun``s alone: a ``TextBlock`` reads Markdown (links that say
   one thing and lead to another), a run does not. ``{{`` is broken up, because ``{{DATE(…)}}`` is
   rewritten by every client. No mention entities are sent, so ``<at>`` stays text.
2. The one action is a link to the page. There is no button that decides.
3. A webhook cannot change what it posted, so an outcome is a message of its own.
4. The address is a capability: whoever has it can post. It is kept like a token.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.endpoint import Answer, Endpoint
from sidecar.notify.notice import Notice
from sidecar.notify.wording import Message, wording_of

__all__ = ["TeamsChannel"]

_CARD: Final = "application/vnd.microsoft.card.adaptive"
_SCHEMA: Final = "http://adaptivecards.io/schemas/adaptive-card.json"
_CARD_VERSION: Final = "1.4"
# Connectors answer 200 and say in the body that they failed.
_FAILED: Final = b"Webhook message delivery failed"
_THROTTLED: Final = b"429"


class TeamsChannel:
    """A channel of Microsoft Teams.

    Args:
        name: What the configuration calls it.
        endpoint: The webhook's address.
    """

    kind: Final = "teams"

    def __init__(self, *, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self._endpoint = endpoint

    @property
    def timeout_s(self) -> float:
        """How long one attempt may take."""
        return self._endpoint.timeout_s

    async def send(self, notice: Notice, handle: str | None) -> str:
        """Post *notice* as a card (law 3)."""
        body = json.dumps(_envelope(wording_of(notice))).encode()
        answer = await self._endpoint.post(body, headers={"Content-Type": "application/json"})
        answer.require_good()
        _require_delivered(answer)
        return ""

    async def probe(self) -> None:
        """Connect. A webhook cannot be asked anything without posting."""
        await self._endpoint.knock()


def _require_delivered(answer: Answer) -> None:
    if not answer.body.lstrip().startswith(_FAILED):
        return
    if _THROTTLED in answer.body[:512]:
        raise DeliveryError("Teams says it is throttled", fault=Fault.BUSY)
    raise DeliveryError("Teams says that the delivery failed", fault=Fault.BROKEN)


def _envelope(message: Message) -> dict[str, Any]:
    return {
        "type": "message",
        "attachments": [
            {"contentType": _CARD, "contentUrl": None, "content": _card(message)},
        ],
    }


def _card(message: Message) -> dict[str, Any]:
    body: list[dict[str, Any]] = [
        _line({"type": "TextRun", "text": _inert(message.title), "weight": "Bolder",
               "size": "Large"}),
    ]  # fmt: skip
    for label, text in message.facts:
        body.append(
            _line(
                {"type": "TextRun", "text": f"{label}: ", "weight": "Bolder"},
                {"type": "TextRun", "text": _inert(text)},
            )
        )
    if message.command:
        run = {"type": "TextRun", "text": _inert(message.command), "fontType": "Monospace"}
        body.append(_line({"type": "TextRun", "text": "In a terminal: ", "weight": "Bolder"}, run))
    actions = [{"type": "Action.OpenUrl", "title": "Open the request", "url": message.link}]
    return {
        "$schema": _SCHEMA,
        "type": "AdaptiveCard",
        "version": _CARD_VERSION,
        "fallbackText": "Holdfast has a notice; this client cannot show it.",
        "body": body,
        "actions": actions if message.link else [],
    }


def _line(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _inert(text: str) -> str:
    """Return *text* without anything that a client would compute (law 1)."""
    return text.replace("{{", "{\\u{7b}")
