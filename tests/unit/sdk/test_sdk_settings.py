# SPDX-License-Identifier: Apache-2.0
"""What the environment may say, and how a token is read."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.sdk import Guard, SyncGuard
from sidecar.sdk._settings import Settings, TokenFile

ADDRESS = "unix:/run/holdfast/agents/a/guard.sock"


def test_environment_describes_a_guard(tmp_path: Path) -> None:
    """All five variables arrive where they belong."""
    (tmp_path / "token").write_text("abc\n")

    settings = Settings.from_env(
        {
            "HOLDFAST_ADDRESS": ADDRESS,
            "HOLDFAST_SESSION": "s-1",
            "HOLDFAST_DEADLINE_MS": "100",
            "HOLDFAST_HOLD_TIMEOUT_MS": "600000",
            "HOLDFAST_TOKEN_FILE": str(tmp_path / "token"),
        }
    )

    assert (settings.address, settings.session) == (ADDRESS, "s-1")
    assert settings.deadline == timedelta(milliseconds=100)
    assert settings.hold_timeout == timedelta(minutes=10)
    assert settings.token_provider is not None
    assert settings.token_provider() == "abc"
    assert "abc" not in repr(settings)


def test_defaults() -> None:
    """Only the address is required; a call waits a quarter of a second, and for no human."""
    settings = Settings.from_env({"HOLDFAST_ADDRESS": ADDRESS})

    assert settings.deadline == timedelta(milliseconds=250)
    assert settings.hold_timeout == timedelta(0)
    assert (settings.session, settings.token_provider) == ("", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_ADDRESS", ""),
        ("HOLDFAST_ADDRESS", "localhost:50051"),
        ("HOLDFAST_ADDRESS", "dns:///gate.example"),
        ("HOLDFAST_ADDRESS", "unix:relative.sock"),
        ("HOLDFAST_ADDRESS", "unix-abstract:gate"),
        ("HOLDFAST_ADDRESS", "unix:/a\0b"),
        ("HOLDFAST_ADDRESS", "unix:/" + "a" * 107),
        ("HOLDFAST_SESSION", "white space"),
        ("HOLDFAST_SESSION", "-dash"),
        ("HOLDFAST_SESSION", "s" * 129),
        ("HOLDFAST_DEADLINE_MS", "0"),
        ("HOLDFAST_DEADLINE_MS", "-1"),
        ("HOLDFAST_DEADLINE_MS", "1e3"),
        ("HOLDFAST_DEADLINE_MS", "٣"),
        ("HOLDFAST_DEADLINE_MS", "60001"),
        ("HOLDFAST_DEADLINE_MS", "forever"),
        ("HOLDFAST_HOLD_TIMEOUT_MS", "-1"),
        ("HOLDFAST_HOLD_TIMEOUT_MS", "1.5"),
        ("HOLDFAST_HOLD_TIMEOUT_MS", "86400001"),
        ("HOLDFAST_HOLD_TIMEOUT_MS", "999999999"),
    ],
)
def test_k09_unusable_settings_are_refused(name: str, value: str) -> None:
    """A setting that can't be used stops the agent at its start, with a sentence."""
    with pytest.raises(ValueError, match=r"\w{4}"):
        Settings.from_env({"HOLDFAST_ADDRESS": ADDRESS} | {name: value})


def test_both_guards_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``from_env`` of both twins, without connecting."""
    monkeypatch.setenv("HOLDFAST_ADDRESS", ADDRESS)

    assert ADDRESS in repr(Guard.from_env())
    assert ADDRESS in repr(SyncGuard.from_env())
    monkeypatch.delenv("HOLDFAST_ADDRESS")
    with pytest.raises(ValueError, match="HOLDFAST_ADDRESS is not set"):
        Guard.from_env()


def test_f08_token_file_is_read_anew_when_it_changed(tmp_path: Path) -> None:
    """A rotated token is used at once, also if the new file has the same size."""
    path = tmp_path / "token"
    path.write_text("first")
    token = TokenFile(path)
    seen = [token(), token()]

    path.write_text("other")
    seen.append(token())
    (tmp_path / "new").write_text("third")
    os.replace(tmp_path / "new", path)
    seen.append(token())
    path.unlink()
    seen.append(token())

    assert seen == ["first", "first", "other", "third", ""]


def test_settled_token_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unchanged file costs one ``stat``."""
    path = tmp_path / "token"
    path.write_text("settled")
    os.utime(path, (1, 1))
    token = TokenFile(path)
    token()
    monkeypatch.setattr(TokenFile, "_read", lambda self: pytest.fail("read again"))

    assert token() == "settled"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\nb", b"\x1b[2J", b"x" * 20_000])
def test_nonsense_is_no_token(tmp_path: Path, content: bytes) -> None:
    """Bytes that can't be a token are none."""
    path = tmp_path / "token"
    path.write_bytes(content)

    assert TokenFile(path)() == ""


def test_a_pipe_in_the_place_of_the_file_does_not_hang(tmp_path: Path) -> None:
    """A named pipe has no token, and nobody waits for one."""
    os.mkfifo(tmp_path / "token")

    assert TokenFile(tmp_path / "token")() == ""
    assert TokenFile(tmp_path)() == ""
