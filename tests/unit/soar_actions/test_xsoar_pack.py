# SPDX-License-Identifier: Apache-2.0
"""The XSOAR pack without the platform: drift, parity, and what the built file holds."""

from __future__ import annotations

import ast
import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import ActionEffect
from soar_actions.platforms import xsoar
from soar_actions.platforms.xsoar.build import assemble, build, integration_script, unified
from soar_actions.platforms.xsoar.integration import commands, integration
from soar_actions.platforms.xsoar.naming import command_of, prefix_of
from soar_actions.platforms.xsoar.render import generated

FOLDER = Path(xsoar.__file__).parent
PACK = FOLDER / "artefact" / "Packs" / "Holdfast"
DECLARED = yaml.safe_load((PACK / "Integrations/Holdfast/Holdfast.yml").read_text())
NAMED = {command["name"]: command for command in DECLARED["script"]["commands"]}
SLUGS = sorted(ACTIONS)


def test_rendering_again_changes_nothing() -> None:
    """What is committed is what the catalogue says now."""
    stale = [path for path, text in generated().items() if (FOLDER / path).read_text() != text]

    assert stale == []


def test_generated_files_are_stated_to_be() -> None:
    """Nobody edits what the next rendering would undo, wherever the format has comments."""
    silent = [
        path
        for path, text in generated().items()
        if not path.endswith("command_examples") and "Generated" not in text.partition("\n")[0]
    ]

    assert silent == []


@pytest.mark.parametrize("slug", SLUGS)
def test_every_action_is_there_or_waived(slug: str) -> None:
    """A waiver has a reason; everything else has a command with all of its parameters."""
    if slug in xsoar.WAIVERS:
        assert xsoar.WAIVERS[slug]
        return
    if slug == "test-connectivity":
        assert command_of(slug) == "test-module"
        return
    command = NAMED[command_of(slug)]
    given = {one["name"] for one in command["arguments"]}
    assert {parameter.name for parameter in ACTIONS[slug].parameters} <= given


def test_no_command_but_the_actions() -> None:
    """Nothing is declared that nothing does."""
    assert set(NAMED) == set(commands())
    assert {command_of(slug) for slug in SLUGS} == {*NAMED, "test-module"}


def test_built_file_names_the_action_of_every_command() -> None:
    """What the adapter runs for a command is what the declaration says of it."""
    (table,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(integration_script()).body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "COMMANDS" and node.value
    )

    assert table == {command_of(slug): slug for slug in SLUGS}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_commands_that_change_something_say_so(name: str) -> None:
    """The platform warns before a command with `execution`, and polls one with `polling`."""
    action, command = commands()[name], NAMED[name]

    assert command.get("execution", False) is (action.effect is not ActionEffect.READ)
    assert command.get("polling", False) is (
        action.can_be_pending or action.slug == "get-operation"
    )
    assert all(
        output["contextPath"].startswith((prefix_of(action.slug), "Holdfast.Operation."))
        for output in command["outputs"]
    )


def test_i05_no_setting_switches_certificate_checks_off() -> None:
    """There is a CA to give, and no box to trust anything."""
    names = {setting["name"] for setting in integration()["configuration"]}
    text = json.dumps(integration()["configuration"]).lower()

    assert {"ca_certificate", "client_certificate", "client_key", "proxy"} <= names
    assert not names & {"insecure", "unsecure", "verify", "verify_ssl", "trust_any"}
    assert "not secure" not in text


def test_i06_secrets_are_kept_in_fields_that_the_platform_encrypts() -> None:
    """The token is a credential (type 9), the private key an encrypted text (type 14)."""
    kinds = {setting["name"]: setting["type"] for setting in integration()["configuration"]}

    assert (kinds["credentials"], kinds["client_key"]) == (9, 14)


def test_built_file_is_one_program_behind_the_platforms_own() -> None:
    """The platform joins files: what only stands at the start of a file would be an error there."""
    script = integration_script()
    joined = f"x = 1\n{script}"
    compile(joined, "joined", "exec", dont_inherit=True)
    imports = {
        node.module.partition(".")[0]
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.ImportFrom) and node.module
    }

    assert imports == {"CommonServerPython", "CommonServerUserPython"}


def test_built_file_is_one_program_behind_the_platforms_own_negative_control() -> None:
    """With the portable code written into it as it is, the joined program does not compile."""
    with pytest.raises(SyntaxError, match="__future__"):
        compile("x = 1\nfrom __future__ import annotations\n", "joined", "exec", dont_inherit=True)


def test_built_file_holds_the_actions(tmp_path: Path) -> None:
    """The unified integration has the code that does the work; the tree in the repository has not."""
    script: str = unified(assemble(tmp_path))["script"]["script"]

    assert "ACTIONS_SOURCE = r'''" in script
    assert "import demistomock" not in script
    assert 'ACTIONS_SOURCE = ""' in (PACK / "Integrations/Holdfast/Holdfast.py").read_text()


def test_build_is_reproducible(tmp_path: Path) -> None:
    """The same source makes the same bytes."""
    first, second = build(tmp_path / "a"), build(tmp_path / "b")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_zip_has_the_platforms_layout(tmp_path: Path) -> None:
    """One file for the integration, the playbooks, and the metadata that the upload reads."""
    upload, tree = build(tmp_path)
    with zipfile.ZipFile(upload) as archive:
        names = archive.namelist()
        metadata = json.loads(archive.read("metadata.json"))
    with zipfile.ZipFile(tree) as archive:
        sources = archive.namelist()

    assert "Integrations/integration-Holdfast.yml" in names
    assert sum(name.startswith("Playbooks/playbook-") for name in names) == 3
    assert len(metadata["contentItems"]["integration"][0]["commands"]) == len(NAMED)
    assert "Holdfast/Integrations/Holdfast/Holdfast.py" in sources


def test_picture_is_as_the_platform_wants_it() -> None:
    """120 by 50 points, below 10 kB."""
    picture = (PACK / "Integrations/Holdfast/Holdfast_image.png").read_bytes()

    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (120, 50)
    assert len(picture) < 10_240


def test_adapter_never_orders_from_a_poll() -> None:
    """`look`, which every later run of a command is, asks for operations and nothing else."""
    adapter = ast.parse((PACK / "Integrations/Holdfast/Holdfast.py").read_text())
    (look,) = (
        node for node in adapter.body if isinstance(node, ast.FunctionDef) and node.name == "look"
    )
    asked = [
        ast.unparse(node.args[0])
        for node in ast.walk(look)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("perform")
    ]

    assert asked == ["LOOK"]


def test_artefact_names_no_machine_and_no_other_project() -> None:
    """What ships speaks of itself alone."""
    told = re.compile(r"/work/|/tmp/|/root/|\bTODO\b|localhost")
    found: dict[str, Any] = {
        path.name: told.findall(path.read_text())
        for path in sorted(PACK.rglob("*"))
        if path.is_file() and path.suffix != ".png"
    }

    assert {name: hits for name, hits in found.items() if hits} == {}
