# SPDX-License-Identifier: Apache-2.0
"""StackStorm: each action is a process of its own, started by the platform's action wrapper.

The real wrapper comes with StackStorm's source alone: set ``ST2_CHECKOUT`` to a checkout, and the
second runner uses it. The first one uses a stand-in of ours with the same command line and output.
What the action runner does around the wrapper (defaults from the metadata, the environment, reading
the output between its two delimiters, the final status) is done here in the same way.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from soar_actions.platforms.stackstorm.build import assemble
from tests.soar.runners.base import Asset, Outcome, Runner
from tests.soar.venvs import python_of

__all__ = ["DELIMITER", "RUNNERS", "Execution", "StackStormRunner", "pack"]

_VENV: Final = "stackstorm"
_STAND_IN: Final = Path(__file__).resolve().parents[1] / "standins" / "stackstorm"
_WRAPPER: Final = "contrib/runners/python_runner/python_runner/python_action_wrapper.py"
DELIMITER: Final = "%%%%%~=~=~=************=~=~=~%%%%"


@functools.cache
def pack() -> Path:
    """Return the assembled pack, made once for the process."""
    place = Path(tempfile.mkdtemp(prefix="holdfast-pack-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return assemble(place)


@functools.cache
def metadata(identifier: str) -> Mapping[str, Any]:
    """Return what StackStorm registers for an action of the pack."""
    found: Mapping[str, Any] = yaml.safe_load(
        (pack() / "actions" / f"{identifier}.yaml").read_text(encoding="utf-8")
    )
    return found


@dataclass(frozen=True)
class Execution:
    """One execution as StackStorm stores it."""

    status: str
    result: Mapping[str, Any]

    @property
    def inner(self) -> Mapping[str, Any]:
        """What the action returned, or nothing if it returned nothing that can be read."""
        inner = self.result.get("result")
        return inner if isinstance(inner, dict) else {}


@dataclass(frozen=True)
class StackStormRunner:
    """Runs an action of the pack with one of the two wrappers."""

    is_stand_in: bool
    platform: str = "stackstorm"
    _environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def runner(self) -> str:
        """What runs the action."""
        if self.is_stand_in:
            return "python-script runner (stand-in of ours for python_action_wrapper.py)"
        return "python-script runner: st2 checkout's python_action_wrapper.py"

    def unavailable(self) -> str:
        """Return why it cannot be run."""
        if not self.is_stand_in:
            checkout = os.environ.get("ST2_CHECKOUT", "")
            if not checkout:
                return "ST2_CHECKOUT names no checkout of StackStorm (st2common is not on PyPI)"
            if not (Path(checkout) / _WRAPPER).is_file():
                return f"ST2_CHECKOUT holds no {_WRAPPER}"
        found = python_of(_VENV)
        return found if isinstance(found, str) else ""

    def versions(self) -> Mapping[str, str]:
        """Return the versions it runs on."""
        python = _python()
        said = {"python": _output(str(python), "-c", "import sys; print(sys.version.split()[0])")}
        if self.is_stand_in:
            return {**said, "st2common": "stand-in"}
        text = (self._checkout() / "st2common/st2common/__init__.py").read_text(encoding="utf-8")
        version = [line.split('"')[1] for line in text.splitlines() if "__version__ =" in line]
        return {**said, "st2common": (version or ["unknown"])[0]}

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Run an action in an execution whose id is *key*."""
        action = slug.replace("-", "_")
        declared = metadata(action)["parameters"]
        typed = {name: _typed(declared.get(name, {}), value) for name, value in parameters.items()}
        execution = self.execute(action, typed, asset=asset, execution_id=key)
        return _outcome(execution)

    def execute(
        self, action: str, parameters: Mapping[str, Any], *, asset: Asset, execution_id: str
    ) -> Execution:
        """Run the action *action* of the pack, and return its execution."""
        definition = metadata(action)
        values = {
            name: schema["default"]
            for name, schema in definition["parameters"].items()
            if "default" in schema and name != "timeout"
        } | dict(parameters)
        entry_point = pack() / "actions" / definition["entry_point"]
        done = subprocess.run(
            [
                str(_python()),
                str(self._wrapper()),
                "--pack=holdfast",
                f"--file-path={entry_point}",
                "--user=stanley",
                f"--config={json.dumps(_config(asset))}",
                "--stdin-parameters",
            ],
            input=json.dumps({"parameters": values}) + "\n",
            capture_output=True,
            text=True,
            timeout=definition["parameters"]["timeout"]["default"],
            env=self._environ(execution_id),
            check=False,
        )
        return _execution(done)

    def _environ(self, execution_id: str) -> dict[str, str]:
        names = ("PATH", "HOME", "LANG", "https_proxy", "no_proxy")
        environment = {name: os.environ[name] for name in names if name in os.environ}
        paths = [] if self.is_stand_in else [str(self._checkout() / "st2common")]
        return {
            **environment,
            **self._environment,
            "PYTHONPATH": ":".join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ST2_ACTION_PACK_NAME": "holdfast",
            "ST2_ACTION_EXECUTION_ID": execution_id,
        }

    def _wrapper(self) -> Path:
        return _STAND_IN / "action_wrapper.py" if self.is_stand_in else self._checkout() / _WRAPPER

    def _checkout(self) -> Path:
        return Path(os.environ["ST2_CHECKOUT"])


def _python() -> Path:
    found = python_of(_VENV)
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def _config(asset: Asset) -> dict[str, Any]:
    values = {
        "endpoint": asset.endpoint,
        "api_token": asset.api_token,
        "ca_certificate": asset.ca_certificate,
        "client_certificate": asset.client_certificate,
        "client_key": asset.client_key,
    }
    return {
        **{name: value for name, value in values.items() if value},
        "timeout_seconds": int(asset.timeout_seconds),
    }


def _typed(schema: Mapping[str, Any], value: str) -> Any:
    """Return *value* as StackStorm's own command line makes it of text."""
    kind = schema.get("type")
    if kind == "integer" and value.isdecimal():
        return int(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if kind == "array":
        return [item.strip() for item in value.split(",")]
    return value


def _execution(done: subprocess.CompletedProcess[str]) -> Execution:
    parts = done.stdout.split(DELIMITER)
    if len(parts) not in (1, 3):
        raise ValueError(f"the output has {len(parts)} parts, and StackStorm takes 3")
    said = json.loads(parts[1]) if len(parts) == 3 else {"result": "None", "status": None}
    # As the runner decides: an exit code other than 0 is a failure, and so is a status of False.
    is_success = done.returncode == 0 and said["status"] is not False
    return Execution(
        status="succeeded" if is_success else "failed",
        result={
            "stdout": parts[0] + (parts[2] if len(parts) == 3 else ""),
            "stderr": done.stderr,
            "exit_code": done.returncode,
            "result": said["result"],
        },
    )


def _outcome(execution: Execution) -> Outcome:
    data = execution.inner
    error = data.get("error") or {}
    status = data.get("status", "")
    # The execution's status is the platform's word; ours only says which success or failure it is.
    if execution.status == "succeeded":
        status = "PENDING" if status == "PENDING" else "SUCCESS"
    else:
        status = "PARTIAL" if status == "PARTIAL" else "FAILED"
    return Outcome(
        status=status,
        reason=error.get("reason", ""),
        error_class=error.get("class", ""),
        is_retryable=error.get("retryable"),
        data=data,
        native=json.dumps(execution.result),
    )


RUNNERS: tuple[Runner, ...] = (
    StackStormRunner(is_stand_in=True),
    StackStormRunner(is_stand_in=False),
)
