# SPDX-License-Identifier: Apache-2.0
"""What each level of containment does to a call, from an operator's order to the agent's answer."""

from __future__ import annotations

import pytest

from tests.support.clients import codes, effect
from tests.support.testbed import Testbed


@pytest.mark.parametrize(
    ("level", "read", "write"),
    [
        ("OBSERVE", "ALLOW POLICY_ALLOW", "ALLOW POLICY_ALLOW"),
        ("HOLD", "HOLD CONTAINMENT_HOLD", "HOLD CONTAINMENT_HOLD"),
        ("READ_ONLY", "ALLOW POLICY_ALLOW", "DENY READ_ONLY"),
        ("FREEZE", "DENY FROZEN", "DENY FROZEN"),
        ("KILL", "DENY KILLED", "DENY KILLED"),
    ],
)
async def test_level_acts_at_the_next_call_and_ends_with_its_release(
    bed: Testbed, level: str, read: str, write: str
) -> None:
    """Each level says to a reading and to a writing tool what it is defined to say."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent(name) as agent:
        before = [await agent.verdict("note.read"), await agent.verdict("note.write")]
        answer = await alice.contain(name, level)
        during = [await agent.verdict("note.read"), await agent.verdict("note.write")]
        await bob.release(answer.receipt.directive.epoch)
        after = [await agent.verdict("note.read"), await agent.verdict("note.write")]

    assert before == ["ALLOW POLICY_ALLOW"] * 2
    assert during == [read, write]
    assert after == ["ALLOW POLICY_ALLOW"] * 2


async def test_observe_marks_what_it_lets_pass(bed: Testbed) -> None:
    """A call under OBSERVE is allowed, and its decision names the directive."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        answer = await alice.contain(name, "OBSERVE")
        decision = await agent.ask()

    assert codes(decision) == ["POLICY_ALLOW", "OBSERVED"]
    assert decision.reasons[1].metadata["directive"] == answer.receipt.directive.name


async def test_throttle_lets_a_number_of_calls_pass(bed: Testbed) -> None:
    """THROTTLE allows so many calls a minute, and no cached allow gets around it."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        await agent.ask()
        await alice.contain(name, "THROTTLE", calls_per_minute=3)
        verdicts = [await agent.verdict() for _ in range(6)]

    assert verdicts == ["ALLOW POLICY_ALLOW"] * 3 + ["DENY THROTTLED"] * 3


async def test_strictest_directive_decides_and_the_others_stay(bed: Testbed) -> None:
    """Releasing a KILL brings back what else stands: here a READ_ONLY, then nothing."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent(name) as agent:
        gentle = await alice.contain(name, "READ_ONLY")
        strict = await alice.contain(name, "KILL")
        killed = await agent.verdict("note.read")
        released = await bob.release(strict.receipt.directive.epoch)
        read_only = [await agent.verdict("note.read"), await agent.verdict("note.write")]
        await bob.release(gentle.receipt.directive.epoch)
        free = await agent.verdict("note.write")

    assert killed == "DENY KILLED"
    assert [d.epoch for d in released.remaining] == [gentle.receipt.directive.epoch]
    assert read_only == ["ALLOW POLICY_ALLOW", "DENY READ_ONLY"]
    assert free == "ALLOW POLICY_ALLOW"


async def test_hold_outranks_nothing_that_denies(bed: Testbed) -> None:
    """A policy's denial beats a HOLD, and a HOLD of a policy stays a HOLD under OBSERVE."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        held = await agent.ask("note.held")
        await alice.contain(name, "HOLD")
        forbidden = await agent.verdict("note.forbidden")

    assert (effect(held), codes(held)) == ("HOLD", ["POLICY_HOLD"])
    assert forbidden == "DENY NO_POLICY_ALLOWS"


async def test_preview_orders_nothing(bed: Testbed) -> None:
    """``validate_only`` names the agents that would be held, and holds none."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        before = await alice.epoch()
        answer = await alice.contain(name, validate_only=True)
        verdict = await agent.verdict()
        after = await alice.epoch()

    assert list(answer.agents) == [name]
    assert not answer.HasField("receipt")
    assert (verdict, after) == ("ALLOW POLICY_ALLOW", before)
