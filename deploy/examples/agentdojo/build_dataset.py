# SPDX-License-Identifier: Apache-2.0
"""Write the recorded tool calls of the AgentDojo benchmark as plain JSON.

The benchmark's tasks know their own solution: ``task.ground_truth(env)`` returns the tool calls
that solve a task, without a model. Shipping these calls as data lets anybody replay benign and
hostile traffic against a policy bundle without installing AgentDojo.

Laws:

1. The output depends on the package version alone: keys are sorted, tasks are ordered by number,
   nothing is taken from the clock, the hash seed or the machine. Two runs are equal byte for byte.
2. Facts come from the *benign* environment only: every injection vector holds its harmless
   default, and no injection task is consulted. They are derived by rule, never picked by hand.
3. A fact must not be plantable by a stranger where a rule can avoid it: who merely *writes to*
   the user, or merely *shares a file with* the user, does not become a correspondent.
4. Totals are checked before anything is written; another AgentDojo version fails loudly.

Rebuild, from the root of the repository::

    python3 -m venv build/agentdojo-venv
    build/agentdojo-venv/bin/pip install agentdojo==0.1.35
    build/agentdojo-venv/bin/python deploy/examples/agentdojo/build_dataset.py \
        deploy/examples/agentdojo
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from agentdojo.task_suite.load_suites import get_suites  # type: ignore[import-not-found]
from pydantic_core import to_jsonable_python

__all__ = ["build", "main"]

PACKAGE_VERSION = "0.1.35"
BENCHMARK_VERSION = "v1.2.2"

# Law 4: tools, user tasks, calls of user tasks, injection tasks, those with calls, their calls.
EXPECTED = {
    "banking": (11, 16, 33, 9, 9, 12),
    "slack": (11, 21, 98, 5, 5, 13),
    "travel": (28, 20, 124, 7, 6, 12),
    "workspace": (24, 40, 84, 14, 6, 10),
}

_IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}\b")
_HOST = re.compile(r"(?:https?://)?\b((?:[a-z0-9-]+\.)+[a-z]{2,})\b", re.IGNORECASE)


def _number(task_id: str) -> int:
    return int(task_id.rsplit("_", 1)[1])


def _clean_environment(suite: Any) -> Any:
    """Return the environment in which every injection vector holds its harmless default."""
    return suite.load_and_inject_default_environment({})


def _calls(task: Any, environment: Any) -> list[dict[str, Any]]:
    # ``args`` are the real values; ``placeholder_args`` (with "$code" and the like) are not used.
    return [
        {"tool": call.function, "arguments": to_jsonable_python(dict(call.args))}
        for call in task.ground_truth(environment)
    ]


def _recorded_calls(suite: Any) -> dict[str, Any]:
    user_tasks = [
        {
            "id": task_id,
            "prompt": task.PROMPT,
            "calls": _calls(task, task.init_environment(_clean_environment(suite))),
        }
        for task_id, task in suite.user_tasks.items()
    ]
    injection_tasks = [
        {"id": task_id, "goal": task.GOAL, "calls": _calls(task, _clean_environment(suite))}
        for task_id, task in suite.injection_tasks.items()
    ]
    return {
        "suite": suite.name,
        "user_tasks": sorted(user_tasks, key=lambda task: _number(task["id"])),
        "injection_tasks": sorted(injection_tasks, key=lambda task: _number(task["id"])),
    }


def _plain_schema(node: Any, definitions: dict[str, Any]) -> Any:
    """Return a self-contained schema: references resolved, generated titles dropped."""
    if isinstance(node, list):
        return [_plain_schema(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _plain_schema({**target, **rest}, definitions)
    plain: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            plain[key] = {name: _plain_schema(sub, definitions) for name, sub in value.items()}
        elif key not in {"title", "$defs"}:
            plain[key] = _plain_schema(value, definitions)
    return plain


def _tools(suite: Any) -> dict[str, Any]:
    tools = []
    for tool in sorted(suite.tools, key=lambda tool: str(tool.name)):
        schema = tool.parameters.model_json_schema()
        tools.append(
            {
                "name": tool.name,
                "description": tool.description,
                "arguments": _plain_schema(schema, schema.get("$defs", {})),
            }
        )
    return {"suite": suite.name, "tools": tools}


def _correspondents(environment: Any) -> set[str]:
    """Whom the user wrote to or let into the user's own files; and the user (law 3)."""
    me = environment.inbox.account_email
    people = {me}
    for email in environment.inbox.emails.values():
        if email.sender == me:
            people.update([*email.recipients, *email.cc, *email.bcc])
    for file in _files(environment):
        if file.owner == me:
            people.update(file.shared_with)
    return people


