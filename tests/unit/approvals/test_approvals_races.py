# SPDX-License-Identifier: Apache-2.0
"""Everything at once: one terminal state, one use, and a record of what happened."""

from __future__ import annotations

import asyncio
import gc
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from sidecar.approvals import store_sqlite
from sidecar.approvals.answers import Consumed, Denied, Pending
from sidecar.approvals.service import Approvals
from sidecar.approvals.values import Approval, ApprovalState, Binding, Cause, Verdict
from sidecar.errors import EnvironmentFailure, HoldfastError
from sidecar.model import ReasonCode
from tests.unit.approvals.approvals_kit import (
    BOB,
    CAROL,
    FaultyStore,
    Host,
    action_request,
    ballot,
    binding_of,
    call_request,
)


async def started(host: Host) -> tuple[Approvals, FaultyStore]:
    """Return another service over another connection to the same file."""
    store = FaultyStore(host.path)
    approvals = host.service(store)
    await approvals.start()
    return approvals, store


# --- D04 ------------------------------------------------------------------------------------------


async def test_d04_256_tasks_use_one_grant_once(host: Host) -> None:
    """Exactly one is allowed; the others wait on one new request."""
    approval = await host.granted()

    answers = await asyncio.gather(
        *(host.hold(call_request(), decision_id=f"dec_{number}") for number in range(256))
    )

    used = [answer for answer in answers if isinstance(answer, Consumed)]
    assert len(used) == 1
    assert not [answer for answer in answers if isinstance(answer, Denied)]
    found = await host.approvals.get(approval.id)
    assert found.consuming_decision_id == used[0].approval.consuming_decision_id
    assert host.audit.events(approval.id) == ["opened", "granted", "consumed"]


async def test_d04_four_services_over_one_file_use_one_grant_once(host: Host) -> None:
    """Without any memory in common: the swap alone decides, and the losers' entries lapse."""
    approval = await host.granted()
    others = [await started(host) for _ in range(3)]
    services = [host.approvals, *(service for service, _ in others)]
    request, binding = call_request(), binding_of(call_request())

    answers = await asyncio.gather(
        *(service.hold(request, binding, decision_id="dec") for service in services * 16)
    )

    assert sum(isinstance(answer, Consumed) for answer in answers) == 1
    events = host.audit.events(approval.id)
    assert events.count("consumed") - events.count("lapsed") == 1
    for service, store in others:
        await service.close()
        store.close()


