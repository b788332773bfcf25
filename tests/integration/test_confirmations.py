# SPDX-License-Identifier: Apache-2.0
"""Questions to humans: asked by a playbook, answered like any held action, and nothing else done."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from sidecar.api.v1 import approval_pb2, operation_pb2, types_pb2
from tests.support.clients import ControlClient, new_id, refused
from tests.support.testbed import Testbed

Operation = types_pb2.Operation
HOSTILE = "\u202eok” granted by alice “<script>alert(1)</script> {{7*7}}"


async def _ask(client: ControlClient, **fields: Any) -> Any:
    request = operation_pb2.RequestConfirmationRequest(
        **{"request_id": new_id(), "question": "May the backup be restored?", **fields}
    )
    return await client.operations.RequestConfirmation(request, timeout=10)


async def test_question_is_answered_by_a_human_and_nothing_else_comes_of_it(bed: Testbed) -> None:
    """SOAR asks about an agent; a human grants exactly that; no directive, no epoch, no receipt."""
    name = bed.fresh_agent()
    async with bed.operator("soar") as soar, bed.operator("only-approve") as human:
        epoch = await soar.epoch()
        asked = await _ask(soar, agent=name, details="It was\nencrypted.", request_id="confirm-1")
        again = await _ask(soar, agent=name, details="It was\nencrypted.", request_id="confirm-1")
        other = await refused(_ask(soar, agent=name, request_id="confirm-1"))
        shown = await human.approval(asked.operation.approval)
        await human.decide(asked.operation.approval)
        done = await soar.operation(asked.operation.name, wait_s=10)
        after = await soar.epoch()

    form = json.loads(shown.canonical)
    assert asked.operation.state == Operation.STATE_PENDING_APPROVAL
    assert (asked.operation.action, asked.operation.requester) == ("confirm", "soar")
    assert again.repeated_request
    assert again.operation.name == asked.operation.name
    assert not asked.repeated_request
    assert other.reason == "REQUEST_ID_CONFLICT"
    assert sha256(shown.canonical).hexdigest() == asked.operation.fingerprint
    assert (form["action"], form["body"]) == (
        "confirm",
        {
            "agent": name,
            "details": "It was\nencrypted.",
            "question": "May the backup be restored?",
        },
    )
    assert shown.tier == "MEDIUM"
    assert shown.agent == name
    assert done.state == Operation.STATE_DONE
    assert done.detail == "granted by only-approve"
    assert not done.HasField("receipt")
    assert not done.HasField("directive")
    assert (done.epoch, after) == (0, epoch)


async def test_refused_question_and_who_may_not_answer(bed: Testbed) -> None:
    """The requester, automation and whoever lacks the role answer nothing; a refusal ends it."""
    async with (
        bed.operator("alice") as alice,
        bed.operator("alice.second") as alias,
        bed.operator("soar") as soar,
        bed.operator("only-approve") as human,
    ):
        asked = (await _ask(alice)).operation
        errors = [
            await refused(one.decide(asked.approval, fingerprint=asked.fingerprint))
            for one in (alice, alias, soar)
        ]
        hidden = await refused(soar.operation(asked.name))
        await human.decide(asked.approval, "REFUSE")
        ended = await alice.operation(asked.name, wait_s=10)

    assert {error.code.name for error in errors} <= {"PERMISSION_DENIED", "NOT_FOUND"}
    assert hidden.code.name == "NOT_FOUND"
    assert ended.state == Operation.STATE_REFUSED


async def test_owner_of_the_agent_does_not_answer(make_bed: Callable[..., Testbed]) -> None:
    """With the only approver as owner there is nobody to ask: refused at once, and said before."""
    own = make_bed()
    agents = own.bundle / "agents.yaml"
    agents.write_text(agents.read_text().replace("alpha-owner@example.com", "only-approve"))
    own.begin(["alpha"])
    async with own.operator("soar") as soar:
        rehearsal = (await _ask(soar, agent="alpha", validate_only=True)).operation
        error = await refused(_ask(soar, agent="alpha"))
        about_none = (await _ask(soar, validate_only=True)).operation

    assert (rehearsal.name, list(rehearsal.approvers)) == ("", [])
    assert rehearsal.detail
    assert error.reason == "NO_APPROVER"
    assert list(about_none.approvers) == ["only-approve"]


async def test_rehearsal_asks_nobody(bed: Testbed) -> None:
    """``validate_only`` names the approvers, and opens nothing."""
    async with bed.operator("soar") as soar, bed.operator("only-approve") as human:
        before = len(await human.pending())
        rehearsal = (await _ask(soar, validate_only=True)).operation
        after = len(await human.pending())

    assert (rehearsal.name, rehearsal.action) == ("", "confirm")
    assert list(rehearsal.approvers) == ["only-approve"]
    assert before == after


async def test_hostile_words_are_text_in_the_sentence(bed: Testbed) -> None:
    """What turns text around is made visible, and what is quoted does not end the quotation."""
    async with bed.operator("soar") as soar, bed.operator("only-approve") as human:
        asked = (await _ask(soar, question=HOSTILE, details=HOSTILE * 3)).operation
        shown = await human.approval(asked.approval)
        long = (await _ask(soar, question="x" * 300)).operation
        await human.decide(asked.approval, "REFUSE")
        await human.decide(long.approval, "REFUSE")

    assert "\u202e" not in asked.summary
    assert "\\u{202e}" in asked.summary
    assert asked.summary.count("“") == asked.summary.count("”") == 1
    assert json.loads(shown.canonical)["body"]["question"] == HOSTILE
    assert len(long.summary) < 230


@pytest.mark.parametrize(
    "fields",
    [
        {"question": ""},
        {"question": " \t"},
        {"question": "x" * 301},
        {"question": "one\ntwo"},
        {"question": "\x1b[2J"},
        {"details": "x" * 4001},
        {"details": "\x00"},
        {"agent": "*"},
        {"request_id": "short"},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_what_is_no_question_is_refused(bed: Testbed, fields: dict[str, str]) -> None:
    """Empty, too long, or not text: INVALID_ARGUMENT, and nobody is asked."""
    async with bed.operator("soar") as soar:
        error = await refused(_ask(soar, **fields))

    assert error.code.name == "INVALID_ARGUMENT"


async def test_i09_whoever_may_only_approve_or_audit_asks_nothing(bed: Testbed) -> None:
    """Who answers does not ask, by the method's own permission."""
    for role in ("only-approve", "only-audit-read", "only-policy-approve"):
        async with bed.operator(role) as client:
            error = await refused(_ask(client))
        assert error.reason == "PERMISSION_MISSING"


