# SPDX-License-Identifier: Apache-2.0
"""The Shuffle app without its SDK: description and methods agree with each other and the catalogue."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms import shuffle
from soar_actions.platforms.shuffle import WAIVERS, build, render

FOLDER = Path(shuffle.__file__).parent
APP = FOLDER / render.FOLDER
API: dict[str, Any] = yaml.safe_load((APP / "api.yaml").read_text(encoding="utf-8"))
SLUGS = [slug for slug in ACTIONS if slug not in WAIVERS]


def methods() -> dict[str, ast.FunctionDef]:
    """Return the methods of the app by name."""
    tree = ast.parse((APP / "src" / "app.py").read_text(encoding="utf-8"))
    app = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    return {node.name: node for node in app.body if isinstance(node, ast.FunctionDef)}


def test_every_action_is_described_and_has_a_method() -> None:
    """An action of the platform is a method of the same name; none is left over."""
    names = [render.method_name(slug) for slug in SLUGS]

    assert [action["name"] for action in API["actions"]] == names
    assert list(methods()) == names
    assert "test_connection" in names


def test_generated_files_are_what_the_catalogue_makes() -> None:
    """Rendering again changes nothing."""
    stale = [
        name
        for name, text in render.generated().items()
        if (FOLDER / name).read_text(encoding="utf-8") != text
    ]

    assert stale == []


@pytest.mark.parametrize("slug", SLUGS)
def test_method_takes_what_the_description_names(slug: str) -> None:
    """The authentication and every parameter, each with a default, and what else there may be."""
    name = render.method_name(slug)
    described = next(action for action in API["actions"] if action["name"] == name)
    parameters = [each["name"] for each in described["parameters"]]
    method = methods()[name]
    taken = [each.arg for each in method.args.args]

    assert taken == ["self", *render.AUTHENTICATION, *parameters]
    assert len(method.args.defaults) == len(taken) - 1
    assert method.args.kwarg is not None
    assert parameters == [each.name for each in ACTIONS[slug].parameters]


@pytest.mark.parametrize("slug", SLUGS)
def test_description_is_the_catalogue(slug: str) -> None:
    """Required, choices and defaults are the catalogue's."""
    name = render.method_name(slug)
    described = next(action for action in API["actions"] if action["name"] == name)
    for declared, parameter in zip(ACTIONS[slug].parameters, described["parameters"], strict=True):
        assert parameter["required"] is declared.is_required
        assert parameter.get("value", "") == declared.default
        if declared.choices:
            assert parameter["options"] == list(declared.choices)


def test_authentication_cannot_switch_verification_off() -> None:
    """No parameter of it is about trust, but for the CA."""
    names = [each["name"] for each in API["authentication"]["parameters"]]

    assert names == list(render.AUTHENTICATION)
    assert not [name for name in names if "verify" in name or "insecure" in name]


def test_negative_control_a_method_without_a_parameter_would_be_found() -> None:
    """The comparison of arguments looks at the file."""
    method = methods()["contain_agent"]

    assert "agent" in [each.arg for each in method.args.args]
    assert "no_such_parameter" not in [each.arg for each in method.args.args]


def test_archive_is_the_same_every_time_and_whole(tmp_path: Path) -> None:
    """The app with the actions' code, and the workflows."""
    first, second = (build.build(tmp_path / name)[0] for name in ("first", "second"))

    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = set(archive.namelist())
    wanted = ["api.yaml", "Dockerfile", "requirements.txt", "README.md", "src/app.py"]
    wanted += ["src/holdfast_base.py", "src/holdfast_actions/run.py"]
    assert {f"holdfast/1.0.0/{name}" for name in wanted} <= names
    assert "workflows/holdfast_contain_a_rogue_agent.json" in names
    assert not [name for name in names if "__pycache__" in name]


def test_an_action_ends_before_shuffle_ends_it(tmp_path: Path) -> None:
    """Nothing in the app is without the limit, and no action sleeps."""
    text = (APP / "src" / "holdfast_base.py").read_text(encoding="utf-8")

    assert "total_s = min(action.deadline_s, _limit_s())" in text
    assert "sleep" not in text
