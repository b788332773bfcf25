# SPDX-License-Identifier: Apache-2.0
"""A release waits for a second human, and is carried out once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.approvals.values import Tier, Verdict
from sidecar.containment import service as containment_service
from sidecar.containment.answers import ReleaseAnswer
from sidecar.containment.consent import Consent
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    NotFoundError,
    PreconditionError,
    RefusedError,
)
from sidecar.model import Level, Operator, Role, Target, TargetKind
from sidecar.operations import execution
from sidecar.operations import service as operations_service
from sidecar.operations.answers import NO_RESULT
from sidecar.operations.values import Action, Operation, OperationState
from tests.unit.containment.containment_kit import BY_CAROL, operator, order, release
from tests.unit.operations.operations_kit import (
    ALICE,
    AUDITOR,
    BOB,
    CAROL,
    DAVE,
    EVERYBODY,
    LOCAL,
    SOAR,
    Desk,
    Office,
    digest,
)

HIGH = "version: 1\nactions:\n  release: {tier: HIGH}\n"


async def contained(desk: Desk, caller: Operator = ALICE, request_id: str = "request-1") -> int:
    """Contain an agent and return the directive's epoch."""
    answer = await desk.operations.contain(order(request_id), caller)
    assert not isinstance(answer, Operation)
    return answer.receipt.receipt.directive.epoch


async def asked(desk: Desk, epoch: int, caller: Operator = ALICE, request_id: str = "r-1-release"):
    """Ask for a release; it must be held."""
    operation = await desk.operations.release(release(epoch, request_id), caller)
    assert isinstance(operation, Operation)
    return operation


async def test_d01_owner_does_not_let_their_own_agent_go(office: Office) -> None:
    """BOB is responsible for the agent: he is not the second human, by whatever name he comes."""
    office.policy.known = (
        *(one for one in office.policy.known if one is not BOB),
        replace(BOB, emails=("emma@example.com",)),
    )
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        owner = next(one for one in office.policy.known if one.name == "bob")
        with pytest.raises(RefusedError) as refused:
            await desk.vote(waiting, owner)
        levels = desk.levels
        await desk.vote(waiting, CAROL)

        assert refused.value.reason is ErrorReason.SELF_APPROVAL
        assert levels != []
        assert (await desk.now(waiting)).state is OperationState.DONE


async def test_e02_release_waits_for_a_second_human(office: Office) -> None:
    """Asking releases nothing; the grant of another human does, and everything says who did what."""
    async with office.open() as desk:
        epoch = await contained(desk)
        waiting = await asked(desk, epoch)
        levels = desk.levels
        await desk.vote(waiting, BOB)
        done = await desk.now(waiting)
        result = await desk.operations.result(done)
        again = await desk.operations.release(release(epoch, "r-1-release"), ALICE)

        assert desk.levels == []

    assert levels == ["agent banking KILL"]
    assert (waiting.state, waiting.action) == (OperationState.PENDING_APPROVAL, Action.RELEASE)
    assert waiting.summary == (
        "alice asks to release directives/1: agent banking at KILL (“it was a test”)"
    )
    assert waiting.fingerprint == digest(waiting.approval.request.canonical)
    assert (waiting.approval.request.role, waiting.approval.request.quorum) == (Role.APPROVE, 1)
    assert done.state is OperationState.DONE
    assert done.detail == "granted by bob; directives/1 (agent banking at KILL) was released"
    assert (done.outcome.directive_epoch, done.outcome.epoch) == (epoch, 3)
    assert result.entry is not None
    assert (result.entry.releaser, result.entry.release_approvers) == ("alice", ("bob",))
    assert result.entry.release_approval == done.approval_name
    assert again == done
    kinds = dict(desk.bench.audit.entries)
    assert (kinds["release"]["approval"], kinds["release"]["approvers"]) == (
        done.approval_name,
        ["bob"],
    )


