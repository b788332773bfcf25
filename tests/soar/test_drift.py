# SPDX-License-Identifier: Apache-2.0
"""What is committed below ``soar_actions/platforms`` is what the catalogue generates."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from soar_actions.packages.__main__ import generated, platforms

ROOT = Path(__file__).resolve().parents[2]


def test_rendering_changes_nothing() -> None:
    """The command that lint runs finds nothing to change."""
    done = subprocess.run(
        [sys.executable, "-m", "soar_actions.packages", "render", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


@pytest.mark.parametrize("platform", platforms())
def test_platform_is_rendered_the_same_every_time(platform: str) -> None:
    """No time, no order of a set, no name of a machine is in what is generated."""
    assert dict(generated(platform)) == dict(generated(platform))


def test_changed_file_is_seen_negative_control(tmp_path: Path) -> None:
    """One byte more in one generated file, in a copy of the tree, and the command fails."""
    shutil.copytree(
        ROOT / "soar_actions",
        tmp_path / "soar_actions",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    path = tmp_path / "soar_actions/platforms/cacao/artefact/containment-drill.json"
    path.write_text(path.read_text() + " ")

    done = subprocess.run(
        [sys.executable, "-m", "soar_actions.packages", "render", "--check", "cacao"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1, done.stderr[-1000:]
    assert "containment-drill.json" in done.stdout + done.stderr


@pytest.mark.parametrize("platform", platforms())
def test_generated_files_name_no_machine(platform: str) -> None:
    """No path of whoever rendered them, and no address of a registry."""
    for path, text in generated(platform).items():
        assert str(ROOT) not in text, path
        assert str(Path.home()) + "/" not in text, path
