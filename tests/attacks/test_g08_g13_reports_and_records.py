# SPDX-License-Identifier: Apache-2.0
"""G08, G12, G13: what an agent writes into the log is its own word, marked, bounded and harmless."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import guard_pb2
from sidecar.audit import entry as entry_module
from sidecar.audit import redaction as redaction_module
from sidecar.audit.log import Ticket
from sidecar.audit.reader import read_entries
from sidecar.audit.verify import verify_directory
from sidecar.gate.outcomes import OutcomeService
from tests.support.clients import effect, refused
from tests.support.rig import GateRig
from tests.support.testbed import Testbed

HOSTILE = [
    "a\nb",
    "a\r\nb",
    "nul\0nul",
    "\x1b[2J\x1b]52;c;aGk=\x07",
    "line\u2028separator\u2029",
    '"}\n{"kind":"release","operator":"bob"}',
    "bidi \u202egnitirw",
    "zero\u200bwidth\u2060",
    "c1 \x9b31m",
    "tag \U000e0041\U000e0042",
]


def _outcomes(bed: Testbed, agent: str) -> list[dict[str, Any]]:
    stored = read_entries(bed.layout.gate_audit("gate"), 0, 100_000, is_unsigned_included=True)
    entries = (entry.fields() for entry in stored)
    return [entry for entry in entries if entry["kind"] == "outcome" and entry["agent"] == agent]


# -- G13 ------------------------------------------------------------------------------------------


async def test_g13_outcome_is_joined_once_and_marked_otherwise(bed: Testbed) -> None:
    """The first report of an allowed call counts; a second, an invented and a denied one are marked."""
    name = bed.fresh_agent()
    async with bed.agent(name) as agent:
        allowed = await agent.ask("note.write")
        denied = await agent.ask("note.forbidden")
        first = await agent.report(allowed.decision_id)
        again = await agent.report(allowed.decision_id, "ERROR")
        invented = await agent.report("dec_" + "0" * 32)
        contradiction = await agent.report(denied.decision_id)
    recorded = _outcomes(bed, name)

    assert [first.mark, again.mark, invented.mark, contradiction.mark] == [
        "",
        "duplicate",
        "orphan",
        "not_allowed",
    ]
    assert [entry.get("mark", "") for entry in recorded] == [
        "",
        "duplicate",
        "orphan",
        "not_allowed",
    ]
    assert [entry["seq"] for entry in recorded] == [
        first.log_index,
        again.log_index,
        invented.log_index,
        contradiction.log_index,
    ]
    assert all(entry["self_reported"] for entry in recorded)


async def test_g13_marks_outlive_a_restart(make_bed: Callable[..., Testbed]) -> None:
    """A gate that was killed still knows which decisions had an outcome."""
    bed = make_bed().begin(["alpha"])
    async with bed.agent() as agent:
        reported, open_ = await agent.ask("note.write"), await agent.ask("note.write")
        await agent.report(reported.decision_id)
    bed.gates["gate"].kill()
    bed.launch_gate(["alpha"])
    bed.wait_gate("alpha")
    async with bed.agent() as agent:
        again = await agent.report(reported.decision_id)
        late = await agent.report(open_.decision_id)

    assert (again.mark, late.mark) == ("duplicate", "")


# -- G12 ------------------------------------------------------------------------------------------


async def test_g12_another_agents_decision_is_an_orphan(bed: Testbed) -> None:
    """Who reports is known from the socket; the entry names him, whatever he claims to know."""
    one, other = bed.fresh_agent(), bed.fresh_agent()
    async with bed.agent(one) as owner, bed.agent(other) as thief:
        decision = await owner.ask("note.write")
        stolen = await thief.report(decision.decision_id)
        own = await owner.report(decision.decision_id)
    by_thief, by_owner = _outcomes(bed, other), _outcomes(bed, one)

    assert (stolen.mark, own.mark) == ("orphan", "")
    assert [(e["agent"], e.get("mark")) for e in by_thief] == [(other, "orphan")]
    assert [(e["agent"], e.get("mark")) for e in by_owner] == [(one, None)]


@pytest.mark.parametrize(
    "outcome",
    [
        {"decision_id": ""},
        {"decision_id": "dec_zz"},
        {"decision_id": "dec_" + "0" * 32 + "\n"},
        {"result": "UNSPECIFIED"},
        {"response_digest": "not hex"},
    ],
)
async def test_g12_malformed_report_is_refused(bed: Testbed, outcome: dict[str, str]) -> None:
    """No entry is made of what is not a report."""
    async with bed.agent() as agent:
        error = await refused(agent.report(**{"decision_id": "dec_" + "0" * 32, **outcome}))

    assert error.code == grpc.StatusCode.INVALID_ARGUMENT


async def test_g12_size_and_rate_are_capped(make_bed: Callable[..., Testbed]) -> None:
    """A megabyte is clipped, five are refused, and a flood ends at the agent's own limit."""
    bed = make_bed(outcomes_per_minute=60).begin(["alpha", "beta"])
    async with bed.agent() as agent, bed.agent("beta") as other:
        decision = await agent.ask("note.write")
        await agent.report(decision.decision_id, detail="x" * 1_000_000)
        huge = await refused(agent.report(decision.decision_id, detail="x" * 5_000_000))
        flood = await asyncio.gather(
            *(agent.report(decision.decision_id) for _ in range(100)), return_exceptions=True
        )
        beta = await other.report("dec_" + "0" * 32)
    refusals = [e.code() for e in flood if isinstance(e, grpc.aio.AioRpcError)]
    recorded = _outcomes(bed, "alpha")

    assert huge.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 35 <= len(refusals) <= 60
    assert set(refusals) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(recorded[0]["detail"]) < 1000
    assert beta.mark == "orphan"


