# SPDX-License-Identifier: Apache-2.0
"""Orders that a human must grant first: ``operations``, and what holds in the other commands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.api.v1 import operation_pb2, policy_pb2, types_pb2
from sidecar.canonical import fingerprint_words
from sidecar.cli.exits import Exit
from sidecar.errors import NotFoundError

Operation = types_pb2.Operation
WIDE = ("contain", "labels", "env=prod", "--level", "freeze", "--reason", "wave", "--yes")
RELEASE = ("release", "2", "--reason", "over")
RELOAD = ("policy", "reload")
ORDERS = pytest.mark.parametrize("order", [WIDE, RELEASE, RELOAD], ids=lambda order: order[0])


@pytest.fixture
def held(host, holdfast):
    """A control at which releases, wide containments and bundles wait for a human."""
    holdfast("contain", "agent", "banking", "--level", "kill", "--reason", "drill", "--yes")
    host.control.is_holding = True
    return host


def only(host) -> types_pb2.Operation:
    (operation,) = host.control.operations.values()
    return operation


def done(host, operation: types_pb2.Operation) -> None:
    """Carry *operation* out, as control does when it is granted."""
    operation.state = Operation.STATE_DONE
    operation.detail = "granted by bob at 12:00 UTC"
    operation.epoch = 9
    directive = next(iter(host.control.directives.values()))
    match operation.action:
        case "contain":
            operation.receipt.CopyFrom(host.control.receipt(directive))
        case "release":
            directive.state = types_pb2.Directive.STATE_RELEASED
            operation.directive.CopyFrom(directive)
        case _:
            operation.policy_digest = "e" * 64


# -- what is held ---------------------------------------------------------------------------------


@ORDERS
def test_what_a_human_must_grant_first_is_held(held, holdfast, order):
    """Exit 4: who decides, where, the fingerprint, and how to watch it."""
    result = holdfast(*order)

    operation = only(held)
    assert result.code == Exit.HELD
    for part in (
        "nothing is done until another human grants it",
        operation.summary,
        operation.name,
        fingerprint_words(operation.fingerprint),
        "bob, carol",
        operation.url,
        f"holdfast approvals show {operation.approval}",
        f"holdfast operations show {operation.name} --wait",
    ):
        assert part in result.out
    assert "released" not in result.out
    assert "in force" not in result.out


@ORDERS
def test_what_is_held_is_told_to_programs(held, holdfast, order):
    """The object of the command, with the operation in it and no result."""
    result = holdfast(*order, "--json")

    document = result.json()
    assert result.code == Exit.HELD
    assert document["kind"] in {"Containment", "Release", "PolicyReload"}
    assert document["operation"]["state"] == "PENDING_APPROVAL"
    assert document["operation"]["approval"].startswith("approvals/apr_")
    assert document["operation"]["approvers"] == ["bob", "carol"]
    assert document["operation"]["url"].startswith("https://console.example/")
    assert document.get("receipt") is None
    assert document.get("directive") is None


@ORDERS
def test_a_retry_is_the_same_operation(held, holdfast, order):
    """The same request id opens no second request for a human."""
    for _ in range(2):
        assert holdfast(*order, "--request-id", "INC-7-a").code == Exit.HELD

    assert len(held.control.operations) == 1


@ORDERS
def test_a_command_waits_if_it_is_told_to(held, holdfast, order):
    """--wait asks again until it ends, and then shows what it gave."""
    held.control.when_polled = lambda operation: done(held, operation)

    result = holdfast(*order, "--wait", "10m", "--json")

    document = result.json()
    polls = [r for r in held.control.requests if isinstance(r, operation_pb2.GetOperationRequest)]
    assert result.code == Exit.OK
    assert document["operation"]["state"] == "DONE"
    assert [poll.wait.seconds for poll in polls] == [30]
    if order is WIDE:
        assert document["receipt"]["directive"]["epoch"] == 2
    if order is RELEASE:
        assert document["directive"]["state"] == "RELEASED"
        assert document["epoch"] == 9
        assert document["remaining"] is None
    if order is RELOAD:
        assert document["operation"]["policy_digest"] == "e" * 64


def test_people_see_what_came_of_what_they_waited_for(held, holdfast):
    """The receipt, the released directive, the policy."""
    held.control.when_polled = lambda operation: done(held, operation)

    contained = holdfast(*WIDE, "--wait", "10m")
    released = holdfast(*RELEASE, "--wait", "10m")
    reloaded = holdfast(*RELOAD, "--wait", "10m")

    assert "✓ gate banking: ENFORCED" in contained.out
    assert "released directive 2 (KILL for agent banking); epoch 9" in released.out
    assert "e" * 64 in reloaded.out


@ORDERS
@pytest.mark.parametrize(
    ("state", "code", "told"),
    [
        (Operation.STATE_REFUSED, Exit.DENIED, "refused: nothing was done"),
        (Operation.STATE_EXPIRED, Exit.DENIED, "nobody decided in time"),
        (Operation.STATE_CANCELLED, Exit.DENIED, "cancelled"),
        (Operation.STATE_FAILED, Exit.FAILURE, "could not be carried out"),
    ],
)
def test_what_was_not_granted_is_no_success(held, holdfast, order, state, code, told):
    """Nothing was done, and the exit code says so."""

    def end(operation: types_pb2.Operation) -> None:
        operation.state, operation.detail = state, "refused by bob at 12:00 UTC"

    held.control.when_polled = end
    result = holdfast(*order, "--wait", "1m")

    assert result.code == code
    assert told in result.out
    assert "refused by bob at 12:00 UTC" in result.out


@ORDERS
def test_a_wait_that_is_over_leaves_it_held(held, holdfast, monkeypatch, order):
    """Exit 4: whoever waits longer asks again."""
    for module in ("contain", "policy"):
        monkeypatch.setattr(
            f"sidecar.cli.{module}.parse_duration", lambda text: timedelta(milliseconds=20)
        )

    result = holdfast(*order, "--wait", "20ms")

    assert result.code == Exit.HELD


@ORDERS
def test_a_wait_is_a_duration(held, holdfast, order):
    """Exit 2 before anything is ordered."""
    result = holdfast(*order, "--wait", "forever")

    assert result.code == Exit.USAGE
    assert not held.control.operations


def test_a_rehearsal_says_that_it_would_be_held(held, holdfast):
    """A dry run asks nobody."""
    contain = holdfast(*WIDE, "--dry-run")
    contain_json = holdfast(*WIDE, "--dry-run", "--json").json()

    assert contain.code == Exit.OK
    assert "it would be held until another human grants it: most of the fleet" in contain.out
    assert contain_json["held"]
    assert contain_json["held_reason"] == "most of the fleet"
    assert not held.control.operations


def test_a_bundle_that_would_be_held_is_told_by_a_dry_run(held, holdfast):
    """Exit 0: nothing was asked of anybody."""
    result = holdfast(*RELOAD, "--dry-run")

    assert not held.control.operations
    assert held.control.last(policy_pb2.ReloadPolicySetRequest).validate_only
    assert result.code == Exit.OK
    assert "it would be held until another human grants it: permits more" in result.out


# -- operations -----------------------------------------------------------------------------------


def test_operations_are_listed(held, holdfast):
    """Those that wait; with --all the others too."""
    holdfast(*RELEASE)
    holdfast(*WIDE)
    first, _second = held.control.operations.values()
    done(held, first)

    waiting = holdfast("operations", "list", "--json").json()
    everything = holdfast("operations", "list", "--all")

    assert waiting["kind"] == "OperationList"
    assert [row["action"] for row in waiting["operations"]] == ["contain"]
    assert f"{first.name}  DONE  release  by local" in everything.out


def test_no_operation_waits(host, holdfast):
    """An empty list is an answer."""
    assert "no operation waits" in holdfast("operations", "list").out
    assert "there is no operation" in holdfast("operations", "list", "--all").out


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (Operation.STATE_PENDING_APPROVAL, Exit.HELD),
        (Operation.STATE_RUNNING, Exit.HELD),
        (Operation.STATE_DONE, Exit.OK),
        (Operation.STATE_REFUSED, Exit.DENIED),
        (Operation.STATE_EXPIRED, Exit.DENIED),
        (Operation.STATE_CANCELLED, Exit.DENIED),
        (Operation.STATE_FAILED, Exit.FAILURE),
        (99, Exit.FAILURE),
    ],
)
def test_an_operation_exits_as_it_stands(held, holdfast, state, code):
    """So that a script need not read the text; a state of a newer control is no success."""
    holdfast(*RELEASE)
    only(held).state = state

    shown = holdfast("operations", "show", only(held).name.removeprefix("operations/"))
    data = holdfast("operations", "show", only(held).name, "--json")

    assert shown.code == data.code == code
    assert data.json()["kind"] == "Operation"


def test_an_operation_is_waited_for(held, holdfast):
    """Long polls of at most 30 s, until it ends."""
    holdfast(*RELEASE)
    polled: list[str] = []

    def poll(operation: types_pb2.Operation) -> None:
        polled.append(operation.name)
        if len(polled) == 3:
            done(held, operation)

    held.control.when_polled = poll
    result = holdfast("operations", "show", only(held).name, "--wait", "30m")

    assert result.code == Exit.OK
    assert len(polled) == 3
    assert "granted and carried out" in result.out
    assert "granted by bob at 12:00 UTC" in result.out
    assert "RELEASED" in result.out


@pytest.mark.parametrize(
    ("name", "told"),
    [("apr_0123", "cut off"), ("approvals/apr_" + "0" * 32, "did you mean operations/apr_")],
)
def test_operations_are_named_exactly(host, holdfast, name, told):
    """Exit 2, what was meant, and control was not asked."""
    result = holdfast("operations", "show", name)

    assert result.code == Exit.USAGE
    assert told in result.err
    assert host.control.requests == []


def test_an_operation_that_is_not_there(host, holdfast):
    """Exit 1, with control's words."""
    host.control.failure = NotFoundError("there is no such operation")

    assert holdfast("operations", "show", "apr_" + "0" * 32).code == Exit.FAILURE
