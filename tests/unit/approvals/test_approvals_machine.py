# SPDX-License-Identifier: Apache-2.0
"""The laws of the approval machine, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.approvals import machine
from sidecar.approvals.deadlines import is_due, share_of_wait
from sidecar.approvals.eligibility import Electorate, electorate_of
from sidecar.approvals.refusals import No, Refusal, error_of, reason_of, state_sentence
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
)
from sidecar.canonical import canonicalise
from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.errors import ErrorReason, PreconditionError, RefusedError, UntrustedInputError
from sidecar.model import Fingerprint, Operator, ReasonCode
from tests.unit.approvals.approvals_kit import (
    ALICE,
    BOB,
    BOOT,
    CAROL,
    DIGEST,
    EPOCH,
    EVERYBODY,
    OTHER_BOOT,
    OTHER_DIGEST,
    action_request,
    ballot,
    binding_of,
    call_request,
    canonical_of,
    moment_of,
)

MS = NS_PER_SECOND // 1000
ELECTORATE = electorate_of(call_request(), EVERYBODY)
START = moment_of(ManualClock())


def later(moment: Moment, *, wall_ns: int = 0, boot_ns: int = 0) -> Moment:
    """Return *moment* moved on each clock by itself."""
    return replace(moment, wall_ns=moment.wall_ns + wall_ns, boot_ns=moment.boot_ns + boot_ns)


def opened(request: Request | None = None) -> Approval:
    """Return a PENDING approval."""
    request = request or call_request()
    approval = machine.open_approval(
        request,
        approval_id="apr_1",
        electorate=electorate_of(request, EVERYBODY),
        moment=START,
    )
    assert isinstance(approval, Approval)
    return approval


def vote(
    approval: Approval,
    caller: Operator = BOB,
    verdict: Verdict = Verdict.GRANT,
    *,
    moment: Moment = START,
    electorate: Electorate | None = None,
    signature: str = "",
    epoch: int = EPOCH,
    **change: Any,
) -> Approval | Refusal:
    """Return what a vote makes of *approval*."""
    return machine.vote(
        approval,
        ballot(approval, verdict, **change),
        caller=caller,
        signature=signature,
        electorate=electorate or electorate_of(approval.request, EVERYBODY),
        moment=moment,
        epoch=epoch,
    )


def granted(request: Request | None = None) -> Approval:
    """Return a GRANTED approval."""
    approval = vote(opened(request))
    assert isinstance(approval, Approval)
    assert approval.state is ApprovalState.GRANTED
    return approval


def consume(
    approval: Approval,
    binding: Binding | None = None,
    *,
    moment: Moment = START,
    electorate: Electorate = ELECTORATE,
) -> Approval | Refusal:
    """Return what a use makes of *approval*."""
    return machine.consume(
        approval,
        binding or binding_of(approval.request),
        electorate=electorate,
        moment=moment,
        decision_id="dec_2",
    )


def must(result: Approval | Refusal) -> Approval:
    """Return *result*, which is an approval."""
    assert isinstance(result, Approval), result
    return result


def code(result: Approval | Refusal) -> No:
    """Return the code of *result*, which is a refusal."""
    assert isinstance(result, Refusal), result
    return result.code


# --- laws 1 and 2 ---------------------------------------------------------------------------------


def test_a_grant_is_used_once() -> None:
    """The use is the transition to CONSUMED; there is no second one."""
    used = must(consume(granted()))

    assert used.state is ApprovalState.CONSUMED
    assert used.consuming_decision_id == "dec_2"
    assert code(consume(used)) is No.CLOSED


MOVES: dict[str, Callable[[Approval], Approval | Refusal]] = {
    "grant": lambda approval: vote(approval, CAROL),
    "refuse": lambda approval: vote(approval, CAROL, Verdict.REFUSE),
    "consume": consume,
    "take": lambda approval: machine.take(approval, electorate=ELECTORATE, moment=START),
    "expire": lambda approval: machine.expire(
        approval, moment=later(START, wall_ns=10**15, boot_ns=10**15)
    ),
    "cancel": lambda approval: machine.cancel(
        approval, Cause.CONTAINED, detail="killed", moment=START
    ),
}
ENDS: dict[ApprovalState, Callable[[], Approval]] = {
    ApprovalState.CONSUMED: lambda: must(consume(granted())),
    ApprovalState.REFUSED: lambda: must(vote(opened(), BOB, Verdict.REFUSE)),
    ApprovalState.EXPIRED: lambda: must(MOVES["expire"](opened())),
    ApprovalState.CANCELLED: lambda: must(MOVES["cancel"](opened())),
}


@pytest.mark.parametrize(("state", "move"), list(product(ENDS, MOVES)))
def test_d09_no_move_leaves_an_ended_state(state: ApprovalState, move: str) -> None:
    """Every move on every ended approval is refused."""
    ended = ENDS[state]()
    assert ended.state is state

    assert code(MOVES[move](ended)) is No.CLOSED


@pytest.mark.parametrize("move", ["refuse", "grant"])
def test_d09_a_grant_is_not_voted_on_again(move: str) -> None:
    """A late vote finds it closed and is told by whom and when."""
    result = MOVES[move](granted())

    assert isinstance(result, Refusal)
    assert result.code is No.CLOSED
    assert "granted by bob at 08:53 UTC on 2025-10-09" in result.text


def test_versions_count_transitions() -> None:
    """Each next approval has the next version, so that it can be swapped for exactly one."""
    life = [opened(), granted(), must(consume(granted()))]

    assert [approval.version for approval in life] == [1, 2, 3]


def test_a_fold_is_no_transition() -> None:
    """One more identical call changes a count and nothing else."""
    folded = machine.fold_into(opened())

    assert folded == replace(opened(), folded_count=1)


# --- laws 4 and 5 ---------------------------------------------------------------------------------


def test_one_refusal_ends_it() -> None:
    """The first REFUSE wins, however many grants are there; it needs no reason and no passkey."""
    request = call_request(quorum=2, is_reason_needed=True, is_passkey_needed=True)
    once = must(vote(opened(request), BOB, reason="fine", signature="{}"))

    refused = must(vote(once, CAROL, Verdict.REFUSE, fingerprint=""))

    assert refused.state is ApprovalState.REFUSED
    assert refused.detail == "refused by carol at 08:53 UTC on 2025-10-09"


def test_a_quorum_is_that_many_humans() -> None:
    """One grant of two keeps it waiting, and says who is missing how much."""
    once = must(vote(opened(call_request(quorum=2))))
    twice = must(vote(once, CAROL))

    assert (once.state, twice.state) == (ApprovalState.PENDING, ApprovalState.GRANTED)
    assert once.detail.endswith("; 1 more must grant")
    assert once.grant_epoch == 0
    assert "bob at" in twice.detail
    assert "carol at" in twice.detail


def test_one_human_votes_once() -> None:
    """Neither again nor the other way."""
    once = must(vote(opened(call_request(quorum=2))))

    assert code(vote(once, BOB)) is No.ALREADY_VOTED
    assert code(vote(once, BOB, Verdict.REFUSE)) is No.ALREADY_VOTED


def test_d25_a_vote_is_counted_again_when_the_last_one_comes() -> None:
    """Bob grants and is removed; carol's grant then is the first of two that count."""
    request = call_request(quorum=2)
    once = must(vote(opened(request), BOB))
    without_bob = electorate_of(request, [ALICE, CAROL])

    twice = must(vote(once, CAROL, electorate=without_bob))
    thrice = must(vote(twice, ALICE, electorate=without_bob))

    assert twice.state is ApprovalState.PENDING
    assert thrice.state is ApprovalState.GRANTED
    assert "bob" not in thrice.detail


