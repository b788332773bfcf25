# SPDX-License-Identifier: Apache-2.0
"""An operation is a function of its approval."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.approvals.values import Approval, ApprovalState, Cause, Request, RequestKind, Tier
from sidecar.model import Fingerprint, Role
from sidecar.operations.values import ENDED, Action, OperationState, Outcome, operation_of

REQUEST = Request(
    kind=RequestKind.ACTION,
    fingerprint=Fingerprint("0" * 64),
    canonical=b"{}",
    summary="alice asks to release directives/7",
    reason="why",
    tier=Tier.MEDIUM,
    role=Role.APPROVE,
    quorum=1,
    is_passkey_needed=False,
    is_reason_needed=False,
    expiry_s=1800,
    grant_life_s=900,
    policy_digest="d",
    epoch=7,
    action="release",
    requester="alice",
    requester_human="alice",
    request_id="release-1",
)
APPROVAL = Approval(
    id="apr_1",
    request=REQUEST,
    state=ApprovalState.PENDING,
    version=1,
    create_time_ns=1_000_000_000,
    expire_time_ns=5,
    deadline_boot_ns=5,
    boot_id="b",
    end_time_ns=9,
    detail="as it is",
)
OK = Outcome(directive_epoch=7, epoch=9).to_json()
BAD = Outcome(error_reason="ALREADY_RELEASED").to_json()


@pytest.mark.parametrize(
    ("state", "result", "cause", "expected"),
    [
        (ApprovalState.PENDING, "", None, OperationState.PENDING_APPROVAL),
        (ApprovalState.GRANTED, "", None, OperationState.RUNNING),
        (ApprovalState.CONSUMED, "", None, OperationState.RUNNING),
        (ApprovalState.CONSUMED, OK, None, OperationState.DONE),
        (ApprovalState.CONSUMED, BAD, Cause.FAILED, OperationState.FAILED),
        (ApprovalState.CONSUMED, BAD, None, OperationState.FAILED),
        (ApprovalState.CONSUMED, OK, Cause.FAILED, OperationState.FAILED),
        (ApprovalState.CONSUMED, "{", None, OperationState.FAILED),
        (ApprovalState.REFUSED, "", None, OperationState.REFUSED),
        (ApprovalState.EXPIRED, "", None, OperationState.EXPIRED),
        (ApprovalState.CANCELLED, "", Cause.NO_APPROVER, OperationState.CANCELLED),
    ],
)
def test_state_of_an_operation(
    state: ApprovalState, result: str, cause: Cause | None, expected: OperationState
) -> None:
    """The table of states; DONE takes a result that control wrote."""
    operation = operation_of(replace(APPROVAL, state=state, result=result, cause=cause))

    assert operation.state is expected
    assert operation.is_ended is (expected in ENDED)
    assert operation.end_time_ns == (9 if expected in ENDED else 0)
    assert bool(operation.outcome.error_reason) is (expected is OperationState.FAILED)


def test_operation_tells_what_its_request_says() -> None:
    """Names, words and times are those of the approval; the deadline is that of the wait."""
    operation = operation_of(replace(APPROVAL, state=ApprovalState.GRANTED, expire_time_ns=99))

    assert (operation.name, operation.approval_name) == ("operations/apr_1", "approvals/apr_1")
    assert (operation.action, operation.summary) == (Action.RELEASE, REQUEST.summary)
    assert (operation.request_id, operation.requester) == ("release-1", "alice")
    assert (operation.fingerprint, operation.detail) == ("0" * 64, "as it is")
    assert operation.expire_time_ns == 1_801_000_000_000


def test_call_is_no_operation() -> None:
    """What an agent asks for is carried out by the agent."""
    with pytest.raises(ValueError, match="control action"):
        operation_of(replace(APPROVAL, request=replace(REQUEST, kind=RequestKind.CALL)))


@given(
    outcome=st.builds(
        Outcome,
        directive_epoch=st.integers(0, 2**63),
        policy_digest=st.text("0123456789abcdef", max_size=64),
        epoch=st.integers(0, 2**63),
        error_reason=st.sampled_from(["", "INTERNAL"]),
    )
)
def test_outcome_survives(outcome: Outcome) -> None:
    """What came of an operation is stored and read without loss."""
    assert Outcome.from_json(outcome.to_json()) == outcome


@given(text=st.text(max_size=60) | st.sampled_from(['{"v":2}', "[]", "1", '{"v":1,"epoch":"x"}']))
def test_outcome_that_cannot_be_read_is_a_failure(text: str) -> None:
    """Nothing that control did not write is a success."""
    assert Outcome.from_json(text).error_reason


def test_outcome_of_a_later_version_with_more_keys_is_read() -> None:
    """Keys may be added."""
    text = OK.replace('"v":1', '"later":[],"v":1')

    assert Outcome.from_json(text) == Outcome(directive_epoch=7, epoch=9)
