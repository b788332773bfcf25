# SPDX-License-Identifier: Apache-2.0
"""The pack's files by themselves: StackStorm's formats, templates, transitions, archives.

StackStorm's own schemas exist in its source alone; these are ours, of what its documentation says and
this pack uses.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms.stackstorm import WAIVERS
from soar_actions.platforms.stackstorm.build import assemble, build
from soar_actions.platforms.stackstorm.render import NO_TEMPLATE, generated
from tests.soar.runners.stackstorm import Execution
from tests.soar.stackstorm_engine import run_workflow, unavailable

HERE = Path(__file__).resolve().parent
ARTEFACT = HERE.parents[1] / "soar_actions" / "platforms" / "stackstorm" / "artefact"
SCHEMAS = json.loads((HERE / "standins/stackstorm/schemas.json").read_text(encoding="utf-8"))
SWITCH = re.compile("verif|insecure|skip|trust")
WORKFLOWS = ("approve_a_held_action", "contain_a_rogue_agent", "containment_drill")
ACTION_FILES = sorted(path.stem for path in (ARTEFACT / "actions").glob("*.yaml"))
TEMPLATES = (
    "{{ config_context.api_token }}",
    "a {% for x in y %}",
    "{# x",
    "x\n{{ st2kv.system.x }}",
    "x\n<% st2kv('system.holdfast_api_token', decrypt => true) %>",
)
PUBLISHED = re.compile(
    r"result\(\)\.result\.(receipt\.(epoch|last_allow_time)|operation\.(name|state|action|expire_time|"
    r"fingerprint_words)|incident\.name|timing\.(call|ack)_time_ns|link|status|agent\.directives\.len\(\))"
    r"|result\(\)\.get\(result\)(\.get\((error, dict\(\)|status, NO_RESULT|status|sha256, '')\))*"
    r"(\.get\((reason|class|retryable)[^()]*\)?)?"
)
"""What may be read of an answer: names, codes, numbers and times, all of Holdfast's making."""


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def problems(kind: str, document: Any) -> list[str]:
    """Return what the schema *kind* says against *document*."""
    schema = {**SCHEMAS, "$ref": f"#/definitions/{kind}"}
    return [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(document)]


def action(name: str) -> Any:
    return load(ARTEFACT / "actions" / f"{name}.yaml")


# -- formats ----------------------------------------------------------------------------------------


def test_pack_is_of_the_documented_form() -> None:
    """StackStorm reads ``pack.yaml`` first."""
    assert problems("pack", load(ARTEFACT / "pack.yaml")) == []


@pytest.mark.parametrize("name", ACTION_FILES)
def test_action_is_of_the_documented_form(name: str) -> None:
    """Each is registered under its file's name, and what it starts is there."""
    found = action(name)

    assert problems("action", found) == []
    assert found["name"] == name
    assert (ARTEFACT / "actions" / found["entry_point"]).is_file()


def test_rules_are_of_the_documented_form_and_off() -> None:
    """Nothing contains anybody by itself until an administrator says so."""
    rules = [load(path) for path in sorted((ARTEFACT / "rules").glob("*.yaml"))]

    assert [problems("rule", rule) for rule in rules] == [[]]
    assert [rule["enabled"] for rule in rules] == [False]


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        pytest.param("pack", {"ref": "hold-fast"}, id="ref"),
        pytest.param("pack", {"version": "1.0"}, id="version"),
        pytest.param("action", {"output_key": "result"}, id="output_key"),
        pytest.param("action", {"parameters": {"a": {"type": "text"}}}, id="type"),
        pytest.param("rule", {"criteria": {"body": {}}}, id="criteria"),
    ],
)
def test_formats_negative_control(kind: str, broken: dict[str, Any]) -> None:
    """The schemas see what StackStorm would refuse."""
    whole = {
        "pack": load(ARTEFACT / "pack.yaml"),
        "action": action("get_agent"),
        "rule": load(ARTEFACT / "rules" / "contain_on_alert.yaml"),
    }[kind]

    assert problems(kind, {**whole, **broken}) != []


