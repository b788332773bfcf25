# SPDX-License-Identifier: Apache-2.0
"""Playbooks written as steps, and made into the graph of tasks that the platform reads.

Laws:

1. Every command that changes something has an error path: a playbook never stops without having told
   a human what stands and what does not.
2. A step is named once and never numbered by hand; ids and positions are derived, so that the same
   steps always make the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

__all__ = ["Ask", "Branch", "Command", "Human", "Input", "Playbook", "Step", "Title", "playbook"]

_COLUMN: Final = 430
_ROW: Final = 175


@dataclass(frozen=True)
class Title:
    """A heading: the phase of NIST SP 800-61 and SANS that begins; or an end, if nothing follows."""

    key: str
    name: str
    then: str = ""


@dataclass(frozen=True)
class Command:
    """Runs a command of the integration.

    Attributes:
        arguments: Texts; ``${…}`` is looked up by the platform.
        error: Step to go on with if the command fails (law 1).
    """

    key: str
    name: str
    command: str
    arguments: Mapping[str, str]
    then: str
    error: str
    description: str = ""


@dataclass(frozen=True)
class Branch:
    """Goes on by a value of the context: the first of ``cases`` that it equals, or ``otherwise``."""

    key: str
    name: str
    path: str
    cases: Mapping[str, str]
    otherwise: str


@dataclass(frozen=True)
class Ask:
    """Asks a human, through whatever the platform sends messages with, and goes on by the answer.

    No answer within an hour is the answer ``otherwise``, which must be the one that keeps things held.
    """

    key: str
    name: str
    body: str
    to: str
    answers: Mapping[str, str]
    otherwise: str


@dataclass(frozen=True)
class Human:
    """Work for a human, who ticks it off."""

    key: str
    name: str
    description: str
    then: str


@dataclass(frozen=True)
class Input:
    """What the playbook is started with."""

    key: str
    value: str
    description: str
    is_required: bool = False


Step = Title | Command | Branch | Ask | Human


@dataclass(frozen=True)
class Playbook:
    """A playbook: the first step is where it starts."""

    name: str
    description: str
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[tuple[str, str], ...] = field(default=())


def playbook(definition: Playbook, *, from_version: str) -> dict[str, Any]:
    """Return the playbook as the platform reads it.

    Raises:
        ValueError: A step leads nowhere, is named twice or is never reached.
    """
    numbers = {step.key: str(number) for number, step in enumerate(definition.steps, start=1)}
    if len(numbers) != len(definition.steps):
        raise ValueError(f"{definition.name}: two steps have the same key")
    _check(definition, set(numbers))
    places = _places(definition)
    tasks: dict[str, Any] = {"0": _start(definition, numbers, places)}
    for step in definition.steps:
        tasks[numbers[step.key]] = _task(definition, step, numbers, places[step.key])
    return {
        "id": definition.name,
        "version": -1,
        "name": definition.name,
        "description": definition.description,
        "starttaskid": "0",
        "tasks": tasks,
        "view": _view({"linkLabelsPosition": {}, "paper": _paper(places)}),
        "inputs": [
            {
                "key": one.key,
                "value": {"simple": one.value} if one.value else {},
                "required": one.is_required,
                "description": one.description,
                "playbookInputQuery": None,
            }
            for one in definition.inputs
        ],
        "outputs": [
            {"contextPath": path, "description": text, "type": "unknown"}
            for path, text in definition.outputs
        ],
        "fromversion": from_version,
        "tests": ["No tests (auto formatted)"],
    }


def _check(definition: Playbook, known: set[str]) -> None:
    reached = {definition.steps[0].key}
    for step in definition.steps:
        for label, target in _links(step).items():
            if target not in known:
                raise ValueError(f"{definition.name}: {step.key} leads by {label} to {target!r}")
            reached.add(target)
    if known - reached:
        raise ValueError(f"{definition.name}: nothing leads to {sorted(known - reached)}")


def _links(step: Step) -> dict[str, str]:
    match step:
        case Title(then=then):
            return {"#none#": then} if then else {}
        case Human(then=then):
            return {"#none#": then}
        case Command(then=then, error=error):
            return {"#none#": then, "#error#": error}
        case Branch(cases=cases, otherwise=otherwise):
            return {**cases, "#default#": otherwise}
        case Ask(answers=answers, otherwise=otherwise):
            return {**answers, "#default#": otherwise}


def _places(definition: Playbook) -> dict[str, tuple[int, int]]:
    """Return a column and row for each step: as far down as its shortest way from the start."""
    links = {step.key: tuple(_links(step).values()) for step in definition.steps}
    rows = {definition.steps[0].key: 1}
    frontier = list(rows)
    for key in frontier:
        for target in links[key]:
            if target not in rows:
                rows[target] = rows[key] + 1
                frontier.append(target)
    used: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for step in definition.steps:
        row = rows[step.key]
        places[step.key] = (used.get(row, 0), row)
        used[row] = used.get(row, 0) + 1
    return places


def _paper(places: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    width = (max(column for column, _ in places.values()) + 1) * _COLUMN
    height = (max(row for _, row in places.values()) + 1) * _ROW
    return {"dimensions": {"height": height, "width": width, "x": 50, "y": 50}}


def _view(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _start(
    definition: Playbook, numbers: Mapping[str, str], places: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    first = definition.steps[0].key
    column, _ = places[first]
    task = _frame(definition, "start", "0", "start", "", {"#none#": first}, numbers, (column, 0))
    task["task"].pop("type", None)
    task["task"] |= {"iscommand": False, "brand": ""}
    return task


def _task(
    definition: Playbook, step: Step, numbers: Mapping[str, str], place: tuple[int, int]
) -> dict[str, Any]:
    number, links = numbers[step.key], _links(step)
    kind = {Title: "title", Command: "regular", Human: "regular"}.get(type(step), "condition")
    text = step.description if isinstance(step, Command | Human) else ""
    task = _frame(definition, step.name, number, kind, text, links, numbers, place)
    match step:
        case Command():
            task["task"] |= {
                "script": f"Holdfast|||{step.command}",
                "iscommand": True,
                "brand": "Holdfast",
            }
            task["scriptarguments"] = {
                name: {"simple": value} for name, value in sorted(step.arguments.items())
            }
            task |= {"continueonerror": True, "continueonerrortype": "errorPath"}
        case Branch():
            task["conditions"] = [
                {"label": label, "condition": [[_equals(step.path, label)]]} for label in step.cases
            ]
        case Ask():
            task["message"] = {
                "to": {"simple": step.to},
                "subject": {"simple": f"Holdfast: {step.name}"},
                "body": {"simple": step.body},
                "methods": ["email"],
                "format": "",
                "bcc": None,
                "cc": None,
                "timings": {
                    "retriescount": 2,
                    "retriesinterval": 20,
                    "completeafterreplies": 1,
                    "completeafterv2": True,
                    # With the time below: without both, the platform waits for an answer for ever.
                    "completeaftersla": True,
                },
                "replyOptions": list(step.answers),
            }
            task["sla"] = {"minutes": 0, "hours": 1, "days": 0, "weeks": 0}
        case _:
            pass
    return task


def _equals(path: str, value: str) -> dict[str, Any]:
    return {
        "operator": "isEqualString",
        "left": {"value": {"simple": path}, "iscontext": True},
        "right": {"value": {"simple": value}},
        "ignorecase": False,
    }


def _frame(
    definition: Playbook,
    name: str,
    number: str,
    kind: str,
    text: str,
    links: Mapping[str, str],
    numbers: Mapping[str, str],
    place: tuple[int, int],
) -> dict[str, Any]:
    identity = str(uuid5(NAMESPACE_URL, f"holdfast:{definition.name}:{number}"))
    task: dict[str, Any] = {
        "id": number,
        "taskid": identity,
        "type": kind,
        "task": {
            "id": identity,
            "version": -1,
            "name": "" if kind == "start" else name,
            "description": text,
            "type": kind,
            "iscommand": False,
            "brand": "",
        },
    }
    if links:
        task["nexttasks"] = {label: [numbers[target]] for label, target in links.items()}
    column, row = place
    return task | {
        "separatecontext": False,
        "continueonerrortype": "",
        "view": _view({"position": {"x": 50 + column * _COLUMN, "y": 50 + row * _ROW}}),
        "note": False,
        "timertriggers": [],
        "ignoreworker": False,
        "skipunavailable": False,
        "quietmode": 0,
        "isoversize": False,
        "isautoswitchedtoquietmode": False,
    }