async def test_what_is_granted_says_everything_about_the_directive(office: Office) -> None:
    """Target, level, reason and author of the directive are among the bytes that are hashed."""
    async with office.open() as desk:
        answer = await desk.operations.contain(
            order(level=Level.THROTTLE, throttle_calls_per_minute=3, ttl=timedelta(hours=1)), SOAR
        )
        assert not isinstance(answer, Operation)
        waiting = await asked(desk, answer.receipt.receipt.directive.epoch)

    form = json.loads(waiting.approval.request.canonical)
    assert form == {
        "v": 1,
        "action": "release",
        "body": {
            "reason": "it was a test",
            "directive": {
                "name": "directives/1",
                "epoch": "1",
                "target": {"kind": "agent", "agent": "banking"},
                "level": "THROTTLE",
                "throttle_calls_per_minute": 3,
                "reason": "it sends money to strangers",
                "author": "soar",
                "author_kind": "automation",
                "create_time": "2025-10-09T08:53:20+00:00",
                "expire_time": "2025-10-09T09:53:20+00:00",
            },
        },
    }


async def test_e01_256_asking_at_once_are_one_operation(office: Office) -> None:
    """However often it is asked, one human is asked once, and it is released once."""
    async with office.open() as desk:
        epoch = await contained(desk)
        operations = await asyncio.gather(*(asked(desk, epoch) for _ in range(256)))
        await desk.vote(operations[0], BOB)
        late = await asyncio.gather(*(asked(desk, epoch) for _ in range(16)))

        assert {operation.id for operation in (*operations, *late)} == {operations[0].id}
        assert {operation.state for operation in late} == {OperationState.DONE}
        assert desk.bench.audit.kinds.count("release") == 1
        assert desk.containment.epoch == 3


async def test_request_id_of_something_else_conflicts(office: Office) -> None:
    """Another reason, another directive, another asker or a containment's id is a conflict."""
    async with office.open() as desk:
        first = await contained(desk)
        second = await contained(desk, request_id="request-2")
        await asked(desk, first)
        for other in (
            desk.operations.release(release(first, "r-1-release", reason="another"), ALICE),
            desk.operations.release(release(second, "r-1-release"), ALICE),
            desk.operations.release(release(first, "r-1-release"), BOB),
            desk.operations.release(release(first, "request-2"), ALICE),
        ):
            with pytest.raises(ConflictError):
                await other

        assert len(desk.approvals.live()) == 1
        assert len(desk.levels) == 2


async def test_release_from_before_operations_keeps_its_answer(office: Office) -> None:
    """A request id that the journal knows is answered from it; no human is asked again."""
    async with office.open() as desk:
        epoch = await contained(desk)
        await desk.containment.release(release(epoch, "r-1-release"), BOB, BY_CAROL)
        answer = await desk.operations.release(release(epoch, "r-1-release"), BOB)
        with pytest.raises(ConflictError):
            await desk.operations.release(release(epoch, "r-1-release", reason="another"), BOB)

        assert desk.approvals.live() == ()

    assert isinstance(answer, ReleaseAnswer)
    assert answer.is_repeated


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (DAVE, ErrorReason.PERMISSION_MISSING),
        (LOCAL, ErrorReason.PERMISSION_MISSING),
        (CAROL, ErrorReason.PERMISSION_MISSING),
        (operator("x", Role.RELEASE, human_id=" "), ErrorReason.PERMISSION_MISSING),
    ],
)
async def test_e02_who_may_not_release_asks_nobody(
    office: Office, caller: Operator, reason: ErrorReason
) -> None:
    """Neither ``local`` nor break-glass nor a nameless human gets as far as a request."""
    async with office.open() as desk:
        epoch = await contained(desk)
        with pytest.raises(RefusedError) as caught:
            await desk.operations.release(release(epoch), caller)

        assert desk.approvals.live() == ()

    assert caught.value.reason is reason


