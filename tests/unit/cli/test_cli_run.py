# SPDX-License-Identifier: Apache-2.0
"""``holdfast run``: registered before it runs, signalled as a whole, gone when it is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.v1 import types_pb2
from sidecar.cli.exits import Exit
from sidecar.cli.runtime import AgentRuntime, start_time_of
from sidecar.internal.v1 import sync_pb2_grpc
from tests.unit.cli.cli_gate import MemoryGate
from tests.unit.cli.cli_server import Sync

DEADLINE_S = 20.0


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return what *condition* returns once it is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state != b"Z"


@pytest.fixture
def gate(host):
    """A gate of agent banking and control's internal socket."""

    async def make() -> MemoryGate:
        return MemoryGate()

    gate = host.thread.run(make())
    socket = host.layout.agent_socket("banking")
    socket.parent.mkdir(parents=True)
    host.thread.serve(gate.register, f"unix:{socket}")
    host.thread.serve(
        lambda server: sync_pb2_grpc.add_SyncServiceServicer_to_server(Sync(host.control), server),
        f"unix:{host.layout.internal_socket}",
    )
    return gate


@pytest.fixture
def started():
    """Start ``holdfast run``; whatever is left of it is killed in the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar.cli.main", "run", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.terminate()  # passed on to the agent's whole group
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def run(started, *arguments: str) -> tuple[int, str, str]:
    process = started(*arguments)
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


AGENT = """
import json, os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
# Not print(): the signal may come while the line below is still being flushed.
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"usr1\\n"))
print(json.dumps({"pid": os.getpid(), "pgid": os.getpgrp(), "sid": os.getsid(0),
                  "child": child.pid,
                  "env": {k: v for k, v in os.environ.items() if k.startswith("HOLDFAST_")}}),
      flush=True)
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    time.sleep(0.05)
"""


def test_the_command_s_own_exit_code_and_output_come_through(gate, started):
    """stdout and stderr are the command's; so is the code."""
    code, out, err = run(
        started, "--agent", "banking", "--", "sh", "-c", "echo out; echo err >&2; exit 7"
    )

    assert (code, out) == (7, "out\n")
    assert err.endswith("err\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [(["sh", "-c", "kill -9 $$"], 137), (["/no/such/file"], 127), (["/etc"], 126)],
)
def test_other_ends_have_the_codes_of_a_shell(gate, started, command, code):
    """128 + n for signal n, 127 not found, 126 not runnable."""
    assert run(started, "--agent", "banking", "--", *command)[0] == code


