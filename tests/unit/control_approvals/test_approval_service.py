# SPDX-License-Identifier: Apache-2.0
"""``ApprovalService``: who sees what of whom, and whose vote is counted."""

from __future__ import annotations

import json

import grpc
import pytest

from sidecar.api.v1 import approval_pb2
from sidecar.approvals.challenge import grant_challenge
from sidecar.approvals.values import ApprovalState, Channel, Tier
from sidecar.canonical import fingerprint_words
from sidecar.control import approvals as servicer
from sidecar.model import Role
from tests.unit.control_approvals.approvals_rig import SECOND_HUMANS, URL, code_of, reason_of

Message = approval_pb2.Approval
Get, List_ = approval_pb2.GetApprovalRequest, approval_pb2.ListApprovalsRequest


async def get(rig, who: str, approval) -> approval_pb2.Approval:
    answer = await rig.as_(who).approvals.GetApproval(Get(name=approval.name))
    return answer.approval


async def names(rig, who: str, **fields) -> list[str]:
    """Return the names on every page."""
    found: list[str] = []
    token = ""
    while True:
        answer = await rig.as_(who).approvals.ListApprovals(List_(page_token=token, **fields))
        found += [approval.name for approval in answer.approvals]
        token = answer.next_page_token
        if not token:
            return found


def ballot(approval, **fields) -> approval_pb2.DecideApprovalRequest:
    values = {
        "request_id": "vote-0001",
        "name": approval.name,
        "verdict": Message.VERDICT_GRANT,
        "fingerprint": approval.request.fingerprint,
        **fields,
    }
    return approval_pb2.DecideApprovalRequest(**values)


async def decide(rig, who: str, approval, **fields) -> approval_pb2.DecideApprovalResponse:
    return await rig.as_(who).approvals.DecideApproval(ballot(approval, **fields))


async def refusal(call) -> str:
    """Return ``STATUS REASON`` of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return f"{code_of(caught.value)} {reason_of(caught.value)}"


# -- what one is shown ----------------------------------------------------------------------------


async def test_an_approver_is_shown_all_of_it(rig):
    """The whole request, and who may decide it: not the owner, not automation."""
    approval = await rig.hold(quorum=2)

    message = await get(rig, "bob", approval)

    assert message.name == f"approvals/{approval.id}"
    assert message.state == Message.STATE_PENDING
    assert message.canonical == approval.request.canonical
    assert message.fingerprint == approval.request.fingerprint
    assert message.summary == approval.request.summary
    assert message.tier == "MEDIUM"
    assert (message.agent, message.session, message.tool) == ("banking", "s-1", "send_money")
    assert tuple(message.approvers) == SECOND_HUMANS
    assert message.approver_role == "approve"
    assert message.quorum == 2
    assert message.url == URL + approval.id
    assert message.policies == ["hold-large"]
    assert message.expire_time.ToNanoseconds() == approval.expire_time_ns
    assert not message.HasField("end_time")
    assert message.operation == ""


async def test_d19_the_words_are_those_of_the_fingerprint(rig):
    """One function makes them, whoever shows them."""
    approval = await rig.hold()

    message = await get(rig, "bob", approval)

    assert message.fingerprint_words == fingerprint_words(approval.request.fingerprint)


@pytest.mark.parametrize("who", ["audrey", "local"])
async def test_whoever_may_only_audit_reads_no_argument(rig, who):
    """Who wants to run what, and the fingerprint; neither the canonical form nor a value of it."""
    approval = await rig.hold()

    message = await get(rig, who, approval)

    assert message.canonical == b""
    assert message.summary == "agent banking wants to run send_money"
    assert "hunter2" not in str(message)
    assert message.fingerprint == approval.request.fingerprint


async def test_automation_reads_no_argument_whatever_its_roles(rig):
    """A role that was given to a script by mistake opens nothing."""
    message = await get(rig, "robot", await rig.hold())

    assert message.canonical == b""
    assert "hunter2" not in str(message)


async def test_whoever_asked_may_watch_over_it_and_reads_no_more(rig):
    """The requester of a control action without the approvers' role."""
    rig.give("alice", Role.CONTAIN, Role.RELEASE)
    action = await rig.act()

    message = await get(rig, "alice", action)

    assert message.requester == "alice"
    assert message.operation == f"operations/{action.id}"
    assert message.canonical == b""
    assert message.summary == action.request.summary  # no agent's words


async def test_the_canonical_form_is_for_the_role_negative_control(rig, monkeypatch):
    """With the check patched out, an auditor reads the arguments."""
    monkeypatch.setattr(servicer, "_is_member", lambda operator, role: True)

    message = await get(rig, "audrey", await rig.hold())

    assert b"hunter2" in message.canonical


