# SPDX-License-Identifier: Apache-2.0
"""Control actions that wait for humans."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.approvals.answers import ApprovalLimits
from sidecar.approvals.values import ApprovalState, Cause, Verdict
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from tests.unit.approvals.approvals_kit import (
    ALICE,
    BOB,
    CAROL,
    EVERYBODY,
    Host,
    action_request,
    call_request,
)


async def test_an_action_is_asked_granted_taken_and_finished(host: Host) -> None:
    """Its whole life, with an entry for every step."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)
    waiting = await host.approvals.unfinished()

    taken = await host.approvals.take(approval.id)
    done = await host.approvals.finish(approval.id, result='{"v":1}', detail="released 3")

    assert [item.id for item in waiting] == [approval.id]
    assert (taken.state, done.state) == (ApprovalState.CONSUMED, ApprovalState.CONSUMED)
    assert (done.result, done.detail) == ('{"v":1}', "released 3")
    assert await host.approvals.unfinished() == []
    assert host.audit.events(approval.id) == ["opened", "granted", "consumed", "executed"]


async def test_one_request_id_is_one_request(host: Host) -> None:
    """However often and however concurrently it comes, also when it has been decided."""
    opened = await asyncio.gather(
        *(host.approvals.open_action(action_request()) for _ in range(20))
    )
    await host.vote(opened[0], BOB, Verdict.REFUSE)

    again = await host.approvals.open_action(action_request())

    assert len({approval.id for approval in opened}) == 1
    assert (again.id, again.state) == (opened[0].id, ApprovalState.REFUSED)
    assert host.audit.events() == ["opened", "refused"]


async def test_the_same_id_for_something_else_is_a_conflict(host: Host) -> None:
    """Another body; and another asker, who would else be free to grant it."""
    await host.approvals.open_action(action_request())

    for other in (
        action_request(epoch=4),
        action_request(requester="bob", requester_human="bob"),
    ):
        with pytest.raises(ConflictError):
            await host.approvals.open_action(other)


async def test_d03_an_action_that_nobody_may_grant_is_refused(host: Host) -> None:
    """At once, with the reason; so it is if nobody knows who may."""
    host.directory.known = [ALICE]
    with pytest.raises(RefusedError) as alone:
        await host.approvals.open_action(action_request())
    host.directory.is_failing = True
    with pytest.raises(RefusedError) as unknown:
        await host.approvals.open_action(action_request())

    assert alone.value.reason is unknown.value.reason is ErrorReason.NO_APPROVER
    assert "operators.yaml" in alone.value.hint


async def test_d24_an_action_that_reaches_nobody_is_refused(host: Host) -> None:
    """At once, with the reason."""
    host.reach.why_not = "no channel works"

    with pytest.raises(RefusedError) as caught:
        await host.approvals.open_action(action_request())

    assert caught.value.reason is ErrorReason.NO_CHANNEL


async def test_an_operator_has_a_bounded_number_of_requests(host: Host) -> None:
    """A playbook that runs wild floods nobody."""
    await host.close()
    host = Host(host.path, limits=ApprovalLimits(max_pending_per_requester=2))
    await host.approvals.start()
    for number in range(2):
        await host.approvals.open_action(action_request(f"request-{number}", epoch=number))

    with pytest.raises(PreconditionError) as caught:
        await host.approvals.open_action(action_request("request-9", epoch=9))

    assert caught.value.reason is ErrorReason.APPROVAL_LIMIT
    await host.close()


async def test_a_request_that_is_not_what_it_says_is_not_opened(host: Host) -> None:
    """Other bytes than the fingerprint's; and a call is no action."""
    with pytest.raises(UntrustedInputError):
        await host.approvals.open_action(action_request(canonical=b"{}"))
    with pytest.raises(ValueError, match="call"):
        await host.approvals.open_action(call_request())


