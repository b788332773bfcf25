# SPDX-License-Identifier: Apache-2.0
"""A receiver of notices on a bad day; what it believes is tried against a real sender elsewhere."""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from soar_actions.webhook import Verdict, WebhookCheck


def test_a_notice_that_could_not_be_remembered_is_new_when_it_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody acted on it: called a repetition, it would be lost."""
    signed = hmac.new(b"secret", b"ntc_1.1000.{}", sha256).hexdigest()
    headers = {
        "Holdfast-Id": "ntc_1",
        "Holdfast-Timestamp": "1000",
        "Holdfast-Signature": f"v1={signed}",
    }
    check = WebhookCheck(secrets=["secret"], memory=tmp_path, now=lambda: 1000.0)

    def broken(_: int) -> None:
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="disk"):
            check.verdict(headers, b"{}")

    assert check.verdict(headers, b"{}") is Verdict.NEW
    assert check.verdict(headers, b"{}") is Verdict.REPEATED


def test_two_processes_may_forget_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other one removed between the look and the deed is gone, and no error."""
    check = WebhookCheck(secrets=["secret"], memory=tmp_path)
    for name in ("ntc_1", "ntc_2", "ntc_3"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "ntc_new").touch()
    scan = os.scandir

    def scan_then_lose_one(path: Any) -> Any:
        entries = list(scan(path))
        os.unlink(tmp_path / "ntc_2")
        return iter(entries)

    monkeypatch.setattr(os, "scandir", scan_then_lose_one)

    assert check.forget() == 2
    assert os.listdir(tmp_path) == ["ntc_new"]
