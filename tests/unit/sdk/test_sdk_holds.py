# SPDX-License-Identifier: Apache-2.0
"""Held calls against a real gRPC server: granted, refused, forgotten, lost, killed, given up."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.sdk import (
    ApprovalState,
    Decision,
    Denied,
    Effect,
    GateUnavailable,
    Guard,
    Held,
    Suspended,
)
from sidecar.sdk import _approvals as approvals_module
from sidecar.sdk import _wire as wire
from sidecar.sdk import guard as guard_module
from sidecar.sdk._approvals import Approvals
from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._streams import Backoff

LONG = timedelta(seconds=5)
NEVER = 30.0
"""Longer than any of these tests: whatever ends the wait, it is not the time."""
ONE = "approvals/apr_1"
PAY = ("pay", {"to": "bob", "amount": 12})


def tool_calls(gate: Any) -> list[bytes]:
    return [question.request.tool_call.SerializeToString() for question in gate.questions]


# -- not waiting --------------------------------------------------------------------------------


async def test_a_held_call_is_told_at_once_by_default(gate: Any) -> None:
    """Whoever does not ask to wait does not wait, in no form and whatever the guard's default is."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY)
        with pytest.raises(Held):
            async with guard.call(*PAY):
                pytest.fail("ran")
    async with Guard(gate.address, deadline=LONG, hold_timeout=NEVER) as patient:
        plain = await patient.authorize(*PAY)
        none = await patient.authorize(*PAY, hold_timeout=0)
        with pytest.raises(Held):
            async with patient.call(*PAY, hold_timeout=0):
                pytest.fail("ran")

    assert {decision.effect, plain.effect, none.effect} == {Effect.HOLD}
    assert gate.waits == []
    assert gate.withdrawn == []