def test_every_action_of_the_catalogue_is_there() -> None:
    """Parity: an action, or a waiver with a reason."""
    wanted = {action.identifier for slug, action in ACTIONS.items() if slug not in WAIVERS}

    assert wanted | set(WORKFLOWS) == set(ACTION_FILES)
    assert {path for path in generated() if path.startswith("artefact/actions/")} == {
        f"artefact/actions/{name}.yaml" for name in wanted
    }


def test_i05_settings_hold_secrets_as_secrets_and_no_switch() -> None:
    """What may hold a secret is masked; nothing is named like a switch for verification."""
    schema = load(ARTEFACT / "config.schema.yaml")
    parameters = {**SCHEMAS, "$ref": "#/definitions/parameters"}

    assert jsonschema_rs.validator_for(parameters).is_valid(schema)
    assert {name for name, one in schema.items() if one.get("secret")} == {
        "api_token",
        "client_key",
        "proxy",
    }
    assert not [name for name in schema if SWITCH.search(name)]


@pytest.mark.parametrize("name", ["verify_ssl", "insecure", "skip_tls", "trust_any"])
def test_i05_settings_negative_control(name: str) -> None:
    """Such a setting would be seen."""
    assert SWITCH.search(name)


def test_example_fits_the_settings() -> None:
    """It names settings that exist, and does not decrypt what StackStorm decrypts by itself."""
    text = (ARTEFACT / "holdfast.yaml.example").read_text(encoding="utf-8")
    example = yaml.safe_load(text)

    assert set(example) <= set(load(ARTEFACT / "config.schema.yaml"))
    assert not [line for line in text.splitlines() if "decrypt_kv" in line and line[0] != "#"]
    assert example["api_token"] == "{{ st2kv.system.holdfast_api_token }}"


# -- what an alert's text can do --------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTION_FILES)
def test_i07_no_parameter_takes_a_template(name: str) -> None:
    """StackStorm renders parameters with the configuration in reach: nothing there may be rendered."""
    for parameter in action(name)["parameters"].values():
        schema = parameter.get("items", parameter)
        if schema["type"] != "string" or "enum" in schema or parameter.get("immutable"):
            continue
        if parameter["description"].startswith("StackStorm users"):
            continue  # written by whoever writes the playbook
        taken = [text for text in TEMPLATES if re.search(schema["pattern"], text)]
        assert taken == [], parameter


def test_i07_no_parameter_takes_a_template_negative_control() -> None:
    """Ordinary text passes, braces and all."""
    assert re.search(NO_TEMPLATE, "tool call {a: {b: 1}} at 50%, 3 < 4 %")


def test_i07_conductor_evaluates_what_an_input_says_negative_control() -> None:
    """Why YAQL is refused too: text that gets past the schema is evaluated, not quoted."""
    if reason := unavailable():
        pytest.skip(f"not run: {reason}")
    reason_given = "alert <% 6 * 7 %>"
    ordered: list[str] = []

    class Enough(Exception):
        """The order is all that is wanted."""

    def act(step: Any) -> Any:
        if step.action == "holdfast.contain_agent":
            ordered.append(step.input["reason"])
            raise Enough
        return Execution("failed", {})

    with pytest.raises(Enough):
        run_workflow(
            "contain_a_rogue_agent", {"agent": "a", "reason": reason_given}, act, execution="0" * 24
        )

    assert ordered == ["alert 42"]
    pattern = action("contain_a_rogue_agent")["parameters"]["reason"]["pattern"]
    assert not re.search(pattern, reason_given)


@pytest.mark.parametrize("name", ["contain_agent", "contain_a_rogue_agent", "containment_drill"])
def test_i07_agent_is_exact(name: str) -> None:
    """No wildcard names an agent."""
    pattern = action(name)["parameters"]["agent"]["pattern"]

    assert [text for text in ("*", "a*", "", "A", "a b", "a,b") if re.search(pattern, text)] == []
    assert re.search(pattern, "banking")


# -- workflows --------------------------------------------------------------------------------------


