# SPDX-License-Identifier: Apache-2.0
"""A call that a human must decide: from the agent's question to the granted call, over the wire."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256

import pytest

from sidecar.canonical import fingerprint_words
from tests.support.clients import AgentClient, ControlClient, codes, effect, refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed


async def hold(agent: AgentClient, text: str = "hello", **fields: str) -> str:
    """Ask for a call that is held and return the approval it waits for."""
    decision = await agent.ask("note.held", {"text": text}, **fields)
    assert effect(decision) == "HOLD", codes(decision)
    return str(decision.obligations.approval)


def approver(bed: Testbed) -> ControlClient:
    return bed.operator("only-approve")


async def test_p4_a_granted_call_is_allowed_once(bed: Testbed) -> None:
    """HOLD at once; a human grants; the identical call is allowed; the next one waits again."""
    async with approver(bed) as human, bed.agent(bed.fresh_agent()) as agent:
        name = await hold(agent)
        waiting = asyncio.create_task(agent.wait(name))
        granted = await human.decide(name)
        state = await waiting
        used = await agent.ask("note.held", {"text": "hello"})
        again = await agent.ask("note.held", {"text": "hello"})
        after = await human.approval(name)

    assert (granted.state, state) == (granted.STATE_GRANTED, "GRANTED")
    assert (effect(used), codes(used)) == ("ALLOW", ["APPROVAL_GRANTED"])
    assert used.obligations.approval == name
    assert after.state == after.STATE_CONSUMED
    assert after.consuming_decision_id == used.decision_id
    assert effect(again) == "HOLD"
    assert again.obligations.approval != name


async def test_a_hold_says_everything_a_caller_needs(bed: Testbed) -> None:
    """Which request, why, at what tier, until when, and who may decide."""
    async with bed.agent(bed.fresh_agent()) as agent:
        decision = await agent.ask("note.held", {"text": "hello"})

    held = decision.obligations
    assert held.hold_reason == "Somebody must look at this."
    assert (held.hold_tier, held.hold_approver_role, held.hold_quorum) == ("MEDIUM", "approve", 1)
    assert list(held.hold_approvers) == ["only-approve"]
    assert held.hold_expire_time.ToNanoseconds() > decision.valid_until.ToNanoseconds()


async def test_d18_an_approver_is_shown_the_bytes_that_were_hashed(bed: Testbed) -> None:
    """The canonical call hashes to the fingerprint that the agent's decision names."""
    async with approver(bed) as human, bed.agent(bed.fresh_agent()) as agent:
        decision = await agent.ask("note.held", {"text": "zero\u200bwidth"}, session="s-1")
        shown = await human.approval(decision.obligations.approval)

    assert sha256(shown.canonical).hexdigest() == shown.fingerprint == decision.fingerprint
    assert json.loads(shown.canonical)["arguments"] == {"text": "zero\u200bwidth"}
    assert shown.fingerprint_words == fingerprint_words(shown.fingerprint)
    assert "\u200b" not in shown.summary


async def test_a_refused_call_is_denied_and_not_asked_again(bed: Testbed) -> None:
    """The waiting caller learns who refused; the same call is denied for a while."""
    async with approver(bed) as human, bed.agent(bed.fresh_agent()) as agent:
        name = await hold(agent)
        waiting = asyncio.create_task(agent.wait(name))
        await human.decide(name, "REFUSE", reason="not today")
        state = await waiting
        again = await agent.ask("note.held", {"text": "hello"})
        other = await agent.ask("note.held", {"text": "something else"})

    assert state == "REFUSED"
    assert (effect(again), codes(again)) == ("DENY", ["APPROVAL_REFUSED"])
    assert "only-approve" in again.reasons[0].text
    assert effect(other) == "HOLD"


async def test_identical_held_calls_fold_into_one_request(bed: Testbed) -> None:
    """Twenty times the same question is one request for one decision."""
    agent_name = bed.fresh_agent()
    async with approver(bed) as human, bed.agent(agent_name) as agent:
        names = await asyncio.gather(*(hold(agent) for _ in range(20)))
        pending = await human.pending(agent=agent_name)

    assert len(set(names)) == 1
    assert [approval.name for approval in pending] == [names[0]]
    assert pending[0].folded_count == 19


