# SPDX-License-Identifier: Apache-2.0
"""Held calls: used, folded, opened, denied."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sidecar.approvals import eligibility, holding
from sidecar.approvals.answers import Consumed, Denied, HoldAnswer, Pending
from sidecar.approvals.board import Board
from sidecar.approvals.values import ApprovalState, Cause, Verdict
from sidecar.model import ReasonCode, Role
from tests.unit.approvals.approvals_kit import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    OTHER_DIGEST,
    OWNER,
    SOAR,
    Host,
    action_request,
    binding_of,
    call_request,
    operator,
)


def denied(answer: HoldAnswer) -> ReasonCode:
    """Return the code of a denial."""
    assert isinstance(answer, Denied), answer
    return answer.reason.code


async def state_of(host: Host, approval_id: str) -> ApprovalState:
    """Return where an approval stands."""
    return (await host.approvals.get(approval_id)).state


# --- one use --------------------------------------------------------------------------------------


async def test_a_held_call_waits_and_is_allowed_once(host: Host) -> None:
    """Hold, grant, use; the next identical call asks again."""
    first = await host.hold(call_request())
    assert isinstance(first, Pending)
    await host.vote(first.approval, BOB)

    used = await host.hold(call_request(), decision_id="dec_2")
    again = await host.hold(call_request())

    assert isinstance(used, Consumed)
    assert used.approval.consuming_decision_id == "dec_2"
    assert isinstance(again, Pending)
    assert again.approval.id != first.approval.id
    assert host.audit.events(first.approval.id) == ["opened", "granted", "consumed"]


async def test_d23_there_is_no_standing_grant(host: Host) -> None:
    """A grant is used once, bounded to 15 minutes, and nothing in the interface makes it more."""
    surface = {name for name in dir(host.approvals) if not name.startswith("_")}

    approval = await host.granted()
    answers = [await host.hold(call_request()) for _ in range(3)]

    assert not [name for name in surface if "always" in name or "standing" in name]
    assert approval.expire_time_ns - approval.end_time_ns <= 900 * 10**9
    assert [type(answer) for answer in answers] == [Consumed, Pending, Pending]


async def test_the_agent_is_told_who_may_decide(host: Host) -> None:
    """Operator names, sorted; the owner and automation are not among them."""
    answer = await host.hold(call_request())

    assert isinstance(answer, Pending)
    assert answer.approvers == ("alice", "bob", "carol")


async def test_identical_calls_wait_on_one_request(host: Host) -> None:
    """They are counted, and only the first is written, logged and told."""
    answers = [await host.hold(call_request()) for _ in range(4)]

    ids = {answer.approval.id for answer in answers if isinstance(answer, Pending)}
    assert len(ids) == 1
    assert (await host.approvals.get(ids.pop())).folded_count == 3
    assert host.audit.events() == ["opened"]
    assert len(host.announcer.told) == 1


async def test_folds_are_written_by_the_next_look(host: Host) -> None:
    """And are there after a restart."""
    approval = await host.opened()
    await host.hold(call_request())

    await host.approvals.tick()
    await host.restart()

    assert (await host.approvals.get(approval.id)).folded_count == 1
    assert host.approvals.waits().pending == 1


async def test_calls_of_other_sessions_do_not_fold(host: Host) -> None:
    """Each session waits for itself."""
    one = await host.opened(call_request(session="s-1"))
    two = await host.opened(call_request(session="s-2"))

    assert one.id != two.id


# --- D07, D08: what a grant never beats -----------------------------------------------------------


async def test_d07_a_kill_after_the_grant_voids_it(host: Host) -> None:
    """Granted, killed: the kill moves the epoch and cancels; the grant is not used."""
    approval = await host.granted()
    host.epoch += 1
    await host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed by alice")
    await host.approvals.epoch_moved(host.epoch)

    answer = await host.hold(call_request())

    assert isinstance(answer, Pending)
    ended = await host.approvals.get(approval.id)
    assert (ended.state, ended.cause) == (ApprovalState.CANCELLED, Cause.CONTAINED)
    assert ended.detail == "killed by alice"


async def test_d07_a_moved_epoch_voids_a_grant_nobody_cancelled(host: Host) -> None:
    """Also when nobody has told approvals that the epoch moved."""
    approval = await host.granted()
    host.epoch += 1

    answer = await host.hold(call_request())

    assert isinstance(answer, Pending)
    assert answer.approval.id != approval.id
    assert (await host.approvals.get(approval.id)).cause is Cause.EPOCH_MOVED


async def test_d07_a_gate_that_is_behind_uses_nothing(host: Host) -> None:
    """The grant is of this epoch, the gate's decision of the one before the kill."""
    host.epoch += 1
    await host.granted()

    answer = await host.hold(call_request(), epoch=EPOCH)

    assert denied(answer) is ReasonCode.APPROVAL_BINDING


