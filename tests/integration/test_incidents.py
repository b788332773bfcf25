# SPDX-License-Identifier: Apache-2.0
"""Incident records on a running host: gathered once, kept, recorded, and added to by people."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from google.protobuf import json_format

from sidecar.api.v1 import audit_pb2, incident_pb2, incident_pb2_grpc, operation_pb2
from sidecar.canonical import canonicalise
from sidecar.control.incidents import GATHERED_FIELDS
from tests.support.clients import ControlClient, new_id, refused
from tests.support.polling import eventually
from tests.support.processes import free_port
from tests.support.testbed import Testbed

Incident = incident_pb2.Incident
HOSTILE = "\u202eevil <script>alert(1)</script> {{7*7}} “x” \u200b&amp;"


def _stub(client: ControlClient) -> Any:
    return incident_pb2_grpc.IncidentServiceStub(client.channel)


async def _open(client: ControlClient, agent: str, /, **fields: Any) -> Any:
    request = incident_pb2.OpenIncidentRequest(
        **{"request_id": new_id(), "agent": agent, "title": "it wires money", **fields}
    )
    return await _stub(client).OpenIncident(request, timeout=10)


async def _get(client: ControlClient, name: str) -> Incident:
    answer = await _stub(client).GetIncident(incident_pb2.GetIncidentRequest(name=name), timeout=10)
    return answer.incident


async def _update(client: ControlClient, name: str, **fields: Any) -> Any:
    request = incident_pb2.UpdateIncidentRequest(**{"request_id": new_id(), "name": name, **fields})
    return await _stub(client).UpdateIncident(request, timeout=10)


async def _list(client: ControlClient, **fields: Any) -> Any:
    request = incident_pb2.ListIncidentsRequest(**fields)
    return await _stub(client).ListIncidents(request, timeout=10)


async def _entries(client: ControlClient, kind: str) -> list[dict[str, Any]]:
    request = audit_pb2.ListEntriesRequest(kind=kind, page_size=1000)
    answer = await client.audit.ListEntries(request)
    return [json.loads(entry.json) for entry in answer.entries]


async def _recorded(client: ControlClient, agent: str, count: int) -> None:
    """Wait until a checkpoint of the gate covers so many entries of *agent*."""

    async def is_there() -> bool:
        request = audit_pb2.ListEntriesRequest(log="gate", agent=agent)
        return len((await client.audit.ListEntries(request)).entries) >= count

    await eventually(is_there)


def gathered_sha256(incident: Incident) -> str:
    """Return the SHA-256 as the contract says how to compute it, from what a client sees."""
    part = Incident()
    part.CopyFrom(incident)
    for field in part.DESCRIPTOR.fields:
        if field.name not in GATHERED_FIELDS:
            part.ClearField(field.name)
    return sha256(canonicalise(json_format.MessageToDict(part))).hexdigest()


async def test_incident_gathers_who_the_agent_is_and_what_it_did(bed: Testbed) -> None:
    """Owner, policy, calls, blast radius, directives; the log holds the SHA-256 of it all."""
    name = bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        bed.operator("soar") as soar,
        bed.agent(name) as agent,
    ):
        await agent.ask("mail.send", {"url": "https://a.example/x"}, session="s-1")
        await alice.contain(name)
        await agent.ask("note.read")
        await _recorded(alice, name, 2)
        opened = await _open(
            soar,
            name,
            severity="HIGH",
            techniques=["AML.T0053", "T1041"],
            verdict=Incident.VERDICT_THREAT,
            note="seen at night",
            external_reference="case-17",
        )
        seen = await _get(alice, opened.incident.name)
        logged = await _entries(alice, "incident")

    incident = opened.incident
    assert incident == seen
    assert incident.state == Incident.STATE_OPEN
    assert (incident.agent, incident.owner) == (name, f"{name}-owner@example.com")
    assert [event.tool for event in incident.events] == ["note.read", "mail.send"]
    assert list(incident.blast_radius.destinations) == ["a.example"]
    assert [d.target.agent for d in incident.directives] == [name]
    assert incident.policy_digest in incident.policy_digests
    assert not incident.truncated
    assert "records no prompts" in incident.prompts
    assert "s-1" in incident.prompts
    assert list(incident.techniques) == ["AML.T0053", "T1041"]
    assert incident.verdict == Incident.VERDICT_THREAT
    assert [(note.author, note.text) for note in incident.notes] == [("soar", "seen at night")]
    assert (incident.author, incident.external_reference) == ("soar", "case-17")
    assert gathered_sha256(incident) == incident.sha256
    [entry] = [entry for entry in logged if entry["incident"] == incident.name]
    assert (entry["seq"], entry["sha256"]) == (incident.log_index, incident.sha256)
    assert (entry["operator"], entry["agent"]) == ("soar", name)
    assert "seen at night" not in json.dumps(entry)


async def test_opening_is_idempotent_and_another_body_is_a_conflict(bed: Testbed) -> None:
    """Eight at once with one request id open one incident; the id does not open another."""
    name, request_id = bed.fresh_agent(), new_id()
    async with bed.operator("soar") as soar, bed.operator("alice") as alice:
        answers = await asyncio.gather(
            *(_open(soar, name, request_id=request_id) for _ in range(8))
        )
        other = await refused(_open(soar, name, request_id=request_id, title="another"))
        somebody = await refused(_open(alice, name, request_id=request_id))
        listed = await _list(soar, agent=name)

    assert len({answer.incident.name for answer in answers}) == 1
    assert sum(not answer.repeated_request for answer in answers) == 1
    assert {(e.code.name, e.reason) for e in (other, somebody)} == {
        ("ALREADY_EXISTS", "REQUEST_ID_CONFLICT")
    }
    assert len(listed.incidents) == 1


async def test_people_add_and_what_was_gathered_stays(bed: Testbed) -> None:
    """Verdict, techniques and notes are added; more calls and a close change nothing gathered."""
    name = bed.fresh_agent()
    async with (
        bed.operator("soar") as soar,
        bed.operator("carol") as carol,
        bed.agent(name) as agent,
    ):
        first = (await _open(soar, name, techniques=["T1041"])).incident
        await agent.ask("note.burn")
        request_id = new_id()
        added = await _update(
            carol, first.name, techniques=["T1041", "T1567.002"], note="one", request_id=request_id
        )
        again = await _update(
            carol, first.name, techniques=["T1041", "T1567.002"], note="one", request_id=request_id
        )
        other = await refused(_update(carol, first.name, note="two", request_id=request_id))
        closed = await _update(
            soar, first.name, verdict=Incident.VERDICT_FALSE_POSITIVE, close=True
        )
        late = await _update(soar, first.name, note="after all")
        refusals = [
            await refused(_update(soar, first.name, verdict=Incident.VERDICT_THREAT)),
            await refused(_update(soar, first.name, techniques=["T1000"])),
            await refused(_update(soar, first.name, close=True)),
        ]
        updates = [e for e in await _entries(carol, "incident_update") if e["agent"] == name]

    assert again.incident == added.incident
    assert list(added.incident.techniques) == ["T1041", "T1567.002"]
    assert other.reason == "REQUEST_ID_CONFLICT"
    assert closed.incident.state == Incident.STATE_CLOSED
    assert closed.incident.HasField("end_time")
    assert [note.text for note in late.incident.notes] == ["one", "after all"]
    assert {error.code.name for error in refusals} == {"FAILED_PRECONDITION"}
    for incident in (added.incident, closed.incident, late.incident):
        assert gathered_sha256(incident) == incident.sha256 == first.sha256
    assert [entry["version"] for entry in updates] == [4, 3, 2]
    assert [entry["operator"] for entry in updates] == ["soar", "soar", "carol"]


async def test_lists_pages_and_leaves_calls_out(bed: Testbed) -> None:
    """Newest first, by agent, only open ones if asked; ``events`` are not in a list."""
    name = bed.fresh_agent()
    async with bed.operator("soar") as soar, bed.agent(name) as agent:
        await agent.ask("note.read")
        opened = [(await _open(soar, name, title=f"n {i}")).incident for i in range(5)]
        await _update(soar, opened[1].name, close=True)
        first = await _list(soar, agent=name, page_size=2)
        second = await _list(soar, agent=name, page_size=2, page_token=first.next_page_token)
        third = await _list(soar, agent=name, page_size=2, page_token=second.next_page_token)
        open_ones = await _list(soar, agent=name, open_only=True)

    paged = [*first.incidents, *second.incidents, *third.incidents]
    assert [item.title for item in paged] == ["n 4", "n 3", "n 2", "n 1", "n 0"]
    assert third.next_page_token == ""
    assert not any(item.events for item in paged)
    assert all(item.HasField("blast_radius") for item in paged)
    assert [item.title for item in open_ones.incidents] == ["n 4", "n 3", "n 2", "n 0"]


async def test_hostile_words_are_kept_as_they_are_and_controls_are_refused(bed: Testbed) -> None:
    """Untrusted text stays text: nothing is normalised; what steers a terminal does not enter."""
    name = bed.fresh_agent()
    async with bed.operator("soar") as soar:
        incident = (await _open(soar, name, title=HOSTILE, note=f"{HOSTILE}\n\tsecond")).incident
        errors = [
            await refused(_open(soar, name, **fields))
            for fields in (
                {"title": ""},
                {"title": "  "},
                {"title": "x" * 201},
                {"title": "a\nb"},
                {"title": "a\x1b[31mb"},
                {"note": "x" * 4001},
                {"note": "\x07"},
                {"severity": "SEVERE"},
                {"techniques": ["phishing"]},
                {"techniques": ["T1041\n"]},
                {"techniques": ["T1041"] * 51},
                {"verdict": 99},
                {"external_reference": "x" * 201},
                {"request_id": "short"},
                {"agent": "*"},
            )
        ]
        unknown = await refused(_open(soar, "no-such-agent"))
        nothing = await refused(_update(soar, incident.name))

    assert incident.title == HOSTILE
    assert incident.notes[0].text == f"{HOSTILE}\n\tsecond"
    assert {error.code.name for error in errors} == {"INVALID_ARGUMENT"}
    assert unknown.code.name == "NOT_FOUND"
    assert nothing.code.name == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "name", ["incidents/inc_" + "0" * 32, "incidents/x", "", "approvals/apr_" + "0" * 32]
)
async def test_incident_that_is_not_there_is_not_found(bed: Testbed, name: str) -> None:
    """A name that cannot be one is answered like one that is nobody's."""
    async with bed.operator("soar") as soar:
        errors = [
            await refused(_get(soar, name)),
            await refused(_update(soar, name, note="x")),
        ]

    assert {(error.code.name, error.message) for error in errors} == {
        ("NOT_FOUND", "there is no such incident")
    }


