# SPDX-License-Identifier: Apache-2.0
"""P10: a gate that lies can at worst lie about its own agents; it commands nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import (
    agent_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    policy_pb2,
    token_pb2,
    types_pb2,
)
from sidecar.internal.v1 import sync_pb2, sync_pb2_grpc
from tests.support.clients import refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

Hello = sync_pb2.SyncRequest.Hello


@asynccontextmanager
async def _impostor(bed: Testbed, **hello: Any) -> AsyncIterator[Any]:
    """Open the internal stream as a gate that says *hello*."""
    async with grpc.aio.insecure_channel(bed.internal_address) as channel:
        stream = sync_pb2_grpc.SyncServiceStub(channel).Sync()
        await stream.write(sync_pb2.SyncRequest(hello=Hello(**hello)))
        yield stream
        stream.cancel()


@pytest.mark.parametrize(
    "hello",
    [
        {"gate": "../../etc/x", "agents": ["evil"]},
        {"gate": "a/b", "agents": ["evil"]},
        {"gate": "", "agents": ["evil"]},
        {"gate": "control\n", "agents": ["evil"]},
        {"gate": "control", "agents": ["evil"]},
        {"gate": "evil", "agents": ["al pha"]},
        {"gate": "evil", "agents": ["alpha", "../beta"]},
    ],
)
async def test_p10_names_that_are_none_are_refused(bed: Testbed, hello: dict[str, Any]) -> None:
    """A gate's id becomes the name of a log and of a file: nothing but a name passes."""
    async with _impostor(bed, **hello) as stream:
        error = await refused(stream.read())

    assert error.code == grpc.StatusCode.INVALID_ARGUMENT


async def test_p10_first_message_must_say_who(bed: Testbed) -> None:
    """Nothing is sent to a stream that does not introduce itself."""
    async with grpc.aio.insecure_channel(bed.internal_address) as channel:
        stream = sync_pb2_grpc.SyncServiceStub(channel).Sync()
        await stream.write(sync_pb2.SyncRequest(ack=sync_pb2.SyncRequest.Ack(epoch=1)))
        error = await refused(stream.read())

    assert error.code == grpc.StatusCode.INVALID_ARGUMENT


async def test_p10_name_of_a_connected_gate_cannot_be_taken(bed: Testbed) -> None:
    """The gate that is there stays the one that acknowledges; a receipt does not lie."""
    async with _impostor(bed, gate="gate", agents=["alpha"]) as stream:
        error = await refused(stream.read())
    async with bed.operator("alice") as alice:
        receipt = (await alice.contain(bed.fresh_agent(), "OBSERVE")).receipt

    assert error.code == grpc.StatusCode.ALREADY_EXISTS
    assert [gate.state for gate in receipt.gates if gate.gate == "gate"] == [
        types_pb2.Receipt.GateItem.STATE_ENFORCED
    ]


async def test_p10_what_it_says_of_other_agents_is_dropped(bed: Testbed) -> None:
    """Calls and last allows of agents that the gate did not name as its own are not believed."""
    name = bed.fresh_agent()
    seen = sync_pb2.SyncRequest.Inventory.Seen
    async with (
        bed.operator("alice") as alice,
        _impostor(bed, gate="liar", agents=["liars-agent"]) as stream,
    ):
        await stream.read()
        await stream.write(
            sync_pb2.SyncRequest(
                inventory=sync_pb2.SyncRequest.Inventory(
                    seen=[
                        seen(agent=name, tool="forged.tool", calls=99, effects={"ALLOW": 99}),
                        seen(agent="liars-agent", tool="own.tool", calls=1),
                    ]
                )
            )
        )

        async def arrived() -> list[agent_pb2.Tool] | None:
            answer = await alice.agents.ListTools(agent_pb2.ListToolsRequest(page_size=1000))
            names = {tool.tool for tool in answer.tools}
            return list(answer.tools) if "own.tool" in names else None

        tools = await eventually(arrived, 5)
        forged = {"last_allow_time_ns": {name: 2**62}}
        await stream.write(
            sync_pb2.SyncRequest(ack=sync_pb2.SyncRequest.Ack(epoch=2**62, **forged))
        )
        receipt = (await alice.contain(name, "OBSERVE")).receipt
        counts = dict((await alice.agent(name)).decision_counts)

    assert "forged.tool" not in {tool.tool for tool in tools}
    assert not counts
    assert not receipt.HasField("last_allow_time")


async def test_p10_replay_that_makes_no_sense_proves_nothing(bed: Testbed) -> None:
    """An answer with columns of different lengths is an error, not a proof and not a crash."""
    async with (
        bed.operator("alice") as alice,
        _impostor(bed, gate="garbler", agents=["garbled-agent"]) as stream,
    ):
        await stream.read()
        asked = asyncio.create_task(
            refused(
                alice.containment.VerifyContainment(
                    containment_pb2.VerifyContainmentRequest(agent="garbled-agent")
                )
            )
        )
        while True:
            message = await stream.read()
            if message.WhichOneof("kind") == "replay":
                break
        await stream.write(
            sync_pb2.SyncRequest(
                replayed=sync_pb2.SyncRequest.Replayed(
                    id=message.replay.id, tools=["x"], decision_ids=["a", "b"]
                )
            )
        )
        error = await asked

    assert (error.code.name, error.reason) == ("UNAVAILABLE", "MALFORMED")


async def test_p10_internal_socket_has_no_lever(bed: Testbed) -> None:
    """A gate can say hello, and register a runtime; it cannot contain, release or read."""
    modules = (agent_pb2, approval_pb2, audit_pb2, containment_pb2, policy_pb2, token_pb2)
    paths = [
        f"/{service.full_name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    async with grpc.aio.insecure_channel(bed.internal_address) as channel:
        errors = [await refused(channel.unary_unary(path)(b"", timeout=5)) for path in paths]

    assert {error.code for error in errors} == {grpc.StatusCode.UNIMPLEMENTED}


async def test_p10_a_silent_gate_delays_neither_kill_nor_policy(
    make_bed: Callable[..., Testbed],
) -> None:
    """A gate that reads nothing and answers nothing is a laggard, and holds nobody up for long."""
    bed = make_bed(ack_timeout_s=0.2).begin(["alpha"])
    async with (
        bed.operator("alice") as alice,
        bed.operator("carol") as carol,
        bed.agent() as agent,
        _impostor(bed, gate="silent", agents=["silent-agent"]) as stream,
    ):
        await stream.read()
        receipt = (await alice.contain("beta", "OBSERVE")).receipt
        bed.write_bundle(unless='principal == Agent::"alpha"')
        reloaded = await carol.reload()
        verdict = await agent.verdict()

    states = {gate.gate: gate.state for gate in receipt.gates}
    assert states["gate"] == types_pb2.Receipt.GateItem.STATE_ENFORCED
    assert states["silent"] == types_pb2.Receipt.GateItem.STATE_LAGGARD
    assert not receipt.contained
    assert reloaded.changed
    assert verdict == "DENY NO_POLICY_ALLOWS"