async def test_release_of_what_does_not_stand_is_refused_at_once(office: Office) -> None:
    """Nobody is asked about a directive that has ended or never was."""
    async with office.open() as desk:
        epoch = await contained(desk)
        await desk.containment.release(release(epoch), BOB, BY_CAROL)
        with pytest.raises(PreconditionError) as caught:
            await desk.operations.release(release(epoch, "release-2"), ALICE)
        with pytest.raises(NotFoundError):
            await desk.operations.release(release(99, "release-3"), ALICE)

    assert caught.value.reason is ErrorReason.ALREADY_RELEASED


@pytest.mark.parametrize(
    ("voter", "reason"),
    [
        (ALICE, ErrorReason.SELF_APPROVAL),
        (replace(BOB, human_id="Alice "), ErrorReason.SELF_APPROVAL),
        (SOAR, None),
        (DAVE, None),
        (LOCAL, None),
    ],
)
async def test_d01_whoever_asks_does_not_grant(
    office: Office, voter: Operator, reason: ErrorReason | None
) -> None:
    """The requester under any name, automation and people without the role grant nothing."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        with pytest.raises(HoldfastError) as caught:
            await desk.vote(waiting, voter)

        assert desk.levels == ["agent banking KILL"]
        assert (await desk.now(waiting)).state is OperationState.PENDING_APPROVAL

    if reason is not None:
        assert caught.value.reason is reason


async def test_e02_author_and_approver_are_two_humans(office: Office) -> None:
    """Who ordered a directive may ask for its release; whoever grants is somebody else."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk, BOB), BOB)
        await desk.vote(waiting, ALICE)

        assert desk.levels == []


async def test_e02_automation_needs_two_humans(office: Office) -> None:
    """SOAR may ask; one human does not release for it."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk), SOAR)
        await desk.vote(waiting, BOB)
        after_one = (desk.levels, (await desk.now(waiting)).state)
        await desk.vote(waiting, CAROL)
        done = await desk.now(waiting)

        assert desk.levels == []

    assert after_one == (["agent banking KILL"], OperationState.PENDING_APPROVAL)
    assert done.state is OperationState.DONE
    assert done.detail.startswith("granted by bob, carol; ")


async def test_tier_high_needs_two_others(home: object) -> None:
    """From tier HIGH on a release takes two humans beside the requester, and a passkey of each."""
    office = Office(home, approvals=HIGH)  # type: ignore[arg-type]
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        await desk.vote(waiting, BOB)
        after_one = desk.levels
        await desk.vote(waiting, CAROL)

        assert desk.levels == []

    request = waiting.approval.request
    assert (request.tier, request.quorum) == (Tier.HIGH, 2)
    assert request.is_passkey_needed
    assert request.is_reason_needed
    assert after_one == ["agent banking KILL"]


async def test_refused_release_is_not_carried_out(office: Office) -> None:
    """One refusal ends it, and the same request id says so for ever."""
    async with office.open() as desk:
        epoch = await contained(desk)
        waiting = await asked(desk, epoch)
        await desk.vote(waiting, BOB, Verdict.REFUSE)
        with pytest.raises(PreconditionError):
            await desk.vote(waiting, CAROL)
        again = await asked(desk, epoch)
        fresh = await asked(desk, epoch, request_id="release-2")

        assert desk.levels == ["agent banking KILL"]

    assert again.state is OperationState.REFUSED
    assert again.detail.startswith("refused by bob")
    assert fresh.state is OperationState.PENDING_APPROVAL


async def test_release_that_nobody_decides_expires(office: Office) -> None:
    """After the wait it is refused by itself; a late grant does nothing."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        office.clock.advance(seconds=1801)
        await desk.approvals.tick()
        with pytest.raises(PreconditionError):
            await desk.vote(waiting, BOB)
        ended = await desk.now(waiting)

        assert desk.levels == ["agent banking KILL"]

    assert ended.state is OperationState.EXPIRED
    assert ended.expire_time_ns == waiting.expire_time_ns


