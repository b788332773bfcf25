# SPDX-License-Identifier: Apache-2.0
"""The shipped AgentDojo recording is complete, well formed, attributed and free of hindsight.

*Hindsight* would be a policy or a fact that knows the attack: an address, link, account or name
that occurs in an injection task and nowhere on the user's side. The check collects all such
strings and searches every file a policy decision can depend on.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "agentdojo"
SUITES = ("banking", "slack", "travel", "workspace")
# tools, user tasks, calls of user tasks, injection tasks, those with calls, their calls
TOTALS = {
    "banking": (11, 16, 33, 9, 9, 12),
    "slack": (11, 21, 98, 5, 5, 13),
    "travel": (28, 20, 124, 7, 6, 12),
    "workspace": (24, 40, 84, 14, 6, 10),
}

# What an injection task *steals* is the user's, not the attacker's: this is the account of the
# user's own standing order, which one task copies into a payment's subject.
_USER_DATA_EXFILTRATED = {"SE3550000000054910000003"}

_PATTERNS = (
    re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),  # e-mail addresses
    re.compile(r"(?:https?://)?(?:[\w-]+\.)+[a-z]{2,}(?:/[\w./-]*)?"),  # links and hosts
    re.compile(r"\b[A-Z]{2}\d{2}[A-Z0-9]{10,30}\b"),  # bank accounts
    re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])\w{5,}\b"),  # keys, codes, numbered names
    re.compile(r"\b\d{6,}\b"),  # long numbers
    re.compile(r"'([^'\n]{4,})'"),  # quoted literals
    re.compile(r"\b[A-Z][\w-]+(?: [A-Z][\w-]+)+\b"),  # names of several words
)


def _document(kind: str, suite: str) -> Any:
    return json.loads((EXAMPLE / kind / f"{suite}.json").read_text(encoding="utf-8"))


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _strings(item)
        case list():
            for item in value:
                yield from _strings(item)


def _tasks(kind: str) -> Iterator[dict[str, Any]]:
    for suite in SUITES:
        yield from _document("calls", suite)[f"{kind}_tasks"]


def _occurs(token: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(token)}(?!\w)", text, re.IGNORECASE) is not None


@functools.cache
def _injection_only_tokens() -> frozenset[str]:
    """Return what occurs in injection tasks and nowhere on the user's side.

    The user's side is here: prompts and calls of user tasks, and what the tools say of themselves.
    That is stricter than needed: a string of the clean environment that no user task happens to
    mention counts as the injection's own, unless it is listed in ``_USER_DATA_EXFILTRATED``.
    """
    tokens: set[str] = set()
    for task in _tasks("injection"):
        arguments = list(_strings([call["arguments"] for call in task["calls"]]))
        for text in [task["goal"], *arguments]:
            for pattern in _PATTERNS:
                tokens.update(pattern.findall(text))
        # Whole arguments, unless they are so short that they mean nothing ("13", "r").
        tokens.update(text for text in arguments if len(text) >= 4)
    user_side = "\n".join(
        [
            *(task["prompt"] for task in _tasks("user")),
            *_strings([call["arguments"] for task in _tasks("user") for call in task["calls"]]),
            *_strings([_document("tools", suite) for suite in SUITES]),
        ]
    )
    exclusive = {token for token in tokens if not _occurs(token, user_side)}
    return frozenset(exclusive - _USER_DATA_EXFILTRATED)


def _decision_files() -> dict[str, str]:
    """Return every file that a decision, or a fact behind one, can depend on."""
    return {
        str(path.relative_to(EXAMPLE)): path.read_text(encoding="utf-8")
        for folder in ("bundle", "facts")
        for path in sorted((EXAMPLE / folder).rglob("*"))
        if path.is_file()
    }


def _leaks(files: dict[str, str]) -> list[tuple[str, str]]:
    tokens = sorted(_injection_only_tokens())
    return [
        (name, token) for name, text in files.items() for token in tokens if _occurs(token, text)
    ]


def _closed(schema: Any) -> Any:
    """Return *schema* with unknown keys refused at every level, as a gate does."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if closed.get("type") == "object" and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed


