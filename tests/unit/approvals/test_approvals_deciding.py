# SPDX-License-Identifier: Apache-2.0
"""Votes: who may cast them, what they must say, and what is answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sidecar.approvals import deciding
from sidecar.approvals.answers import Ballot, Consumed
from sidecar.approvals.challenge import grant_challenge
from sidecar.approvals.values import Approval, ApprovalState, Cause, Channel, Verdict
from sidecar.errors import (
    ConflictError,
    ErrorReason,
    HoldfastError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.model import Operator, OperatorKind, Role
from tests.unit.approvals.approvals_kit import (
    ALICE,
    AUDITOR,
    BOB,
    CAROL,
    EVERYBODY,
    OTHER_DIGEST,
    OUTSIDER,
    OWNER,
    SOAR,
    Host,
    action_request,
    ballot,
    call_request,
    operator,
    signed,
)

MISSING = "apr_" + "a" * 32


async def refused(host: Host, approval: Approval, caller: Operator, **change: Any) -> HoldfastError:
    """Return the error that a vote raises; nothing may have changed."""
    before = await host.approvals.get(approval.id)
    with pytest.raises(HoldfastError) as caught:
        await host.vote(approval, caller, **change)
    assert await host.approvals.get(approval.id) == before
    return caught.value


# --- who ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (OWNER, ErrorReason.SELF_APPROVAL),
        (operator("olga-2", human_id=" OLGA"), ErrorReason.SELF_APPROVAL),
        (SOAR, ErrorReason.NOT_AN_APPROVER),
        (operator("ghost", human_id=""), ErrorReason.NOT_AN_APPROVER),
        (AUDITOR, ErrorReason.NOT_AN_APPROVER),
        (operator("stranger"), ErrorReason.NOT_AN_APPROVER),
        (replace(BOB, identity="spiffe://elsewhere/bob"), ErrorReason.NOT_AN_APPROVER),
        (OUTSIDER, ErrorReason.NOT_FOUND),
    ],
)
async def test_d01_who_may_not_decide_is_told_so(
    host: Host, caller: Operator, reason: ErrorReason
) -> None:
    """The parties, automation, strangers; and whoever may not even see it learns nothing."""
    host.directory.known = [*EVERYBODY, operator("olga-2", human_id=" OLGA")]
    approval = await host.opened()

    error = await refused(host, approval, caller)

    assert error.reason is reason


async def test_d01_the_requester_of_an_action_does_not_grant_it(host: Host) -> None:
    """Not as herself, not as a second operator of hers."""
    host.directory.known = [*EVERYBODY, operator("al", human_id="ALICE")]
    approval = await host.approvals.open_action(action_request())

    errors = [await refused(host, approval, who) for who in (ALICE, host.directory.known[-1])]

    assert [error.reason for error in errors] == [ErrorReason.SELF_APPROVAL] * 2


async def test_d02_one_human_with_two_operators_votes_once(host: Host) -> None:
    """The alias is told that bob has voted."""
    bob_2 = operator("bob-2", human_id="ＢＯＢ ")
    host.directory.known = [*EVERYBODY, bob_2]
    approval = await host.opened(call_request(quorum=2))
    await host.vote(approval, BOB)

    error = await refused(host, approval, bob_2)

    assert error.reason is ErrorReason.ALREADY_VOTED
    assert "bob voted GRANT at 08:53 UTC" in error.message


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize(
    "caller",
    [SOAR, OWNER, operator("w", Role.CONTAIN), operator("w", kind=OperatorKind.AUTOMATION)],
)
async def test_d21_every_channel_decides_with_the_callers_own_identity(
    host: Host, channel: Channel, caller: Operator
) -> None:
    """However it came, automation, parties and other roles decide nothing."""
    approval = await host.opened()

    error = await refused(host, approval, caller, channel=channel)

    assert error.reason in {
        ErrorReason.SELF_APPROVAL,
        ErrorReason.NOT_AN_APPROVER,
        ErrorReason.NOT_FOUND,
    }


async def test_d25_an_approver_removed_between_the_votes_does_not_count(host: Host) -> None:
    """Bob grants and goes; carol grants: one counts, and it waits for another."""
    approval = await host.opened(call_request(quorum=2))
    await host.vote(approval, BOB)
    host.directory.known = [item for item in EVERYBODY if item is not BOB]

    second = (await host.vote(approval, CAROL)).approval
    third = (await host.vote(approval, ALICE)).approval

    assert second.state is ApprovalState.PENDING
    assert third.state is ApprovalState.GRANTED


async def test_an_unknown_directory_counts_no_vote(host: Host) -> None:
    """Nobody knows who may decide: nothing is decided."""
    approval = await host.opened()
    host.directory.is_failing = True

    error = await refused(host, approval, BOB)

    assert "directory" in error.message


# --- what is seen ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "is_seen"),
    [
        (BOB, True),
        (SOAR, True),
        (AUDITOR, True),
        (OUTSIDER, False),
        (operator("al", Role.CONTAIN, human_id=" Alice"), True),
        (operator("alice", Role.CONTAIN), True),
    ],
)
async def test_who_may_see_an_approval(host: Host, caller: Operator, is_seen: bool) -> None:
    """Its role, auditors, and whoever asked."""
    approval = await host.approvals.open_action(action_request())

    assert host.approvals.may_see(approval, caller) is is_seen


async def test_automation_sees_what_it_asked_for(host: Host) -> None:
    """By its name: it stands for no human."""
    asked = action_request(requester="bot", requester_human="")
    approval = await host.approvals.open_action(asked)
    bot = operator("bot", Role.CONTAIN, kind=OperatorKind.AUTOMATION)

    assert host.approvals.may_see(approval, bot)
    assert not host.approvals.may_see(approval, replace(bot, name="other"))


async def test_d26_foreign_missing_and_malformed_ids_are_answered_alike(host: Host) -> None:
    """The same error, word for word, after the same work of the store."""
    approval = await host.opened()
    work: list[str] = []
    real_get = host.store.get

    def counting(approval_id: str) -> Approval | None:
        work.append("get")
        return real_get(approval_id)

    host.store.get = counting  # type: ignore[method-assign]
    errors, works = [], []
    for approval_id in (approval.id, MISSING, "", "'; --", "apr_" + "A" * 32, "\ud800", "x" * 9999):
        work.clear()
        with pytest.raises(NotFoundError) as caught:
            await host.approvals.decide(
                replace(ballot(approval), approval_id=approval_id), OUTSIDER
            )
        errors.append((str(caught.value), caught.value.reason, caught.value.hint))
        works.append(list(work))

    assert len(set(errors)) == 1
    assert all(item == ["get"] for item in works)


async def test_d26_missing_ones_are_decoded_like_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is decoded whether there is one or not, so time tells nothing."""
    from sidecar.approvals import store_sqlite

    approval = await host.opened()
    decoded: list[Any] = []
    real = store_sqlite.approval_of

    def counting(row: Any) -> Approval:
        decoded.append(row)
        return real(row)

    monkeypatch.setattr(store_sqlite, "approval_of", counting)

    await host.approvals.get(approval.id)
    with pytest.raises(NotFoundError):
        await host.approvals.get(MISSING)

    assert len(decoded) == 2


