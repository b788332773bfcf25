# SPDX-License-Identifier: Apache-2.0
"""TheHive: a Cortex responder is a process with a job folder, as Cortex's process runner starts it.

The folder holds ``input/input.json``; the responder, on the real ``cortexutils``, writes
``output/output.json``. What Cortex would store of it is what the outcome is read from.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms.thehive.build import assemble
from tests.soar.runners.base import Asset, Outcome, Runner
from tests.soar.venvs import python_of

__all__ = ["RUNNERS", "Job", "TheHiveRunner", "flavor_of", "responders"]

_VENV: Final = "thehive"
_DEADLINE_S: Final = 120


@functools.cache
def responders() -> Path:
    """Return the folder of the assembled responders, made once for the process."""
    place = Path(tempfile.mkdtemp(prefix="holdfast-responders-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return assemble(place)


def flavor_of(slug: str) -> str:
    """Return the name of the responder that leaves every parameter of *slug* open."""
    return f"Holdfast_{ACTIONS[slug].name.title().replace(' ', '')}"


@dataclass(frozen=True)
class Job:
    """One job as Cortex stores it: exit code, output file, and what the process printed."""

    exit_code: int
    output: Mapping[str, Any]
    printed: str

    @property
    def is_success(self) -> bool:
        """Whether Cortex shows it as a success."""
        return self.output.get("success") is True

    @property
    def full(self) -> Mapping[str, Any]:
        """The result: the report, or of a failure the last line of the message."""
        if self.is_success:
            return dict(self.output["full"])
        last = str(self.output.get("errorMessage", "")).rpartition("\nResult: ")[2]
        try:
            return dict(json.loads(last))
        except (ValueError, TypeError):
            return {}

    @property
    def operations(self) -> list[dict[str, Any]]:
        """What TheHive does to the case."""
        return list(self.output.get("operations", []))


@dataclass(frozen=True)
class TheHiveRunner:
    """Runs a responder on an observable, or on a case."""

    platform: str = "thehive"
    runner: str = "Cortex responder on cortexutils: python holdfast_responder.py <job folder>"
    is_stand_in: bool = False

    def unavailable(self) -> str:
        """Return why it cannot be run."""
        found = python_of(_VENV)
        return found if isinstance(found, str) else ""

    def versions(self) -> Mapping[str, str]:
        """Return the versions it runs on."""
        code = (
            "import importlib.metadata as m, sys; "
            "print(sys.version.split()[0], m.version('cortexutils'))"
        )
        done = subprocess.run(
            [str(_python()), "-c", code], capture_output=True, text=True, timeout=30, check=True
        )
        python, cortexutils = done.stdout.split()
        return {"python": python, "cortexutils": cortexutils}

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Run the responder of *slug* in the job that stands for *key* and these parameters."""
        job = self.press(flavor_of(slug), dict(parameters), asset=asset, job=key)
        return _outcome(job)

    def press(
        self,
        flavor: str,
        parameters: Mapping[str, str],
        *,
        asset: Asset,
        job: str,
        kind: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> Job:
        """Run the responder *flavor* as a press on its button would.

        Args:
            flavor: Its name.
            parameters: What the analyst says: the observable is one, custom fields are the others.
            asset: What the administrator configured.
            job: Stands for the job: the same job, pressed on the same, is the same folder.
            kind: What it is pressed on; empty: an observable if it takes one, else a case.
            data: What it is pressed on, if not made from *parameters*.
        """
        definition = json.loads((responders() / f"{flavor}.json").read_text(encoding="utf-8"))
        observable = _observable(definition, parameters)
        if not kind:
            kind = "thehive:case_artifact" if observable[1] else "thehive:case"
        assert kind in definition["dataTypeList"], f"{flavor} cannot be pressed on {kind}"
        document = {
            "dataType": kind,
            "data": data if data is not None else _data(kind, observable, parameters),
            "tlp": 2,
            "pap": 2,
            "message": "",
            "parameters": {"user": "ana@example.org"},
            "config": {**definition["config"], **_config(definition, asset)},
        }
        content = json.dumps(document, sort_keys=True)
        name = hashlib.sha256(f"{job} {flavor} {content}".encode()).hexdigest()[:24]
        folder = _jobs() / f"cortex-job-{name}"
        if not folder.exists():
            (folder / "input").mkdir(parents=True)
            (folder / "output").mkdir()
            (folder / "input" / "input.json").write_text(content, encoding="utf-8")
        return _run(folder)


def _run(folder: Path) -> Job:
    output = folder / "output" / "output.json"
    output.unlink(missing_ok=True)
    names = ("PATH", "HOME", "LANG", "no_proxy")
    done = subprocess.run(
        [str(_python()), str(responders() / "holdfast_responder.py"), str(folder)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=_DEADLINE_S,
        env={
            **{name: os.environ[name] for name in names if name in os.environ},
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        check=False,
    )
    said = json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {}
    return Job(exit_code=done.returncode, output=said, printed=done.stdout + done.stderr)


@functools.cache
def _jobs() -> Path:
    place = Path(tempfile.mkdtemp(prefix="holdfast-cortex-jobs-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def _python() -> Path:
    found = python_of(_VENV)
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def _config(definition: Mapping[str, Any], asset: Asset) -> dict[str, Any]:
    known = {item["name"]: item["type"] for item in definition["configurationItems"]}
    values = {name: getattr(asset, name, "") for name in known}
    return {
        name: int(value) if known[name] == "number" else value
        for name, value in values.items()
        if value
    }


def _observable(definition: Mapping[str, Any], parameters: Mapping[str, str]) -> tuple[str, str]:
    """Return (type, parameter) of the observable that stands for one of *parameters*, if any."""
    pairs = [
        pair.split("=") for pair in definition["config"].get("observables", "").split(",") if pair
    ]
    fitting = [(kind, name) for kind, name in pairs if name in parameters]
    # The type that is always there comes last, and comes first here.
    return fitting[-1] if fitting else ("", "")


def _data(kind: str, observable: tuple[str, str], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return an observable, or a case, that says *parameters* as TheHive 5 sends it."""
    said, subject = observable if kind == "thehive:case_artifact" else ("", "")
    fields = [
        {"name": f"holdfast-{name.replace('_', '-')}", "type": "string", "value": value, "order": 0}
        for name, value in parameters.items()
        if name != subject
    ]
    case = {"_id": "~40964304", "_type": "case", "number": 12, "title": "x", "customFields": fields}
    if not subject:
        return case
    return {
        "_id": "~40968400",
        "_type": "case_artifact",
        "dataType": said,
        "data": parameters[subject],
        "tags": [],
        "case": case,
    }


def _outcome(job: Job) -> Outcome:
    data = job.full
    error = data.get("error") or {}
    # Cortex knows success and failure; which of each, the report or the message says.
    status = data.get("status", "")
    if job.is_success and job.exit_code == 0:
        status = "PENDING" if status == "PENDING" else "SUCCESS"
    else:
        status = "PARTIAL" if status == "PARTIAL" else "FAILED"
    return Outcome(
        status=status,
        reason=error.get("reason", ""),
        error_class=error.get("class", ""),
        is_retryable=error.get("retryable"),
        data=data,
        native=json.dumps(job.output) + job.printed,
    )


RUNNERS: tuple[Runner, ...] = (TheHiveRunner(),)
