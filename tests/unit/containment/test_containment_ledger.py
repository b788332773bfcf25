# SPDX-License-Identifier: Apache-2.0
"""What control remembers beside what stands, and the clocks and tasks around it."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.clock import ManualClock
from sidecar.containment.clockwatch import ClockWatch
from sidecar.containment.commits import Commits
from sidecar.containment.errands import Errands
from sidecar.containment.events import (
    Contained,
    Event,
    Expired,
    PolicyActivated,
    Released,
    RevocationRule,
    TokensRevoked,
    encode_event,
)
from sidecar.containment.history import RequestNote
from sidecar.containment.ledger import Ledger
from sidecar.containment.machine import ContainmentState
from sidecar.errors import ConflictError, NotDurableError
from tests.unit.containment.containment_kit import contained, directive


def revocation(epoch: int) -> TokensRevoked:
    """Return a revocation."""
    return TokensRevoked(
        rule=RevocationRule(agent="banking", author="a", reason="r", epoch=epoch, create_time_ns=1)
    )


def released(epoch: int, directive_epoch: int) -> Released:
    """Return a release."""
    return Released(
        epoch=epoch,
        directive_epoch=directive_epoch,
        releaser="bob",
        releaser_human_id="bob",
        reason="r",
        create_time_ns=1,
        request_id="release-1",
        request_fingerprint="f",
    )


def remembered(*events: Event) -> tuple[Ledger, ContainmentState]:
    """Return a ledger and a state that know *events*."""
    ledger = Ledger()
    for event in events:
        ledger.note(event, encode_event(event))
    return ledger, ContainmentState.empty().apply_all(events)


def kept(ledger: Ledger, state: ContainmentState, budget: int) -> list[int]:
    """Return the epochs that a compaction keeps."""
    return [record.epoch for record in ledger.live_records(state, budget=budget)]


def test_e01_request_id_belongs_to_its_first_order() -> None:
    """The same order again is found; another one under the same id is a conflict."""
    event = Contained(directive=directive(1, request_id="request-1", request_fingerprint="f1"))
    ledger, _ = remembered(event)

    assert ledger.find("request-1", "f1") == 1
    assert ledger.find("request-2", "f1") is None
    with pytest.raises(ConflictError):
        ledger.find("request-1", "f2")


def test_e01_request_ids_of_an_earlier_run_count() -> None:
    """What the history knows is remembered, but does not displace what the journal says."""
    ledger, _ = remembered(released(5, 1))
    ledger.remember_requests(
        [
            RequestNote(request_id="release-1", fingerprint="older", epoch=2),
            RequestNote(request_id="request-9", fingerprint="f9", epoch=3),
        ]
    )

    assert ledger.find("release-1", "f") == 5
    assert ledger.find("request-9", "f9") == 3


def test_request_ids_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest ids are forgotten first."""
    monkeypatch.setattr("sidecar.containment.ledger._MAX_REQUESTS", 2)
    ledger, _ = remembered(
        *(
            Contained(directive=directive(n, request_id=f"request-{n}", request_fingerprint="f"))
            for n in (1, 2, 3)
        )
    )

    assert [ledger.find(f"request-{n}", "f") for n in (1, 2, 3)] == [None, 2, 3]


def test_compaction_keeps_what_must_not_be_lost() -> None:
    """Without any room to spare: standing directives, policy in force, unarchived revocations."""
    ledger, state = remembered(
        contained(1),
        PolicyActivated(epoch=2, digest="d1", author="a", create_time_ns=1),
        contained(3),
        released(4, 1),
        revocation(5),
        PolicyActivated(epoch=6, digest="d2", author="a", create_time_ns=1),
        revocation(7),
    )
    ledger.mark_archived([5])

    assert kept(ledger, state, budget=0) == [3, 6, 7]
    assert [rule.epoch for rule in ledger.unarchived] == [7]


def test_compaction_keeps_more_while_there_is_room() -> None:
    """What is archived or ended is kept newest first; a directive and its end go together."""
    ledger, state = remembered(
        contained(1),
        released(2, 1),
        contained(3),
        Expired(epoch=4, directive_epoch=3, create_time_ns=1),
    )

    assert kept(ledger, state, budget=10_000) == [1, 2, 3, 4]
    assert kept(ledger, state, budget=900) == [3, 4]
    assert kept(ledger, state, budget=0) == []


