# SPDX-License-Identifier: Apache-2.0
"""Receipts, replay and isolation: what an operator can show afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sidecar.api.v1 import containment_pb2, types_pb2
from sidecar.cli.runtime import start_time_of
from sidecar.containment.receipt import verify_receipt
from sidecar.errors import IntegrityError
from sidecar.internal.v1 import sync_pb2, sync_pb2_grpc
from tests.support.clients import ControlClient, refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

STATE = types_pb2.Receipt.GateItem


def _public_key(bed: Testbed):  # type: ignore[no-untyped-def]
    return load_pem_private_key(bed.layout.signing_key.read_bytes(), None).public_key()


# -- receipts -------------------------------------------------------------------------------------


async def test_receipt_verifies_with_controls_key(bed: Testbed) -> None:
    """The signature covers directive, gates and log position; a changed byte voids it."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        await agent.ask()
        before = time.time_ns()
        receipt = (await alice.contain(name, "FREEZE")).receipt

    proved = verify_receipt(receipt.signed_json, receipt.signature, _public_key(bed))
    assert proved.directive.target.agent == name
    assert proved.directive.epoch == receipt.directive.epoch
    assert proved.is_durable
    assert proved.is_contained
    assert [(g.gate, g.standing.value) for g in proved.gates if g.gate == "gate"] == [
        ("gate", "ENFORCED")
    ]
    assert proved.log_index == receipt.log_index >= 0
    assert proved.last_allow_time_ns is not None
    assert proved.last_allow_time_ns < before
    forged = receipt.signed_json.replace(b'"contained":true', b'"contained":null')
    assert forged != receipt.signed_json
    with pytest.raises(IntegrityError):
        verify_receipt(forged, receipt.signature, _public_key(bed))


async def test_receipt_names_a_gate_that_is_gone(make_bed: Callable[..., Testbed]) -> None:
    """A gate that was killed is listed as disconnected, and the target is not called contained."""
    bed = make_bed().begin(["alpha"])
    async with bed.operator("alice") as alice:
        bed.gates["gate"].kill()

        async def is_alone() -> types_pb2.Receipt | None:
            receipt = (await alice.contain("beta", "OBSERVE")).receipt
            return receipt if receipt.gates[0].state == STATE.STATE_DISCONNECTED else None

        receipt = await eventually(is_alone, 5)
        assert not receipt.contained
        assert receipt.durable

        bed.launch_gate(["alpha"])
        bed.wait_gate("alpha")
        epoch = receipt.directive.epoch

        async def has_caught_up() -> types_pb2.Receipt | None:
            later = await alice.receipt(epoch)
            return later if later.contained else None

        later = await eventually(has_caught_up, 5)
    assert later.gates[0].state == STATE.STATE_ENFORCED


async def test_receipt_names_a_laggard(make_bed: Callable[..., Testbed]) -> None:
    """A gate that is connected and hangs is a laggard, and the answer does not wait for it."""
    bed = make_bed(ack_timeout_s=0.2).begin(["alpha"])
    async with bed.operator("alice") as alice:
        bed.gates["gate"].signal(signal.SIGSTOP)
        began = time.monotonic()
        receipt = (await alice.contain("alpha")).receipt
        took = time.monotonic() - began
        bed.gates["gate"].signal(signal.SIGCONT)

        async def has_caught_up() -> bool:
            return (await alice.receipt(receipt.directive.epoch)).contained

        await eventually(has_caught_up, 5)

    assert [gate.state for gate in receipt.gates] == [STATE.STATE_LAGGARD]
    assert not receipt.contained
    assert took < 2


async def test_receipt_of_what_was_released_says_so(bed: Testbed) -> None:
    """Whoever asks for it later is not told that the directive stands."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice:
        receipt = (await alice.contain(name, "FREEZE")).receipt
        epoch = receipt.directive.epoch
        await alice.release(epoch)

        later = await alice.receipt(epoch)

    assert receipt.directive.state == types_pb2.Directive.STATE_ACTIVE
    assert later.directive.state == types_pb2.Directive.STATE_RELEASED
    assert not later.contained


# -- replay ---------------------------------------------------------------------------------------


async def _verify(client: ControlClient, name: str) -> containment_pb2.VerifyContainmentResponse:
    return await client.containment.VerifyContainment(
        containment_pb2.VerifyContainmentRequest(agent=name, max_calls=50)
    )


async def test_replay_proves_a_kill_and_disproves_nothing(bed: Testbed) -> None:
    """The last calls are decided again: all of them are denied now, and nothing new is recorded."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        empty = await _verify(alice, name)
        asked = [await agent.ask("note.read"), await agent.ask("note.write", {"text": "x"})]
        asked.append(await agent.ask("note.forbidden"))
        free = await _verify(alice, name)
        await alice.contain(name)
        proved = await _verify(alice, name)
        counts = dict((await alice.agent(name)).decision_counts)

    assert not empty.contained
    assert not free.contained
    assert "STILL ALLOWED" in free.statement
    assert proved.contained
    assert [item.decision_id for item in proved.items] == [d.decision_id for d in asked[::-1]]
    assert {item.reason.code for item in proved.items} == {"KILLED"}
    assert sum(counts.values()) <= 3