async def test_d26_ids_cannot_be_guessed(host: Host) -> None:
    """128 random bits behind a prefix, in production."""
    from sidecar.ids import RandomIds

    ids = {RandomIds().new("apr") for _ in range(1000)}

    assert len(ids) == 1000
    assert all(len(item) == 36 for item in ids)


async def test_d26_without_the_check_an_outsider_learns_who_decides_negative_control(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the check taken out, the answers tell a foreign id from a missing one."""
    monkeypatch.setattr(deciding, "may_see", lambda approval, caller: True)
    approval = await host.opened()

    with pytest.raises(RefusedError) as foreign:
        await host.vote(approval, OUTSIDER)
    with pytest.raises(NotFoundError) as missing:
        await host.approvals.decide(replace(ballot(approval), approval_id=MISSING), OUTSIDER)

    assert str(foreign.value) != str(missing.value)


async def test_who_may_decide_now(host: Host) -> None:
    """What a page asks before it shows a form."""
    approval = await host.opened(call_request(quorum=2))
    voted = (await host.vote(approval, BOB)).approval

    assert host.approvals.may_decide(voted, CAROL)
    assert not host.approvals.may_decide(voted, BOB)
    assert not host.approvals.may_decide(voted, OWNER)
    host.directory.is_failing = True
    assert not host.approvals.may_decide(voted, CAROL)


# --- what a ballot says ---------------------------------------------------------------------------


@pytest.mark.parametrize("fingerprint", ["", "0" * 64, "abc", "é" * 64])
async def test_d18_a_grant_of_something_else_is_refused(host: Host, fingerprint: str) -> None:
    """The form sends the hash of what it showed; it must be this one."""
    approval = await host.opened()

    error = await refused(host, approval, BOB, fingerprint=fingerprint)

    assert error.reason is ErrorReason.FINGERPRINT_MISMATCH


async def test_a_refusal_needs_nothing_but_a_human(host: Host) -> None:
    """No fingerprint, no reason, no passkey: what is doubtful is easy to stop."""
    request = call_request(is_reason_needed=True, is_passkey_needed=True)
    approval = await host.opened(request)

    answer = await host.vote(approval, BOB, Verdict.REFUSE, fingerprint="")

    assert answer.approval.state is ApprovalState.REFUSED
    assert answer.approval.detail.startswith("refused by bob at ")


async def test_a_reason_is_asked_for_before_a_passkey(host: Host) -> None:
    """And the passkey's absence is answered with where to go."""
    approval = await host.opened(call_request(is_reason_needed=True, is_passkey_needed=True))

    first = await refused(host, approval, BOB)
    second = await refused(host, approval, BOB, reason="looks fine")

    assert first.reason is ErrorReason.REASON_NEEDED
    assert second.reason is ErrorReason.PASSKEY_NEEDED
    assert "console" in second.hint


async def test_a_passkey_signs_this_approval_and_this_fingerprint(host: Host) -> None:
    """What proves it is kept with the vote and stands in the log."""
    approval = await host.opened(call_request(is_passkey_needed=True))
    challenge = grant_challenge(approval.id, approval.request.fingerprint)

    answer = await host.vote(approval, BOB, assertion=signed("bob", challenge))

    assert "key of bob" in answer.approval.votes[0].assertion
    (vote,) = host.audit.entries[-1]["votes"]
    assert vote["is_signed"] is True
    assert "key of bob" in vote["assertion"]


@pytest.mark.parametrize(
    ("approval_id", "fingerprint", "human"),
    [(MISSING, None, "bob"), (None, "0" * 64, "bob"), (None, None, "carol")],
)
async def test_a_signature_of_something_else_grants_nothing(
    host: Host, approval_id: str | None, fingerprint: str | None, human: str
) -> None:
    """Another approval, another call, another person."""
    approval = await host.opened(call_request(is_passkey_needed=True))
    challenge = grant_challenge(
        approval_id or approval.id, fingerprint or approval.request.fingerprint
    )

    error = await refused(host, approval, BOB, assertion=signed(human, challenge))

    assert error.reason is ErrorReason.PASSKEY_INVALID


async def test_an_assertion_nobody_asked_for_is_checked_all_the_same(host: Host) -> None:
    """A vote is called signed only if it is."""
    approval = await host.opened()

    error = await refused(host, approval, BOB, assertion=b"junk")

    assert error.reason is ErrorReason.PASSKEY_INVALID


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "x" * 1001},
        {"reason": "two\nlines"},
        {"reason": "bell\a"},
        {"reason": "turned \u202e around"},
        {"reason": "line\u2028separator"},
        {"reason": "\ud800"},
        {"fingerprint": "0" * 129},
        {"assertion": b"x" * 20_000},
        {"request_id": "has space"},
        {"request_id": "short"},
    ],
)
async def test_a_malformed_ballot_is_refused_before_anything_is_looked_at(
    host: Host, change: dict[str, Any]
) -> None:
    """The same for an approval that exists and for one that does not."""
    approval = await host.opened()
    cast = replace(ballot(approval), **change)

    for approval_id in (approval.id, MISSING):
        with pytest.raises(UntrustedInputError):
            await host.approvals.decide(replace(cast, approval_id=approval_id), BOB)


