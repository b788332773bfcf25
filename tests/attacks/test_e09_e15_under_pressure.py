# SPDX-License-Identifier: Apache-2.0
"""E09, E15, P2, P6: a kill among floods, impatient callers, overload and a clock that steps."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import grpc

from sidecar.api.v1 import types_pb2
from tests.support.clients import refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

ALLOWED = "ALLOW POLICY_ALLOW"
KILLED = "DENY KILLED"

Make = Callable[..., Testbed]


async def test_e09_flooded_data_plane_does_not_delay_a_kill(make_bed: Make) -> None:
    """Silent connections, streams that ask nothing, calls without end: the kill takes no longer."""
    bed = make_bed().begin(["alpha", "beta"])
    path = str(bed.layout.agent_socket("alpha"))
    is_over = False

    async def flood() -> None:
        async with bed.agent() as agent:
            while not is_over:
                await asyncio.gather(*(agent.ask("note.read") for _ in range(32)))

    with ExitStack() as opened:
        for _ in range(300):
            silent = opened.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(path)
        async with (
            bed.agent() as idle,
            bed.agent("beta") as other,
            bed.operator("alice") as alice,
        ):
            streams = [idle.guard.AuthorizeStream() for _ in range(200)]
            await asyncio.gather(*(stream.wait_for_connection() for stream in streams))
            flooding = asyncio.create_task(flood())
            began = time.monotonic()
            receipt = (await alice.contain("alpha")).receipt
            took = time.monotonic() - began
            async with bed.agent() as agent:
                killed = await agent.verdict()
            bystander = await other.verdict()
            is_over = True
            await flooding
            for stream in streams:
                stream.cancel()

    assert took < 1
    assert receipt.contained
    assert (killed, bystander) == (KILLED, ALLOWED)


async def test_e15_kill_of_a_caller_who_gave_up_stands(make_bed: Make) -> None:
    """The client's deadline ends the client's waiting, not the order."""
    bed = make_bed(ack_timeout_s=1).begin(["alpha"])
    async with bed.operator("alice") as alice, bed.agent() as agent:
        bed.gates["gate"].signal(signal.SIGSTOP)  # so that the answer has to wait for it
        error = await refused(alice.contain("alpha", timeout_s=0.3))
        bed.gates["gate"].signal(signal.SIGCONT)
        verdict = await agent.verdict()

        async def is_proved() -> bool:
            standing = await alice.directives(agent="alpha")
            receipt = await alice.receipt(standing[0].epoch)
            return receipt.durable and receipt.log_index >= 0

        await eventually(is_proved, 5)

    assert error.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert verdict == KILLED


async def test_matrix_overloaded_gate_denies_and_is_killed_all_the_same(make_bed: Make) -> None:
    """More calls at once than the gate decides: OVERLOAD, a denial; and a kill is a kill."""
    bed = make_bed(max_in_flight=1).begin(["alpha"])
    async with bed.operator("alice") as alice, bed.agent() as agent:
        seen = Counter(await asyncio.gather(*(agent.verdict("note.write") for _ in range(40))))
        receipt = (await alice.contain("alpha")).receipt
        after = set(await asyncio.gather(*(agent.verdict("note.write") for _ in range(40))))

    assert seen[ALLOWED] >= 1
    assert seen["DENY OVERLOAD"] >= 1
    assert set(seen) == {ALLOWED, "DENY OVERLOAD"}
    assert receipt.contained
    assert after <= {KILLED, "DENY OVERLOAD"}
    assert KILLED in after


async def test_matrix_stepped_clock_lets_kill_and_not_release(make_bed: Make) -> None:
    """After the wall clock jumped, evidence would lie: tightening goes on, loosening waits."""
    bed = make_bed()
    bed.launch_control(breakages=["wall-clock-steps"])
    bed.launch_gate(["alpha"])
    bed.wait_control()
    bed.wait_gate("alpha")
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent() as agent:
        first = (await alice.contain("beta")).receipt.directive.epoch
        await bob.release(first)
        (bed.root / "step-now").touch()
        second = (await alice.contain("alpha")).receipt
        failed = (await bob.release(second.directive.epoch)).operation
        verdict = await agent.verdict()

    assert second.contained
    assert failed.state == types_pb2.Operation.STATE_FAILED
    assert failed.error_reason == "CLOCK_UNSTABLE"
    assert verdict == KILLED
