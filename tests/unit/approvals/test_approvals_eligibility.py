# SPDX-License-Identifier: Apache-2.0
"""P5: two different humans where two are asked; requester, agent, owner and automation never count."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.approvals import eligibility, machine
from sidecar.approvals.eligibility import (
    Electorate,
    Standing,
    electorate_of,
    fold,
    granting_humans,
    shortfall,
    standing_of,
)
from sidecar.approvals.refusals import No, Refusal
from sidecar.approvals.values import Approval, ApprovalState, Request, Verdict
from sidecar.clock import ManualClock
from sidecar.model import Operator, OperatorKind, Role
from tests.unit.approvals.approvals_kit import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    OWNER,
    SOAR,
    action_request,
    ballot,
    call_request,
    moment_of,
    operator,
)

AUTOMATION = OperatorKind.AUTOMATION
OWNER_TEXT = "olga@example.com"

# Everybody who could want to approve a call of agent "banking", owned by olga, that alice asked for.
PEOPLE: dict[str, tuple[Operator, bool]] = {
    "requester": (operator("alice"), False),
    "requester's second certificate": (operator("alice-2", human_id="alice"), False),
    "requester's id in capitals": (operator("alice-3", human_id=" ALICE "), False),
    "automation of the requester": (operator("bot", kind=AUTOMATION, human_id="alice"), False),
    "owner by mail": (operator("olga", emails=("Olga@Example.com",)), False),
    "owner's alias without mail": (operator("olga-2", human_id="OLGA"), False),
    "owner by name": (operator(OWNER_TEXT, human_id="someone"), False),
    "owner by human id": (operator("oo", human_id="OLGA@example.com "), False),
    "owner by identity": (operator("oi", identity=OWNER_TEXT.upper()), False),
    "the agent": (operator("banking", kind=AUTOMATION), False),
    "service account": (SOAR, False),
    "service account with a person's id": (
        operator("svc", kind=AUTOMATION, human_id="dave"),
        False,
    ),
    "human without a person": (operator("ghost", human_id=""), False),
    "human whose id is blank": (operator("blank", human_id=" \u200b "), False),
    "human without the role": (operator("otto", Role.CONTAIN, Role.ADMIN), False),
    "bob": (BOB, True),
    "bob's second device": (operator("bob-2", human_id="Bob"), True),
    "bob in wide letters": (operator("bob-3", human_id="ｂｏｂ"), True),
    "carol": (CAROL, True),
}
OPERATORS = [person for person, _ in PEOPLE.values()]
REQUEST = call_request(owner=OWNER_TEXT, requester="alice", requester_human="alice", quorum=2)


def waiting(request: Request, operators: list[Operator]) -> tuple[Approval, Electorate]:
    """Return a PENDING approval and who may decide it."""
    electorate = electorate_of(request, operators)
    opened = machine.open_approval(
        request, approval_id="apr_1", electorate=electorate, moment=moment_of(ManualClock())
    )
    assert isinstance(opened, Approval)
    return opened, electorate


def vote(approval: Approval, caller: Operator, electorate: Electorate) -> Approval | Refusal:
    """Let *caller* grant."""
    return machine.vote(
        approval,
        ballot(approval),
        caller=caller,
        signature="",
        electorate=electorate,
        moment=moment_of(ManualClock()),
        epoch=EPOCH,
    )


@pytest.mark.parametrize("who", PEOPLE)
def test_d01_each_identity_alone(who: str) -> None:
    """Only a human with the role who neither asks nor owns gets a vote."""
    caller, is_eligible = PEOPLE[who]
    approval, electorate = waiting(replace(REQUEST, quorum=1), OPERATORS)

    voted = vote(approval, caller, electorate)

    assert (isinstance(voted, Approval) and voted.state is ApprovalState.GRANTED) == is_eligible


def test_d01_d02_every_pair_of_identities() -> None:
    """Two grants make a quorum of two exactly if they come from two different eligible humans."""
    wrong = []
    for (first, (one, is_one)), (second, (two, is_two)) in product(PEOPLE.items(), repeat=2):
        approval, electorate = waiting(REQUEST, OPERATORS)
        for caller in (one, two):
            voted = vote(approval, caller, electorate)
            approval = voted if isinstance(voted, Approval) else approval
        is_two_humans = is_one and is_two and fold(one.human_id) != fold(two.human_id)
        if (approval.state is ApprovalState.GRANTED) != is_two_humans:
            wrong.append((first, second))

    assert not wrong


def test_d01_the_no_says_which_it_is() -> None:
    """Whoever asks or owns is told so; everybody else is told that the role is missing."""
    electorate = electorate_of(REQUEST, OPERATORS)

    standings = {
        who: standing_of(REQUEST, electorate, person) for who, (person, _) in PEOPLE.items()
    }

    self_ones = {who for who, standing in standings.items() if standing is Standing.SELF}
    assert self_ones == {
        "requester",
        "requester's second certificate",
        "requester's id in capitals",
        "owner by mail",
        "owner's alias without mail",
        "owner by name",
        "owner by human id",
        "owner by identity",
    }
    assert {who for who, standing in standings.items() if standing is Standing.MEMBER} == {
        "bob",
        "bob's second device",
        "bob in wide letters",
        "carol",
    }


def test_d01_without_the_exclusion_the_requester_approves_negative_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With law 3 taken out, alice grants what alice asked for."""
    monkeypatch.setattr(eligibility, "_is_party", lambda request, operator: False)
    request = replace(REQUEST, quorum=1, requester_human="")
    approval, electorate = waiting(request, OPERATORS)

    voted = vote(approval, ALICE, electorate)

    assert isinstance(voted, Approval)
    assert voted.state is ApprovalState.GRANTED


