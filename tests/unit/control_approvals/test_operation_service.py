# SPDX-License-Identifier: Apache-2.0
"""``OperationService``: who decides a held action, and what came of it."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.duration_pb2 import Duration

from sidecar.api.v1 import approval_pb2, operation_pb2, types_pb2
from sidecar.canonical import fingerprint_words
from sidecar.containment.events import Contained
from sidecar.containment.history import DirectiveEntry
from sidecar.containment.receipt import DirectiveState, Receipt, key_id_of, sign_receipt
from sidecar.model import Directive, Level, Role, Target, TargetKind
from sidecar.operations.values import Outcome
from tests.unit.control_approvals.approvals_rig import URL, code_of, reason_of

Operation = types_pb2.Operation
Get, List_ = operation_pb2.GetOperationRequest, operation_pb2.ListOperationsRequest
DIRECTIVE = Directive(
    epoch=42,
    target=Target(kind=TargetKind.AGENT, agent="banking"),
    level=Level.KILL,
    reason="drill",
    author="alice",
    create_time_ns=10**18,
)


def operation_name(approval) -> str:
    return f"operations/{approval.id}"


async def get(rig, who: str, approval, wait_s: float | None = None) -> types_pb2.Operation:
    request = Get(name=operation_name(approval))
    if wait_s is not None:
        request.wait.FromNanoseconds(round(wait_s * 10**9))
    answer = await rig.as_(who).operations.GetOperation(request)
    return answer.operation


async def vote(rig, approval, verdict: str) -> None:
    await rig.as_("bob").approvals.DecideApproval(
        approval_pb2.DecideApprovalRequest(
            request_id="vote-0001",
            name=approval.name,
            verdict=f"VERDICT_{verdict}",
            fingerprint=approval.request.fingerprint,
        )
    )


async def carry_out(rig, approval, outcome: Outcome) -> None:
    """Do as control does with what was granted."""
    await vote(rig, approval, "GRANT")
    await rig.approvals.take(approval.id)
    await rig.approvals.finish(
        approval.id,
        result=outcome.to_json(),
        detail="granted by bob",
        is_failed=bool(outcome.error_reason),
    )


async def test_what_waits_is_told_with_who_decides_and_where(rig):
    """Whoever asked needs no other service to tell people."""
    approval = await rig.act()

    operation = await get(rig, "alice", approval)

    assert operation.state == Operation.STATE_PENDING_APPROVAL
    assert operation.action == "release"
    assert operation.summary == approval.request.summary
    assert operation.approval == approval.name
    assert operation.requester == "alice"
    assert operation.request_id == approval.request.request_id
    assert operation.approvers == ["anna", "bob", "bobby", "carol", "olga"]  # not who asks
    assert operation.url == URL + approval.id
    assert operation.fingerprint == approval.request.fingerprint
    assert operation.fingerprint_words == fingerprint_words(operation.fingerprint)
    assert operation.expire_time.ToNanoseconds() == approval.expire_time_ns
    assert not operation.HasField("end_time")


async def test_whoever_waits_hears_of_the_end_at_once(rig):
    """A long poll ends with the decision, not with its time."""
    approval = await rig.act()
    waiting = asyncio.create_task(get(rig, "alice", approval, wait_s=30))
    await vote(rig, approval, "REFUSE")

    operation = await waiting

    assert operation.state == Operation.STATE_REFUSED
    assert "refused by bob" in operation.detail
    assert operation.HasField("end_time")
    assert operation.approvers == []


async def test_a_wait_that_is_over_answers_how_it_stands(rig):
    """No error: it still waits."""
    operation = await get(rig, "alice", await rig.act(), wait_s=0.001)

    assert operation.state == Operation.STATE_PENDING_APPROVAL


@pytest.mark.parametrize(
    "wait",
    [Duration(seconds=31), Duration(seconds=-1), Duration(nanos=-1), Duration(seconds=2**62)],
)
async def test_a_wait_has_bounds(rig, wait):
    """INVALID_ARGUMENT, with the bounds."""
    request = Get(name=operation_name(await rig.act()), wait=wait)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.as_("alice").operations.GetOperation(request)

    assert code_of(caught.value) == "INVALID_ARGUMENT"


async def test_granted_and_not_done_yet_is_running(rig):
    """Nothing waits for a human any more, and there is no result."""
    approval = await rig.act()
    await vote(rig, approval, "GRANT")

    operation = await get(rig, "alice", approval)

    assert operation.state == Operation.STATE_RUNNING
    assert operation.epoch == 0


async def test_what_a_containment_gave_is_its_receipt(rig):
    """Signed, as if it had been ordered at once."""
    key = Ed25519PrivateKey.generate()
    signed = sign_receipt(
        Receipt(
            directive=DIRECTIVE, state=DirectiveState.ACTIVE, is_durable=True, agents=(), gates=(),
            isolation=(), log_index=7, checkpoint="", issue_time_ns=10**18,
            key_id=key_id_of(key.public_key()),
        ),
        key,
    )  # fmt: skip
    rig.levers.receipts[42] = signed
    approval = await rig.act("contain")
    await carry_out(rig, approval, Outcome(directive_epoch=42, epoch=42))

    operation = await get(rig, "alice", approval)

    assert operation.state == Operation.STATE_DONE
    assert operation.receipt.signed_json == signed.signed_json
    assert operation.receipt.directive.epoch == 42
    assert operation.epoch == 42


async def test_what_a_release_gave_is_the_directive_as_it_ended(rig):
    """By whom it was released, and when."""
    rig.levers.entries[42] = DirectiveEntry(
        contained=Contained(directive=DIRECTIVE),
        state=DirectiveState.RELEASED,
        end_time_ns=10**18,
        releaser="alice",
    )
    approval = await rig.act()
    await carry_out(rig, approval, Outcome(directive_epoch=42, epoch=43))

    operation = await get(rig, "alice", approval)

    assert operation.state == Operation.STATE_DONE
    assert operation.directive.state == types_pb2.Directive.STATE_RELEASED
    assert operation.directive.releaser == "alice"
    assert operation.epoch == 43
    assert not operation.HasField("receipt")


async def test_what_an_activation_gave_is_the_digest(rig):
    """That is in force since."""
    rig.give("paul", Role.POLICY_APPROVE, Role.APPROVE)
    approval = await rig.act("activate_policy")
    await carry_out(rig, approval, Outcome(policy_digest="e" * 64, epoch=9))

    operation = await get(rig, "paul", approval)

    assert operation.policy_digest == "e" * 64


async def test_what_could_not_be_carried_out_says_why(rig):
    """FAILED, with the stable reason."""
    approval = await rig.act()
    await carry_out(rig, approval, Outcome(directive_epoch=42, error_reason="ALREADY_RELEASED"))

    operation = await get(rig, "alice", approval)

    assert operation.state == Operation.STATE_FAILED
    assert operation.error_reason == "ALREADY_RELEASED"
    assert not operation.HasField("directive")


async def test_operations_are_listed_to_whom_they_concern(rig):
    """Newest first; calls of agents are none; what was refused only if it is asked for."""
    release = await rig.act()
    await rig.hold()
    bundle = await rig.act("activate_policy", role=Role.POLICY_APPROVE)
    over = await rig.act()
    await vote(rig, over, "REFUSE")

    async def names(who: str, **fields) -> list[str]:
        answer = await rig.as_(who).operations.ListOperations(List_(**fields))
        return [operation.name for operation in answer.operations]

    assert await names("bob") == [operation_name(over), operation_name(release)]
    assert await names("bob", pending_only=True) == [operation_name(release)]
    assert await names("paul") == [operation_name(bundle)]
    assert len(await names("audrey")) == 3
    assert len(await names("alice")) == 3
    assert await names("soar") == []


async def test_operations_are_listed_in_pages(rig):
    """A token goes on where the page ended; another one is refused."""
    names = [operation_name(await rig.act()) for _ in range(3)][::-1]
    stub = rig.as_("bob").operations

    first = await stub.ListOperations(List_(page_size=2))
    rest = await stub.ListOperations(List_(page_size=2, page_token=first.next_page_token))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListOperations(List_(page_token="2"))

    assert [operation.name for operation in (*first.operations, *rest.operations)] == names
    assert reason_of(caught.value) == "INVALID_ARGUMENT"
