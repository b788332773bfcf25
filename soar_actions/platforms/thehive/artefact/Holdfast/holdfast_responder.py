#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The one program of every Holdfast responder; which action it is, its definition says.

Laws:

1. A responder that did not do all it was asked fails. Pending is no failure: the case gets a task
   that says where a human decides, and what to press afterwards.
2. Nothing of the configuration is ever written: Cortex's library echoes its input with every error,
   so each configured value is removed first, whatever it is called.
3. The target is exactly one name. The observable that the analyst pressed the button on gives it; a
   custom field that names another one is refused, not overruled.
4. Tags, and titles of tasks, are words of ours. Text from elsewhere stands in a block of code.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cortexutils.responder import Responder  # type: ignore[import-not-found]
from holdfast_actions.catalogue import ACTIONS  # type: ignore[import-not-found]
from holdfast_actions.run import perform  # type: ignore[import-not-found]

__all__ = ["HoldfastResponder"]

_SETTINGS = (
    "endpoint",
    "api_token",
    "ca_certificate",
    "client_certificate",
    "client_key",
    "timeout_seconds",
)
_FIELD = "holdfast-"
"""Custom fields that give parameters start with this: ``holdfast-ttl-seconds``."""
_OPERATION = re.compile(r"operations/[A-Za-z0-9_-]{1,80}")
_OBSERVABLE, _CASE, _ALERT = "thehive:case_artifact", "thehive:case", "thehive:alert"
_TASK, _TASK_LOG = "thehive:case_task", "thehive:case_task_log"
_TAG_OPERATION = {
    _OBSERVABLE: "AddTagToArtifact",
    _CASE: "AddTagToCase",
    _TASK: "AddTagToCase",
    _TASK_LOG: "AddTagToCase",
    _ALERT: "AddTagToAlert",
}
_ENDED = ("DONE", "REFUSED", "EXPIRED", "CANCELLED", "FAILED")