def test_d02_without_folding_one_human_is_two_negative_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With law 4 taken out, bob and Bob are a quorum of two."""
    for module in (eligibility, machine):
        monkeypatch.setattr(module, "fold", lambda text: text)
    approval, electorate = waiting(REQUEST, OPERATORS)

    once = vote(approval, BOB, electorate)
    assert isinstance(once, Approval)
    twice = vote(once, PEOPLE["bob's second device"][0], electorate)

    assert isinstance(twice, Approval)
    assert twice.state is ApprovalState.GRANTED


@given(st.text(max_size=20))
def test_d02_folding_is_stable_and_blind_to_case_and_space(text: str) -> None:
    """A folded id is a fixed point, and no spelling of the same id is another one."""
    folded = fold(text)

    assert fold(folded) == folded
    assert fold(f"  {text}\t") == folded
    assert fold(f"\u200b{text}\ufeff") == folded


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("bob", "BOB"),
        ("bob", "bob "),
        ("straße", "STRASSE"),
        ("ﬁona", "fiona"),
        ("bob", "b\u200dob"),
        ("é", "e\u0301"),
        ("ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς"),
    ],
)
def test_d02_spellings_of_one_person(one: str, two: str) -> None:
    """Case, space, compatibility forms, invisible marks and combining marks make no second person."""
    assert fold(one) == fold(two)


@pytest.mark.parametrize(
    ("operators", "quorum"),
    [
        ([], 1),
        ([SOAR], 1),
        ([ALICE, OWNER], 1),
        ([BOB], 2),
        ([BOB, operator("bob-2", human_id="bob ")], 2),
        ([operator("ghost", human_id="")], 1),
        ([BOB, operator("blank", human_id="\u200b ")], 2),
    ],
)
def test_d03_too_few_humans_is_a_refusal(operators: list[Operator], quorum: int) -> None:
    """Nobody, automation alone, the parties alone, or one human twice: nothing is opened."""
    request = replace(REQUEST, quorum=quorum)
    electorate = electorate_of(request, operators)

    opened = machine.open_approval(
        request, approval_id="apr_1", electorate=electorate, moment=moment_of(ManualClock())
    )

    assert isinstance(opened, Refusal)
    assert opened.code is No.NO_APPROVER
    assert "there is" in opened.text


def test_d03_without_the_count_an_empty_set_waits_negative_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With law 5 taken out, a request that nobody may decide is opened."""
    monkeypatch.setattr(machine, "shortfall", lambda request, electorate: "")

    opened, electorate = waiting(REQUEST, [])

    assert opened.state is ApprovalState.PENDING
    assert shortfall(REQUEST, electorate)


def test_votes_count_only_while_their_caster_may_decide() -> None:
    """An operator who lost the role, or came back with another identity, counts no more."""
    approval, electorate = waiting(REQUEST, OPERATORS)
    voted = vote(approval, BOB, electorate)
    assert isinstance(voted, Approval)
    without_role = electorate_of(REQUEST, [operator("bob", Role.CONTAIN), CAROL])
    other_identity = electorate_of(REQUEST, [replace(BOB, identity="spiffe://x/y"), CAROL])

    counts = [
        granting_humans(voted.votes, who) for who in (electorate, without_role, other_identity)
    ]

    assert counts == [frozenset({"bob"}), frozenset(), frozenset()]


def test_a_refusal_is_not_counted_as_a_grant() -> None:
    """Only GRANT counts towards the quorum."""
    approval, electorate = waiting(replace(REQUEST, quorum=1), OPERATORS)
    voted = vote(approval, BOB, electorate)
    assert isinstance(voted, Approval)
    refused = [replace(item, verdict=Verdict.REFUSE) for item in voted.votes]

    assert granting_humans(refused, electorate) == frozenset()


def test_an_actions_requester_is_out_by_every_alias() -> None:
    """The human behind the requester is found by the operator's name, too."""
    request = action_request(requester="alice", requester_human="")
    alias = operator("al", human_id="Alice")

    electorate = electorate_of(request, [ALICE, alias, BOB])

    assert electorate.names == ("bob",)
    assert standing_of(request, electorate, alias) is Standing.SELF


def test_what_nobody_owns_is_owned_by_nobody() -> None:
    """An empty owner is not the operator with an empty mail address."""
    careless = operator("bob", emails=("", " "))

    electorate = electorate_of(action_request(owner=""), [careless, SOAR])

    assert electorate.names == ("bob",)
    assert electorate.excluded == frozenset()


@pytest.mark.parametrize(
    ("people", "quorum", "sentence"),
    [
        (
            [],
            1,
            "1 human with the role approve must decide, beside the requester and the agent's "
            "owner, and there is none",
        ),
        (
            [BOB],
            2,
            "2 different humans with the role approve must decide, beside the requester and "
            "the agent's owner, and there is only 1",
        ),
        ([BOB, CAROL], 2, ""),
        ([BOB], 1, ""),
    ],
)
def test_d03_what_is_missing_is_said(people: list[Operator], quorum: int, sentence: str) -> None:
    """How many are needed and how many there are, and nobody's name."""
    request = replace(REQUEST, quorum=quorum)

    assert shortfall(request, electorate_of(request, people)) == sentence


def test_operators_are_listed_by_name() -> None:
    """What is shown does not depend on the order of a file."""
    electorate = electorate_of(REQUEST, [CAROL, BOB, PEOPLE["bob's second device"][0]])

    assert electorate.names == ("bob", "bob-2", "carol")
    assert set(electorate.humans) == {"bob", "carol"}
