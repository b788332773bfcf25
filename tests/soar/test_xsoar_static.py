# SPDX-License-Identifier: Apache-2.0
"""The pack through the platform's own tools: ``demisto-sdk`` validate, format and zip-packs.

They run in a git repository of their own with ``Packs/`` and an ``origin``, which is what the tools
insist on; nothing is fetched. Outside the platform's own repository ``validate`` runs a handful of its
validators and accepts nearly everything, so that all of them are asked for by name here, but for those
that need what a test has not: a graph database, or a registry of images.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from soar_actions.platforms.xsoar.build import assemble, build
from tests.soar.venvs import python_of

_DEADLINE_S: Final = 180
_NEEDS_MORE: Final = ("GR", "PA124", "DO103")
"""Validators over a Neo4j database (GR…, PA124), and one that asks Docker Hub."""
_LISTS: Final = {
    "approved_categories": {"approved_list": ["Utilities"]},
    "approved_usecases": {"approved_list": []},
    "approved_tags": {"approved_list": {"common": ["Security"], "xsoar": [], "marketplacev2": []}},
    "core_packs_list": {"core_packs_list": []},
    "core_packs_mpv2_list": {"core_packs_list": []},
    "core_packs_xpanse_list": {"core_packs_list": []},
    "core_packs_platform_list": {"core_packs_list": []},
}
"""Stand where the platform's own repository keeps its lists, which would be fetched otherwise."""
PLAYBOOK: Final = "Playbooks/playbook-Holdfast_-_Containment_Drill.yml"
INTEGRATION: Final = "Integrations/Holdfast/Holdfast.yml"


class Content:
    """A repository of content with our pack in it, and the platform's tools for it."""

    def __init__(self, root: Path, python: Path) -> None:
        self.root = root
        self._tool = python.with_name("demisto-sdk")
        self.pack = assemble(root)
        self.validators = _validators(python)
        (root / "Config").mkdir()
        for name, value in _LISTS.items():
            (root / "Config" / f"{name}.json").write_text(json.dumps(value))
        self._config = root.parent / "validators.toml"
        self._config.write_text(
            f"ignorable_errors = []\n[path_based_validations]\nselect = {json.dumps(self.validators)}\n"
            "warning = []\n[use_git]\nselect = []\nwarning = []\n"
        )
        origin = root.parent / f"{root.name}.git"
        self._git("init", "-q", "--bare", str(origin))
        self._git("init", "-q", "-b", "master", ".")
        self.commit()
        self._git("remote", "add", "origin", str(origin))
        self._git("push", "-q", "origin", "master")

    def commit(self) -> None:
        """Commit everything."""
        self._git("add", "-A")
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        self._git(*who, "commit", "-q", "--allow-empty", "-m", "a test")

    def changed(self) -> str:
        """Return what differs from the last commit."""
        return self._git("status", "--porcelain") + self._git("diff")

    def validate(self) -> tuple[int, str]:
        """Run every validator on the pack and return (exit code, what it said)."""
        return self.sdk("validate", "-i", "Packs/Holdfast", "--config-path", str(self._config))

    def sdk(self, *arguments: str) -> tuple[int, str]:
        """Run the tool and return (exit code, what it said)."""
        done = subprocess.run(
            [self._tool, *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
            env={
                "PATH": f"{self._tool.parent}:{os.environ['PATH']}",
                "HOME": str(self.root.parent),
                "LANG": "C.UTF-8",
                "DEMISTO_SDK_CONTENT_PATH": str(self.root),
                "DEMISTO_SDK_IGNORE_CONTENT_WARNING": "1",
            },
        )
        return done.returncode, done.stdout + done.stderr

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, capture_output=True, text=True, check=True
        ).stdout


@pytest.fixture(scope="module")
def python() -> Path:
    """The platform's tools; without them nothing is run, and nothing passes."""
    found = python_of("xsoar")
    if isinstance(found, str):
        pytest.skip(f"not run: {found}")
    return found


@pytest.fixture
def content(tmp_path: Path, python: Path) -> Content:
    """A fresh repository with the pack."""
    root = tmp_path / "content"
    root.mkdir()
    return Content(root, python)


def test_validate_accepts_the_pack(content: Content) -> None:
    """Every validator of the platform, none of them waived."""
    code, said = content.validate()

    assert code == 0, said
    assert "All validations passed" in said
    assert (content.pack / ".pack-ignore").read_text() == ""
    assert len(content.validators) > 150


@pytest.mark.parametrize(
    ("path", "before", "after", "error"),
    [
        pytest.param(INTEGRATION, "subtype: python3", "subtype: python9", "IN108", id="subtype"),
        pytest.param(INTEGRATION, "Use system proxy settings", "Proxy", "IN100", id="proxy"),
        pytest.param(INTEGRATION, "execution: true", "executes: true", "ST110", id="unknown-field"),
        pytest.param(PLAYBOOK, "starttaskid:", "beginning:", "ST110", id="playbook-without-start"),
    ],
)
def test_validate_accepts_the_pack_negative_control(
    content: Content, path: str, before: str, after: str, error: str
) -> None:
    """The same validators refuse a pack with a fault in it."""
    broken = content.pack / path
    text = broken.read_text()
    assert before in text
    broken.write_text(text.replace(before, after, 1))

    code, said = content.validate()

    assert code == 1, said
    assert error in said


