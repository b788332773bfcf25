# SPDX-License-Identifier: Apache-2.0
"""The Shuffle app in the SDK's own hands: signatures, leaks, what the SDK does to arguments, keys."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms.shuffle.render import AUTHENTICATION, method_name
from tests.soar.runners.shuffle import RUNNERS, ShuffleRunner, app_folder, node, workflow_run
from tests.soar.venvs import python_of

_CANARY = "hfat_aaaabbbbcccc_CANARY0123456789"
_GOOD = {"endpoint": "https://127.0.0.1:1", "api_token": _CANARY, "timeout_seconds": "1"}
_SIGNATURES = """
import inspect, json, logging, sys
sys.path.insert(0, sys.argv[1])
from app import Holdfast
from shuffle_sdk import AppBase
print(json.dumps({
    name: list(inspect.signature(method).parameters)
    for name, method in inspect.getmembers(Holdfast, inspect.isfunction)
    if not hasattr(AppBase, name) and not name.startswith("_")
}))
"""


@pytest.fixture
def sdk() -> ShuffleRunner:
    """The SDK; not run where it cannot be had."""
    found = RUNNERS[0]
    assert isinstance(found, ShuffleRunner)
    if found.unavailable():
        pytest.skip(f"not run: {found.unavailable()}")
    return found


def run(sdk: ShuffleRunner, name: str, arguments: dict[str, str], *, run_id: str = "r") -> Any:
    """Return the outcome of a node with exactly these arguments."""
    action = node(name, arguments, node_id="one", label="one")
    return sdk.outcome(sdk.execute(action, workflow_run(run_id, start="one")))


def test_sdk_sees_one_method_for_each_action(sdk: ShuffleRunner) -> None:
    """No action of ours shadows a name of the SDK's, and none is missing."""
    done = subprocess.run(
        [str(python_of("shuffle")), "-P", "-c", _SIGNATURES, str(app_folder() / "src")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    seen.pop("carry_out")

    assert seen == {
        method_name(slug): [
            "self",
            *AUTHENTICATION,
            *(parameter.name for parameter in action.parameters),
            "unknown",
        ]
        for slug, action in ACTIONS.items()
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"api_token": _CANARY},
        {**_GOOD, "endpoint": "http://127.0.0.1:1"},
        {**_GOOD, "endpoint": f"https://{_CANARY}@127.0.0.1:1"},
        {**_GOOD, "timeout_seconds": "soon"},
        {**_GOOD, "client_key": _CANARY},
        {**_GOOD, "client_certificate": _CANARY, "client_key": _CANARY},
        {**_GOOD, "proxy": f"ftp://user:{_CANARY}@proxy"},
    ],
    ids=[
        "no endpoint",
        "plain http",
        "credential in the endpoint",
        "timeout of words",
        "key alone",
        "key that is none",
        "proxy that is none",
    ],
)
def test_i06_wrong_authentication_is_refused_without_showing_it(
    sdk: ShuffleRunner, settings: dict[str, str]
) -> None:
    """Neither the result nor Shuffle's log of the action holds a credential."""
    outcome = run(sdk, "get_agent", {**settings, "agent": "banking"})

    assert outcome.status == "FAILED"
    assert outcome.error_class == "BAD_INPUT"
    assert "CANARY" not in outcome.native


def test_i06_negative_control_the_search_finds_a_canary(sdk: ShuffleRunner) -> None:
    """A name that the result repeats is seen, so a leak would be."""
    outcome = run(sdk, "get_agent", {**_GOOD, "agent": "banking", f"x{_CANARY}": "y"})

    assert "CANARY" in outcome.native


@pytest.mark.parametrize(
    "arguments",
    [
        {"agent": "*"},
        {"agent": '["a", "b"]'},
        {"agent": '{"id": "a"}'},
        {"agent": "banking", "reason": "x", "levl": "KILL"},
        {},
    ],
    ids=["wildcard", "list", "object", "misspelt name", "nothing"],
)
def test_i07_wrong_arguments_are_refused_and_not_forgotten(
    sdk: ShuffleRunner, arguments: dict[str, str]
) -> None:
    """The SDK would call the method again without the argument that it does not take."""
    outcome = run(sdk, "contain_agent", {**_GOOD, **arguments})

    assert outcome.error_class == "BAD_INPUT"
    assert outcome.data["success"] is False


@pytest.mark.parametrize("label", ["holdfast", "negative_control"])
def test_i07_text_of_an_alert_is_never_run(sdk: ShuffleRunner, tmp_path: Path, label: str) -> None:
    """The SDK runs Python that stands in an argument; the app, which has the token, does not."""
    made = tmp_path / "made"
    hostile = f"{{% python %}}open({str(made)!r}, 'w').close(){{% endpython %}}"
    run = workflow_run(
        "3f9a01c2-0000-4000-8000-000000000001", execution_argument=json.dumps({"reason": hostile})
    )
    names = {"holdfast": "contain_agent", "negative_control": "repeat_back_to_me"}
    given = {"reason": "$exec.reason"} if label == "holdfast" else {"call": "$exec.reason"}
    action = node(names[label], given, node_id="one", label="one")

    answer = sdk.execute(action, run)

    assert made.exists() is (label == "negative_control")
    sent = {each["name"]: each["value"] for each in answer["sent"][0]["action"]["parameters"]}
    assert (sent.get("reason") == hostile) is (label == "holdfast")


def test_i07_sentences_hold_nothing_that_another_app_renders(sdk: ShuffleRunner) -> None:
    """A name that nobody knows is quoted in the answer, and repeated by whoever is told of it."""
    given = {"endpoint": "https://127.0.0.1:1", "api_token": "hfat_x", "{{ 6 }}{% x %}": "a"}
    action = node("contain_agent", given, node_id="one", label="one")

    answer = sdk.execute(action, workflow_run("3f9a01c2-0000-4000-8000-000000000002"))

    said = json.loads(answer["sent"][0]["result"])
    assert "{ { 6 }}" in said["reason"] + said["summary"]
    assert not [text for text in ("{{", "{%") if text in said["reason"] + said["summary"]]


def test_i01_key_is_of_the_execution_the_action_and_the_arguments(sdk: ShuffleRunner) -> None:
    """The same of all three is the same key; another of one is another."""

    def key(run_id: str, name: str, agent: str) -> str:
        outcome = run(sdk, name, {"endpoint": "none", "agent": agent}, run_id=run_id)
        return str(outcome.data["idempotency_key"])

    first = key("run-1", "contain_agent", "banking")
    same = key("run-1", "contain_agent", "banking")
    others = [
        key("run-2", "contain_agent", "banking"),
        key("run-1", "contain_agent", "travel"),
        key("run-1", "release_agent", "banking"),
    ]

    assert first == same
    assert len({first, *others}) == 4


def test_standalone_prints_the_outcome(sdk: ShuffleRunner) -> None:
    """``python app.py standalone`` is how an administrator tries it by hand."""
    done = subprocess.run(
        [
            str(python_of("shuffle")),
            "app.py",
            "standalone",
            "--action=test_connection",
            "endpoint=https://127.0.0.1:1",
            f"api_token={_CANARY}",
        ],
        cwd=app_folder() / "src",
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    outcome = json.loads(done.stdout.partition("From the Function (JSON: True) =====")[2])

    assert outcome["success"] is False
    assert outcome["error"]["class"] == "UNAVAILABLE"
    assert "CANARY" not in done.stdout + done.stderr