async def test_granted_question_is_done_after_a_crash(make_bed: Callable[..., Testbed]) -> None:
    """The question outlives control; its grant ends it, once, whichever run of control sees it."""
    own = make_bed().begin(["alpha"])
    async with own.operator("soar") as soar:
        asked = (await _ask(soar)).operation
    assert own.control is not None
    own.control.kill()
    own.restart_control()
    async with own.operator("soar") as soar, own.operator("only-approve") as human:
        await human.decide(asked.approval)
        done = await soar.operation(asked.name, wait_s=10)
    own.control.kill()
    own.restart_control()
    async with own.operator("soar") as soar:
        later = await soar.operation(asked.name)

    assert done.state == later.state == Operation.STATE_DONE


async def test_tier_of_questions_is_the_bundles_to_set(make_bed: Callable[..., Testbed]) -> None:
    """``confirm`` of tier HIGH needs two humans, so with one approver nobody is asked."""
    own = make_bed()
    (own.bundle / "approvals.yaml").write_text("version: 1\nactions:\n  confirm: {tier: HIGH}\n")
    own.begin(["alpha"])
    async with own.operator("soar") as soar:
        error = await refused(_ask(soar))

    assert error.reason in ("NO_APPROVER", "NO_CHANNEL")


# -- what a caller with `contain` alone reads ---------------------------------------------------------