async def test_a_waiting_call_blocks_no_other(bed: Testbed) -> None:
    """While one call waits for a human, others of the same agent are decided."""
    async with bed.agent(bed.fresh_agent()) as agent:
        name = await hold(agent)
        waiting = asyncio.create_task(agent.wait(name, timeout_s=20))
        verdicts = [await agent.verdict() for _ in range(50)]
        is_waiting = not waiting.done()
        withdrawn = await agent.withdraw(name)

        assert await waiting == "CANCELLED"
    assert set(verdicts) == {"ALLOW POLICY_ALLOW"}
    assert is_waiting
    assert withdrawn == "CANCELLED"


async def test_a_wait_ends_at_its_timeout_and_the_request_stays(bed: Testbed) -> None:
    """A long poll that runs out is no giving up."""
    agent_name = bed.fresh_agent()
    async with approver(bed) as human, bed.agent(agent_name) as agent:
        name = await hold(agent)
        state = await agent.wait(name, timeout_s=0.2)
        pending = await human.pending(agent=agent_name)

    assert state == "PENDING"
    assert [approval.name for approval in pending] == [name]


async def test_a_caller_that_vanishes_while_it_waits_has_given_up(bed: Testbed) -> None:
    """The agent's process dies in the wait: nobody is left to make the call."""
    agent_name = bed.fresh_agent()
    async with approver(bed) as human:
        async with bed.agent(agent_name) as agent:
            name = await hold(agent)
            waiting = asyncio.create_task(agent.wait(name, timeout_s=20))
            # The wait itself is what breaks off, so it has to have lasted a while.
            await asyncio.wait({waiting}, timeout=1.0)
            waiting.cancel()

        async def is_cancelled() -> bool:
            return (await human.approval(name)).state == 6

        await eventually(is_cancelled, 10)
        detail = (await human.approval(name)).detail

    assert "went away" in detail


async def test_an_agent_sees_its_own_requests_only(bed: Testbed) -> None:
    """Another agent's approval is unknown to it, to look at and to withdraw."""
    async with (
        approver(bed) as human,
        bed.agent(bed.fresh_agent()) as owner,
        bed.agent(bed.fresh_agent()) as other,
    ):
        name = await hold(owner)
        seen = await other.wait(name, timeout_s=5)
        withdrawn = await other.withdraw(name)
        approval = await human.approval(name)

    assert (seen, withdrawn) == ("UNKNOWN", "UNKNOWN")
    assert approval.state == approval.STATE_PENDING


async def test_d20_more_requests_than_people_can_read_are_denied(bed: Testbed) -> None:
    """Beyond five requests of one agent, further held calls are denied and say why."""
    agent_name = bed.fresh_agent()
    async with approver(bed) as human, bed.agent(agent_name) as agent:
        decisions = [await agent.ask("note.held", {"text": str(number)}) for number in range(8)]
        pending = await human.pending(agent=agent_name)

    assert [effect(decision) for decision in decisions] == ["HOLD"] * 5 + ["DENY"] * 3
    assert codes(decisions[-1]) == ["APPROVAL_LIMIT"]
    assert len(pending) == 5


async def test_a_call_that_containment_holds_can_be_granted(bed: Testbed) -> None:
    """At level HOLD a human lets single calls pass; the level stays."""
    agent_name = bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        approver(bed) as human,
        bed.agent(agent_name) as agent,
    ):
        await alice.contain(agent_name, "HOLD")
        held = await agent.ask("note.read", {"text": "x"})
        await human.decide(held.obligations.approval)
        used = await agent.ask("note.read", {"text": "x"})
        other = await agent.ask("note.read", {"text": "y"})

    assert (effect(held), codes(held)) == ("HOLD", ["CONTAINMENT_HOLD"])
    assert effect(used) == "ALLOW"
    assert effect(other) == "HOLD"


@pytest.mark.parametrize("fingerprint", ["", "0" * 64])
async def test_a_grant_carries_the_fingerprint_that_was_shown(
    bed: Testbed, fingerprint: str
) -> None:
    """Without it, or with another one, nothing is granted."""
    async with approver(bed) as human, bed.agent(bed.fresh_agent()) as agent:
        name = await hold(agent)
        answer = await refused(human.decide(name, fingerprint=fingerprint))
        approval = await human.approval(name)

    assert answer.reason == "FINGERPRINT_MISMATCH"
    assert approval.state == approval.STATE_PENDING
