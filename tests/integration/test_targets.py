# SPDX-License-Identifier: Apache-2.0
"""Whom and what a directive holds: exactly its target, at the next call, and nothing beside it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.api.v1 import types_pb2
from tests.support.clients import refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

Target = types_pb2.Target
ALLOWED = "ALLOW POLICY_ALLOW"
KILLED = "DENY KILLED"


async def test_session_target_holds_one_session(bed: Testbed) -> None:
    """Another session of the same agent, and the same session id of another agent, go on."""
    one, other = bed.fresh_agent(), bed.fresh_agent()
    target = Target(session=Target.Session(agent=one, session="s-1"))
    async with bed.operator("alice") as alice, bed.agent(one) as a, bed.agent(other) as b:
        await alice.contain(target)

        assert await a.verdict(session="s-1") == KILLED
        assert await a.verdict(session="s-2") == ALLOWED
        assert await a.verdict() == ALLOWED
        assert await b.verdict(session="s-1") == ALLOWED


async def test_tool_at_agent_target_holds_one_tool_of_one_agent(bed: Testbed) -> None:
    """The agent's other tools and other agents' same tool go on."""
    one, other = bed.fresh_agent(), bed.fresh_agent()
    target = Target(tool_at_agent=Target.ToolAtAgent(agent=one, tool="note.write"))
    async with bed.operator("alice") as alice, bed.agent(one) as a, bed.agent(other) as b:
        await alice.contain(target)

        assert await a.verdict("note.write") == KILLED
        assert await a.verdict("note.read") == ALLOWED
        assert await b.verdict("note.write") == ALLOWED


async def test_tool_target_holds_the_tool_everywhere_and_needs_break_glass(bed: Testbed) -> None:
    """Nobody knows who uses a tool, so it counts as everybody's: one hand alone waits for another."""
    one, other = bed.fresh_agent(), bed.fresh_agent()
    target = Target(tool="note.burn")
    async with (
        bed.operator("alice") as alice,
        bed.operator("dora") as dora,
        bed.agent(one) as a,
        bed.agent(other) as b,
    ):
        asked = await alice.contain(target)
        waiting = await a.verdict("note.burn")
        answer = await dora.contain(target)
        held = [await a.verdict("note.burn"), await b.verdict("note.burn")]
        free = await a.verdict("note.write")
        await alice.release(answer.receipt.directive.epoch)
        again = await a.verdict("note.burn")

    assert asked.operation.state == types_pb2.Operation.STATE_PENDING_APPROVAL
    assert not asked.HasField("receipt")
    assert waiting == ALLOWED
    assert held == [KILLED, KILLED]
    assert (free, again) == (ALLOWED, ALLOWED)


@pytest.mark.parametrize(
    ("destination", "held", "free"),
    [
        ("api.example.com", ["api.example.com"], ["example.com", "x.api.example.com"]),
        (
            ".example.org",
            ["example.org", "a.example.org", "a.b.example.org"],
            ["evilexample.org", "example.org.evil.com", "example.com"],
        ),
        ("9.9.9.9", ["9.9.9.9"], ["9.9.9.10"]),
    ],
)
async def test_destination_target_holds_hosts_by_label(
    bed: Testbed, destination: str, held: list[str], free: list[str]
) -> None:
    """An exact host, a domain with everything below it, an address; never a look-alike."""
    name = bed.fresh_agent()
    async with bed.operator("dora") as dora, bed.operator("bob") as bob, bed.agent(name) as agent:
        answer = await dora.contain(Target(destination=destination))
        try:
            for host in held:
                for spelling in (host, host.upper(), f"{host}."):
                    verdict = await agent.verdict("mail.send", {"url": f"https://{spelling}/x"})
                    if not (spelling.endswith(".") and destination[0].isdigit()):
                        assert verdict == KILLED, spelling
                    assert not verdict.startswith("ALLOW"), spelling
            for host in free:
                assert await agent.verdict("mail.send", {"url": f"https://{host}/x"}) == ALLOWED
            assert await agent.verdict("note.write") == ALLOWED
        finally:
            await bob.release(answer.receipt.directive.epoch)


async def test_principal_target_holds_the_agents_of_a_human(bed: Testbed) -> None:
    """Who owns the agent, and for whom a token says that it acts."""
    owned, other = bed.fresh_agent(), bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        bed.agent(owned) as a,
        bed.agent(other) as b,
    ):
        await alice.contain(Target(principal=f"{owned}-owner@example.com"))
        token = bed.idp.token(other, principal=f"{owned}-owner@example.com")

        assert await a.verdict() == KILLED
        assert await b.verdict() == ALLOWED
        assert await b.verdict("vault.read", token=token) == KILLED
        assert await b.verdict("vault.read", token=bed.idp.token(other)) == ALLOWED