async def test_d07_without_the_epoch_a_kill_is_outlived_negative_control(host: Host) -> None:
    """With an epoch that is read once and for all, a gate that is behind uses the grant."""
    await host.granted()
    object.__setattr__(host.approvals._world, "epoch", lambda: EPOCH)
    host.epoch += 1

    answer = await host.hold(call_request(), epoch=EPOCH)

    assert isinstance(answer, Consumed)


async def test_d07_an_epoch_that_moves_during_the_use_denies(host: Host) -> None:
    """The kill comes while the use is being logged: it is used up and allows nothing."""
    approval = await host.granted()

    def kill(entry: Any) -> None:
        if entry["event"] == "consumed":
            host.epoch += 1

    host.audit.before = kill

    answer = await host.hold(call_request())

    assert denied(answer) is ReasonCode.APPROVAL_BINDING
    assert await state_of(host, approval.id) is ApprovalState.CONSUMED


async def test_d08_a_policy_that_changed_voids_a_grant(host: Host) -> None:
    """Granted, then another policy: cancelled, and what the old gate asks is denied."""
    approval = await host.granted()
    host.digest = OTHER_DIGEST
    count = await host.approvals.policy_changed(OTHER_DIGEST)

    answer = await host.hold(call_request())

    assert count == 1
    assert denied(answer) is ReasonCode.APPROVAL_BINDING
    assert (await host.approvals.get(approval.id)).cause is Cause.POLICY_CHANGED


async def test_d08_a_policy_that_changes_while_it_is_opened_denies(host: Host) -> None:
    """What was held under the old policy does not begin to wait under the new one."""

    def activate(entry: Any) -> None:
        host.digest = OTHER_DIGEST

    host.audit.before = activate

    answer = await host.hold(call_request())

    assert denied(answer) is ReasonCode.APPROVAL_BINDING
    assert host.approvals.pending_count() == 0


async def test_a_kill_while_it_is_opened_cancels_it(host: Host) -> None:
    """The cancellation of everything the agent has includes what is being opened."""
    host.audit.gate = asyncio.Event()
    opening = asyncio.create_task(host.hold(call_request()))
    await asyncio.sleep(0)

    cancelled = await host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed")
    host.audit.gate.set()
    answer = await opening

    assert cancelled == 0
    assert denied(answer) is ReasonCode.APPROVAL_CANCELLED
    assert host.approvals.pending_count() == 0


async def test_a_kill_cancels_only_that_agents_calls(host: Host) -> None:
    """Other agents' requests go on, and so does the release that somebody asked for."""
    mine = await host.opened()
    other = await host.opened(call_request(agent="shop"))
    action = await host.approvals.open_action(action_request())

    count = await host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed")

    states = [await state_of(host, item.id) for item in (mine, other, action)]
    assert count == 1
    assert states == [ApprovalState.CANCELLED, ApprovalState.PENDING, ApprovalState.PENDING]


async def test_what_waits_outlives_an_unrelated_epoch(host: Host) -> None:
    """It is granted under the new epoch and used under it."""
    approval = await host.opened()
    host.epoch += 1
    count = await host.approvals.epoch_moved(host.epoch)
    await host.vote(approval, BOB)

    answer = await host.hold(call_request())

    assert count == 0
    assert isinstance(answer, Consumed)
    assert answer.approval.grant_epoch == EPOCH + 1