def test_what_a_compaction_dropped_is_forgotten_but_for_its_request_id() -> None:
    """Ids outlive the records that carried them."""
    ledger, state = remembered(contained(1), released(2, 1), revocation(3))
    ledger.mark_archived([3])
    assert ledger.ended_directive(2) == contained(1)

    ledger.forget_but([], state)

    assert kept(ledger, state, budget=10_000) == []
    assert ledger.ended_directive(2) is None
    assert ledger.revocations == ()
    assert ledger.find("release-1", "f") == 2


# -- errands ------------------------------------------------------------------------------------


async def test_order_is_done_once_for_all_who_ask() -> None:
    """Concurrent callers share one piece of work, and one result."""
    errands = Errands()
    runs = 0
    may_end = asyncio.Event()

    async def work() -> int:
        nonlocal runs
        runs += 1
        await may_end.wait()
        return 7

    callers = [
        asyncio.create_task(errands.order("request-1", "f", done=None, work=work))
        for _ in range(50)
    ]
    await asyncio.sleep(0)
    with pytest.raises(ConflictError):
        await errands.order("request-1", "other", done=None, work=work)
    may_end.set()
    answers = await asyncio.gather(*callers)

    assert runs == 1
    assert [epoch for epoch, _ in answers] == [7] * 50
    assert sorted(is_repeated for _, is_repeated in answers) == [False] + [True] * 49
    assert await errands.order("request-1", "f", done=7, work=work) == (7, True)


async def test_order_goes_on_when_its_caller_gives_up() -> None:
    """Cancelling the caller does not cancel the work."""
    errands = Errands()
    done = asyncio.Event()

    async def work() -> int:
        await asyncio.sleep(0)
        done.set()
        return 7

    caller = asyncio.create_task(errands.order("request-1", "f", done=None, work=work))
    await asyncio.sleep(0)
    caller.cancel()
    await errands.aclose()

    assert done.is_set()
    assert "order request-1" not in errands


# -- commits ------------------------------------------------------------------------------------


class Disk:
    """Counts how often it was synced, and fails when told to."""

    def __init__(self) -> None:
        self.syncs = 0
        self.error: Exception | None = None

    def make_durable(self) -> None:
        self.syncs += 1
        if self.error is not None:
            raise self.error


async def test_many_wait_for_one_sync() -> None:
    """Who comes while a sync runs shares the next one."""
    disk = Disk()
    commits = Commits(target=disk)

    await asyncio.gather(*(commits.durable() for _ in range(256)))
    await commits.durable()
    await commits.aclose()

    assert disk.syncs == 2


@pytest.mark.parametrize("error", [NotDurableError("broken"), RuntimeError("closed")])
async def test_failed_sync_reaches_everybody_who_waits(error: Exception) -> None:
    """Nobody is told that something is durable which is not."""
    disk = Disk()
    disk.error = error
    commits = Commits(target=disk)

    answers = await asyncio.gather(*(commits.durable() for _ in range(5)), return_exceptions=True)
    await commits.aclose()

    assert all(isinstance(answer, NotDurableError) for answer in answers)


async def test_waiter_that_gave_up_does_not_disturb_the_others() -> None:
    """A cancelled caller is left out when the sync is done."""
    commits = Commits(target=Disk())
    gone = asyncio.create_task(commits.durable())
    there = asyncio.create_task(commits.durable())
    await asyncio.sleep(0)
    gone.cancel()

    await there
    await commits.aclose()


# -- clock --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-86400, 3600, 61])
def test_step_of_the_wall_clock_is_not_trusted_for_a_while(step: float) -> None:
    """After a step, and for a minute from then, wall time is no evidence."""
    clock = ManualClock()
    watch = ClockWatch(clock=clock, max_step_s=60, unstable_s=60)
    clock.advance(seconds=3600)
    assert watch.is_trusted()

    clock.step_wall(seconds=step)
    assert not watch.is_trusted()
    clock.advance(seconds=59)
    assert not watch.is_trusted()
    clock.advance(seconds=1)
    assert watch.is_trusted()


def test_slewing_is_no_step() -> None:
    """Small corrections, however many, are trusted."""
    clock = ManualClock()
    watch = ClockWatch(clock=clock, max_step_s=60, unstable_s=60)
    for _ in range(100):
        clock.advance(seconds=10)
        clock.step_wall(seconds=5)
        assert watch.is_trusted()