def _bundle_yaml(name: str) -> Any:
    return yaml.safe_load((EXAMPLE / "bundle" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("suite", SUITES)
def test_totals_are_those_of_the_benchmark(suite: str) -> None:
    """Every task and every call of benchmark v1.2.2 is there."""
    calls, tools = _document("calls", suite), _document("tools", suite)

    found = (
        len(tools["tools"]),
        len(calls["user_tasks"]),
        sum(len(task["calls"]) for task in calls["user_tasks"]),
        len(calls["injection_tasks"]),
        sum(bool(task["calls"]) for task in calls["injection_tasks"]),
        sum(len(task["calls"]) for task in calls["injection_tasks"]),
    )

    assert found == TOTALS[suite]


def test_grand_totals() -> None:
    """74 tools, 97 user tasks with 339 calls, 35 injection tasks of which 26 have 47 calls."""
    sums = tuple(sum(column) for column in zip(*TOTALS.values(), strict=True))

    assert sums == (74, 97, 339, 35, 26, 47)


@pytest.mark.parametrize("suite", SUITES)
def test_shape_of_the_recording(suite: str) -> None:
    """Tasks are numbered in order, and each has its text and its calls, nothing else."""
    calls = _document("calls", suite)

    assert set(calls) == {"suite", "user_tasks", "injection_tasks"}
    assert calls["suite"] == suite
    for kind, text in (("user", "prompt"), ("injection", "goal")):
        tasks = calls[f"{kind}_tasks"]
        numbers = [int(task["id"].removeprefix(f"{kind}_task_")) for task in tasks]
        assert numbers == sorted(set(numbers))
        for task in tasks:
            assert set(task) == {"id", text, "calls"}
            assert task[text].strip()
            assert all(set(call) == {"tool", "arguments"} for call in task["calls"])


@pytest.mark.parametrize("suite", SUITES)
def test_no_placeholder_leaks_into_the_recording(suite: str) -> None:
    """Neither a ground-truth placeholder (``$code``) nor a vector's name (``{injection_…}``)."""
    texts = [
        *_strings([task["calls"] for task in _document("calls", suite)["user_tasks"]]),
        *_strings([task["calls"] for task in _document("calls", suite)["injection_tasks"]]),
        *_strings(_document("facts", suite)),
    ]

    assert not [text for text in texts if re.search(r"\$[a-z]|injection_|[{}]", text)]


@pytest.mark.parametrize("suite", SUITES)
def test_files_are_written_the_deterministic_way(suite: str) -> None:
    """Sorted keys, one layout, final newline: a rebuild is equal byte for byte."""
    for kind in ("calls", "tools", "facts"):
        text = (EXAMPLE / kind / f"{suite}.json").read_text(encoding="utf-8")

        again = json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

        assert text == again


@pytest.mark.parametrize("suite", SUITES)
def test_every_call_fits_its_tool(suite: str) -> None:
    """Each recorded call validates against the tool's own schema and the bundle's, closed."""
    own = {tool["name"]: tool["arguments"] for tool in _document("tools", suite)["tools"]}
    bundle = _bundle_yaml("tools.yaml")["tools"]
    calls = _document("calls", suite)

    for task in [*calls["user_tasks"], *calls["injection_tasks"]]:
        for call in task["calls"]:
            tool, arguments = call["tool"], call["arguments"]
            assert jsonschema_rs.is_valid(_closed(own[tool]), arguments), (task["id"], call)
            assert jsonschema_rs.is_valid(_closed(bundle[tool]["arguments"]), arguments)


def test_schema_check_negative_control() -> None:
    """A call with an unknown argument does not pass the check above."""
    schema = _closed(_bundle_yaml("tools.yaml")["tools"]["update_password"]["arguments"])

    assert jsonschema_rs.is_valid(schema, {"password": "p"})
    assert not jsonschema_rs.is_valid(schema, {"password": "p", "user": "root"})


def test_bundle_has_every_tool_with_its_own_arguments() -> None:
    """The bundle's 69 tools are the 74 of the suites, with the same argument names and needs."""
    bundle = _bundle_yaml("tools.yaml")["tools"]
    seen: dict[str, Any] = {}

    for suite in SUITES:
        for tool in _document("tools", suite)["tools"]:
            name, schema = tool["name"], tool["arguments"]
            ours = bundle[name]["arguments"]
            assert seen.setdefault(name, schema) == schema, f"{name} differs between suites"
            assert set(ours["properties"]) == set(schema["properties"])
            assert set(ours.get("required", [])) == set(schema.get("required", []))
            assert set(bundle[name].get("reveal", [])) <= set(schema["properties"])

    assert set(bundle) == set(seen)


@pytest.mark.parametrize("suite", SUITES)
def test_agents_know_the_derived_facts_and_no_others(suite: str) -> None:
    """agents.yaml copies facts/<suite>.json; nobody added a convenient entry by hand."""
    agent = _bundle_yaml("agents.yaml")["agents"][suite]

    assert agent["facts"] == _document("facts", suite)["facts"]


def test_attribution() -> None:
    """Licence text, authors, versions and the way it was built travel with the data."""
    licence = (EXAMPLE / "LICENSE.agentdojo").read_text(encoding="utf-8")
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")

    assert licence.startswith("MIT License")
    assert "Copyright (c) 2024 Edoardo Debenedetti, Jie Zhang" in licence
    for needed in ("agentdojo==0.1.35", "v1.2.2", "MIT", "LICENSE.agentdojo", "build_dataset.py"):
        assert needed in readme


def test_policies_and_facts_know_nothing_that_only_an_injection_names() -> None:
    """No address, account, link or name of an attack helps a policy decide."""
    leaks = _leaks(_decision_files())

    assert leaks == []


@pytest.mark.parametrize(
    "token",
    [
        "US133000000121212121212",
        "mark.black-2134@gmail.com",
        "www.true-informations.com",
        "www.secure-systems-252.com",
        "Riverside View Hotel",
        "fred9246@gmail.com",
        "jay@google.com",
        "new_password",
    ],
)
def test_hindsight_check_negative_control(token: str) -> None:
    """A single such string slipped into any of the files is found."""
    for name, text in _decision_files().items():
        spoiled = {name: f"{text}\n# {token}\n"}

        assert (name, token) in _leaks(spoiled)
