# SPDX-License-Identifier: Apache-2.0
"""Held calls of the blocking twin: threads, interrupts, closing, kills, forks."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.sdk import ApprovalState, Denied, Effect, GateUnavailable, Held, Suspended, SyncGuard
from sidecar.sdk import sync as sync_module

LONG = timedelta(seconds=5)
NEVER = 30.0
ONE = "approvals/apr_1"
PAY = ("pay", {"to": "bob", "amount": 12})
REPOSITORY = Path(__file__).resolve().parents[3]


def until(threaded_gate: Any, condition: Any) -> None:
    threaded_gate.run(threaded_gate.gate.until(condition))


def test_thread_waits_and_others_are_decided(threaded_gate: Any) -> None:
    """One thread waits for a human, the others go on; the grant is used by the thread that waits."""
    gate = threaded_gate.gate
    gate.holds()
    with SyncGuard(gate.address, deadline=LONG) as guard, ThreadPoolExecutor(5) as pool:
        waiting = pool.submit(guard.authorize, *PAY, hold_timeout=NEVER)
        until(threaded_gate, lambda: gate.waits)
        others = list(pool.map(lambda n: guard.authorize("read", {"n": n}), range(100)))
        still_waits = not waiting.done()
        threaded_gate.call(gate.decides, ONE, "GRANTED")
        decision = waiting.result(5)

    assert still_waits
    assert all(other.allowed for other in others)
    assert decision.allowed
    first, *_, last = (question.request.SerializeToString() for question in gate.questions)
    assert first == last


def test_forms_of_the_twin_wait(threaded_gate: Any) -> None:
    """Decorator and context manager, by their own argument and by the guard's default."""
    gate = threaded_gate.gate
    gate.holds()
    with (
        SyncGuard(gate.address, deadline=LONG, hold_timeout=NEVER) as guard,
        ThreadPoolExecutor(3) as pool,
    ):

        @guard.tool("pay")
        def pay(to: str) -> str:
            return f"paid {to}"

        @guard.tool("pay", hold_timeout=0)
        def pay_now(to: str) -> str:
            return to

        def call() -> str:
            with guard.call("pay", {"to": "carol"}, hold_timeout=timedelta(hours=1)):
                return "called"

        with pytest.raises(Held):
            pay_now("eve")
        paying, calling = pool.submit(pay, "bob"), pool.submit(call)
        until(threaded_gate, lambda: len(gate.waits) == 2)
        for number in (1, 2, 3):
            threaded_gate.call(gate.decides, f"approvals/apr_{number}", "GRANTED")
        answers = (paying.result(5), calling.result(5))

    assert answers == ("paid bob", "called")


def test_error_of_the_twin_waits_blocking(threaded_gate: Any) -> None:
    """``wait`` returns a decision, ``cancel`` a status: nothing is to be awaited."""
    gate = threaded_gate.gate
    gate.holds()
    with SyncGuard(gate.address, deadline=LONG) as guard, ThreadPoolExecutor(1) as pool:
        with pytest.raises(Held) as raised, guard.call(*PAY):
            pytest.fail("ran")
        held = raised.value
        in_vain = held.wait(timeout=0.01)
        waiting = pool.submit(held.wait, timeout=NEVER)
        until(threaded_gate, lambda: len(gate.waits) == 2)
        threaded_gate.call(gate.decides, ONE, "GRANTED")
        decision = waiting.result(5)
        again = guard.authorize(*PAY)
        with pytest.raises(Held) as raised:
            again.raise_for_effect()
        status = raised.value.cancel()

    assert in_vain.effect is Effect.HOLD
    assert decision.allowed
    assert status.state is ApprovalState.CANCELLED
    assert gate.withdrawn == ["approvals/apr_2"]


def test_plain_forms_of_the_twin(threaded_gate: Any) -> None:
    """The status by decision or name, without asking again."""
    gate = threaded_gate.gate
    gate.holds()
    with SyncGuard(gate.address, deadline=LONG) as guard:
        held = guard.authorize(*PAY)
        pending = guard.wait_approval(held, 0.01)
        threaded_gate.call(gate.decides, ONE, "REFUSED", "refused by alice")
        refused = guard.wait_approval(ONE, NEVER)
        withdrawn = guard.cancel_approval(held)
        with pytest.raises(ValueError, match="no human is asked"):
            guard.wait_approval("", 1)
    with pytest.raises(GateUnavailable):
        guard.wait_approval(ONE, 1)

    assert (pending.state, refused.state) == (ApprovalState.PENDING, ApprovalState.REFUSED)
    assert refused.reason is not None
    assert refused.reason.text == "refused by alice"
    assert withdrawn.state is ApprovalState.CANCELLED
    assert len(gate.questions) == 1


def test_closing_while_a_thread_waits_for_a_human(threaded_gate: Any) -> None:
    """The thread is denied; it does not wait for an hour."""
    gate = threaded_gate.gate
    gate.holds()
    guard = SyncGuard(gate.address, deadline=LONG)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(guard.authorize, *PAY, hold_timeout=NEVER)
        until(threaded_gate, lambda: gate.waits)
        guard.close()
        decision = waiting.result(5)

    assert decision.reason.code == "SHUTTING_DOWN"


