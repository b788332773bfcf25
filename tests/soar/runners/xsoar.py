# SPDX-License-Identifier: Apache-2.0
"""Cortex XSOAR: the shipped integration, run as the platform's own loop runs it.

What is executed is the script inside the built zip. ``CommonServerPython`` and ``demistomock`` exist in
a git repository alone, so a stand-in of ours takes their place behind the same interface; set
``XSOAR_CONTENT`` to a checkout (of demisto/content or demisto/content-ci-cd-template) to run on the
real ones. The server is played here: it keeps the context, and it fires the next run of a command
that asked to be polled. A run that is asked for again while it is being polled *is* that next run.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from soar_actions.platforms.xsoar.build import VERSION, build
from soar_actions.platforms.xsoar.naming import TEST_MODULE, command_of, prefix_of
from tests.soar.runners.base import Asset, Outcome
from tests.soar.venvs import python_of

__all__ = ["RUNNERS", "Entry", "Server", "params_of"]

_HERE: Final = Path(__file__).resolve().parent
_STAND_IN: Final = _HERE.parent / "standins" / "xsoar"
_ERROR, _WARNING = 4, 11
_DEADLINE_S: Final = 120


@dataclass(frozen=True)
class Entry:
    """One entry of the War Room, as the integration returned it."""

    raw: Any

    @property
    def kind(self) -> int:
        """The platform's type of entry: 1 note, 4 error, 11 warning, 9 file."""
        return int(self.raw.get("Type") or 1) if isinstance(self.raw, dict) else 1

    @property
    def contents(self) -> str:
        """What it says."""
        said = self.raw.get("Contents") if isinstance(self.raw, dict) else self.raw
        return said if isinstance(said, str) else json.dumps(said)

    def __getattr__(self, name: str) -> Any:
        """Return ``entry.PollingCommand`` and the like; None if the entry has no such field."""
        return self.raw.get(name) if isinstance(self.raw, dict) else None


