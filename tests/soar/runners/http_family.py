# SPDX-License-Identifier: Apache-2.0
"""The HTTP family: a plain client of ours that knows nothing but the OpenAPI document.

It is a stand-in for platforms that import that document, and is called one. The platforms themselves
are listed as *not run*: they are hosted, or cannot be installed, and nothing here executes them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.soar.runners.base import Asset, Outcome, Runner

__all__ = ["DOCUMENT", "RUNNERS", "Answer", "DescribedApi", "document"]

DOCUMENT: Final = (
    Path(__file__).resolve().parents[3] / "soar_actions/platforms/http/artefact/openapi.json"
)
_CLASSES: Final = {
    "invalid_argument": "BAD_INPUT",
    "not_found": "NOT_FOUND",
    "already_exists": "CONFLICT",
    "permission_denied": "REFUSED",
    "unauthenticated": "REFUSED",
    "failed_precondition": "REFUSED",
    "unavailable": "UNAVAILABLE",
    "deadline_exceeded": "UNAVAILABLE",
    "resource_exhausted": "UNAVAILABLE",
}
_ENDS: Final = {
    "STATE_REFUSED": "APPROVAL_REFUSED",
    "STATE_EXPIRED": "APPROVAL_EXPIRED",
    "STATE_CANCELLED": "APPROVAL_CANCELLED",
    "STATE_FAILED": "FAILED",
}


@cache
def document() -> dict[str, Any]:
    """Return the document that a platform imports."""
    found: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True)
class Answer:
    """What came back; ``status`` 0 if nothing did."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    problem: str = ""


class DescribedApi:
    """Calls operations of the document by their ids, at one server with one credential."""

    def __init__(self, asset: Asset) -> None:
        self._asset = asset
        self._operations = {
            operation["operationId"]: (path, method.upper(), operation)
            for path, item in document()["paths"].items()
            for method, operation in item.items()
        }

    def operation(self, name: str) -> dict[str, Any]:
        """Return the description of one operation."""
        found: dict[str, Any] = self._operations[name][2]
        return found

    def call(
        self,
        name: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str = "",
        path_values: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request as the document says, and return what came back."""
        path, method, operation = self._operations[name]
        for wanted, value in (path_values or {}).items():
            path = path.replace(f"{{{wanted}}}", value)
        assert "{" not in path, path
        headers = {}
        names = {item["name"] for item in operation.get("parameters", ()) if item["in"] == "header"}
        if key and "Idempotency-Key" in names:
            headers["Idempotency-Key"] = key
        schemes = document()["components"]["securitySchemes"]
        if schemes["bearer"] and self._asset.api_token:
            headers["Authorization"] = f"Bearer {self._asset.api_token}"
        return asyncio.run(self._send(method, path, body, headers))

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: dict[str, str]
    ) -> Answer:
        try:
            context = ssl.create_default_context(cadata=self._asset.ca_certificate)
        except ssl.SSLError as exc:
            return Answer(0, {}, {}, type(exc).__name__)
        limit = aiohttp.ClientTimeout(total=float(self._asset.timeout_seconds))
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.request(
                    method,
                    self._asset.endpoint + path,
                    json=body,
                    headers=headers,
                    ssl=context,
                    allow_redirects=False,
                ) as answer,
            ):
                text = await answer.text()
                return Answer(answer.status, json.loads(text), dict(answer.headers))
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            return Answer(0, {}, {}, type(exc).__name__)  # its text quotes the address


class _Client:
    platform = "http"
    is_stand_in = True
    runner = "openapi.json: plain HTTP client of ours, driven by the document"

    def unavailable(self) -> str:
        """Return nothing: it needs what we have."""
        return ""

    def versions(self) -> Mapping[str, str]:
        """Return what carries the calls."""
        return {"aiohttp": version("aiohttp"), "python": "{}.{}.{}".format(*sys.version_info[:3])}

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Make the request of an action; what a platform's user would branch on is the outcome."""
        name, body = _request(slug, parameters)
        answer = DescribedApi(asset).call(
            name, body, key=parameters.get("idempotency_key") or _key(key, slug, parameters)
        )
        native = (
            f"{answer.status} {dict(answer.headers)} {json.dumps(answer.body)} {answer.problem}"
        )
        return _outcome(slug, answer, native)


def _key(run: str, slug: str, parameters: Mapping[str, str]) -> str:
    """Return what a playbook would write: its run's id and the step's name."""
    return f"{run}-{slug}-{parameters.get('agent') or parameters.get('epoch', '')}"[:128]


def _request(slug: str, parameters: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    match slug:
        case "test-connectivity":
            return "ListAgents", {"pageSize": 1}
        case "get-agent":
            return "GetAgent", {"agent": parameters["agent"]}
        case "contain-agent":
            return "Contain", {
                "target": {"agent": parameters["agent"]},
                "level": f"LEVEL_{parameters['level']}",
                "reason": parameters["reason"],
            }
        case "release-agent":
            return "Release", {"epoch": parameters["epoch"], "reason": parameters["reason"]}
        case "get-operation":
            return "GetOperation", {"name": parameters["operation"]}
    raise AssertionError(f"no scenario needs {slug}")


def _outcome(slug: str, answer: Answer, native: str) -> Outcome:
    operation = answer.body.get("operation", {})
    receipt = answer.body.get("receipt", {})
    if answer.status == 0:
        return Outcome("FAILED", "UNAVAILABLE", "UNAVAILABLE", is_retryable=True, native=native)
    if answer.status not in (200, 202):
        kind = _CLASSES.get(str(answer.body.get("code")), "FAILED")
        return Outcome("FAILED", _reason(answer), kind, kind == "UNAVAILABLE", answer.body, native)
    if answer.status == 202:
        return Outcome("PENDING", data=answer.body, native=native)
    if slug == "contain-agent" and operation.get("state") in _ENDS:
        return Outcome("FAILED", _ENDS[operation["state"]], "REFUSED", False, answer.body, native)
    if slug == "contain-agent" and not (receipt.get("contained") and receipt.get("durable")):
        return Outcome("PARTIAL", data=answer.body, native=native)
    return Outcome("SUCCESS", data=answer.body, native=native)


def _reason(answer: Answer) -> str:
    for detail in answer.body.get("details", ()):
        found = detail.get("debug", {}).get("reason")
        if found:
            base64.b64decode(detail["value"] + "==")  # as Connect has it
            return str(found)
    return str(answer.body.get("code", "")).upper()


class _Hosted:
    """A platform that nobody can run here: the document it imports is validated, and that is all."""

    platform = "http"
    is_stand_in = False

    def __init__(self, name: str, why: str) -> None:
        self.runner = name
        self._why = why

    def unavailable(self) -> str:
        """Return why it cannot be run."""
        return self._why

    def versions(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Never called."""
        raise AssertionError(f"{self.runner} cannot be run")


RUNNERS: tuple[Runner, ...] = (
    _Client(),
    _Hosted("Tines", "a hosted platform: its document is validated only"),
    _Hosted("Torq", "a hosted platform: its document is validated only"),
    _Hosted("n8n", "cannot be installed from the registries here, and imports no document"),
    _Hosted("Logic Apps and Sentinel", "hosted in Azure: the connector is validated only"),
)
