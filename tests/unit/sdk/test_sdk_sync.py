# SPDX-License-Identifier: Apache-2.0
"""The blocking twin: threads, interrupts, closing, kills."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.sdk import Denied, GateUnavailable, Guard, Result, SyncGuard
from sidecar.sdk import sync as sync_module

LONG = timedelta(seconds=5)


def test_eight_threads_share_one_guard(threaded_gate: Any) -> None:
    """Eight threads, one connection; every call gets its own answer."""
    gate = threaded_gate.gate
    gate.answers(
        lambda q: (
            gate.decision() if b'"even"' in q.request.tool_call.arguments else gate.deny("SCHEMA")
        )
    )

    def worker(number: int) -> list[bool]:
        kind = "even" if number % 2 == 0 else "odd"
        return [guard.authorize("t", {"kind": kind, "n": n}).allowed for n in range(20)]

    with SyncGuard(gate.address, deadline=LONG) as guard, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(worker, range(8)))

    assert answers == [[number % 2 == 0] * 20 for number in range(8)]
    assert len(gate.questions) == 160
    assert gate.streams == 1


def test_forms_of_the_twin(threaded_gate: Any) -> None:
    """Decorator, context manager, plain form and report, from a plain script."""
    gate = threaded_gate.gate
    with SyncGuard(gate.address, session="s-1", deadline=LONG) as guard:
        guard.wait_ready(5)

        @guard.tool("double")
        def double(number: int) -> int:
            return number * 2

        answer = double(4)
        with guard.call("t", url="https://example.com") as permit:
            permit.finish(Result.AMBIGUOUS, detail="half")
        decision = guard.authorize("t", {})
        confirmation = guard.log(decision.decision_id, Result.SUCCESS)

    assert answer == 8
    assert confirmation.log_index == 3
    assert [o.result for o in gate.outcomes] == [
        guard_pb2.Outcome.RESULT_SUCCESS,
        guard_pb2.Outcome.RESULT_AMBIGUOUS,
        guard_pb2.Outcome.RESULT_SUCCESS,
    ]
    assert {q.request.tool_call.session_id for q in gate.questions} == {"s-1"}


def test_e17_twin_without_a_gate_denies(socket_path: Path) -> None:
    """No sidecar: denied in time, in every form."""
    with SyncGuard(f"unix:{socket_path}", deadline=timedelta(milliseconds=30)) as guard:
        decision = guard.authorize("t", {})
        with pytest.raises(GateUnavailable), guard.call("t"):
            pytest.fail("ran")
        with pytest.raises(GateUnavailable):
            guard.wait_ready(0.05)
        with pytest.raises(GateUnavailable):
            guard.log("dec_1", Result.SUCCESS, timeout=0.05)

    assert decision.reason.code == "GATE_UNAVAILABLE"


def test_hanging_background_thread_denies(
    threaded_gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the guard's own thread is stuck, callers are denied; the late ALLOW is reported."""
    monkeypatch.setattr(sync_module, "_GRACE_S", 0.05)
    guard = SyncGuard(threaded_gate.gate.address, deadline=timedelta(milliseconds=50))
    guard.authorize("t", {})
    release = threading.Event()
    runner = guard._runner
    assert runner is not None
    runner.loop.call_soon_threadsafe(release.wait)
    begin = time.monotonic()

    decision = guard.authorize("t", {})

    elapsed = time.monotonic() - begin
    release.set()
    guard.close()
    assert decision.reason.code == "DEADLINE"
    assert elapsed < 2


def test_arguments_are_encoded_in_the_callers_thread(threaded_gate: Any) -> None:
    """What cannot be carried never reaches the background thread."""
    with SyncGuard(threaded_gate.gate.address, deadline=LONG) as guard:
        decision = guard.authorize("t", {"x": object()})

    assert decision.reason.code == "MALFORMED"


def test_closed_twin_denies(threaded_gate: Any) -> None:
    """After closing, also from another thread, everything is denied."""
    guard = SyncGuard(threaded_gate.gate.address, deadline=LONG)
    first = guard.authorize("t", {})
    guard.close()
    guard.close()

    assert first.allowed
    assert guard.authorize("t", {}).reason.code == "SHUTTING_DOWN"
    with pytest.raises(GateUnavailable):
        guard.log("dec_1", Result.SUCCESS)