def _people_facts(environment: Any) -> dict[str, list[str]]:
    """Return who may get mail, and, more widely, who may be invited to a meeting.

    A calendar does not say who invited whom, so a stranger's invitation makes the stranger a
    meeting partner: enough for another invitation, not for a mail or a file.
    """
    correspondents = _correspondents(environment)
    met = {who for event in environment.calendar.events.values() for who in event.participants}
    return {
        "correspondents": sorted(correspondents),
        "meeting_partners": sorted(correspondents | met),
    }


def _files(environment: Any) -> Iterable[Any]:
    drive = getattr(environment, "cloud_drive", None)
    return [] if drive is None else list(drive.files.values())


def _workspace_facts(environment: Any) -> dict[str, list[str]]:
    me = environment.inbox.account_email
    own = [file.id_ for file in _files(environment) if file.owner == me]
    lent = [file.id_ for file in _files(environment) if file.shared_with.get(me) == "rw"]
    return {
        **_people_facts(environment),
        "own_files": sorted(own, key=int),
        "writable_files": sorted({*own, *lent}, key=int),
    }


def _travel_facts(environment: Any) -> dict[str, list[str]]:
    hotels = environment.hotels.hotel_list
    restaurants = environment.restaurants.restaurant_list
    companies = environment.car_rental.company_list
    return {
        **_people_facts(environment),
        "hotels": sorted(hotel.name for hotel in hotels),
        "restaurants": sorted(restaurant.name for restaurant in restaurants),
        "car_companies": sorted(company.name for company in companies),
        "places": sorted({place.address for place in [*hotels, *restaurants, *companies]}),
    }


def _banking_facts(environment: Any) -> dict[str, list[str]]:
    account = environment.bank_account
    payees = {
        payment.recipient
        for payment in [*account.transactions, *account.scheduled_transactions]
        if payment.sender in {"me", account.iban}
    }
    named_in_documents = {
        iban for text in environment.filesystem.files.values() for iban in _IBAN.findall(text)
    }
    return {
        "payees": sorted(payees),
        "document_payees": sorted(named_in_documents - payees),
    }


def _slack_facts(environment: Any) -> dict[str, list[str]]:
    slack = environment.slack
    messages = [
        message
        for inbox in [*slack.channel_inbox.values(), *slack.user_inbox.values()]
        for message in inbox
    ]
    # The content of web pages is no source: anybody can publish a page (law 3).
    sites = {host.lower() for message in messages for host in _HOST.findall(message.body)}
    return {
        "users": sorted(slack.users),
        "channels": sorted(slack.channels),
        "sites": sorted(sites),
    }


_FACTS: dict[str, Callable[[Any], dict[str, list[str]]]] = {
    "banking": _banking_facts,
    "slack": _slack_facts,
    "travel": _travel_facts,
    "workspace": _workspace_facts,
}


def _totals(calls: dict[str, Any], tools: dict[str, Any]) -> tuple[int, ...]:
    user_tasks, injection_tasks = calls["user_tasks"], calls["injection_tasks"]
    return (
        len(tools["tools"]),
        len(user_tasks),
        sum(len(task["calls"]) for task in user_tasks),
        len(injection_tasks),
        sum(bool(task["calls"]) for task in injection_tasks),
        sum(len(task["calls"]) for task in injection_tasks),
    )


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def build(out: Path) -> None:
    """Write ``calls/``, ``tools/`` and ``facts/`` below *out*.

    Raises:
        RuntimeError: the installed package is another version, or a total differs.
    """
    installed = importlib.metadata.version("agentdojo")
    if installed != PACKAGE_VERSION:
        raise RuntimeError(f"need agentdojo {PACKAGE_VERSION}, found {installed}")
    suites = get_suites(BENCHMARK_VERSION)
    documents: dict[str, dict[str, Any]] = {}
    for name in sorted(EXPECTED):
        suite = suites[name]
        calls, tools = _recorded_calls(suite), _tools(suite)
        if (totals := _totals(calls, tools)) != EXPECTED[name]:
            raise RuntimeError(f"suite {name}: expected {EXPECTED[name]}, found {totals}")
        documents[f"calls/{name}.json"] = calls
        documents[f"tools/{name}.json"] = tools
        documents[f"facts/{name}.json"] = {
            "suite": name,
            "facts": _FACTS[name](_clean_environment(suite)),
        }
    for relative, document in documents.items():
        _write(out / relative, document)


def main(arguments: list[str]) -> int:
    """Run ``build_dataset.py OUT_DIR``; return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python build_dataset.py OUT_DIR\n")
        return 2
    build(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
