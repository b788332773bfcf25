# SPDX-License-Identifier: Apache-2.0
"""The pack's one entry point: what it hands on, what it gives back, and its keys."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import soar_actions.run

ROOT = Path(__file__).resolve().parents[3]
ENTRY = ROOT / "soar_actions/platforms/stackstorm/artefact/actions/holdfast_action.py"
STAND_IN = ROOT / "tests/soar/standins/stackstorm/st2common/runners/base_action.py"
NOWHERE = {"endpoint": "http://control.example:7445", "api_token": "hfat_canary_canary"}
DELIMITER = "%%%%%~=~=~=************=~=~=~%%%%"


def load(name: str, path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The entry point, with the names by which the pack imports what travels in it."""
    for name in ("holdfast_actions", "st2common", "st2common.runners"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "holdfast_actions.run", soar_actions.run)
    base = load("st2common.runners.base_action", STAND_IN)
    monkeypatch.setitem(sys.modules, "st2common.runners.base_action", base)
    monkeypatch.setenv("ST2_ACTION_EXECUTION_ID", "5f1f3f0e57b94f3e8a516f2f")
    return load("holdfast_action", ENTRY)


def run(entry: Any, config: dict[str, Any], **parameters: Any) -> tuple[bool, dict[str, Any]]:
    done: tuple[bool, dict[str, Any]] = entry.HoldfastAction(config=config).run(**parameters)
    return done


def test_failure_is_false_with_reason_and_remedy(entry: Any) -> None:
    """A workflow sees a failed execution, and in it why and what to do."""
    status, result = run(entry, NOWHERE, holdfast_action="get-agent", agent="banking")

    assert status is False
    assert result["error"]["reason"] == "BAD_SETTING"
    assert result["error"]["remedy"]


def test_i06_failure_holds_no_secret(entry: Any) -> None:
    """The token is in nothing that StackStorm stores."""
    _, result = run(entry, NOWHERE, holdfast_action="get-agent", agent="banking")

    assert "canary" not in str(result)


def test_i05_setting_that_weakens_tls_is_refused(entry: Any) -> None:
    """It is said, and not overlooked."""
    config = {"endpoint": "https://control.example", "api_token": "x", "verify_ssl": False}
    status, result = run(entry, config, holdfast_action="get-agent", agent="banking")

    assert status is False
    assert "TLS is always verified" in result["summary"]


def key(entry: Any, **parameters: Any) -> str:
    said = {"agent": "banking", "reason": "alert", **parameters}
    return str(run(entry, NOWHERE, holdfast_action="contain-agent", **said)[1]["idempotency_key"])


def test_i01_same_execution_has_the_same_key(entry: Any) -> None:
    """StackStorm may run an execution twice."""
    assert key(entry) == key(entry)
    assert key(entry) != key(entry, agent="other")


def test_i01_another_execution_has_another_key(entry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was released meanwhile is contained anew."""
    before = key(entry)
    monkeypatch.setenv("ST2_ACTION_EXECUTION_ID", "6a1f3f0e57b94f3e8a516f2f")

    assert key(entry) != before


def test_absent_parameters_are_left_out(entry: Any) -> None:
    """StackStorm gives None for what nobody gave; that is not the text None."""
    assert key(entry, ttl_seconds=None) == key(entry)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(True, "true", id="boolean"),
        pytest.param(42, "42", id="integer"),
        pytest.param(["a", "b"], "a,b", id="array"),
    ],
)
def test_values_become_the_text_of_the_catalogue(entry: Any, value: Any, text: str) -> None:
    """Values travel as text."""
    assert entry._text(value) == text


def test_i07_item_of_a_list_is_one_item(entry: Any) -> None:
    """An item with a comma would be two agents: it is refused instead."""
    status, result = run(
        entry,
        {"endpoint": "https://control.example", "api_token": "x"},
        holdfast_action="contain-agents",
        agents=["a,b"],
        reason="alert",
    )

    assert status is False
    assert result["error"]["class"] == "BAD_INPUT"


def test_hostile_text_is_not_taken_for_the_frame(entry: Any) -> None:
    """StackStorm would lose a result that holds its own delimiter."""
    hostile = {f"k{DELIMITER}": [f"a{DELIMITER}b", {"c": DELIMITER}], "n": 1}

    harmless = entry._harmless(hostile)

    assert DELIMITER not in str(harmless)
    assert harmless["n"] == 1