async def test_labels_target_holds_agents_that_have_all_of_them(bed: Testbed) -> None:
    """A selector names labels of ``agents.yaml``; an agent with only some goes on."""
    one, other = bed.fresh_agent(), bed.fresh_agent()
    both = Target(labels=Target.Labels(labels={"team": one, "env": "test"}))
    team = Target(labels=Target.Labels(labels={"team": one}))
    async with bed.operator("alice") as alice, bed.agent(one) as a, bed.agent(other) as b:
        await alice.contain(both)
        partly = await a.verdict()
        await alice.contain(team)

        assert partly == ALLOWED
        assert await a.verdict() == KILLED
        assert await b.verdict() == ALLOWED


async def test_e12_all_needs_its_own_verb_and_role(bed: Testbed) -> None:
    """``all`` is a kind of target of its own, for break-glass; no agent name means everything."""
    one, other = bed.fresh_agent(), bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        bed.operator("dora") as dora,
        bed.agent(one) as a,
        bed.agent(other) as b,
    ):
        everything = Target(all=Target.All())
        without_role = await alice.contain(everything)
        globs = [
            (await refused(dora.contain(pattern))).reason
            for pattern in ("*", "al*", "all agents", "", ".*", "spare-%")
        ]
        before = [await a.verdict(), await b.verdict()]
        answer = await dora.contain(everything, "FREEZE")
        during = [await a.verdict(), await b.verdict()]
        await alice.release(answer.receipt.directive.epoch)
        after = [await a.verdict(), await b.verdict()]

    assert without_role.operation.state == types_pb2.Operation.STATE_PENDING_APPROVAL
    assert not without_role.HasField("receipt")
    assert set(globs) <= {"INVALID_ARGUMENT", "MALFORMED"}
    assert before == after == [ALLOWED, ALLOWED]
    assert during == ["DENY FROZEN", "DENY FROZEN"]


async def test_e12_unknown_agent_is_held_before_its_first_call(bed: Testbed) -> None:
    """A standing order on an agent that does not exist yet holds it from its first call on."""
    bed.launch_gate(["from-the-future"], gate_id="later")
    async with bed.operator("alice") as alice, bed.agent("from-the-future") as agent:
        await alice.contain("from-the-future")
        await eventually(lambda: bed.layout.agent_socket("from-the-future").exists())
        bed.wait_gate("from-the-future", "later")
        first = await agent.verdict()
    bed.gates["later"].stop()

    assert first == KILLED


async def test_e12_an_undeclared_agent_is_denied_anyway_negative_control(bed: Testbed) -> None:
    """Without the standing order the same first call is denied for another reason."""
    bed.launch_gate(["never-heard-of"], gate_id="unheard")
    bed.wait_gate("never-heard-of", "unheard")
    async with bed.agent("never-heard-of") as agent:
        first = await agent.verdict()
    bed.gates["unheard"].stop()

    assert first == "DENY UNKNOWN_AGENT"


async def test_ttl_ends_a_directive_by_itself(bed: Testbed) -> None:
    """A directive with a TTL lapses, says so, and cannot be released any more."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent(name) as agent:
        answer = await alice.contain(name, ttl=timedelta(seconds=1))
        epoch = answer.receipt.directive.epoch
        during = await agent.verdict()

        async def is_free() -> bool:
            return await agent.verdict() == ALLOWED

        await eventually(is_free, 5)
        ended = [d for d in await alice.directives(include_ended=True) if d.epoch == epoch]
        late = await refused(bob.release(epoch))

    assert during == KILLED
    assert answer.receipt.directive.HasField("expire_time")
    assert [d.state for d in ended] == [types_pb2.Directive.STATE_EXPIRED]
    assert late.reason == "ALREADY_RELEASED"


async def test_directives_are_listed_by_agent_and_by_page(bed: Testbed) -> None:
    """Newest first; an agent's list holds what reaches it by name, by label and by principal."""
    name = bed.fresh_agent()
    targets = [
        Target(agent=name),
        Target(labels=Target.Labels(labels={"team": name})),
        Target(principal=f"{name}-owner@example.com"),
        Target(session=Target.Session(agent=name, session="s")),
    ]
    async with bed.operator("alice") as alice:
        epochs = [
            (await alice.contain(target, "OBSERVE")).receipt.directive.epoch for target in targets
        ]
        listed = [d.epoch for d in await alice.directives(agent=name)]
        everything = [d.epoch for d in await alice.directives()]

    assert listed == sorted(epochs, reverse=True)
    assert everything == sorted(everything, reverse=True)
    assert set(epochs) <= set(everything)
