# SPDX-License-Identifier: Apache-2.0
"""The code that travels into platforms: standard library only, on every Python that they have."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from soar_actions.catalogue import ACTIONS
from soar_actions.packages import vendor as vendoring
from soar_actions.packages.vendor import portable_modules, single_file, vendor

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
PROBE = """
import json, sys
sys.path.insert(0, sys.argv[1])
run = __import__(sys.argv[2], fromlist=["perform"])
asset = {"endpoint": "https://127.0.0.1:1", "api_token": "canary", "timeout_seconds": "1"}
bad = run.perform("contain-agent", asset=asset, parameters={"agent": "*"}, key="run-00000001")
down = run.perform("test-connectivity", asset=asset, parameters={}, key="")
foreign = [name for name in sys.modules if name.partition(".")[0] in
           ("grpc", "google", "sidecar", "soar_actions", "click", "aiohttp", "tenacity")]
print(json.dumps([len(run.ACTIONS), bad["error"]["class"], down["error"]["class"], foreign]))
"""


def python_of(version: str) -> str:
    """Return an interpreter of *version* that runs, or nothing."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{version}")
    candidates = [found] if found else []
    candidates += sorted(
        str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    )
    for candidate in candidates:
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", asked], capture_output=True, text=True)
        if done.stdout.strip() == version:
            return candidate
    return ""


@pytest.mark.parametrize("form", ["package", "file"])
@pytest.mark.parametrize("version", PYTHONS)
def test_what_travels_runs_alone(version: str, form: str, tmp_path: Path) -> None:
    """Isolated, without anything installed: it refuses what is bad and says what is down."""
    python = python_of(version)
    if not python:
        pytest.skip(f"no Python {version} on this machine")
    if form == "package":
        vendor(tmp_path / "holdfast_actions", prefix="holdfast_actions")
        name = "holdfast_actions.run"
    else:
        (tmp_path / "holdfast_one.py").write_text(single_file(), encoding="utf-8")
        name = "holdfast_one"

    done = subprocess.run(
        [python, "-I", "-S", "-W", "error", "-c", PROBE, str(tmp_path), name],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert not done.stderr
    assert json.loads(done.stdout) == [len(ACTIONS), "BAD_INPUT", "UNAVAILABLE", []]


def test_what_travels_imports_the_standard_library_alone(tmp_path: Path) -> None:
    """Itself aside, by its own new name."""
    written = vendor(tmp_path, prefix="a.b")

    for path in written:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or name.startswith("a.b."), (path, name)


@pytest.mark.parametrize(
    "text",
    [
        "import grpc\n",
        "from click import echo\n",
        "from soar_actions.client.grpc_transport import GrpcTransport\n",
        "from soar_actions.errors import ActionError as Error\n",
        "from soar_actions.errors import *\n",
        "from . import errors\n",
        "def late():\n    import yaml\n",
    ],
)
def test_what_does_not_travel_is_refused_here(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found when the package is built, not at a customer's."""
    shutil.copytree(vendoring.ROOT, tmp_path / "copy", ignore=shutil.ignore_patterns("platforms"))
    monkeypatch.setattr(vendoring, "ROOT", tmp_path / "copy")
    assert portable_modules()

    (tmp_path / "copy" / "handlers" / "new.py").write_text(text)

    with pytest.raises(ValueError, match=r"handlers/new\.py"):
        portable_modules()


def test_two_public_names_do_not_become_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one file the later would silently win."""
    shutil.copytree(vendoring.ROOT, tmp_path / "copy", ignore=shutil.ignore_patterns("platforms"))
    monkeypatch.setattr(vendoring, "ROOT", tmp_path / "copy")
    (tmp_path / "copy" / "handlers" / "new.py").write_text("def perform():\n    pass\n")

    with pytest.raises(ValueError, match="perform"):
        single_file()


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    """Twice the same, and what was there before does not matter."""
    first = {p.name: p.read_bytes() for p in vendor(tmp_path / "a", prefix="x")}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "errors.py").write_text("old")
    second = {p.name: p.read_bytes() for p in vendor(tmp_path / "b", prefix="x")}

    assert first == second
    assert single_file() == single_file()


@pytest.mark.parametrize("prefix", ["", "a-b", "a..b", "a b", "../a"])
def test_a_prefix_is_a_name(prefix: str, tmp_path: Path) -> None:
    """It goes into import statements."""
    with pytest.raises(ValueError, match="package"):
        vendor(tmp_path, prefix=prefix)


def test_private_names_are_kept_apart() -> None:
    """Every top-level name of the one file is defined once."""
    names = [
        node.name if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else ast.unparse(target)
        for node in ast.parse(single_file()).body
        for target in (
            [node.target]
            if isinstance(node, ast.AnnAssign)
            else node.targets
            if isinstance(node, ast.Assign)
            else [None]
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            else []
        )
    ]

    assert len(names) == len(set(names))