async def test_nobody_to_ask_is_a_refusal_at_once(office: Office) -> None:
    """Without a second human who may grant, nothing waits."""
    office.policy.known = (ALICE, SOAR, DAVE)
    async with office.open() as desk:
        epoch = await contained(desk)
        with pytest.raises(RefusedError) as caught:
            await desk.operations.release(release(epoch), ALICE)
        office.policy.known = (*EVERYBODY[:2], SOAR)
        with pytest.raises(RefusedError) as short:
            await desk.operations.release(
                release(epoch, "release-2"), replace(SOAR, human_id="bob")
            )
        office.policy.known = EVERYBODY
        desk.world.refused = "no channel is up"
        with pytest.raises(RefusedError) as mute:
            await desk.operations.release(release(epoch, "release-3"), ALICE)

        assert desk.approvals.live() == ()

    assert caught.value.reason is ErrorReason.NO_APPROVER
    assert short.value.reason is ErrorReason.NO_APPROVER
    assert mute.value.reason is ErrorReason.NO_CHANNEL


@pytest.mark.parametrize(
    "change",
    [
        lambda known: [one for one in known if one.name != "alice"],
        lambda known: [
            replace(one, roles=frozenset({Role.CONTAIN})) if one.name == "alice" else one
            for one in known
        ],
        lambda known: [
            replace(one, human_id="mallory") if one.name == "alice" else one for one in known
        ],
    ],
    ids=["gone", "without the role", "somebody else"],
)
async def test_requester_who_lost_the_role_carries_out_nothing(
    office: Office, change: Callable[[object], list[Operator]]
) -> None:
    """What was granted is done by the requester as the requester is then."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        office.policy.known = tuple(change(EVERYBODY))
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

        assert desk.levels == ["agent banking KILL"]

    assert failed.state is OperationState.FAILED
    assert failed.outcome.error_reason == "PERMISSION_MISSING"
    assert failed.detail.startswith("granted by bob, and it could not be carried out: alice")


async def test_e03_directive_that_ended_meanwhile_is_not_released_again(office: Office) -> None:
    """The grant of what has become moot fails; a newer directive stands."""
    async with office.open() as desk:
        first = await contained(desk)
        waiting = await asked(desk, first)
        await contained(desk, request_id="request-2")
        desk.containment._listeners.clear()  # nobody withdraws it
        await desk.containment.release(release(first, "release-9"), BOB, BY_CAROL)
        await desk.vote(waiting, CAROL)
        failed = await desk.now(waiting)

        assert desk.levels == ["agent banking KILL"]

    assert failed.state is OperationState.FAILED
    assert failed.outcome.error_reason == "ALREADY_RELEASED"


async def test_request_about_a_directive_that_ended_is_withdrawn(office: Office) -> None:
    """Two ask for one release; when it is done, the other need not be decided any more."""
    async with office.open() as desk:
        epoch = await contained(desk)
        first = await asked(desk, epoch)
        second = await asked(desk, epoch, BOB, "release-2")
        other = await asked(desk, await contained(desk, request_id="request-2"), BOB, "release-3")
        await desk.vote(first, CAROL)
        moot, untouched = await desk.now(second), await desk.now(other)
        again = await asked(desk, epoch, BOB, "release-2")

    assert moot.state is OperationState.CANCELLED
    assert moot.detail == "directives/1 has ended meanwhile"
    assert untouched.state is OperationState.PENDING_APPROVAL
    assert again.state is OperationState.CANCELLED


async def test_release_that_the_log_does_not_take_fails(office: Office) -> None:
    """A grant does not outweigh what a release needs: the log, and a steady clock."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        desk.bench.audit.is_failing = True
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

        assert desk.levels == ["agent banking KILL"]

    assert (failed.state, failed.outcome.error_reason) == (
        OperationState.FAILED,
        "AUDIT_UNAVAILABLE",
    )


