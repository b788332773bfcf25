# SPDX-License-Identifier: Apache-2.0
"""What one hand may contain, it contains at once; the rest waits for a second human."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.approvals.values import Tier, Verdict
from sidecar.containment.answers import ContainmentAnswer
from sidecar.errors import ConflictError, EnvironmentFailure, ErrorReason, RefusedError
from sidecar.model import Level, Operator, Role, Target, TargetKind
from sidecar.operations import rules
from sidecar.operations import service as operations_service
from sidecar.operations.values import Action, Operation, OperationState
from tests.unit.containment.containment_kit import ALL, agent, order
from tests.unit.operations.operations_kit import (
    ALICE,
    AUDITOR,
    BOB,
    CAROL,
    DAVE,
    LOCAL,
    SOAR,
    Desk,
    Office,
)

CORE = agent("core")


async def at_once(desk: Desk, target: Target, caller: Operator, **change: object) -> None:
    """Contain; it must not be held."""
    answer = await desk.operations.contain(order(target=target, **change), caller)
    assert isinstance(answer, ContainmentAnswer)


async def held(desk: Desk, target: Target, caller: Operator, **change: object) -> Operation:
    """Contain; it must be held."""
    answer = await desk.operations.contain(order(target=target, **change), caller)
    assert isinstance(answer, Operation)
    return answer


async def test_e02_one_hand_contains_one_agent_at_once(office: Office) -> None:
    """SOAR alone kills an agent; no approval is opened."""
    async with office.open() as desk:
        await at_once(desk, agent("banking"), SOAR)

        assert desk.levels == ["agent banking KILL"]
        assert desk.approvals.live() == ()


@pytest.mark.parametrize("caller", [DAVE, LOCAL], ids=lambda caller: caller.name)
@pytest.mark.parametrize("target", [ALL, CORE], ids=["all", "protected"])
async def test_break_glass_never_waits(office: Office, target: Target, caller: Operator) -> None:
    """P2: with break-glass everything is contained at once, also by root at the host itself."""
    async with office.open() as desk:
        await at_once(desk, target, caller)

        assert desk.approvals.live() == ()
        assert len(desk.levels) == 1


async def test_break_glass_needs_no_store(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: containment at once does not so much as look at the approvals."""
    async with office.open() as desk:
        desk.store.close()
        await at_once(desk, ALL, LOCAL)
        await at_once(desk, agent("banking"), SOAR, request_id="request-2")
        with pytest.raises(EnvironmentFailure):
            await held(desk, ALL, SOAR, request_id="request-3")

        assert desk.levels == ["all KILL", "agent banking KILL"]


async def test_e02_wide_containment_waits_for_a_second_human(office: Office) -> None:
    """SOAR asks to kill everything; one human grants it, and the receipt says who."""
    async with office.open() as desk:
        waiting = await held(desk, ALL, SOAR)
        before = desk.levels
        await desk.vote(waiting, BOB)
        done = await desk.now(waiting)
        result = await desk.operations.result(done)
        again = await desk.operations.contain(order(target=ALL), SOAR)

        assert desk.levels == ["all KILL"]
        [contained] = desk.containment.state.contained.values()

    assert before == []
    assert (waiting.action, waiting.approval.request.quorum) == (Action.CONTAIN, 1)
    assert waiting.summary == (
        "soar asks to contain everything at KILL (“it sends money to strangers”)"
    )
    assert waiting.approval.request.reason.startswith("It reaches 5 agents")
    assert waiting.fingerprint == order(target=ALL).fingerprint()
    assert done.state is OperationState.DONE
    assert done.detail == "granted by bob; directives/1 was ordered"
    assert result.receipt is not None
    assert result.receipt.receipt.directive.epoch == done.outcome.epoch == 1
    assert (contained.directive.author, contained.approvers) == ("soar", ("bob",))
    assert again == done


async def test_protected_agent_waits_for_a_second_human(office: Office) -> None:
    """What agents.yaml protects is stopped by two, or by break-glass; observing it takes one."""
    async with office.open() as desk:
        waiting = await held(desk, CORE, ALICE, level=Level.FREEZE)
        part = await held(
            desk,
            Target(kind=TargetKind.TOOL_AT_AGENT, agent="core", tool="pay"),
            SOAR,
            request_id="request-2",
        )
        await at_once(desk, CORE, SOAR, level=Level.OBSERVE, request_id="request-3")
        await at_once(desk, ALL, SOAR, level=Level.OBSERVE, request_id="request-4")
        await desk.vote(waiting, CAROL)

        assert desk.levels == ["agent core OBSERVE", "all OBSERVE", "agent core FREEZE"]

    assert "agents.yaml protects: core" in waiting.approval.request.reason
    assert part.state is OperationState.PENDING_APPROVAL


