# SPDX-License-Identifier: Apache-2.0
"""A bundle that may permit more comes into force when a second human has granted it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.approvals.values import Verdict
from sidecar.errors import ConflictError, ErrorReason, HoldfastError, RefusedError
from sidecar.model import Operator, Role
from sidecar.operations import service as operations_service
from sidecar.operations.answers import NO_RESULT
from sidecar.operations.values import Action, Operation, OperationState
from tests.unit.containment.containment_kit import operator
from tests.unit.operations.operations_kit import (
    ALICE,
    BOB,
    CAROL,
    EVERYBODY,
    LOCAL,
    NEVER,
    PAY,
    PING,
    SOAR,
    Desk,
    Office,
    bundle_files,
    digest,
)

BOT = operator("bot", Role.POLICY_APPROVE, kind=SOAR.kind)


async def reload(
    desk: Desk, caller: Operator = ALICE, request_id: str = "reload-1"
) -> Operation | str:
    """Read the directory again as the servicer does; return the operation or the digest."""
    async with desk.policy.reloading:
        bundle, engine = await desk.policy.read()
        outcome = await desk.operations.activate(bundle, engine, caller, request_id)
    return outcome if isinstance(outcome, Operation) else outcome.bundle.digest


async def held(desk: Desk, caller: Operator = ALICE, request_id: str = "reload-1") -> Operation:
    """Read the directory again; it must be held."""
    outcome = await reload(desk, caller, request_id)
    assert isinstance(outcome, Operation)
    return outcome


def write(office: Office, policies: str) -> None:
    """Write another bundle into the directory."""
    office.policy.directory = bundle_files(policies)


async def test_tightening_comes_into_force_at_once(home: Path) -> None:
    """A forbid more, or a permit less, waits for nobody."""
    office = Office(home, policies=PING + PAY)
    async with office.open() as desk:
        for number, policies in enumerate((PING + PAY + NEVER, PING + NEVER, NEVER)):
            write(office, policies)
            in_force = await reload(desk, request_id=f"reload-{number}")
            assert in_force == office.policy.state.bundle.digest

        assert len(office.policy.activated) == 3
        assert desk.approvals.live() == ()


async def test_loosening_waits_for_a_second_human(office: Office) -> None:
    """A permit more waits; nothing changes until a policy approver grants it."""
    before = office.policy.state
    write(office, PING + PAY)
    async with office.open() as desk:
        waiting = await held(desk)
        assert office.policy.state is before
        await desk.vote(waiting, BOB)
        done = await desk.now(waiting)
        result = await desk.operations.result(done)
        again = await reload(desk)

    assert (waiting.state, waiting.action) == (
        OperationState.PENDING_APPROVAL,
        Action.ACTIVATE_POLICY,
    )
    request = waiting.approval.request
    assert (request.role, request.quorum) == (Role.POLICY_APPROVE, 1)
    assert request.reason == (
        "The bundle may permit more than the one in force: permit pay is new."
    )
    assert waiting.summary.startswith("alice asks to activate policy bundle ")
    assert waiting.summary.endswith(": 1 file differs (policies/main.cedar)")
    assert done.state is OperationState.DONE
    assert (done.outcome.policy_digest, done.outcome.epoch) == (
        office.policy.state.bundle.digest,
        1,
    )
    assert office.policy.activated == [(done.outcome.policy_digest, "alice")]
    assert again == done
    assert result == NO_RESULT


async def test_what_is_granted_shows_every_line_that_differs(office: Office) -> None:
    """The approver reads the difference in the bytes whose fingerprint is granted."""
    files = bundle_files(PING + PAY)
    office.policy.directory = {**files, "limits.yaml": b"version: 1\nlimits: []\n"}
    async with office.open() as desk:
        waiting = await held(desk)

    request = waiting.approval.request
    body = json.loads(request.canonical)["body"]
    assert digest(request.canonical) == request.fingerprint
    assert body["digest_in_force"] == office.policy.state.bundle.digest
    assert body["may_permit_more"] == ["limits.yaml differs", "permit pay is new"]
    assert [(file["path"], file["change"]) for file in body["files"]] == [
        ("policies/main.cedar", "changed"),
        ("limits.yaml", "added"),
    ]
    assert f"+{PAY}" in body["files"][0]["diff"]


async def test_directory_that_changed_after_it_was_asked_fails(office: Office) -> None:
    """What comes into force is what was granted, or nothing."""
    write(office, PING + PAY)
    async with office.open() as desk:
        waiting = await held(desk)
        write(office, PING + PAY + "// one more thing\n")
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

    assert office.policy.activated == []
    assert (failed.state, failed.outcome.error_reason) == (OperationState.FAILED, "POLICY_CHANGED")
    assert "the directory changed" in failed.detail


async def test_directory_that_is_no_bundle_any_more_fails(office: Office) -> None:
    """A grant brings no broken bundle into force."""
    write(office, PING + PAY)
    async with office.open() as desk:
        waiting = await held(desk)
        write(office, "permit(")
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

    assert office.policy.activated == []
    assert failed.outcome.error_reason == "INVALID_BUNDLE"


async def test_e03_newer_policy_stands(office: Office) -> None:
    """A bundle that was compared with another one than is in force now is not let in."""
    write(office, PING + PAY)
    async with office.open() as desk:
        waiting = await held(desk)
        write(office, PING + NEVER)
        tightened = await reload(desk, BOB, "reload-2")
        withdrawn = await desk.now(waiting)
        with pytest.raises(HoldfastError):
            await desk.vote(waiting, BOB)
        write(office, PING + PAY)
        with pytest.raises(ConflictError):
            await reload(desk, BOB)

    assert office.policy.state.bundle.digest == tightened
    assert withdrawn.state is OperationState.CANCELLED
    assert "another bundle came into force" in withdrawn.detail


async def test_e03_newer_policy_negative_control(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were nothing withdrawn, the execution would still see that another bundle is in force."""
    write(office, PING + PAY)
    async with office.open() as desk:
        monkeypatch.setattr(desk.operations._executor, "_drop_outdated", lambda: asyncio.sleep(0))
        waiting = await held(desk)
        write(office, PING + NEVER)
        tightened = await reload(desk, BOB, "reload-2")
        write(office, PING + PAY)
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

    assert office.policy.state.bundle.digest == tightened
    assert failed.outcome.error_reason == "POLICY_CHANGED"
    assert "another bundle came into force" in failed.detail


