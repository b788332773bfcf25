# SPDX-License-Identifier: Apache-2.0
"""D21: every way to a decision carries the caller's own identity. D26: foreign looks like missing."""

from __future__ import annotations

import secrets

import grpc
import pytest

from sidecar.api.v1 import approval_pb2, operation_pb2
from sidecar.approvals.values import ApprovalState
from sidecar.control import approvals as servicer
from sidecar.model import Role
from tests.unit.control_approvals.approvals_rig import OPERATORS, code_of, reason_of

Message = approval_pb2.Approval
GONE = "NOT_FOUND NOT_FOUND"
NO_ROLE = "PERMISSION_DENIED PERMISSION_MISSING"
OTHER = "PERMISSION_DENIED NOT_AN_APPROVER"
SELF = "PERMISSION_DENIED SELF_APPROVAL"
COUNTED = "OK"
TABLE = {
    # who: a call (role approve), a release that alice asked for, a bundle that alice asked for
    "bob": (COUNTED, COUNTED, GONE),
    "carol": (COUNTED, COUNTED, GONE),
    "bobby": (COUNTED, COUNTED, GONE),
    "anna": (COUNTED, COUNTED, OTHER),  # an auditor too: sees the bundle, may not decide it
    "olga": (SELF, COUNTED, GONE),  # owns the agent
    "alice": (COUNTED, SELF, SELF),
    "rita": (GONE, GONE, GONE),  # another role
    "paul": (GONE, GONE, COUNTED),
    "audrey": (NO_ROLE, NO_ROLE, NO_ROLE),  # may only audit
    "soar": (NO_ROLE, NO_ROLE, NO_ROLE),  # may only contain
    "robot": (OTHER, OTHER, GONE),  # automation with a human's role
    "local": (NO_ROLE, NO_ROLE, NO_ROLE),  # root on the host
}


async def waiting(rig, column: int):
    match column:
        case 0:
            return await rig.hold()
        case 1:
            return await rig.act()
        case _:
            return await rig.act("activate_policy", role=Role.POLICY_APPROVE)


async def decide(rig, who: str, name: str, *, fingerprint: str, verdict: int) -> str:
    request = approval_pb2.DecideApprovalRequest(
        request_id="vote-0001", name=name, verdict=verdict, fingerprint=fingerprint
    )
    try:
        await rig.as_(who).approvals.DecideApproval(request)
    except grpc.aio.AioRpcError as exc:
        return f"{code_of(exc)} {reason_of(exc)}"
    return COUNTED


@pytest.mark.parametrize("column", [0, 1, 2], ids=["call", "release", "bundle"])
@pytest.mark.parametrize("who", TABLE)
async def test_d21_every_caller_decides_as_itself_or_not_at_all(rig, who, column):
    """Grants and refusals alike: what the table says, and the vote is of whoever called."""
    approval = await waiting(rig, column)
    expected = TABLE[who][column]

    told = await decide(
        rig, who, approval.name, fingerprint=approval.request.fingerprint,
        verdict=Message.VERDICT_GRANT,
    )  # fmt: skip
    refused = await waiting(rig, column)
    told_no = await decide(rig, who, refused.name, fingerprint="", verdict=Message.VERDICT_REFUSE)

    now = await rig.approvals.get(approval.id)
    assert told == told_no == expected
    assert [vote.operator for vote in now.votes] == ([who] if expected == COUNTED else [])
    assert (now.state is ApprovalState.GRANTED) is (expected == COUNTED)


def test_d21_the_table_holds_every_operator():
    """Nobody is forgotten."""
    assert set(TABLE) == {*OPERATORS, "local"}


async def test_d21_one_way_in(rig, monkeypatch):
    """The vote goes to ``Approvals.decide`` with exactly the operator that the transport gave."""
    seen = []
    decide_for_real = rig.approvals.decide

    async def spy(ballot, caller):
        seen.append(caller)
        return await decide_for_real(ballot, caller)

    monkeypatch.setattr(rig.approvals, "decide", spy)
    approval = await rig.hold()

    await decide(
        rig, "bob", approval.name, fingerprint=approval.request.fingerprint,
        verdict=Message.VERDICT_GRANT,
    )  # fmt: skip

    assert seen == [OPERATORS["bob"]]


async def test_d21_own_identity_negative_control(rig, monkeypatch):
    """With a privileged identity in the servicer, the agent's owner grants its own agent's call."""
    monkeypatch.setattr(servicer, "caller", lambda: OPERATORS["bob"])
    approval = await rig.hold()

    told = await decide(
        rig, "olga", approval.name, fingerprint=approval.request.fingerprint,
        verdict=Message.VERDICT_GRANT,
    )  # fmt: skip

    assert told == COUNTED