async def test_both_rules_ask_for_everything_that_either_asks(home: object) -> None:
    """A directive that is wide and hits a protected agent needs what the stricter rule asks."""
    office = Office(
        home,  # type: ignore[arg-type]
        approvals="version: 1\nactions:\n  contain_protected: {tier: CRITICAL}\n",
    )
    async with office.open() as desk:
        both = await held(desk, ALL, SOAR)
        wide = await held(
            desk, Target(kind=TargetKind.TOOL, tool="pay"), SOAR, request_id="request-2"
        )
        office.fleet.known = [replace(one, is_protected=False) for one in office.fleet.known]
        plain = await held(desk, ALL, SOAR, request_id="request-3")

    requests = [operation.approval.request for operation in (both, wide, plain)]
    assert [request.tier for request in requests] == [Tier.CRITICAL, Tier.CRITICAL, Tier.MEDIUM]
    assert requests[0].quorum == 2
    assert "5 agents" in requests[0].reason
    assert "core" in requests[0].reason


async def test_e01_256_at_once_are_one_operation_and_one_directive(office: Office) -> None:
    """The same held order 256 times asks once and contains once."""
    async with office.open() as desk:
        operations = await asyncio.gather(*(held(desk, ALL, SOAR) for _ in range(256)))
        await asyncio.gather(
            *(desk.vote(operations[0], voter) for voter in (BOB, CAROL)), return_exceptions=True
        )

        assert len({operation.id for operation in operations}) == 1
        assert desk.levels == ["all KILL"]


async def test_other_order_with_the_same_request_id_conflicts(office: Office) -> None:
    """Another level is another order; so is a release with that id."""
    async with office.open() as desk:
        await held(desk, ALL, SOAR)
        with pytest.raises(ConflictError):
            await held(desk, ALL, SOAR, level=Level.FREEZE)
        with pytest.raises(ConflictError):
            await held(desk, ALL, ALICE)

        assert len(desk.approvals.live()) == 1


async def test_direct_order_keeps_its_answer_when_it_would_be_held_now(office: Office) -> None:
    """What break-glass ordered is answered to its retry, whoever retries it, from the journal."""
    async with office.open() as desk:
        await at_once(desk, ALL, DAVE)
        answer = await desk.operations.contain(order(target=ALL), SOAR)
        with pytest.raises(ConflictError):
            await desk.operations.contain(order(target=ALL, reason="another"), SOAR)

    assert isinstance(answer, ContainmentAnswer)
    assert answer.is_repeated


async def test_break_glass_overtakes_a_held_order(office: Office) -> None:
    """The same order by break-glass stands at once; the grant that comes later changes nothing."""
    async with office.open() as desk:
        waiting = await held(desk, ALL, SOAR)
        await at_once(desk, ALL, DAVE)
        await desk.vote(waiting, BOB)
        done = await desk.now(waiting)

        assert desk.levels == ["all KILL"]

    assert (done.state, done.outcome.epoch) == (OperationState.DONE, 1)


async def test_request_id_that_was_taken_meanwhile_fails(office: Office) -> None:
    """A break-glass order with the id of a held one keeps it; the grant of the other fails."""
    async with office.open() as desk:
        waiting = await held(desk, ALL, SOAR)
        await at_once(desk, agent("mail"), DAVE)
        await desk.vote(waiting, BOB)
        failed = await desk.now(waiting)

        assert desk.levels == ["agent mail KILL"]

    assert failed.outcome.error_reason == "REQUEST_ID_CONFLICT"


async def test_refused_containment_is_not_carried_out(office: Office) -> None:
    """One refusal ends it."""
    async with office.open() as desk:
        waiting = await held(desk, ALL, SOAR)
        await desk.vote(waiting, BOB, Verdict.REFUSE)

        assert desk.levels == []
        assert (await desk.now(waiting)).state is OperationState.REFUSED


