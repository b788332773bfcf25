# SPDX-License-Identifier: Apache-2.0
"""E08, P1, P2: a kill in the middle of many calls: none that starts after its receipt is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.support.clients import AgentClient, ControlClient, codes, effect
from tests.support.testbed import Testbed

IN_FLIGHT = 64
KILLS = 100
PROBES = 8


@dataclass(slots=True)
class Load:
    """Calls that never stop, and when each began, ended and how."""

    clients: list[AgentClient]
    calls: list[tuple[float, float, str, str]] = field(default_factory=list)
    is_over: bool = False

    async def run(self) -> None:
        """Keep ``IN_FLIGHT`` calls going until ``is_over``."""
        await asyncio.gather(*(self._call(number) for number in range(IN_FLIGHT)))

    async def _call(self, number: int) -> None:
        client = self.clients[number % len(self.clients)]
        # Writing tools wait for the disk between decision and answer; reading ones do not.
        tool = ("note.write", "note.read")[number % 2]
        while not self.is_over:
            await self.ask(client, tool)

    async def ask(self, client: AgentClient, tool: str) -> str:
        """Make one call and remember it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        decision = await client.ask(tool, timeout_s=30)
        self.calls.append((began, loop.time(), effect(decision), codes(decision)[0]))
        return effect(decision)


async def _kill_and_release(
    load: Load, alice: ControlClient, bob: ControlClient, kills: int
) -> tuple[list[tuple[float, float]], list[float]]:
    """Kill and release, and return the spans in which the kill stood, and how long each order took.

    A span begins when the receipt is there and ends when the release is asked for.
    """
    loop = asyncio.get_running_loop()
    spans, took = [], []
    for number in range(kills):
        asked = loop.time()
        answer = await alice.contain("alpha", ("KILL", "FREEZE")[number % 2], timeout_s=30)
        began = loop.time()
        took.append(began - asked)
        await asyncio.gather(
            *(load.ask(load.clients[n % len(load.clients)], "note.read") for n in range(PROBES))
        )
        spans.append((began, loop.time()))
        await bob.release(answer.receipt.directive.epoch)
    return spans, took


async def _run(bed: Testbed, kills: int) -> tuple[Load, list[tuple[float, float]], list[float]]:
    clients = [bed.agent("alpha") for _ in range(4)]
    load = Load(clients)
    async with bed.operator("alice") as alice, bed.operator("bob") as bob:
        running = asyncio.create_task(load.run())
        try:
            spans, took = await _kill_and_release(load, alice, bob, kills)
        finally:
            load.is_over = True
            await running
    for client in clients:
        await client.channel.close()
    return load, spans, took


def _inside(load: Load, spans: list[tuple[float, float]]) -> list[tuple[str, str]]:
    """Return how the calls ended that began and ended while a kill stood."""
    found = []
    for began, ended, what, code in load.calls:
        if any(start <= began and ended <= end for start, end in spans):
            found.append((what, code))
    return found


async def test_e08_no_call_that_starts_after_the_receipt_is_allowed(
    make_bed: Callable[..., Testbed], record_property: Callable[[str, object], None]
) -> None:
    """A hundred kills and freezes among calls in flight; the releases are a second human's."""
    bed = make_bed().begin(["alpha"])
    load, spans, took = await _run(bed, KILLS)

    inside = _inside(load, spans)
    assert len(inside) >= KILLS * PROBES
    assert {what for what, _ in inside} == {"DENY"}
    assert {code for _, code in inside} == {"KILLED", "FROZEN"}
    # The load was real: calls passed between the kills.
    assert sum(what == "ALLOW" for _, _, what, _ in load.calls) > KILLS
    took.sort()
    record_property("ack_p50_ms", round(took[len(took) // 2] * 1000, 1))
    record_property("ack_max_ms", round(took[-1] * 1000, 1))
    assert bed.verify_gate_log().ok
    assert bed.verify_control_log().ok


async def test_e08_a_gate_that_waits_for_a_message_lets_calls_through_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """Without the comparison with the latch at every call, calls after the receipt are allowed."""
    bed = make_bed()
    bed.begin(["alpha"])
    bed.gates["gate"].stop()
    bed.launch_gate(["alpha"], breakages=["push-only"])
    bed.wait_gate("alpha")
    load, spans, _ = await _run(bed, 5)

    assert "ALLOW" in {what for what, _ in _inside(load, spans)}


@pytest.mark.parametrize("tool", ["note.read", "note.write"])
async def test_e08_one_stream_with_many_calls_in_flight(bed: Testbed, tool: str) -> None:
    """On the SDK's path too: of a stream's calls, those sent after the receipt are all denied."""
    from sidecar.api.v1 import guard_pb2

    name = bed.fresh_agent()
    item = guard_pb2.AuthorizeStreamRequest.Item
    call = guard_pb2.AuthorizeRequest(tool_call=guard_pb2.ToolCall(tool=tool, arguments=b"{}"))
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        stream = agent.guard.AuthorizeStream()
        for batch in range(8):
            await stream.write(
                guard_pb2.AuthorizeStreamRequest(
                    items=[item(id=batch * 64 + n, request=call) for n in range(64)]
                )
            )
        kill = asyncio.create_task(alice.contain(name))
        answers: dict[int, str] = {}
        while len(answers) < 512:
            message = await stream.read()
            answers.update((answer.id, effect(answer.decision)) for answer in message.items)
        await kill
        await stream.write(
            guard_pb2.AuthorizeStreamRequest(
                items=[item(id=1000 + n, request=call) for n in range(64)]
            )
        )
        late: dict[int, list[str]] = {}
        while len(late) < 64:
            message = await stream.read()
            late.update((answer.id, codes(answer.decision)) for answer in message.items)
        await stream.done_writing()

    assert set(answers.values()) <= {"ALLOW", "DENY"}
    assert set(map(tuple, late.values())) == {("KILLED",)}