async def test_a_held_decision_says_who_must_decide_where_and_until_when(gate: Any) -> None:
    """The obligations of a HOLD arrive, and the error has them by name."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY)

    with pytest.raises(Held) as raised:
        decision.raise_for_effect()
    held = raised.value
    assert (held.approval, held.url) == (ONE, "https://control.example/a/1")
    assert (held.approvers, held.reason) == (("alice", "bob"), "ask first")
    assert held.expire_time is not None
    assert timedelta(minutes=59) < held.expire_time - datetime.now(UTC) < timedelta(minutes=61)
    assert ONE in held.for_model()
    assert "loop" in held.for_model()
    assert not any(word in held.for_model() for word in ("alice", "control.example"))


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(0, 0), (-1, 0), (2**62, 0), (253402300800, 0), (-(2**62), 0)]
)
async def test_an_expiry_that_does_not_exist_is_none(gate: Any, seconds: int, nanos: int) -> None:
    """An instant no calendar has, or the absence of one, breaks nothing and bounds nothing."""
    held = gate.held()
    held.obligations.hold_expire_time.seconds = seconds
    held.obligations.hold_expire_time.nanos = nanos
    gate.answers(lambda question: held)
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=0.02)

    assert decision.effect is Effect.HOLD
    assert decision.obligations.hold_expire_time is None


async def test_a_hold_without_a_request_is_not_waited_for(gate: Any) -> None:
    """A gate that asks no human has nothing to wait for."""
    gate.answers(lambda question: gate.decision(types_pb2.EFFECT_HOLD, "POLICY_HOLD", "held"))
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=NEVER)
        with pytest.raises(ValueError, match="names no approval"):
            await guard.wait_approval(decision, 1)

    assert decision.effect is Effect.HOLD
    assert gate.waits == []


# -- granted ------------------------------------------------------------------------------------


async def test_granted_call_is_asked_again_byte_for_byte_and_allowed_once(gate: Any) -> None:
    """The second question is the first, down to its bytes; a third is held anew."""
    gate.holds()
    async with Guard(
        gate.address, session="s-1", deadline=LONG, token_provider=lambda: "token"
    ) as guard:
        task = asyncio.create_task(
            guard.authorize(
                "pay",
                {"é": [1.0, "\u2028"], "b": {}},
                url="https://bank.example/x",
                cwd="/srv",
                nonce="n-1",
                session="s-2",
                hold_timeout=NEVER,
            )
        )
        await gate.until(lambda: gate.waits)
        gate.decides(ONE, "GRANTED", "granted by alice")
        decision = await task
        third = await guard.authorize(
            "pay",
            {"é": [1.0, "\u2028"], "b": {}},
            url="https://bank.example/x",
            cwd="/srv",
            nonce="n-1",
            session="s-2",
        )

    first, second, _ = (question.request for question in gate.questions)
    assert decision.allowed
    assert decision.obligations.approval == ONE
    assert first.SerializeToString() == second.SerializeToString()
    assert first.tool_call.session_id == "s-2"
    assert third.effect is Effect.HOLD
    assert third.obligations.approval != ONE
    assert gate.waits[0].approval == ONE
    assert 0 < gate.waits[0].timeout.seconds <= 30
    assert gate.withdrawn == []


async def test_token_is_read_anew_for_the_second_question(gate: Any) -> None:
    """A token that was renewed while the human thought is the one that is sent."""
    gate.holds()
    tokens = iter(["old", "new"])
    async with Guard(gate.address, deadline=LONG, token_provider=lambda: next(tokens)) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.decides(ONE, "GRANTED")
        decision = await task

    assert decision.allowed
    assert [question.request.token for question in gate.questions] == ["old", "new"]


async def test_token_that_is_gone_by_then_is_a_denial(gate: Any) -> None:
    """A provider that fails at the second question denies; its error is not shown."""

    def provider() -> str:
        if gate.questions:
            raise OSError("token-canary")
        return "token"

    gate.holds()
    async with Guard(gate.address, deadline=LONG, token_provider=provider) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.decides(ONE, "GRANTED")
        decision = await task

    assert decision.reason.code == "TOKEN_MISSING"
    assert "canary" not in repr(decision)


async def test_mutating_the_arguments_meanwhile_changes_nothing(gate: Any) -> None:
    """What is asked again is what was held, not what the caller's dictionary holds by then."""
    gate.holds()
    arguments = {"to": "bob"}
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize("pay", arguments, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        arguments["to"] = "mallory"
        gate.decides(ONE, "GRANTED")
        decision = await task

    assert decision.allowed
    assert len(set(tool_calls(gate))) == 1


@pytest.mark.parametrize("code", ["POLICY_DENY", "APPROVAL_BINDING", "KILLED", "TOKEN_REVOKED"])
async def test_d08_a_grant_never_beats_a_denial(gate: Any, code: str) -> None:
    """What counts is the gate's answer to the second question, whatever the human said."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.answers(lambda question: gate.deny(code))
        gate.decides(ONE, "GRANTED")
        decision = await task

    assert (decision.effect, decision.reason.code) == (Effect.DENY, code)
    assert not decision.is_local


async def test_d08_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking GRANTED itself for the permission, the forbidden call would be made."""

    async def naive(self: Any, held: Decision, **_: Any) -> Decision:
        status = await self.wait(held.obligations.approval, timeout_s=5, is_own=True)
        is_granted = status.state is ApprovalState.GRANTED
        return dataclasses.replace(held, effect=Effect.ALLOW) if is_granted else held

    monkeypatch.setattr(Approvals, "outlast", naive)
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.answers(lambda question: gate.deny("POLICY_DENY"))
        gate.decides(ONE, "GRANTED")
        decision = await task

    assert decision.allowed


async def test_d04_one_grant_lets_one_of_two_identical_calls_through(gate: Any) -> None:
    """Two wait for one request; the grant is used once, and the other waits for a new one."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        tasks = [asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER)) for _ in range(2)]
        await gate.until(lambda: len(gate.waits) == 2)
        gate.decides(ONE, "GRANTED")
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await gate.until(lambda: any(wait.approval != ONE for wait in gate.waits))
        done = [task.done() for task in tasks]
        gate.decides("approvals/apr_2", "GRANTED")
        decisions = await asyncio.gather(*tasks)

    assert sorted(done) == [False, True]
    assert {d.obligations.approval for d in decisions} == {ONE, "approvals/apr_2"}
    assert all(d.allowed for d in decisions)
    assert gate.withdrawn == []


async def test_second_question_waits_longer_than_a_deadline(gate: Any) -> None:
    """Using a grant takes control and two disks: the short deadline would throw it away."""
    gate.holds()
    async with Guard(gate.address, deadline=timedelta(milliseconds=200)) as guard:
        await guard.wait_ready(5)
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        answer = gate.on_batch
        begun = asyncio.Event()

        async def slowly(gate: Any, message: Any, context: Any) -> None:
            begun.set()
            await asyncio.sleep(0.3)
            await answer(gate, message, context)

        gate.on_batch = slowly
        gate.decides(ONE, "GRANTED")
        await begun.wait()
        decision = await task

    assert decision.allowed


async def test_answer_that_was_lost_is_asked_for_again(gate: Any) -> None:
    """If the connection breaks before the second answer and the grant stands, it is still used."""
    gate.holds()
    answer = gate.on_batch
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.aborts(grpc.StatusCode.UNAVAILABLE)
        gate.decides(ONE, "GRANTED")
        await gate.until(lambda: len(gate.questions) == 2)
        gate.on_batch = answer
        decision = await task

    assert decision.allowed
    assert len(set(tool_calls(gate))) == 1


# -- not granted --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["REFUSED", "EXPIRED", "CANCELLED"])
async def test_request_that_ends_otherwise_is_the_gates_denial(gate: Any, state: str) -> None:
    """The denial says what happened and who decided, under the id that the log knows."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        held = await guard.authorize(*PAY)
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.decides(ONE, state, "decided by bob: <b>no</b> /etc/passwd \u202e")
        decision = await task

    assert (decision.effect, decision.reason.code) == (Effect.DENY, f"APPROVAL_{state}")
    assert decision.reason.text.startswith("decided by bob")
    assert decision.reason.metadata["approval"] == ONE
    assert (decision.is_local, decision.fingerprint) == (False, held.fingerprint)
    assert decision.decision_id.startswith("dec_")
    assert decision._origin is None
    assert not decision
    with pytest.raises(Denied) as raised:
        decision.raise_for_effect()
    told = raised.value.for_model()
    assert "decided by bob" in told
    assert not any(part in told for part in ("<", "/etc", "\u202e"))
    assert len(gate.questions) == 2, "nobody asks the gate about what was refused"


@pytest.mark.parametrize(
    "state",
    ["UNKNOWN", "", "granted", "GRANTED ", "\u0047RANTED\u200b", "ALLOW", "APPROVED", "2", "x" * 9],
)
async def test_a_state_that_is_none_is_no_grant(gate: Any, state: str) -> None:
    """A state this version does not know, or one spelt otherwise, denies without asking again."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.decides(ONE, state)
        decision = await task

    assert (decision.effect, decision.reason.code) == (Effect.DENY, "APPROVAL_UNKNOWN")
    assert len(gate.questions) == 1


async def test_a_state_that_is_none_negative_control(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read leniently, a misspelt state would be a grant (and the gate still have the last word)."""

    class Lenient(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            return super().get(key.strip().upper(), default)

    monkeypatch.setattr(wire, "_STATES", Lenient(wire._STATES))
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.answers(lambda question: gate.deny("POLICY_DENY"))
        gate.decides(ONE, "granted ")
        decision = await task

    assert len(gate.questions) == 2
    assert decision.reason.code == "POLICY_DENY"


async def test_time_that_passes_leaves_the_call_held_and_the_request_open(gate: Any) -> None:
    """The gate ends the wait by itself, so it does not take the caller for gone."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=0.05)
        with pytest.raises(Held):
            async with guard.call(*PAY, hold_timeout=timedelta(milliseconds=20)):
                pytest.fail("ran")
        gate.decides(ONE, "GRANTED")
        later = await guard.authorize(*PAY)

    assert decision.effect is Effect.HOLD
    assert decision.obligations.approval == ONE
    assert later.allowed
    assert (gate.broken_waits, gate.withdrawn) == ([], [])


async def test_the_requests_own_end_bounds_the_wait(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that never says that the request expired is not waited for beyond that."""
    monkeypatch.setattr(approvals_module, "_LATE_S", 0.02)
    held = gate.held()
    held.obligations.hold_expire_time.FromDatetime(datetime.now(UTC) - timedelta(hours=1))
    gate.answers(lambda question: held)
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=NEVER)

    assert decision.effect is Effect.HOLD
    assert gate.broken_waits == []


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), timedelta(seconds=-1)])
async def test_a_span_that_is_none_is_misuse(gate: Any, timeout: Any) -> None:
    """Negative and undefined spans are refused in every form, before anything is asked."""
    async with Guard(gate.address, deadline=LONG) as guard:
        with pytest.raises(ValueError, match="negative"):
            await guard.authorize(*PAY, hold_timeout=timeout)
        with pytest.raises(ValueError, match="negative"):
            guard.call(*PAY, hold_timeout=timeout)
        with pytest.raises(ValueError, match="negative"):
            guard.tool("pay", hold_timeout=timeout)
        with pytest.raises(ValueError, match="negative"):
            Guard(gate.address, hold_timeout=timeout)

    assert gate.questions == []


