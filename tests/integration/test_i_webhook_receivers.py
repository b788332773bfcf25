# SPDX-License-Identifier: Apache-2.0
"""I10: what a playbook's webhook receives is acted on once, and only if Holdfast sent it just now."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from soar_actions.webhook import Verdict, WebhookCheck
from tests.support.polling import eventually
from tests.support.testbed import Testbed

SECRET = "the-receivers-secret-is-long-enough"
OTHER = "another-secret-that-is-long-enough-"
Notice = tuple[dict[str, str], bytes]


@pytest.fixture(scope="module")
def caught(zygote: object, authority: object) -> list[Notice]:
    """Two notices that a real control signed and sent: of a held release, and of its grant."""
    return asyncio.run(_catch(zygote, authority))


async def _catch(zygote: object, authority: object) -> list[Notice]:
    notices: list[Notice] = []

    async def take(request: web.Request) -> web.Response:
        notices.append((dict(request.headers), await request.read()))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    bed = Testbed(zygote, authority)  # type: ignore[arg-type]
    try:
        secret = bed.root / "hook.secret"
        secret.touch(0o600)
        secret.write_text(SECRET + "\n")
        config = bed.root / "notifications.yaml"
        config.write_text(
            "version: 1\nchannels:\n  soar:\n    kind: webhook\n"
            f"    url: http://127.0.0.1:{server.port}/hook\n    secret_file: {secret}\n"
        )
        bed.settings["notifications"] = str(config)
        bed.begin(["alpha"])
        async with bed.operator("alice") as alice:
            epoch = (await alice.contain("alpha")).receipt.directive.epoch
            await alice.release(epoch)
        await eventually(lambda: len(_about_approvals(notices)) >= 2, 10)
    finally:
        bed.close()
        await server.close()
    return _about_approvals(notices)


def _about_approvals(notices: list[Notice]) -> list[Notice]:
    return [one for one in notices if json.loads(one[1])["type"].startswith("approval.")]


def _with(notice: Notice, header: str, value: str) -> Notice:
    headers, body = notice
    return {
        **{n: v for n, v in headers.items() if n.lower() != header.lower()},
        header: value,
    }, body


FORGERIES: dict[str, Callable[[list[Notice]], Notice]] = {
    "another body": lambda all_: (all_[0][0], all_[0][1].replace(b"PENDING", b"GRANTED")),
    "the body of another notice": lambda all_: (all_[0][0], all_[1][1]),
    "a fresh id": lambda all_: _with(all_[0], "Holdfast-Id", "ntc_0000"),
    "a fresh time": lambda all_: _with(all_[0], "Holdfast-Timestamp", str(int(time.time()) + 7)),
    "no signature": lambda all_: _with(all_[0], "Holdfast-Signature", ""),
    "a signature of nothing": lambda all_: _with(all_[0], "Holdfast-Signature", "v1="),
    "another scheme": lambda all_: _with(
        all_[0], "Holdfast-Signature", all_[0][0]["Holdfast-Signature"].replace("v1=", "v0=")
    ),
    "an id that is a path": lambda all_: _with(all_[0], "Holdfast-Id", "../../etc/passwd"),
    "no time": lambda all_: _with(all_[0], "Holdfast-Timestamp", ""),
    "a time with a sign": lambda all_: _with(
        all_[0], "Holdfast-Timestamp", "+" + all_[0][0]["Holdfast-Timestamp"]
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_i10_forged_notice_is_not_believed(
    caught: list[Notice], tmp_path: Path, forgery: str
) -> None:
    """Whatever is exchanged, the signature is of something else; nothing is remembered of it."""
    check = WebhookCheck(secrets=[SECRET], memory=tmp_path / "seen")

    verdict = check.verdict(*FORGERIES[forgery](caught))

    assert verdict is Verdict.FORGED
    assert not verdict.is_ours
    assert os.listdir(tmp_path / "seen") == []


def test_i10_notice_signed_with_another_secret_is_not_believed(
    caught: list[Notice], tmp_path: Path
) -> None:
    """A receiver of another channel cannot speak for this one."""
    assert (
        WebhookCheck(secrets=[OTHER], memory=tmp_path / "seen").verdict(*caught[0])
        is Verdict.FORGED
    )


def test_i10_replayed_notice_is_not_acted_on_again(caught: list[Notice], tmp_path: Path) -> None:
    """Not by the same receiver, not after a restart, not by its twin; in any case it is answered."""
    seen = tmp_path / "seen"
    first, twin = (WebhookCheck(secrets=[OTHER, SECRET], memory=seen) for _ in range(2))

    verdicts = [first.verdict(*caught[0]), first.verdict(*caught[0]), twin.verdict(*caught[0])]
    restarted = WebhookCheck(secrets=[SECRET], memory=seen).verdict(*caught[0])
    other = first.verdict(*caught[1])

    assert verdicts == [Verdict.NEW, Verdict.REPEATED, Verdict.REPEATED]
    assert restarted is Verdict.REPEATED
    assert restarted.is_ours
    assert other is Verdict.NEW


def test_i10_receiver_that_forgets_acts_again_negative_control(
    caught: list[Notice], tmp_path: Path
) -> None:
    """With a memory that does not outlive the process, the replay starts the playbook again."""
    verdicts = [
        WebhookCheck(secrets=[SECRET], memory=tmp_path / str(run)).verdict(*caught[0])
        for run in range(2)
    ]

    assert verdicts == [Verdict.NEW, Verdict.NEW]


@pytest.mark.parametrize(
    ("offset_s", "expected"),
    [(-301, Verdict.LATE), (-299, Verdict.NEW), (299, Verdict.NEW), (302, Verdict.LATE)],
    ids=["sent too soon", "just not too soon", "just not too late", "too late"],
)
def test_i10_late_notice_is_not_acted_on(
    caught: list[Notice], tmp_path: Path, offset_s: int, expected: Verdict
) -> None:
    """Recorded, and sent on after five minutes: its time is signed, and over."""
    signed_s = int(caught[0][0]["Holdfast-Timestamp"])
    check = WebhookCheck(
        secrets=[SECRET], memory=tmp_path / "seen", now=lambda: signed_s + offset_s
    )

    assert check.verdict(*caught[0]) is expected


def test_i10_notice_that_cannot_be_remembered_is_an_error(
    caught: list[Notice], tmp_path: Path
) -> None:
    """A full or broken memory must not make every replay new."""
    seen = tmp_path / "seen"
    check = WebhookCheck(secrets=[SECRET], memory=seen)
    seen.rmdir()

    with pytest.raises(OSError, match="No such file"):
        check.verdict(*caught[0])


def test_receiver_forgets_what_is_long_over(caught: list[Notice], tmp_path: Path) -> None:
    """The memory does not grow for ever."""
    check = WebhookCheck(secrets=[SECRET], memory=tmp_path / "seen")
    check.verdict(*caught[0])
    check.verdict(*caught[1])
    os.utime(next((tmp_path / "seen").iterdir()), (0, 0))

    forgotten = check.forget()

    assert forgotten == 1
    assert len(os.listdir(tmp_path / "seen")) == 1


def test_check_without_a_secret_cannot_be_made(tmp_path: Path) -> None:
    """An empty configuration must not believe everybody."""
    for secrets in ([], [""], [SECRET, ""]):
        with pytest.raises(ValueError, match="secret"):
            WebhookCheck(secrets=secrets, memory=tmp_path)
