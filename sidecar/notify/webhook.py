# SPDX-License-Identifier: Apache-2.0
"""Tells a program: a signed POST of JSON, for on-call tools, chat bots and playbooks.

The body, version 1 (compatibility: keys and event types may be added, none is renamed or removed)::

    {"version": 1, "id": "ntc_…", "type": "approval.opened", "text": "…", "detail": "…",
     "approval": {"name": "approvals/…", "state": "PENDING", "tier": "HIGH", "summary": "…",
                  "reason": "…", "agent": "…", "tool": "…", "fingerprint_words": "…",
                  "create_time": "…Z", "expire_time": "…Z", "approvers": ["…"], "url": "…",
                  "command": "holdfast approvals show …"}}

``type`` is ``approval.opened``, ``.reminder``, ``.escalation``, ``.decided``, ``alert`` or ``ping``;
``approval`` is null when it is about none.

Laws:

1. Delivered at least once, in order per approval, always with the same ``Holdfast-Id``. A receiver
   answers 2xx to what it has seen, without acting on it again.
2. Signed with every secret that is good (``signature``). Nothing in the body is secret, and no
   mail address of anybody is in it.
3. Words of an agent are escaped like everywhere; a receiver that shows them still shows text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sidecar.canonical import canonicalise
from sidecar.clock import NS_PER_SECOND, Clock, datetime_of
from sidecar.notify.encoding import notice_id
from sidecar.notify.endpoint import Endpoint
from sidecar.notify.notice import Notice, NoticeKind
from sidecar.notify.secret import Secret
from sidecar.notify.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from sidecar.notify.wording import plain, safe_link, wording_of

__all__ = ["WebhookChannel"]

_VERSION: Final = 1
_PING: Final = {"version": _VERSION, "id": "ping", "type": "ping"}


class WebhookChannel:
    """A receiver of signed notices.

    Args:
        name: What the configuration calls it.
        endpoint: Where to.
        secrets: What to sign with, the newest first; at least one.
        clock: For the timestamp.
        is_pinged: Whether a probe posts a signed ``ping``, which proves address and secret; else
            it only connects.
    """

    kind: Final = "webhook"

    def __init__(
        self,
        *,
        name: str,
        endpoint: Endpoint,
        secrets: Sequence[Secret],
        clock: Clock,
        is_pinged: bool = False,
    ) -> None:
        if not secrets:
            raise ValueError("a webhook needs a secret to sign with")
        self.name = name
        self._endpoint = endpoint
        self._secrets = tuple(secrets)
        self._clock = clock
        self._is_pinged = is_pinged

    @property
    def timeout_s(self) -> float:
        """How long one attempt may take."""
        return self._endpoint.timeout_s

    async def send(self, notice: Notice, handle: str | None) -> str:
        """Post *notice*; a webhook has nothing to update, so there is no handle."""
        name = notice_id(notice)
        await self._post(name, canonicalise(_body(name, notice)))
        return ""

    async def probe(self) -> None:
        """Connect, or post a ping."""
        if self._is_pinged:
            await self._post("ping", canonicalise(_PING))
        else:
            await self._endpoint.knock()

    async def _post(self, name: str, body: bytes) -> None:
        timestamp_s = self._clock.wall_ns() // NS_PER_SECOND
        signature = sign(secrets=self._secrets, notice_id=name, timestamp_s=timestamp_s, body=body)
        answer = await self._endpoint.post(
            body,
            headers={
                "Content-Type": "application/json",
                ID_HEADER: name,
                TIMESTAMP_HEADER: str(timestamp_s),
                SIGNATURE_HEADER: signature,
            },
        )
        answer.require_good()


def _body(name: str, notice: Notice) -> dict[str, Any]:
    is_alert = notice.kind is NoticeKind.ALERT
    return {
        "version": _VERSION,
        "id": name,
        "type": "alert" if is_alert else f"approval.{notice.kind.value}",
        "text": f"{wording_of(notice).title}: {plain(notice.summary)}",
        "detail": plain(notice.detail),
        "approval": _approval(notice) if notice.approval else None,
    }


def _approval(notice: Notice) -> dict[str, Any]:
    return {
        "name": plain(notice.approval),
        "state": plain(notice.state),
        "tier": plain(notice.tier),
        "summary": plain(notice.summary),
        "reason": plain(notice.reason),
        "agent": plain(notice.agent),
        "tool": plain(notice.tool),
        "fingerprint_words": plain(notice.words),
        "create_time": _time(notice.create_time_ns),
        "expire_time": _time(notice.expire_time_ns),
        "approvers": [plain(name) for name in notice.approvers],
        "url": safe_link(notice.url),
        "command": plain(notice.command),
    }


def _time(wall_ns: int) -> str:
    return datetime_of(wall_ns).strftime("%Y-%m-%dT%H:%M:%SZ") if wall_ns > 0 else ""
