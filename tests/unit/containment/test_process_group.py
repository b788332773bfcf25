# SPDX-License-Identifier: Apache-2.0
"""Stopping the process group of a runtime, on real processes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.containment import process_group
from sidecar.containment.isolation import IsolationDriver, IsolationItem, IsolationResult
from sidecar.containment.process_group import ProcessGroupDriver
from sidecar.errors import UntrustedInputError

OBEDIENT = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(60)"
)
# A leader that obeys, with a child in its group that does not.
FAMILY = (
    "import os, signal, time\n"
    "if os.fork() == 0:\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    print('up', os.getpid(), flush=True)\n"
    "    time.sleep(60)\n"
    "time.sleep(60)\n"
)
# A leader whose first thread ends while another goes on.
HEADLESS = (
    "import ctypes, signal, threading, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "threading.Thread(target=time.sleep, args=(60,)).start()\n"
    "print('up', flush=True)\n"
    "ctypes.CDLL(None).pthread_exit(None)\n"
)
# A leader that obeys, with such a child.
HEADLESS_CHILD = (
    "import ctypes, os, signal, threading, time\n"
    "if os.fork() == 0:\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
    "    print('up', os.getpid(), flush=True)\n"
    "    ctypes.CDLL(None).pthread_exit(None)\n"
    "time.sleep(60)\n"
)


def start_time(pid: int) -> int:
    """Return field 22 of a process's stat."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def is_running(pid: int) -> bool:
    """Return whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Runtime:
    """A runtime in a process group of its own, and what it said when it was up."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, process_group=0
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().split()
        self.pid = self.process.pid

    def end(self) -> None:
        """Take everything of the group away."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def run() -> Iterator[Callable[[str], Runtime]]:
    """Start runtimes that are gone after the test."""
    started: list[Runtime] = []

    def start(code: str) -> Runtime:
        started.append(Runtime(code))
        return started[-1]

    yield start
    for runtime in started:
        runtime.end()


@pytest.fixture
def driver() -> Iterator[ProcessGroupDriver]:
    """A driver of little patience."""
    made = ProcessGroupDriver(grace_s=0.3, kill_wait_s=5)
    yield made
    made.close()


def register(driver: ProcessGroupDriver, runtime: Runtime, agent: str = "banking") -> None:
    """Register a runtime as its gate would."""
    driver.register(
        agent=agent,
        process_group=runtime.pid,
        leader=runtime.pid,
        leader_start_time=start_time(runtime.pid),
    )


async def stop(driver: ProcessGroupDriver) -> IsolationItem:
    """Isolate the one runtime of banking."""
    (item,) = await driver.isolate(["banking"])
    return item


async def test_obedient_runtime_is_terminated(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """A group that ends on SIGTERM is not killed, and does not cost the whole grace."""
    runtime = run(OBEDIENT)
    patient = ProcessGroupDriver(grace_s=30)
    register(patient, runtime)
    begin = time.monotonic()

    item = await stop(patient)

    assert item.result is IsolationResult.TERMINATED
    assert (item.driver, item.subject) == (
        "process_group",
        f"pgid {runtime.pid} (agent banking)",
    )
    assert not is_running(runtime.pid)
    assert time.monotonic() - begin < 10
    patient.close()


async def test_stubborn_runtime_is_killed(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """A group that ignores SIGTERM is killed after the grace."""
    runtime = run(STUBBORN)
    register(driver, runtime)

    item = await stop(driver)

    assert item.result is IsolationResult.KILLED
    assert runtime.process.wait(timeout=5) == -signal.SIGKILL


async def test_child_in_the_group_is_stopped_too(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """The leader's end is not the group's: its stubborn child is found and killed."""
    runtime = run(FAMILY)
    child = int(runtime.said[1])
    register(driver, runtime)

    item = await stop(driver)

    assert item.result is IsolationResult.KILLED
    assert not is_running(child)


async def test_leader_that_has_ended_does_not_hide_its_children(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """A leader that was reaped before the kill leaves a group that is still stopped."""
    runtime = run(FAMILY)
    child = int(runtime.said[1])
    register(driver, runtime)
    os.kill(runtime.pid, signal.SIGKILL)
    runtime.process.wait()

    item = await stop(driver)

    assert item.result is IsolationResult.KILLED
    assert not is_running(child)


async def test_leader_without_its_first_thread_is_not_taken_for_dead(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """A process that only looks like a zombie goes on running, and is killed."""
    runtime = run(HEADLESS)
    register(driver, runtime)

    item = await stop(driver)

    assert item.result is IsolationResult.KILLED
    assert runtime.process.wait(timeout=5) == -signal.SIGKILL


async def test_child_without_its_first_thread_is_not_taken_for_dead(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """Not only the leader can look like a zombie and go on."""
    runtime = run(HEADLESS_CHILD)
    child = int(runtime.said[1])
    pidfd = os.pidfd_open(child)
    register(driver, runtime)

    item = await stop(driver)

    assert item.result is IsolationResult.KILLED
    assert select.select([pidfd], [], [], 5)[0] == [pidfd]
    os.close(pidfd)


async def test_runtime_that_is_gone_is_said_to_be(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """Nothing left to stop is a result of its own."""
    runtime = run(OBEDIENT)
    register(driver, runtime)
    runtime.end()

    assert (await stop(driver)).result is IsolationResult.ALREADY_GONE


async def test_h04_reused_process_id_is_left_alone(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the number belongs to another process now, that one is not signalled."""
    runtime = run(OBEDIENT)
    register(driver, runtime)
    real = process_group._look_at

    def younger(pid: int) -> process_group._Process | None:
        found = real(pid)
        if found is None or pid != runtime.pid:
            return found
        return process_group._Process(
            pid, found.group, found.start_time + 1, found.uid, found.is_dead
        )

    monkeypatch.setattr(process_group, "_look_at", younger)

    item = await stop(driver)

    assert item.result is IsolationResult.SKIPPED_IDENTITY_CHANGED
    assert is_running(runtime.pid)


