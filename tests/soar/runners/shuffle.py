# SPDX-License-Identifier: Apache-2.0
"""Shuffle: the app in the real ``shuffle-sdk``, started as Shuffle's worker starts it.

The SDK fetches its execution from a backend and sends it the result; both go to a backend of ours,
which is a few lines long. The outcome is read from the result that the SDK sent: a node that was not
carried out is ``FAILURE`` or ``SKIPPED``, and of one that was, ``success`` and ``status`` tell.
"""

from __future__ import annotations

import atexit
import copy
import functools
import json
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from soar_actions.platforms.shuffle.build import assemble
from soar_actions.platforms.shuffle.render import method_name
from tests.soar.runners.base import Asset, Outcome, Runner
from tests.soar.runners.shuffle_backend import Backend
from tests.soar.venvs import REQUIREMENTS, python_of

__all__ = ["RUNNERS", "ShuffleRunner", "app_folder", "node", "workflow_run"]

_VENV: Final = "shuffle"
_WORKER: Final = Path(__file__).with_name("shuffle_worker.py")


@functools.cache
def app_folder() -> Path:
    """Return the assembled app, made once for the process."""
    place = Path(tempfile.mkdtemp(prefix="holdfast-shuffle-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return assemble(place)


def node(name: str, parameters: Mapping[str, str], *, node_id: str, label: str) -> dict[str, Any]:
    """Return a node of a workflow, as the backend hands it to the app."""
    return {
        "name": name,
        "id": node_id,
        "label": label,
        "app_name": "holdfast",
        "app_version": "1.0.0",
        "parameters": [
            {
                "name": key,
                "value": value,
                "variant": "STATIC_VALUE",
                "options": None,
                "schema": {"type": "string"},
                "unique_toggled": False,
            }
            for key, value in parameters.items()
        ],
    }


def workflow_run(execution_id: str, **more: Any) -> dict[str, Any]:
    """Return an execution, as the backend knows it."""
    return {
        "execution_id": execution_id,
        "authorization": "of-the-execution",
        "start": "",
        "execution_argument": "",
        "execution_variables": [],
        "results": [],
        "workflow": {
            "id": "workflow",
            "execution_org": {"id": "org"},
            "actions": [],
            "branches": [],
            "workflow_variables": [],
        },
        **more,
    }


class ShuffleRunner:
    """The SDK in a process that has imported the app."""

    platform = "shuffle"
    runner = "shuffle-sdk 0.0.41 on Python 3.11: AppBase.run with a backend"
    is_stand_in = False

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._backend: Backend | None = None
        self._versions: dict[str, str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return self.runner

    def unavailable(self) -> str:
        """Return why the SDK cannot be had here; empty if it can."""
        if not (REQUIREMENTS / f"{_VENV}.lock").is_file():
            return "its lock file is missing"
        found = python_of(_VENV)
        return "" if isinstance(found, Path) else found

    def versions(self) -> Mapping[str, str]:
        """Return the SDK's and Python's versions, as the worker reports them."""
        with self._lock:
            self._worker()
        return dict(self._versions)

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Run an action as a node of an execution whose id is made of *key*."""
        name = method_name(slug)
        execution_id = str(uuid.uuid5(uuid.NAMESPACE_URL, key))
        action = node(
            name,
            {**asdict(asset), **parameters},
            node_id=str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            label=name,
        )
        run = workflow_run(execution_id, start=action["id"])
        return self.outcome(self.execute(action, run))

    def execute(self, action: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
        """Let the SDK carry out *action* of *run*; return what it sent, and what it printed."""
        execution_id = run["execution_id"]
        with self._lock:
            process = self._worker()
            assert self._backend is not None
            assert process.stdin is not None
            assert process.stdout is not None
            self._backend.executions[execution_id] = copy.deepcopy(dict(run))
            self._backend.results[execution_id] = []
            environment = {
                "ACTION": json.dumps(action),
                "AUTHORIZATION": run["authorization"],
                "EXECUTIONID": execution_id,
                "BASE_URL": self._backend.url,
                "CALLBACK_URL": self._backend.url,
                "NO_PROXY": "127.0.0.1",
            }
            process.stdin.write(json.dumps({"environment": environment}) + "\n")
            process.stdin.flush()
            printed = json.loads(process.stdout.readline())["printed"]
            sent = self._backend.results.pop(execution_id)
            del self._backend.executions[execution_id]
        return {"sent": sent, "printed": printed, "given": dict(action)}

    def outcome(self, answer: Mapping[str, Any]) -> Outcome:
        """Read an outcome from what the SDK sent to the backend."""
        native = answer["printed"] + json.dumps(
            [_without_echo(each, answer["given"]) for each in answer["sent"]]
        )
        if len(answer["sent"]) != 1 or answer["sent"][0]["status"] != "SUCCESS":
            return Outcome(status="FAILED", error_class="FAILED", reason="NODE", native=native)
        try:
            data = json.loads(answer["sent"][0]["result"])
        except ValueError:
            data = {}
        error = data.get("error", {})
        status = "SUCCESS"
        if data.get("success") is not True:
            status = "PARTIAL" if data.get("status") == "PARTIAL" else "FAILED"
        elif data.get("status") == "PENDING":
            status = "PENDING"
        return Outcome(
            status=status,
            reason=error.get("reason", ""),
            error_class=error.get("class", ""),
            is_retryable=error.get("retryable"),
            data=data,
            native=native,
        )

    def _worker(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            python = python_of(_VENV)
            assert isinstance(python, Path), python
            if self._backend is None:
                self._backend = Backend()
                atexit.register(self._backend.close)
            self._process = subprocess.Popen(
                [str(python), "-P", str(_WORKER), str(app_folder() / "src")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            atexit.register(self._process.kill)
            assert self._process.stdout is not None
            self._versions = json.loads(self._process.stdout.readline())
        return self._process


def _without_echo(sent: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result without the node itself, which the SDK sends back to whoever it has it from.

    What the SDK adds to the node, its log, stays.
    """
    values = {each["value"] for each in given["parameters"]}
    action = dict(sent.get("action", {}))
    added = [each for each in action.get("parameters", []) if each["value"] not in values]
    return {**sent, "action": {**action, "parameters": added}}


RUNNERS: Final[tuple[Runner, ...]] = (ShuffleRunner(),)