@pytest.mark.parametrize(
    "voter",
    [ALICE, SOAR, replace(BOB, human_id="ALICE")],
    ids=["author", "automation", "alias"],
)
async def test_d01_whoever_asks_lets_no_bundle_in(office: Office, voter: Operator) -> None:
    """The author under any name, and automation, grant nothing."""
    write(office, PING + PAY)
    author = replace(ALICE, roles=ALICE.roles | {Role.POLICY_APPROVE})
    office.policy.known = (author, *EVERYBODY[1:])
    async with office.open() as desk:
        waiting = await held(desk, author)
        with pytest.raises(HoldfastError):
            await desk.vote(waiting, voter)

    assert office.policy.activated == []


async def test_automation_and_the_host_itself_need_others(office: Office) -> None:
    """Automation needs two humans to let a bundle in, root at the host one."""
    office.policy.known = (*EVERYBODY, BOT)
    write(office, PING + PAY)
    async with office.open() as desk:
        by_bot = await held(desk, BOT)
        by_root = await held(desk, LOCAL, "reload-2")
        await desk.vote(by_bot, BOB)
        assert office.policy.activated == []
        await desk.vote(by_root, CAROL)
        done = await desk.now(by_root)

    assert (by_bot.approval.request.quorum, by_root.approval.request.quorum) == (2, 1)
    assert done.state is OperationState.DONE
    assert office.policy.activated == [(done.outcome.policy_digest, "local")]


async def test_who_may_not_change_policy_asks_nobody(office: Office) -> None:
    """The roles of the method hold here too, also for a tightening."""
    write(office, PING + NEVER)
    async with office.open() as desk:
        bundle, engine = await desk.policy.read()
        with pytest.raises(RefusedError) as caught:
            await desk.operations.activate(bundle, engine, SOAR, "reload-1")
        with pytest.raises(RefusedError):
            await desk.operations.preview_activation(bundle, SOAR)

        assert desk.approvals.live() == ()

    assert office.policy.activated == []
    assert caught.value.reason is ErrorReason.PERMISSION_MISSING


async def test_requester_who_lost_the_role_lets_no_bundle_in(office: Office) -> None:
    """The author of the request is looked up again when it is carried out."""
    write(office, PING + PAY)
    async with office.open() as desk:
        waiting = await held(desk)
        office.policy.known = (
            replace(ALICE, roles=frozenset({Role.CONTAIN})),
            *EVERYBODY[1:],
        )
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

    assert office.policy.activated == []
    assert failed.outcome.error_reason == "PERMISSION_MISSING"


async def test_same_request_id_is_the_same_operation(office: Office) -> None:
    """Asked 64 times at once it waits once; another directory or asker with that id conflicts."""
    write(office, PING + PAY)
    async with office.open() as desk:
        operations = await asyncio.gather(*(held(desk) for _ in range(64)))
        with pytest.raises(ConflictError):
            await reload(desk, BOB)
        write(office, PING + PAY + NEVER)
        with pytest.raises(ConflictError):
            await reload(desk)

    assert len({operation.id for operation in operations}) == 1


async def test_refused_bundle_does_not_come_into_force(office: Office) -> None:
    """One refusal ends it."""
    write(office, PING + PAY)
    async with office.open() as desk:
        waiting = await held(desk)
        await desk.vote(waiting, BOB, Verdict.REFUSE)
        again = await reload(desk)

    assert office.policy.activated == []
    assert isinstance(again, Operation)
    assert again.state is OperationState.REFUSED


async def test_bundle_in_force_is_answered_at_once(office: Office) -> None:
    """Nothing differs: nothing is asked, nothing is activated."""
    async with office.open() as desk:
        in_force = await reload(desk)

        assert desk.approvals.live() == ()

    assert in_force == office.policy.state.bundle.digest
    assert office.policy.activated == []


async def test_preview_of_a_bundle_says_what_would_wait(office: Office) -> None:
    """It tells a loosening from a tightening, and asks nobody."""
    async with office.open() as desk:
        needs = []
        for policies in (PING + PAY, PING + NEVER, PING):
            write(office, policies)
            bundle, _ = await desk.policy.read()
            needs.append(await desk.operations.preview_activation(bundle, ALICE))

        assert desk.approvals.live() == ()

    assert needs[0] is not None
    assert needs[1:] == [None, None]


async def test_loosening_negative_control(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """If every bundle counted as tighter, one hand would let it in."""
    monkeypatch.setattr(operations_service, "may_permit_more", lambda *_: (False, ()))
    write(office, PING + PAY)
    async with office.open() as desk:
        in_force = await reload(desk)

    assert office.policy.activated == [(in_force, "alice")]