async def test_waiting_for_ever_is_waiting_for_a_day(gate: Any) -> None:
    """No span is too long to be understood."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG, hold_timeout=float("inf")) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=float("inf")))
        await gate.until(lambda: gate.waits)
        gate.decides(ONE, "REFUSED")
        decision = await task

    assert decision.reason.code == "APPROVAL_REFUSED"
    assert gate.waits[0].timeout.seconds == 30


# -- others are not held up ---------------------------------------------------------------------


async def test_a_waiting_call_holds_no_other_call_up(gate: Any) -> None:
    """While one waits for a human, a hundred others are decided, and some of them at once."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        waiting = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        one_by_one = [await guard.authorize("read", {"n": n}) for n in range(20)]
        at_once = await asyncio.gather(*(guard.authorize("read", {"n": n}) for n in range(80)))
        still_waits = not waiting.done()
        gate.decides(ONE, "GRANTED")
        decision = await waiting

    assert still_waits
    assert len(one_by_one + at_once) == 100
    assert all(other.allowed for other in one_by_one + at_once)
    assert decision.allowed
    assert gate.withdrawn == []


async def test_more_waiting_calls_than_the_gate_takes_hold_nothing_up(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a bound the waits wait here, so that the connection stays free for decisions."""
    monkeypatch.setattr(approvals_module, "MAX_WAITS", 2)
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        tasks = [
            asyncio.create_task(guard.authorize("pay", {"n": n}, hold_timeout=NEVER))
            for n in range(2)
        ]
        await gate.until(lambda: len(gate.waits) == 2)
        third = await guard.authorize("pay", {"n": 2}, hold_timeout=0.03)
        other = await guard.authorize("read", {})
        fourth = asyncio.create_task(guard.authorize("pay", {"n": 3}, hold_timeout=NEVER))
        gate.decides(ONE, "GRANTED")
        await gate.until(lambda: gate.waits[-1].approval == "approvals/apr_4")
        for name in ("approvals/apr_2", "approvals/apr_4"):
            gate.decides(name, "GRANTED")
        decisions = await asyncio.gather(*tasks, fourth)

    assert third.effect is Effect.HOLD
    assert other.allowed
    assert all(decision.allowed for decision in decisions)
    assert "approvals/apr_3" not in {wait.approval for wait in gate.waits}


async def test_too_many_waits_negative_control(gate: Any) -> None:
    """With room for all, all of them are at the gate."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        tasks = [
            asyncio.create_task(guard.authorize("pay", {"n": n}, hold_timeout=NEVER))
            for n in range(3)
        ]
        await gate.until(lambda: len(gate.waits) == 3)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    assert len({wait.approval for wait in gate.waits}) == 3