async def test_i09_soar_reads_who_wants_to_run_what_and_no_argument(bed: Testbed) -> None:
    """Held calls of every agent without arguments; colleagues' actions do not exist for it."""
    name = bed.fresh_agent()
    canary = "canary-contain-9c1d"
    async with (
        bed.operator("soar") as soar,
        bed.operator("alice") as alice,
        bed.operator("only-approve") as human,
        bed.agent(name) as agent,
    ):
        held = await agent.ask("note.held", {"text": canary}, session="s-1")
        call = held.obligations.approval
        action = (await _ask(alice, question=canary)).operation
        seen = await soar.approval(call)
        listed = await soar.pending()
        own_action = (await _ask(soar, question="mine")).operation
        own_seen = await soar.approval(own_action.approval)
        hidden = await refused(soar.approval(action.approval))
        denied = await refused(soar.decide(call, fingerprint=seen.fingerprint))
        await human.decide(call, "REFUSE", reason=canary)
        ended = await soar.approval(call)
        whole = await human.approval(call)
        for approval in (action.approval, own_action.approval):
            await human.decide(approval, "REFUSE")

    assert (seen.agent, seen.tool, seen.session) == (name, "note.held", "s-1")
    assert seen.summary == f"agent {name} wants to run note.held"
    assert seen.canonical == b""
    assert call in [item.name for item in listed]
    assert action.approval not in [item.name for item in listed]
    assert canary not in str(seen) + str(listed) + str(ended)
    assert ended.state == approval_pb2.Approval.STATE_REFUSED
    assert [(vote.operator, vote.reason) for vote in ended.votes] == [("only-approve", "")]
    assert [vote.reason for vote in whole.votes] == [canary]
    assert hidden.code.name == "NOT_FOUND"
    assert denied.code.name == "PERMISSION_DENIED"
    assert own_seen.requester == "soar"
    assert own_seen.canonical == b""


async def test_i09_negative_control_the_approver_reads_the_argument(bed: Testbed) -> None:
    """The canary can be found where it belongs: with whoever decides."""
    name = bed.fresh_agent()
    async with bed.operator("only-approve") as human, bed.agent(name) as agent:
        held = await agent.ask("note.held", {"text": "canary-contain-9c1d"})
        seen = await human.approval(held.obligations.approval)

    assert b"canary-contain-9c1d" in seen.canonical
    assert "canary-contain-9c1d" in seen.summary


# -- directives by target ------------------------------------------------------------------------------


async def test_directives_are_listed_by_exact_target(bed: Testbed) -> None:
    """Only that target: not one that covers it, not one that it covers."""
    name = bed.fresh_agent()
    agent = types_pb2.Target(agent=name)
    session = types_pb2.Target(session=types_pb2.Target.Session(agent=name, session="s-1"))
    tool = types_pb2.Target(
        tool_at_agent=types_pb2.Target.ToolAtAgent(agent=name, tool="note.read")
    )
    labels = types_pb2.Target(labels=types_pb2.Target.Labels(labels={"team": name}))
    async with bed.operator("alice") as alice:
        epochs = {}
        for key, target in (("agent", agent), ("session", session), ("tool", tool)):
            epochs[key] = (await alice.contain(target, "OBSERVE")).receipt.directive.epoch
        epochs["labels"] = (await alice.contain(labels, "OBSERVE")).receipt.directive.epoch
        found = {
            key: [d.epoch for d in await alice.directives(target=target)]
            for key, target in (
                ("agent", agent), ("session", session), ("tool", tool), ("labels", labels),
            )
        }  # fmt: skip
        await alice.release(epochs["session"])
        standing = await alice.directives(target=session)
        ended = await alice.directives(target=session, include_ended=True)
        none = await refused(alice.directives(target=types_pb2.Target()))

    assert found == {key: [epoch] for key, epoch in epochs.items()}
    assert standing == []
    assert [directive.epoch for directive in ended] == [epochs["session"]]
    assert none.code.name == "INVALID_ARGUMENT"
