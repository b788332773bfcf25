# SPDX-License-Identifier: Apache-2.0
"""The approval machine: how a request lives, without I/O.

Laws:

1. PENDING → GRANTED → CONSUMED; from PENDING and GRANTED also EXPIRED and CANCELLED, from PENDING
   also REFUSED. No other state is ever left, and nothing but its result is added to an ended one.
2. A grant is used once: its use is the transition to CONSUMED.
3. A grant beats nothing. It is asked for after everything that denies was asked, and says only that
   humans do not object to a call that policy holds; whatever denies by then, denies.
4. Votes come from the electorate of the moment (``eligibility``): one person, one vote. Each vote is
   held against the electorate again when the last one comes, and once more when the grant is used;
   one whose caster may not decide any more does not count.
5. One REFUSE ends it. A grant needs as many different people as the quorum says, each of whom sent
   the whole fingerprint, and a reason and a passkey's signature where the request asks for them.
6. A grant is bound: to fingerprint, agent, session, policy digest, and the epoch of the last vote. A
   use that differs in any of them is another call.
7. Two clocks: a deadline stands on the wall clock and on the boot clock, and whichever passes first
   ends it. EXPIRED is latched: a clock that is set back revives nothing. After a reboot a PENDING
   request goes by the wall clock alone, and a GRANTED one is void.
8. What is opened is what is shown: canonical JSON of this very request that hashes to its
   fingerprint; anything else never becomes an approval.

A function returns the next ``Approval``, or a ``Refusal``: a no is a value. Each next approval has
the next ``version``, so a store can swap it for exactly the one it was made of.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import Final

from sidecar.approvals.answers import Ballot
from sidecar.approvals.deadlines import is_due, is_of_earlier_boot
from sidecar.approvals.eligibility import (
    Electorate,
    Standing,
    fold,
    granting_humans,
    shortfall,
    standing_of,
)
from sidecar.approvals.refusals import (
    No,
    Refusal,
    clock_time,
    granters_sentence,
    state_sentence,
)
from sidecar.approvals.requests import check_request
from sidecar.approvals.values import (
    Approval,
    ApprovalState,
    Binding,
    Cause,
    Moment,
    Request,
    RequestKind,
    Verdict,
    Vote,
)
from sidecar.clock import NS_PER_SECOND
from sidecar.model import Operator

__all__ = [
    "ballot_refusal",
    "cancel",
    "consume",
    "expire",
    "finish",
    "fold_into",
    "open_approval",
    "take",
    "void_cause",
    "vote",
    "vote_refusal",
]

_CONSOLE_HINT: Final = (
    "decide in the console, where your passkey can sign, or send its assertion with the ballot"
)


def open_approval(
    request: Request, *, approval_id: str, electorate: Electorate, moment: Moment
) -> Approval | Refusal:
    """Return the PENDING approval of *request*, or NO_APPROVER if too few people may decide it.

    Raises:
        UntrustedInputError: *request* breaks law 8.
    """
    check_request(request)
    missing = shortfall(request, electorate)
    if missing:
        return Refusal(No.NO_APPROVER, missing, "give the role to more people in operators.yaml")
    wait_ns = request.expiry_s * NS_PER_SECOND
    return Approval(
        id=approval_id,
        request=request,
        state=ApprovalState.PENDING,
        version=1,
        create_time_ns=moment.wall_ns,
        expire_time_ns=moment.wall_ns + wait_ns,
        deadline_boot_ns=moment.boot_ns + wait_ns,
        boot_id=moment.boot_id,
    )


def fold_into(approval: Approval) -> Approval:
    """Return *approval* with one more identical call waiting on it; no transition."""
    return replace(approval, folded_count=approval.folded_count + 1)


# --- deadlines ------------------------------------------------------------------------------------


def expire(approval: Approval, *, moment: Moment) -> Approval | Refusal:
    """Return *approval* EXPIRED, if one of its deadlines has passed (law 7)."""
    if not approval.is_live:
        return _closed(approval)
    if not is_due(approval, moment):
        return Refusal(No.NOT_DUE, state_sentence(approval))
    when = clock_time(moment.wall_ns)
    if approval.state is ApprovalState.GRANTED:
        detail = f"{approval.detail}; the grant lapsed unused at {when}"
    elif approval.votes:
        detail = f"expired at {when}: {len(approval.votes)} of {approval.request.quorum} granted"
    else:
        detail = f"expired at {when}: nobody decided in time"
    return _end(approval, ApprovalState.EXPIRED, moment, detail)


# --- votes ----------------------------------------------------------------------------------------


def vote_refusal(
    approval: Approval, *, caller: Operator, electorate: Electorate, moment: Moment
) -> Refusal | None:
    """Return why *caller* cannot vote on *approval* now, whatever the vote (laws 1, 4 and 7)."""
    match standing_of(approval.request, electorate, caller):
        case Standing.SELF:
            return Refusal(
                No.SELF_APPROVAL,
                "whoever asks, and the owner of the agent that asks, cannot decide",
                "let somebody else decide",
            )
        case Standing.OUTSIDER:
            return Refusal(
                No.NOT_AN_APPROVER,
                f"only a human with the role {approval.request.role} in operators.yaml may decide",
            )
        case Standing.MEMBER:
            pass
    if approval.state is not ApprovalState.PENDING:
        return _closed(approval)
    if is_due(approval, moment):
        return Refusal(No.EXPIRED, f"expired at {clock_time(approval.expire_time_ns)}")
    for earlier in approval.votes:
        is_same = fold(earlier.human_id) == fold(caller.human_id)
        if is_same and granting_humans([earlier], electorate):
            return Refusal(
                No.ALREADY_VOTED,
                f"{earlier.operator} voted {earlier.verdict} at {clock_time(earlier.time_ns)}, "
                "and a human votes once",
            )
    return None


def ballot_refusal(approval: Approval, ballot: Ballot, *, is_signed: bool) -> Refusal | None:
    """Return why *ballot* is not a vote on what *approval* would let be done (law 5)."""
    request = approval.request
    is_grant = ballot.verdict is Verdict.GRANT
    given = ballot.fingerprint.encode(errors="replace")
    if (is_grant or given) and not hmac.compare_digest(given, request.fingerprint.encode()):
        return Refusal(
            No.FINGERPRINT_MISMATCH,
            "the fingerprint is not the one of this request",
            "look at it again, and send the whole fingerprint that it shows",
        )
    if is_grant and request.is_reason_needed and not ballot.reason.strip():
        return Refusal(No.REASON_NEEDED, f"a grant of tier {request.tier.name} needs a reason")
    if is_grant and request.is_passkey_needed and not is_signed:
        return Refusal(
            No.PASSKEY_NEEDED,
            f"a grant of tier {request.tier.name} must be signed with a passkey",
            _CONSOLE_HINT,
        )
    return None


def vote(
    approval: Approval,
    ballot: Ballot,
    *,
    caller: Operator,
    signature: str,
    electorate: Electorate,
    moment: Moment,
    epoch: int,
) -> Approval | Refusal:
    """Return *approval* with the vote of *caller* counted (laws 4 to 7).

    Args:
        signature: What proves the passkey's signature, from a ``PasskeyVerifier``; empty if none.
        epoch: The epoch now: a grant is bound to it.
    """
    refusal = vote_refusal(
        approval, caller=caller, electorate=electorate, moment=moment
    ) or ballot_refusal(approval, ballot, is_signed=bool(signature))
    if refusal is not None:
        return refusal
    cast = Vote(
        human_id=caller.human_id,
        operator=caller.name,
        identity=caller.identity,
        verdict=ballot.verdict,
        reason=ballot.reason,
        time_ns=moment.wall_ns,
        channel=ballot.channel,
        request_id=ballot.request_id,
        assertion=signature,
    )
    voted = replace(approval, votes=(*approval.votes, cast))
    if cast.verdict is Verdict.REFUSE:
        detail = f"refused by {cast.operator} at {clock_time(moment.wall_ns)}"
        return _end(voted, ApprovalState.REFUSED, moment, detail)
    granting = granting_humans(voted.votes, electorate)
    counted = [item for item in voted.votes if granting_humans([item], electorate)]
    missing = approval.request.quorum - len(granting)
    if missing > 0:
        more = f"{missing} more must grant" if missing > 1 else "1 more must grant"
        return replace(
            voted, version=approval.version + 1, detail=f"{granters_sentence(counted)}; {more}"
        )
    life_ns = approval.request.grant_life_s * NS_PER_SECOND
    return replace(
        voted,
        state=ApprovalState.GRANTED,
        version=approval.version + 1,
        expire_time_ns=moment.wall_ns + life_ns,
        deadline_boot_ns=moment.boot_ns + life_ns,
        boot_id=moment.boot_id,
        grant_epoch=epoch,
        end_time_ns=moment.wall_ns,
        detail=granters_sentence(counted),
    )


# --- use ------------------------------------------------------------------------------------------


def consume(
    approval: Approval,
    binding: Binding,
    *,
    electorate: Electorate,
    moment: Moment,
    decision_id: str,
) -> Approval | Refusal:
    """Return *approval* CONSUMED by the decision *decision_id* (laws 2, 4, 6 and 7)."""
    if approval.request.kind is not RequestKind.CALL:
        return Refusal(No.BINDING, "a control action is not used by a call")
    refusal = _use_refusal(approval, moment)
    if refusal is not None:
        return refusal
    differing = _differing(approval, binding)
    if differing:
        return Refusal(No.BINDING, f"the grant is for another {' and '.join(differing)}")
    return _use_refusal_of_votes(approval, electorate) or replace(
        _used(approval, moment), consuming_decision_id=decision_id
    )


def take(approval: Approval, *, electorate: Electorate, moment: Moment) -> Approval | Refusal:
    """Return the ACTION *approval* CONSUMED: control carries it out now (laws 2, 4 and 7)."""
    if approval.request.kind is not RequestKind.ACTION:
        return Refusal(No.CLOSED, "a call is made by its agent, control does not carry it out")
    refusal = _use_refusal(approval, moment) or _use_refusal_of_votes(approval, electorate)
    return refusal or _used(approval, moment)


def finish(approval: Approval, *, result: str, detail: str, is_failed: bool) -> Approval | Refusal:
    """Return the consumed ACTION *approval* with its result; the same one again changes nothing."""
    is_taken = approval.state is ApprovalState.CONSUMED
    if approval.request.kind is not RequestKind.ACTION or not is_taken:
        return _closed(approval)
    if not result:
        raise ValueError("a result is not empty")
    if approval.result:
        same = approval.result == result
        return approval if same else Refusal(No.CLOSED, f"it has a result: {approval.detail}")
    return replace(
        approval,
        version=approval.version + 1,
        result=result,
        detail=detail,
        cause=Cause.FAILED if is_failed else None,
    )


# --- the end --------------------------------------------------------------------------------------


def cancel(approval: Approval, cause: Cause, *, detail: str, moment: Moment) -> Approval | Refusal:
    """Return *approval* CANCELLED, if it is live."""
    if not approval.is_live:
        return _closed(approval)
    ended = _end(approval, ApprovalState.CANCELLED, moment, detail or cause.value)
    return replace(ended, cause=cause)


def void_cause(
    approval: Approval, *, moment: Moment, epoch: int, policy_digest: str
) -> tuple[Cause, str] | None:
    """Return why the world as it is now voids the live *approval*, if it does (laws 6 and 7)."""
    is_granted = approval.state is ApprovalState.GRANTED
    if is_granted and is_of_earlier_boot(approval, moment):
        return Cause.REBOOTED, "the host was restarted before the grant was used"
    if approval.request.kind is not RequestKind.CALL:
        return None
    if approval.request.policy_digest != policy_digest:
        return Cause.POLICY_CHANGED, "another policy came into force"
    if is_granted and approval.grant_epoch != epoch:
        return Cause.EPOCH_MOVED, "containment or policy changed before the grant was used"
    return None


# --- private --------------------------------------------------------------------------------------


def _closed(approval: Approval) -> Refusal:
    return Refusal(No.CLOSED, f"this approval is {approval.state}: {state_sentence(approval)}")


def _use_refusal(approval: Approval, moment: Moment) -> Refusal | None:
    if approval.state is ApprovalState.PENDING:
        return Refusal(No.NOT_GRANTED, state_sentence(approval))
    if approval.state is not ApprovalState.GRANTED:
        return _closed(approval)
    if is_of_earlier_boot(approval, moment):
        return Refusal(No.REBOOTED, "the grant is of an earlier boot of this host")
    if is_due(approval, moment):
        return Refusal(No.EXPIRED, f"the grant lapsed at {clock_time(approval.expire_time_ns)}")
    return None


def _use_refusal_of_votes(approval: Approval, electorate: Electorate) -> Refusal | None:
    counting = len(granting_humans(approval.votes, electorate))
    if counting < approval.request.quorum:
        return Refusal(
            No.NO_APPROVER,
            f"only {counting} of the {approval.request.quorum} who must grant still may decide",
        )
    return None


def _differing(approval: Approval, binding: Binding) -> list[str]:
    """Return which parts of *binding* are not those of *approval*; compared in constant time."""
    request = approval.request
    pairs = (
        ("call", binding.fingerprint, request.fingerprint),
        ("agent", binding.agent, request.agent),
        ("session", binding.session, request.session),
        ("policy", binding.policy_digest, request.policy_digest),
        ("epoch", str(binding.epoch), str(approval.grant_epoch)),
    )
    return [
        name
        for name, given, granted in pairs
        if not hmac.compare_digest(given.encode(errors="replace"), granted.encode())
    ]


def _used(approval: Approval, moment: Moment) -> Approval:
    return replace(
        approval,
        state=ApprovalState.CONSUMED,
        version=approval.version + 1,
        end_time_ns=moment.wall_ns,
        detail=f"{approval.detail}; used at {clock_time(moment.wall_ns)}",
    )


def _end(approval: Approval, state: ApprovalState, moment: Moment, detail: str) -> Approval:
    return replace(
        approval,
        state=state,
        version=approval.version + 1,
        end_time_ns=moment.wall_ns,
        detail=detail,
    )
