# SPDX-License-Identifier: Apache-2.0
"""P11: a control that dies in the middle of carrying something out goes on after the restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.errors import EnvironmentFailure, NotDurableError
from sidecar.operations.execution import Executor
from sidecar.operations.values import Operation, OperationState
from tests.unit.containment.containment_kit import ALL, order, release
from tests.unit.operations.operations_kit import (
    ALICE,
    BOB,
    EVERYBODY,
    PAY,
    PING,
    SOAR,
    Desk,
    Office,
    bundle_files,
)

Ask = Callable[[Desk], Any]


async def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing: what a dead process does."""


def before_it_is_taken(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """Die after the grant."""
    patch.setattr(desk.operations._executor, "_carry_out", _nothing)


def before_it_is_done(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """Die after the grant was taken."""
    patch.setattr(desk.operations._executor, "_finish", _nothing)


def before_it_is_noted(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """Die after it was carried out."""
    patch.setattr(desk.approvals, "finish", _nothing)


CRASHES = [before_it_is_taken, before_it_is_done, before_it_is_noted]


async def ask_release(desk: Desk) -> Operation:
    """Ask for a release."""
    answer = await desk.operations.contain(order(), ALICE)
    assert not isinstance(answer, Operation)
    epoch = answer.receipt.receipt.directive.epoch
    outcome = await desk.operations.release(release(epoch), ALICE)
    assert isinstance(outcome, Operation)
    return outcome


async def ask_containment(desk: Desk) -> Operation:
    """Ask for a wide containment."""
    outcome = await desk.operations.contain(order(target=ALL), SOAR)
    assert isinstance(outcome, Operation)
    return outcome


async def ask_activation(desk: Desk) -> Operation:
    """Ask for a bundle that permits more."""
    desk.policy.directory = bundle_files(PING + PAY)
    bundle, engine = await desk.policy.read()
    outcome = await desk.operations.activate(bundle, engine, ALICE, "reload-1")
    assert isinstance(outcome, Operation)
    return outcome


ASKS = [ask_release, ask_containment, ask_activation]


@pytest.mark.parametrize("crash", CRASHES)
@pytest.mark.parametrize("ask", ASKS)
async def test_p11_what_was_granted_is_carried_out_once_after_a_crash(
    office: Office, monkeypatch: pytest.MonkeyPatch, ask: Ask, crash: Any
) -> None:
    """Wherever control died, the operation is DONE after the restart, and was done once."""
    async with office.open() as desk:
        waiting = await ask(desk)
        with monkeypatch.context() as patch:
            crash(desk, patch)
            await desk.vote(waiting, BOB)
        running = await desk.now(waiting)
        epoch = desk.containment.epoch
    async with office.open() as again:
        await again.settle()
        done = await again.now(waiting)
        is_done_now = again.containment.epoch > epoch

    assert running.state is OperationState.RUNNING
    assert done.state is OperationState.DONE
    if ask is ask_activation:
        assert len(office.policy.activated) == 1
    else:
        assert is_done_now is (crash is not before_it_is_noted)


@pytest.mark.parametrize("ask", ASKS)
async def test_p11_what_was_done_is_done_although_the_requester_has_gone(
    office: Office, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    """The journal says what happened; the requester's roles do not change that afterwards."""
    async with office.open() as desk:
        waiting = await ask(desk)
        with monkeypatch.context() as patch:
            before_it_is_noted(desk, patch)
            await desk.vote(waiting, BOB)
    office.policy.known = EVERYBODY[1:3]
    async with office.open() as again:
        await again.settle()
        done = await again.operations.get(waiting.id, EVERYBODY[5])

    assert done.state is OperationState.DONE


@pytest.mark.parametrize("ask", ASKS)
async def test_p11_what_was_not_done_is_not_done_for_a_requester_who_has_gone(
    office: Office, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    """A grant that was taken before the crash is carried out as of now: by nobody."""
    async with office.open() as desk:
        waiting = await ask(desk)
        with monkeypatch.context() as patch:
            before_it_is_done(desk, patch)
            await desk.vote(waiting, BOB)
        epoch = desk.containment.epoch
    office.policy.known = EVERYBODY[1:3]
    async with office.open() as again:
        await again.settle()
        failed = await again.operations.get(waiting.id, EVERYBODY[5])

        assert again.containment.epoch == epoch

    assert failed.state is OperationState.FAILED
    assert office.policy.activated == []


async def test_p11_pending_operations_wait_on_after_a_restart(office: Office) -> None:
    """Nothing is asked twice, and the grant that comes afterwards is carried out."""
    async with office.open() as desk:
        waiting = await ask_containment(desk)
    async with office.open() as again:
        same = await again.operations.contain(order(target=ALL), SOAR)
        await again.vote(waiting, BOB)

        assert again.levels == ["all KILL"]

    assert isinstance(same, Operation)
    assert same.id == waiting.id


async def test_p11_grant_does_not_outlive_the_boot(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was granted and not taken before the host went down must be granted again."""
    async with office.open() as desk:
        waiting = await ask_containment(desk)
        with monkeypatch.context() as patch:
            before_it_is_taken(desk, patch)
            await desk.vote(waiting, BOB)
    async with office.open(boot_id="99999999-8888-7777-6666-555555555555") as again:
        await again.settle()
        ended = await again.now(waiting)

        assert again.levels == []

    assert ended.state is OperationState.CANCELLED


async def test_grant_that_could_not_be_taken_is_tried_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails for a moment delays an operation and loses nothing."""
    async with office.open() as desk:
        waiting = await ask_containment(desk)

        async def fail(approval_id: str) -> None:
            raise EnvironmentFailure("the disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr(desk.approvals, "take", fail)
            await desk.vote(waiting, BOB)
            desk.operations._executor.retry()
            await desk.settle()
            between = (await desk.now(waiting)).state
        runner = asyncio.create_task(desk.operations.run())
        await asyncio.sleep(0)
        desk.operations._executor.retry()
        await desk.settle()
        runner.cancel()
        done = await desk.now(waiting)
        desk.operations._executor.retry()

        assert desk.levels == ["all KILL"]
        assert not desk.operations._executor._untaken

    assert (between, done.state) == (OperationState.RUNNING, OperationState.DONE)


async def test_latch_that_failed_leaves_it_for_the_next_start(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what became durable: it is neither DONE nor FAILED until the journal is read."""
    async with office.open() as desk:
        waiting = await ask_release(desk)

        async def fail(*_: Any) -> None:
            raise NotDurableError("the latch failed")

        with monkeypatch.context() as patch:
            patch.setattr(desk.containment, "release", fail)
            await desk.vote(waiting, BOB)
        running = await desk.now(waiting)
    async with office.open() as again:
        await again.settle()
        done = await again.now(waiting)

        assert again.levels == []

    assert (running.state, done.state) == (OperationState.RUNNING, OperationState.DONE)


async def test_failure_of_control_itself_is_a_failure_of_the_operation(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw ends it, without its words."""
    async with office.open() as desk:
        waiting = await ask_containment(desk)

        async def fail(*_: Any) -> None:
            raise KeyError("secret")

        monkeypatch.setattr(desk.containment, "contain", fail)
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

    assert (failed.state, failed.outcome.error_reason) == (OperationState.FAILED, "INTERNAL")
    assert "secret" not in failed.detail


async def test_p11_once_negative_control(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """If what was done before were not looked up, a lost role would make FAILED of what was done."""
    async with office.open() as desk:
        waiting = await ask_release(desk)
        with monkeypatch.context() as patch:
            before_it_is_noted(desk, patch)
            await desk.vote(waiting, BOB)
    office.policy.known = EVERYBODY[1:3]

    async def unknown(self: object, approval: Any) -> Any:
        self._requester(approval)  # type: ignore[attr-defined]

    monkeypatch.setattr(Executor, "_release", unknown)
    async with office.open() as again:
        await again.settle()
        failed = await again.operations.get(waiting.id, EVERYBODY[5])

    assert failed.state is OperationState.FAILED
