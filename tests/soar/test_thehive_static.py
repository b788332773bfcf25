# SPDX-License-Identifier: Apache-2.0
"""The responders' files by themselves: definitions, case templates, archive."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms.thehive import WAIVERS
from soar_actions.platforms.thehive.build import build
from soar_actions.platforms.thehive.render import FLAVORS, generated

HERE = Path(__file__).resolve().parent
ARTEFACT = HERE.parents[1] / "soar_actions" / "platforms" / "thehive" / "artefact"
SCHEMAS = json.loads((HERE / "standins/thehive/schemas.json").read_text(encoding="utf-8"))
SWITCH = re.compile("verif|insecure|skip|trust")
TEMPLATES = ("approve_a_held_action", "contain_a_rogue_agent", "containment_drill")
PHASES = [
    "Preparation",
    "Detection and analysis",
    "Containment",
    "Eradication and recovery",
    "Post-incident activity",
]
ENDS = {
    "approve_a_held_action": ("REFUSED", "EXPIRED", "CANCELLED", "FAILED", "PARTIAL"),
    "contain_a_rogue_agent": ("APPROVAL_REFUSED", "APPROVAL_EXPIRED", "PARTIAL", "UNAVAILABLE"),
    "containment_drill": ("APPROVAL_REFUSED", "APPROVAL_EXPIRED", "PARTIAL", "FAILED"),
}


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def definition(name: str) -> Any:
    return load(ARTEFACT / "Holdfast" / f"{name}.json")


def template(name: str) -> Any:
    return load(ARTEFACT / "case-templates" / f"{name}.json")


def problems(kind: str, document: Any) -> list[str]:
    """Return what the schema *kind* says against *document*."""
    schema = {**SCHEMAS, "$ref": f"#/definitions/{kind}"}
    return [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(document)]


# -- definitions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [flavor.name for flavor in FLAVORS])
def test_definition_is_of_the_documented_form(name: str) -> None:
    """Each names a program and a logo that are there, and is named like its file."""
    found = definition(name)

    assert problems("flavor", found) == []
    assert found["name"] == name
    assert (ARTEFACT / found["command"]).is_file()
    assert (ARTEFACT / "Holdfast" / found["service_logo"]["path"]).is_file()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"name": "Holdfast Contain"}, id="space"),
        pytest.param({"dataTypeList": ["domain"]}, id="analyzer"),
        pytest.param({"command": ""}, id="command"),
        pytest.param({"config": {}}, id="service"),
        pytest.param({"configurationItems": [{"name": "endpoint"}]}, id="item"),
    ],
)
def test_definition_negative_control(broken: dict[str, Any]) -> None:
    """The schema sees what Cortex would refuse or ignore."""
    assert problems("flavor", {**definition("Holdfast_GetAgent"), **broken}) != []


def test_every_action_of_the_catalogue_has_a_responder() -> None:
    """Parity: a responder that leaves every parameter open, or a waiver with a reason."""
    plain = {flavor.slug for flavor in FLAVORS if not flavor.fixed}

    assert plain == set(ACTIONS) - set(WAIVERS)
    assert {Path(path).stem for path in generated() if path.endswith(".json")} == {
        path.stem for path in (ARTEFACT / "Holdfast").glob("*.json")
    }


def test_i05_no_configuration_item_weakens_tls() -> None:
    """All responders share one configuration, and nothing in it is like a switch for verification."""
    items = [definition(flavor.name)["configurationItems"] for flavor in FLAVORS]

    assert all(each == items[0] for each in items)
    assert not [item for item in items[0] if SWITCH.search(item["name"])]
    assert [item["name"] for item in items[0] if item["required"]] == ["endpoint"]


@pytest.mark.parametrize("name", ["verify_ssl", "insecure", "skip_tls", "trust_any"])
def test_i05_no_configuration_item_negative_control(name: str) -> None:
    """Such an item would be seen."""
    assert SWITCH.search(name)


@pytest.mark.parametrize("name", [flavor.name for flavor in FLAVORS])
def test_i07_observables_name_declared_parameters(name: str) -> None:
    """An observable of a type is one declared parameter, and a destination is no agent."""
    found = definition(name)
    declared = {each.name: each for each in ACTIONS[found["config"]["service"]].parameters}
    pairs = [pair.split("=") for pair in found["config"].get("observables", "").split(",") if pair]

    assert bool(pairs) is ("thehive:case_artifact" in found["dataTypeList"])
    assert {parameter for _, parameter in pairs} <= set(declared)
    for kind, parameter in pairs:
        if kind in ("domain", "fqdn", "hostname", "ip"):
            assert parameter == "destination"
        elif kind != "other":
            assert declared[parameter].contains == kind.replace("-", " ")


# -- case templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_is_of_the_documented_form(name: str) -> None:
    """Tasks are in order, and grouped by the phases of NIST SP 800-61 in their order."""
    found = template(name)
    groups = [PHASES.index(task["group"]) for task in found["tasks"]]

    assert problems("template", found) == []
    assert [task["order"] for task in found["tasks"]] == list(range(len(found["tasks"])))
    assert groups == sorted(groups)


def test_template_negative_control() -> None:
    """The schema sees a task without a title."""
    found = template("containment_drill")

    assert problems("template", {**found, "tasks": [{"group": "Containment"}]}) != []


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_names_responders_that_exist(name: str) -> None:
    """Whoever follows it finds the buttons, on the objects that it says."""
    said = set(re.findall(r"Holdfast_\w+", json.dumps(template(name))))

    assert said
    assert said <= {flavor.name for flavor in FLAVORS}


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_has_a_task_for_each_bad_end(name: str) -> None:
    """Refusal, expiry, partial success and failure have a task of their own."""
    titles = " ".join(task["title"] + task["description"] for task in template(name)["tasks"])

    assert [end for end in ENDS[name] if end not in titles] == []


def test_rogue_agent_template_has_every_step() -> None:
    """Triage, contain, revoke, evidence, incident, decide, release or eradicate, verify."""
    text = json.dumps(template("contain_a_rogue_agent"))
    steps = [
        "GetBlastRadius",
        "FreezeAgent",
        "RevokeTokens",
        "VerifyContainment",
        "ExportEvidence",
        "OpenIncident",
        "ReleaseAgent",
        "KillAgent",
        "UpdateIncident",
    ]

    assert [step for step in steps if f"Holdfast_{step}" not in text] == []
    assert text.index("Decide: release") < text.index("Holdfast_ReleaseAgent")


# -- the archive ------------------------------------------------------------------------------------


def test_archive_is_the_same_each_time(tmp_path: Path) -> None:
    """The same source makes the same bytes."""
    first, second = (build(tmp_path / name)[0] for name in ("a", "b"))

    assert first.read_bytes() == second.read_bytes()


def test_archive_holds_the_responders(tmp_path: Path) -> None:
    """Definitions, program, code and templates; the program may be started."""
    (archive,) = build(tmp_path)

    with zipfile.ZipFile(archive) as packed:
        members = {member.filename: member for member in packed.infolist()}
    assert {
        "Holdfast/Holdfast_ContainAgent.json",
        "Holdfast/Dockerfile",
        "Holdfast/requirements.txt",
        "Holdfast/holdfast_actions/run.py",
        "case-templates/containment_drill.json",
    } <= set(members)
    assert members["Holdfast/holdfast_responder.py"].external_attr >> 16 == 0o100755
    assert not [name for name in members if "__pycache__" in name]