async def test_a_ballot_as_long_as_may_be_is_read(host: Host) -> None:
    """The bounds themselves are within bounds."""
    approval = await host.opened()

    with pytest.raises(RefusedError) as caught:
        await host.vote(approval, BOB, fingerprint="0" * 128, assertion=b"x" * 16 * 1024)
    answer = await host.vote(approval, BOB, reason="x" * 1000)

    assert caught.value.reason is ErrorReason.FINGERPRINT_MISMATCH
    assert len(answer.approval.votes[0].reason) == 1000


async def test_no_passkey_is_looked_at_for_a_vote_that_cannot_count(host: Host) -> None:
    """An assertion is used up by being verified; what is refused anyway does not use it."""
    approval = await host.opened(call_request(is_reason_needed=True))
    asked: list[str] = []

    async def verify(*, human_id: str, challenge: bytes, assertion: bytes) -> str:
        asked.append(human_id)
        return "{}"

    host.passkeys.verify = verify  # type: ignore[method-assign]
    for caller, change in (
        (OWNER, {"reason": "r"}),
        (BOB, {}),
        (BOB, {"reason": "r", "fingerprint": "0" * 64}),
    ):
        await refused(host, approval, caller, assertion=b"x", **change)
    await host.vote(approval, CAROL, Verdict.REFUSE, assertion=b"x")
    await refused(host, approval, BOB, reason="r", assertion=b"x")

    assert asked == []