class HoldfastResponder(Responder):  # type: ignore[misc]
    """Runs one action of the catalogue on what the analyst pressed the button on."""

    def __init__(self, job_directory: str | None = None) -> None:
        # Law 2: every name holds the empty phrase.
        super().__init__(job_directory, secret_phrases=("",))
        self.slug = self.get_param("config.service", None, "the responder names no action")

    def run(self) -> None:
        """Do the action and report; ends the process with 1 if it was not all done."""
        if self.slug not in ACTIONS:
            self.error(f"BAD_INPUT: there is no action {self.slug!r}")
        parameters = self._parameters()
        result = perform(
            self.slug, asset=self._asset(), parameters=parameters, key=self._key(parameters)
        )
        if result["status"] in ("SUCCESS", "PENDING"):
            self.report(result)
        else:
            self.error(_failure(result))

    def operations(self, raw: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what TheHive does to the case now that the action has ended."""
        state = _operation_state(raw)
        word = (state or raw["status"]).lower().replace("_", "-")
        wanted = [
            self.build_operation(_TAG_OPERATION[self.data_type], tag=f"holdfast:{self.slug}={word}")
        ]
        if raw["status"] == "PENDING" and self.data_type != _ALERT and self.slug != "get-operation":
            wanted.append(
                self.build_operation(
                    "CreateTask",
                    title=f"Decide in Holdfast: {self.slug.replace('-', ' ')}",
                    description=_task_text(raw),
                )
            )
        if self.slug == "get-operation" and self.data_type == _TASK and state in _ENDED:
            wanted.append(self.build_operation("CloseTask"))
        return wanted

    # -- what the administrator configured -----------------------------------------------------

    def _asset(self) -> dict[str, str]:
        asset = {name: _text(self.get_param(f"config.{name}")) for name in _SETTINGS}
        # Cortex's own settings: a CA for every responder, and a proxy.
        asset["ca_certificate"] = asset["ca_certificate"] or _text(self.get_param("config.cacerts"))
        asset["proxy"] = _text(self.https_proxy or self.http_proxy)
        return {name: value for name, value in asset.items() if value}

    # -- what the analyst gives ----------------------------------------------------------------

    def _parameters(self) -> dict[str, str]:
        declared = {parameter.name: parameter for parameter in ACTIONS[self.slug].parameters}
        given = self._from_fields(declared)
        for name in declared:
            fixed = self.get_param(f"config.fixed_{name}")
            if fixed is not None:
                given[name] = _text(fixed)
        for name, value in self._from_object().items():
            if given.get(name, value) != value:
                self.error(
                    f"BAD_INPUT: what the button was pressed on says that {name} is one thing, and a "
                    "custom field or a parameter says that it is another. "
                    f"What to do: clear {_FIELD}{_dashed(name)}."
                )
            given[name] = value
        case = self._case()
        if "reason" in declared and not given.get("reason"):
            given["reason"] = self._reason(case)
        if self.slug == "open-incident":
            given.setdefault("title", f"Rogue agent {given.get('agent', '')} ({case})"[:200])
            given.setdefault("external_reference", case)
        return given

    def _from_fields(self, declared: Mapping[str, Any]) -> dict[str, str]:
        """Return what custom fields say, then what the job's own parameters say over them."""
        given: dict[str, str] = {}
        for source in ("data.case.customFields", "data.customFields"):
            fields = _custom_fields(self.get_param(source))
            given.update(
                {name: fields[_dashed(name)] for name in declared if fields.get(_dashed(name))}
            )
        said = self.get_param("parameters", {}) or {}
        given.update({name: _text(said[name]) for name in declared if said.get(name) is not None})
        return given

    def _from_object(self) -> dict[str, str]:
        """Return the parameter that the object itself is (law 3)."""
        if self.data_type == _OBSERVABLE:
            pairs = _text(self.get_param("config.observables")).split(",")
            names = dict(pair.split("=", 1) for pair in pairs if pair)
            kind = _text(self.get_param("data.dataType"))
            if kind not in names:
                self.error(
                    f"BAD_INPUT: an observable of type {_line(kind)} names nothing that this responder "
                    f"takes. What to do: use one of type {', '.join(names)}."
                )
            return {names[kind]: _text(self.get_param("data.data"))}
        if self.data_type == _TASK:
            found = set(_OPERATION.findall(_text(self.get_param("data.description"))))
            if len(found) == 1:
                return {"operation": found.pop()}
        return {}

    def _case(self) -> str:
        """Return which case this is about, in words of ours."""
        for name in ("data.case.number", "data.case.caseId", "data.number", "data.caseId"):
            number = self.get_param(name)
            if number is not None and str(number).isdecimal():
                return f"TheHive case {number}"
        return "TheHive"

    def _reason(self, case: str) -> str:
        user = re.sub(r"[^\w.@+-]", "", _text(self.get_param("parameters.user")))[:100]
        return f"{case}, responder pressed by {user}" if user else f"{case}, by responder"

    def _key(self, parameters: Mapping[str, str]) -> str:
        """Return the same key for the same job, however often Cortex runs it.

        A job is known by its input file, which Cortex writes once; pressing the button again makes
        another job, and another order: what was released meanwhile is contained anew.
        """
        job = uuid.uuid4().hex
        if self.job_directory is not None:
            file = Path(self.job_directory) / "input" / "input.json"
            job = f"{file.stat().st_mtime_ns}:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        content = json.dumps([job, self.slug, dict(parameters)], sort_keys=True)
        return "cortex-" + hashlib.sha256(content.encode()).hexdigest()[:40]


def _failure(result: Mapping[str, Any]) -> str:
    """Return what the analyst reads, then the result for programs, on the last line."""
    error = result.get("error") or {}
    reason = error.get("reason") or result["status"]
    lines = [f"{reason}: {_line(result['summary'])}"]
    if error.get("remedy"):
        lines.append(f"What to do: {_line(error['remedy'])}")
    if error.get("retryable"):
        lines.append("Pressing the button again may help.")
    lines.append("Result: " + json.dumps(result, ensure_ascii=True, sort_keys=True))
    return "\n".join(lines)


def _task_text(result: Mapping[str, Any]) -> str:
    operation = result.get("operation") or {}
    lines = [
        "Holdfast waits for a human. Nobody can decide here: this responder's credential never can.",
        "",
        "```",
        f"what:        {_line(result['summary'])}",
        f"operation:   {_line(operation.get('name'))}",
        f"fingerprint: {_line(operation.get('fingerprint_words'))}",
        f"who may:     {_line(', '.join(map(str, operation.get('approvers') or [])))}",
        f"until:       {_line(operation.get('expire_time'))}",
        f"decide at:   {_line(result.get('link') or operation.get('url'))}",
        "```",
        "",
        "Compare the fingerprint with the page's. Afterwards press Holdfast_GetOperation on this task.",
    ]
    return "\n".join(lines)


def _operation_state(result: Mapping[str, Any]) -> str:
    operation = result.get("operation")
    return _text(operation.get("state")) if isinstance(operation, Mapping) else ""


def _custom_fields(fields: Any) -> dict[str, str]:
    """Return the custom fields that are ours, without the prefix; TheHive 5 and 4 differ in form."""
    if isinstance(fields, Mapping):
        pairs = [(name, _first(value)) for name, value in fields.items()]
    elif isinstance(fields, list):
        pairs = [
            (item.get("name"), item.get("value")) for item in fields if isinstance(item, Mapping)
        ]
    else:
        pairs = []
    return {
        name[len(_FIELD) :]: _text(value)
        for name, value in pairs
        if isinstance(name, str) and name.startswith(_FIELD) and value is not None
    }


def _first(value: Any) -> Any:
    """Return the value of TheHive 4's ``{"string": "…", "order": 0}``."""
    if not isinstance(value, Mapping):
        return value
    return next((item for name, item in value.items() if name != "order"), None)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _line(value: Any) -> str:
    """Return *value* as one line that ends no block of code."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069`]", "?", _text(value))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def main() -> None:
    """Run the job; what nobody foresaw fails by its kind alone, because its text may hold anything."""
    responder = HoldfastResponder()
    try:
        responder.run()
    except Exception as exc:  # noqa: BLE001 - whatever it is, Cortex must be told, and no more
        responder.error(f"INTERNAL: the responder failed ({type(exc).__name__})")


if __name__ == "__main__":
    main()