async def test_g12_stream_refuses_item_by_item(bed: Testbed) -> None:
    """On the stream a bad report does not take the good ones with it."""
    name = bed.fresh_agent()
    item = guard_pb2.LogStreamRequest.Item
    good = guard_pb2.Outcome.RESULT_SUCCESS
    async with bed.agent(name) as agent:
        decision = await agent.ask("note.write")
        stream = agent.guard.LogStream()
        await stream.write(
            guard_pb2.LogStreamRequest(
                items=[
                    item(id=1, outcome={"decision_id": decision.decision_id, "result": good}),
                    item(id=2, outcome={"decision_id": "nonsense", "result": good}),
                    item(id=3, outcome={"decision_id": decision.decision_id, "result": good}),
                ]
            )
        )
        answers: dict[int, Any] = {}
        while len(answers) < 3:
            message = await stream.read()
            answers.update((answer.id, answer) for answer in message.items)
        await stream.done_writing()

    assert answers[1].mark == ""
    assert answers[2].refusal.code == "MALFORMED"
    assert answers[3].mark == "duplicate"


async def test_g12_identity_from_the_message_would_be_forged_negative_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A joiner that does not compare agents would take a thief's report for the owner's."""
    tmp_path.chmod(0o700)
    async with GateRig(tmp_path) as rig:
        decision = await rig.ask("note.write")
        join = rig.joiner.outcome
        monkeypatch.setattr(
            rig.joiner,
            "outcome",
            lambda *, decision_id, agent: join(decision_id=decision_id, agent="alpha"),
        )
        service = OutcomeService(
            audit=rig.audit,
            joiner=rig.joiner,
            redactor=rig.recorder._redactor,
            clock=rig.clock,
            calls_per_minute=60,
        )
        outcome = guard_pb2.Outcome(
            decision_id=decision.decision_id, result=guard_pb2.Outcome.RESULT_SUCCESS
        )
        (stolen,) = await service.report("beta", [outcome])  # type: ignore[arg-type]

    assert stolen.mark == ""


# -- G08 ------------------------------------------------------------------------------------------


async def test_g08_hostile_text_stays_on_its_line(bed: Testbed) -> None:
    """Names, sessions, arguments, details: one entry each, one line each, nothing that steers."""
    name = bed.fresh_agent()
    async with bed.agent(name) as agent:
        decision = await agent.ask("note.write", {"text": "plain"})
        for text in HOSTILE:
            await agent.ask(text)
            await agent.ask("note.read", session=text)
            await agent.ask("note.write", {"text": text})
            await agent.report(decision.decision_id, detail=text)
        marker = await agent.ask("note.write", {"text": "the end"})
    directory = bed.layout.gate_audit("gate")
    stored = read_entries(directory, 0, 100_000, is_unsigned_included=True)
    mine = [entry for entry in stored if entry.fields().get("agent") == name]

    assert mine[-1].fields()["decision_id"] == marker.decision_id
    assert len(mine) == 2 + 4 * len(HOSTILE)
    for entry in mine:
        assert entry.line.count(b"\n") == 0
        text = entry.line.decode()
        assert text.isprintable(), text
        assert json.loads(text)["kind"] in {"decision", "outcome"}
    assert bed.verify_gate_log().ok
    logged = bed.gates["gate"].log.read_text()
    assert all(line.isprintable() for line in logged.split("\n"))


async def test_g08_without_escaping_the_separator_is_in_the_file_negative_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON alone escapes controls, but not what a terminal or an editor takes for a line break."""
    tmp_path.chmod(0o700)
    for module in (entry_module, redaction_module):
        monkeypatch.setattr(module, "escape_text", lambda text: text)
    async with GateRig(tmp_path) as rig:
        decision = await rig.ask("note.write", {"text": "a\u2028b\u202ec"})
        await rig.audit.durable(Ticket(rig.audit.size - 1))
        await rig.audit.checkpoint()
        directory, vkey = rig.audit.directory, rig.audit.vkey
        lines = [entry.line for entry in read_entries(directory, 0, 100)]

    assert effect_of(decision) == "ALLOW"
    assert any("\u2028" in line.decode() for line in lines)
    assert not verify_directory(directory, vkey=vkey).ok


def effect_of(decision: Any) -> str:
    """Return the effect of a decision, of either kind."""
    return str(decision.effect) if isinstance(decision.effect, str) else effect(decision)
