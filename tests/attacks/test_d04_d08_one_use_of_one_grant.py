# SPDX-License-Identifier: Apache-2.0
"""A grant is for one call, once: what 256 callers, changed calls, kills and restarts make of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.clients import AgentClient, codes, effect, new_id
from tests.support.polling import eventually
from tests.support.testbed import Testbed

APPROVER = "only-approve"
CALL: dict[str, Any] = {
    "arguments": {"text": "hello"},
    "session": "s-1",
    "cwd": "/work",
    "environment_digest": "sha256:aa",
    "nonce": "n-1",
}


async def ask(agent: AgentClient, **changes: Any) -> Any:
    return await agent.ask("note.held", **{**CALL, **changes})


async def granted(bed: Testbed, agent: AgentClient) -> str:
    """Have ``CALL`` held and granted; return the approval."""
    held = await ask(agent)
    assert effect(held) == "HOLD", codes(held)
    async with bed.operator(APPROVER) as human:
        await human.decide(held.obligations.approval)
    return str(held.obligations.approval)


async def test_d04_p4_256_consumers_of_one_grant_are_one_allow(bed: Testbed) -> None:
    """256 callers make the granted call at once: exactly one is allowed."""
    async with bed.agent(bed.fresh_agent()) as agent:
        await granted(bed, agent)
        decisions = await asyncio.gather(*(ask(agent, timeout_s=30.0) for _ in range(256)))

    allowed = [decision for decision in decisions if effect(decision) == "ALLOW"]
    assert len(allowed) == 1
    assert codes(allowed[0]) == ["APPROVAL_GRANTED"]


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": {"text": "hello "}},
        {"arguments": {"text": "Hello"}},
        {"arguments": {}},
        {"session": "s-2"},
        {"session": ""},
        {"cwd": "/work/"},
        {"cwd": ""},
        {"environment_digest": "sha256:ab"},
        {"environment_digest": ""},
        {"nonce": "n-2"},
        {"nonce": ""},
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items()),
)
async def test_d05_p4_one_changed_field_is_another_call(
    bed: Testbed, changes: dict[str, Any]
) -> None:
    """The grant is for the call that was shown, to the byte; the changed one waits for its own."""
    async with bed.agent(bed.fresh_agent()) as agent:
        name = await granted(bed, agent)
        changed = await ask(agent, **changes)
        unchanged = await ask(agent)

    assert effect(changed) != "ALLOW"
    assert changed.obligations.approval != name
    assert effect(unchanged) == "ALLOW"  # the grant was there all along: the change voided its use


async def test_d05_a_grant_is_not_another_agents(bed: Testbed) -> None:
    """The identical call of another agent is not the granted one."""
    async with bed.agent(bed.fresh_agent()) as agent, bed.agent(bed.fresh_agent()) as other:
        await granted(bed, agent)
        taken = await ask(other)
        own = await ask(agent)

    assert (effect(taken), effect(own)) == ("HOLD", "ALLOW")


async def test_d05_an_epoch_that_moved_voids_a_grant(bed: Testbed) -> None:
    """Anything contained after the grant makes it a grant for another world."""
    async with bed.operator("alice") as alice, bed.agent(bed.fresh_agent()) as agent:
        await granted(bed, agent)
        await alice.contain(bed.fresh_agent(), "OBSERVE")
        decision = await ask(agent)

    assert effect(decision) != "ALLOW"


async def test_an_epoch_that_moved_does_not_void_a_request(bed: Testbed) -> None:
    """What still waits goes on waiting while something else is contained."""
    async with (
        bed.operator("alice") as alice,
        bed.operator(APPROVER) as human,
        bed.agent(bed.fresh_agent()) as agent,
    ):
        held = await ask(agent)
        await alice.contain(bed.fresh_agent(), "OBSERVE")
        await human.decide(held.obligations.approval)
        decision = await ask(agent)

    assert effect(decision) == "ALLOW"


async def test_d07_a_kill_beats_a_grant_and_cancels_what_waits(bed: Testbed) -> None:
    """Granted, waiting, killed: nothing is allowed, and the waiting caller is told."""
    name = bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        bed.operator(APPROVER) as human,
        bed.agent(name) as agent,
    ):
        approval = await granted(bed, agent)
        other = await ask(agent, nonce="n-2")
        waiting = asyncio.create_task(agent.wait(other.obligations.approval))
        await alice.contain(name, "KILL")
        state = await waiting
        decision = await ask(agent)

        async def is_cancelled() -> bool:
            return (await human.approval(approval)).state == 6

        await eventually(is_cancelled)

    assert state == "CANCELLED"
    assert codes(decision) == ["KILLED"]


@pytest.mark.parametrize("moment", ["pending", "granted"])
async def test_d09_p11_a_killed_control_loses_nothing_it_acknowledged(
    make_bed: Callable[..., Testbed], moment: str
) -> None:
    """SIGKILL of control and gate between request, grant and use: the approval goes on."""
    bed = make_bed().begin()
    async with bed.agent("alpha") as agent:
        held = await ask(agent)
    name = held.obligations.approval
    if moment == "granted":
        async with bed.operator(APPROVER) as human:
            await human.decide(name)
    bed.crash()

    bed.begin()
    async with bed.operator(APPROVER) as human, bed.agent("alpha") as agent:
        if moment == "pending":
            await human.decide(name)
        allowed = await ask(agent)
        approval = await human.approval(name)
    bed.crash()
    bed.begin()
    async with bed.agent("alpha") as agent:
        again = await ask(agent)

    assert effect(allowed) == "ALLOW", codes(allowed)
    assert approval.state == approval.STATE_CONSUMED
    assert effect(again) == "HOLD"
    assert bed.verify_control_log().ok


async def test_d08_a_policy_that_forbids_beats_a_grant(make_bed: Callable[..., Testbed]) -> None:
    """Granted, then forbidden: denied; a tightening needs no second human and is in force at once."""
    bed = make_bed().begin()
    async with bed.operator("carol") as carol, bed.agent("alpha") as agent:
        await granted(bed, agent)
        bed.write_bundle(
            extra_policies='@id("no") forbid (principal, action == Action::"note.held", resource);'
        )
        answer = await carol.reload()
        decision = await ask(agent)

    assert answer.changed
    assert not answer.operation.name
    assert codes(decision) == ["POLICY_DENY"]


async def test_a_repeated_vote_is_one_vote(bed: Testbed) -> None:
    """The same request id answers the same; a second vote is told what happened."""
    async with bed.operator(APPROVER) as human, bed.agent(bed.fresh_agent()) as agent:
        held = await ask(agent)
        request_id = new_id()
        votes = [
            await human.decide(held.obligations.approval, request_id=request_id) for _ in range(2)
        ]

    assert [vote.state for vote in votes] == [vote.STATE_GRANTED for vote in votes]
    assert len(votes[1].votes) == 1
