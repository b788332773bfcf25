# SPDX-License-Identifier: Apache-2.0
"""The matrix tells the truth about itself, and an environment that cannot be had is a reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.soar import venvs
from tests.soar.matrix import FAILED, NOT_RUN, PASSED, Matrix
from tests.soar.runners.base import Asset, Outcome, Runner
from tests.soar.scenarios import SCENARIOS


class Fake:
    """A runner that is only named."""

    platform = "somewhere"
    is_stand_in = True

    def __init__(self, name: str) -> None:
        self.runner = name

    def unavailable(self) -> str:
        """Never asked."""
        return ""

    def versions(self) -> Mapping[str, str]:
        """Return something."""
        return {"library": "1.2"}

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Never called."""
        raise AssertionError


def _runner(name: str) -> Runner:
    return Fake(name)


def test_cell_that_was_not_played_is_not_run(tmp_path: Path) -> None:
    """Neither a runner that is missing nor a session that was cut short looks like a pass."""
    matrix = Matrix(["ok", "denied", "slow"])
    here, gone = _runner("here"), _runner("gone")
    matrix.column(gone, unavailable="there is no Python 3.99 on this machine")
    matrix.note(gone, "ok", NOT_RUN)
    was_played = matrix.is_played
    matrix.note(here, "ok", PASSED)
    matrix.note(here, "denied", FAILED, problem="it said SUCCESS")
    matrix.write(tmp_path / "build" / "matrix.json")

    assert (was_played, matrix.is_played) == (False, True)
    written = json.loads((tmp_path / "build" / "matrix.json").read_text())
    rows = {row["runner"]: row for row in written["runners"]}
    assert rows["here"]["results"] == {"ok": PASSED, "denied": FAILED, "slow": NOT_RUN}
    assert rows["here"]["problems"] == {"denied": "it said SUCCESS"}
    assert rows["here"]["versions"] == {"library": "1.2"}
    assert set(rows["gone"]["results"].values()) == {NOT_RUN}
    assert rows["gone"]["not_run_because"] == "there is no Python 3.99 on this machine"
    assert rows["gone"]["versions"] == {}


def test_table_shows_what_failed_and_what_is_a_stand_in() -> None:
    """Whoever reads only the terminal sees the same."""
    matrix = Matrix(["ok", "denied"])
    matrix.note(_runner("library 1.2"), "ok", FAILED)
    matrix.column(_runner("gone"), unavailable="no such thing")

    text = "\n".join(matrix.lines())

    assert "FAIL" in text
    assert "[stand-in]" in text
    assert "NOT RUN: no such thing" in text
    assert "pass" not in text


def test_scenarios_are_those_that_are_promised() -> None:
    """None was lost on the way; what expires is looked at last."""
    assert [scenario.name for scenario in SCENARIOS] == [
        "ok",
        "not_found",
        "denied",
        "pending_granted",
        "pending_refused",
        "duplicate_same_key",
        "same_key_other_parameters",
        "partial_fleet",
        "control_down",
        "wrong_certificate",
        "expired_token",
        "slow_server",
        "pending_expired",
    ]


@pytest.mark.parametrize(
    ("lock", "reason"),
    [
        (None, "there is no tests/soar/requirements/some.lock"),
        ("six==1.17.0\n", "does not name a Python"),
        ("# python: 3.99\nsix==1.17.0\n", "there is no Python 3.99 on this machine"),
    ],
    ids=["no lock", "no version", "no such Python"],
)
def test_environment_that_cannot_be_had_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str | None, reason: str
) -> None:
    """The runner is then not run, and says why."""
    monkeypatch.setattr(venvs, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(venvs, "_results", {})
    if lock is not None:
        (tmp_path / "some.lock").write_text(lock)

    found = venvs.python_of("some")

    assert isinstance(found, str)
    assert reason in found


@pytest.mark.parametrize(
    "path", sorted(venvs.REQUIREMENTS.glob("*.lock")), ids=lambda path: path.stem
)
def test_lock_says_what_and_not_where_from(path: Path) -> None:
    """Every requirement has hashes, and no line an address."""
    text = path.read_text()
    named = [line for line in text.splitlines() if line[:1].isalnum()]

    assert text.startswith("# python: 3.")
    assert "://" not in text
    assert "--index-url" not in text
    assert named
    assert all(line.endswith("\\") and "==" in line for line in named)