async def test_nobody_to_ask_says_who_needs_not_ask(office: Office) -> None:
    """Where nobody could grant it, the hint names break-glass."""
    office.policy.known = (ALICE, SOAR, DAVE)
    async with office.open() as desk:
        with pytest.raises(RefusedError) as caught:
            await held(desk, ALL, ALICE)

    assert caught.value.reason is ErrorReason.NO_APPROVER
    assert "break-glass" in caught.value.hint


async def test_preview_says_what_would_wait(office: Office) -> None:
    """A preview orders nothing, asks nobody, and says what would be asked."""
    async with office.open() as desk:
        wide = desk.operations.preview(order(target=ALL), SOAR)
        free = desk.operations.preview(order(target=ALL), DAVE)
        narrow = desk.operations.preview(order(), SOAR)
        protected = desk.operations.preview(order(target=CORE), ALICE)
        with pytest.raises(RefusedError):
            desk.operations.preview(order(), CAROL)

        assert desk.approvals.live() == ()
        assert desk.levels == []

    assert wide.need is not None
    assert wide.need.role is Role.APPROVE
    assert (wide.is_wide, wide.protected) == (True, ("core",))
    assert (free.need, narrow.need) == (None, None)
    assert (protected.is_wide, protected.agents) == (False, ("core",))
    assert protected.need is not None


async def test_who_may_not_contain_asks_nobody(office: Office) -> None:
    """Without the role nothing is asked, wide or not."""
    async with office.open() as desk:
        for target in (ALL, agent("banking")):
            with pytest.raises(RefusedError) as caught:
                await desk.operations.contain(order(target=target), CAROL)
            assert caught.value.reason is ErrorReason.PERMISSION_MISSING

        assert desk.approvals.live() == ()


async def test_what_is_carried_out_is_what_was_granted(office: Office) -> None:
    """Target, level, reason, span and rate all come from the bytes that were hashed."""
    asked = order(
        target=Target(kind=TargetKind.LABELS, labels=(("env", "prod"), ("zone", "a"))),
        level=Level.THROTTLE,
        ttl=timedelta(minutes=90),
        throttle_calls_per_minute=7,
        reason="eins\nzwei",
    )
    async with office.open() as desk:
        office.fleet.known = [
            replace(one, labels={"env": "prod", "zone": "a"}) for one in office.fleet.known
        ]
        waiting = await desk.operations.contain(asked, SOAR)
        assert isinstance(waiting, Operation)
        await desk.vote(waiting, BOB)
        [contained] = desk.containment.state.contained.values()

    directive = contained.directive
    assert json.loads(waiting.approval.request.canonical)["body"]["ttl_ns"] == "5400000000000"
    assert directive.target == asked.target
    assert (directive.level, directive.reason) == (asked.level, asked.reason)
    assert (contained.ttl_ns, directive.throttle_calls_per_minute) == (asked.ttl_ns, 7)
    assert "at THROTTLE for 1:30:00 (“eins zwei”)" in waiting.summary


async def test_held_containment_negative_control(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the rule held nothing, the levers themselves would refuse what one hand may not order."""
    monkeypatch.setattr(operations_service, "need_of_containment", lambda *_: None)
    async with office.open() as desk:
        with pytest.raises(RefusedError) as caught:
            await desk.operations.contain(order(target=ALL), SOAR)

        assert desk.levels == []

    assert caught.value.reason is ErrorReason.WIDE_BLAST


async def test_break_glass_negative_control(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If every containment were held, a kill by break-glass would wait."""

    def always(preview: object, approval_rules: object) -> rules.Need:
        return rules._need("contain_wide", office.policy.state.bundle.approvals, why="always")

    monkeypatch.setattr(operations_service, "need_of_containment", always)
    async with office.open() as desk:
        await held(desk, agent("banking"), DAVE)

        assert desk.levels == []
        assert (await desk.operations.list(AUDITOR)).operations


async def test_direct_order_is_answered_without_the_store(office: Office) -> None:
    """A retry of what was ordered directly needs no approvals, also if it would be held now."""
    async with office.open() as desk:
        await at_once(desk, ALL, DAVE)
        desk.store.close()
        answer = await desk.operations.contain(order(target=ALL), SOAR)

    assert isinstance(answer, ContainmentAnswer)
    assert answer.is_repeated
