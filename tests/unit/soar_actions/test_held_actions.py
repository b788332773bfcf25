# SPDX-License-Identifier: Apache-2.0
"""An action that a human must grant first: pending, never success, and never slept for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.api.v1 import containment_pb2, types_pb2
from sidecar.canonical import fingerprint_words
from soar_actions.catalogue import ACTIONS
from soar_actions.cli import soar
from soar_actions.client import Connection
from soar_actions.handlers import HANDLERS, Status, run_action

Operation = types_pb2.Operation
FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
ID = "apr_" + "a" * 32
LINK = f"https://console.example/approvals/{ID}"
PARAMETERS = {
    "contain-agent": {"agent": "banking", "reason": "alert 4711"},
    "release-agent": {"epoch": "42", "reason": "false alarm"},
}
HELD = pytest.mark.parametrize("slug", PARAMETERS)


class FakeControl:
    """Answers as control does, and counts what it is asked."""

    def __init__(self) -> None:
        self.operation: types_pb2.Operation | None = Operation(
            name=f"operations/{ID}",
            state=Operation.STATE_PENDING_APPROVAL,
            action="release",
            summary="soar wants to release directive 42",
            requester="soar",
            approval=f"approvals/{ID}",
            approvers=["alice", "bob"],
            url=LINK,
            fingerprint=FINGERPRINT,
            fingerprint_words=fingerprint_words(FINGERPRINT),
        )
        self.is_done = False
        self.requests: list[Any] = []
        self.opened = 0

    def __call__(self, connection: Connection) -> FakeControl:
        self.opened += 1
        return self

    async def __aenter__(self) -> FakeControl:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def contain(
        self, request: containment_pb2.ContainRequest
    ) -> containment_pb2.ContainResponse:
        self.requests.append(request)
        receipt = types_pb2.Receipt(
            directive=types_pb2.Directive(epoch=42), durable=True, contained=True, signed_json=b"{}"
        )
        return containment_pb2.ContainResponse(
            operation=self.operation, receipt=receipt if self.is_done else None
        )

    async def release(
        self, request: containment_pb2.ReleaseRequest
    ) -> containment_pb2.ReleaseResponse:
        self.requests.append(request)
        directive = types_pb2.Directive(epoch=42, state=types_pb2.Directive.STATE_RELEASED)
        return containment_pb2.ReleaseResponse(
            operation=self.operation, directive=directive if self.is_done else None, epoch=43
        )


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> FakeControl:
    """A control in the place of the real client."""
    fake = FakeControl()
    monkeypatch.setattr("soar_actions.handlers.run.ControlClient", fake)
    return fake


def run(slug: str) -> dict[str, Any]:
    nowhere = Path("/nonexistent")
    return asyncio.run(
        run_action(
            ACTIONS[slug],
            HANDLERS[slug],
            connection=Connection(address="x:1", ca=nowhere, certificate=nowhere, key=nowhere),
            parameters=PARAMETERS[slug],
            key="run-0001",
        )
    )


@HELD
def test_a_held_action_is_pending(control: FakeControl, slug: str) -> None:
    """Neither success nor failure: the operation, the approval, who decides and where."""
    result = run(slug)

    assert result["status"] == "PENDING"
    assert "error" not in result
    assert result["operation"]["name"] == f"operations/{ID}"
    assert result["operation"]["state"] == "PENDING_APPROVAL"
    assert result["operation"]["approvers"] == ["alice", "bob"]
    assert result["approval"] == f"approvals/{ID}"
    assert result["link"] == LINK
    assert "alice, bob" in result["summary"]
    assert json.dumps(result)


@HELD
def test_d19_a_playbook_shows_the_same_digits_and_words(control: FakeControl, slug: str) -> None:
    """What approvers compare is in the result as control computed it."""
    operation = run(slug)["operation"]

    assert operation["fingerprint"] == FINGERPRINT
    assert operation["fingerprint_words"] == fingerprint_words(FINGERPRINT)


@HELD
def test_pending_is_answered_at_once(
    control: FakeControl, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question, no sleep: a playbook's worker is not a waiting room."""

    async def no_sleep(*_: object) -> None:
        raise AssertionError("slept")

    monkeypatch.setattr("asyncio.sleep", no_sleep)

    run(slug)

    assert len(control.requests) == 1