async def test_i09_whoever_may_only_approve_or_audit_opens_nothing(bed: Testbed) -> None:
    """Reading is for every role that looks into agents, writing for those that contain."""
    name = bed.fresh_agent()
    async with bed.operator("soar") as soar:
        incident = (await _open(soar, name)).incident
    for role in ("only-approve", "only-audit-read", "only-release"):
        async with bed.operator(role) as client:
            seen = await _get(client, incident.name)
            errors = [
                await refused(_open(client, name)),
                await refused(_update(client, incident.name, note="x")),
            ]
        assert seen.name == incident.name
        assert {error.reason for error in errors} == {"PERMISSION_MISSING"}


async def test_i09_token_limited_to_agents_sees_nothing_of_others(
    make_bed: Callable[..., Testbed],
) -> None:
    """Others' incidents, held calls and operations do not exist for it; its own agents' do."""
    desk = make_bed(token_listen=f"127.0.0.1:{free_port()}").begin(["alpha", "beta"])
    async with desk.operator("carol") as admin, desk.operator("soar") as soar:
        made = await admin.make_token("soar", "contain", agents=["alpha"])
        mine = (await _open(soar, "alpha")).incident
        other = (await _open(soar, "beta")).incident
        questions = {agent: (await _ask(soar, agent)).operation for agent in ("alpha", "beta", "")}
    async with desk.agent("alpha") as alpha, desk.agent("beta") as beta:
        held = (await alpha.ask("note.held", {"text": "x"})).obligations.approval
        others = (await beta.ask("note.held", {"text": "x"})).obligations.approval
    async with desk.holder(made.secret) as holder:
        seen = await _get(holder, mine.name)
        updated = await _update(holder, mine.name, note="by the token")
        listed = await _list(holder, agent="alpha")
        hidden = [
            await refused(_get(holder, other.name)),
            await refused(_update(holder, other.name, note="x")),
            await refused(holder.approval(others)),
            await refused(holder.operation(questions["beta"].name)),
            await refused(holder.operation(questions[""].name)),
        ]
        denied = [
            await refused(_open(holder, "beta")),
            await refused(_list(holder)),
            await refused(_list(holder, agent="beta")),
            await refused(_ask(holder, "beta")),
            await refused(_ask(holder, "")),
            await refused(holder.directives(agent="beta")),
            await refused(holder.pending()),
        ]
        call = await holder.approval(held)
        operation = await holder.operation(questions["alpha"].name)
        opened = (await _open(holder, "alpha")).incident

    assert seen == mine
    assert updated.incident.notes[0].author == "soar"
    assert [item.name for item in listed.incidents] == [mine.name]
    assert {error.code.name for error in hidden} == {"NOT_FOUND"}
    assert {error.code.name for error in denied} == {"PERMISSION_DENIED"}
    assert (call.agent, call.canonical) == ("alpha", b"")
    assert operation.action == "confirm"
    assert opened.author == "soar"
    async with desk.operator("alice") as alice:
        by_token = [e for e in await _entries(alice, "incident") if "api_token" in e]
    assert [entry["incident"] for entry in by_token] == [opened.name]


