# SPDX-License-Identifier: Apache-2.0
"""An action that a human must grant first: pending, never success, and never slept for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.canonical import fingerprint_words
from soar_actions import cli
from soar_actions.cli import soar
from soar_actions.errors import ActionError, ErrorClass
from tests.unit.soar_actions.control import (
    FINGERPRINT,
    ID,
    LINK,
    FakeControl,
    filled,
    operation,
)

PARAMETERS = {
    "contain-agent": {"agent": "banking", "reason": "alert 4711"},
    "release-agent": {"epoch": "42", "reason": "false alarm"},
}
METHODS = {
    "contain-agent": "ContainmentService/Contain",
    "release-agent": "ContainmentService/Release",
}
HELD = pytest.mark.parametrize("slug", PARAMETERS)


def run(slug: str, state: str, **changes: Any) -> dict[str, Any]:
    """Run the action while its operation is in *state*."""
    return control_with(slug, state, **changes).run(slug, PARAMETERS[slug], key="run-0001")


def control_with(slug: str, state: str, **changes: Any) -> FakeControl:
    held = operation(state, fingerprintWords=fingerprint_words(FINGERPRINT), **changes)
    method = METHODS[slug]
    answer = (
        filled(method, operation=held, unknownAgents=None)
        if state == "DONE"
        else {"operation": held}
    )
    return FakeControl(**{method: answer})


@HELD
def test_a_held_action_is_pending(slug: str) -> None:
    """Neither success nor failure: the operation, the approval, who decides and where."""
    result = run(slug, "PENDING_APPROVAL")

    assert result["status"] == "PENDING"
    assert "error" not in result
    assert result["operation"]["name"] == f"operations/apr_{ID}"
    assert result["operation"]["state"] == "PENDING_APPROVAL"
    assert result["operation"]["approvers"] == ["alice", "bob"]
    assert result["approval"] == f"approvals/apr_{ID}"
    assert result["link"] == LINK
    assert "alice, bob" in result["summary"]


@HELD
def test_d19_a_playbook_shows_the_same_digits_and_words(slug: str) -> None:
    """What approvers compare is in the result as control computed it."""
    shown = run(slug, "PENDING_APPROVAL")["operation"]

    assert shown["fingerprint"] == FINGERPRINT
    assert shown["fingerprint_words"] == fingerprint_words(FINGERPRINT)


@HELD
def test_pending_is_answered_at_once(slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question, no sleep: a playbook's worker is not a waiting room."""

    def no_sleep(*_: object) -> None:
        raise AssertionError("slept")

    monkeypatch.setattr("time.sleep", no_sleep)
    control = control_with(slug, "PENDING_APPROVAL")

    control.run(slug, PARAMETERS[slug])

    assert len(control.calls) == 1


@HELD
def test_i01_the_same_key_learns_how_it_ended(slug: str) -> None:
    """Run again, the same operation answers: first pending, then done with its result."""
    states = ["PENDING_APPROVAL", "RUNNING", "DONE"]
    controls = [control_with(slug, state) for state in states]

    results = [control.run(slug, PARAMETERS[slug], key="run-0001") for control in controls]

    assert [result["status"] for result in results] == ["PENDING", "PENDING", "SUCCESS"]
    assert {c.body["requestId"] for control in controls for c in control.calls} == {"run-0001"}
    assert results[-1]["operation"]["state"] == "DONE"
    assert "directive" in results[-1] or "receipt" in results[-1]


@HELD
@pytest.mark.parametrize(
    ("state", "kind", "reason"),
    [
        ("REFUSED", "REFUSED", "APPROVAL_REFUSED"),
        ("EXPIRED", "REFUSED", "APPROVAL_EXPIRED"),
        ("CANCELLED", "REFUSED", "APPROVAL_CANCELLED"),
        ("FAILED", "FAILED", "ALREADY_RELEASED"),
        ("SOMETHING_NEW", "FAILED", "ALREADY_RELEASED"),
    ],
)
def test_what_was_not_granted_is_a_failure(slug: str, state: str, kind: str, reason: str) -> None:
    """Never retried by itself, and it says by whom."""
    result = run(slug, state, detail="refused by bob at 12:00 UTC", errorReason="ALREADY_RELEASED")

    assert result["status"] == "FAILED"
    assert result["error"]["class"] == kind
    assert result["error"]["reason"] == reason
    assert not result["error"]["retryable"]
    assert "refused by bob" in result["summary"]


