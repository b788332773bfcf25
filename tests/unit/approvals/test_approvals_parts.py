# SPDX-License-Identifier: Apache-2.0
"""The parts of the service where they meet what rarely happens."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.approvals import board as board_module
from sidecar.approvals import machine
from sidecar.approvals.answers import Consumed, Denied, Pending
from sidecar.approvals.board import Board, call_key
from sidecar.approvals.store_sqlite import SqliteApprovals
from sidecar.approvals.values import Approval, ApprovalState, Cause, RequestKind, Verdict
from sidecar.approvals.worker import Worker
from sidecar.errors import EnvironmentFailure, HoldfastError, PreconditionError
from sidecar.model import ReasonCode
from tests.unit.approvals.approvals_kit import (
    BOB,
    OTHER_BOOT,
    FaultyStore,
    Host,
    action_request,
    binding_of,
    call_request,
)
from tests.unit.approvals.test_approvals_store import next_of, pending

# --- the board ------------------------------------------------------------------------------------


async def test_the_board_never_goes_back(host: Host) -> None:
    """An older version replaces no newer one, and what ended does not come back."""
    board = Board()
    first = pending()
    granted = next_of(first, ApprovalState.GRANTED)
    board.put(granted)
    board.put(first)
    newest = board.of_call(call_key(first.request))
    board.put(next_of(granted, ApprovalState.CANCELLED))
    board.put(granted)

    assert newest == granted
    assert dict(board.live) == {}
    assert board.of_asker(RequestKind.CALL, "banking") == []


async def test_the_board_forgets_what_ended_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is bounded."""
    monkeypatch.setattr(board_module, "_MAX_ENDED", 3)
    board = Board()

    for number in range(10):
        board.put(next_of(pending(number), ApprovalState.REFUSED))

    assert len(board._ended) == 3


async def test_what_is_read_again_keeps_its_count(host: Host) -> None:
    """The store learns of folds later; reading it does not forget them."""
    approval = await host.opened()
    await host.hold(call_request())

    await host.approvals._transitions.refresh(approval.id)

    assert host.approvals.live()[0].folded_count == 1


async def test_an_older_reading_does_not_hide_a_newer_one(host: Host) -> None:
    """The store was read before the vote, and is looked at after it."""
    approval = await host.opened()
    await host.vote(approval, BOB)

    seen = host.approvals._transitions._seen(approval)

    assert seen.state is ApprovalState.GRANTED


# --- losing every time ----------------------------------------------------------------------------


class Restless(FaultyStore):
    """A store in which somebody else is always quicker."""

    def swap(self, before: Approval, after: Approval, **rest: Any) -> bool:
        return False


async def test_whoever_loses_every_time_gives_up(host: Host) -> None:
    """A bounded number of times; a use is denied, a vote and an end are errors."""
    waiting = await host.opened(call_request(nonce="1"))
    granted = await host.granted(call_request(nonce="2"))
    store = Restless(host.path)
    host.approvals = host.service(store)
    await host.approvals.start()

    answer = await host.hold(granted.request)
    with pytest.raises(EnvironmentFailure, match="too often"):
        await host.vote(waiting, BOB)
    with pytest.raises(EnvironmentFailure, match="too often"):
        await host.vote(waiting, BOB, Verdict.REFUSE)

    assert isinstance(answer, Denied)
    assert answer.reason.code is ReasonCode.APPROVAL_UNAVAILABLE
    await host.approvals.close()
    store.close()


async def test_a_call_that_is_never_kept_is_denied(host: Host) -> None:
    """The store says each time that there is one already, and has none."""
    host.store.insert = lambda approval: False  # type: ignore[method-assign]

    answer = await host.hold(call_request())

    assert isinstance(answer, Denied)
    assert answer.reason.code is ReasonCode.APPROVAL_UNAVAILABLE


async def test_an_action_that_is_never_kept_is_an_error(host: Host) -> None:
    """The same for a control action."""
    host.store.insert = lambda approval: False  # type: ignore[method-assign]

    with pytest.raises(EnvironmentFailure, match="could not be kept"):
        await host.approvals.open_action(action_request())


async def test_an_action_that_another_process_opened_is_found(host: Host) -> None:
    """The id is taken between the look and the writing: the same approval is the answer."""
    other_store = FaultyStore(host.path)
    other = host.service(other_store)
    await other.start()
    opened: list[Approval] = []
    real_insert = host.store.insert

    def insert(approval: Approval) -> bool:
        theirs = replace(approval, id="apr_" + "f" * 32)
        opened.append(theirs)
        assert other_store.insert(theirs)
        return real_insert(approval)

    host.store.insert = insert  # type: ignore[method-assign]

    found = await host.approvals.open_action(action_request())

    assert found.id == opened[0].id
    assert await host.approvals.find_action("request-1") == found
    assert await host.approvals.find_action("request-2") is None
    await other.close()
    other_store.close()


# --- between two looks ----------------------------------------------------------------------------