# -- giving up ----------------------------------------------------------------------------------


async def test_cancelling_the_task_withdraws_the_request(gate: Any) -> None:
    """Whoever stops waiting tells the gate, without waiting for it."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gate.until(lambda: gate.withdrawn)
        await gate.until(lambda: gate.broken_waits)

    assert gate.withdrawn == [ONE]


async def test_withdrawal_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the gate only sees a wait that was broken off."""
    monkeypatch.setattr(Approvals, "withdraw_soon", lambda self, name: None)
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        task.cancel()
        await asyncio.wait([task])
        await gate.until(lambda: gate.broken_waits)

    assert gate.withdrawn == []


async def test_withdrawal_leaves_before_the_guard_is_closed(gate: Any) -> None:
    """``aclose`` gives it the time that it gives outcomes."""
    gate.holds()
    guard = Guard(gate.address, deadline=LONG)
    task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
    await gate.until(lambda: gate.waits)
    task.cancel()
    await asyncio.wait([task])
    await guard.aclose()

    assert gate.withdrawn == [ONE]


async def test_cancellation_never_waits_for_the_gate(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that answers no withdrawal delays neither the cancellation nor other calls."""
    monkeypatch.setattr(guard_module, "_FLUSH_TIMEOUT", timedelta(milliseconds=20))
    hangs = asyncio.Event()

    async def never(request: Any, context: Any) -> None:
        hangs.set()
        await asyncio.Event().wait()

    gate.CancelApproval = never
    await gate.stop()
    await gate.start()
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        task.cancel()
        await asyncio.wait([task])
        await hangs.wait()
        other = await guard.authorize("read", {})

    assert task.cancelled()
    assert other.allowed


async def test_request_that_another_caller_waits_for_is_not_withdrawn(gate: Any) -> None:
    """Of two callers that wait for one request only the last takes it with it."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        tasks = [asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER)) for _ in range(3)]
        await gate.until(lambda: len(gate.waits) == 3)
        tasks[0].cancel()
        await gate.until(lambda: gate.broken_waits)
        withdrawn_by_one = list(gate.withdrawn)
        tasks[1].cancel()
        tasks[2].cancel()
        await asyncio.wait(tasks)
        await gate.until(lambda: gate.withdrawn)

    assert withdrawn_by_one == []
    assert gate.withdrawn == [ONE]


async def test_a_timeout_around_the_wait_is_a_cancellation(gate: Any) -> None:
    """``asyncio.timeout`` withdraws, ``hold_timeout`` does not."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await guard.authorize(*PAY, hold_timeout=NEVER)
        await gate.until(lambda: gate.withdrawn)

    assert gate.withdrawn == [ONE]


@pytest.mark.parametrize("effect", [types_pb2.EFFECT_HOLD, types_pb2.EFFECT_ALLOW])
async def test_cancelled_before_the_first_answer(gate: Any, effect: int) -> None:
    """A HOLD that finds its caller gone is withdrawn, an ALLOW is reported as not used."""
    release = asyncio.Event()

    async def on_batch(gate: Any, message: Any, context: Any) -> None:
        await release.wait()
        decision = gate.held() if effect == types_pb2.EFFECT_HOLD else gate.decision()
        await context.write(
            guard_pb2.AuthorizeStreamResponse(
                items=[
                    guard_pb2.AuthorizeStreamResponse.Item(id=item.id, decision=decision)
                    for item in message.items
                ]
            )
        )

    gate.on_batch = on_batch
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.asked.wait()
        task.cancel()
        await asyncio.wait([task])
        release.set()
        if effect == types_pb2.EFFECT_HOLD:
            await gate.until(lambda: gate.withdrawn)
        else:
            await gate.outcomes_become(1)

    assert gate.waits == []
    assert gate.withdrawn == ([ONE] if effect == types_pb2.EFFECT_HOLD else [])
    assert [o.result for o in gate.outcomes] == (
        [] if effect == types_pb2.EFFECT_HOLD else [guard_pb2.Outcome.RESULT_CANCELLED]
    )


async def test_cancelled_before_it_left_is_never_asked(stopped_gate: Any) -> None:
    """A caller that gives up while the gate is away asks nothing once it is back."""
    gate = stopped_gate
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await gate.start()
        other = await guard.authorize("read", {})

    assert other.allowed
    assert [question.request.tool_call.tool for question in gate.questions] == ["read"]


async def test_cancelled_after_the_grant_withdraws_it(gate: Any) -> None:
    """A grant whose caller is gone before it was used does not lie about."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.hangs()
        gate.decides(ONE, "GRANTED")
        await gate.until(lambda: len(gate.questions) == 2)
        task.cancel()
        await asyncio.wait([task])
        await gate.until(lambda: gate.withdrawn)

    assert gate.withdrawn == [ONE]


def test_a_loop_that_ends_leaves_nothing_behind(
    threaded_gate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """When the program ends in the middle of a wait, nothing new is begun and nothing complains."""
    gate = threaded_gate.gate
    gate.holds()

    async def main() -> None:
        guard = Guard(gate.address, deadline=LONG)
        waiting = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        main.kept = (guard, waiting)  # type: ignore[attr-defined]

    asyncio.run(main())
    threaded_gate.run(gate.until(lambda: gate.broken_waits))

    assert gate.withdrawn == []
    assert "destroyed" not in caplog.text
    assert "never retrieved" not in caplog.text


# -- losing the gate ----------------------------------------------------------------------------


async def test_wait_survives_a_restart_of_the_gate(gate: Any) -> None:
    """The gate goes and comes back while the human thinks: the grant is found and used."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        await gate.stop()
        await gate.start()
        await gate.until(lambda: len(gate.waits) > 1)
        still_waits = not task.done()
        gate.decides(ONE, "GRANTED")
        decision = await task

    assert still_waits
    assert decision.allowed
    assert gate.withdrawn == []


async def test_gate_that_stays_away_leaves_the_call_held(gate: Any) -> None:
    """When the time is up without a word from the gate, the call is as held as it was."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=0.2))
        await gate.until(lambda: gate.waits)
        await gate.stop()
        decision = await task

    assert decision.effect is Effect.HOLD
    assert not decision.is_local


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
async def test_wait_that_fails_is_begun_again(gate: Any, code: grpc.StatusCode) -> None:
    """Control restarts, the gate is overloaded: the wait goes on until the human has decided."""

    async def fails(gate: Any, request: Any, context: Any) -> Any:
        if len(gate.waits) > 2:
            return guard_pb2.WaitApprovalResponse(state="REFUSED")
        return await context.abort(code, "the script fails")

    gate.holds()
    gate.on_wait = fails
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=NEVER)

    assert decision.reason.code == "APPROVAL_REFUSED"
    assert len(gate.waits) == 3
    assert gate.withdrawn == []


@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED])
async def test_gate_that_lets_nobody_wait(gate: Any, code: grpc.StatusCode) -> None:
    """A gate without approvals answers every wait the same: the call is held, at once."""

    async def fails(gate: Any, request: Any, context: Any) -> Any:
        return await context.abort(code, "never")

    gate.holds()
    gate.on_wait = fails
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=NEVER)
        with pytest.raises(GateUnavailable):
            await guard.wait_approval(decision, NEVER)

    assert decision.effect is Effect.HOLD
    assert len(gate.waits) == 2