def test_d25_a_vote_that_counts_no_more_can_be_cast_again() -> None:
    """Bob comes back with a new certificate: his old vote is void, so he may vote."""
    request = call_request(quorum=2)
    once = must(vote(opened(request), BOB))
    new_bob = replace(BOB, identity="spiffe://holdfast.dev/operator/bob-new")
    electorate = electorate_of(request, [new_bob, CAROL])

    twice = must(vote(once, new_bob, electorate=electorate))

    assert twice.state is ApprovalState.PENDING
    assert must(vote(twice, CAROL, electorate=electorate)).state is ApprovalState.GRANTED


def test_d25_votes_are_counted_again_when_the_grant_is_used() -> None:
    """Bob grants and loses the role before the use: nothing is used."""
    electorate = electorate_of(call_request(), [ALICE, CAROL])

    assert code(consume(granted(), electorate=electorate)) is No.NO_APPROVER


def test_d25_without_the_recount_a_removed_approver_counts_negative_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the recount taken out, bob's grant is used although bob may not decide any more."""
    monkeypatch.setattr(machine, "_use_refusal_of_votes", lambda approval, electorate: None)
    electorate = electorate_of(call_request(), [ALICE, CAROL])

    assert must(consume(granted(), electorate=electorate)).state is ApprovalState.CONSUMED


