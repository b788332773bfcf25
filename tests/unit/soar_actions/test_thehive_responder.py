# SPDX-License-Identifier: Apache-2.0
"""The responders' program by itself: what it reads of a case, and what it writes into one."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import soar_actions.catalogue
import soar_actions.run

PROGRAM = (
    Path(__file__).resolve().parents[3]
    / "soar_actions/platforms/thehive/artefact/Holdfast/holdfast_responder.py"
)
HELD = {
    "status": "PENDING",
    "summary": "waits for a human (bob): ``` [x](javascript:alert(1))\n# big",
    "operation": {
        "name": "operations/apr_0123",
        "state": "PENDING_APPROVAL",
        "approvers": ["bob"],
        "fingerprint_words": "9f86d081884c7d65 basket-cactus-falcon-iceberg",
        "expire_time": "2026-01-31T09:30:00Z",
    },
    "link": "https://control.example:7444/approvals/apr_0123",
}


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program; what it derives from is not needed for its parts."""
    for name in ("holdfast_actions", "cortexutils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    responder = types.ModuleType("cortexutils.responder")
    responder.Responder = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cortexutils.responder", responder)
    monkeypatch.setitem(sys.modules, "holdfast_actions.run", soar_actions.run)
    monkeypatch.setitem(sys.modules, "holdfast_actions.catalogue", soar_actions.catalogue)
    spec = importlib.util.spec_from_file_location("holdfast_responder", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_task_shows_hostile_text_in_one_block_of_code(program: Any) -> None:
    """Text of an agent cannot end the block, open a link or make a heading."""
    text = program._task_text(HELD)
    before, block, after = text.split("```")

    assert "javascript" in block
    assert "javascript" not in before + after
    assert "\n# big" not in text
    assert HELD["operation"]["fingerprint_words"] in block  # type: ignore[index]


def test_failure_says_reason_first_and_result_last(program: Any) -> None:
    """The first line is for the analyst, the last for programs."""
    error = {"reason": "NOT_FOUND", "remedy": "check\nit", "retryable": True}
    text = program._failure({"status": "FAILED", "summary": "no such agent", "error": error})
    lines = text.split("\n")

    assert lines[0] == "NOT_FOUND: no such agent"
    assert lines[1] == "What to do: check?it"
    assert lines[-1].startswith('Result: {"error"')
    assert len(lines) == 4


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([{"name": "holdfast-level", "value": "KILL"}], id="thehive 5"),
        pytest.param({"holdfast-level": {"order": 0, "string": "KILL"}}, id="thehive 4"),
        pytest.param({"holdfast-level": "KILL"}, id="plain"),
    ],
)
def test_custom_fields_of_every_thehive(program: Any, fields: Any) -> None:
    """Both forms say the same, and what is not ours is not looked at."""
    assert program._custom_fields(fields) == {"level": "KILL"}


@pytest.mark.parametrize("fields", [None, "x", [None, 1], {"level": "KILL"}, [{"name": 1}]])
def test_custom_fields_negative_control(program: Any, fields: Any) -> None:
    """Anything else is nothing."""
    assert program._custom_fields(fields) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "", id="none"),
        pytest.param(True, "true", id="boolean"),
        pytest.param(900.0, "900", id="number"),
        pytest.param("x", "x", id="text"),
    ],
)
def test_values_become_the_text_of_the_catalogue(program: Any, value: Any, text: str) -> None:
    """A number field of TheHive is a float."""
    assert program._text(value) == text
