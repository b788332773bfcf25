# SPDX-License-Identifier: Apache-2.0
"""From the file to the wire, with real servers: every channel at once, and no secret anywhere."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.clock import SystemClock
from sidecar.notify.build import load_channels
from sidecar.notify.encoding import notice_id
from sidecar.notify.notice import NoticeKind
from sidecar.notify.notifier import Notifier
from sidecar.notify.secret import Secret
from sidecar.notify.signature import verify_signature
from sidecar.notify.store_sqlite import SqliteNotices
from tests.support.mail import MailHost
from tests.support.polling import eventually
from tests.unit.notify.notify_kit import CANARY, notice

SIGNING = f"{CANARY}-a-signing-secret"


def fresh(kind: NoticeKind = NoticeKind.OPENED, **changes):
    """Return a notice that has not expired by the host's clock."""
    return notice(kind, expire_time_ns=SystemClock().wall_ns() + 3_600_000_000_000, **changes)


@pytest.fixture
def write(tmp_path: Path):
    """Write a configuration with every kind of channel, and its secrets."""

    def make(*, http: str, smtp_port: int) -> Path:
        for name, text in {
            "signing": SIGNING,
            "token": f"xoxb-{CANARY}",
            "password": CANARY,
            "teams": f"{http}/teams/{CANARY}?sig={CANARY}",
        }.items():
            (tmp_path / name).touch(mode=0o600)
            (tmp_path / name).write_text(text)
        path = tmp_path / "notifications.yaml"
        path.write_text(f"""\
version: 1
channels:
  soc: {{kind: webhook, url: "{http}/hook/{CANARY}", secret_file: {tmp_path}/signing, ping: true}}
  chat: {{kind: slack, token_file: {tmp_path}/token, channel: C01, api_url: "{http}/slack"}}
  team: {{kind: teams, url_file: {tmp_path}/teams}}
  mail:
    kind: smtp
    host: 127.0.0.1
    port: {smtp_port}
    security: none
    user: holdfast
    password_file: {tmp_path}/password
    from: holdfast@example.test
""")
        return path

    return make


async def answer(request: web.Request) -> web.Response:
    """Answer like whoever is asked."""
    if request.path.startswith("/slack"):
        return web.json_response({"ok": True, "channel": "C01", "ts": "1.2"})
    return web.Response(status=202)


async def test_every_channel_carries_the_request_and_its_outcome(serve, mail_host, write, tmp_path):
    """One file, four kinds, one notice after the other; updated where that is possible."""
    host, mail = await serve(answer), await mail_host()
    path = write(http=host.url, smtp_port=mail.port)
    notifier = Notifier(
        channels=load_channels(path, clock=SystemClock()),
        clock=SystemClock(),
        store=SqliteNotices(tmp_path / "notices.db"),
    )
    await notifier.start()
    opened, decided = fresh(), fresh(NoticeKind.DECIDED, state="GRANTED", detail="by alice")
    for number, one in enumerate((opened, decided), 1):
        notifier.notify(one)
        await eventually(lambda number=number: [h.sent for h in notifier.health()] == [number] * 4)
    await notifier.aclose()
    by_path: dict[str, list] = {}
    for heard in host.heard:
        by_path.setdefault(heard.path.split("?")[0], []).append(heard)
    hooks = [one for one in by_path[f"/hook/{CANARY}"] if one.json["type"] != "ping"]

    assert [one.json["type"] for one in hooks] == ["approval.opened", "approval.decided"]
    assert hooks[0].headers["Holdfast-Id"] == notice_id(opened)
    assert verify_signature(
        secrets=[Secret(SIGNING)],
        notice_id=hooks[1].headers["Holdfast-Id"],
        timestamp=hooks[1].headers["Holdfast-Timestamp"],
        signature=hooks[1].headers["Holdfast-Signature"],
        body=hooks[1].body,
        now_s=SystemClock().wall_ns() / 1e9,
    )
    assert len(by_path["/slack/chat.postMessage"]) == len(by_path["/slack/chat.update"]) == 1
    assert len(by_path[f"/teams/{CANARY}"]) == 2
    assert len(mail.envelopes) == 2
    assert mail.envelopes[1].mail["In-Reply-To"] == mail.envelopes[0].mail["Message-ID"]


class Fates:
    """What the other side does with what it is sent."""

    @staticmethod
    async def refuses(request: web.Request) -> web.Response:
        body = {"ok": False, "error": f"no {CANARY}"}
        return web.json_response(body, status=401, reason=f"no {CANARY}")

    @staticmethod
    async def breaks(request: web.Request) -> web.Response:
        return web.Response(status=500, text=CANARY, headers={"Retry-After": CANARY})

    @staticmethod
    async def hangs_up(request: web.Request) -> web.Response:
        request.transport.close()
        return web.Response()

    @staticmethod
    async def redirects(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://127.0.0.1:1/{CANARY}"})

    @staticmethod
    async def babbles(request: web.Request) -> web.Response:
        return web.Response(text=json.dumps({"ok": False, "error": CANARY}))


@pytest.mark.parametrize("fate", ["refuses", "breaks", "hangs_up", "redirects", "babbles", "gone"])
async def test_p9_no_secret_in_any_log_error_health_metric_or_refusal(
    serve, mail_host, write, logs, caplog, capfd, tmp_path, fate
):
    """Canaries in every address, token and password, and in every answer; none comes out."""
    caplog.set_level(logging.DEBUG)
    host = await serve(getattr(Fates, fate, answer))
    mail: MailHost = await mail_host(replies={"AUTH": f"535 {CANARY}"})
    url = "http://127.0.0.1:1" if fate == "gone" else host.url
    notifier = Notifier(
        channels=load_channels(write(http=url, smtp_port=mail.port), clock=SystemClock()),
        clock=SystemClock(),
        store=SqliteNotices(tmp_path / "notices.db"),
    )
    await notifier.start()
    notifier.notify(fresh())
    await eventually(lambda: all(one.last_error or one.sent for one in notifier.health()))
    await notifier.flush()
    shown = [
        repr(notifier.health()),
        notifier.refusal(),
        repr(list(notifier.samples())),
        repr(logs),
        caplog.text,
        *capfd.readouterr(),
    ]
    await notifier.aclose()
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("notices.db*"))

    assert any(one.last_error for one in notifier.health())
    assert not [text for text in shown if CANARY in text.lower()]
    assert CANARY.encode() not in kept


async def test_p9_no_secret_in_any_log_negative_control(serve, mail_host, write, monkeypatch):
    """An error that repeated what the other side said would show one."""
    from sidecar.notify import slack

    monkeypatch.setattr(slack, "_CODE", lambda text: True)
    host, mail = await serve(Fates.babbles), await mail_host()
    routed = load_channels(write(http=host.url, smtp_port=mail.port), clock=SystemClock())
    notifier = Notifier(channels=routed, clock=SystemClock())
    await notifier.start()
    await eventually(lambda: any(CANARY in one.last_error for one in notifier.health()))
    await notifier.aclose()