@pytest.mark.parametrize(
    "given_fingerprint",
    ["", "a" * 64, "short", call_request().fingerprint[:16], call_request().fingerprint.upper()],
)
def test_d18_a_grant_needs_the_whole_fingerprint(given_fingerprint: str) -> None:
    """What was shown must be said, in full and exactly."""
    refused = vote(opened(), BOB, fingerprint=given_fingerprint)

    assert code(refused) is No.FINGERPRINT_MISMATCH


def test_d18_a_refusal_with_another_fingerprint_is_a_mistake() -> None:
    """Whoever looked at something else decides nothing, not even a refusal."""
    assert code(vote(opened(), BOB, Verdict.REFUSE, fingerprint="b" * 64)) is (
        No.FINGERPRINT_MISMATCH
    )


def test_a_grant_says_why_and_is_signed_where_that_is_asked() -> None:
    """Reason first, then passkey; a blank reason is none."""
    approval = opened(call_request(is_reason_needed=True, is_passkey_needed=True))

    assert code(vote(approval, BOB)) is No.REASON_NEEDED
    assert code(vote(approval, BOB, reason="  ")) is No.REASON_NEEDED
    assert code(vote(approval, BOB, reason="fine")) is No.PASSKEY_NEEDED
    assert must(vote(approval, BOB, reason="fine", signature="{}")).votes[0].assertion == "{}"


def test_a_vote_remembers_who_cast_it_how() -> None:
    """Human, operator, identity, channel, time and request id stay with the vote."""
    voted = must(vote(opened(), BOB, request_id="request-9", reason="fine"))

    (cast,) = voted.votes
    assert (cast.human_id, cast.operator, cast.identity) == ("bob", "bob", BOB.identity)
    assert (cast.request_id, cast.reason, cast.time_ns) == ("request-9", "fine", START.wall_ns)


# --- law 6 ----------------------------------------------------------------------------------------

FIELDS = st.sampled_from(["fingerprint", "agent", "session", "policy_digest", "epoch"])


@given(field=FIELDS, data=st.data())
def test_d05_every_changed_field_of_the_binding_is_another_call(
    field: str, data: st.DataObject
) -> None:
    """One field of the use differs from the grant: not used, whatever it is."""
    approval = granted()
    binding = binding_of(approval.request)
    old = getattr(binding, field)
    values: st.SearchStrategy[Any] = (
        st.integers(0, 2**63 - 1)
        if isinstance(old, int)
        else st.text(max_size=70)
        | st.sampled_from(["", old.upper() + "x", old + " ", old[:-1], old + "\0"])
    )
    new = data.draw(values.filter(lambda value: value != old))

    refused = consume(approval, replace(binding, **{field: new}))

    assert code(refused) is No.BINDING