def workflow(name: str) -> Any:
    return load(ARTEFACT / "actions" / "workflows" / f"{name}.yaml")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_calls_what_exists(name: str) -> None:
    """Each task gives its action what it needs, and nothing that it does not know."""
    for task in workflow(name)["tasks"].values():
        pack, _, called = task["action"].partition(".")
        if pack != "holdfast":
            assert task["action"] in ("core.ask", "core.noop")
            continue
        parameters = action(called)["parameters"]
        required = {key for key, schema in parameters.items() if schema.get("required")}
        assert required <= set(task["input"]) <= set(parameters)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_orders_have_keys_of_its_execution(name: str) -> None:
    """Every order has a key of its own, which a retry or a rerun keeps."""
    keys: dict[str, set[str]] = {}
    for task in workflow(name)["tasks"].values():
        called = ACTIONS.get(task["action"].removeprefix("holdfast.").replace("_", "-"))
        if called is None or called.is_read_only:
            continue
        given = dict(task["input"])
        keys.setdefault(given["idempotency_key"], set()).add(json.dumps([called.slug, given]))

    assert all(key.startswith("<% ctx(st2).workflow_execution_id %>-") for key in keys)
    assert all(len(orders) == 1 for orders in keys.values())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_has_one_transition_between_two_tasks(name: str) -> None:
    """StackStorm's conductor follows every path when it reads a workflow: they multiply."""
    assert doubled(workflow(name)["tasks"]) == []


def doubled(tasks: dict[str, Any]) -> list[tuple[str, str]]:
    """Return from where to where more than one transition leads."""
    pairs = Counter(
        (name, transition["do"])
        for name, task in tasks.items()
        for transition in task.get("next", [])
        if "do" in transition
    )
    return [pair for pair, count in pairs.items() if count > 1]


def test_workflow_has_one_transition_negative_control() -> None:
    """Two to the same task are seen."""
    assert doubled({"a": {"next": [{"do": "b"}, {"do": "b"}]}}) == [("a", "b")]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_i07_workflow_reads_only_codes_of_answers(name: str) -> None:
    """Free text of an answer never flows on into parameters, where it would be rendered."""
    text = json.dumps(workflow(name))
    without_asks = re.sub(r"result\(\)\.response\.\w+", "", text)
    left = PUBLISHED.sub("", without_asks)

    assert "result()" not in left.replace("isDict(result())", "")


def test_i07_workflow_reads_only_codes_of_answers_negative_control() -> None:
    """A summary would be seen."""
    assert "result()" in PUBLISHED.sub("", "<% result().result.summary %>")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_conductor_accepts_the_workflow(name: str) -> None:
    """StackStorm's own inspection finds nothing, and the first task is asked for."""
    if reason := unavailable():
        pytest.skip(f"not run: {reason}")
    asked: list[str] = []

    class Enough(Exception):
        """The first task is all that is wanted."""

    def act(step: Any) -> Any:
        asked.append(step.action)
        raise Enough

    with pytest.raises(Enough):
        run_workflow(name, {"agent": "a", "reason": "b", "operation": "c"}, act, execution="0" * 24)

    assert asked in (["holdfast.get_agent"], ["holdfast.get_operation"])


# -- the archive ------------------------------------------------------------------------------------


def test_archive_is_the_same_each_time(tmp_path: Path) -> None:
    """The same source makes the same bytes."""
    first, second = (build(tmp_path / name)[0] for name in ("a", "b"))

    assert first.read_bytes() == second.read_bytes()


def test_archive_holds_the_pack(tmp_path: Path) -> None:
    """One folder with the pack's name, the actions' code, and no rubbish."""
    (archive,) = build(tmp_path)

    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert {name.partition("/")[0] for name in names} == {"holdfast"}
    assert {"holdfast/pack.yaml", "holdfast/actions/holdfast_actions/run.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_pack_names_no_module_of_ours_that_stays(tmp_path: Path) -> None:
    """Nothing in the pack imports what is not in it."""
    made = assemble(tmp_path)
    texts = [path.read_text(encoding="utf-8") for path in made.rglob("*.py")]

    assert not [text for text in texts if re.search(r"^\s*(from|import) soar_actions", text, re.M)]
