# SPDX-License-Identifier: Apache-2.0
"""What ``holdfast doctor`` says about notifications."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.clock import SystemClock
from sidecar.doctor.notifications import check_notifications
from sidecar.doctor.result import CheckResult, Patient, Status
from sidecar.doctor.run import CHECKS
from sidecar.settings import Settings
from tests.unit.notify.notify_kit import CANARY

SECRET = f"{CANARY}-a-signing-secret"


@pytest.fixture
def examine(tmp_path: Path):
    """Examine a host with this ``notifications.yaml``, or with none."""
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text(SECRET)

    async def run(text: str | None) -> list[CheckResult]:
        flags = {"state_dir": str(tmp_path / "s")}
        if text is not None:
            path = tmp_path / "notifications.yaml"
            path.write_text(text.replace("DIR", str(tmp_path)))
            flags["notifications"] = str(path)
        patient = Patient(
            settings=Settings.load(flags=flags, environ={}, is_dev=True),
            is_dev=True,
            environ={},
            clock=SystemClock(),
        )
        return await asyncio.to_thread(lambda: list(check_notifications(patient)))

    return run


def webhook(url: str, more: str = "") -> str:
    return (
        "version: 1\nchannels:\n  soc:\n    kind: webhook\n"
        f"    url: {url}/{CANARY}\n    secret_file: DIR/secret\n{more}"
    )


def test_the_check_is_one_of_doctors():
    """It runs with the others."""
    assert ("notifications", check_notifications) in CHECKS


@pytest.mark.parametrize("text", [None, "version: 1\nchannels: {}\n"])
async def test_without_a_channel_it_says_how_approvers_hear(examine, text):
    """A warning, not a failure: looking is a way too."""
    (result,) = await examine(text)

    assert result.status is Status.WARN
    assert "only by looking at the console or `holdfast approvals watch`" in result.found
    assert result.fix


async def test_every_problem_of_the_file_is_one_line(examine):
    """With file, line, key and remedy."""
    results = await examine(webhook("https://soc.example.com", "    pnig: true\n    tiers: []\n"))

    assert [result.status for result in results] == [Status.FAIL] * 2
    assert "notifications.yaml:7: channels.soc.pnig" in results[0].found
    assert results[0].fix == 'did you mean "ping"?'


async def test_channels_are_probed(examine, serve):
    """One line each: who answers, and who does not, with what to do; no address is shown."""
    host = await serve()
    good = await examine(webhook(host.url))
    bad = await examine(webhook("http://127.0.0.1:1"))

    assert [(one.name, one.status) for one in good] == [("notifications to soc", Status.OK)]
    assert [(one.name, one.status) for one in bad] == [("notifications to soc", Status.FAIL)]
    assert "Connection refused" in bad[0].found
    assert CANARY not in f"{good}{bad}"


async def test_a_tier_that_is_announced_nowhere_is_doubtful(examine, serve):
    """Requests of it would wait for somebody who happens to look."""
    host = await serve()
    _, result = await examine(webhook(host.url, "    tiers: [HIGH, CRITICAL]\n"))

    assert result.status is Status.WARN
    assert "LOW, MEDIUM" in result.found


async def test_a_file_that_is_not_there_fails(examine, tmp_path):
    """Named, and missing."""
    patient = Patient(
        settings=Settings.load(
            flags={"notifications": str(tmp_path / "none.yaml")}, environ={}, is_dev=True
        ),
        is_dev=True,
        environ={},
        clock=SystemClock(),
    )
    (result,) = await asyncio.to_thread(lambda: list(check_notifications(patient)))

    assert result.status is Status.FAIL
    assert "none.yaml" in result.found
