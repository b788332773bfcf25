# SPDX-License-Identifier: Apache-2.0
"""Investigations over real logs: the timeline and the blast radius of an agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from google.protobuf import timestamp_pb2

from sidecar.api.v1 import investigation_pb2, investigation_pb2_grpc, types_pb2
from tests.support.clients import ControlClient, effect, refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

Event = investigation_pb2.TimelineEvent
CANARY = "canary-5d1f-do-not-tell"


def _stub(client: ControlClient) -> Any:
    return investigation_pb2_grpc.InvestigationServiceStub(client.channel)


async def _timeline(client: ControlClient, agent: str, **fields: Any) -> Any:
    request = investigation_pb2.GetAgentTimelineRequest(agent=agent, **fields)
    return await _stub(client).GetAgentTimeline(request, timeout=10)


async def _events(client: ControlClient, agent: str, **fields: Any) -> list[Event]:
    """Read every page."""
    events: list[Event] = []
    token = ""
    while True:
        answer = await _timeline(client, agent, page_token=token, **fields)
        events += answer.events
        token = answer.next_page_token
        if not token:
            return events


async def _settled(client: ControlClient, agent: str, calls: int, **fields: Any) -> list[Event]:
    """Return the timeline once a checkpoint of the gate covers so many decisions."""

    async def found() -> list[Event]:
        events = await _events(client, agent, **fields)
        return events if sum(e.kind == "decision" for e in events) >= calls else []

    return await eventually(found)


async def _radius(client: ControlClient, agent: str, **fields: Any) -> Any:
    request = investigation_pb2.GetBlastRadiusRequest(agent=agent, **fields)
    answer = await _stub(client).GetBlastRadius(request, timeout=10)
    return answer.blast_radius


def _instant(ns: int) -> timestamp_pb2.Timestamp:
    return timestamp_pb2.Timestamp(seconds=ns // 10**9, nanos=ns % 10**9)


async def test_timeline_tells_what_an_agent_did_and_what_was_done_to_it(bed: Testbed) -> None:
    """Calls with their outcomes, a held call with its votes, a kill, its release: newest first."""
    name = bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        bed.operator("only-approve") as human,
        bed.operator("soar") as soar,
        bed.agent(name) as agent,
    ):
        read = await agent.ask("note.read", {"text": CANARY}, session="s-1")
        await agent.report(read.decision_id, "ERROR", detail=CANARY)
        held = await agent.ask("note.held", {"text": CANARY}, session="s-1")
        await human.decide(held.obligations.approval, reason=CANARY)
        contained = await alice.contain(name, reason=CANARY)
        await agent.ask("note.read", {"text": CANARY}, session="s-2")
        await soar.revoke(agent=name)
        await alice.release(contained.receipt.directive.epoch, reason=CANARY)
        events = await _settled(soar, name, 3)

    kinds = [event.kind for event in events]
    by_kind = {event.kind: event for event in reversed(events)}
    decisions = [event for event in events if event.kind == "decision"]
    assert kinds[:2] == ["approval", "release"]  # the operation ends, after what it did
    assert {"contain", "release", "revoke_tokens", "approval", "decision"} <= set(kinds)
    assert [(e.tool, types_pb2.Effect.Name(e.effect), e.reason) for e in decisions[::-1]] == [
        ("note.read", "EFFECT_ALLOW", "POLICY_ALLOW"),
        ("note.held", "EFFECT_HOLD", "POLICY_HOLD"),
        ("note.read", "EFFECT_DENY", "KILLED"),
    ]
    assert decisions[-1].outcome == "ERROR"
    assert decisions[-1].decision_id == read.decision_id
    assert decisions[-1].tool_class == types_pb2.TOOL_CLASS_READ
    assert by_kind["contain"].operator == "alice"
    assert f"agent {name} at KILL" in by_kind["contain"].summary
    assert by_kind["release"].operator == "alice"
    votes = [(e.reason, e.operator) for e in events if e.kind == "approval" and e.operator]
    assert ("GRANTED", "only-approve") in votes
    asked = [e for e in events if e.kind == "approval" and "the action release" in e.summary]
    assert [event.reason for event in asked[::-1]] == [
        "OPENED", "GRANTED", "CONSUMED", "EXECUTED"
    ]  # fmt: skip
    times = [(event.time.seconds, event.time.nanos) for event in events]
    assert times == sorted(times, reverse=True)
    assert CANARY not in str(events)


async def test_g16_timeline_holds_no_argument_even_one_that_the_log_reveals(bed: Testbed) -> None:
    """``note.write`` reveals its text to the log; an auditor finds it there, SOAR does not here."""
    name = bed.fresh_agent()
    async with bed.operator("soar") as soar, bed.agent(name) as agent:
        await agent.ask("note.write", {"text": CANARY})
        await agent.ask("mail.send", {"url": f"https://mail.example/{CANARY}?q={CANARY}"})
        await agent.ask(f"x {CANARY}", {}, session=f"bad session {CANARY}")
        events = await _settled(soar, name, 3)
        radius = await _radius(soar, name)

    mail = next(event for event in events if event.tool == "mail.send")
    assert CANARY not in str(events) + str(radius)
    assert mail.destination == "mail.example"
    assert [event.tool for event in events].count("") == 1


async def test_g16_negative_control_the_log_does_hold_the_revealed_argument(bed: Testbed) -> None:
    """The canary of the test above can be found: the log's own entry has it."""
    from sidecar.api.v1 import audit_pb2

    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        await agent.ask("note.write", {"text": CANARY})
        await _settled(alice, name, 1)
        listed = await alice.audit.ListEntries(audit_pb2.ListEntriesRequest(log="gate", agent=name))

    assert CANARY.encode() in listed.entries[0].json


