# SPDX-License-Identifier: Apache-2.0
"""The Splunk SOAR app without its SDK: complete, up to date, self-contained, the same every time."""

from __future__ import annotations

import ast
import json
import re
import tarfile
from pathlib import Path

import pytest

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms import splunk_soar
from soar_actions.platforms.splunk_soar import WAIVERS, build, render

FOLDER = Path(splunk_soar.__file__).parent
ARTEFACT = FOLDER / "artefact"
PLAYBOOKS = sorted((ARTEFACT / "playbooks").glob("*.py"))


def test_every_action_has_a_module_or_a_waiver() -> None:
    """The connectivity test is the SDK's own decorator, so it has no module."""
    modules = {path.stem for path in (ARTEFACT / "src" / "actions").glob("*.py")} - {"__init__"}
    wanted = {
        action.identifier
        for slug, action in ACTIONS.items()
        if slug not in WAIVERS and slug != render.TEST
    }

    assert modules == wanted
    assert "@app.test_connectivity()" in (ARTEFACT / "src" / "app.py").read_text()


def test_generated_files_are_what_the_catalogue_makes() -> None:
    """Rendering again changes nothing."""
    stale = [
        name
        for name, text in render.generated().items()
        if (FOLDER / name).read_text(encoding="utf-8") != text
    ]

    assert stale == []


def test_negative_control_rendering_notices_a_change() -> None:
    """The text is made from the catalogue, not read back from the file."""
    made = render.generated()["artefact/src/actions/contain_agent.py"]

    assert ACTIONS["contain-agent"].description[:20] in made
    assert made != render.generated()["artefact/src/actions/release_agent.py"]


@pytest.mark.parametrize("slug", sorted(set(ACTIONS) - {render.TEST}))
def test_read_only_is_the_effect(slug: str) -> None:
    """The asset's approvers are asked for every action that is not read-only."""
    action = ACTIONS[slug]
    tree = ast.parse(
        (ARTEFACT / "src" / "actions" / f"{action.identifier}.py").read_text(encoding="utf-8")
    )
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    decorator = function.decorator_list[0]
    assert isinstance(decorator, ast.Call)
    said = {
        each.arg: each.value.value
        for each in decorator.keywords
        if isinstance(each.value, ast.Constant)
    }

    assert said["read_only"] is action.is_read_only
    assert said["action_type"] == render.action_type(action)
    assert said["name"] == action.name


def test_assembled_app_imports_nothing_by_an_absolute_name(tmp_path: Path) -> None:
    """The platform gives the app's package a name of its own."""
    app = build.assemble(tmp_path)

    for path in app.rglob("*.py"):
        if "playbooks" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and not node.level:
                    assert not str(node.module).startswith(("holdfast", "soar_actions", "src"))


def test_archives_are_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an SDK there is the project and the playbooks, and what is missing is said."""
    monkeypatch.setenv("SOAR_SDK_PYTHON", str(tmp_path / "none"))
    first = {path.name: path.read_bytes() for path in build.build(tmp_path / "first")}
    second = {path.name: path.read_bytes() for path in build.build(tmp_path / "second")}

    assert first == second
    assert sorted(first) == [
        f"holdfast-splunk_soar-{build.VERSION}-source.tar.gz",
        *(f"{path.stem}.tgz" for path in PLAYBOOKS),
    ]
    assert "is not made: there is no Python" in capsys.readouterr().err


def test_source_archive_is_a_whole_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``soarapps`` asks for is there, and nothing that was built."""
    monkeypatch.setenv("SOAR_SDK_PYTHON", str(tmp_path / "none"))
    archive = build.build(tmp_path)[0]
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())

    wanted = ["pyproject.toml", "logo.svg", "logo_dark.svg", "README.md", "LICENSE", "NOTICE"]
    wanted += ["release_notes/unreleased.md", "src/app.py", "src/holdfast_actions/run.py"]
    assert {f"holdfast/{name}" for name in wanted} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith("uv.lock")]


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_playbook_runs_only_actions_that_exist(path: Path) -> None:
    """Every action that a playbook names is in the catalogue, and its description is beside it."""
    text = path.read_text(encoding="utf-8")
    names = re.findall(r'(?:_act\(|phantom\.act\()\s*(?:container,\s*)?"([a-z ]+)"', text)
    described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))

    assert names
    assert {name.replace(" ", "-") for name in names} <= set(ACTIONS)
    assert described["coa"]["playbook_type"] == "automation"
    assert described["blockly"] is False


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_playbook_reads_as_python_3_9(path: Path) -> None:
    """The older of the two Pythons that the platform runs playbooks on."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))

    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]


def test_asset_cannot_switch_verification_off() -> None:
    """No setting of the asset is about trust, but for the CA."""
    tree = ast.parse((ARTEFACT / "src" / "adapter.py").read_text(encoding="utf-8"))
    asset = next(
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Asset"
    )
    names = [
        node.target.id
        for node in asset.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]

    assert names == [
        "endpoint",
        "api_token",
        "ca_certificate",
        "client_certificate",
        "client_key",
        "timeout_seconds",
        "proxy",
    ]


def test_no_address_of_a_registry_and_no_machine_path() -> None:
    """What is committed works anywhere."""
    for path in ARTEFACT.rglob("*"):
        if path.is_file() and path.name != "LICENSE":
            text = path.read_text(encoding="utf-8")
            assert "pypi" not in text.lower(), path
            assert "/root/" not in text, path