async def test_people_may_write_in_their_own_words(host: Host) -> None:
    """Any language, emoji and markup are text."""
    approval = await host.opened()
    reason = "проверено 👩‍🚒 <script>alert(1)</script> {{7*7}} می‌خواهم"

    answer = await host.vote(approval, BOB, reason=reason)

    assert answer.approval.votes[0].reason == reason
    assert reason not in answer.approval.detail


# --- late, repeated, at once ----------------------------------------------------------------------


async def test_a_late_vote_is_told_what_happened(host: Host) -> None:
    """Granted, refused, expired, cancelled, used: by whom and when."""
    closed: list[Approval] = []
    for number, end in enumerate(("grant", "refuse", "cancel", "use", "expire")):
        approval = await host.opened(call_request(nonce=str(number)))
        closed.append(approval)
        if end in {"grant", "use"}:
            await host.vote(approval, BOB)
        if end == "refuse":
            await host.vote(approval, BOB, Verdict.REFUSE)
        if end == "cancel":
            await host.approvals.cancel(
                approval.id, Cause.WITHDRAWN, detail="the agent withdrew it"
            )
        if end == "use":
            await host.hold(approval.request)
    host.clock.advance(seconds=1)
    errors = [await refused(host, approval, CAROL) for approval in closed[:-1]]
    host.clock.advance(seconds=1800)
    with pytest.raises(PreconditionError) as late:
        await host.vote(closed[-1], CAROL)

    assert {error.reason for error in [*errors, late.value]} == {ErrorReason.APPROVAL_CLOSED}
    assert "granted by bob at 08:53 UTC on 2025-10-09" in errors[0].message
    assert "refused by bob at 08:53 UTC" in errors[1].message
    assert "the agent withdrew it" in errors[2].message
    assert "granted by bob at 08:53 UTC on 2025-10-09; used at 08:53 UTC" in errors[3].message
    assert "expired at 09:23 UTC" in late.value.message
    assert (await host.approvals.get(closed[-1].id)).state is ApprovalState.EXPIRED


