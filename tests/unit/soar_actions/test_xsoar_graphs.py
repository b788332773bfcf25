# SPDX-License-Identifier: Apache-2.0
"""The pack's playbooks as graphs: everything they name exists, and every way through them ends.

What the commands answer is scripted here; the same walks run against a live control in
``tests/soar/test_xsoar_playbooks.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from soar_actions.platforms.xsoar import build as xsoar_build
from soar_actions.platforms.xsoar.flow import Human, Playbook, Title, playbook
from soar_actions.platforms.xsoar.integration import FROM_VERSION
from soar_actions.platforms.xsoar.playbooks import APPROVE, CONTAIN, DRILL, PLAYBOOKS
from tests.soar.xsoar_engine import Walk

PACK = Path(xsoar_build.__file__).parent / "artefact" / "Packs" / "Holdfast"
DECLARED = yaml.safe_load((PACK / "Integrations/Holdfast/Holdfast.yml").read_text())
COMMANDS = {command["name"]: command for command in DECLARED["script"]["commands"]}
FILES = sorted(PACK.glob("Playbooks/*.yml"))
ALL = [pytest.param(yaml.safe_load(path.read_text()), id=path.stem) for path in FILES]
READS = re.compile(r"\bHoldfast\.[A-Za-z]+(?:\.[a-z_]+)*")


def walk(
    definition: Playbook,
    results: Mapping[str, Any],
    answers: Mapping[str, str] | None = None,
) -> Walk:
    """Walk a playbook with scripted results: a status, or an error's reason, by command."""
    context: dict[str, Any] = {"Holdfast": {}}
    left = {
        name: list(said) if isinstance(said, list) else [said] for name, said in results.items()
    }

    def command(name: str, _arguments: Mapping[str, str], _task: str) -> bool:
        said = left.get(name, ["SUCCESS"])
        result = said.pop(0) if len(said) > 1 else said[0]
        *noun, verb = name.removeprefix("holdfast-").split("-")
        place = "".join(word.capitalize() for word in (verb, *noun))
        if isinstance(result, dict):
            context["Holdfast"][place] = result
            return True
        is_error = result not in ("SUCCESS", "PARTIAL", "PENDING")
        context["Holdfast"][place] = (
            {"status": "FAILED", "error": {"reason": result}} if is_error else {"status": result}
        )
        return not is_error

    made = Walk(
        playbook(definition, from_version=FROM_VERSION),
        {"Agent": "banking", "Operation": "operations/x"},
        context,
        command,
        answers or {},
    )
    made.run()
    return made


KEEP = {"Release it, eradicate it, or keep it contained?": "Keep contained"}
RELEASE = {"Release it, eradicate it, or keep it contained?": "Release"}
KILL = {"Release it, eradicate it, or keep it contained?": "Eradicate"}
AGAIN = {"Nobody decided in time. Ask again?": "Ask again"}
START = {"Start the drill?": "Start"}
SEEN = {"Decide it in Holdfast": "I have decided it in Holdfast"}
C, R, V = "holdfast-agent-contain", "holdfast-agent-release", "holdfast-containment-verify"
LOOK = "holdfast-operation-get"


def op(*states: str, status: str = "SUCCESS") -> list[dict[str, Any]]:
    """Return what looking at an operation answers, look by look."""
    return [{"status": status, "operation": {"state": state}} for state in states]