async def test_pages_are_stable_while_the_agent_goes_on(bed: Testbed) -> None:
    """Pages of three, with calls and a kill in between, tell what the first question would have."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        for number in range(7):
            await agent.ask("note.read", {"text": str(number)})
        await alice.contain(name, "OBSERVE")
        whole = await _settled(alice, name, 7)
        first = await _timeline(alice, name, page_size=3)
        await alice.contain(name, "KILL")
        await agent.ask("note.read")
        second = await _timeline(alice, name, page_size=3, page_token=first.next_page_token)
        await agent.ask("note.read")
        third = await _timeline(alice, name, page_size=3, page_token=second.next_page_token)

    paged = [*first.events, *second.events, *third.events]
    assert [(e.log, e.index) for e in paged] == [(e.log, e.index) for e in whole]
    assert len(paged) == 8
    assert third.next_page_token == ""


async def test_session_filter_and_window(bed: Testbed) -> None:
    """Only the session, only the window: from ``since``, before ``until``."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        await agent.ask("note.read", session="one")
        await asyncio.to_thread(time.sleep, 0.002)
        middle = _instant(time.time_ns())
        await agent.ask("note.read", session="two")
        await _settled(alice, name, 2)
        one = await _events(alice, name, session="one")
        later = await _events(alice, name, since=middle)
        earlier = await _events(alice, name, until=middle)
        radius = await _radius(alice, name, since=middle)

    assert [event.session for event in one] == ["one"]
    assert [event.session for event in later] == ["two"]
    assert [event.session for event in earlier] == ["one"]
    assert list(radius.sessions) == ["two"]