async def test_gate_that_ends_every_wait_too_early_is_not_asked_in_a_loop(gate: Any) -> None:
    """A gate that does not wait costs some twenty questions a second at the very worst."""

    async def at_once(gate: Any, request: Any, context: Any) -> Any:
        return guard_pb2.WaitApprovalResponse(state="PENDING")

    gate.holds()
    gate.on_wait = at_once
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=0.3)

    assert decision.effect is Effect.HOLD
    assert 1 <= len(gate.waits) <= 10


async def test_too_early_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the pause it would be asked as fast as it answers."""

    async def at_once(gate: Any, request: Any, context: Any) -> Any:
        return guard_pb2.WaitApprovalResponse(state="PENDING")

    monkeypatch.setattr(Backoff, "next_pause_s", lambda self: 0.0)
    gate.holds()
    gate.on_wait = at_once
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=5))
        await gate.until(lambda: len(gate.waits) > 30)
        task.cancel()
        await asyncio.wait([task])

    assert len(gate.waits) > 30


async def test_bytes_that_are_no_status_are_no_grant(socket_path: Path) -> None:
    """What cannot be read is taken for no answer, and the call stays held."""
    waits = 0

    async def authorize(requests: Any, context: Any) -> Any:
        async for data in requests:
            message = guard_pb2.AuthorizeStreamRequest.FromString(data)
            decision = types_pb2.Decision(effect=types_pb2.EFFECT_HOLD, decision_id="dec_1")
            decision.reasons.add(code="POLICY_HOLD")
            decision.obligations.approval = ONE
            answer = guard_pb2.AuthorizeStreamResponse()
            for item in message.items:
                answer.items.add(id=item.id, decision=decision)
            yield answer.SerializeToString()

    async def wait(data: bytes, context: Any) -> bytes:
        nonlocal waits
        waits += 1
        return b"\x0a\xff\xff GRANTED"

    handlers = {
        "AuthorizeStream": grpc.stream_stream_rpc_method_handler(authorize),
        "WaitApproval": grpc.unary_unary_rpc_method_handler(wait),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("sidecar.api.v1.GuardService", handlers),)
    )
    server.add_insecure_port(f"unix:{socket_path}")
    await server.start()
    async with Guard(f"unix:{socket_path}", deadline=LONG) as guard:
        decision = await guard.authorize(*PAY, hold_timeout=0.1)
        with pytest.raises(GateUnavailable):
            await guard.wait_approval(decision, 0)
    await server.stop(None)

    assert decision.effect is Effect.HOLD
    assert waits >= 2


# -- kill and close -----------------------------------------------------------------------------


async def test_d07_kill_ends_the_wait_at_once(gate: Any) -> None:
    """The kill reaches whoever waits for a human; what the human says later helps nobody."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        plain = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))

        async def form() -> None:
            async with guard.call(*PAY, hold_timeout=NEVER):
                pytest.fail("ran")

        formed = asyncio.create_task(form())
        status = asyncio.create_task(guard.wait_approval(ONE, NEVER))
        await gate.until(lambda: len(gate.waits) == 3)
        gate.contain(types_pb2.LEVEL_KILL, epoch=7, cancel=True)
        decision = await plain
        with pytest.raises(Suspended):
            await formed
        with pytest.raises(Suspended):
            await status
        gate.decides(ONE, "GRANTED")
        late = await guard.authorize("other", {})

    assert (decision.effect, decision.reason.code) == (Effect.DENY, "KILLED")
    assert decision.is_local
    assert len(gate.questions) == 3
    assert late.effect is Effect.DENY


