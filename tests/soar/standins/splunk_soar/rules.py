# SPDX-License-Identifier: Apache-2.0
"""As much of ``phantom.rules`` as our playbooks use, written by us from its public documentation.

It shows that a playbook's branches go where they should with what the *real* app answers; that a
real server runs them the same way, it does not show. Laws:

1. As on the platform, ``act`` and ``prompt2`` return at once and the callback comes later.
2. What the playbook calls and this does not know is an error, not a silent nothing.
3. A delayed action never sleeps: ``on_wait`` is called in place of the time that passes.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Note", "Platform"]


@dataclass(frozen=True)
class Note:
    """What a playbook wrote down for people."""

    title: str
    content: str


@dataclass
class Platform:
    """One playbook run on one container.

    Attributes:
        act: Runs an action and returns the SDK's results: status, message, data, summary.
        artifacts: CEF fields of the container's artifacts.
        answers: What people answer to a prompt, by its name; None or absent: nobody answers.
        on_wait: Called instead of waiting, with the name of the delayed action.
        run_id: Of the playbook run.
    """

    act: Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]
    artifacts: Sequence[Mapping[str, str]]
    answers: Mapping[str, str | None] = field(default_factory=dict)
    on_wait: Callable[[str], None] = lambda name: None
    run_id: str = "4711"
    acted: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    prompts: list[Mapping[str, Any]] = field(default_factory=list)
    severity: str = "medium"
    _queue: deque[Callable[[], None]] = field(default_factory=deque)
    _data: dict[str, str] = field(default_factory=dict)

    @property
    def container(self) -> dict[str, Any]:
        """The container, as blocks get it."""
        return {"id": 7, "name": "alert", "severity": self.severity}

    def play(self, path: Path, *, at_most: int = 200) -> None:
        """Run the playbook at *path* to its end.

        Raises:
            AssertionError: It does not end.
        """
        rules = self._module()
        package = types.ModuleType("phantom")
        package.rules = rules  # type: ignore[attr-defined]
        before = {name: sys.modules.get(name) for name in ("phantom", "phantom.rules")}
        sys.modules.update({"phantom": package, "phantom.rules": rules})
        try:
            playbook = types.ModuleType(path.stem)
            exec(compile(path.read_text(), str(path), "exec"), playbook.__dict__)
            playbook.on_start(self.container)
            for _ in range(at_most):
                if not self._queue:
                    break
                self._queue.popleft()()
            assert not self._queue, f"the playbook does not end: {[name for name, _ in self.acted]}"
            playbook.on_finish(self.container, {})
        finally:
            for name, module in before.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module

    def names(self) -> list[str]:
        """Return the actions that were run, in order."""
        return [name for name, _ in self.acted]

    def told(self) -> str:
        """Return everything that was written down for people."""
        return "\n".join(f"{note.title}: {note.content}" for note in self.notes)

    def _module(self) -> types.ModuleType:
        module = types.ModuleType("phantom.rules")
        for name in (
            "playbook_block",
            "debug",
            "collect2",
            "prompt2",
            "add_note",
            "save_run_data",
            "get_run_data",
            "get_playbook_info",
            "set_severity",
        ):
            setattr(module, name, getattr(self, f"_{name}"))
        module.act = self._act  # type: ignore[attr-defined]
        return module

    def _playbook_block(self) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def mark(block: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(block)
            def run(*args: Any, **kwargs: Any) -> Any:
                return block(*args, **kwargs)

            return run

        return mark

    def _debug(self, message: object) -> None:
        assert isinstance(message, str)

    def _act(
        self,
        action: str,
        parameters: list[dict[str, Any]],
        assets: list[str],
        name: str,
        callback: Callable[..., None],
        start_time: Any = None,
    ) -> None:
        assert assets == ["holdfast"], "an action without an asset runs on every one"
        assert start_time is None or start_time.tzinfo is not None

        def later() -> None:
            if start_time is not None:
                self.on_wait(name)
            done = []
            for given in parameters:
                # The platform leaves out what has no value.
                sent = {key: value for key, value in given.items() if value is not None}
                self.acted.append((action, sent))
                done += [dict(each) for each in self.act(action, sent)]
            self._call_back(callback, name, done)

        self._queue.append(later)

    def _prompt2(
        self,
        container: Mapping[str, Any],
        role: str,
        message: str,
        respond_in_mins: int,
        name: str,
        response_types: list[dict[str, Any]],
        callback: Callable[..., None],
    ) -> None:
        self.prompts.append({"name": name, "role": role, "message": message})
        answer = self.answers.get(name)
        choices = response_types[0]["options"]["choices"]
        assert answer is None or answer in choices, f"nobody can answer {answer!r}"
        done = {
            "status": "failed" if answer is None else "success",
            "message": "expired" if answer is None else "answered",
            "data": [],
            "summary": {} if answer is None else {"responses": [answer]},
        }
        self._queue.append(lambda: self._call_back(callback, name, [done]))

    def _call_back(
        self, callback: Callable[..., None], name: str, done: list[dict[str, Any]]
    ) -> None:
        for each in done:
            if isinstance(each["status"], bool):
                each["status"] = "success" if each["status"] else "failed"
        callback(
            action={"name": name},
            success=all(each["status"] == "success" for each in done),
            container=self.container,
            results=[{"name": name, "action_results": done}],
            handle=None,
            filtered_artifacts=None,
            filtered_results=None,
            custom_function=None,
        )

    def _collect2(
        self,
        container: Mapping[str, Any],
        datapath: list[str],
        action_results: list[dict[str, Any]] | None = None,
    ) -> list[list[Any]]:
        if datapath[0].startswith("artifact:*.cef."):
            fields = [path.removeprefix("artifact:*.cef.") for path in datapath]
            return [[artifact.get(name) for name in fields] for artifact in self.artifacts]
        rows = []
        for result in action_results or []:
            for done in result["action_results"]:
                for data in done["data"] or [{}]:
                    rows.append([_at(path, result["name"], done, data) for path in datapath])
        return rows

    def _add_note(
        self,
        container: Mapping[str, Any],
        note_type: str,
        title: str,
        content: str,
        note_format: str,
    ) -> None:
        assert (note_type, note_format) == ("general", "markdown")
        self.notes.append(Note(title, content))

    def _save_run_data(self, value: str, key: str, auto: bool) -> None:
        assert isinstance(value, str)
        self._data[key] = value

    def _get_run_data(self, key: str) -> str | None:
        return self._data.get(key)

    def _get_playbook_info(self) -> list[dict[str, str]]:
        return [{"run_id": self.run_id, "name": "playbook", "id": "1"}]

    def _set_severity(self, container: Mapping[str, Any], severity: str) -> None:
        assert severity in ("low", "medium", "high")
        self.severity = severity


def _at(path: str, name: str, done: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
    """Return what a data path names in one result; None if there is no such thing."""
    block, _, rest = path.partition(":action_result.")
    assert block == name, f"{path} is not of the action {name}"
    value: Any = done
    if rest.startswith("data.*."):
        value, rest = data, rest.removeprefix("data.*.")
    for part in rest.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value