async def test_a_challenge_is_there_while_a_passkey_is_asked_for(rig):
    """Only where one is needed, and only while it waits."""
    plain = await rig.hold()
    signed = await rig.hold(tier=Tier.CRITICAL, is_passkey_needed=True)

    before = await get(rig, "bob", signed)
    await decide(rig, "bob", signed, verdict=Message.VERDICT_REFUSE, fingerprint="")
    after = await get(rig, "bob", signed)

    assert (await get(rig, "bob", plain)).passkey_challenge == b""
    assert before.passkey_required
    assert before.passkey_challenge == grant_challenge(signed.id, signed.request.fingerprint)
    assert after.passkey_challenge == b""


async def test_a_directory_that_fails_names_nobody(rig):
    """Nobody knows who may decide: it is shown, and nobody is named."""
    approval = await rig.hold()
    rig.is_directory_broken = True

    message = await get(rig, "bob", approval)
    mine = await names(rig, "bob", mine_only=True)

    assert message.approvers == []
    assert mine == []


async def test_identical_calls_are_counted(rig):
    """The same call again waits with the first one."""
    approval = await rig.hold(number=1)
    again = await rig.hold(number=1)

    message = await get(rig, "bob", approval)

    assert again.id == approval.id
    assert message.folded_count == 1


# -- lists ----------------------------------------------------------------------------------------


async def test_lists_are_newest_first_and_hold_what_one_may_see(rig):
    """Each sees its role's; an auditor all; whoever asked its own."""
    call = await rig.hold()
    bundle = await rig.act("activate_policy", role=Role.POLICY_APPROVE)
    release = await rig.act()

    assert await names(rig, "bob") == [release.name, call.name]
    assert await names(rig, "audrey") == [release.name, bundle.name, call.name]
    assert await names(rig, "paul") == [bundle.name]
    assert await names(rig, "alice") == [release.name, bundle.name, call.name]
    assert await names(rig, "rita") == []


async def test_lists_narrow(rig):
    """By state, by agent, and to what the caller may decide now."""
    mine = await rig.hold()
    other = await rig.hold(agent="travel", owner="bob")
    over = await rig.hold()
    await decide(rig, "carol", over, verdict=Message.VERDICT_REFUSE, fingerprint="")

    assert await names(rig, "bob") == [over.name, other.name, mine.name]
    assert await names(rig, "bob", pending_only=True) == [other.name, mine.name]
    assert await names(rig, "bob", agent="travel") == [other.name]
    assert await names(rig, "bob", mine_only=True) == [mine.name]
    assert await names(rig, "robot", mine_only=True) == []


async def test_what_one_has_voted_on_is_not_ones_own_any_more(rig):
    """A human votes once, under whichever account."""
    approval = await rig.hold(quorum=2)
    await decide(rig, "bob", approval)

    message = await get(rig, "carol", approval)

    assert await names(rig, "bob", mine_only=True) == []
    assert await names(rig, "bobby", mine_only=True) == []
    assert await names(rig, "carol", mine_only=True) == [approval.name]
    assert list(message.approvers) == ["alice", "anna", "carol"]


async def test_pages_are_full_although_others_lie_between(rig, monkeypatch):
    """What the caller may not see takes no place, and no token names it."""
    monkeypatch.setattr(servicer, "_CHUNK", 2)
    visible = []
    for _ in range(4):
        visible.insert(0, (await rig.hold()).name)
        for _ in range(3):
            await rig.act("activate_policy", role=Role.POLICY_APPROVE)

    first = await rig.as_("bob").approvals.ListApprovals(List_(page_size=3))
    second = await rig.as_("bob").approvals.ListApprovals(
        List_(page_size=3, page_token=first.next_page_token)
    )

    assert [approval.name for approval in first.approvals] == visible[:3]
    assert f"approvals/{first.next_page_token}" == visible[2]
    assert [approval.name for approval in second.approvals] == visible[3:]
    assert second.next_page_token == ""
    assert await names(rig, "bob", page_size=1) == visible


async def test_one_question_looks_at_a_bounded_number(rig, monkeypatch):
    """A caller who may see little does not make control read everything at once."""
    monkeypatch.setattr(servicer, "_CHUNK", 2)
    monkeypatch.setattr(servicer, "_MAX_EXAMINED", 4)
    oldest = await rig.hold()
    for _ in range(9):
        await rig.act("activate_policy", role=Role.POLICY_APPROVE)

    first = await rig.as_("bob").approvals.ListApprovals(List_())

    assert not first.approvals
    assert first.next_page_token
    assert await names(rig, "bob") == [oldest.name]


@pytest.mark.parametrize(
    "fields",
    [
        {"page_token": "1"},
        {"page_token": "apr_" + "0" * 31},
        {"page_token": "apr_" + "0" * 32 + "\n"},
        {"page_size": -1},
        {"page_size": 1001},
        {"agent": "Banking!"},
    ],
)
async def test_malformed_lists_are_refused_by_name(rig, fields):
    """INVALID_ARGUMENT; nothing is guessed."""
    told = await refusal(rig.as_("bob").approvals.ListApprovals(List_(**fields)))

    assert told.startswith("INVALID_ARGUMENT ")


