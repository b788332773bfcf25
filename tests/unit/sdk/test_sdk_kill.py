# SPDX-License-Identifier: Apache-2.0
"""A kill as the runtime experiences it, told by a real watch stream."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.sdk import Effect, Guard, Suspended
from sidecar.sdk._containment import ContainmentState

Answer = guard_pb2.AuthorizeStreamResponse.Item
LONG = timedelta(seconds=5)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_e16_watch_cancels_what_is_in_flight(gate: Any) -> None:
    """FREEZE reaches the runtime by itself and ends the call that is under way."""
    async with Guard(gate.address, deadline=LONG) as guard:
        started = asyncio.Event()

        @guard.tool("t")
        async def tool() -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(tool())
        await started.wait()
        gate.contain(types_pb2.LEVEL_FREEZE, epoch=2, cancel=True, code="FROZEN")
        with pytest.raises(Suspended):
            await asyncio.wait_for(task, 5)
        outcomes = await gate.outcomes_become(1)

    assert outcomes[0].result == guard_pb2.Outcome.RESULT_AMBIGUOUS
    assert guard.containment.level == "FREEZE"
    assert guard.containment.reason is not None
    assert guard.containment.reason.code == "FROZEN"


async def test_killed_event_follows_the_watch(gate: Any) -> None:
    """The event is set by KILL, not by a lower level, and cleared by the release."""
    async with Guard(gate.address, deadline=LONG) as guard:
        await guard.wait_ready(5)
        gate.contain(types_pb2.LEVEL_READ_ONLY, epoch=2, cancel=False)
        await until(lambda: guard.containment.epoch == 2)
        lower = guard.killed.is_set()
        gate.contain(types_pb2.LEVEL_KILL, epoch=3, cancel=True)
        await asyncio.wait_for(guard.killed.wait(), 5)
        gate.contain(0, epoch=4, cancel=False)
        await until(lambda: not guard.killed.is_set())

    assert not lower
    assert guard.containment.level == ""


async def test_killed_wait_starts_the_watch(gate: Any) -> None:
    """Waiting for the kill is enough: no call has to be made before."""
    guard = Guard(gate.address, deadline=LONG)
    waiting = asyncio.create_task(guard.killed.wait())
    gate.contain(types_pb2.LEVEL_KILL, epoch=3, cancel=True)

    assert await asyncio.wait_for(waiting, 5)
    await guard.aclose()


async def test_a_level_this_version_does_not_know_cancels(gate: Any) -> None:
    """A tighter level of a newer gate is not taken for freedom."""
    async with Guard(gate.address, deadline=LONG) as guard:
        gate.contain(99, epoch=3, cancel=False)
        await asyncio.wait_for(guard.killed.wait(), 5)

    assert guard.containment.level == "LEVEL_99"


async def test_p1_allow_decided_before_the_kill_is_not_used(gate: Any) -> None:
    """An ALLOW of an older epoch that overtakes the kill on its way is denied and reported."""
    async with Guard(gate.address, deadline=LONG) as guard:
        gate.contain(types_pb2.LEVEL_KILL, epoch=7, cancel=True)
        await asyncio.wait_for(guard.killed.wait(), 5)
        gate.epoch = 6
        old = await guard.authorize("t", {})
        outcomes = await gate.outcomes_become(1)
        gate.epoch = 8
        new = await guard.authorize("t", {})

    assert old.is_local
    assert old.reason.code == "KILLED"
    assert outcomes[0].result == guard_pb2.Outcome.RESULT_CANCELLED
    assert new.allowed, "a newer epoch is the gate's word that the agent was released"


async def test_p1_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison of epochs the old ALLOW would be used after the kill."""
    monkeypatch.setattr(ContainmentState, "decided", lambda *args, **kwargs: True)
    async with Guard(gate.address, deadline=LONG) as guard:
        gate.contain(types_pb2.LEVEL_KILL, epoch=7, cancel=True)
        await asyncio.wait_for(guard.killed.wait(), 5)
        gate.epoch = 6
        old = await guard.authorize("t", {})

    assert old.effect is Effect.ALLOW


