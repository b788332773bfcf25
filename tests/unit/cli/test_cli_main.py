# SPDX-License-Identifier: Apache-2.0
"""The top command: fast help, suggestions, plug-ins, exit codes, one way to end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sidecar.cli.command import Command, Group, LazyGroup
from sidecar.cli.exits import EXIT_CODES, Exit, exit_of
from sidecar.cli.main import _COMMANDS, cli
from sidecar.cli.plugins import plugins
from sidecar.errors import (
    ConfigurationError,
    ConflictError,
    DocumentError,
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    IntegrityError,
    NotDurableError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)

HEAVY = ("grpc", "cedarpy", "pydantic", "rich", "yaml", "cryptography", "structlog", "google")


def commands_of(group: click.Group, prefix: str = "holdfast") -> list[tuple[str, click.Command]]:
    """Return every command that is ours, with its whole name."""
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        if isinstance(group, LazyGroup) and name not in _COMMANDS:
            continue  # a plug-in
        if name == "quickstart":
            continue
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands_of(command, f"{prefix} {name}")
        else:
            found.append((f"{prefix} {name}", command))
    return found


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def test_help_imports_nothing_heavy():
    """``holdfast --help`` comes before grpc, Cedar or pydantic could be loaded."""
    loaded = run_python(
        "import sys\n"
        "from sidecar.cli.main import cli\n"
        "try:\n"
        "    cli.main(['--help'], prog_name='holdfast')\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('MODULES', *sys.modules)\n"
    ).partition("MODULES")[2]

    assert not [name for name in HEAVY if name in loaded.split()]


def test_help_is_fast():
    """The best of five starts, interpreter included; bounded loosely, for busy machines."""
    best = 9.0
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "sidecar.cli.main", "--help"],
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=30,
        )
        best = min(best, time.perf_counter() - begun)

    assert best < 0.6


def test_help_documents_the_exit_codes(holdfast):
    """The table stands where somebody who writes a script looks."""
    result = holdfast("--help")

    assert result.code == 0
    for code, text in EXIT_CODES.items():
        assert f"{int(code)}  {text}" in result.out


def test_every_command_has_examples_and_speaks_json():
    """Examples come first; one versioned object is to be had from everything that answers."""
    runners = {"holdfast run", "holdfast control", "holdfast gate"}

    for name, command in commands_of(cli):
        assert isinstance(command, Command), name
        assert command.examples, name
        for example in command.examples:
            assert example.removeprefix('eval "$(').startswith("holdfast"), name
        options = {option for param in command.params for option in param.opts}
        assert ({"--json", "-o"} <= options) is (name not in runners), name
        text = CliRunner().invoke(command, ["--help"], prog_name=name).output
        assert text.index("Examples:") < text.index("Options:"), name


def test_every_command_has_a_sentence_in_the_list(holdfast):
    """The list of commands is read, not guessed."""
    out = holdfast("--help").out

    for name, (_, _, text) in _COMMANDS.items():
        assert name in out
        assert text.endswith((".", "?")), name


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["contian"], "`holdfast contain`"),
        (["dirctives"], "`holdfast directives`"),
        (["policy", "chek", "x"], "`holdfast policy check`"),
        (["audit", "verfy"], "`holdfast audit verify`"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(holdfast, words, meant):
    """Exit 2, and the command that exists."""
    result = holdfast(*words)

    assert result.code == Exit.USAGE
    assert meant in result.err
    assert result.out == ""


@pytest.mark.parametrize("words", [[], ["policy"]])
def test_nothing_more_to_do_shows_help(holdfast, words):
    """A group alone is a question, not a mistake: help, and exit 2 for scripts."""
    result = holdfast(*words)

    assert result.code == Exit.USAGE
    assert result.err.startswith("Usage: holdfast")


def test_nonsense_is_answered_without_a_guess(holdfast):
    """No suggestion is better than a wrong one."""
    result = holdfast("xyzzy")

    assert result.code == Exit.USAGE
    assert "Did you mean" not in result.err


def test_version_needs_no_control(holdfast):
    """``--version`` is one line."""
    result = holdfast("--version")

    assert result.code == 0
    assert re.fullmatch(r"holdfast, version \d+\.\d+\.\d+\n", result.out)


# -- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HoldfastError("x"), Exit.FAILURE),
        (NotFoundError("x"), Exit.FAILURE),
        (ConflictError("x"), Exit.FAILURE),
        (PreconditionError("x"), Exit.FAILURE),
        (UntrustedInputError("x"), Exit.USAGE),
        (DocumentError("x"), Exit.USAGE),
        (ConfigurationError("x"), Exit.USAGE),
        (RefusedError("x"), Exit.DENIED),
        (RefusedError("x", reason=ErrorReason.UNAUTHENTICATED), Exit.DENIED),
        (PreconditionError("x", reason=ErrorReason.WIDE_BLAST), Exit.DENIED),
        (EnvironmentFailure("x"), Exit.UNAVAILABLE),
        (NotDurableError("x"), Exit.UNAVAILABLE),
        (EnvironmentFailure("x", reason=ErrorReason.UNSAFE_PATH), Exit.FAILURE),
        (EnvironmentFailure("x", reason=ErrorReason.INTEGRITY_BROKEN), Exit.INTEGRITY),
        (IntegrityError("x"), Exit.INTEGRITY),
    ],
)
def test_every_family_of_errors_has_its_exit_code(error, code):
    """One table, and no family without a row."""
    assert exit_of(error) is code


def test_the_numbers_never_change():
    """Scripts and playbooks branch on them."""
    assert {code.name: int(code) for code in Exit} == {
        "OK": 0, "FAILURE": 1, "USAGE": 2, "DENIED": 3, "HELD": 4, "UNAVAILABLE": 5, "INTEGRITY": 6,
    }  # fmt: skip


def test_the_process_itself_ends_with_the_code(tmp_path):
    """What a shell sees, not what a function returns."""
    command = [sys.executable, "-m", "sidecar.cli.main"]
    environ = {"HOLDFAST_STATE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}

    usage = subprocess.run([*command, "nonsense"], env=environ, capture_output=True, timeout=30)
    gone = subprocess.run(
        [*command, "directives", "list", "--json"], env=environ, capture_output=True, timeout=30
    )

    assert usage.returncode == 2
    assert gone.returncode == 5
    assert json.loads(gone.stdout)["error"]["exit_code"] == 5


def test_an_error_is_an_object_for_programs(holdfast):
    """With --json there is always one object on stdout, and the talk stays on stderr."""
    result = holdfast("directives", "list", "--json")

    error = result.json()["error"]
    assert result.json()["kind"] == "Error"
    assert error["reason"] == "CONTROL_UNAVAILABLE"
    assert error["exit_code"] == result.code == Exit.UNAVAILABLE
    assert error["hint"]
    assert "error:" in result.err


def test_a_bug_of_ours_ends_with_one_line(holdfast, monkeypatch):
    """No traceback for operators; its type and a way to get it for us."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("\x1b[2Jboom")

    monkeypatch.setattr("sidecar.cli.config.Settings.load", broken)

    result = holdfast("config", "show")

    assert result.code == Exit.FAILURE
    assert "internal error: ZeroDivisionError" in result.err
    assert "Traceback" not in result.err
    assert "\x1b" not in result.err


# -- plug-ins -------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution beside ours that adds the command ``hello``."""
    info = tmp_path / "hello-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(
        "[console_scripts]\nx = y:z\n\n[holdfast.commands]\nhello = hello_plugin:hello\n"
        "broken line\nBad Name = a:b\n"
    )
    (tmp_path / "hello_plugin.py").write_text(
        "import click\n@click.command()\ndef hello():\n    click.echo('hi')\n    return 4\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_plug_in_is_listed_and_run(plugin, holdfast):
    """Other distributions add commands; what they return is the exit code."""
    assert "hello" in plugins()
    assert "Plug-in hello_plugin." in holdfast("--help").out

    result = holdfast("hello")

    assert (result.code, result.out) == (4, "hi\n")


def test_a_plug_in_cannot_take_the_place_of_a_command(plugin, holdfast):
    """``contain`` is ours, whatever is installed beside us."""
    (plugin / "hello-1.0.dist-info" / "entry_points.txt").write_text(
        "[holdfast.commands]\ncontain = hello_plugin:hello\n"
    )

    assert holdfast("contain").out != "hi\n"


def test_groups_are_ours():
    """A group made with click's own class would know no suggestions."""
    context = click.Context(cli)

    for name in _COMMANDS:
        if name == "quickstart":
            continue
        command = cli.get_command(context, name)
        assert isinstance(command, Command | Group), name