async def test_blast_radius_counts_what_was_allowed(bed: Testbed) -> None:
    """Tools, hosts, tokens, people and sessions; what was denied touched nothing."""
    name = bed.fresh_agent()
    token = bed.idp.token(name, jti="jti-blast")
    async with (
        bed.operator("soar") as soar,
        bed.operator("only-approve") as human,
        bed.agent(name) as agent,
    ):
        for host in ("a.example", "b.example"):
            await agent.ask("mail.send", {"url": f"https://{host}/x"}, session="s-1")
        await agent.ask("note.burn", {"text": "x"}, session="s-2")
        await agent.ask("note.forbidden", {"text": "x"})
        vault = await agent.ask("vault.read", {"text": "x"}, token=token)
        held = await agent.ask("note.held", {"text": "x"})
        await human.decide(held.obligations.approval, "REFUSE")
        await _settled(soar, name, 6)
        radius = await _radius(soar, name)

    uses = {use.tool: use for use in radius.tools}
    assert effect(vault) == "ALLOW"
    assert list(radius.destinations) == ["a.example", "b.example"]
    assert list(uses["mail.send"].destinations) == ["a.example", "b.example"]
    assert (uses["mail.send"].allow_count, uses["mail.send"].deny_count) == (2, 0)
    assert uses["note.forbidden"].deny_count == 1
    assert uses["note.held"].hold_count == 1
    assert not uses["note.forbidden"].HasField("last_allow_time")
    assert uses["mail.send"].tool_class == types_pb2.TOOL_CLASS_EXTERNAL
    assert radius.irreversible_count == 3
    assert dict(radius.decision_counts) == {"ALLOW": 4, "DENY": 1, "HOLD": 1}
    assert list(radius.credentials) == [
        "https://idp.example: jti-blast", f"gate socket of {name}"
    ]  # fmt: skip
    assert set(radius.humans) == {f"{name}-owner@example.com", "only-approve"}
    assert list(radius.sessions) == ["s-1", "s-2"]
    assert list(radius.data_classes) == ["general"]
    assert not radius.truncated
    assert "4 calls of 6 decisions" in radius.statement
    assert "3 calls may not be undone" in radius.statement


async def test_agent_that_did_nothing_and_agent_that_nobody_knows(bed: Testbed) -> None:
    """The one has an empty blast radius; the other is NOT_FOUND, like an agent in the inventory."""
    name = bed.fresh_agent()
    async with bed.operator("soar") as soar:
        radius = await _radius(soar, name)
        unknown = [
            await refused(_timeline(soar, "no-such-agent")),
            await refused(_radius(soar, "no-such-agent")),
            await refused(soar.agent("no-such-agent")),
        ]

    assert radius.statement == f"agent {name} asked for nothing in this window."
    assert {(error.code.name, error.reason) for error in unknown} == {("NOT_FOUND", "NOT_FOUND")}


async def test_what_is_no_question_is_refused(bed: Testbed) -> None:
    """Hostile names, empty windows, foreign tokens: INVALID_ARGUMENT, never another page."""
    name, other = bed.fresh_agent(), bed.fresh_agent()
    now = _instant(time.time_ns())
    async with bed.operator("soar") as soar, bed.agent(name) as agent:
        await agent.ask("note.read")
        await agent.ask("note.read")
        await _settled(soar, name, 2)
        token = (await _timeline(soar, name, page_size=1)).next_page_token
        errors = [
            await refused(call)
            for call in (
                _timeline(soar, "no agent\n"),
                _timeline(soar, "*"),
                _timeline(soar, name, session="a b"),
                _timeline(soar, name, page_size=1001),
                _timeline(soar, name, page_size=-1),
                _timeline(soar, name, since=now, until=now),
                _timeline(soar, name, until=timestamp_pb2.Timestamp(seconds=-5)),
                _timeline(soar, name, page_token="nonsense"),
                _timeline(soar, other, page_token=token),
                _timeline(soar, name, session="s", page_token=token),
                _radius(soar, name, since=now, until=now),
            )
        ]

    assert token
    assert {error.code.name for error in errors} == {"INVALID_ARGUMENT"}


async def test_timeline_survives_a_restart_and_a_gate_that_lost_its_log(
    make_bed: Callable[..., Testbed],
) -> None:
    """After a restart it is as before; a log that is gone is said to be, and hides no other."""
    own = make_bed().begin(["alpha"])
    async with own.operator("alice") as alice, own.agent() as agent:
        await agent.ask("note.read")
        await alice.contain("alpha")
        before = await _settled(alice, "alpha", 1)
    assert own.control is not None
    own.control.stop()
    own.restart_control()
    async with own.operator("alice") as alice:
        after = await _settled(alice, "alpha", 1)
        own.gates["gate"].stop()
        (own.layout.gate_audit("gate") / "checkpoint").unlink()
        broken = await _events(alice, "alpha")
        radius = await _radius(alice, "alpha")

    assert [(e.log, e.index) for e in after] == [(e.log, e.index) for e in before]
    assert [event.kind for event in broken] == ["unreadable", "contain"]
    assert radius.truncated