async def test_d07_kill_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody listened for the kill, the wait would go on."""
    monkeypatch.setattr(ContainmentState, "listen", lambda self, listener: None)
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.contain(types_pb2.LEVEL_KILL, epoch=7, cancel=True)
        await guard.killed.wait()
        other = await guard.authorize("read", {})
        still_waits = not task.done()
        task.cancel()
        await asyncio.wait([task])

    assert other.effect is Effect.DENY
    assert still_waits


async def test_who_is_killed_already_does_not_begin_to_wait(gate: Any) -> None:
    """A HOLD that overtakes the kill's news is not waited for."""
    gate.holds()
    async with Guard(gate.address, deadline=LONG) as guard:
        gate.contain(types_pb2.LEVEL_FREEZE, epoch=7, cancel=True, code="FROZEN")
        await guard.killed.wait()
        decision = await guard.authorize(*PAY, hold_timeout=NEVER)

    assert decision.reason.code == "FROZEN"
    assert gate.waits == []


async def test_another_sessions_wait_is_the_gates_to_end(gate: Any) -> None:
    """The kill of the guard's own session is none of another one's; the gate says what is."""
    gate.holds()
    async with Guard(gate.address, session="s-1", deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize(*PAY, session="s-2", hold_timeout=NEVER))
        await gate.until(lambda: gate.waits)
        gate.contain(types_pb2.LEVEL_KILL, epoch=7, cancel=True)
        await guard.killed.wait()
        gate.epoch = 8
        gate.decides(ONE, "GRANTED")
        decision = await task

    assert decision.allowed