async def test_the_same_vote_again_gives_the_same_answer(host: Host) -> None:
    """Also after the grant was used, and over a restart."""
    approval = await host.opened()
    first = await host.vote(approval, BOB, request_id="request-1")
    again = await host.vote(approval, BOB, request_id="request-1")
    assert isinstance(await host.hold(call_request()), Consumed)
    await host.restart()

    late = await host.vote(approval, BOB, request_id="request-1")

    assert (first.is_repeated, again.is_repeated, late.is_repeated) == (False, True, True)
    assert again.approval == first.approval
    assert len(late.approval.votes) == 1
    assert host.audit.events(approval.id) == ["opened", "granted", "consumed"]


@pytest.mark.parametrize(
    "change",
    [{"verdict": Verdict.REFUSE}, {"reason": "another"}, {"fingerprint": "0" * 64}],
)
async def test_the_same_request_id_with_another_vote_is_a_conflict(
    host: Host, change: dict[str, Any]
) -> None:
    """The id names one vote."""
    approval = await host.opened(call_request(quorum=2))
    await host.vote(approval, BOB, request_id="request-1")
    cast = replace(ballot(approval, request_id="request-1"), **change)

    with pytest.raises(ConflictError):
        await host.approvals.decide(cast, BOB)


async def test_another_operators_request_id_is_not_mine(host: Host) -> None:
    """Carol's vote with bob's id is carol's vote."""
    approval = await host.opened(call_request(quorum=2))
    await host.vote(approval, BOB, request_id="request-1")

    answer = await host.vote(approval, CAROL, request_id="request-1")

    assert not answer.is_repeated
    assert answer.approval.state is ApprovalState.GRANTED


async def test_a_vote_sent_many_times_at_once_is_counted_once(host: Host) -> None:
    """Every answer is the same; one of them is the first."""
    approval = await host.opened(call_request(quorum=2))

    answers = await asyncio.gather(
        *(host.vote(approval, BOB, request_id="request-1") for _ in range(20))
    )

    assert sum(not answer.is_repeated for answer in answers) == 1
    assert {len(answer.approval.votes) for answer in answers} == {1}
    assert host.audit.events(approval.id) == ["opened", "voted"]


async def test_two_humans_at_once_make_a_quorum_of_two(host: Host) -> None:
    """Neither vote is lost."""
    approval = await host.opened(call_request(quorum=2))

    await asyncio.gather(host.vote(approval, BOB), host.vote(approval, CAROL))

    found = await host.approvals.get(approval.id)
    assert found.state is ApprovalState.GRANTED
    assert {vote.operator for vote in found.votes} == {"bob", "carol"}


async def test_an_epoch_that_moves_while_a_grant_is_written_voids_it(host: Host) -> None:
    """The kill comes between the vote and its row: what is answered is CANCELLED."""
    approval = await host.opened()

    def kill(entry: Any) -> None:
        if entry["event"] == "granted":
            host.epoch += 1

    host.audit.before = kill

    answer = await host.vote(approval, BOB)

    assert answer.approval.state is ApprovalState.CANCELLED
    assert answer.approval.cause is Cause.EPOCH_MOVED


async def test_a_grant_under_a_policy_that_has_gone_is_void(host: Host) -> None:
    """The request is of the policy before."""
    approval = await host.opened()
    host.digest = OTHER_DIGEST

    answer = await host.vote(approval, BOB)

    assert answer.approval.cause is Cause.POLICY_CHANGED


async def test_a_ballot_shows_no_assertion() -> None:
    """Signatures do not belong into logs of the program."""
    cast = Ballot(
        approval_id=MISSING,
        verdict=Verdict.GRANT,
        fingerprint="",
        reason="",
        request_id="",
        channel=Channel.API,
        assertion=b"canary",
    )

    assert "canary" not in repr(cast)