async def test_while_killed_the_gate_is_still_asked(gate: Any) -> None:
    """The release is learned from the gate: nothing is denied from memory."""
    gate.answers(lambda question: gate.deny("KILLED"))
    async with Guard(gate.address, deadline=LONG) as guard:
        denied = await guard.authorize("t", {})
        killed = guard.killed.is_set()
        gate.epoch = 2
        gate.on_batch = type(gate).answer_all
        allowed = await guard.authorize("t", {})

    assert denied.reason.code == "KILLED"
    assert not denied.is_local
    assert killed
    assert allowed.allowed
    assert not guard.killed.is_set()
    assert len(gate.questions) == 2


async def test_losing_the_gate_does_not_release(gate: Any) -> None:
    """A kill outlives the connection; the restarted gate's word releases."""
    async with Guard(gate.address, deadline=timedelta(milliseconds=50)) as guard:
        gate.contain(types_pb2.LEVEL_KILL, epoch=7, cancel=True)
        await asyncio.wait_for(guard.killed.wait(), 5)
        await gate.stop()
        decision = await guard.authorize("t", {})
        killed = guard.killed.is_set()
        gate.contain(0, epoch=8, cancel=False)
        await gate.start()
        await until(lambda: not guard.killed.is_set())

    assert decision.is_local
    assert killed


async def test_watch_follows_the_guards_session(gate: Any) -> None:
    """The gate is asked about the guard's own session."""
    asked: list[str] = []

    async def on_watch(gate: Any, request: Any, context: Any) -> None:
        asked.append(request.session_id)
        await context.write(guard_pb2.WatchContainmentResponse(epoch=1))
        await asyncio.Event().wait()

    gate.on_watch = on_watch
    async with Guard(gate.address, session="s-5", deadline=LONG) as guard:
        await guard.wait_ready(5)

    assert asked == ["s-5"]


async def test_watch_that_is_cancelled_by_the_gate_is_resumed(gate: Any) -> None:
    """A gate that cancels the watch does not end it for good."""
    count = 0

    async def on_watch(gate: Any, request: Any, context: Any) -> None:
        nonlocal count
        count += 1
        if count < 3:
            await context.abort(grpc.StatusCode.CANCELLED, "the script cancels")
        await context.write(guard_pb2.WatchContainmentResponse(epoch=9, level=types_pb2.LEVEL_KILL))
        await asyncio.Event().wait()

    gate.on_watch = on_watch
    async with Guard(gate.address, deadline=LONG) as guard:
        await asyncio.wait_for(guard.killed.wait(), 5)

    assert count == 3


async def test_another_sessions_call_is_not_stopped_by_this_ones_kill(gate: Any) -> None:
    """The gate decides about the other session; its ALLOW is used in every form."""
    async with Guard(gate.address, session="s-1", deadline=LONG) as guard:
        gate.contain(types_pb2.LEVEL_KILL, epoch=7, cancel=True)
        await asyncio.wait_for(guard.killed.wait(), 5)
        own = await guard.authorize("t", {})
        async with guard.call("t", session="s-2") as permit:
            other = permit.decision

    assert own.reason.code == "KILLED"
    assert other.allowed
    assert guard.killed.is_set()


async def test_watch_that_ends_is_resumed(gate: Any) -> None:
    """A gate that ends the watch without an error is asked again."""
    count = 0

    async def on_watch(gate: Any, request: Any, context: Any) -> None:
        nonlocal count
        count += 1
        await context.write(guard_pb2.WatchContainmentResponse(epoch=count))
        if count > 1:
            await asyncio.Event().wait()

    gate.on_watch = on_watch
    async with Guard(gate.address, deadline=LONG) as guard:
        await guard.wait_ready(5)
        await until(lambda: guard.containment.epoch == 2)

    assert count == 2
