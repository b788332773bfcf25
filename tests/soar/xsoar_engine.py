# SPDX-License-Identifier: Apache-2.0
"""Walks a playbook of the pack as the platform's server does: tasks, conditions, asks, error paths.

Laws:

1. A command task whose entry is an error, or whose polling ran out of time, goes on by ``#error#``.
2. A condition goes on by the first label that holds, an ask by the answer, both else by ``#default#``.
3. What the graph does not say stops the walk with an error: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["ERROR", "Walk", "resolve"]

ERROR: Final = "#error#"
_MAX_STEPS: Final = 60
_REFERENCE: Final = re.compile(r"\$\{([^}]+)\}")

Commander = Callable[[str, Mapping[str, str], str], bool]
"""Runs (command, arguments, task) to its end, and tells whether it succeeded."""


@dataclass
class Walk:
    """One run of one playbook.

    Attributes:
        playbook: As the platform reads it.
        inputs: What it is started with.
        context: The incident's context; the commands write to it.
        command: Runs a command.
        answers: What humans answer, by the name of the ask; nothing: no answer in time.
        names: Every task that was reached, in order.
    """

    playbook: Mapping[str, Any]
    inputs: Mapping[str, str]
    context: Mapping[str, Any]
    command: Commander
    answers: Mapping[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Walk to an end and return its name.

        Raises:
            AssertionError: The graph leads nowhere, or in a circle (law 3).
        """
        values = {
            one["key"]: self.inputs.get(one["key"], one["value"].get("simple", ""))
            for one in self.playbook["inputs"]
        }
        scope = {"inputs": values, "incident": {"id": "4711"}, **self.context}
        number = self.playbook["starttaskid"]
        for _ in range(_MAX_STEPS):
            task = self.playbook["tasks"][number]
            self.names.append(task["task"]["name"])
            self.numbers.append(number)
            label = self._do(task, {**scope, **self.context})
            following = task.get("nexttasks", {}).get(label)
            if following is None:
                assert not task.get("nexttasks"), f"{task['task']['name']}: no way on by {label}"
                return str(task["task"]["name"])
            assert len(following) == 1, f"{task['task']['name']}: one way on at a time"
            number = following[0]
        raise AssertionError(f"in circles: {self.names}")

    def _do(self, task: Mapping[str, Any], scope: Mapping[str, Any]) -> str:
        if task["task"].get("iscommand"):
            command = task["task"]["script"].partition("|||")[2]
            arguments = {
                name: resolve(value["simple"], scope)
                for name, value in task["scriptarguments"].items()
            }
            is_done = self.command(command, arguments, task["id"])
            return "#none#" if is_done else ERROR
        if "message" in task:
            resolve(task["message"]["body"]["simple"], scope)
            answer = self.answers.get(task["task"]["name"])
            is_bounded = (
                any(task["sla"].values()) and task["message"]["timings"]["completeaftersla"]
            )
            assert answer or is_bounded, "without an end of its own an ask waits for ever"
            assert answer is None or answer in task["message"]["replyOptions"], answer
            return answer or "#default#"
        for condition in task.get("conditions", ()):
            (((test,),),) = (condition["condition"],)
            assert test["operator"] == "isEqualString", test
            left = look_up(test["left"]["value"]["simple"], scope)
            if left == test["right"]["value"]["simple"]:
                return str(condition["label"])
        return "#default#" if task["type"] == "condition" else "#none#"


def resolve(text: str, scope: Mapping[str, Any]) -> str:
    """Return *text* with its ``${path}`` looked up; what is not there is empty."""
    return _REFERENCE.sub(lambda match: str(look_up(match[1], scope) or ""), text)


def look_up(path: str, scope: Mapping[str, Any]) -> Any:
    """Return the value at a dotted *path*; of a list, its last one. None if there is none."""
    value: Any = scope
    for part in path.split("."):
        if isinstance(value, list):
            value = value[-1] if value else None
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
