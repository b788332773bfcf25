# SPDX-License-Identifier: Apache-2.0
"""Every action is on every platform, or the platform's folder says why it is not.

What a platform declares is read from its artefact as the platform reads it, not from our renderers.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from soar_actions.catalogue import ACTIONS
from soar_actions.packages.__main__ import platforms

PLATFORMS: Final = Path(__file__).resolve().parents[2] / "soar_actions" / "platforms"
FIRST_CLASS: Final = ("shuffle", "splunk_soar", "stackstorm", "thehive", "xsoar")
FAMILY: Final = ("cacao", "http")


def _splunk_soar(artefact: Path) -> Iterable[str]:
    """Functions that are decorated with ``@app.action`` or ``@app.test_connectivity``."""
    for path in (artefact / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    said = ast.unparse(decorator)
                    if re.match(r"(?:\w+\.)?app\.test_connectivity", said):
                        yield "test-connectivity"
                    elif re.match(r"(?:\w+\.)?app\.action", said) or said.startswith("action("):
                        yield node.name.replace("_", "-")


def _xsoar(artefact: Path) -> Iterable[str]:
    """Commands ``holdfast-<object>-<verb>`` of the integration; ``test-module`` is the platform's."""
    integration = yaml.safe_load(next(artefact.rglob("Integrations/*/*.yml")).read_text())
    yield "test-connectivity"
    for command in integration["script"]["commands"]:
        noun, _, verb = command["name"].removeprefix("holdfast-").rpartition("-")
        yield f"{verb}-{noun}"


def _stackstorm(artefact: Path) -> Iterable[str]:
    """Actions of the pack that are no workflows."""
    for path in (artefact / "actions").glob("*.yaml"):
        action = yaml.safe_load(path.read_text())
        if action["runner_type"] == "python-script":
            yield action["name"].replace("_", "-")


def _thehive(artefact: Path) -> Iterable[str]:
    """Services of the responders' flavors; some are of one action at a fixed level."""
    for path in artefact.rglob("Holdfast_*.json"):
        yield json.loads(path.read_text())["config"]["service"]


def _shuffle(artefact: Path) -> Iterable[str]:
    """Actions of the app; the connection's test is called as the platform's users expect."""
    app = yaml.safe_load(next(artefact.rglob("api.yaml")).read_text())
    for action in app["actions"]:
        name = action["name"].replace("_", "-")
        yield "test-connectivity" if name == "test-connection" else name


def _http(artefact: Path) -> Iterable[str]:
    """Actions that the document's operations say they are requests of."""
    document = json.loads((artefact / "openapi.json").read_text())
    for item in document["paths"].values():
        for operation in item.values():
            yield from operation.get("x-holdfast-actions", ())


def _cacao(artefact: Path) -> Iterable[str]:
    """Actions that the steps of the playbooks say they are."""
    for path in artefact.glob("*.json"):
        for step in json.loads(path.read_text())["workflow"].values():
            found = re.search(r"Action of the catalogue: ([a-z-]+)\.", step.get("description", ""))
            if found:
                yield found[1]


READERS: Final[Mapping[str, Callable[[Path], Iterable[str]]]] = {
    "cacao": _cacao,
    "http": _http,
    "shuffle": _shuffle,
    "splunk_soar": _splunk_soar,
    "stackstorm": _stackstorm,
    "thehive": _thehive,
    "xsoar": _xsoar,
}


def declared(platform: str) -> set[str]:
    """Return the actions that the artefact of *platform* declares."""
    return set(READERS[platform](PLATFORMS / platform / "artefact"))


def waivers(platform: str) -> Mapping[str, str]:
    """Return the actions that *platform* lacks, with the reasons."""
    module = importlib.import_module(f"soar_actions.platforms.{platform}")
    found: Mapping[str, str] = module.WAIVERS
    return found


def test_every_platform_is_looked_at() -> None:
    """No platform is there that this test does not know, and none is missing."""
    assert platforms() == sorted(READERS) == sorted((*FIRST_CLASS, *FAMILY))


@pytest.mark.parametrize("platform", READERS)
def test_every_action_is_declared_or_waived(platform: str) -> None:
    """And nothing is declared that is no action."""
    names, waived = declared(platform), waivers(platform)

    assert names | set(waived) == set(ACTIONS)
    assert names & set(waived) == set()
    assert all(len(reason) > 20 for reason in waived.values())


@pytest.mark.parametrize("platform", FIRST_CLASS)
def test_first_class_platform_waives_nothing_that_contains(platform: str) -> None:
    """A waiver of what a playbook of ours uses would be a hole."""
    needed = {"contain-agent", "release-agent", "revoke-tokens", "get-operation", "open-incident"}

    assert needed <= declared(platform)


def test_action_that_is_left_out_is_seen_negative_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The readers read: without an action's declaration the sets differ."""
    read = READERS["stackstorm"]

    def without(artefact: Path) -> Iterable[str]:
        return [name for name in read(artefact) if name != "contain-agent"]

    monkeypatch.setitem(READERS, "stackstorm", without)  # type: ignore[arg-type]

    assert declared("stackstorm") | set(waivers("stackstorm")) != set(ACTIONS)


@pytest.mark.parametrize("platform", FIRST_CLASS)
def test_platform_has_the_three_playbooks(platform: str) -> None:
    """Each with its name in the file's, whatever the platform's way to write it."""
    files = [
        re.sub(r"[^a-z]+", "-", path.name.lower())
        for path in (PLATFORMS / platform).rglob("*")
        if path.is_file()
    ]

    for name in ("contain-a-rogue-agent", "approve-a-held-action", "containment-drill"):
        assert any(name in file for file in files), name
