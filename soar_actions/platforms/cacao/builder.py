# SPDX-License-Identifier: Apache-2.0
"""Builds CACAO 2.0 playbooks from steps that have names.

Laws:

1. The same steps give the same bytes: every identifier is a UUIDv5 of its name.
2. A step that is named and not there, or there and never reached, is an error here and not at a
   customer's.
3. Every action has a way on when it fails.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from soar_actions.platforms.cacao.requests import request_of

__all__ = ["ANSWER_EXTENSION", "Playbook", "identifier"]

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:holdfast:cacao")
CREATED: Final = "2026-01-01T00:00:00.000Z"
_OVER: Final = "over"
_NEXT: Final = ("on_completion", "on_success", "on_failure", "on_true", "on_false")


def identifier(kind: str, name: str) -> str:
    """Return the identifier of the object *name* of this *kind* (law 1)."""
    return f"{kind}--{uuid.uuid5(_NAMESPACE, f'{kind}/{name}')}"


ANSWER_EXTENSION: Final = identifier("extension-definition", "answer")
_AUTHOR: Final = identifier("identity", "holdfast")
_SOAR: Final = identifier("organization", "soar")
_TARGET: Final = identifier("http-api", "holdfast")
_ANALYST: Final = identifier("individual", "analyst")
_TOKEN: Final = identifier("oauth2", "api-token")


@dataclass
class Playbook:
    """A playbook in the making.

    Attributes:
        slug: For its file.
        name: For people.
        description: What it does and for whom.
        types: Of CACAO's vocabulary.
        activities: Of CACAO's vocabulary.
        variables: Name to (type, description); those of an empty description are filled by steps.
        external: Which of them whoever starts the playbook gives.
    """

    slug: str
    name: str
    description: str
    types: Sequence[str]
    activities: Sequence[str]
    variables: Mapping[str, tuple[str, str]]
    external: Sequence[str]
    _steps: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def start(self, to: str) -> None:
        """Begin with the step *to*."""
        self._add("start", "start", {"on_completion": to})

    def call(
        self,
        step: str,
        slug: str,
        parameters: Mapping[str, str],
        *,
        phase: str,
        to: str,
        fails: str,
        out: Mapping[str, str] | None = None,
        delay_ms: int = 0,
    ) -> None:
        """Add the action *slug*.

        Args:
            step: Its name; part of its idempotency key.
            slug: Of the catalogue.
            parameters: Its parameters, with ``__variable__:value`` in them.
            phase: NIST SP 800-61 and SANS phase.
            to: The step after it.
            fails: The step after an answer that is no 2xx (law 3).
            out: Variables that are set from the answer, with the JSON Pointer of each; what is not
                there makes the variable empty.
            delay_ms: How long to wait first.
        """
        request = request_of(slug, parameters, key=step.replace(" ", "-"))
        body: dict[str, Any] = {
            "name": step,
            "description": f"{phase}. Action of the catalogue: {slug}.",
            "agent": _SOAR,
            "targets": [_TARGET],
            "commands": [
                {
                    "type": "http-api",
                    "command": request.command,
                    "headers": {"Content-Type": ["application/json"]},
                    "content": request.content,
                }
            ],
            "on_success": to,
            "on_failure": fails,
        }
        if delay_ms:
            body["delay"] = delay_ms
        if out:
            body["out_args"] = list(out)
            body["step_extensions"] = {ANSWER_EXTENSION: {"variables": dict(out)}}
        self._add("action", step, body)

    def human(self, step: str, text: str, *, to: str, phase: str, out: Sequence[str] = ()) -> None:
        """Add a step that a person does; *out* are variables that he or she sets."""
        body: dict[str, Any] = {
            "name": step,
            "description": f"{phase}.",
            "agent": _ANALYST,
            "commands": [{"type": "manual", "command": text}],
            "on_completion": to,
        }
        if out:
            body["out_args"] = list(out)
        self._add("action", step, body)

    def when(self, step: str, condition: str, *, yes: str, no: str) -> None:
        """Go on with *yes* if *condition* holds, else with *no*."""
        self._add(
            "if-condition",
            step,
            {
                "name": step,
                "condition": condition,
                "on_true": yes,
                "on_false": no,
                # Where an executor goes on after a branch has come to its end.
                "on_completion": _OVER,
            },
        )
        if _OVER not in self._steps:
            self.end(_OVER, "Everything that was to be done has been done in a branch.")

    def repeat(
        self, step: str, condition: str, *, body: str, to: str, fails: str, timeout_ms: int
    ) -> None:
        """While *condition* holds run *body*, which ends with an end step; then go on with *to*."""
        self._add(
            "while-condition",
            step,
            {
                "name": step,
                "condition": condition,
                "on_true": body,
                "on_success": to,
                "on_failure": fails,
                "timeout": timeout_ms,
            },
        )

    def end(self, step: str, text: str) -> None:
        """End here; *text* says how it stands then."""
        self._add("end", step, {"name": step, "description": text})

    def as_data(self) -> dict[str, Any]:
        """Return the playbook.

        Raises:
            ValueError: It breaks a law.
        """
        self._check()
        kinds = {kind for kind, _ in self._steps.values()}
        return {
            "type": "playbook",
            "spec_version": "cacao-2.0",
            "id": identifier("playbook", self.slug),
            "name": self.name,
            "description": self.description,
            "playbook_types": list(self.types),
            "playbook_activities": list(self.activities),
            "playbook_processing_summary": {
                "manual_playbook": False,
                "external_playbooks": False,
                "parallel_processing": False,
                "if_logic": "if-condition" in kinds,
                "while_logic": "while-condition" in kinds,
                "switch_logic": False,
                "temporal_logic": any("delay" in body for _, body in self._steps.values()),
                "data_markings": False,
                "digital_signatures": False,
                "countersigned_signatures": False,
                "extensions": True,
            },
            "created_by": _AUTHOR,
            "created": CREATED,
            "modified": CREATED,
            "labels": ["ai-agent", "containment", "holdfast"],
            "playbook_variables": self._variables(),
            "workflow_start": self._id("start"),
            "workflow": {self._id(step): self._step(step) for step in self._steps},
            "authentication_info_definitions": {
                _TOKEN: {
                    "type": "oauth2",
                    "name": "API token of control",
                    "description": "A token with no more than the playbook needs; no token ever "
                    "approves anything.",
                    "oauth_header": "Authorization",
                    "token": "__api_token__:value",
                }
            },
            "agent_definitions": {
                _SOAR: {"type": "organization", "name": "whatever runs this playbook"},
                _ANALYST: {"type": "individual", "name": "the analyst on duty"},
            },
            "target_definitions": {
                _TARGET: {
                    "type": "http-api",
                    "name": "Holdfast control, JSON over HTTPS",
                    # In both: executors differ in whether a URL leaves them the port to look at.
                    "address": {"url": ["https://holdfast.example.com:7445"]},
                    "port": "7445",
                    "authentication_info": _TOKEN,
                }
            },
            "extension_definitions": {ANSWER_EXTENSION: _EXTENSION},
        }

    # -- inside -------------------------------------------------------------------------------

    def _add(self, kind: str, step: str, body: dict[str, Any]) -> None:
        if step in self._steps:
            raise ValueError(f"there are two steps {step!r}")
        self._steps[step] = (kind, body)

    def _id(self, step: str) -> str:
        return identifier(self._steps[step][0], f"{self.slug}/{step}")

    def _step(self, step: str) -> dict[str, Any]:
        kind, body = self._steps[step]
        found = {key: self._id(value) if key in _NEXT else value for key, value in body.items()}
        return {"type": kind, **found}

    def _variables(self) -> dict[str, Any]:
        declared: dict[str, Any] = {}
        for name, (kind, description) in self.variables.items():
            declared[name] = {"type": kind, "description": description}
            if name in self.external:
                declared[name]["external"] = True
            else:
                declared[name]["value"] = ""
        return declared

    def _check(self) -> None:
        reached, waiting = set(), ["start"]
        while waiting:
            step = waiting.pop()
            if step in reached:
                continue
            reached.add(step)
            if step not in self._steps:
                raise ValueError(f"{self.slug} has no step {step!r}")
            waiting += [self._steps[step][1][key] for key in _NEXT if key in self._steps[step][1]]
        if lost := set(self._steps) - reached:
            raise ValueError(f"{self.slug} never comes to {sorted(lost)}")


_EXTENSION: Final = {
    "type": "extension-definition",
    "name": "variables from an answer",
    "description": "Says how the out_args of an http-api step are read from the JSON of its answer.",
    "created_by": _AUTHOR,
    "schema": "An object with one property `variables`: an object from the name of a playbook "
    "variable to a JSON Pointer (RFC 6901). After an answer with a 2xx status each variable is set to "
    "the text of what the pointer points to (true and false for booleans), or to the empty text where "
    "there is nothing. An executor that does not know this extension has to set these variables in "
    "its own way.",
    "version": "1.0.0",
}