async def test_h04_reused_process_id_negative_control(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """A registration that names the living process is acted upon: the start time is what protects."""
    runtime = run(OBEDIENT)
    register(driver, runtime)

    await stop(driver)

    assert not is_running(runtime.pid)


async def test_old_kernel_signals_by_number_while_a_member_lives(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a pidfd cannot signal its group, the number does, held in place by a living member."""
    runtime = run(FAMILY)
    child = int(runtime.said[1])
    register(driver, runtime)
    real = signal.pidfd_send_signal

    def old(pidfd: int, number: int, info: None = None, flags: int = 0) -> None:
        if flags:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(pidfd, number)

    monkeypatch.setattr(signal, "pidfd_send_signal", old)

    item = await stop(driver)

    assert item.result is IsolationResult.KILLED
    assert not is_running(runtime.pid)
    assert not is_running(child)


async def test_runtime_that_may_not_be_signalled_is_a_failure(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal by the kernel is said, and raises nothing."""
    register(driver, run(OBEDIENT))

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refused)

    item = await stop(driver)

    assert item.result is IsolationResult.FAILED
    assert "not permitted" in item.detail


async def test_runtime_that_does_not_even_end_on_sigkill_is_a_failure(
    run: Callable[[str], Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process stuck in the kernel is not called stopped."""
    runtime = run(OBEDIENT)
    driver = ProcessGroupDriver(grace_s=0.05, kill_wait_s=0.05)
    register(driver, runtime)
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)

    item = await stop(driver)

    assert item.result is IsolationResult.FAILED
    assert "still there" in item.detail
    driver.close()


async def test_each_runtime_has_its_own_result(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """Several runtimes of several agents are stopped at once; others are left alone."""
    runtimes = {name: run(OBEDIENT) for name in ("banking", "mail", "other")}
    second = run(STUBBORN)
    for name, runtime in runtimes.items():
        register(driver, runtime, name)
    register(driver, second)
    register(driver, second)

    assert [item.result for item in driver.pending(["banking"])] == [IsolationResult.RUNNING] * 2
    items = await driver.isolate(["mail", "banking", "banking"])

    assert sorted(item.result for item in items) == ["KILLED", "TERMINATED", "TERMINATED"]
    assert is_running(runtimes["other"].pid)
    assert await driver.isolate(["nobody"]) == []


@pytest.mark.parametrize("problem", ["self", "one", "zero", "start", "group", "gone", "huge"])
def test_what_must_not_be_stopped_is_not_registered(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime], problem: str
) -> None:
    """Control's own group, init, and anything that is not what it is said to be are refused."""
    runtime = run(OBEDIENT)
    group = leader = runtime.pid
    began = start_time(runtime.pid)
    match problem:
        case "self":
            group, leader, began = os.getpgrp(), os.getpid(), start_time(os.getpid())
        case "one":
            group = leader = 1
        case "zero":
            group = leader = 0
        case "start":
            began += 1
        case "group":
            group = os.getpgrp() + 1
        case "gone":
            runtime.end()
        case _:
            leader = 2**40

    with pytest.raises(UntrustedInputError):
        driver.register(
            agent="banking", process_group=group, leader=leader, leader_start_time=began
        )
    assert driver.pending(["banking"]) == []


def test_runtime_of_another_user_is_not_registered(run: Callable[[str], Runtime]) -> None:
    """Where the agent's user is known, nobody else's process can be put in its place."""
    runtime = run(OBEDIENT)
    strict = ProcessGroupDriver(uid_of=lambda _: os.getuid() + 1)
    right = ProcessGroupDriver(uid_of=lambda _: os.getuid())

    with pytest.raises(UntrustedInputError, match="another user"):
        register(strict, runtime)
    register(right, runtime)
    right.close()


def test_agent_has_a_bounded_number_of_runtimes(
    driver: ProcessGroupDriver,
    run: Callable[[str], Runtime],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Registering without end is refused, but room of ended runtimes is used again."""
    monkeypatch.setattr(process_group, "_MAX_PER_AGENT", 2)
    runtimes = [run(OBEDIENT) for _ in range(3)]
    for runtime in runtimes[:2]:
        register(driver, runtime)

    with pytest.raises(UntrustedInputError, match="at most"):
        register(driver, runtimes[2])
    runtimes[0].end()
    register(driver, runtimes[2])

    assert len(driver.pending(["banking"])) == 2


def test_driver_is_a_driver(driver: ProcessGroupDriver) -> None:
    """The driver fits the protocol of all drivers."""
    as_protocol: IsolationDriver = driver

    assert as_protocol.name == "process_group"


async def test_stopping_does_not_block_the_loop(
    driver: ProcessGroupDriver, run: Callable[[str], Runtime]
) -> None:
    """While a group takes its grace, the loop turns."""
    register(driver, run(STUBBORN))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    other = asyncio.create_task(turn())
    await stop(driver)
    other.cancel()

    assert turns > 5