async def _ask(client: ControlClient, agent: str) -> Any:
    request = operation_pb2.RequestConfirmationRequest(
        request_id=new_id(), question="May it go on?", agent=agent
    )
    return await client.operations.RequestConfirmation(request, timeout=10)


async def test_incidents_survive_a_kill_of_control_and_keep_their_request_ids(
    make_bed: Callable[..., Testbed],
) -> None:
    """Acknowledged is durable: after SIGKILL the same record is there, and a retry is a retry."""
    own = make_bed().begin(["alpha"])
    request_id = new_id()
    async with own.operator("soar") as soar:
        before = (await _open(soar, "alpha", request_id=request_id, note="one")).incident
        before = (await _update(soar, before.name, verdict=Incident.VERDICT_THREAT)).incident
    assert own.control is not None
    own.control.kill()
    own.restart_control()
    async with own.operator("soar") as soar:
        after = await _get(soar, before.name)
        again = await _open(soar, "alpha", request_id=request_id, note="one")

    assert after == before
    assert again.repeated_request
    assert again.incident == before


async def test_incident_that_was_changed_on_disk_is_not_told(
    make_bed: Callable[..., Testbed],
) -> None:
    """One byte of what was gathered, and it is INTEGRITY_BROKEN: the log knows its SHA-256."""
    own = make_bed().begin(["alpha"])
    async with own.operator("soar") as soar:
        name = (await _open(soar, "alpha")).incident.name
    assert own.control is not None
    own.control.stop()
    with sqlite3.connect(own.layout.control / "incidents.db") as connection:
        connection.execute(
            "UPDATE incidents SET document = CAST(replace(document, 'alpha-owner', 'somebody')"
            " AS BLOB)"
        )
    own.restart_control()
    async with own.operator("soar") as soar:
        error = await refused(_get(soar, name))

    assert error.reason == "INTEGRITY_BROKEN"


async def test_p2_a_broken_incident_store_leaves_the_levers(
    make_bed: Callable[..., Testbed],
) -> None:
    """The store is noise: control starts, contains, investigates; incidents are UNAVAILABLE."""
    own = make_bed().begin(["alpha"])
    assert own.control is not None
    own.control.stop()
    for path in own.layout.control.glob("incidents.db*"):
        path.unlink()
    spoilt = own.layout.control / "incidents.db"
    spoilt.write_bytes(b"this is no database" * 1000)
    spoilt.chmod(0o600)
    own.restart_control()
    async with own.operator("alice") as alice, own.agent() as agent:
        errors = [
            await refused(_open(alice, "alpha")),
            await refused(_list(alice)),
            await refused(_get(alice, "incidents/inc_" + "0" * 32)),
        ]
        receipt = (await alice.contain("alpha")).receipt
        verdict = await agent.verdict()

    assert {(e.code.name, e.reason) for e in errors} == {("UNAVAILABLE", "STORE_UNAVAILABLE")}
    assert receipt.contained
    assert verdict == "DENY KILLED"