async def test_closing_the_guard_denies_whoever_waits(gate: Any) -> None:
    """A wait does not outlive its guard, and does not keep it open."""
    gate.holds()
    guard = Guard(gate.address, deadline=LONG)
    task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
    status = asyncio.create_task(guard.wait_approval(ONE, NEVER))
    await gate.until(lambda: len(gate.waits) == 2)
    await guard.aclose()
    decision = await task

    assert decision.reason.code == "SHUTTING_DOWN"
    with pytest.raises(GateUnavailable):
        await status
    with pytest.raises(GateUnavailable):
        await guard.wait_approval(ONE, 1)
    with pytest.raises(GateUnavailable):
        await guard.cancel_approval(ONE)


async def test_closing_the_guard_denies_whoever_asks_again(gate: Any) -> None:
    """Closed between the grant and its use, the caller does not wait for the second answer."""
    gate.holds()
    guard = Guard(gate.address, deadline=LONG)
    task = asyncio.create_task(guard.authorize(*PAY, hold_timeout=NEVER))
    await gate.until(lambda: gate.waits)
    gate.hangs()
    gate.decides(ONE, "GRANTED")
    await gate.until(lambda: len(gate.questions) == 2)
    await guard.aclose()
    decision = await asyncio.wait_for(task, 2)

    assert decision.reason.code == "SHUTTING_DOWN"