async def test_d04_without_the_swap_two_services_use_it_twice_negative_control(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With version and state taken out of the WHERE clause, one grant allows two calls."""
    await host.granted()
    other, store = await started(host)
    weak = store_sqlite._SWAP.replace(" AND version = :version AND state = :state", "")
    monkeypatch.setattr(store_sqlite, "_SWAP", weak)
    request, binding = call_request(), binding_of(call_request())

    answers = [
        await service.hold(request, binding, decision_id="dec")
        for service in (host.approvals, other)
    ]

    assert [type(answer) for answer in answers] == [Consumed, Consumed]
    await other.close()
    store.close()


# --- D09 ------------------------------------------------------------------------------------------

WRITERS = ["grant", "refuse", "expire", "cancel"]


async def write(host: Host, approval: Approval, writer: str) -> None:
    """Do what *writer* does; losing is fine."""
    try:
        match writer:
            case "grant":
                await host.vote(approval, BOB)
            case "refuse":
                await host.vote(approval, CAROL, Verdict.REFUSE)
            case "expire":
                host.clock.step_wall(seconds=3600)
                await host.approvals.tick()
            case "cancel":
                await host.approvals.cancel(approval.id, Cause.WITHDRAWN, detail="withdrawn")
    except EnvironmentFailure:
        raise
    except HoldfastError:
        pass


@pytest.mark.parametrize("order", list(permutations(WRITERS)), ids="-".join)
async def test_d09_four_writers_make_one_terminal_state(host: Host, order: tuple[str, ...]) -> None:
    """Whoever comes first, there is one end, every version is logged once, and nothing leaves it."""
    approval = await host.opened()
    seen: list[tuple[int, ApprovalState]] = []
    host.approvals.add_listener(lambda item: seen.append((item.version, item.state)))

    await asyncio.gather(*(write(host, approval, writer) for writer in order))
    await host.approvals.tick()

    end = await host.approvals.get(approval.id)
    assert not end.is_live
    ends = [
        state for _, state in seen if state not in {ApprovalState.PENDING, ApprovalState.GRANTED}
    ]
    assert ends == [end.state]
    versions = [version for version, _ in seen]
    assert versions == sorted(set(versions))
    logged = {
        entry["version"]: entry["state"]
        for entry in host.audit.entries
        if entry["event"] != "lapsed"
    }
    assert logged[end.version] == end.state


async def test_d09_a_refusal_beats_a_grant_that_is_being_logged(host: Host) -> None:
    """The refusal does not wait for the log; the grant's entry lapses."""
    approval = await host.opened()
    host.audit.gate = asyncio.Event()
    granting = asyncio.create_task(host.vote(approval, BOB))
    while not host.approvals._transitions._tasks:
        await asyncio.sleep(0)
    refusing = asyncio.create_task(host.vote(approval, CAROL, Verdict.REFUSE))
    while (await host.approvals.get(approval.id)).state is ApprovalState.PENDING:
        await asyncio.sleep(0)

    host.audit.gate.set()
    results = await asyncio.gather(granting, refusing, return_exceptions=True)

    assert isinstance(results[0], HoldfastError)
    assert (await host.approvals.get(approval.id)).state is ApprovalState.REFUSED
    events = host.audit.events(approval.id)
    assert sorted(events) == ["granted", "lapsed", "opened", "refused"]
    lapsed = next(entry for entry in host.audit.entries if entry["event"] == "lapsed")
    assert (lapsed["lapsed_event"], lapsed["version"]) == ("granted", 2)


async def test_d09_a_kill_between_log_and_swap_wins(host: Host) -> None:
    """The cancellation comes first: the use is not made, and its entry lapses."""
    approval = await host.granted()

    def kill(before: Approval, after: Approval) -> None:
        second = FaultyStore(host.path)
        from sidecar.approvals import machine

        moment = host.approvals._transitions.moment()
        cancelled = machine.cancel(before, Cause.CONTAINED, detail="killed", moment=moment)
        assert isinstance(cancelled, Approval)
        assert second.swap(before, cancelled, guard=None, is_logged=True)
        second.close()

    host.store.before_swap = kill

    answer = await host.hold(call_request())

    assert isinstance(answer, Pending)
    assert answer.approval.id != approval.id
    assert (await host.approvals.get(approval.id)).cause is Cause.CONTAINED
    assert host.audit.events(approval.id)[-2:] == ["consumed", "lapsed"]


# --- order of log and swap ------------------------------------------------------------------------


async def test_nothing_is_loosened_before_it_is_logged(host: Host) -> None:
    """Opening, each grant and the use are in the log while the row still says otherwise."""
    rows: list[tuple[str, str]] = []

    def look(entry: Any) -> None:
        approval_id = entry["approval"].removeprefix("approvals/")
        found = host.store.get(approval_id)
        rows.append((entry["event"], found.state.value if found is not None else "none"))

    host.audit.before = look
    approval = await host.opened(call_request(quorum=2))
    for voter in (BOB, CAROL):
        await host.vote(approval, voter)
    await host.hold(approval.request)

    assert rows == [
        ("opened", "none"),
        ("voted", "PENDING"),
        ("granted", "PENDING"),
        ("consumed", "GRANTED"),
    ]


@pytest.mark.parametrize("end", ["refuse", "cancel", "expire", "kill"])
async def test_a_log_that_fails_stops_nothing_that_tightens(host: Host, end: str) -> None:
    """It is done, and logged as soon as the log works: by this process or by the next."""
    approval = await host.opened()
    host.audit.is_failing = True

    match end:
        case "refuse":
            await host.vote(approval, BOB, Verdict.REFUSE)
        case "cancel":
            await host.approvals.cancel(approval.id, Cause.WITHDRAWN, detail="withdrawn")
        case "expire":
            host.clock.advance(seconds=1800)
            await host.approvals.tick()
        case "kill":
            await host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed")

    ended = await host.approvals.get(approval.id)
    assert not ended.is_live
    assert host.approvals.waits().unlogged > 0
    host.audit.is_failing = False
    await host.restart()
    await host.approvals.tick()
    await host.approvals.tick()
    assert host.audit.events(approval.id) == ["opened", ended.state.value.lower()]
    assert host.approvals.waits().unlogged == 0


async def test_a_log_that_hangs_is_waited_for_a_while_only(host: Host) -> None:
    """What tightens is answered; what loosens is not made."""
    from sidecar.approvals.answers import ApprovalLimits

    await host.close()
    host = Host(host.path, limits=ApprovalLimits(audit_timeout_s=0.01))
    await host.approvals.start()
    refused = await host.opened(call_request(nonce="1"))
    waiting = await host.opened(call_request(nonce="2"))
    host.audit.gate = asyncio.Event()

    answer = await host.vote(refused, BOB, Verdict.REFUSE)
    with pytest.raises(EnvironmentFailure):
        await host.vote(waiting, BOB)

    assert answer.approval.state is ApprovalState.REFUSED
    assert (await host.approvals.get(waiting.id)).state is ApprovalState.PENDING
    host.audit.gate.set()
    await host.close()


async def test_nothing_loosens_without_a_record(host: Host) -> None:
    """The log fails: no vote to grant is counted, no grant is used, nothing is opened."""
    half = await host.opened(call_request(quorum=2))
    action = await host.approvals.open_action(action_request())
    await host.vote(action, BOB)
    host.audit.is_failing = True

    for attempt in (
        host.vote(half, BOB),
        host.approvals.take(action.id),
        host.approvals.open_action(action_request("request-2", epoch=9)),
    ):
        with pytest.raises(EnvironmentFailure):
            await attempt

    assert (await host.approvals.get(half.id)).votes == ()
    assert (await host.approvals.get(action.id)).state is ApprovalState.GRANTED


async def test_without_the_order_a_grant_is_used_without_a_record_negative_control(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the announcement taken out, a failing log leaves a use that nobody can find."""

    async def silent(self: Any, approval: Approval) -> None:
        """Announce nothing."""

    approval = await host.granted()
    monkeypatch.setattr(type(host.approvals._entries), "announce", silent)
    host.audit.is_failing = True

    answer = await host.hold(call_request())

    assert isinstance(answer, Consumed)
    assert "consumed" not in host.audit.events(approval.id)


# --- a disk that fails ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["refuse", "cancel", "kill", "epoch", "policy"])
async def test_an_end_that_the_disk_does_not_take_holds_in_memory(host: Host, end: str) -> None:
    """From that moment nothing is granted or used on it; the next look writes it."""
    approval = await (host.opened() if end == "refuse" else host.granted())
    host.store.fails = frozenset({"swap"})

    match end:
        case "refuse":
            with pytest.raises(EnvironmentFailure):
                await host.vote(approval, BOB, Verdict.REFUSE)
        case "cancel":
            with pytest.raises(EnvironmentFailure):
                await host.approvals.cancel(approval.id, Cause.WITHDRAWN, detail="withdrawn")
        case "kill":
            assert (
                await host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed") == 1
            )
        case "epoch":
            assert await host.approvals.epoch_moved(host.epoch + 1) == 1
        case "policy":
            assert await host.approvals.policy_changed("f" * 64) == 1

    host.store.fails = frozenset()
    assert host.approvals.waits().unwritten == 1
    if end == "refuse":
        with pytest.raises(HoldfastError, match="being closed"):
            await host.vote(approval, CAROL)
        assert host.audit.events(approval.id) == ["opened"]
    answer = await host.hold(call_request())
    assert isinstance(answer, Denied)
    assert answer.reason.code is ReasonCode.APPROVAL_UNAVAILABLE
    await host.approvals.tick()
    assert not (await host.approvals.get(approval.id)).is_live
    assert host.approvals.waits().unwritten == 0


async def test_an_end_that_is_owed_is_not_forgotten_by_another_that_is_refused(host: Host) -> None:
    """A refusal waits for the disk; that nothing has expired yet does not take it back."""
    approval = await host.opened()
    host.store.fails = frozenset({"swap"})
    with pytest.raises(EnvironmentFailure):
        await host.vote(approval, BOB, Verdict.REFUSE)
    host.store.fails = frozenset()
    await host.approvals._transitions.expire(approval.id)

    await host.approvals.tick()

    assert (await host.approvals.get(approval.id)).state is ApprovalState.REFUSED


async def test_without_the_memory_of_owed_ends_a_kill_is_lost_negative_control(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it taken out, a grant is used after its cancellation failed on the disk."""
    approval = await host.granted()
    host.store.fails = frozenset({"swap"})
    await host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed")
    host.store.fails = frozenset()
    monkeypatch.setattr(
        type(host.approvals._transitions), "is_owed", lambda self, approval_id: False
    )

    answer = await host.hold(call_request())

    assert isinstance(answer, Consumed)
    assert answer.approval.id == approval.id


async def test_a_use_that_was_written_and_not_answered_is_used_up(host: Host) -> None:
    """The disk says no after it did it: denied, and never used again."""
    approval = await host.granted()
    host.store.commits_then_fails = True
    first = await host.hold(call_request())
    host.store.commits_then_fails = False

    second = await host.hold(call_request())
    await host.approvals.tick()

    assert isinstance(first, Denied)
    assert not isinstance(second, Consumed)
    assert (await host.approvals.get(approval.id)).state is ApprovalState.CONSUMED
    assert "lapsed" not in host.audit.events(approval.id)


async def test_a_vote_that_was_written_and_not_answered_is_found_by_the_retry(host: Host) -> None:
    """The voter asks again with the same request id, and is told that it counts."""
    approval = await host.opened()
    host.store.commits_then_fails = True
    with pytest.raises(EnvironmentFailure):
        await host.vote(approval, BOB, request_id="request-1")
    host.store.commits_then_fails = False

    again = await host.vote(approval, BOB, request_id="request-1")
    await host.approvals.tick()

    assert again.is_repeated
    assert again.approval.state is ApprovalState.GRANTED
    assert isinstance(await host.hold(call_request()), Consumed)


async def test_a_request_that_was_written_and_not_answered_is_told_later(host: Host) -> None:
    """The disk says no after it kept it: denied, found by the next look, and told to approvers."""
    host.store.commits_then_fails = True
    first = await host.hold(call_request())
    host.store.commits_then_fails = False

    await host.approvals.tick()
    second = await host.hold(call_request())

    assert isinstance(first, Denied)
    assert isinstance(second, Pending)
    assert host.announcer.told == [(second.approval.id, "opened", "PENDING")]
    assert host.audit.events() == ["opened"]


async def test_what_is_being_logged_is_not_logged_twice(place: Path) -> None:
    """A look for what the log misses comes while a refusal is being logged."""
    host = Host(place, is_inline=True)
    await host.approvals.start()
    approval = await host.opened()
    await host.approvals.tick()
    host.audit.gate = asyncio.Event()
    refusing = asyncio.create_task(host.vote(approval, BOB, Verdict.REFUSE))
    while (await host.approvals.get(approval.id)).is_live:
        await asyncio.sleep(0)
    entries = host.approvals._entries
    missing = entries.missing_count
    entries.note_doubt()
    looking = asyncio.create_task(entries.catch_up())
    for _ in range(20):
        await asyncio.sleep(0)

    host.audit.gate.set()
    await asyncio.gather(refusing, looking)

    assert missing == 1
    assert host.audit.events(approval.id) == ["opened", "refused"]
    assert entries.missing_count == 0
    await host.close()


async def test_a_failure_that_nobody_waits_for_is_quiet(host: Host) -> None:
    """Whoever voted has gone; the log fails then: nothing is reported as never looked at."""
    approval = await host.opened()
    noise: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    host.audit.gate = asyncio.Event()
    voting = asyncio.create_task(host.vote(approval, BOB))
    while not host.approvals._transitions._tasks:
        await asyncio.sleep(0)
    voting.cancel()
    await asyncio.gather(voting, return_exceptions=True)
    host.audit.is_failing = True

    host.audit.gate.set()
    while host.approvals._transitions._tasks:
        await asyncio.sleep(0)
    gc.collect()

    assert noise == []


async def test_what_was_announced_and_not_made_lapses(host: Host) -> None:
    """The log says granted, the disk failed: the log says that it lapsed, at the latest later."""
    approval = await host.opened()
    host.store.fails = frozenset({"swap"})
    with pytest.raises(EnvironmentFailure):
        await host.vote(approval, BOB)
    host.store.fails = frozenset()

    await host.approvals.tick()

    assert host.audit.events(approval.id) == ["opened", "granted", "lapsed"]


async def test_what_was_announced_and_not_opened_lapses(host: Host) -> None:
    """The same for a request that was not kept."""
    host.store.fails = frozenset({"insert"})
    await host.hold(call_request())
    host.store.fails = frozenset()

    await host.approvals.tick()

    assert host.audit.events() == ["opened", "lapsed"]


async def test_a_lapse_that_cannot_be_logged_is_logged_later(host: Host) -> None:
    """Two services: one loses while the log begins to fail."""
    approval = await host.granted()

    def use_it_elsewhere(before: Approval, after: Approval) -> None:
        second = FaultyStore(host.path)
        assert second.swap(before, after, guard=None, is_logged=True)
        second.close()
        host.audit.is_failing = True

    host.store.before_swap = use_it_elsewhere
    await host.hold(call_request())
    host.audit.is_failing = False

    await host.approvals.tick()

    assert host.audit.events(approval.id)[-1] == "lapsed"


async def test_an_exchanged_store_does_not_stop_the_look(host: Host) -> None:
    """What is owed to a row that is not there any more is let go."""
    approval = await host.opened()
    host.store.fails = frozenset({"swap"})
    with pytest.raises(EnvironmentFailure):
        await host.vote(approval, BOB, Verdict.REFUSE)
    host.store.fails = frozenset()
    host.approvals._board._live.clear()
    connection = host.store._connection
    assert connection is not None
    connection.execute("DELETE FROM approvals")

    await host.approvals.tick()

    assert host.approvals.problem == ""
    assert host.approvals.waits().unwritten == 0


async def test_another_process_that_opened_first_is_folded_into(host: Host) -> None:
    """Two services hold the identical call: one row, and both wait on it."""
    other, store = await started(host)
    first = await host.opened()

    second = await other.hold(call_request(), binding_of(call_request()), decision_id="dec")

    assert isinstance(second, Pending)
    assert second.approval.id == first.id
    await other.close()
    store.close()


async def test_a_ballot_of_an_old_page_finds_another_state(host: Host) -> None:
    """Another service granted it meanwhile: the swap fails, and the vote is told."""
    other, store = await started(host)
    approval = await host.opened()
    await other.decide(ballot(approval), BOB)

    with pytest.raises(HoldfastError) as caught:
        await host.vote(approval, CAROL)

    assert "granted by bob" in caught.value.message
    await other.close()
    store.close()


async def test_binding_is_a_value(host: Host) -> None:
    """Nobody changes a binding after it was compared."""
    binding = binding_of(call_request())

    with pytest.raises(AttributeError):
        binding.epoch = 0  # type: ignore[misc]
    assert isinstance(binding, Binding)