async def test_replay_proves_a_kill_after_the_gate_was_restarted(
    make_bed: Callable[..., Testbed],
) -> None:
    """The gate forgot the arguments; the kill is proved from its log all the same."""
    bed = make_bed().begin(["alpha"])
    async with bed.operator("alice") as alice:
        async with bed.agent() as agent:
            decision = await agent.ask("note.write", {"text": "x"})
        bed.gates["gate"].kill()
        bed.launch_gate(["alpha"])
        bed.wait_gate("alpha")
        await alice.contain("alpha")

        async def proved() -> containment_pb2.VerifyContainmentResponse | None:
            answer = await _verify(alice, "alpha")
            return answer if answer.contained else None

        answer = await eventually(proved, 5)

    assert decision.decision_id in {item.decision_id for item in answer.items}


async def test_replay_of_an_agent_without_a_gate_proves_nothing(bed: Testbed) -> None:
    """Nobody can be asked, so nothing is claimed."""
    async with bed.operator("alice") as alice:
        error = await refused(_verify(alice, "has-no-gate"))
        bad = await refused(
            alice.containment.VerifyContainment(
                containment_pb2.VerifyContainmentRequest(agent="alpha", max_calls=100_000)
            )
        )

    assert error.code.name == "NOT_FOUND"
    assert bad.code.name == "INVALID_ARGUMENT"


# -- isolation ------------------------------------------------------------------------------------

_OBEDIENT = "import time; time.sleep(1000)"
_DEAF = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print(flush=True)
time.sleep(1000)
"""


@pytest.fixture
def runtime() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start Python programs in process groups of their own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def _register(bed: Testbed, agent: str, process: subprocess.Popen[bytes]) -> None:
    async with grpc.aio.insecure_channel(bed.internal_address) as channel:
        await sync_pb2_grpc.SyncServiceStub(channel).RegisterRuntime(
            sync_pb2.RegisterRuntimeRequest(
                agent=agent,
                process_group=process.pid,
                leader=process.pid,
                leader_start_time=start_time_of(process.pid),
            )
        )


async def _isolated(client: ControlClient, epoch: int) -> list[types_pb2.Receipt.IsolationItem]:
    async def done() -> list[types_pb2.Receipt.IsolationItem] | None:
        items = list((await client.receipt(epoch)).isolation)
        return items if items and all(item.result != "RUNNING" for item in items) else None

    return await eventually(done, 10)


async def test_kill_ends_the_registered_process_group(
    bed: Testbed, runtime: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """KILL stops the agent's runtime, and the receipt says per runtime what became of it."""
    name = bed.fresh_agent()
    process, bystander = runtime(_OBEDIENT), runtime(_OBEDIENT)
    await _register(bed, name, process)
    await _register(bed, bed.fresh_agent(), bystander)
    async with bed.operator("alice") as alice:
        epoch = (await alice.contain(name)).receipt.directive.epoch
        items = await _isolated(alice, epoch)
        receipt = await alice.receipt(epoch)
    await asyncio.to_thread(process.wait, 10)

    assert process.returncode == -signal.SIGTERM
    assert bystander.poll() is None
    assert [(i.driver, i.result) for i in items] == [("process_group", "TERMINATED")]
    assert items[0].subject == f"pgid {process.pid} (agent {name})"
    proved = verify_receipt(receipt.signed_json, receipt.signature, _public_key(bed))
    assert [item.result.value for item in proved.isolation] == ["TERMINATED"]


async def test_kill_ends_a_group_that_ignores_sigterm(
    make_bed: Callable[..., Testbed], runtime: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """After the grace the whole group, children included, gets SIGKILL."""
    bed = make_bed(isolation_grace_s=0.2).begin(["alpha"])
    process = runtime(_DEAF)
    assert process.stdout is not None
    process.stdout.readline()
    await _register(bed, "alpha", process)
    async with bed.operator("alice") as alice:
        epoch = (await alice.contain("alpha")).receipt.directive.epoch
        items = await _isolated(alice, epoch)
    await asyncio.to_thread(process.wait, 10)

    assert process.returncode == -signal.SIGKILL
    assert [i.result for i in items] == ["KILLED"]
    assert not _group_members(process.pid)


async def test_freeze_leaves_the_process_for_forensics(
    bed: Testbed, runtime: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """FREEZE denies everything and stops nothing."""
    name = bed.fresh_agent()
    process = runtime(_OBEDIENT)
    await _register(bed, name, process)
    async with bed.operator("alice") as alice:
        receipt = (await alice.contain(name, "FREEZE")).receipt

    assert process.poll() is None
    assert not receipt.isolation


async def test_runtime_registered_after_the_kill_is_stopped_too(
    bed: Testbed, runtime: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """A killed agent that is started again is stopped again."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice:
        await alice.contain(name)
    process = runtime(_OBEDIENT)
    await _register(bed, name, process)

    await asyncio.to_thread(process.wait, 10)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    "change", [{"process_group": 1}, {"leader_start_time": 1}, {"leader": 2**31}, {"agent": "../x"}]
)
async def test_registration_of_what_is_not_a_runtime_is_refused(
    bed: Testbed, runtime: Callable[[str], subprocess.Popen[bytes]], change: dict[str, object]
) -> None:
    """Somebody else's process, init, or a name that is none: control would never signal it."""
    process = runtime(_OBEDIENT)
    good: dict[str, object] = {
        "agent": "alpha",
        "process_group": process.pid,
        "leader": process.pid,
        "leader_start_time": start_time_of(process.pid),
    }
    async with grpc.aio.insecure_channel(bed.internal_address) as channel:
        error = await refused(
            sync_pb2_grpc.SyncServiceStub(channel).RegisterRuntime(
                sync_pb2.RegisterRuntimeRequest(**{**good, **change})
            )
        )

    assert error.code.name == "INVALID_ARGUMENT"


def _group_members(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != b"Z":
                found.append(int(entry.name))
    return found