async def test_d25_approver_removed_between_vote_and_use(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grant of somebody who may not decide any more is not used."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        real = desk.approvals.take

        async def later(approval_id: str) -> object:
            office.policy.known = tuple(one for one in EVERYBODY if one.name != "bob")
            return await real(approval_id)

        monkeypatch.setattr(desk.approvals, "take", later)
        await desk.vote(waiting, BOB)
        ended = await desk.now(waiting)

        assert desk.levels == ["agent banking KILL"]

    assert ended.state is OperationState.CANCELLED


async def test_e02_release_negative_control_without_the_consent_rule(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The levers themselves refuse a release without consent; without that rule one human does it."""
    async with office.open() as desk:
        epoch = await contained(desk)
        with pytest.raises(RefusedError):
            await desk.containment.release(release(epoch), ALICE)
        monkeypatch.setattr(containment_service, "require_release", lambda *_: None)

        await desk.containment.release(release(epoch), ALICE)

        assert desk.levels == []


async def test_consent_negative_control(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the executor claimed consent that nobody gave, the levers would refuse it."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        monkeypatch.setattr(
            execution,
            "consent_of",
            lambda approval: Consent(approval=approval.name, humans=("alice",)),
        )
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

        assert desk.levels == ["agent banking KILL"]

    assert failed.outcome.error_reason == "SECOND_HUMAN_NEEDED"


async def test_operations_are_shown_to_those_concerned(office: Office) -> None:
    """Approvers, auditors and the requester see it; for everybody else there is none."""
    async with office.open() as desk:
        epoch = await contained(desk)
        waiting = await asked(desk, epoch, SOAR)
        for viewer in (ALICE, BOB, CAROL, SOAR, AUDITOR):
            assert await desk.operations.get(waiting.id, viewer) == waiting
            assert (await desk.operations.list(viewer)).operations == (waiting,)
        errors = []
        for viewer, name in ((DAVE, waiting.id), (AUDITOR, "apr_" + "0" * 32), (AUDITOR, "x")):
            with pytest.raises(NotFoundError) as caught:
                await desk.operations.get(name, viewer)
            errors.append(str(caught.value))
        page = await desk.operations.list(DAVE)

    assert len(set(errors)) == 1
    assert page.operations == ()


async def test_operations_come_newest_first_in_pages(office: Office) -> None:
    """Pages go down from the newest; those that ended are left out on demand."""
    async with office.open() as desk:
        epoch = await contained(desk)
        made = [await asked(desk, epoch, request_id=f"release-{number}") for number in range(5)]
        await desk.vote(made[4], BOB, Verdict.REFUSE)
        first = await desk.operations.list(AUDITOR, limit=2)
        second = await desk.operations.list(AUDITOR, limit=2, before=first.next_before)
        pending = await desk.operations.list(AUDITOR, pending_only=True)

    ids = [operation.id for operation in made]
    shown = [operation.id for operation in (*first.operations, *second.operations)]
    assert shown == ids[:0:-1]
    assert [operation.id for operation in pending.operations] == ids[3::-1]


async def test_listing_looks_at_so_many_approvals_and_no_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may see little cannot make control read everything; the token leads on."""
    monkeypatch.setattr(operations_service, "_PAGE", 2)
    monkeypatch.setattr(operations_service, "_MAX_SCANNED", 4)
    async with office.open() as desk:
        epoch = await contained(desk)
        for number in range(5):
            await asked(desk, epoch, request_id=f"release-{number}")
        first = await desk.operations.list(DAVE)
        last = await desk.operations.list(DAVE, before=first.next_before)

    assert (first.operations, last.operations) == ((), ())
    assert first.next_before is not None
    assert last.next_before is None


async def test_waiting_ends_when_the_operation_does(office: Office) -> None:
    """Whoever waits is answered once it was carried out, and at once if it had ended before."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        waiter = asyncio.create_task(desk.operations.wait(waiting.id, ALICE, timeout_s=30))
        await asyncio.sleep(0)
        await desk.vote(waiting, BOB)
        done = await waiter
        at_once = await desk.operations.wait(waiting.id, ALICE, timeout_s=30)
        with pytest.raises(NotFoundError):
            await desk.operations.wait(waiting.id, DAVE, timeout_s=30)

    assert done.state is OperationState.DONE
    assert at_once == done


async def test_waiting_not_at_all_answers_at_once(office: Office) -> None:
    """A wait of nothing, or of less, is a look."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))

        assert await desk.operations.wait(waiting.id, ALICE, timeout_s=0) == waiting
        assert await desk.operations.wait(waiting.id, ALICE, timeout_s=-5) == waiting


async def test_waiting_in_vain_ends_at_the_timeout(office: Office) -> None:
    """Nobody decides: the operation is answered as it is."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))

        assert await desk.operations.wait(waiting.id, ALICE, timeout_s=0.001) == waiting
        assert await desk.operations.result(waiting) == NO_RESULT


async def test_granted_twice_at_once_is_carried_out_once(office: Office) -> None:
    """However often the executor hears of a grant, it takes it once."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        desk.approvals.add_listener(desk.operations._executor._on_approval)
        await desk.vote(waiting, BOB)

        assert desk.bench.audit.kinds.count("release") == 1
        assert (await desk.now(waiting)).state is OperationState.DONE


async def test_directive_that_is_not_the_one_shown_is_not_released(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form is made anew from what stands, and must be the one that was granted."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))
        monkeypatch.setattr(execution, "release_form", lambda *_: b"{}")
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

        assert desk.levels == ["agent banking KILL"]

    assert failed.outcome.error_reason == "INTEGRITY_BROKEN"


async def test_result_that_cannot_be_noted_is_noted_later(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is done; the operation is RUNNING until the store has it."""
    async with office.open() as desk:
        waiting = await asked(desk, await contained(desk))

        async def fail(*_: object, **__: object) -> None:
            raise EnvironmentFailure("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(desk.approvals, "finish", fail)
            await desk.vote(waiting, BOB)
        running = await desk.now(waiting)

        assert desk.levels == []
    async with office.open() as again:
        await again.settle()
        done = await again.now(waiting)

    assert (running.state, done.state) == (OperationState.RUNNING, OperationState.DONE)


async def test_withdrawal_that_fails_harms_nobody(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moot request that cannot be withdrawn goes on asking, and its grant fails."""
    async with office.open() as desk:
        epoch = await contained(desk)
        first = await asked(desk, epoch)
        second = await asked(desk, epoch, BOB, "release-2")

        async def fail(*_: object, **__: object) -> None:
            raise EnvironmentFailure("the disk is full")

        monkeypatch.setattr(desk.approvals, "cancel", fail)
        await desk.vote(first, BOB)
        await desk.vote(second, CAROL)
        states = [(await desk.now(one)).state for one in (first, second)]

    assert states == [OperationState.DONE, OperationState.FAILED]


async def test_lost_approvals_do_not_lose_what_was_done(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the approvals were moved away, the journal still answers; nobody is asked again."""
    async with office.open() as desk:
        epoch = await contained(desk)
        waiting = await asked(desk, epoch)
        await desk.vote(waiting, BOB)
        everything = await desk.operations.contain(
            order("request-9", Target(kind=TargetKind.ALL)), SOAR
        )
        assert isinstance(everything, Operation)
        await desk.vote(everything, BOB)
    (office.home / "approvals.db").unlink()
    async with office.open() as again:
        answers = [
            await again.operations.release(release(epoch, "r-1-release"), ALICE),
            await again.operations.contain(order("request-9", Target(kind=TargetKind.ALL)), SOAR),
        ]

        assert again.approvals.live() == ()

    assert [type(answer).__name__ for answer in answers] == ["ReleaseAnswer", "ContainmentAnswer"]