# --- D05, D22: another call -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "0" * 64},
        {"agent": "shop"},
        {"session": "s-2"},
        {"policy_digest": OTHER_DIGEST},
        {"epoch": EPOCH + 1},
        {"epoch": EPOCH - 1},
    ],
)
async def test_d05_a_changed_binding_uses_nothing(host: Host, change: dict[str, Any]) -> None:
    """The gate's own view of the call must be the granted one."""
    approval = await host.granted()

    answer = await host.hold(call_request(), **change)

    assert denied(answer) is ReasonCode.APPROVAL_BINDING
    assert await state_of(host, approval.id) is ApprovalState.GRANTED


@pytest.mark.parametrize(
    "change", [{"fingerprint": "0" * 64}, {"agent": "shop"}, {"policy_digest": OTHER_DIGEST}]
)
async def test_d05_a_binding_of_another_call_opens_nothing(
    host: Host, change: dict[str, Any]
) -> None:
    """What is asked and what it is bound to must be one and the same call."""
    answer = await host.hold(call_request(), **change)

    assert denied(answer) is ReasonCode.APPROVAL_BINDING
    assert host.audit.entries == []


async def test_d08_a_call_of_another_policy_opens_nothing(host: Host) -> None:
    """A gate that is behind is denied before anything is written."""
    answer = await host.hold(call_request(policy_digest=OTHER_DIGEST))

    assert denied(answer) is ReasonCode.APPROVAL_BINDING
    assert host.audit.entries == []


async def test_d06_nobody_waits_on_a_request_that_is_over(host: Host) -> None:
    """Nobody needs to have looked: the identical call asks anew."""
    old = await host.opened()
    host.clock.advance(seconds=1800)

    answer = await host.hold(call_request())

    assert isinstance(answer, Pending)
    assert answer.approval.id != old.id
    assert await state_of(host, old.id) is ApprovalState.EXPIRED


async def test_d05_another_call_asks_for_itself(host: Host) -> None:
    """One argument more: another fingerprint, another request."""
    approval = await host.granted()

    answer = await host.hold(call_request(amount=101))

    assert isinstance(answer, Pending)
    assert answer.approval.id != approval.id
    assert await state_of(host, approval.id) is ApprovalState.GRANTED


async def test_d22_a_late_grant_of_an_old_session_is_not_used(host: Host) -> None:
    """Asked in one session, granted after the reset: the new session asks for itself."""
    old = await host.opened(call_request(session="s-1"))
    await host.vote(old, BOB)

    answer = await host.hold(call_request(session="s-2"))

    assert isinstance(answer, Pending)
    assert await state_of(host, old.id) is ApprovalState.GRANTED


async def test_d18_bytes_of_another_call_are_never_opened(host: Host) -> None:
    """A gate that sends other bytes than it asks for is denied, and nothing is kept."""
    request = replace(call_request(), canonical=call_request(amount=1).canonical)

    answer = await host.hold(request)

    assert denied(answer) is ReasonCode.APPROVAL_UNAVAILABLE
    assert host.approvals.pending_count() == 0
    assert host.audit.entries == []


# --- D03, D24, D25: nobody to ask -----------------------------------------------------------------


@pytest.mark.parametrize(
    "operators",
    [
        [],
        [SOAR],
        [OWNER],
        [OWNER, operator("olga-2", human_id="Olga")],
        [operator("x", Role.CONTAIN)],
    ],
)
async def test_d03_no_approver_is_a_denial_at_once(host: Host, operators: list[Any]) -> None:
    """Empty, automation alone, or the owner alone."""
    host.directory.known = operators

    answer = await host.hold(call_request())

    assert denied(answer) is ReasonCode.NO_APPROVER
    assert host.audit.entries == []


