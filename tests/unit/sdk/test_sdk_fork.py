# SPDX-License-Identifier: Apache-2.0
"""A forked child never uses its parent's connection, and neither hangs nor crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

PROLOGUE = """
import asyncio, json, os, sys
from datetime import timedelta
from sidecar.sdk import Guard, SyncGuard

address = sys.argv[1]
guard = SyncGuard(address, deadline=timedelta(seconds=5))

def told(decision):
    return [decision.allowed, decision.is_local, decision.reason.metadata.get("cause", "")]

def in_child(work):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        answer = work()
        os.write(writing, json.dumps(answer).encode())
        os.close(writing)
        sys.exit(0)                      # a full shutdown of the interpreter, with its destructors
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(data), status
"""


def run(gate: Any, script: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(script), gate.gate.address],
        cwd=REPOSITORY,
        # Without this gRPC's own handlers crash some children, whatever they do.
        env=os.environ | {"GRPC_ENABLE_FORK_SUPPORT": "0"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_child_of_a_connected_process_denies(threaded_gate: Any) -> None:
    """The child denies in every form and ends cleanly; the parent goes on with its connection."""
    answer = run(
        threaded_gate,
        """
        first = told(guard.authorize("parent", {}))

        def work():
            kept = told(guard.authorize("child", {}))
            new = told(SyncGuard(address).authorize("child", {}))
            fresh = Guard(address)
            async def one():
                return told(await fresh.authorize("child", {}))
            return [kept, new, asyncio.run(one())]

        child, status = in_child(work)
        print(json.dumps([first, child, status, told(guard.authorize("parent", {}))]))
        """,
    )

    denied = [False, True, "FORKED"]
    assert answer == [[True, False, ""], [denied, denied, denied], 0, [True, False, ""]]
    assert {q.request.tool_call.tool for q in threaded_gate.gate.questions} == {"parent"}
    assert threaded_gate.gate.streams == 1


def test_child_forked_inside_a_running_loop_denies(threaded_gate: Any) -> None:
    """Also a fork in the middle of the asynchronous guard's own loop leaves the child without it."""
    answer = run(
        threaded_gate,
        """
        async def main():
            async with Guard(address, deadline=timedelta(seconds=2)) as shared:
                first = told(await shared.authorize("parent", {}))
                reading, writing = os.pipe()
                pid = os.fork()
                if pid == 0:
                    async def one():
                        return told(await shared.authorize("child", {}))
                    asyncio._set_running_loop(None)
                    loop = asyncio.new_event_loop()
                    os.write(writing, json.dumps(loop.run_until_complete(one())).encode())
                    os._exit(0)
                os.close(writing)
                _, status = os.waitpid(pid, 0)
                with os.fdopen(reading, "rb") as file:
                    child = json.loads(file.read())
                return [first, child, status, told(await shared.authorize("parent", {}))]

        print(json.dumps(asyncio.run(main())))
        """,
    )

    assert answer == [[True, False, ""], [False, True, "FORKED"], 0, [True, False, ""]]


def test_child_of_an_unconnected_process_connects(threaded_gate: Any) -> None:
    """A guard that had not connected yet works in each child on its own, as in pre-fork servers."""
    answer = run(
        threaded_gate,
        """
        children = [in_child(lambda: told(guard.authorize("child", {}))) for _ in range(2)]
        print(json.dumps([children, told(guard.authorize("parent", {}))]))
        """,
    )

    allowed = [True, False, ""]
    assert answer == [[[allowed, 0], [allowed, 0]], allowed]
    assert threaded_gate.gate.streams == 3


def test_outcome_of_a_permit_in_the_child_is_not_sent(threaded_gate: Any) -> None:
    """A permit obtained before the fork reports nothing from the child, and does not crash it."""
    answer = run(
        threaded_gate,
        """
        call = guard.call("parent")
        call.__enter__()

        def work():
            call.__exit__(None, None, None)
            return "alive"

        child, status = in_child(work)
        call.__exit__(None, None, None)
        guard.close()
        print(json.dumps([child, status]))
        """,
    )

    assert answer == ["alive", 0]
    assert len(threaded_gate.gate.outcomes) == 1


@pytest.mark.parametrize("is_buried", [True, False], ids=["buried", "negative_control"])
def test_child_can_end_although_its_parent_never_closed(
    threaded_gate: Any, is_buried: bool
) -> None:
    """Freeing the parent's channel in the child waits for ever; buried, it is never freed."""
    answer = run(
        threaded_gate,
        f"""
        import gc, signal
        from sidecar.sdk import _fork

        class Forgetful(list):
            def append(self, item):
                pass

        if not {is_buried}:
            _fork._state.graveyard = Forgetful()
        shared = Guard(address, deadline=timedelta(seconds=5))

        async def one():
            return told(await shared.authorize("parent", {{}}))

        first = asyncio.run(one())

        def work():
            global shared
            signal.alarm(2)
            del shared
            gc.collect()
            signal.alarm(5)
            return "alive"

        try:
            print(json.dumps([first, *in_child(work)]))
        except ValueError:
            print(json.dumps("no answer from the child"))
        """,
    )

    alive = [[True, False, ""], "alive", 0]
    assert answer == (alive if is_buried else "no answer from the child")


def test_fork_negative_control(threaded_gate: Any) -> None:
    """Without burying, the child asks on its parent's connection and gets no answer."""
    answer = run(
        threaded_gate,
        """
        from sidecar.sdk import _fork
        _fork._after_in_child.__code__ = (lambda: None).__code__

        shared = Guard(address, deadline=timedelta(milliseconds=300))
        loop = asyncio.new_event_loop()
        loop.run_until_complete(shared.authorize("parent", {}))
        pid = os.fork()
        if pid == 0:
            decision = loop.run_until_complete(shared.authorize("child", {}))
            os._exit(9 if decision.reason.metadata.get("cause") == "FORKED" else 0)
        print(json.dumps(os.waitpid(pid, 0)[1]), flush=True)
        os._exit(0)
        """,
    )

    assert answer != 9 << 8


def test_whatever_grpc_does_to_a_child_it_is_not_allowed(threaded_gate: Any) -> None:
    """With gRPC's default fork handlers a child may crash, but it never gets an ALLOW."""
    script = """
    guard.authorize("parent", {})
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            print("ALLOWED" if guard.authorize("child", {}).allowed else "denied", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
    os._exit(0)
    """
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(script), threaded_gate.gate.address],
        cwd=REPOSITORY,
        env={k: v for k, v in os.environ.items() if k != "GRPC_ENABLE_FORK_SUPPORT"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert "denied" in done.stdout
    assert "ALLOWED" not in done.stdout
    assert {q.request.tool_call.tool for q in threaded_gate.gate.questions} == {"parent"}


@pytest.mark.parametrize("statement", ["import sidecar.sdk", "import sidecar.sdk.testing"])
def test_importing_registers_nothing(statement: str) -> None:
    """Importing the SDK leaves the process as it was: no fork hook, no thread."""
    script = f"""
import asyncio, logging, os, random, threading
hooks = []
os.register_at_fork = lambda **given: hooks.append(given)
{statement}
assert hooks == [], hooks
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, timeout=20)