async def test_d06_a_grant_that_lapses_while_its_use_is_logged_is_not_used(host: Host) -> None:
    """The swap looks at the clock by itself."""
    approval = await host.granted()

    def dawdle(entry: Any) -> None:
        if entry["event"] == "consumed":
            host.clock.advance(seconds=900)

    host.audit.before = dawdle

    answer = await host.hold(call_request())

    assert isinstance(answer, Pending)
    assert (await host.approvals.get(approval.id)).state is ApprovalState.EXPIRED
    assert host.audit.events(approval.id) == [
        *("opened", "granted", "consumed"),
        *("lapsed", "expired"),
    ]


async def test_d06_a_vote_that_is_late_when_it_is_written_does_not_count(host: Host) -> None:
    """The same for the wait of a request."""
    approval = await host.opened()

    def dawdle(entry: Any) -> None:
        if entry["event"] == "granted":
            host.clock.advance(seconds=1800)

    host.audit.before = dawdle

    with pytest.raises(PreconditionError):
        await host.vote(approval, BOB)

    assert (await host.approvals.get(approval.id)).state is ApprovalState.EXPIRED


async def test_d06_without_the_clock_of_the_swap_a_late_use_is_made_negative_control(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the deadlines taken out of the WHERE clause, the use of before is made after."""
    from sidecar.approvals import store_sqlite

    monkeypatch.setattr(store_sqlite, "_UNEXPIRED", "")
    await host.granted()
    host.audit.before = lambda entry: host.clock.advance(seconds=900)

    answer = await host.hold(call_request())

    assert isinstance(answer, Consumed)


async def test_a_grant_of_another_boot_is_not_taken(host: Host) -> None:
    """Another process of another boot opens the file: what this one granted is void there."""
    approval = await host.approvals.open_action(action_request())
    await host.vote(approval, BOB)
    host.approvals._transitions._boot_id = OTHER_BOOT

    with pytest.raises(PreconditionError):
        await host.approvals.take(approval.id)

    assert (await host.approvals.get(approval.id)).cause is Cause.REBOOTED


async def test_an_epoch_is_not_followed_twice(host: Host) -> None:
    """A grant of the new epoch is not cancelled by the late news of it."""
    approval = await host.granted()
    news = asyncio.create_task(host.approvals.epoch_moved(host.epoch + 1))
    board = host.approvals._board
    board.put(replace(approval, version=3, grant_epoch=host.epoch + 1))

    count = await news
    later = await host.approvals.epoch_moved(host.epoch + 1)

    assert (count, later) == (0, 0)


async def test_what_is_no_failure_of_the_machine_is_not_hidden(host: Host) -> None:
    """A mistake of ours in a bulk cancellation is raised."""

    def broken(before: Approval, after: Approval, **rest: Any) -> bool:
        raise ZeroDivisionError

    await host.opened()
    host.store.swap = broken  # type: ignore[method-assign]

    with pytest.raises(ZeroDivisionError):
        await host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed")


async def test_an_end_that_was_written_and_not_answered_is_told_by_the_next_look(
    host: Host,
) -> None:
    """The disk said no after it did it: listeners, log and memory of refusals learn of it later."""
    approval = await host.opened()
    await host.approvals.tick()
    heard: list[ApprovalState] = []
    host.approvals.add_listener(lambda item: heard.append(item.state))
    host.store.commits_then_fails = True
    with pytest.raises(EnvironmentFailure):
        await host.vote(approval, BOB, Verdict.REFUSE)
    host.store.commits_then_fails = False

    await host.approvals.tick()
    answer = await host.hold(call_request())

    assert heard == [ApprovalState.REFUSED]
    assert host.audit.events(approval.id) == ["opened", "refused"]
    assert isinstance(answer, Denied)
    assert answer.reason.code is ReasonCode.APPROVAL_REFUSED


async def test_two_who_find_out_at_once_tell_it_once(host: Host) -> None:
    """What a failing store has done is resolved once."""
    approval = await host.opened()
    host.store.commits_then_fails = True
    with pytest.raises(EnvironmentFailure):
        await host.vote(approval, BOB)
    host.store.commits_then_fails = False
    told = len(host.announcer.told)

    await asyncio.gather(host.approvals._transitions.settle(), host.approvals._transitions.settle())

    assert len(host.announcer.told) == told + 1


# --- notes that fail ------------------------------------------------------------------------------


@pytest.mark.parametrize("note", ["count_folded", "mark_logged", "mark_announced", "purge"])
async def test_a_note_that_fails_is_written_by_the_next_look(
    host: Host, monkeypatch: pytest.MonkeyPatch, note: str
) -> None:
    """Nothing is forgotten, health says so, and nothing else stops."""
    approval = await host.opened()
    await host.hold(call_request())
    other = await host.opened(call_request(nonce="2"))
    await host.vote(other, BOB, Verdict.REFUSE)
    host.clock.advance(seconds=900)

    def broken(*args: Any, **rest: Any) -> Any:
        raise EnvironmentFailure("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(host.store, note, broken)
        await host.approvals.tick()
        problem = host.approvals.problem
    await host.approvals.tick()
    await host.restart()

    assert problem == "the disk is gone"
    assert host.announcer.kinds(approval.id) == ["opened", "reminder"]
    assert (await host.approvals.get(approval.id)).folded_count == 1
    assert host.store.unlogged(limit=9) == []


async def test_a_closed_service_decides_nothing(host: Host) -> None:
    """Its thread takes nothing more."""
    approval = await host.opened()
    await host.approvals.close()

    with pytest.raises(EnvironmentFailure, match="closed"):
        await host.vote(approval, BOB)


# --- the file -------------------------------------------------------------------------------------


class Connection:
    """Stands before a connection; answers some statements by itself."""

    def __init__(self, real: sqlite3.Connection, answer: Callable[[str], Any]) -> None:
        self._real = real
        self._answer = answer

    def execute(self, statement: str, *values: Any) -> Any:
        answer = self._answer(statement.strip())
        return self._real.execute(statement, *values) if answer is None else answer

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction

    def close(self) -> None:
        self._real.close()


class One:
    """A result of one row."""

    def fetchone(self) -> tuple[Any, ...]:
        return (1,)


async def test_a_file_that_cannot_be_made_durable_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite ignores a pragma it cannot follow, so it is read back."""
    real = sqlite3.connect

    def connect(*args: Any, **rest: Any) -> Any:
        return Connection(
            real(*args, **rest),
            lambda statement: One() if statement == "PRAGMA synchronous" else None,
        )

    monkeypatch.setattr(sqlite3, "connect", connect)

    with pytest.raises(EnvironmentFailure, match="cannot be made durable"):
        SqliteApprovals(place)


async def test_a_transaction_that_cannot_be_undone_closes_the_store(place: Path) -> None:
    """Nobody knows what it would commit next."""
    store = SqliteApprovals(place)
    waiting = pending()
    store.insert(waiting)
    real = store._connection
    assert real is not None

    def fail(statement: str) -> Any:
        if statement.startswith(("COMMIT", "ROLLBACK")):
            raise sqlite3.OperationalError("disk I/O error")

    store._connection = Connection(real, fail)  # type: ignore[assignment]
    with pytest.raises(EnvironmentFailure):
        store.swap(waiting, next_of(waiting, ApprovalState.GRANTED), guard=None, is_logged=False)

    with pytest.raises(EnvironmentFailure, match="is closed"):
        store.live()
    again = SqliteApprovals(place)
    assert again.live() == [waiting]
    again.close()


async def test_every_error_of_the_service_is_of_the_family(host: Host) -> None:
    """Callers catch one base class."""
    with pytest.raises(HoldfastError):
        await host.approvals.get("junk")
    assert machine.__all__ == sorted(machine.__all__)
    assert isinstance(await host.hold(call_request(), **vars_of(call_request())), Pending)


def vars_of(request: Any) -> dict[str, Any]:
    """Return the binding of *request* as keywords."""
    binding = binding_of(request)
    return {"agent": binding.agent, "session": binding.session}


# --- the worker -----------------------------------------------------------------------------------


async def test_a_disk_that_does_not_answer_fails() -> None:
    """Whoever waits is told after a while; what comes later is nobody's business any more."""
    worker, release = Worker(timeout_s=0.01), threading.Event()

    with pytest.raises(EnvironmentFailure, match=r"did not answer in 0\.01 s"):
        await worker.run(release.wait)
    await worker.close()
    release.set()

    with pytest.raises(EnvironmentFailure, match="are closed"):
        await worker.run(release.wait)


async def test_an_end_holds_in_memory_when_nothing_can_be_read(host: Host) -> None:
    """The disk neither reads nor writes: what is live is in memory, and is closed there."""
    approval = await host.granted()
    host.store.fails = frozenset({"get", "swap"})

    with pytest.raises(EnvironmentFailure):
        await host.approvals.cancel(approval.id, Cause.CONTAINED, detail="killed")

    assert host.approvals.waits().unwritten == 1
    host.store.fails = frozenset()
    await host.approvals.tick()
    assert (await host.approvals.get(approval.id)).cause is Cause.CONTAINED


async def test_an_epoch_that_does_not_fit_the_file_is_denied(host: Host) -> None:
    """A gate may send any 64 bits."""
    await host.opened(call_request(nonce="1", epoch=2**64 - 1))
    await host.granted()

    answer = await host.hold(call_request(), epoch=2**64 - 1)

    assert isinstance(answer, Denied)
    assert answer.reason.code is ReasonCode.APPROVAL_BINDING
    granted = host.approvals._board.of_call(call_key(call_request()))
    assert granted is not None
    wide = replace(granted, version=3, grant_epoch=2**64 - 1)
    with pytest.raises(EnvironmentFailure, match="OverflowError"):
        host.store.swap(granted, wide, guard=None, is_logged=False)