def test_a_program_gets_the_signals_that_programs_expect(gate, started):
    """Python ignores SIGPIPE; what it becomes must not."""
    code, out, _ = run(
        started, "--agent", "banking", "--", "sh", "-c", "grep SigIgn /proc/self/status"
    )

    assert code == 0
    assert int(out.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_the_agent_finds_its_gate_and_nothing_of_ours(gate, host, started):
    """Address and session in the environment; no state directory, no settings."""
    process = started("--agent", "banking", "--session", "s-42", "--", sys.executable, "-c", AGENT)
    told = json.loads(process.stdout.readline())

    assert told["env"] == {
        "HOLDFAST_ADDRESS": f"unix:{host.layout.agent_socket('banking')}",
        "HOLDFAST_SESSION": "s-42",
    }
    assert told["pid"] == told["pgid"] == told["sid"]
    assert gate.sessions[0] == "s-42"
    registered = host.control.runtimes[0]
    assert (registered.agent, registered.process_group) == ("banking", told["pid"])
    assert registered.leader_start_time == start_time_of(told["pid"])


def test_h_a_kill_ends_the_whole_group(gate, host, started):
    """The agent and what it started are gone; exit 3."""
    process = started("--agent", "banking", "--", sys.executable, "-c", AGENT)
    told = json.loads(process.stdout.readline())

    host.thread.run(gate.contain(types_pb2.LEVEL_KILL))
    _, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == Exit.DENIED
    assert "is killed (directives/7 \\u{1b}[31mholds it): stopping it" in err
    wait_until(lambda: not is_alive(told["pid"]), "the agent ends")
    wait_until(lambda: not is_alive(told["child"]), "its child ends")


def test_h_an_agent_that_ignores_sigterm_is_ended_after_the_grace(gate, host, started):
    """Nobody negotiates with a killed agent."""
    stubborn = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    process = started(
        "--agent", "banking", "--isolation-grace-s", "0.2", "--", sys.executable, "-c", stubborn
    )
    process.stdout.readline()

    host.thread.run(gate.contain(types_pb2.LEVEL_KILL))
    process.communicate(timeout=DEADLINE_S)

    assert process.returncode == Exit.DENIED


def test_h_freeze_keeps_the_process_for_forensics(gate, host, started):
    """Every call is denied, and the process stays to be looked at."""
    process = started("--agent", "banking", "--", sys.executable, "-c", AGENT)
    told = json.loads(process.stdout.readline())

    host.thread.run(gate.contain(types_pb2.LEVEL_FREEZE))
    os.kill(process.pid, signal.SIGUSR1)

    answer = process.stdout.readline()
    assert answer == "usr1\n", process.communicate(timeout=DEADLINE_S)
    assert is_alive(told["pid"])


def test_a_killed_agent_is_not_started_again(gate, host, started, tmp_path):
    """Restarting the command does not revive the agent."""
    host.thread.run(gate.contain(types_pb2.LEVEL_KILL))
    trace = tmp_path / "ran"

    code, _, err = run(started, "--agent", "banking", "--", "touch", str(trace))

    assert code == Exit.DENIED
    assert "not started" in err
    assert not trace.exists()


def test_signals_are_passed_on_to_the_group(gate, started):
    """SIGTERM reaches the agent, and its end is ours."""
    process = started("--agent", "banking", "--", sys.executable, "-c", AGENT)
    told = json.loads(process.stdout.readline())

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 128 + signal.SIGTERM
    wait_until(lambda: not is_alive(told["child"]), "the child of the agent ends")


def test_the_agent_does_not_outlive_its_supervisor(gate, started):
    """SIGKILL to ``holdfast run`` leaves no agent that nobody watches."""
    process = started("--agent", "banking", "--", sys.executable, "-c", AGENT)
    told = json.loads(process.stdout.readline())

    process.kill()

    wait_until(lambda: not is_alive(told["pid"]), "the agent ends with its supervisor")
    os.kill(told["child"], signal.SIGKILL)


def test_without_control_it_runs_and_says_what_is_missing(gate, host, started):
    """Not registered: on KILL it is stopped from here alone."""
    host.layout.internal_socket.unlink()

    code, _, err = run(started, "--agent", "banking", "--", "true")

    assert code == 0
    assert "warning: control does not know this runtime" in err


# -- the runtime itself ---------------------------------------------------------------------------


async def test_nothing_runs_before_go(tmp_path):
    """Registered first: the command's own code has not begun."""
    trace = tmp_path / "ran"
    runtime = await AgentRuntime.launch(["touch", str(trace)], env=dict(os.environ))

    # Empty for a moment, while the new process becomes a program.
    cmdline = Path(f"/proc/{runtime.pid}/cmdline")
    name_before = await asyncio.to_thread(wait_until, cmdline.read_bytes, "the program starts")
    existed_before = trace.exists()
    runtime.go()
    code = await runtime.wait()

    assert b"launch" in name_before
    assert not existed_before
    assert code == 0
    assert trace.exists()


async def test_nothing_runs_before_go_negative_control(tmp_path, monkeypatch):
    """A launcher that does not wait lets the command run unregistered."""
    trace = tmp_path / "ran"
    hasty = tmp_path / "hasty.py"
    hasty.write_text("import os, sys\nos.execvp(sys.argv[2], sys.argv[2:])\n")
    monkeypatch.setattr("sidecar.cli.runtime.launch.__file__", str(hasty))

    command = ["sh", "-c", f"touch '{trace}'; exec sleep 60"]
    runtime = await AgentRuntime.launch(command, env=dict(os.environ))
    await asyncio.to_thread(wait_until, trace.exists, "the command runs")

    assert trace.exists()
    await runtime.stop(grace_s=1.0)


async def test_without_go_it_never_runs(tmp_path):
    """A supervisor that gives up before go leaves nothing behind."""
    trace = tmp_path / "ran"
    runtime = await AgentRuntime.launch(["touch", str(trace)], env=dict(os.environ))

    await runtime.stop(grace_s=1.0)

    assert not trace.exists()
    assert not is_alive(runtime.pid)


async def test_stopping_reaches_members_that_outlive_their_leader():
    """The leader ends at once; its background child is in the group and ends too."""
    runtime = await AgentRuntime.launch(["sh", "-c", "sleep 60 & exit 0"], env=dict(os.environ))
    runtime.go()
    await runtime.wait()
    members = [pid for pid in _pids() if _group(pid) == runtime.pid]

    await runtime.stop(grace_s=0.1)

    assert members
    await asyncio.to_thread(
        wait_until, lambda: not any(is_alive(pid) for pid in members), "the rest of the group ends"
    )


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