def test_closing_while_another_thread_waits(threaded_gate: Any) -> None:
    """A thread that waits when the guard is closed is denied, not left behind."""
    gate = threaded_gate.gate
    gate.hangs()
    guard = SyncGuard(gate.address, deadline=LONG)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(guard.authorize, "t", {})
        threaded_gate.run(gate.asked.wait())
        guard.close()
        decision = waiting.result(5)

    assert decision.reason.code == "SHUTTING_DOWN"


def test_background_thread_that_ends_denies(threaded_gate: Any) -> None:
    """A thread that waits when the background thread ends, and every later call, is denied."""
    gate = threaded_gate.gate
    gate.hangs()
    guard = SyncGuard(gate.address, deadline=LONG)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(guard.authorize, "t", {})
        threaded_gate.run(gate.asked.wait())
        runner = guard._runner
        assert runner is not None
        runner.stop(5)
        decision = waiting.result(5)

    assert decision.reason.code == "SHUTTING_DOWN"
    assert guard.authorize("t", {}).reason.code == "SHUTTING_DOWN"
    with pytest.raises(GateUnavailable):
        guard.wait_ready(1)
    guard.close()


def test_allow_that_its_thread_no_longer_waits_for_is_reported(
    threaded_gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt between answer and use leaves a CANCELLED in the log."""
    gate = threaded_gate.gate
    guard = SyncGuard(gate.address, deadline=LONG)
    real: Any = concurrent.futures.Future.result

    def interrupted(self: Any, timeout: float | None = None) -> Any:
        real(self, timeout)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(concurrent.futures.Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        guard.authorize("t", {})
    outcomes = threaded_gate.run(gate.outcomes_become(1))
    guard.close()

    assert outcomes[0].result == guard_pb2.Outcome.RESULT_CANCELLED


def test_containment_is_shown_to_threads(threaded_gate: Any) -> None:
    """The twin knows what its guard was told; before its first use it knows nothing."""
    guard = SyncGuard(threaded_gate.gate.address, deadline=LONG)
    before = guard.containment
    with guard:
        guard.wait_ready(5)
        after = guard.containment

    assert (before.epoch, after.epoch) == (0, 1)


def test_killed_flag_of_the_twin(threaded_gate: Any) -> None:
    """Another thread can wait for the kill."""
    with SyncGuard(threaded_gate.gate.address, deadline=LONG) as guard:
        guard.wait_ready(5)
        before = guard.killed.wait(0)
        threaded_gate.call(threaded_gate.gate.contain, types_pb2.LEVEL_KILL, epoch=2, cancel=True)
        after = guard.killed.wait(5)

    assert (before, after) == (False, True)
    assert guard.killed.is_set()


def test_misuse_from_the_guards_own_thread(threaded_gate: Any) -> None:
    """A blocking call inside the guard's own thread would wait for itself; it is refused."""
    problems: list[Exception] = []

    def provider() -> str:
        try:
            guard.authorize("t", {})
        except RuntimeError as error:
            problems.append(error)
        return ""

    guard = SyncGuard(threaded_gate.gate.address, deadline=LONG, token_provider=provider)
    decision = guard.authorize("t", {})
    guard.close()

    assert decision.allowed
    assert "own thread" in str(problems[0])


def test_blocking_tool_of_the_async_guard(threaded_gate: Any) -> None:
    """A blocking function decorated by ``Guard`` works inside and outside of its loop."""
    gate = threaded_gate.gate
    guard = Guard(gate.address, deadline=LONG)

    @guard.tool("t")
    def tool(number: int) -> int:
        return number

    async def inside() -> int:
        assert (await guard.authorize("async", {})).allowed
        answer = tool(1)
        await guard.aclose()
        return answer

    answers = [tool(0), asyncio.run(inside())]

    assert answers == [0, 1]
    with pytest.raises(GateUnavailable):
        tool(2)
    assert guard.sync.authorize("t", {}).reason.code == "SHUTTING_DOWN"


def test_denied_tool_of_the_async_guard(threaded_gate: Any) -> None:
    """The twin denies what the gate denies."""
    gate = threaded_gate.gate
    gate.answers(lambda question: gate.deny("POLICY_DENY"))
    guard = Guard(gate.address, deadline=LONG)

    @guard.tool("t")
    def tool() -> None:
        pytest.fail("ran")

    with pytest.raises(Denied):
        tool()
    guard.sync.close()


def test_the_twin_is_made_once() -> None:
    """Threads that race for the twin get the same one."""
    guard = Guard("unix:/nonexistent/guard.sock")
    with ThreadPoolExecutor(8) as pool:
        twins = set(pool.map(lambda _: guard.sync, range(64)))

    assert len(twins) == 1