WALKS: dict[str, tuple[Playbook, Mapping[str, Any], dict[str, str], str | None]] = {
    "contain-kept": (CONTAIN, {}, KEEP, "Done"),
    "contain-no-answer": (CONTAIN, {}, {}, "Done"),
    "contain-partial": (CONTAIN, {C: "PARTIAL"}, KEEP, "Done"),
    "contain-pending": (CONTAIN, {C: "PENDING"}, {}, "Ended with work for humans"),
    "contain-refused": (CONTAIN, {C: "APPROVAL_REFUSED"}, {}, "Ended with work for humans"),
    "contain-expired": (CONTAIN, {C: "APPROVAL_EXPIRED"}, {}, "Ended with work for humans"),
    "contain-expired-again": (CONTAIN, {C: ["APPROVAL_EXPIRED", "SUCCESS"]}, AGAIN | KEEP, "Done"),
    "contain-failed": (CONTAIN, {C: "UNAVAILABLE"}, {}, "Ended with work for humans"),
    "unknown": (CONTAIN, {"holdfast-agent-get": "NOT_FOUND"}, {}, "Ended with work for humans"),
    "by-hand": (
        CONTAIN,
        {
            "holdfast-blast-radius-get": "UNAVAILABLE",
            "holdfast-tokens-revoke": "UNAVAILABLE",
            "holdfast-agent-timeline-get": "UNAVAILABLE",
            "holdfast-evidence-export": "UNAVAILABLE",
            "holdfast-incident-open": "UNAVAILABLE",
            "holdfast-incident-update": "UNAVAILABLE",
        },
        KEEP,
        "Done",
    ),
    "released": (CONTAIN, {}, RELEASE, "Done"),
    "release-refused": (CONTAIN, {R: "APPROVAL_REFUSED"}, RELEASE, "Done"),
    "release-expired": (CONTAIN, {R: "APPROVAL_EXPIRED"}, RELEASE, "Done"),
    "release-failed": (CONTAIN, {R: "PERMISSION_MISSING"}, RELEASE, "Done"),
    "release-partial": (CONTAIN, {R: "PARTIAL"}, RELEASE, "Done"),
    "killed": (CONTAIN, {}, KILL, "Done"),
    "kill-partial": (CONTAIN, {C: ["SUCCESS", "PARTIAL"]}, KILL, "Done"),
    "leaks": (CONTAIN, {V: "FAILED"}, KEEP, "Ended with work for humans"),
    "approve-granted": (APPROVE, {LOOK: op("PENDING_APPROVAL", "DONE")}, SEEN, None),
    "approve-partial": (APPROVE, {LOOK: op("DONE", status="PARTIAL")}, SEEN, None),
    "approve-refused": (APPROVE, {LOOK: op("PENDING_APPROVAL", "REFUSED")}, {}, None),
    "approve-expired": (APPROVE, {LOOK: op("RUNNING", "EXPIRED")}, {}, None),
    "approve-moot": (APPROVE, {LOOK: op("CANCELLED")}, {}, None),
    "approve-failed": (APPROVE, {LOOK: op("FAILED")}, {}, None),
    "approve-waits": (APPROVE, {LOOK: op("PENDING_APPROVAL")}, SEEN, None),
    "approve-down": (APPROVE, {LOOK: "UNAVAILABLE"}, {}, None),
    "drill": (DRILL, {}, START, None),
    "drill-not-now": (DRILL, {}, {}, None),
    "drill-partial": (DRILL, {C: "PARTIAL", V: "FAILED", R: "APPROVAL_REFUSED"}, START, None),
    "drill-refused": (DRILL, {C: "APPROVAL_REFUSED"}, START, None),
    "drill-expired": (DRILL, {C: "APPROVAL_EXPIRED"}, START, None),
    "drill-failed": (DRILL, {C: "UNAVAILABLE"}, START, None),
    "drill-release-partial": (DRILL, {R: "PARTIAL"}, START, None),
}


@pytest.mark.parametrize("name", WALKS)
def test_walk_ends(name: str) -> None:
    """Whatever the commands answer and people say, the playbook comes to an end."""
    definition, results, answers, end = WALKS[name]

    walked = walk(definition, results, answers)

    assert end is None or walked.names[-1] == end


@pytest.mark.parametrize("definition", PLAYBOOKS, ids=lambda one: one.name)
def test_walks_reach_every_task(definition: Playbook) -> None:
    """No branch is only drawn."""
    reached: set[str] = set()
    for other, results, answers, _ in WALKS.values():
        if other is definition:
            reached |= set(walk(other, results, answers).numbers)

    assert reached == set(playbook(definition, from_version=FROM_VERSION)["tasks"])


@pytest.mark.parametrize("reason", ["APPROVAL_REFUSED", "APPROVAL_EXPIRED", "UNAVAILABLE"])
def test_nothing_goes_on_as_if_contained(reason: str) -> None:
    """A containment that was not carried out ends at a human, and nobody records it as done."""
    walked = walk(CONTAIN, {C: reason})

    assert "Open the incident record" not in walked.names
    assert walked.names[-1] == "Ended with work for humans"