def test_lint_accepts_the_integration(content: Content) -> None:
    """The platform's own rules for its Python: every command done, no print, no sleep, no exit."""
    code, said = content.sdk("xsoar-lint", "Packs/Holdfast/Integrations/Holdfast/Holdfast.py")

    assert code == 0, said
    assert "Found the following errors" not in said


def test_lint_accepts_the_integration_negative_control(content: Content) -> None:
    """A command that is declared and not done is found."""
    script = content.pack / "Integrations" / "Holdfast" / "Holdfast.py"
    text = script.read_text()
    script.write_text(text.replace('    "holdfast-agent-contain": "contain-agent",\n', ""))
    _, said = content.sdk("xsoar-lint", "Packs/Holdfast/Integrations/Holdfast/Holdfast.py")

    assert "E9010" in said
    assert "holdfast-agent-contain" in said


def test_format_changes_nothing(content: Content) -> None:
    """What ships is as the platform's formatter would write it."""
    code, said = content.sdk("format", "--assume-no", "-nv", "-i", "Packs/Holdfast")

    assert code == 0, said
    assert content.changed() == ""


def test_format_changes_nothing_negative_control(content: Content) -> None:
    """The formatter was at work: it puts an untidy file right."""
    untidy = content.pack / PLAYBOOK
    untidy.write_text(untidy.read_text().replace("version: -1\nname", "version: 3\nname", 1))
    content.commit()
    content.sdk("format", "--assume-no", "-nv", "-i", "Packs/Holdfast")

    assert "version" in content.changed()


def test_our_zip_is_what_the_platforms_tool_makes(content: Content, tmp_path: Path) -> None:
    """The same files with the same content; only dates and the tool's own notices differ."""
    code, said = content.sdk("zip-packs", "-i", "Packs/Holdfast", "-o", str(tmp_path / "theirs"))
    assert code == 0, said
    theirs = _read(next((tmp_path / "theirs").rglob("*.zip")))
    ours = _read(build(tmp_path / "ours")[0])

    assert sorted(ours) == sorted(theirs)
    for name in sorted(ours):
        assert _comparable(name, ours[name]) == _comparable(name, theirs[name]), name


def test_prepare_content_makes_our_unified_integration(content: Content, tmp_path: Path) -> None:
    """The script that the platform gets is the one that our runner runs."""
    out = tmp_path / "prepared.yml"
    code, said = content.sdk(
        "prepare-content", "-i", "Packs/Holdfast/Integrations/Holdfast", "-o", str(out)
    )
    assert code == 0, said
    prepared = yaml.safe_load(out.read_text())
    ours = yaml.safe_load(
        _read(build(tmp_path / "ours")[0])["Integrations/integration-Holdfast.yml"]
    )

    assert prepared["script"]["script"] == ours["script"]["script"]


def test_the_pack_has_no_python_but_the_integration(content: Content) -> None:
    """The platform loads one file; another one would be left behind silently."""
    found = sorted(path.name for path in content.pack.rglob("*.py"))

    assert found == ["Holdfast.py", "Holdfast_test.py"]


def test_own_tests_of_the_pack_pass(content: Content, python: Path) -> None:
    """The test file that travels in the pack runs as the platform runs such files."""
    place = content.pack / "Integrations" / "Holdfast"
    stand_in = Path(__file__).parent / "standins" / "xsoar"
    (place / "CommonServerUserPython.py").write_text("")
    for name in ("CommonServerPython.py", "demistomock.py"):
        shutil.copy(stand_in / name, place / name)

    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "Holdfast_test.py"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(content.root.parent)},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def _validators(python: Path) -> list[str]:
    """Return every validator that the tool knows for files, but those that need what we have not."""
    (place,) = python.parents[1].glob("lib/python*/site-packages/demisto_sdk/commands/validate")
    known = tomllib.loads((place / "sdk_validation_config.toml").read_text())
    selected: list[str] = known["path_based_validations"]["select"]
    return [name for name in selected if not name.startswith(_NEEDS_MORE)]


def _read(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def _comparable(name: str, content: bytes) -> Any:
    if name == "metadata.json":
        said: dict[str, Any] = json.loads(content)
        said["contentItems"] = {
            kind: items for kind, items in said["contentItems"].items() if items
        }
        for key in ("created", "updated", "eulaLink"):
            said.pop(key, None)
        return said
    if name.endswith(".json"):
        return json.loads(content)
    if name.endswith(".yml"):
        said = yaml.safe_load(content)
        if "detaileddescription" in said:
            # The tool puts a notice about community support before our text, and a link behind it.
            text = said["detaileddescription"].partition("***\n")
            said["detaileddescription"] = (text[2] or text[0]).partition("\n\n---\n")[0].strip()
        if "display" in said:
            said["display"] = said["display"].removesuffix(" (Community Contribution)")
        return said
    return content