@given(
    change=st.dictionaries(
        st.sampled_from(["arguments", "url", "cwd", "environment_digest", "nonce", "tool"]),
        st.text(min_size=1, max_size=5),
        min_size=1,
        max_size=1,
    )
)
def test_d05_every_changed_field_of_the_call_is_another_fingerprint(change: dict[str, str]) -> None:
    """Argument, directory, environment, nonce or tool: the grant is for another call."""
    approval = granted()
    call = {
        "v": 1,
        "agent": "banking",
        "session": "s-1",
        "tool": "send_money",
        "arguments": {"amount": 100},
        "url": "",
        "cwd": "",
        "environment_digest": "",
        "nonce": "",
    }
    _, fingerprint = canonical_of(call)
    assert fingerprint == approval.request.fingerprint
    _, other = canonical_of(call | change)

    refused = consume(approval, replace(binding_of(approval.request), fingerprint=other))

    assert (other == fingerprint) or code(refused) is No.BINDING


def test_d05_without_the_binding_another_call_uses_the_grant_negative_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With law 6 taken out, the grant for 100 is used for a million."""
    monkeypatch.setattr(machine, "_differing", lambda approval, binding: [])

    used = consume(granted(), binding_of(call_request(amount=1_000_000)))

    assert must(used).state is ApprovalState.CONSUMED


def test_d22_a_grant_is_for_one_session_instance() -> None:
    """After a reset the agent has another session id; the grant of the old one is not for it."""
    refused = consume(granted(), binding_of(call_request(session="s-2")))

    assert isinstance(refused, Refusal)
    assert refused.code is No.BINDING
    assert "session" in refused.text


def test_a_grant_is_bound_to_the_epoch_of_the_last_vote() -> None:
    """Not to the one it was asked under: what waits outlives unrelated containments."""
    request = call_request(quorum=2)
    once = must(vote(opened(request), BOB, epoch=EPOCH))
    twice = must(vote(once, CAROL, epoch=EPOCH + 3))

    assert twice.grant_epoch == EPOCH + 3
    assert code(consume(twice, binding_of(request, EPOCH))) is No.BINDING
    assert must(consume(twice, binding_of(request, EPOCH + 3))).state is ApprovalState.CONSUMED


@pytest.mark.parametrize(
    ("moment", "epoch", "digest", "cause"),
    [
        (START, EPOCH, DIGEST, None),
        (START, EPOCH + 1, DIGEST, Cause.EPOCH_MOVED),
        (START, EPOCH, OTHER_DIGEST, Cause.POLICY_CHANGED),
        (replace(START, boot_id=OTHER_BOOT), EPOCH, DIGEST, Cause.REBOOTED),
    ],
)
def test_what_voids_a_grant(moment: Moment, epoch: int, digest: str, cause: Cause | None) -> None:
    """Another epoch, another policy, another boot."""
    void = machine.void_cause(granted(), moment=moment, epoch=epoch, policy_digest=digest)

    assert (void and void[0]) == cause


def test_what_voids_a_request_that_waits() -> None:
    """Only another policy: it survives epochs and reboots, and a control action survives all."""
    moment = replace(START, boot_id=OTHER_BOOT)

    def cause(approval: Approval, digest: str) -> Cause | None:
        void = machine.void_cause(approval, moment=moment, epoch=EPOCH + 9, policy_digest=digest)
        return void[0] if void is not None else None

    assert cause(opened(), DIGEST) is None
    assert cause(opened(), OTHER_DIGEST) is Cause.POLICY_CHANGED
    assert cause(opened(action_request()), OTHER_DIGEST) is None


# --- law 7 ----------------------------------------------------------------------------------------

LIFE_NS = 900 * NS_PER_SECOND
WAIT_NS = 1800 * NS_PER_SECOND


@pytest.mark.parametrize("clock", ["wall_ns", "boot_ns"])
def test_d06_a_grant_lapses_at_the_millisecond_on_either_clock(clock: str) -> None:
    """One millisecond before: used. At the deadline and one after: not."""
    approval = granted()

    before = consume(approval, moment=later(START, **{clock: LIFE_NS - MS}))
    at = consume(approval, moment=later(START, **{clock: LIFE_NS}))
    after = consume(approval, moment=later(START, **{clock: LIFE_NS + MS}))

    assert must(before).state is ApprovalState.CONSUMED
    assert (code(at), code(after)) == (No.EXPIRED, No.EXPIRED)


@pytest.mark.parametrize("clock", ["wall_ns", "boot_ns"])
def test_d06_a_vote_at_the_deadline_is_late_on_either_clock(clock: str) -> None:
    """One millisecond before the end of the wait: counted. At it: not."""
    approval = opened()

    before = vote(approval, moment=later(START, **{clock: WAIT_NS - MS}))
    at = vote(approval, moment=later(START, **{clock: WAIT_NS}))

    assert must(before).state is ApprovalState.GRANTED
    assert code(at) is No.EXPIRED


def test_d06_a_wall_clock_set_back_gives_no_more_time() -> None:
    """Granted, then the clock goes back an hour: the boot clock still ends it."""
    hour_back = later(START, wall_ns=-3600 * NS_PER_SECOND, boot_ns=LIFE_NS)

    assert code(consume(granted(), moment=hour_back)) is No.EXPIRED
    assert is_due(granted(), hour_back)


def test_d06_without_the_boot_clock_setting_back_revives_negative_control() -> None:
    """On the wall clock alone, an hour back makes an hour more."""
    hour_back = later(START, wall_ns=-3600 * NS_PER_SECOND, boot_ns=LIFE_NS)
    wall_only = replace(granted(), deadline_boot_ns=2**62)

    assert must(consume(wall_only, moment=hour_back)).state is ApprovalState.CONSUMED


def test_d06_expired_is_latched() -> None:
    """Once expired, no clock brings it back."""
    expired = must(machine.expire(granted(), moment=later(START, wall_ns=LIFE_NS)))

    assert code(consume(expired, moment=later(START, wall_ns=-LIFE_NS))) is No.CLOSED


def test_d06_a_grant_does_not_outlive_its_boot() -> None:
    """The clock that bounds it is gone."""
    after_reboot = replace(START, boot_ns=0, boot_id=OTHER_BOOT)

    assert code(consume(granted(), moment=after_reboot)) is No.REBOOTED


def test_d06_after_a_reboot_a_request_goes_by_the_wall_clock() -> None:
    """The new boot clock says nothing about it, either way."""
    young = replace(later(START, wall_ns=WAIT_NS - MS), boot_ns=2**62, boot_id=OTHER_BOOT)
    old = replace(later(START, wall_ns=WAIT_NS), boot_ns=0, boot_id=OTHER_BOOT)

    assert not is_due(opened(), young)
    assert is_due(opened(), old)
    granted_now = must(vote(opened(), moment=young))
    assert (granted_now.boot_id, granted_now.deadline_boot_ns) == (OTHER_BOOT, 2**62 + LIFE_NS)


def test_nothing_expires_before_it_is_due() -> None:
    """Asking early changes nothing."""
    assert code(machine.expire(opened(), moment=START)) is No.NOT_DUE


def test_an_expiry_says_what_had_happened() -> None:
    """Nobody decided; or some did and not enough; or the grant was not used."""
    end = later(START, wall_ns=WAIT_NS)
    half = must(vote(opened(call_request(quorum=2))))

    details = [
        must(machine.expire(approval, moment=end)).detail
        for approval in (opened(), half, granted())
    ]

    assert "nobody decided in time" in details[0]
    assert "1 of 2 granted" in details[1]
    assert "lapsed unused" in details[2]


def test_the_share_of_the_wait_is_that_of_the_faster_clock() -> None:
    """A clock that is set back does not put off a reminder; another boot's clock is not asked."""
    half = later(START, wall_ns=-WAIT_NS, boot_ns=WAIT_NS // 2)

    assert share_of_wait(opened(), START) == 0
    assert share_of_wait(opened(), half) == 0.5
    assert share_of_wait(opened(), replace(half, boot_id=OTHER_BOOT)) == 0
    assert share_of_wait(opened(), later(START, wall_ns=9 * WAIT_NS)) == 1


# --- law 8 ----------------------------------------------------------------------------------------


def _fit(document: dict[str, Any], **change: Any) -> Request:
    canonical, fingerprint = canonical_of(document)
    return replace(call_request(), canonical=canonical, fingerprint=fingerprint, **change)


CALL = {"agent": "banking", "session": "s-1", "tool": "send_money", "v": 1}


@pytest.mark.parametrize(
    "request_",
    [
        replace(call_request(), canonical=call_request(amount=101).canonical),
        replace(call_request(), fingerprint=Fingerprint("0" * 64)),
        replace(call_request(), canonical=b""),
        _fit(CALL | {"agent": "other"}),
        _fit(CALL | {"session": "other"}),
        _fit(CALL | {"tool": "other"}),
        _fit({"v": 1}, agent="", session="", tool=""),
        call_request(quorum=0),
        call_request(quorum=11),
        call_request(expiry_s=0),
        call_request(expiry_s=86401),
        call_request(grant_life_s=901),
        call_request(grant_life_s=0),
        action_request(request_id=""),
        action_request(action=""),
        action_request(action="contain"),
    ],
)
def test_d18_what_is_not_what_it_says_is_never_opened(request_: Request) -> None:
    """Other bytes than the fingerprint's, another agent's call, or numbers out of bounds."""
    with pytest.raises(UntrustedInputError):
        opened(request_)


@pytest.mark.parametrize(
    "canonical",
    [
        b'{"agent":"banking","session":"s-1","tool":"send_money", "v":1}',
        b'{"agent":"banking","agent":"banking","session":"s-1","tool":"send_money","v":1}',
        b'{"tool":"send_money","agent":"banking","session":"s-1","v":1}',
        b'["agent"]',
        b"\xff",
    ],
)
def test_d18_bytes_that_are_not_canonical_are_never_opened(canonical: bytes) -> None:
    """Two readers could see two calls in them."""
    request = replace(
        call_request(),
        canonical=canonical,
        fingerprint=Fingerprint(sha256(canonical).hexdigest()),
    )

    with pytest.raises(UntrustedInputError):
        check_request(request)


def test_d18_without_the_hash_another_call_is_shown_negative_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With law 8 taken out, humans look at 1 while they grant a million."""
    monkeypatch.setattr(machine, "check_request", lambda request: None)
    request = replace(call_request(amount=1_000_000), canonical=call_request(amount=1).canonical)

    approval = opened(request)

    assert b'"amount":1}' in approval.request.canonical
    assert must(vote(approval)).state is ApprovalState.GRANTED


def test_a_large_call_can_be_held() -> None:
    """As large as a call may be."""
    document = CALL | {"arguments": {"text": "x" * 60_000, "many": list(range(900))}}

    assert opened(_fit(document)).state is ApprovalState.PENDING


# --- control actions ------------------------------------------------------------------------------


def test_an_action_is_taken_once_and_finished_once() -> None:
    """GRANTED → CONSUMED by control itself; then its result is attached, and stays."""
    taken = must(
        machine.take(
            granted(action_request()),
            electorate=electorate_of(action_request(), EVERYBODY),
            moment=START,
        )
    )
    done = must(machine.finish(taken, result="{}", detail="released", is_failed=False))

    assert (done.state, done.result, done.version) == (ApprovalState.CONSUMED, "{}", 4)
    assert machine.finish(done, result="{}", detail="again", is_failed=False) is done
    assert code(machine.finish(done, result='{"a":1}', detail="", is_failed=False)) is No.CLOSED
    assert code(MOVES["take"](done)) is No.CLOSED


def test_a_failed_action_says_so() -> None:
    """It stays CONSUMED: the grant is used up, whatever came of it."""
    taken = must(
        machine.take(
            granted(action_request()),
            electorate=electorate_of(action_request(), EVERYBODY),
            moment=START,
        )
    )

    failed = must(machine.finish(taken, result="{}", detail="disk full", is_failed=True))

    assert (failed.state, failed.cause) == (ApprovalState.CONSUMED, Cause.FAILED)


def test_only_what_was_taken_is_finished() -> None:
    """Neither what waits, nor what is granted, nor a call; and never without a result."""
    for approval in (opened(action_request()), granted(action_request()), must(consume(granted()))):
        assert code(machine.finish(approval, result="{}", detail="", is_failed=False)) is No.CLOSED
    taken = replace(granted(action_request()), state=ApprovalState.CONSUMED)
    with pytest.raises(ValueError, match="result"):
        machine.finish(taken, result="", detail="", is_failed=False)


def test_calls_and_actions_are_not_used_for_each_other() -> None:
    """A call's grant is not taken by control; an action's is not used by a call."""
    electorate = electorate_of(action_request(), EVERYBODY)
    action = granted(action_request())

    assert code(machine.take(granted(), electorate=electorate, moment=START)) is No.CLOSED
    assert code(consume(action, binding_of(action.request))) is No.BINDING
    assert action.request.kind is RequestKind.ACTION


def test_an_unanswered_request_is_not_used() -> None:
    """PENDING is not GRANTED."""
    assert code(consume(opened())) is No.NOT_GRANTED


# --- sentences ------------------------------------------------------------------------------------


def test_every_refusal_becomes_an_error_with_its_own_reason() -> None:
    """States are preconditions; what a person may not do is refused."""
    errors = {no: error_of(Refusal(no, "text")) for no in No}

    assert errors[No.CLOSED].reason is ErrorReason.APPROVAL_CLOSED
    assert isinstance(errors[No.CLOSED], PreconditionError)
    assert isinstance(errors[No.ALREADY_VOTED], PreconditionError)
    assert isinstance(errors[No.SELF_APPROVAL], RefusedError)
    assert errors[No.PASSKEY_NEEDED].reason is ErrorReason.PASSKEY_NEEDED


def test_an_agent_is_told_how_its_call_stands() -> None:
    """Each state has its code, and a sentence without anybody's words."""
    refused = must(vote(opened(), BOB, Verdict.REFUSE, reason="<script>"))
    cancelled = must(machine.cancel(opened(), Cause.WITHDRAWN, detail="", moment=START))

    reasons = [reason_of(item) for item in (opened(), granted(), refused, cancelled)]

    assert [reason.code for reason in reasons] == [
        ReasonCode.POLICY_HOLD,
        ReasonCode.APPROVAL_GRANTED,
        ReasonCode.APPROVAL_REFUSED,
        ReasonCode.APPROVAL_CANCELLED,
    ]
    assert "<script>" not in reasons[2].text
    assert reasons[3].text == "WITHDRAWN"
    assert "used at" in state_sentence(must(consume(granted())))


def test_canonical_form_is_what_the_fingerprint_says() -> None:
    """The kit's own requests are what gates send."""
    assert call_request().canonical == canonicalise(
        CALL
        | {
            "arguments": {"amount": 100},
            "cwd": "",
            "environment_digest": "",
            "nonce": "",
            "url": "",
        }
    )
    assert BOOT != OTHER_BOOT