# -- votes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channel", "kept"), [("cli", Channel.CLI), ("", Channel.API)])
async def test_a_vote_is_counted_under_the_callers_own_name(rig, channel, kept):
    """Operator, identity, human and channel; nothing of it is the message's to say."""
    approval = await rig.hold()

    answer = await decide(rig, "bob", approval, channel=channel, reason="checked")

    (vote,) = (await rig.approvals.get(approval.id)).votes
    assert answer.approval.state == Message.STATE_GRANTED
    assert not answer.repeated_request
    assert answer.approval.votes[0].operator == "bob"
    assert answer.approval.votes[0].channel == kept.value
    assert answer.approval.HasField("end_time")
    assert answer.approval.approvers == []
    assert (vote.operator, vote.human_id) == ("bob", "bob")
    assert vote.identity == "spiffe://holdfast.dev/operator/bob"
    assert vote.channel is kept


async def test_a_refusal_needs_no_fingerprint_and_ends_it(rig):
    """One of any eligible human is enough."""
    approval = await rig.hold(quorum=2)

    answer = await decide(
        rig, "carol", approval, verdict=Message.VERDICT_REFUSE, fingerprint="", reason="no"
    )

    assert answer.approval.state == Message.STATE_REFUSED
    assert answer.approval.votes[0].verdict == Message.VERDICT_REFUSE
    assert "refused by carol" in answer.approval.detail


async def test_the_same_vote_again_is_answered_alike(rig):
    """A retry after a timeout; another vote under the same id is a conflict."""
    approval = await rig.hold()
    first = await decide(rig, "bob", approval)

    again = await decide(rig, "bob", approval)
    other = await refusal(decide(rig, "bob", approval, verdict=Message.VERDICT_REFUSE))

    assert not first.repeated_request
    assert again.repeated_request
    assert again.approval.state == Message.STATE_GRANTED
    assert other == "ALREADY_EXISTS REQUEST_ID_CONFLICT"


async def test_a_signed_grant_keeps_what_proves_it(rig):
    """The assertion travels as it came; one that does not verify grants nothing."""
    approval = await rig.hold(is_passkey_needed=True)

    without = await refusal(decide(rig, "bob", approval))
    forged = await refusal(decide(rig, "bob", approval, passkey_assertion=b"signed by carol"))
    answer = await decide(rig, "bob", approval, passkey_assertion=b"signed by bob")

    assert without == "PERMISSION_DENIED PASSKEY_NEEDED"
    assert forged == "PERMISSION_DENIED PASSKEY_INVALID"
    assert answer.approval.votes[0].signed


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"verdict": Message.VERDICT_UNSPECIFIED}, "INVALID_ARGUMENT INVALID_ARGUMENT"),
        ({"verdict": 9}, "INVALID_ARGUMENT INVALID_ARGUMENT"),
        ({"channel": "console"}, "INVALID_ARGUMENT INVALID_ARGUMENT"),
        ({"channel": "CLI"}, "INVALID_ARGUMENT INVALID_ARGUMENT"),
        ({"request_id": ""}, "INVALID_ARGUMENT MALFORMED"),
        ({"reason": "a\x1b[2J"}, "INVALID_ARGUMENT INVALID_ARGUMENT"),
        ({"reason": "x" * 1001}, "INVALID_ARGUMENT INVALID_ARGUMENT"),
        ({"fingerprint": ""}, "PERMISSION_DENIED FINGERPRINT_MISMATCH"),
        ({"fingerprint": "a" * 64}, "PERMISSION_DENIED FINGERPRINT_MISMATCH"),
    ],
)
async def test_malformed_votes_are_refused(rig, fields, told):
    """And counted as nothing."""
    approval = await rig.hold()

    assert await refusal(decide(rig, "bob", approval, **fields)) == told
    assert (await rig.approvals.get(approval.id)).votes == ()


async def test_a_prefix_of_the_fingerprint_is_not_it(rig):
    """The command compares prefixes; control compares the whole."""
    approval = await rig.hold()
    prefix = approval.request.fingerprint[:16]

    told = await refusal(decide(rig, "bob", approval, fingerprint=prefix))

    assert told == "PERMISSION_DENIED FINGERPRINT_MISMATCH"


async def test_a_late_vote_is_told_what_happened(rig):
    """By whom and when; and nothing changes."""
    approval = await rig.hold()
    await decide(rig, "bob", approval, verdict=Message.VERDICT_REFUSE, fingerprint="")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await decide(rig, "carol", approval, request_id="vote-0002")

    assert reason_of(caught.value) == "APPROVAL_CLOSED"
    assert "refused by bob" in (caught.value.details() or "")
    assert (await rig.approvals.get(approval.id)).state is ApprovalState.REFUSED


async def test_what_is_granted_is_what_was_shown(rig):
    """The canonical bytes hash to the fingerprint that is granted, and say what will run."""
    approval = await rig.hold()
    shown = await get(rig, "bob", approval)

    await decide(rig, "bob", approval, fingerprint=shown.fingerprint)
    again = await rig.ask(number=1)

    assert json.loads(shown.canonical)["arguments"]["recipient"] == "GB29"
    assert type(again).__name__ == "Consumed"
    assert again.approval.request.canonical == shown.canonical
