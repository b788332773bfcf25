# SPDX-License-Identifier: Apache-2.0
"""Held calls in the forms: decorator, context manager, the error's own methods, the plain forms."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import pickle
from datetime import timedelta
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import guard_pb2
from sidecar.sdk import (
    ApprovalState,
    ApprovalStatus,
    Decision,
    Denied,
    Effect,
    GateUnavailable,
    Guard,
    Held,
    Reason,
)

LONG = timedelta(seconds=5)
NEVER = 30.0
ONE = "approvals/apr_1"
PAY = ("pay", {"to": "bob", "amount": 12})


async def held_by(guard: Guard) -> Held:
    with pytest.raises(Held) as raised:
        async with guard.call(*PAY):
            pytest.fail("ran")
    return raised.value


# -- the decorator and call ---------------------------------------------------------------------


async def test_decorated_function_runs_once_when_the_human_has_granted(gate: Any) -> None:
    """The function waits, runs with what was granted, and its outcome names the second decision."""
    gate.holds()
    ran: list[tuple[str, int]] = []
    async with Guard(gate.address, deadline=LONG) as guard:

        @guard.tool("pay", hold_timeout=timedelta(hours=1))
        async def pay(to: str, amount: int) -> str:
            ran.append((to, amount))
            return "paid"

        task = asyncio.create_task(pay("bob", 12))
        await gate.until(lambda: gate.waits)
        before = list(ran)
        gate.decides(ONE, "GRANTED")
        answer = await task
        outcomes = await gate.outcomes_become(1)

    assert (before, ran, answer) == ([], [("bob", 12)], "paid")
    assert outcomes[0].result == guard_pb2.Outcome.RESULT_SUCCESS
    assert outcomes[0].decision_id == "dec_" + "0" * 31 + "2"


async def test_d05_arguments_that_change_while_the_human_thinks_do_not_run(gate: Any) -> None:
    """Granted for one payee, changed to another meanwhile: the function does not begin."""
    gate.holds()
    order = {"to": "bob"}
    async with Guard(gate.address, deadline=LONG) as guard:

        @guard.tool("pay", hold_timeout=NEVER)
        async def pay(order: dict[str, str]) -> None:
            pytest.fail("ran")

        task = asyncio.create_task(pay(order))
        await gate.until(lambda: gate.waits)
        order["to"] = "mallory"
        gate.decides(ONE, "GRANTED")
        with pytest.raises(Denied) as raised:
            await task
        outcomes = await gate.outcomes_become(1)

    assert raised.value.reasons[0].metadata["cause"] == "ARGUMENTS_CHANGED"
    assert outcomes[0].result == guard_pb2.Outcome.RESULT_CANCELLED


async def test_guards_own_default_is_for_the_decorator_and_call(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment says holds where the form says nothing."""
    gate.holds()
    monkeypatch.setenv("HOLDFAST_ADDRESS", gate.address)
    monkeypatch.setenv("HOLDFAST_DEADLINE_MS", "5000")
    monkeypatch.setenv("HOLDFAST_HOLD_TIMEOUT_MS", "3600000")
    async with Guard.from_env() as guard:

        @guard.tool("pay")
        async def pay(to: str) -> str:
            return to

        async def call() -> None:
            async with guard.call("pay", {"to": "eve"}):
                pass

        tasks = [asyncio.create_task(pay("bob")), asyncio.create_task(call())]
        await gate.until(lambda: len(gate.waits) == 2)
        gate.decides(ONE, "GRANTED")
        gate.decides("approvals/apr_2", "REFUSED", "refused by alice")
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        twin_waits = guard.sync._hold_s

    assert answers[0] == "bob"
    assert isinstance(answers[1], Denied)
    assert twin_waits == 3600.0


async def test_blocking_function_does_not_stop_the_loop_for_a_human(gate: Any) -> None:
    """Called in the loop's own thread it is held at once; in a thread it waits."""
    gate.holds()

    async with Guard(gate.address, deadline=LONG, hold_timeout=NEVER) as guard:

        @guard.tool("pay")
        def pay(to: str) -> str:
            return to

        loop = asyncio.get_running_loop()

        def in_a_thread() -> str:
            return pay("bob")

        threaded = loop.run_in_executor(None, in_a_thread)
        await gate.until(lambda: gate.waits)
        gate.decides(ONE, "GRANTED")
        answer = await threaded

    assert answer == "bob"