@dataclass
class Server:
    """The platform's server, as far as an integration sees it: a process, contexts, scheduled runs."""

    python: Path
    context: dict[str, Any] = field(default_factory=dict)
    native: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="xsoar-")
        self._process: subprocess.Popen[str] | None = None
        atexit.register(_end, self)

    def close(self) -> None:
        """End the process."""
        _end(self)

    def run(
        self,
        command: str,
        arguments: Mapping[str, Any],
        params: Mapping[str, Any],
        *,
        incident: str = "1",
        task: str = "",
    ) -> list[Entry]:
        """Run *command* once, as the server does, and keep what it puts into the context.

        Args:
            command: Of the integration.
            arguments: As the playbook gives them.
            params: Of the instance.
            incident: Number of the incident.
            task: Number of the playbook's task that runs it; empty: a human typed it.
        """
        entry = {"id": "7@" + incident}
        if task:
            entry["entryTask"] = {"taskId": task, "playbookName": "a playbook"}  # type: ignore[assignment]
        order = {
            "command": command,
            "args": dict(arguments),
            "params": dict(params),
            "incident": incident,
            "context": {
                "IntegrationInstance": "Holdfast_instance_1",
                "IntegrationBrand": "Holdfast",
                "ParentEntry": entry,
                "ExecutedCommands": [{"moduleBrand": "Holdfast"}],
            },
        }
        answer = self._ask(order)
        self.native.append(json.dumps(answer, ensure_ascii=False))
        if answer["uncaught"]:
            raise AssertionError(f"{command} died: {answer['uncaught']}")
        entries = [Entry(raw) for raw in answer["entries"]]
        for one in entries:
            self._store(one.EntryContext or {})
        return entries

    def _store(self, outputs: Mapping[str, Any]) -> None:
        for path, value in outputs.items():
            name, _, key = path.partition("(")
            if key == "true)":  # replaces what is there
                self.context.setdefault(name, {}).update(value)
                continue
            *places, last = name.split(".")
            held = self.context
            for place in places:
                held = held.setdefault(place, {})
            same = [item for item in held.get(last, []) if item.get("name") == value.get("name")]
            if same:
                same[0].update(value)
            else:
                held.setdefault(last, []).append(dict(value))

    def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        process = self._running()
        for old in Path(self._place.name, "work").iterdir():
            old.unlink()
        assert process.stdin is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return self._line(process)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            place = Path(self._place.name)
            (place / "work").mkdir(exist_ok=True)
            unified = place / "integration.json"
            unified.write_text(json.dumps(_shipped(place)), encoding="utf-8")
            mock, common = _platform_files()
            self._process = subprocess.Popen(
                [self.python, "-I", _HERE / "xsoar_worker.py", mock, common, unified],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=place / "work",
                env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
            )
            self._line(self._process)
        return self._process

    def _line(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        line = _read_line(process)
        if not line:
            raise AssertionError("the platform's process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


class _Runner:
    """The pack's integration in the platform's loop."""

    platform = "xsoar"

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}
        self._scheduled: dict[str, Entry] = {}

    @property
    def is_stand_in(self) -> bool:
        """Whether our stand-in is used."""
        return _platform_files()[1] == _STAND_IN

    @property
    def runner(self) -> str:
        """The platform's entry point with versions."""
        what = "our stand-in of CommonServerPython" if self.is_stand_in else "CommonServerPython"
        return f"{what} + the pack's unified integration {VERSION} on Python 3.12: exec"

    def unavailable(self) -> str:
        """Return why it cannot be run on this machine; empty if it can."""
        found = python_of("xsoar")
        return found if isinstance(found, str) else ""

    def versions(self) -> Mapping[str, str]:
        """Return what it runs on."""
        return {
            "python": "3.12",
            "pack": VERSION,
            "CommonServerPython": "stand-in" if self.is_stand_in else "of XSOAR_CONTENT",
        }

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Run an action once: the command, or the next run of one that is being polled."""
        python = python_of("xsoar")
        if isinstance(python, str):
            raise RuntimeError(python)
        server = self._servers.setdefault("one", Server(python))
        server.native.clear()
        arguments = dict(parameters)
        what = json.dumps([slug, arguments, key], sort_keys=True)
        command = command_of(slug)
        due = self._scheduled.pop(what, None)
        if due is not None:
            command, arguments = due.PollingCommand, due.PollingArgs
        # The incident stands for the playbook's run; the integration makes its key of it by itself.
        entries = server.run(command, arguments, params_of(asset), incident=key or "1", task="4")
        polled = next((one for one in entries if one.PollingCommand), None)
        if polled is not None:
            self._scheduled[what] = polled
        return _outcome(slug, entries, server)


def params_of(asset: Asset) -> dict[str, Any]:
    """Return the instance's settings as the platform hands them over."""
    return {
        "endpoint": asset.endpoint,
        "credentials": {"identifier": "", "password": asset.api_token},
        "ca_certificate": asset.ca_certificate,
        "client_certificate": asset.client_certificate,
        "client_key": asset.client_key,
        "timeout_seconds": asset.timeout_seconds,
        "proxy": False,
    }


def _outcome(slug: str, entries: list[Entry], server: Server) -> Outcome:
    native = "\n".join([*server.native, json.dumps(server.context)])
    name = prefix_of(slug).partition(".")[2]
    data = server.context.get("Holdfast", {}).get(name, {}) if slug != "test-connectivity" else {}
    failed = next((one for one in entries if one.kind == _ERROR), None)
    if failed is not None:
        error = data.get("error") or {}
        kind, _, rest = failed.contents.partition(" ")
        return Outcome(
            status="FAILED",
            reason=error.get("reason") or rest.partition(":")[0],
            error_class=error.get("class") or kind,
            is_retryable=error.get("retryable", "Trying again" in failed.contents),
            data=data,
            native=native,
        )
    if command_of(slug) == TEST_MODULE:
        is_ok = [one.raw for one in entries] == ["ok"]
        return Outcome(status="SUCCESS" if is_ok else "FAILED", native=native)
    if any(one.PollingCommand for one in entries):
        return Outcome(status="PENDING", data=data, native=native)
    if any(one.kind == _WARNING for one in entries):
        return Outcome(status="PARTIAL", data=data, native=native)
    return Outcome(status=str(data.get("status", "FAILED")), data=data, native=native)


def _shipped(place: Path) -> dict[str, Any]:
    """Return the integration inside the zip that people upload."""
    upload = build(place / "packages")[0]
    with zipfile.ZipFile(upload) as archive:
        declared: dict[str, Any] = yaml.safe_load(
            archive.read("Integrations/integration-Holdfast.yml")
        )
    return {"script": {"script": declared["script"]["script"]}}


def _platform_files() -> tuple[Path, Path]:
    """Return the folders of ``demistomock`` and ``CommonServerPython``: real ones, or our stand-in."""
    named = os.environ.get("XSOAR_CONTENT", "")
    if not named:
        return _STAND_IN, _STAND_IN
    root = Path(named)
    pairs = (
        (root / "Tests" / "demistomock", root / "Packs/Base/Scripts/CommonServerPython"),
        (root, root),
    )
    for mock, common in pairs:
        if (mock / "demistomock.py").is_file() and (common / "CommonServerPython.py").is_file():
            return mock, common
    raise RuntimeError(f"XSOAR_CONTENT={named} is no checkout of the platform's content")


def _read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line; the process is ended if it takes too long, and the line is empty."""
    assert process.stdout is not None
    timer = threading.Timer(_DEADLINE_S, process.kill)
    timer.start()
    try:
        return process.stdout.readline()
    finally:
        timer.cancel()


def _end(server: Server) -> None:
    process = server._process
    server._process = None
    if process is not None:
        process.kill()
        process.wait(10)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
    server._place.cleanup()


RUNNERS: Final = (_Runner(),)