def test_nothing_goes_on_as_if_contained_negative_control() -> None:
    """The same check does see the record when it is contained."""
    walked = walk(CONTAIN, {}, KEEP)

    assert "Open the incident record" in walked.names


def test_only_a_humans_word_releases() -> None:
    """Without an answer, and with every other one, the containment playbook releases nothing."""
    for answers in ({}, KEEP, KILL):
        assert "Release the agent" not in walk(CONTAIN, {}, answers).names

    assert "Release the agent" in walk(CONTAIN, {}, RELEASE).names


@pytest.mark.parametrize("made", ALL)
def test_commands_and_arguments_exist(made: Mapping[str, Any]) -> None:
    """Every task runs a command that the integration has, with its arguments, none missing."""
    for task in made["tasks"].values():
        if task["task"].get("iscommand"):
            command = COMMANDS[task["task"]["script"].removeprefix("Holdfast|||")]
            arguments = {one["name"]: one for one in command["arguments"]}
            required = {name for name, one in arguments.items() if one.get("required")}
            given = set(task["scriptarguments"])
            assert given <= set(arguments), (command["name"], given - set(arguments))
            assert required <= given, (command["name"], required - given)
            for name, value in task["scriptarguments"].items():
                allowed = arguments[name].get("predefined")
                assert not allowed or "${" in value["simple"] or value["simple"] in allowed


@pytest.mark.parametrize("made", ALL)
def test_commands_that_change_something_have_an_error_path(made: Mapping[str, Any]) -> None:
    """A command that fails leads somewhere; the playbook does not just stop."""
    for task in made["tasks"].values():
        if task["task"].get("iscommand"):
            assert task["continueonerrortype"] == "errorPath"
            assert "#error#" in task["nexttasks"]


@pytest.mark.parametrize("made", ALL)
def test_context_paths_exist(made: Mapping[str, Any]) -> None:
    """Every path that a condition, argument, message or output reads is one that a command writes."""
    written = {
        output["contextPath"] for command in COMMANDS.values() for output in command["outputs"]
    }
    places = {path[: at.start()] for path in written for at in re.finditer(r"\.", path)} | written
    texts = [
        text
        for task in made["tasks"].values()
        for text in _texts(
            [task.get(key) for key in ("conditions", "scriptarguments", "message", "task")]
        )
    ]
    texts += _texts(made["inputs"]) + [output["contextPath"] for output in made["outputs"]]
    read = {path for text in texts for path in READS.findall(text)}

    assert read
    assert read - places == set()


@pytest.mark.parametrize("made", ALL)
def test_every_input_is_used_and_every_reference_is_an_input(made: Mapping[str, Any]) -> None:
    """What the playbook asks for it uses, and what it uses it asks for."""
    used = {
        name
        for task in made["tasks"].values()
        for text in _texts(task)
        for name in re.findall(r"\$\{inputs\.(\w+)\}", text)
    }

    assert used == {one["key"] for one in made["inputs"]}


def test_flow_refuses_a_step_that_leads_nowhere() -> None:
    """A wrong name in a definition is found when it is rendered."""
    broken = replace(DRILL, steps=(*DRILL.steps[:-1], replace(DRILL.steps[-1], key="elsewhere")))

    with pytest.raises(ValueError, match="leads by"):
        playbook(broken, from_version=FROM_VERSION)


def test_flow_refuses_a_step_that_nothing_leads_to() -> None:
    """A branch that can never be taken is found too."""
    lost = Human("lost", "Lost", "", then="end")

    with pytest.raises(ValueError, match="nothing leads to"):
        playbook(replace(DRILL, steps=(*DRILL.steps, lost)), from_version=FROM_VERSION)


def test_flow_refuses_two_steps_of_one_name() -> None:
    """One of the two would vanish."""
    twin = Title("end", "Another end")

    with pytest.raises(ValueError, match="same key"):
        playbook(replace(DRILL, steps=(*DRILL.steps, twin)), from_version=FROM_VERSION)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return []