def test_blocking_function_in_a_loops_thread_is_held_at_once(threaded_gate: Any) -> None:
    """The gate is in another thread here, so the blocked loop is only the agent's."""
    threaded_gate.gate.holds()

    async def main() -> None:
        async with Guard(threaded_gate.gate.address, deadline=LONG, hold_timeout=NEVER) as guard:

            @guard.tool("pay")
            def pay(to: str) -> str:
                return to

            with pytest.raises(Held):
                pay("bob")

    asyncio.run(main())

    assert threaded_gate.gate.waits == []


# -- the error ----------------------------------------------------------------------------------


async def test_error_waits_and_asks_again(gate: Any) -> None:
    """``held.wait`` returns the gate's answer to the identical call."""
    gate.holds()
    async with Guard(gate.address, session="s-1", deadline=LONG) as guard:
        held = await held_by(guard)
        waiting = asyncio.create_task(held.wait(timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.decides(ONE, "GRANTED")
        decision = await waiting

    assert decision.allowed
    first, second = (question.request.SerializeToString() for question in gate.questions)
    assert first == second


async def test_error_that_waits_in_vain_is_held_again(gate: Any) -> None:
    """The time passes: the decision is the held one, can be raised and waited for once more."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        held = await held_by(guard)
        decision = await held.wait(timeout=0.01)
        with pytest.raises(Held) as again:
            decision.raise_for_effect()
        waiting = asyncio.create_task(again.value.wait())
        await gate.until(lambda: len(gate.waits) == 2)
        gate.decides(ONE, "REFUSED", "refused by alice")
        refused = await waiting

    assert decision is held.decision
    assert refused.reason.text == "refused by alice"


async def test_error_of_a_plain_decision_waits_too(gate: Any) -> None:
    """A HOLD that ``authorize`` returned knows its call as well as one that was raised."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY)
        gate.decides(ONE, "GRANTED")
        with pytest.raises(Held) as raised:
            decision.raise_for_effect()
        granted = await raised.value.wait(timeout=5)

    assert granted.allowed


async def test_error_withdraws(gate: Any) -> None:
    """``held.cancel`` says how the request stands; whoever waits for it is denied."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        waiting = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        held = await held_by(guard)
        status = await held.cancel()
        decision = await waiting

    assert status.state is ApprovalState.CANCELLED
    assert decision.reason.code == "APPROVAL_CANCELLED"
    assert gate.withdrawn == [ONE]


async def test_error_of_a_closed_guard_is_denied(gate: Any) -> None:
    """Waiting after the guard was closed is a denial, not a wait."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        held = await held_by(guard)

    decision = await held.wait(timeout=NEVER)

    assert decision.reason.code == "SHUTTING_DOWN"
    with pytest.raises(GateUnavailable):
        await held.cancel()


async def test_error_forgets_its_call_when_it_is_pickled(gate: Any) -> None:
    """Neither arguments nor guard travel; what remains says what to do instead."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("pay", {"to": "argument-canary"})
        data = pickle.dumps(Held(decision))
        copied = pickle.loads(data)
        told = (repr(decision), str(dataclasses.asdict(decision)), repr(decision._origin))

    assert copied.decision == decision
    assert b"canary" not in data
    assert not any("canary" in text for text in told)
    with pytest.raises(RuntimeError, match="another process"):
        copied.wait(timeout=1)
    with pytest.raises(RuntimeError, match="another process"):
        copied.cancel()


async def test_copies_of_a_held_decision_still_know_their_call(gate: Any) -> None:
    """A copy in the same process can be waited for."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY)
        gate.decides(ONE, "GRANTED")
        answers = [
            await Held(copy.copy(decision)).wait(timeout=NEVER),
            await Held(copy.deepcopy(decision)).wait(timeout=0.01),
        ]

    assert [answer.effect for answer in answers] == [Effect.ALLOW, Effect.HOLD]
    assert hash(copy.deepcopy(decision)) == hash(decision)


# -- the plain forms ----------------------------------------------------------------------------


async def test_plain_wait_tells_and_leaves_the_asking_to_the_caller(gate: Any) -> None:
    """By decision or by name; a status is never true."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        held = await guard.authorize(*PAY)
        pending = await guard.wait_approval(held, 0)
        waiting = asyncio.create_task(guard.wait_approval(ONE, timedelta(hours=1)))
        await gate.until(lambda: len(gate.waits) == 2)
        gate.decides(ONE, "GRANTED", "granted by alice")
        granted = await waiting
        questions = len(gate.questions)
        decision = await guard.authorize(*PAY)
        used = await guard.wait_approval(ONE, 5)

    assert [s.state for s in (pending, granted, used)] == ["PENDING", "GRANTED", "CONSUMED"]
    assert granted.reason == Reason("APPROVAL_GRANTED", "granted by alice")
    assert pending.reason is None
    assert not any((pending, granted, used))
    assert (questions, decision.allowed) == (1, True)
    assert gate.withdrawn == []


async def test_status_tells_when_the_request_ends(gate: Any) -> None:
    """The gate's instant arrives as an aware time."""

    async def on_wait(gate: Any, request: Any, context: Any) -> Any:
        response = guard_pb2.WaitApprovalResponse(state="GRANTED")
        response.expire_time.seconds = 1_800_000_000
        return response

    gate.on_wait = on_wait
    async with Guard(gate.address, deadline=LONG) as guard:
        status = await guard.wait_approval(ONE, 1)

    assert status.expire_time is not None
    assert status.expire_time.isoformat() == "2027-01-15T08:00:00+00:00"


async def test_plain_wait_that_is_cancelled_withdraws(gate: Any) -> None:
    """Like every wait: giving up is cancelling, running out of time is not."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.wait_approval(ONE, NEVER))
        await gate.until(lambda: gate.waits)
        task.cancel()
        await asyncio.wait([task])
        await gate.until(lambda: gate.withdrawn)

    assert gate.withdrawn == [ONE]


async def test_plain_forms_without_a_gate(stopped_gate: Any) -> None:
    """Nothing that was not said is returned as a status."""
    async with Guard(stopped_gate.address, deadline=LONG) as guard:
        with pytest.raises(GateUnavailable):
            await guard.wait_approval(ONE, 0.05)
        with pytest.raises(GateUnavailable):
            await guard.cancel_approval(ONE)
        with pytest.raises(ValueError, match="no human is asked"):
            await guard.cancel_approval("")


async def test_withdrawal_that_control_cannot_take(gate: Any) -> None:
    """A gate that cannot reach control says so, and so does the guard."""

    async def aborts(request: Any, context: Any) -> Any:
        return await context.abort(grpc.StatusCode.UNAVAILABLE, "control does not answer")

    gate.CancelApproval = aborts
    await gate.stop()
    await gate.start()
    async with Guard(gate.address, deadline=LONG) as guard:
        with pytest.raises(GateUnavailable):
            await guard.cancel_approval(ONE)


# -- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(ApprovalState))
def test_no_status_is_true(state: ApprovalState) -> None:
    """``if await guard.wait_approval(...)`` never lets anything through."""
    assert not ApprovalStatus(state=state)


async def test_an_allow_names_the_grant_it_used(gate: Any) -> None:
    """The grant is an obligation of the ALLOW; nobody can wait for it any more."""
    decision = gate.decision()
    decision.obligations.approval = ONE
    gate.answers(lambda question: decision)
    async with Guard(gate.address, deadline=LONG) as guard:
        answer = await guard.authorize(*PAY, hold_timeout=NEVER)

    assert answer.allowed
    assert answer.obligations.approval == ONE
    assert answer._origin is None


def test_error_made_by_hand_has_empty_fields() -> None:
    """A HOLD of an older gate has a reason and nothing else."""
    held = Held(
        Decision(
            effect=Effect.HOLD, reasons=(Reason("POLICY_HOLD", "ask first"),), decision_id="dec_1"
        )
    )

    assert (held.approval, held.url, held.approvers, held.expire_time) == ("", "", (), None)
    assert held.reason == "ask first"


async def test_a_denial_is_never_waited_for(gate: Any) -> None:
    """Waiting is for HOLD alone."""
    gate.answers(lambda question: gate.deny("POLICY_DENY"))
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=NEVER)

    assert decision.reason.code == "POLICY_DENY"
    assert gate.waits == []
