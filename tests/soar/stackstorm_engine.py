# SPDX-License-Identifier: Apache-2.0
"""Runs the pack's workflows on StackStorm's real conductor, one task after the other.

The conductor (``orquesta``, which imports on Python 3.8 only) is a process of its own; it says which
task it wants run, and is told how that went. Waiting times are not waited.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.soar.runners.stackstorm import Execution, pack
from tests.soar.venvs import python_of

__all__ = ["Ended", "Step", "run_workflow", "unavailable"]

_CONDUCTOR: Final = Path(__file__).resolve().parent / "standins" / "stackstorm" / "conductor.py"
Act = Callable[["Step"], Execution]


@dataclass(frozen=True)
class Step:
    """A task that the conductor wants run."""

    task: str
    action: str
    input: Mapping[str, Any]
    delay: int | None
    count: int
    """How often the task was asked for, this time included."""


@dataclass(frozen=True)
class Ended:
    """A workflow that has ended."""

    status: str
    output: Mapping[str, Any]
    errors: list[Mapping[str, Any]]
    steps: list[Step] = field(default_factory=list)

    @property
    def path(self) -> list[str]:
        """The tasks in order, each run of polls once."""
        names = [step.task for step in self.steps]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]


def unavailable() -> str:
    """Return why no workflow can be run here; empty if they can."""
    found = python_of("orquesta")
    return found if isinstance(found, str) else ""


def run_workflow(
    name: str, inputs: Mapping[str, Any], act: Act, *, execution: str, defaults: bool = True
) -> Ended:
    """Run the workflow *name*; *act* does each task that is not a ``core.noop``."""
    interpreter = python_of("orquesta")
    assert not isinstance(interpreter, str), interpreter
    actions = pack() / "actions"
    declared = yaml.safe_load((actions / f"{name}.yaml").read_text(encoding="utf-8"))
    definition = (actions / declared["entry_point"]).read_text(encoding="utf-8")
    given = {
        key: schema["default"]
        for key, schema in declared["parameters"].items()
        if defaults and "default" in schema
    }
    order = {
        "spec": yaml.safe_load(definition),
        "input": {**given, **inputs},
        "execution": execution,
    }
    steps: list[Step] = []
    with subprocess.Popen(
        [str(interpreter), str(_CONDUCTOR)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _say(process, order)
            while True:
                heard = _hear(process)
                if "task" not in heard:
                    return Ended(
                        status=heard["status"],
                        output=heard["output"] or {},
                        errors=heard["errors"],
                        steps=steps,
                    )
                step = Step(
                    task=heard["task"],
                    action=heard["action"],
                    input=heard["input"],
                    delay=heard["delay"],
                    count=1 + sum(before.task == heard["task"] for before in steps),
                )
                steps.append(step)
                execution_of = act(step)
                _say(process, {"status": execution_of.status, "result": execution_of.result})
        finally:
            process.kill()


def _say(process: subprocess.Popen[str], message: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError(f"the conductor ended: {process.stderr.read()[-2000:]}")
    return json.loads(line)