@HELD
def test_i01_the_same_key_learns_how_it_ended(control: FakeControl, slug: str) -> None:
    """Run again, the same operation answers: first pending, then done with its result."""
    first = run(slug)
    assert control.operation is not None
    control.operation.state = Operation.STATE_RUNNING
    running = run(slug)
    control.operation.state = Operation.STATE_DONE
    control.is_done = True
    done = run(slug)

    assert [first["status"], running["status"], done["status"]] == ["PENDING", "PENDING", "SUCCESS"]
    assert {request.request_id for request in control.requests} == {"run-0001"}
    assert done["operation"]["state"] == "DONE"
    if slug == "release-agent":
        assert done["directive"]["state"] == "RELEASED"
        assert done["epoch"] == 43
    else:
        assert done["receipt"]["epoch"] == 42


@HELD
@pytest.mark.parametrize(
    ("state", "kind", "reason"),
    [
        (Operation.STATE_REFUSED, "REFUSED", "APPROVAL_REFUSED"),
        (Operation.STATE_EXPIRED, "REFUSED", "APPROVAL_EXPIRED"),
        (Operation.STATE_CANCELLED, "REFUSED", "APPROVAL_CANCELLED"),
        (Operation.STATE_FAILED, "FAILED", "ALREADY_RELEASED"),
        (99, "FAILED", "ALREADY_RELEASED"),
    ],
)
def test_what_was_not_granted_is_a_failure(
    control: FakeControl, slug: str, state: int, kind: str, reason: str
) -> None:
    """Never retried by itself, and it says by whom."""
    assert control.operation is not None
    control.operation.state = Operation.State.ValueType(state)
    control.operation.detail = "refused by bob at 12:00 UTC"
    control.operation.error_reason = "ALREADY_RELEASED"

    result = run(slug)

    assert result["status"] == "FAILED"
    assert result["error"]["class"] == kind
    assert result["error"]["reason"] == reason
    assert not result["error"]["retryable"]
    assert "refused by bob" in result["summary"]


@HELD
def test_what_needs_no_human_has_no_operation(control: FakeControl, slug: str) -> None:
    """The results of before have not changed."""
    control.operation, control.is_done = None, True

    result = run(slug)

    assert result["status"] == "SUCCESS"
    assert "operation" not in result
    assert "link" not in result


@HELD
def test_the_declaration_names_what_a_held_action_answers(slug: str) -> None:
    """Manifests and docs are made from it."""
    paths = {output.path for output in ACTIONS[slug].outputs}
    reasons = {note.reason for note in ACTIONS[slug].errors}

    assert {"operation.name", "operation.state", "approval", "link"} <= paths
    assert {"APPROVAL_REFUSED", "APPROVAL_EXPIRED", "NO_APPROVER"} <= reasons


@pytest.fixture
def command(control: FakeControl) -> Callable[..., Result]:
    """Run ``holdfast soar run release-agent``."""

    def call(*flags: str) -> Result:
        parameters = [
            f"--param={name}={value}" for name, value in PARAMETERS["release-agent"].items()
        ]
        return CliRunner().invoke(soar, ["run", "release-agent", *parameters, *flags])

    return call


def test_the_command_exits_4_while_it_waits(command: Callable[..., Result]) -> None:
    """As ``holdfast release`` does; and says who, where, and how to go on."""
    shown = command("--key", "run-0001")
    data = command("--json")

    assert shown.exit_code == data.exit_code == 4
    assert "PENDING" in shown.stdout
    assert LINK in shown.stdout
    assert fingerprint_words(FINGERPRINT) in shown.stdout
    assert "--key run-0001" in shown.stdout
    assert json.loads(data.stdout)["status"] == Status.PENDING


def test_the_command_prints_no_escape(command: Callable[..., Result], control: FakeControl) -> None:
    """Summaries and links hold what others wrote."""
    assert control.operation is not None
    control.operation.summary = control.operation.url = "a\x1b]52;c;cm0=\x07\u202eb"

    shown = command("--key", "a\x1b[2Jb")

    assert "\x1b" not in shown.stdout
    assert "\u202e" not in shown.stdout


def test_the_command_refuses_what_was_refused(
    command: Callable[..., Result], control: FakeControl
) -> None:
    """Exit 3."""
    assert control.operation is not None
    control.operation.state = Operation.STATE_REFUSED

    assert command().exit_code == 3
