# SPDX-License-Identifier: Apache-2.0
"""Splunk SOAR: the app as it is packaged, in the real SDK, through ``app.handle``.

Two SDKs run the same source: 2.3.7 on Python 3.11 and the current major on 3.13. The status is what
the SDK's ``ActionResult`` says; what a playbook can branch on beside it is its data and summary.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms.splunk_soar.build import assemble
from tests.soar.runners.base import Asset, Outcome, Runner
from tests.soar.venvs import REQUIREMENTS, python_of

__all__ = ["RUNNERS", "SplunkRunner", "app_project"]

_WORKER: Final = Path(__file__).with_name("splunk_soar_worker.py")


@functools.cache
def app_project() -> Path:
    """Return the assembled app, made once for the process."""
    place = Path(tempfile.mkdtemp(prefix="holdfast-splunk-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return assemble(place)


class SplunkRunner:
    """One SDK, with a process that has imported the app."""

    platform = "splunk_soar"
    is_stand_in = False

    def __init__(self, venv: str, sdk: str, python: str) -> None:
        self.venv = venv
        self.runner = f"splunk-soar-sdk {sdk} on Python {python}: app.handle"
        self._process: subprocess.Popen[str] | None = None
        self._versions: dict[str, str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return self.runner

    def unavailable(self) -> str:
        """Return why the SDK cannot be had here; empty if it can."""
        if not (REQUIREMENTS / f"{self.venv}.lock").is_file():
            return "its lock file is missing"
        found = python_of(self.venv)
        return "" if isinstance(found, Path) else found

    def versions(self) -> Mapping[str, str]:
        """Return the SDK's, pydantic's and Python's versions, as the worker reports them."""
        with self._lock:
            self._worker()
        return dict(self._versions)

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Run an action in the SDK; *key* becomes the platform's action run."""
        return self.outcome(self.handle(slug, dict(parameters), asset=asdict(asset), key=key))

    def handle(
        self, slug: str, parameters: Mapping[str, Any], *, asset: Mapping[str, Any], key: str
    ) -> dict[str, Any]:
        """Return what the SDK made of an action, untouched."""
        request = {
            "identifier": slug.replace("-", "_"),
            "parameters": {**_typed(slug, parameters), "context": {"guid": "g", "artifact_id": 0}},
            "asset": dict(asset),
            "action_run_id": int(hashlib.sha256(key.encode()).hexdigest()[:12], 16),
            "container_id": 7,
        }
        with self._lock:
            process = self._worker()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    def outcome(self, answer: Mapping[str, Any]) -> Outcome:
        """Read an outcome from what the SDK reported."""
        native = json.dumps(answer)
        if answer["crash"] or len(answer["results"]) != 1:
            return Outcome(status="FAILED", error_class="FAILED", reason="CRASH", native=native)
        result = answer["results"][0]
        data = result["data"][0] if result["data"] else {}
        error = data.get("error", {})
        status = "SUCCESS"
        if not result["status"]:
            status = "PARTIAL" if data.get("status") == "PARTIAL" else "FAILED"
        elif data.get("status") == "PENDING":
            status = "PENDING"
        if not data and not result["status"]:
            # Test connectivity has no data on this platform; its message carries the codes.
            parts = result["message"].partition(": ")[2].split(": ")
            error = {"class": parts[0], "reason": parts[1] if len(parts) > 1 else ""}
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
            python = python_of(self.venv)
            assert isinstance(python, Path), python
            self._process = subprocess.Popen(
                [str(python), "-P", str(_WORKER), str(app_project())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            atexit.register(self._process.kill)
            assert self._process.stdout is not None
            self._versions = json.loads(self._process.stdout.readline())
        return self._process


def _typed(slug: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as the platform sends them: numbers and booleans as such."""
    declared = ACTIONS[slug].parameters if slug in ACTIONS else ()
    types = {parameter.name: parameter.type.value for parameter in declared}
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        if types.get(name) == "number" and isinstance(value, str) and value.isdecimal():
            values[name] = int(value)
        elif types.get(name) == "boolean" and value in ("true", "false"):
            values[name] = value == "true"
        else:
            values[name] = value
    return values


RUNNERS: Final[tuple[Runner, ...]] = (
    SplunkRunner("splunk2", "2.3.7", "3.11"),
    SplunkRunner("splunk7", "7.0.3", "3.13"),
)