async def test_d21_a_role_that_was_taken_away_decides_nothing(rig):
    """The operator in force counts, not the one the connection began with."""
    approval = await rig.hold()
    rig.give("bob", Role.AUDIT_READ)

    told = await decide(
        rig, "bob", approval.name, fingerprint=approval.request.fingerprint,
        verdict=Message.VERDICT_GRANT,
    )  # fmt: skip

    assert told == NO_ROLE


async def test_d21_refused_calls_are_recorded(rig):
    """Who tried what without the role."""
    approval = await rig.hold()

    await decide(rig, "soar", approval.name, fingerprint="", verdict=Message.VERDICT_REFUSE)

    assert rig.memory.refused == [("/sidecar.api.v1.ApprovalService/DecideApproval", "soar")]


# -- D26 ------------------------------------------------------------------------------------------


def guesses(foreign: str) -> list[str]:
    id_ = foreign.partition("/")[2]
    return [
        foreign,
        f"approvals/apr_{secrets.token_hex(16)}",
        f"approvals/apr_{'0' * 32}",
        id_,
        f"approvals/{id_}\n",
        f"approvals/{id_}/",
        f"approvals/{id_.upper()}",
        f"operations/{id_}",
        "approvals/",
        "",
        "approvals/apr_\x1b[2J",
        "approvals/" + "a" * 10_000,
    ]


async def answers(calls) -> set[tuple[object, ...]]:
    """Return everything that each refused call tells: status, words, details."""
    found = set()
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        error = caught.value
        found.add((code_of(error), error.details(), tuple(error.trailing_metadata() or ())))
    return found


@pytest.mark.parametrize("verdict", [None, Message.VERDICT_GRANT, Message.VERDICT_REFUSE, 9])
async def test_d26_foreign_missing_and_impossible_look_alike(rig, verdict):
    """To the byte, whether one looks or votes, well-formed or not."""
    foreign = await rig.act("activate_policy", role=Role.POLICY_APPROVE)
    stub = rig.as_("bob").approvals
    names = guesses(foreign.name)
    if verdict == 9:  # a malformed vote: the names that are well-formed are told so alike
        names = names[:3]

    def call(name: str):
        if verdict is None:
            return stub.GetApproval(approval_pb2.GetApprovalRequest(name=name))
        return stub.DecideApproval(
            approval_pb2.DecideApprovalRequest(
                request_id="vote-0001",
                name=name,
                verdict=verdict,
                fingerprint=foreign.request.fingerprint,
            )
        )

    found = await answers(call(name) for name in names)

    assert len(found) == 1
    assert foreign.id not in str(found)


async def test_d26_negative_control(rig, monkeypatch):
    """With ``may_see`` patched out, a foreign one is told apart from a missing one."""
    foreign = await rig.act("activate_policy", role=Role.POLICY_APPROVE)
    monkeypatch.setattr(rig.approvals, "may_see", lambda approval, caller: True)
    stub = rig.as_("bob").approvals

    answer = await stub.GetApproval(approval_pb2.GetApprovalRequest(name=foreign.name))

    assert answer.approval.name == foreign.name


async def test_d26_a_foreign_one_costs_as_many_looks_as_a_missing_one(rig, monkeypatch):
    """One look each: there is nothing to measure."""
    foreign = await rig.act("activate_policy", role=Role.POLICY_APPROVE)
    looks: list[str] = []
    get = rig.approvals.get

    async def counted(approval_id: str):
        looks.append(approval_id)
        return await get(approval_id)

    monkeypatch.setattr(rig.approvals, "get", counted)
    stub = rig.as_("bob").approvals

    await answers(
        stub.GetApproval(approval_pb2.GetApprovalRequest(name=name))
        for name in (foreign.name, f"approvals/apr_{secrets.token_hex(16)}")
    )

    assert len(looks) == 2


async def test_d26_operations_are_told_apart_from_nothing_alike(rig):
    """Foreign, missing, a call's approval, and what no operation is called."""
    foreign = await rig.act("activate_policy", role=Role.POLICY_APPROVE)
    call = await rig.hold()
    stub = rig.as_("bob").operations
    names = [name.replace("approvals/", "operations/") for name in guesses(foreign.name)]
    names += [foreign.name, f"operations/{call.id}"]

    found = await answers(
        stub.GetOperation(operation_pb2.GetOperationRequest(name=name)) for name in names
    )

    assert len(found) == 1
    assert foreign.id not in str(found)
