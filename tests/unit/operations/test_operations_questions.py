# SPDX-License-Identifier: Apache-2.0
"""Questions: an operation that ends with its answer, and with nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sidecar.approvals.values import Cause, Tier, Verdict
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    RefusedError,
    UntrustedInputError,
)
from sidecar.model import Operator, Role
from sidecar.operations.answers import NO_RESULT
from sidecar.operations.forms import agent_in
from sidecar.operations.questions import MAX_DETAILS, MAX_QUESTION, Question, question_sentence
from sidecar.operations.rules import need_of_confirmation
from sidecar.operations.values import Action, OperationState
from sidecar.policy.approval_rules import ApprovalRules
from sidecar.shape import ShapeError
from tests.unit.containment.containment_kit import operator, order, release
from tests.unit.operations.operations_kit import (
    ALICE,
    AUDITOR,
    BOB,
    CAROL,
    DAVE,
    LOCAL,
    SOAR,
    Desk,
    Office,
    digest,
)

HIGH = "version: 1\nactions:\n  confirm: {tier: HIGH}\n"


def question(**fields: Any) -> Question:
    """Return a question."""
    return Question(**{"request_id": "request-1", "question": "May it go on?", **fields})


async def asked(desk: Desk, caller: Operator = SOAR, **fields: Any) -> Any:
    """Ask one; it must be new."""
    operation, is_repeated = await desk.operations.confirm(question(**fields), caller)
    assert not is_repeated
    return operation


async def test_d01_granted_question_is_done_and_changes_nothing(office: Office) -> None:
    """One human other than the asker says yes: DONE, no directive, no epoch, no result."""
    async with office.open() as desk:
        before = desk.containment.epoch
        operation = await asked(desk, agent="banking", details="why\nnot")
        await desk.vote(operation, BOB)
        done = await desk.now(operation)
        result = await desk.operations.result(done)

        assert operation.state is OperationState.PENDING_APPROVAL
        assert (done.state, done.action) == (OperationState.DONE, Action.CONFIRM)
        assert done.detail == "granted by bob"
        assert (done.outcome.directive_epoch, done.outcome.epoch) == (0, 0)
        assert result is NO_RESULT
        assert desk.containment.epoch == before
        assert desk.levels == []


async def test_d01_refused_question_is_refused(office: Office) -> None:
    """One refusal ends it."""
    async with office.open() as desk:
        operation = await asked(desk)
        await desk.vote(operation, CAROL, Verdict.REFUSE)

        assert (await desk.now(operation)).state is OperationState.REFUSED


async def test_d02_asker_does_not_answer(office: Office) -> None:
    """ALICE may approve, and not what she asks herself."""
    async with office.open() as desk:
        operation = await asked(desk, ALICE)
        with pytest.raises(RefusedError) as refused:
            await desk.vote(operation, ALICE)

        assert refused.value.reason is ErrorReason.SELF_APPROVAL
        assert (await desk.now(operation)).state is OperationState.PENDING_APPROVAL


async def test_d02_owner_of_the_agent_does_not_answer(office: Office) -> None:
    """Whoever is responsible for the agent is a party to what is asked about it."""
    office.policy.known = (
        replace(BOB, emails=("emma@example.com",)), CAROL, SOAR, AUDITOR
    )  # fmt: skip
    async with office.open() as desk:
        about = await asked(desk, agent="banking")
        names = desk.approvals.electorate(about.approval.request).names
        about_none = await asked(desk, request_id="request-2")

        assert names == ("carol",)
        assert desk.approvals.electorate(about_none.approval.request).names == ("bob", "carol")


async def test_same_request_id_is_the_same_question(office: Office) -> None:
    """Whatever became of it; another body, another asker, another order is a conflict."""
    async with office.open() as desk:
        operation = await asked(desk)
        again, is_repeated = await desk.operations.confirm(question(), SOAR)
        await desk.vote(operation, BOB)
        later, _ = await desk.operations.confirm(question(), SOAR)

        assert (again.id, is_repeated) == (operation.id, True)
        assert later.state is OperationState.DONE
        for body, caller in (
            ({"question": "Other?"}, SOAR),
            ({"details": "x"}, SOAR),
            ({"agent": "banking"}, SOAR),
            ({}, ALICE),
        ):
            with pytest.raises(ConflictError):
                await desk.operations.confirm(question(**body), caller)


async def test_kill_of_the_agent_leaves_the_question(office: Office) -> None:
    """A playbook asks on while its agent is killed: that is when it asks."""
    async with office.open() as desk:
        operation = await asked(desk, agent="banking")
        await desk.operations.contain(order("request-kill"), ALICE)
        await desk.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed")
        await desk.vote(operation, BOB)

        assert (await desk.now(operation)).state is OperationState.DONE


@pytest.mark.parametrize("caller", [AUDITOR, CAROL, operator("x")], ids=lambda one: one.name)
async def test_whoever_may_not_ask_asks_nobody(office: Office, caller: Operator) -> None:
    """PERMISSION_MISSING, for the rehearsal too; nothing is opened."""
    async with office.open() as desk:
        with pytest.raises(RefusedError) as refused:
            await desk.operations.confirm(question(), caller)
        with pytest.raises(RefusedError):
            desk.operations.preview_confirmation(question(), caller)

        assert refused.value.reason is ErrorReason.PERMISSION_MISSING
        assert desk.approvals.live() == ()


@pytest.mark.parametrize("caller", [ALICE, SOAR, DAVE, LOCAL], ids=lambda one: one.name)
async def test_whoever_may_ask_asks(office: Office, caller: Operator) -> None:
    """Whoever contains, releases, writes policy or administrates, root at the host included."""
    async with office.open() as desk:
        assert (await asked(desk, caller)).requester == caller.name


async def test_granted_before_a_crash_is_done_after_it(office: Office) -> None:
    """Taken and not finished, it is finished by the next run: nothing could be done twice."""
    async with office.open() as desk:
        operation = await asked(desk)

        async def fail(*_: Any, **__: Any) -> Any:
            raise EnvironmentFailure("the disk is full")

        desk.approvals.finish = fail  # type: ignore[method-assign]
        await desk.vote(operation, BOB)
        running = await desk.now(operation)
    async with office.open() as desk:
        await desk.settle()

        assert running.state is OperationState.RUNNING
        assert (await desk.now(operation)).state is OperationState.DONE


def test_tier_and_humans_are_the_rules() -> None:
    """MEDIUM and one human by default; from HIGH two, whatever the file says of the quorum."""
    by_default = need_of_confirmation(ApprovalRules())
    high = need_of_confirmation(ApprovalRules(action_tiers={"confirm": "HIGH"}))

    assert (by_default.tier, by_default.quorum, by_default.role) == (Tier.MEDIUM, 1, Role.APPROVE)
    assert (high.tier, high.quorum, high.rule.is_passkey_needed) == (Tier.HIGH, 2, True)


async def test_high_questions_need_two(tmp_path: Any) -> None:
    """ALICE asks, BOB and CAROL say yes; one of them is not enough."""
    office = Office(tmp_path, approvals=HIGH)
    async with office.open() as desk:
        operation = await asked(desk, ALICE)
        await desk.vote(operation, BOB)
        half = await desk.now(operation)
        await desk.vote(operation, CAROL)

        assert half.state is OperationState.PENDING_APPROVAL
        assert (await desk.now(operation)).state is OperationState.DONE


# -- form and sentence ------------------------------------------------------------------------------


def test_form_holds_what_is_asked_and_nothing_else() -> None:
    """Question, details and agent: what is shown is what is hashed."""
    one = question(details="a\nb", agent="banking")

    assert json.loads(one.canonical()) == {
        "v": 1,
        "action": "confirm",
        "body": {"question": "May it go on?", "details": "a\nb", "agent": "banking"},
    }
    assert one.fingerprint() == digest(one.canonical())
    assert question(request_id="request-2").fingerprint() == question().fingerprint()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("May it go on?", "soar asks: “May it go on?”"),
        ("\u202eevil", "soar asks: “\\u{202e}evil”"),
        ("yes” said “alice", 'soar asks: “yes" said "alice”'),
        ("<b>", "soar asks: “<b>”"),
    ],
    ids=["plain", "turned", "quoted", "markup"],
)
def test_sentence_quotes_words_as_text(words: str, said: str) -> None:
    """One line; nothing in it turns it around or ends the quotation."""
    assert question_sentence("soar", question(question=words)) == said


def test_sentence_is_clipped_and_says_so() -> None:
    """A long question is one sentence all the same; the whole of it is in the form."""
    said = question_sentence("soar", question(question="x" * MAX_QUESTION, agent="banking"))

    assert said.startswith("soar asks about agent banking: “xxx")
    assert said.endswith("(+140 characters)”")


@pytest.mark.parametrize(
    "fields",
    [
        {"question": ""}, {"question": "  "}, {"question": "x" * (MAX_QUESTION + 1)},
        {"question": "a\nb"}, {"question": "a\u2028b"}, {"question": "\x1b"},
        {"details": "x" * (MAX_DETAILS + 1)}, {"details": "\r"}, {"details": "\x9b"},
        {"agent": "No Agent"}, {"request_id": "x"},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_is_no_question_does_not_come_to_be(fields: dict[str, str]) -> None:
    """A question that exists is well-formed."""
    with pytest.raises((UntrustedInputError, ShapeError)):
        question(**fields)


async def test_agent_of_a_request_is_read_from_what_is_hashed(office: Office) -> None:
    """For tokens that are limited to agents: of a question, a containment, a release; else nobody."""
    async with office.open() as desk:
        about = await asked(desk, agent="banking")
        none = await asked(desk, request_id="request-2")
        directive = await desk.operations.contain(order("request-3"), ALICE)
        epoch = directive.receipt.receipt.directive.epoch  # type: ignore[union-attr]
        held = await desk.operations.release(release(epoch, "request-4"), ALICE)
        target = directive.receipt.receipt.directive.target  # type: ignore[union-attr]

        assert agent_in(about.approval.request) == "banking"
        assert agent_in(none.approval.request) == ""
        assert agent_in(held.approval.request) == target.agent != ""  # type: ignore[union-attr]
        for canonical in (b"", b"[]", b'{"body":{}}', b'{"body":{"target":{"kind":"all"}}}'):
            request = replace(held.approval.request, agent="", canonical=canonical)  # type: ignore[union-attr]
            assert agent_in(request) == ""
        earlier = replace(held.approval.request, agent="")  # type: ignore[union-attr]
        assert agent_in(earlier) == target.agent  # one that was stored before it said so itself