@HELD
def test_what_needs_no_human_has_no_operation(slug: str) -> None:
    """An order that was carried out at once has nothing to wait for."""
    method = METHODS[slug]

    result = FakeControl(**{method: filled(method, operation=None, unknownAgents=None)}).run(
        slug, PARAMETERS[slug]
    )

    assert result["status"] == "SUCCESS"
    assert "operation" not in result
    assert "link" not in result


@HELD
def test_an_answer_with_neither_is_a_failure(slug: str) -> None:
    """No receipt and no operation: nobody knows what happened, so it is no success."""
    result = FakeControl(**{METHODS[slug]: {}}).run(slug, PARAMETERS[slug])

    assert result["status"] == "FAILED"


Command = Callable[..., Result]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``holdfast soar run release-agent`` against an operation as it is described."""

    def call(
        *flags: str,
        state: str = "PENDING_APPROVAL",
        error: ActionError | None = None,
        **changes: Any,
    ) -> Result:
        control = control_with("release-agent", state, **changes)
        if error is not None:
            control = FakeControl(**{METHODS["release-agent"]: error})

        def perform(slug: str, _c: object, _t: str, values: dict[str, str], key: str) -> Any:
            return control.run(slug, values, key=key)

        monkeypatch.setattr(cli, "_perform", perform)
        parameters = [
            f"--param={name}={value}" for name, value in PARAMETERS["release-agent"].items()
        ]
        monkeypatch.setattr(cli.Connection, "from_asset", lambda _asset: None)
        return CliRunner().invoke(soar, ["run", "release-agent", *parameters, *flags])

    return call


def test_the_command_exits_4_while_it_waits(command: Command) -> None:
    """As ``holdfast release`` does; and says who, where, and how to go on."""
    shown = command("--key", "run-0001")
    data = command("--json")

    assert shown.exit_code == data.exit_code == 4
    assert "PENDING" in shown.stdout
    assert LINK in shown.stdout
    assert fingerprint_words(FINGERPRINT) in shown.stdout
    assert "--key run-0001" in shown.stdout
    assert json.loads(data.stdout)["status"] == "PENDING"


def test_the_command_prints_no_escape(command: Command) -> None:
    """Summaries and links hold what others wrote."""
    hostile = "a\x1b]52;c;cm0=\x07\u202eb"

    shown = command("--key", "a\x1b[2Jb", summary=hostile, url=hostile)
    held = command(summary=hostile, url=hostile)

    for result in (shown, held):
        assert "\x1b" not in result.stdout
        assert "\u202e" not in result.stdout


def test_the_command_refuses_what_was_refused(command: Command) -> None:
    """Exit 3."""
    assert command(state="REFUSED").exit_code == 3


def test_the_command_says_what_is_wrong_with_its_files(tmp_path: Any) -> None:
    """Exit 2, and how to get what is missing."""
    parameters = ["--param=agent=banking", f"--token-file={tmp_path / 'none'}"]

    result = CliRunner().invoke(soar, ["run", "get-agent", *parameters])

    assert result.exit_code == 2
    assert "holdfast api-tokens create" in result.stdout


def test_the_command_says_with_which_key_to_try_again(command: Command) -> None:
    """It made the key itself, and nobody else knows it."""
    down = ActionError(ErrorClass.UNAVAILABLE, "control could not be reached")

    assert "--key soar-" in command(error=down).stdout
    assert "--key" not in command(state="REFUSED").stdout


@pytest.mark.parametrize("is_json", [True, False], ids=["json", "text"])
def test_the_command_shows_a_declaration(is_json: bool) -> None:
    """All of it: parameters, outputs, errors, who must grant it."""
    result = CliRunner().invoke(soar, ["show", "contain-agent", *(["--json"] if is_json else [])])

    assert result.exit_code == 0
    for word in ("ttl_seconds", "receipt.gates[].state", "APPROVAL_REFUSED", "AML.T0053", "D3-PT"):
        assert word in result.stdout


def test_the_command_knows_no_other_action() -> None:
    """A usage error, with the names."""
    result = CliRunner().invoke(soar, ["show", "approve-anything"])

    assert result.exit_code == 2
    assert "contain-agent" in result.output
