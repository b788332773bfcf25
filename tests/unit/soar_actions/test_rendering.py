# SPDX-License-Identifier: Apache-2.0
"""The renderer of platforms' pages, and the command that renders, checks and builds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from soar_actions.catalogue import ACTIONS
from soar_actions.packages import __main__ as command
from soar_actions.packages.docs import document

NAMES = {slug: slug.replace("-", "_") for slug in ACTIONS}


def test_a_page_tells_all_that_the_catalogue_knows() -> None:
    """Every action, parameter, output, error with remedy, approval rule and mapping."""
    page = document("# Head\n\nBy hand.", platform_names=NAMES, waivers={})

    assert page.count("By hand.") == 1
    for slug, action in ACTIONS.items():
        assert f'<a id="{slug}"></a>' in page
        for text in (action.approval_note, action.idempotency):
            assert text in page
        for parameter in action.parameters:
            assert f"| `{parameter.name}` |" in page
        for output in action.outputs:
            assert f"| `{output.path}` |" in page
        for note in action.errors:
            assert f"| `{note.reason}` |" in page
        for technique in (*action.mappings.attack, *action.mappings.atlas):
            assert technique in page


def test_tables_are_whole() -> None:
    """A pattern or a choice with a bar does not break a row."""
    page = document("# Head", platform_names=NAMES, waivers={})
    widths: list[int] = []

    for line in page.splitlines():
        if not line.startswith("|"):
            widths.clear()
            continue
        widths.append(line.replace("\\|", "").count("|"))
        assert widths[0] == widths[-1], line


def test_an_action_that_a_platform_lacks_has_a_reason() -> None:
    """Parity: a name or a waiver for each, and neither for what does not exist."""
    some = {slug: name for slug, name in NAMES.items() if slug != "search-audit"}

    page = document(
        "# Head", platform_names=some, waivers={"search-audit": "its results are small"}
    )

    assert "its results are small" in page
    for names, waivers in (
        (some, {}),
        (NAMES, {"search-audit": "both"}),
        ({**NAMES, "explode": "x"}, {}),
        (some, {"search-audit": ""}),
    ):
        with pytest.raises(ValueError, match=r"waiver|no action"):
            document("# Head", platform_names=names, waivers=waivers)


RENDER = "def generated():\n    return {'artefact/a.txt': 'one\\n', 'README.md': 'page\\n'}\n"
BUILD = (
    "def build(destination):\n    path = destination / 'p.zip'\n    path.write_bytes(b'x')\n"
    "    return [path]\n"
)
Run = Callable[..., object]


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A platform of its own, the only one."""
    import importlib.util
    import sys

    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "render.py").write_text(RENDER)
    (folder / "build.py").write_text(BUILD)
    monkeypatch.setattr(command, "_PLATFORMS", tmp_path)
    monkeypatch.setattr(command, "ROOT", tmp_path)

    def module(name: str, part: str) -> object:
        spec = importlib.util.spec_from_file_location(
            f"{name}_{part}", tmp_path / name / f"{part}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        return made

    monkeypatch.setattr(command, "_module", module)
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    yield folder
    sys.dont_write_bytecode = before


def test_render_writes_and_then_agrees(platform: Path) -> None:
    """Rendering twice changes nothing; what is stale is shown, and the command says what to do."""
    runner = CliRunner()

    stale = runner.invoke(command.main, ["render", "--check"])
    made = runner.invoke(command.main, ["render"])
    fresh = runner.invoke(command.main, ["render", "--check"])
    (platform / "artefact" / "a.txt").write_text("edited\n")
    edited = runner.invoke(command.main, ["render", "--check", "example"])

    assert [r.exit_code for r in (stale, made, fresh, edited)] == [1, 0, 0, 1]
    assert "-edited" in edited.output
    assert "+one" in edited.output
    assert "packages render" in edited.output
    assert (platform / "artefact" / "a.txt").read_text() == "edited\n"


def test_render_stays_below_the_platform(platform: Path) -> None:
    """A path that leads out is a mistake, found before anything is written."""
    (platform / "render.py").write_text("def generated():\n    return {'../x': ''}\n")

    result = CliRunner().invoke(command.main, ["render"])

    assert isinstance(result.exception, ValueError)


def test_build_makes_packages(platform: Path, tmp_path: Path) -> None:
    """Each platform below the folder that was asked for."""
    result = CliRunner().invoke(command.main, ["build", "--into", str(tmp_path / "out")])

    assert result.exit_code == 0
    assert (tmp_path / "out" / "example" / "p.zip").read_bytes() == b"x"


def test_an_unknown_platform_is_a_usage_error(platform: Path) -> None:
    """With the names of those that there are."""
    result = CliRunner().invoke(command.main, ["render", "nonesuch"])

    assert result.exit_code == 2
    assert "example" in result.output
