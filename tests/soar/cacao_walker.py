# SPDX-License-Identifier: Apache-2.0
"""A small interpreter of CACAO playbooks: enough of the standard to walk ours, and nothing of ours.

It knows actions of the kinds ``http-api`` and ``manual``, ``if-condition``, ``while-condition``, and
the extension by which our playbooks fill variables from answers. Delays are not waited for.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from tests.soar.runners.base import Asset

__all__ = ["Human", "Walk", "holds"]

_CONDITION: Final = re.compile(r"(__[a-z_]+__):value (=|!=) '([^']*)'")
_REFERENCE: Final = re.compile(r"(__[A-Za-z_]+__):value")
_MOST_STEPS: Final = 2000
_PAUSE_S: Final = 0.2

Human = Callable[[dict[str, str]], Mapping[str, str] | None]
"""What a person does at a manual step: given the variables, returns those that he or she sets."""


@dataclass
class Walk:
    """One run of a playbook.

    Attributes:
        book: The playbook.
        asset: Where its target really is, and the token.
        variables: What whoever starts it gives.
        humans: What people do, by the name of the manual step; otherwise they read it and go on.
        lost: Names of steps at which control cannot be reached.
        steps: The names of the steps that were taken, in order.
        ends: The names of the end steps that were come to, in order.
        answers: Status and body of every request, by step.
    """

    book: Mapping[str, Any]
    asset: Asset
    variables: Mapping[str, str]
    humans: Mapping[str, Human] = field(default_factory=dict)
    lost: Collection[str] = ()
    steps: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    answers: list[tuple[str, int, str]] = field(default_factory=list)

    def run(self) -> str:
        """Run it to its end; return the name of the first end that is no mere end of a loop."""
        self._values = {
            name: declared.get("value", "")
            for name, declared in self.book["playbook_variables"].items()
        }
        self._values |= {"__api_token__": self.asset.api_token, **self.variables}
        self._branch(self.book["workflow_start"])
        return next(name for name in self.ends if not name.endswith(": looked"))

    def _branch(self, step_id: str) -> None:
        """Take steps from *step_id* until an end."""
        following: str | None = step_id
        while following is not None:
            assert len(self.steps) < _MOST_STEPS, f"it goes round and round: {self.steps[-12:]}"
            step = self.book["workflow"][following]
            self.steps.append(step.get("name", step["type"]))
            following = getattr(self, "_" + step["type"].replace("-", "_"))(step)

    def _start(self, step: Mapping[str, Any]) -> str:
        return str(step["on_completion"])

    def _end(self, step: Mapping[str, Any]) -> None:
        self.ends.append(step["name"])

    def _if_condition(self, step: Mapping[str, Any]) -> str:
        branch = step["on_true"] if self._holds(step["condition"]) else step.get("on_false")
        if branch:
            self._branch(branch)
        return str(step["on_completion"])

    def _while_condition(self, step: Mapping[str, Any]) -> str:
        deadline = time.monotonic() + min(step["timeout"] / 1000, 60)
        while self._holds(step["condition"]):
            if time.monotonic() > deadline:
                return str(step["on_failure"])
            self._branch(step["on_true"])
        return str(step["on_success"])

    def _action(self, step: Mapping[str, Any]) -> str:
        (command,) = step["commands"]
        if command["type"] == "manual":
            human = self.humans.get(step["name"])
            given = (human(self._values) if human else None) or {}
            assert set(given) == set(step.get("out_args", ())), step["name"]
            self._values |= given
            return str(step["on_completion"])
        if step["name"] in self.humans:
            self.humans[step["name"]](self._values)
        if "delay" in step:
            time.sleep(_PAUSE_S)
        status, body = self._send(step, command)
        self.answers.append((step["name"], status, json.dumps(body)))
        if not 200 <= status < 300:
            return str(step["on_failure"])
        for extension in step.get("step_extensions", {}).values():
            for name, pointer in extension["variables"].items():
                self._values[name] = _pointed(body, pointer)
        return str(step["on_success"])

    def _holds(self, condition: str) -> bool:
        return any(holds(one, self._values) for one in condition.split(" OR "))

    def _filled(self, text: str) -> str:
        return _REFERENCE.sub(lambda found: self._values[found[1]], text)

    def _send(
        self, step: Mapping[str, Any], command: Mapping[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if step["name"] in self.lost:
            return 0, {}
        (target,) = (self.book["target_definitions"][name] for name in step["targets"])
        login = self.book["authentication_info_definitions"][target["authentication_info"]]
        headers = {name: values[0] for name, values in command["headers"].items()}
        headers[login["oauth_header"]] = f"Bearer {self._filled(login['token'])}"
        method, path, protocol = command["command"].split(" ")
        assert protocol == "HTTP/1.1"
        return asyncio.run(self._request(method, path, headers, self._filled(command["content"])))

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], content: str
    ) -> tuple[int, dict[str, Any]]:
        context = ssl.create_default_context(cadata=self.asset.ca_certificate)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as session,
                session.request(
                    method,
                    self.asset.endpoint + path,
                    data=content.encode(),
                    headers=headers,
                    ssl=context,
                ) as answer,
            ):
                return answer.status, json.loads(await answer.text())
        except aiohttp.ClientError:
            return 0, {}


def holds(comparison: str, values: Mapping[str, str]) -> bool:
    """Return whether one comparison of a condition holds."""
    found = _CONDITION.fullmatch(comparison)
    assert found, comparison
    return (values[found[1]] == found[3]) is (found[2] == "=")


def _pointed(body: Any, pointer: str) -> str:
    """Return the text of what *pointer* (RFC 6901) points to; empty if there is nothing."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(body, dict) or name not in body:
            return ""
        body = body[name]
    if isinstance(body, bool):
        return "true" if body else "false"
    return body if isinstance(body, str) else json.dumps(body)