async def test_d04_an_action_is_taken_once(host: Host) -> None:
    """256 at once: one carries it out."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)

    results = await asyncio.gather(
        *(host.approvals.take(approval.id) for _ in range(256)), return_exceptions=True
    )

    errors = [item for item in results if isinstance(item, PreconditionError)]
    assert len(errors) == 255
    assert {error.reason for error in errors} == {ErrorReason.APPROVAL_CLOSED}


async def test_only_what_is_granted_is_taken(host: Host) -> None:
    """Not what waits, not what was refused, not what does not exist."""
    waiting = await host.approvals.open_action(action_request())

    with pytest.raises(PreconditionError):
        await host.approvals.take(waiting.id)
    await host.vote(waiting, BOB, Verdict.REFUSE)
    with pytest.raises(PreconditionError) as caught:
        await host.approvals.take(waiting.id)
    with pytest.raises(NotFoundError):
        await host.approvals.take("apr_" + "0" * 32)

    assert "refused by bob" in caught.value.message


async def test_d06_a_grant_that_lapsed_is_not_taken(host: Host) -> None:
    """It is EXPIRED from then on, whatever the clock says later."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)
    host.clock.advance(seconds=900)

    with pytest.raises(PreconditionError):
        await host.approvals.take(approval.id)

    host.clock.step_wall(seconds=-3600)
    assert (await host.approvals.get(approval.id)).state is ApprovalState.EXPIRED


async def test_d25_a_grant_whose_voter_was_removed_is_not_taken(host: Host) -> None:
    """The votes are counted again when control takes it."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)
    host.directory.known = [item for item in EVERYBODY if item is not BOB]

    with pytest.raises(PreconditionError) as caught:
        await host.approvals.take(approval.id)

    assert caught.value.reason is ErrorReason.NO_APPROVER
    ended = await host.approvals.get(approval.id)
    assert (ended.state, ended.cause) == (ApprovalState.CANCELLED, Cause.NO_APPROVER)


async def test_neither_epoch_nor_policy_void_an_action(host: Host) -> None:
    """It changes both itself; its grant is for what it says, not for the world it was asked in."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)
    host.epoch += 1
    host.digest = "f" * 64
    counts = [
        await host.approvals.epoch_moved(host.epoch),
        await host.approvals.policy_changed(host.digest),
    ]
    await host.approvals.tick()

    taken = await host.approvals.take(approval.id)

    assert counts == [0, 0]
    assert taken.state is ApprovalState.CONSUMED


async def test_a_reboot_voids_a_grant_that_was_not_taken(host: Host) -> None:
    """The clock that bounds it is gone."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)

    await host.restart(is_reboot=True)

    ended = await host.approvals.get(approval.id)
    assert (ended.state, ended.cause) == (ApprovalState.CANCELLED, Cause.REBOOTED)


async def test_a_crash_while_it_is_carried_out_is_found_at_the_next_start(host: Host) -> None:
    """What was taken and has no result is unfinished; it is finished later, once."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)
    await host.approvals.take(approval.id)
    await host.restart(is_reboot=True)

    (unfinished,) = await host.approvals.unfinished()
    await host.approvals.finish(unfinished.id, result="{}", detail="disk full", is_failed=True)
    again = await host.approvals.finish(unfinished.id, result="{}", detail="", is_failed=True)
    with pytest.raises(PreconditionError):
        await host.approvals.finish(unfinished.id, result='{"x":1}', detail="")

    assert (again.cause, again.detail) == (Cause.FAILED, "disk full")
    assert host.audit.events(approval.id)[-1] == "executed"
    assert len(host.audit.events(approval.id)) == 4


async def test_a_result_that_cannot_be_written_is_written_later(host: Host) -> None:
    """What was done was done; the next look writes it down."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)
    await host.approvals.take(approval.id)
    host.store.fails = frozenset({"swap"})
    with pytest.raises(EnvironmentFailure):
        await host.approvals.finish(approval.id, result="{}", detail="released 3")
    host.store.fails = frozenset()

    await host.approvals.tick()

    assert (await host.approvals.get(approval.id)).result == "{}"


async def test_a_requester_may_withdraw(host: Host) -> None:
    """The composition cancels; a vote then is told so."""
    approval = await host.approvals.open_action(action_request())
    ended = await host.approvals.cancel(
        approval.id, Cause.WITHDRAWN, detail="alice withdrew it", agent=None
    )

    with pytest.raises(PreconditionError) as caught:
        await host.vote(approval, CAROL)

    assert ended is not None
    assert "alice withdrew it" in caught.value.message
