# SPDX-License-Identifier: Apache-2.0
"""What time does: expiry, reminders, restarts, purging; and looking at approvals meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.approvals.answers import ApprovalLimits, Consumed
from sidecar.approvals.values import Approval, ApprovalState, Cause, Verdict
from sidecar.errors import EnvironmentFailure, NotFoundError
from tests.unit.approvals.approvals_kit import (
    BOB,
    CAROL,
    OTHER_DIGEST,
    Host,
    action_request,
    call_request,
)


async def test_what_nobody_decides_expires(host: Host) -> None:
    """At the first look after its time; it is logged, told and over."""
    approval = await host.opened()
    host.clock.advance(seconds=1799.999)
    await host.approvals.tick()
    before = await host.approvals.get(approval.id)
    host.clock.advance(seconds=0.001)

    await host.approvals.tick()

    after = await host.approvals.get(approval.id)
    assert (before.state, after.state) == (ApprovalState.PENDING, ApprovalState.EXPIRED)
    assert host.audit.events(approval.id)[-1] == "expired"
    assert host.announcer.told[-1] == (approval.id, "decided", "EXPIRED")


async def test_d06_a_grant_lapses_at_its_use_too(host: Host) -> None:
    """Nobody needs to have looked: the use itself finds that it is late."""
    approval = await host.granted()
    host.clock.advance(seconds=900)

    await host.hold(call_request())

    assert (await host.approvals.get(approval.id)).state is ApprovalState.EXPIRED


async def test_d06_a_clock_set_back_after_the_grant_gives_no_more_time(host: Host) -> None:
    """An hour back on the wall: the boot clock ends it after its 15 minutes, for good."""
    approval = await host.granted()
    host.clock.step_wall(seconds=-3600)
    host.clock.advance(seconds=899)
    assert isinstance(await host.hold(call_request()), Consumed)
    second = await host.granted()
    host.clock.step_wall(seconds=-3600)
    host.clock.advance(seconds=900)

    answer = await host.hold(call_request())

    assert not isinstance(answer, Consumed)
    assert (await host.approvals.get(second.id)).state is ApprovalState.EXPIRED
    assert approval.id != second.id


async def test_d06_a_clock_set_forward_ends_it_and_set_back_does_not_revive_it(host: Host) -> None:
    """Expired is latched."""
    approval = await host.granted()
    host.clock.step_wall(seconds=3600)
    await host.approvals.tick()
    host.clock.step_wall(seconds=-3600)

    answer = await host.hold(call_request())

    assert not isinstance(answer, Consumed)
    assert (await host.approvals.get(approval.id)).state is ApprovalState.EXPIRED


async def test_reminder_and_escalation_come_once_each(host: Host) -> None:
    """At half and at three quarters of the wait, also over restarts."""
    approval = await host.opened()
    kinds = []
    for seconds in (899, 1, 10, 440, 1):
        host.clock.advance(seconds=seconds)
        await host.approvals.tick()
        await host.approvals.tick()
        kinds.append(host.announcer.kinds(approval.id)[1:])
        await host.restart()

    assert kinds == [
        [],
        ["reminder"],
        ["reminder"],
        ["reminder", "escalation"],
        ["reminder", "escalation"],
    ]


async def test_what_is_decided_is_not_reminded_of(host: Host) -> None:
    """Neither what is granted nor what has ended."""
    await host.granted()
    host.clock.advance(seconds=890)

    await host.approvals.tick()

    assert "reminder" not in [kind for _, kind, _ in host.announcer.told]


async def test_every_transition_is_told(host: Host) -> None:
    """Opened, granted, used; the first vote of two is no decision."""
    approval = await host.opened(call_request(quorum=2))
    for voter in (BOB, CAROL):
        await host.vote(approval, voter)
    await host.hold(approval.request)

    assert host.announcer.told == [
        (approval.id, "opened", "PENDING"),
        (approval.id, "decided", "GRANTED"),
        (approval.id, "decided", "CONSUMED"),
    ]


# --- restarts -------------------------------------------------------------------------------------


async def test_a_restart_changes_nothing(host: Host) -> None:
    """P11: what waits, waits; what is granted can be used, once; what is used is used."""
    waiting = await host.opened(call_request(nonce="1"))
    granted = await host.granted(call_request(nonce="2"))
    consumed = await host.granted(call_request(nonce="3"))
    await host.hold(consumed.request)

    await host.restart()

    assert (await host.approvals.get(waiting.id)).state is ApprovalState.PENDING
    assert isinstance(await host.hold(granted.request), Consumed)
    assert not isinstance(await host.hold(consumed.request), Consumed)


async def test_a_reboot_voids_grants_and_keeps_what_waits(host: Host) -> None:
    """By the wall clock it goes on waiting, and is granted under the new boot."""
    waiting = await host.opened(call_request(nonce="1"))
    granted = await host.granted(call_request(nonce="2"))

    await host.restart(is_reboot=True)

    ended = await host.approvals.get(granted.id)
    assert (ended.state, ended.cause) == (ApprovalState.CANCELLED, Cause.REBOOTED)
    await host.vote(waiting, BOB)
    assert isinstance(await host.hold(waiting.request), Consumed)


async def test_what_expired_or_changed_while_it_was_down_is_ended_at_the_start(host: Host) -> None:
    """Before anybody can ask."""
    old = await host.opened(call_request(nonce="1"))
    host.clock.advance(seconds=1000)
    other_policy = await host.opened(call_request(nonce="2"))
    old_epoch = await host.granted(call_request(nonce="3"))
    host.clock.advance(seconds=800)
    host.epoch += 1
    host.digest = OTHER_DIGEST

    await host.restart()

    ended = [await host.approvals.get(item.id) for item in (old, other_policy, old_epoch)]
    assert [item.state for item in ended] == [
        ApprovalState.EXPIRED,
        ApprovalState.CANCELLED,
        ApprovalState.CANCELLED,
    ]
    assert ended[1].cause is Cause.POLICY_CHANGED


async def test_an_epoch_that_moved_while_it_was_down_voids_a_grant(host: Host) -> None:
    """Nobody was there to cancel it."""
    approval = await host.granted()
    host.epoch += 1

    await host.restart()

    assert (await host.approvals.get(approval.id)).cause is Cause.EPOCH_MOVED


async def test_a_store_that_fails_at_the_start_is_reported(host: Host) -> None:
    """Control must know that nothing can be held."""
    await host.granted()
    host.boot_id = "another"
    host.approvals = host.service()
    host.store.fails = frozenset({"swap"})

    with pytest.raises(EnvironmentFailure):
        await host.approvals.start()


async def test_one_failing_part_does_not_stop_the_others(host: Host) -> None:
    """The directory is gone: what is due expires all the same, and health says so."""
    approval = await host.opened()
    host.clock.advance(seconds=1800)
    await host.approvals.open_action(action_request())
    host.directory.is_failing = True

    await host.approvals.tick()

    assert (await host.approvals.get(approval.id)).state is ApprovalState.EXPIRED
    assert host.approvals.problem == "the directory is gone"
    host.directory.is_failing = False
    await host.approvals.tick()
    assert host.approvals.problem == ""


async def test_it_looks_again_and_again(host: Host) -> None:
    """``run`` ticks until it is cancelled."""
    await host.close()
    host = Host(host.path, limits=ApprovalLimits(tick_s=0))
    await host.approvals.start()
    approval = await host.opened()
    changed = asyncio.Event()
    host.approvals.add_listener(lambda approval: changed.set())
    running = asyncio.create_task(host.approvals.run())
    host.clock.advance(seconds=1800)

    await asyncio.wait_for(changed.wait(), 10)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await host.approvals.get(approval.id)).state is ApprovalState.EXPIRED
    await host.close()


# --- looking --------------------------------------------------------------------------------------


async def test_pages(host: Host) -> None:
    """Newest first, by filters, from page to page, with the calls that wait counted."""
    opened = [
        await host.opened(call_request(agent=agent, nonce=nonce))
        for agent, nonce in (("a", "1"), ("b", "2"), ("a", "3"))
    ]
    await host.vote(opened[0], BOB, Verdict.REFUSE)
    await host.hold(call_request(agent="a", nonce="3"))

    first = await host.approvals.list(limit=2)
    second = await host.approvals.list(limit=2, before=first.next_before)
    pending = await host.approvals.list(pending_only=True, agent="a")
    nothing = await host.approvals.list(before="junk")

    assert [item.id for item in first.approvals] == [opened[2].id, opened[1].id]
    assert first.approvals[0].folded_count == 1
    assert ([item.id for item in second.approvals], second.next_before) == ([opened[0].id], None)
    assert [item.id for item in pending.approvals] == [opened[2].id]
    assert nothing.approvals == ()


async def test_whoever_waits_sees_the_change(host: Host) -> None:
    """At once if it is newer than what they know, else when it changes, else at the timeout."""
    approval = await host.opened()

    newer = await host.approvals.wait(approval.id, version=0, timeout_s=10)
    waiting = asyncio.create_task(host.approvals.wait(approval.id, version=1, timeout_s=10))
    nothing = await host.approvals.wait(approval.id, version=1, timeout_s=0)
    await host.vote(approval, BOB)
    granted = await waiting

    assert (newer.version, nothing.version) == (1, 1)
    assert granted.state is ApprovalState.GRANTED
    assert not host.approvals._changes._waiters


async def test_waiting_for_nothing_is_not_found(host: Host) -> None:
    """As everywhere."""
    with pytest.raises(NotFoundError):
        await host.approvals.wait("apr_" + "0" * 32, version=0, timeout_s=0)


async def test_a_listener_that_fails_breaks_nothing(host: Host) -> None:
    """Others hear, and the transition is made."""
    heard: list[tuple[str, int]] = []
    failures: list[Any] = []

    def broken(approval: Approval) -> None:
        raise ValueError("a page broke")

    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    host.approvals.add_listener(broken)
    host.approvals.add_listener(lambda item: heard.append((item.state.value, item.version)))

    await host.granted()
    await asyncio.sleep(0)

    assert heard == [("PENDING", 1), ("GRANTED", 2)]
    assert len(failures) == 2


async def test_numbers_for_metrics(host: Host) -> None:
    """What waits, how long things took, what became of them."""
    first = await host.opened(call_request(nonce="1"))
    host.clock.advance(seconds=10)
    second = await host.opened(call_request(nonce="2"))
    await host.opened(call_request(nonce="3"))
    await host.vote(first, BOB)
    await host.hold(first.request)
    await host.vote(second, BOB, Verdict.REFUSE)
    host.clock.advance(seconds=5)

    waits = host.approvals.waits()

    assert (waits.pending, waits.granted, waits.oldest_wait_s) == (1, 0, 5)
    assert (waits.decided_count, waits.decided_wait_s) == (2, 10)
    assert waits.ended == {ApprovalState.CONSUMED: 1, ApprovalState.REFUSED: 1}
    assert waits.unwritten == 0
    assert host.approvals.pending_count() == 1


async def test_content_is_forgotten_after_the_retention(host: Host) -> None:
    """At the first look after it, then hourly; the approval stays listed."""
    approval = await host.opened()
    await host.vote(approval, BOB, Verdict.REFUSE)
    await host.approvals.tick()
    host.clock.advance(seconds=30 * 86400 + 1)

    await host.approvals.tick()

    found = await host.approvals.get(approval.id)
    assert found.request.canonical == b""
    assert found.request.summary == "what banking asked for is no longer kept"
    assert found.votes[0].operator == "bob"
    assert await host.approvals.purge() == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda host, found: host.approvals.cancel("junk", Cause.WITHDRAWN, detail=""),
        lambda host, found: host.approvals.cancel("apr_" + "0" * 32, Cause.WITHDRAWN, detail=""),
        lambda host, found: host.approvals.cancel(
            found.id, Cause.AGENT_GONE, detail="", agent="shop"
        ),
    ],
)
async def test_what_is_not_there_or_not_theirs_is_not_cancelled(
    host: Host, ask: Callable[[Host, Approval], Any]
) -> None:
    """An agent withdraws its own calls only; nothing says whether there is another."""
    approval = await host.opened()

    ended = await ask(host, approval)

    assert ended is None
    assert (await host.approvals.get(approval.id)).state is ApprovalState.PENDING


async def test_what_has_ended_is_not_cancelled_again(host: Host) -> None:
    """The first end stands."""
    approval = await host.opened()
    first = await host.approvals.cancel(
        approval.id, Cause.AGENT_GONE, detail="it went away", agent="banking"
    )

    second = await host.approvals.cancel(approval.id, Cause.WITHDRAWN, detail="again")

    assert first is not None
    assert second is None
    assert (await host.approvals.get(approval.id)).detail == "it went away"