async def test_d03_an_unknown_directory_is_a_denial(host: Host) -> None:
    """Not for a new request, not for one that waits, not for a grant."""
    waiting = await host.opened(call_request(nonce="1"))
    granted = await host.granted(call_request(nonce="2"))
    host.directory.is_failing = True

    answers = [await host.hold(call_request(nonce=nonce)) for nonce in "123"]

    assert [denied(answer) for answer in answers] == [ReasonCode.NO_APPROVER] * 3
    host.directory.is_failing = False
    assert await state_of(host, waiting.id) is ApprovalState.PENDING
    assert await state_of(host, granted.id) is ApprovalState.GRANTED


async def test_d03_fewer_humans_than_the_quorum_is_a_denial(host: Host) -> None:
    """Two are asked for, and bob is there twice."""
    host.directory.known = [BOB, operator("bob-2", human_id="BOB")]

    answer = await host.hold(call_request(quorum=2))

    assert denied(answer) is ReasonCode.NO_APPROVER


async def test_d03_without_the_check_it_waits_for_nobody_negative_control(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the count taken out, a request is opened that nobody may decide."""
    for module in (holding, holding.machine):
        monkeypatch.setattr(module, "shortfall", lambda request, electorate: "")
    host.directory.known = []

    answer = await host.hold(call_request())

    assert isinstance(answer, Pending)
    assert answer.approvers == ()
    assert eligibility.shortfall(call_request(), host.approvals.electorate(call_request()))


async def test_d24_nobody_reachable_is_a_denial_at_once(host: Host) -> None:
    """With the sentence that says why."""
    host.reach.why_not = "no channel is configured and nobody watches the console"

    answer = await host.hold(call_request())

    assert isinstance(answer, Denied)
    assert answer.reason.code is ReasonCode.NO_CHANNEL
    assert answer.reason.text == host.reach.why_not
    assert host.audit.entries == []


async def test_d24_a_channel_that_fails_later_leaves_it_waiting_until_it_expires(
    host: Host,
) -> None:
    """What waits goes on waiting; at the end it is refused by itself."""
    approval = await host.opened()
    host.reach.why_not = "all channels are down"

    folded = await host.hold(call_request())
    host.clock.advance(seconds=1800)
    await host.approvals.tick()

    assert isinstance(folded, Pending)
    assert await state_of(host, approval.id) is ApprovalState.EXPIRED


async def test_d24_an_unreachable_request_is_cancelled_by_whoever_knows(host: Host) -> None:
    """The composition says so; the next identical call is denied."""
    approval = await host.opened()
    host.reach.why_not = "all channels are down"

    ended = await host.approvals.cancel(approval.id, Cause.UNREACHABLE, detail="nobody heard of it")
    answer = await host.hold(call_request())

    assert ended is not None
    assert ended.cause is Cause.UNREACHABLE
    assert denied(answer) is ReasonCode.NO_CHANNEL


async def test_d25_a_grant_whose_voter_was_removed_is_cancelled_at_its_use(host: Host) -> None:
    """Granted by bob; bob is removed; the use cancels it and is denied."""
    approval = await host.granted()
    host.directory.known = [ALICE, CAROL]

    answer = await host.hold(call_request())

    assert denied(answer) is ReasonCode.NO_APPROVER
    ended = await host.approvals.get(approval.id)
    assert (ended.state, ended.cause) == (ApprovalState.CANCELLED, Cause.NO_APPROVER)


async def test_d25_what_nobody_is_left_to_decide_is_cancelled(host: Host) -> None:
    """At the next identical call, or at the next look."""
    asked_again = await host.opened(call_request(nonce="1"))
    left_alone = await host.opened(call_request(nonce="2"))
    host.directory.known = [OWNER]

    answer = await host.hold(call_request(nonce="1"))
    ended = [await host.approvals.get(asked_again.id)]
    await host.approvals.tick()
    ended.append(await host.approvals.get(left_alone.id))

    assert denied(answer) is ReasonCode.NO_APPROVER
    for approval in ended:
        assert (approval.state, approval.cause) == (ApprovalState.CANCELLED, Cause.NO_APPROVER)


# --- refused lately -------------------------------------------------------------------------------


async def test_a_refused_call_is_not_asked_again_at_once(host: Host) -> None:
    """For five minutes the answer is the refusal: who, when, and when to ask again."""
    approval = await host.opened()
    await host.vote(approval, BOB, Verdict.REFUSE)
    host.clock.advance(seconds=299)

    soon = await host.hold(call_request())
    other = await host.hold(call_request(amount=101))
    host.clock.advance(seconds=1)
    late = await host.hold(call_request())

    assert isinstance(soon, Denied)
    assert soon.reason.code is ReasonCode.APPROVAL_REFUSED
    assert soon.approval_id == approval.id
    assert soon.reason.text == (
        "refused by bob at 08:53 UTC on 2025-10-09; ask again after 08:58 UTC on 2025-10-09"
    )
    assert isinstance(other, Pending)
    assert isinstance(late, Pending)


async def test_a_refusal_is_remembered_over_a_restart(host: Host) -> None:
    """For the rest of its five minutes, by the wall clock, on this boot or the next."""
    await host.vote(await host.opened(), BOB, Verdict.REFUSE)
    host.clock.advance(seconds=200)
    await host.restart(is_reboot=True)

    soon = await host.hold(call_request())
    host.clock.advance(seconds=101)
    await host.approvals.tick()
    late = await host.hold(call_request())

    assert denied(soon) is ReasonCode.APPROVAL_REFUSED
    assert isinstance(late, Pending)


async def test_a_clock_set_back_does_not_forget_a_refusal_sooner(host: Host) -> None:
    """In memory it goes by the boot clock."""
    await host.vote(await host.opened(), BOB, Verdict.REFUSE)
    host.clock.step_wall(seconds=86400)

    answer = await host.hold(call_request())

    assert denied(answer) is ReasonCode.APPROVAL_REFUSED


async def test_without_the_memory_an_agent_asks_until_somebody_grants_negative_control(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the memory taken out, a refused call is before the humans again at once."""
    monkeypatch.setattr(Board, "refusal", lambda self, key, boot_ns: None)
    await host.vote(await host.opened(), BOB, Verdict.REFUSE)

    answer = await host.hold(call_request())

    assert isinstance(answer, Pending)


# --- D20: floods ----------------------------------------------------------------------------------


async def test_d20_ten_thousand_calls_a_minute_cost_five_requests_and_one_alert(host: Host) -> None:
    """Identical ones fold, others are denied; no disk, no log, one alert."""
    writes: list[str] = []
    real_run = host.approvals._worker.run

    async def counting(work: Any) -> Any:
        writes.append(repr(work))
        return await real_run(work)

    host.approvals._worker.run = counting  # type: ignore[method-assign]

    answers = [await host.hold(call_request(nonce=str(number % 100))) for number in range(10_000)]

    codes = [answer.reason.code for answer in answers if isinstance(answer, Denied)]
    assert set(codes) == {ReasonCode.APPROVAL_LIMIT}
    assert len(codes) == 9_500
    assert host.approvals.pending_count() == 5
    assert len(writes) == 5
    assert host.audit.events() == ["opened"] * 5
    assert len(host.announcer.alerts) == 1


async def test_d20_an_agent_over_its_cap_is_told_about_once_a_minute(host: Host) -> None:
    """And each agent by itself."""
    for agent in ("banking", "shop"):
        for number in range(7):
            await host.hold(call_request(agent=agent, nonce=str(number)))
    host.clock.advance(seconds=59)
    await host.hold(call_request(nonce="x"))
    assert [agent for agent, _ in host.announcer.alerts] == ["banking", "shop"]
    host.clock.advance(seconds=1)

    await host.hold(call_request(nonce="y"))

    assert [agent for agent, _ in host.announcer.alerts] == ["banking", "shop", "banking"]


async def test_d20_requests_that_are_being_opened_count(host: Host) -> None:
    """A burst at once does not get past the cap."""
    answers = await asyncio.gather(
        *(host.hold(call_request(nonce=str(number))) for number in range(50))
    )

    assert sum(isinstance(answer, Pending) for answer in answers) == 5
    assert host.approvals.pending_count() == 5


async def test_d20_the_cap_is_by_agent_and_frees_itself(host: Host) -> None:
    """Another agent is not touched; a decided request makes room."""
    first = await host.opened(call_request(nonce="0"))
    for number in range(1, 6):
        await host.hold(call_request(nonce=str(number)))

    other = await host.hold(call_request(agent="shop"))
    full = await host.hold(call_request(nonce="6"))
    await host.vote(first, BOB)
    free = await host.hold(call_request(nonce="6"))

    assert isinstance(other, Pending)
    assert denied(full) is ReasonCode.APPROVAL_LIMIT
    assert isinstance(free, Pending)


async def test_d20_a_burst_of_identical_calls_opens_one(host: Host) -> None:
    """Those that come while it is opened wait for it and fold."""
    answers = await asyncio.gather(*(host.hold(call_request()) for _ in range(200)))

    assert {type(answer) for answer in answers} == {Pending}
    assert host.audit.events() == ["opened"]
    (approval,) = (await host.approvals.list()).approvals
    assert approval.folded_count == 199


async def test_d20_without_the_cap_the_humans_are_flooded_negative_control(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the count taken out, every call is a request of its own."""
    monkeypatch.setattr(Board, "pending_count", lambda self, kind, asker: 0)

    for number in range(20):
        await host.hold(call_request(nonce=str(number)))

    assert host.approvals.pending_count() == 20


# --- doubt denies ---------------------------------------------------------------------------------


async def test_before_the_start_everything_is_denied(place: Any) -> None:
    """What stands is not known yet."""
    host = Host(place)

    answer = await host.hold(call_request())

    assert denied(answer) is ReasonCode.APPROVAL_UNAVAILABLE
    await host.close()


async def test_after_the_end_everything_is_denied(host: Host) -> None:
    """A closed service allows nothing."""
    await host.granted()
    await host.approvals.close()

    answer = await host.hold(call_request())

    assert denied(answer) is ReasonCode.APPROVAL_UNAVAILABLE


async def test_an_action_is_not_held(host: Host) -> None:
    """What is no call is denied as one."""
    request = action_request()

    answer = await host.approvals.hold(request, binding_of(request), decision_id="dec")

    assert denied(answer) is ReasonCode.APPROVAL_UNAVAILABLE


@pytest.mark.parametrize("broken", ["log", "insert"])
async def test_a_request_that_cannot_be_kept_is_denied(host: Host, broken: str) -> None:
    """Neither without a record nor without a row; all who wait for it are denied too."""
    host.audit.is_failing = broken == "log"
    host.store.fails = frozenset({broken})

    answers = await asyncio.gather(*(host.hold(call_request()) for _ in range(3)))

    assert [denied(answer) for answer in answers] == [ReasonCode.APPROVAL_UNAVAILABLE] * 3
    assert host.approvals.pending_count() == 0
    assert host.audit.events().count("opened") == (0 if broken == "log" else 1)


@pytest.mark.parametrize("broken", ["log", "swap"])
async def test_a_grant_is_not_used_without_record_and_row(host: Host, broken: str) -> None:
    """When log or store fail the call is denied, and the grant is still there."""
    approval = await host.granted()
    host.audit.is_failing = broken == "log"
    host.store.fails = frozenset({broken})

    answer = await host.hold(call_request())

    assert denied(answer) is ReasonCode.APPROVAL_UNAVAILABLE
    host.audit.is_failing, host.store.fails = False, frozenset()
    assert await state_of(host, approval.id) is ApprovalState.GRANTED
    assert isinstance(await host.hold(call_request()), Consumed)


async def test_a_caller_that_gives_up_leaves_nothing_half_done(host: Host) -> None:
    """The gate's stream breaks while the use is logged: the use is finished all the same."""
    approval = await host.granted()
    host.audit.gate = asyncio.Event()
    use = asyncio.create_task(host.hold(call_request()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    use.cancel()
    await asyncio.gather(use, return_exceptions=True)

    host.audit.gate.set()
    await host.approvals.close()

    assert use.cancelled()
    found = host.store.get(approval.id)
    assert found is not None
    assert found.state is ApprovalState.CONSUMED