def test_d07_kill_ends_a_threads_wait(threaded_gate: Any) -> None:
    """A thread that waits for a human hears of the kill, though nothing else can stop it."""
    gate = threaded_gate.gate
    gate.holds()
    with SyncGuard(gate.address, deadline=LONG) as guard, ThreadPoolExecutor(1) as pool:

        @guard.tool("pay", hold_timeout=NEVER)
        def pay() -> None:
            pytest.fail("ran")

        waiting = pool.submit(pay)
        until(threaded_gate, lambda: gate.waits)
        threaded_gate.call(gate.contain, types_pb2.LEVEL_KILL, epoch=7, cancel=True)
        with pytest.raises(Suspended):
            waiting.result(5)


def test_refusal_is_an_error_of_the_form(threaded_gate: Any) -> None:
    """The function does not run, and the error says who refused."""
    gate = threaded_gate.gate
    gate.holds()
    with SyncGuard(gate.address, deadline=LONG) as guard, ThreadPoolExecutor(1) as pool:

        @guard.tool("pay", hold_timeout=NEVER)
        def pay() -> None:
            pytest.fail("ran")

        waiting = pool.submit(pay)
        until(threaded_gate, lambda: gate.waits)
        threaded_gate.call(gate.decides, ONE, "REFUSED", "refused by alice")
        with pytest.raises(Denied, match="refused by alice"):
            waiting.result(5)


@pytest.mark.parametrize("form", ["authorize", "wait_approval"])
def test_interrupted_wait_is_withdrawn(
    threaded_gate: Any, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Ctrl-C in a thread that waits gives the request up."""
    gate = threaded_gate.gate
    gate.holds()
    guard = SyncGuard(gate.address, deadline=LONG)
    guard.authorize("read", {})
    runner = guard._runner
    assert runner is not None
    submit = runner.submit

    def interrupted(work: Any) -> Any:
        future = submit(work)
        assert future is not None
        take = future.result

        def result(timeout: float | None = None) -> Any:
            until(threaded_gate, lambda: gate.waits)
            monkeypatch.setattr(future, "result", take)
            raise KeyboardInterrupt

        monkeypatch.setattr(future, "result", result)
        return future

    monkeypatch.setattr(runner, "submit", interrupted)
    waits = {
        "authorize": lambda: guard.authorize(*PAY, hold_timeout=NEVER),
        "wait_approval": lambda: guard.wait_approval(ONE, NEVER),
    }
    with pytest.raises(KeyboardInterrupt):
        waits[form]()
    until(threaded_gate, lambda: gate.withdrawn)
    monkeypatch.undo()
    guard.close()

    assert gate.withdrawn == [ONE]


def test_thread_that_hangs_does_not_keep_a_waiting_caller(
    threaded_gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the guard's own thread is stuck, whoever waits is denied some time after his time."""
    monkeypatch.setattr(sync_module, "_GRACE_S", 0.05)
    monkeypatch.setattr(sync_module, "OVERTIME_S", 0.05)
    gate = threaded_gate.gate
    gate.holds()
    guard = SyncGuard(gate.address, deadline=timedelta(milliseconds=50))
    with pytest.raises(Held) as raised:
        guard.authorize(*PAY, hold_timeout=0).raise_for_effect()
    runner = guard._runner
    assert runner is not None
    release = threading.Event()
    runner.loop.call_soon_threadsafe(release.wait)
    decision = raised.value.wait(timeout=0.05)
    release.set()
    guard.close()

    assert decision.reason.code == "DEADLINE"
    assert decision.is_local


SCRIPT = """
import json, os, sys
from datetime import timedelta
from sidecar.sdk import Held, SyncGuard

guard = SyncGuard(sys.argv[1], deadline=timedelta(seconds=5))
decision = guard.authorize("pay", {})
held = Held(decision)
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    child = held.wait(timeout=3600)
    os.write(writing, json.dumps([child.allowed, child.reason.metadata["cause"]]).encode())
    os._exit(0)
os.close(writing)
_, status = os.waitpid(pid, 0)
with os.fdopen(reading, "rb") as file:
    child = json.loads(file.read())
print(json.dumps([child, status, held.wait(timeout=3600).reason.code]))
guard.close()
"""


def test_held_call_of_the_parent_is_denied_in_a_forked_child(threaded_gate: Any) -> None:
    """The child has no connection to wait on; the parent goes on waiting with its own."""
    gate = threaded_gate.gate
    gate.holds()

    async def refuse(gate: Any, request: Any, context: Any) -> Any:
        return guard_pb2.WaitApprovalResponse(state="REFUSED")

    gate.on_wait = refuse
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), gate.address],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin", "GRPC_ENABLE_FORK_SUPPORT": "0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[False, "FORKED"], 0, "APPROVAL_REFUSED"]
