# SPDX-License-Identifier: Apache-2.0
"""The waits without a connection: whatever the gate says, in whatever order, only it allows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.api.v1 import guard_pb2
from sidecar.sdk import ApprovalState, Decision, Effect, Obligations, Reason
from sidecar.sdk._approvals import Approvals
from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk._streams import Backoff


class Call:
    """A gRPC call that is answered at once, or never."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.is_cancelled = False

    def __await__(self) -> Generator[Any, None, Any]:
        if self.answer is ...:
            yield from asyncio.Event().wait().__await__()
        return self.answer

    def cancel(self) -> bool:
        self.is_cancelled = True
        return True


class Stub:
    """Answers waits as scripted: states, None for what can't be read, ... for never."""

    def __init__(self, states: list[Any]) -> None:
        self.states = states
        self.waited: list[str] = []
        self.withdrawn: list[str] = []

    def WaitApproval(self, request: Any, *, timeout: float) -> Call:
        assert 0 < timeout <= 32
        assert 0 < request.timeout.ToNanoseconds() <= 30_000_000_000
        self.waited.append(request.approval)
        state = self.states.pop(0) if self.states else "EXPIRED"
        is_text = isinstance(state, str)
        return Call(guard_pb2.WaitApprovalResponse(state=state) if is_text else state)

    def CancelApproval(self, request: Any, *, timeout: float) -> Call:
        self.withdrawn.append(request.approval)
        return Call(guard_pb2.CancelApprovalResponse(state="CANCELLED"))


def made(stub: Stub, *, is_ending: bool = False) -> Approvals:
    return Approvals(
        loop=asyncio.get_running_loop(),
        stub=stub,
        state=ContainmentState(),
        is_ending=lambda: is_ending,
    )


def decision(effect: Effect, number: int = 1) -> Decision:
    return Decision(
        effect=effect,
        reasons=(Reason("CODE", "text"),),
        decision_id=f"dec_{number}",
        valid_until_ns=time.time_ns() + 10**12,
        obligations=Obligations(approval=f"approvals/{number}"),
    )


STATES = st.one_of(
    st.sampled_from([*ApprovalState, None, "granted", "GRANTED ", "", "ALLOW"]),
    st.text(max_size=12),
)
ANSWERS = st.sampled_from(
    ["ALLOW", "DENY", "HOLD", "NO_ANSWER", "STREAM_LOST", "NOT_CONNECTED", "LAPSED", "KILLED"]
)


@settings(max_examples=150, deadline=None)
@given(states=st.lists(STATES, max_size=12), answers=st.lists(ANSWERS, max_size=6))
def test_only_the_gates_second_answer_allows(states: list[Any], answers: list[str]) -> None:
    """Every ALLOW is one that the gate gave when it was asked again, and it is asked again only
    after a grant."""
    given_answers: list[Decision] = []
    granted = 0
    stub = Stub(list(states))

    async def ask() -> Decision:
        nonlocal granted
        told = states[: len(stub.waited)]
        grants = sum(1 for state in told if state in ("GRANTED", "CONSUMED"))
        assert grants == granted + 1
        granted = grants
        word = answers[len(given_answers)] if len(given_answers) < len(answers) else "DENY"
        number = len(given_answers) + 2
        if word in ("ALLOW", "DENY", "HOLD"):
            answer = decision(Effect(word), number)
        else:
            answer = local_denial(Cause(word))
        given_answers.append(answer)
        return answer

    async def main() -> Decision:
        held = decision(Effect.HOLD)
        return await made(stub).outlast(held, ask=ask, timeout_s=3600, is_own=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backoff, "next_pause_s", lambda self: 0.0)
        result = asyncio.run(main())

    if result.effect is Effect.ALLOW:
        assert result is given_answers[-1]
        assert answers[len(given_answers) - 1] == "ALLOW"
    assert all(answer.effect is not Effect.ALLOW for answer in given_answers[:-1])
    assert stub.withdrawn == []


async def test_nothing_is_begun_when_the_loop_goes_down() -> None:
    """A withdrawal that could not end any more is dropped: the gate withdraws by itself."""
    stub = Stub([...])
    approvals = made(stub, is_ending=True)
    task = asyncio.create_task(approvals.wait("approvals/1", timeout_s=3600, is_own=True))
    while not stub.waited:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert stub.withdrawn == []


async def test_nothing_is_begun_when_the_loop_goes_down_negative_control() -> None:
    """While the loop lives the same cancellation withdraws."""
    stub = Stub([...])
    approvals = made(stub)
    task = asyncio.create_task(approvals.wait("approvals/1", timeout_s=3600, is_own=True))
    while not stub.waited:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await approvals.settled()

    assert stub.withdrawn == ["approvals/1"]


async def test_withdrawals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand tasks that are cancelled at once do not become a thousand calls."""
    monkeypatch.setattr("sidecar.sdk._approvals._MAX_WITHDRAWALS", 3)
    stub = Stub([])
    approvals = made(stub)
    for number in range(10):
        approvals.withdraw_soon(f"approvals/{number}")
    await approvals.settled()

    assert stub.withdrawn == ["approvals/0", "approvals/1", "approvals/2"]


async def test_closed_waits_end_and_no_new_one_begins() -> None:
    """After closing, a wait is denied without asking."""
    stub = Stub([...])
    approvals = made(stub)
    task = asyncio.create_task(approvals.wait("approvals/1", timeout_s=3600, is_own=False))
    while not stub.waited:
        await asyncio.sleep(0)
    approvals.close()
    first = await task
    second = await approvals.wait("approvals/1", timeout_s=3600, is_own=False)
    approvals.withdraw_soon("approvals/1")
    await asyncio.gather(*approvals.abandon(), return_exceptions=True)

    for answer in (first, second):
        assert isinstance(answer, Decision)
        assert answer.reason.metadata["cause"] == "CLOSED"
    assert stub.waited == ["approvals/1"]
    assert stub.withdrawn == []
    assert approvals._tasks == set()
    assert approvals._alarms == set()
    assert not approvals._callers
