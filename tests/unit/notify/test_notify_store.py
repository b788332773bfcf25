# SPDX-License-Identifier: Apache-2.0
"""The outbox: what was accepted before a crash is delivered after it."""

from __future__ import annotations

import sqlite3
import stat

import pytest

from sidecar.errors import EnvironmentFailure
from sidecar.notify import notifier as notifier_module
from sidecar.notify.encoding import encode_notice, notice_id
from sidecar.notify.lane import LaneLimits
from sidecar.notify.notice import NoticeKind
from sidecar.notify.outbox import Accepted, Forgotten, Settled
from sidecar.notify.store_sqlite import SqliteNotices
from tests.unit.notify.notify_kit import (
    OPENED,
    Desk,
    FakeChannel,
    VirtualTime,
    notice,
    outcome,
    settle,
    unreachable,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "notices.db"


def accepted(what=OPENED, *channels: str, time_ns: int = 1) -> Accepted:
    return Accepted(
        notice_id=notice_id(what),
        channels=channels or ("fake",),
        notice=encode_notice(what),
        time_ns=time_ns,
    )


def settled(what=OPENED, channel: str = "fake", handle: str | None = None, time_ns: int = 1):
    return Settled(
        notice_id=notice_id(what), channel=channel, time_ns=time_ns, approval=what.approval,
        handle=handle,
    )  # fmt: skip


def rows(path) -> list[tuple[str, str]]:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT notice_id, channel FROM notify_outbox").fetchall()


async def crash(desk: Desk) -> None:
    """End *desk* as a power cut would, with what is durable by now."""
    await desk.notifier.flush()
    for task in desk.notifier._tasks:
        task.cancel()
    desk.notifier._outbox._writer.cancel()
    for lane in desk.notifier._lanes.values():
        for chain in lane._chains.values():
            chain.task.cancel()
    await settle()
    desk.notifier._outbox._store.close()


# -- the store ------------------------------------------------------------------------------------


def test_changes_are_kept_in_order_and_settled_once(path):
    """Accepted twice is there once; settled is gone; a handle replaces the one before."""
    store = SqliteNotices(path)
    second = notice(number=2)
    store.apply([accepted(OPENED, "a", "b"), accepted(OPENED, "a", "b"), accepted(second, "a")])
    store.apply([settled(OPENED, "a", "h1"), settled(OPENED, "a", "h2"), settled(second, "zzz")])
    store.close()
    again = SqliteNotices(path)

    assert [(one.notice_id, one.channel) for one in again.pending()] == [
        (notice_id(OPENED), "b"),
        (notice_id(second), "a"),
    ]
    assert again.pending()[0].notice == encode_notice(OPENED)
    assert again.handles() == {(OPENED.approval, "a"): "h2"}


def test_old_handles_are_forgotten(path):
    """Nobody updates a message of last week."""
    store = SqliteNotices(path)
    store.apply([settled(notice(number=1), handle="old", time_ns=5)])
    store.apply([settled(notice(number=2), handle="new", time_ns=6), Forgotten(before_ns=6)])

    assert list(store.handles().values()) == ["new"]


def test_all_changes_or_none(path):
    """One that cannot be written takes none of its batch with it."""
    store = SqliteNotices(path)
    with pytest.raises(EnvironmentFailure):
        store.apply([accepted(), Forgotten(before_ns=1 << 80)])

    assert store.pending() == []
    store.apply([accepted()])
    assert len(store.pending()) == 1


def test_the_file_is_private_and_durable(path):
    """It holds what agents wrote and addresses of people."""
    store = SqliteNotices(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("spoil", ["garbage", "version", "closed", "directory"])
def test_a_store_that_cannot_be_used_says_so_with_the_remedy(path, spoil):
    """Corrupt, of a newer release, closed, or no file at all."""
    if spoil == "garbage":
        path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    elif spoil == "directory":
        path.mkdir()
    else:
        store = SqliteNotices(path)
        if spoil == "version":
            store._connection.execute("UPDATE notify_schema SET version = 2")
        store.close()
    use = store.pending if spoil == "closed" else lambda: SqliteNotices(path)
    with pytest.raises(EnvironmentFailure, match="notices") as caught:
        use()

    assert caught.value.hint


# -- restart --------------------------------------------------------------------------------------


async def test_what_was_accepted_before_a_crash_is_delivered_after_it(path):
    """With the same id, so that a receiver knows a repetition."""
    before, after = FakeChannel(), FakeChannel()
    before.break_down()
    desk = Desk(before, store=SqliteNotices(path))
    await desk.notifier.start()
    await desk.tell(OPENED, notice(number=2))
    await crash(desk)
    async with Desk(after, store=SqliteNotices(path)) as desk:
        await desk.notifier.flush()

        assert rows(path) == []
    assert [one for one, _ in after.sent] == [OPENED, notice(number=2)]
    assert notice_id(after.sent[0][0]) == notice_id(OPENED)


async def test_what_was_accepted_before_a_crash_negative_control(path):
    """Without a store it is gone."""
    before, after = FakeChannel(), FakeChannel()
    before.break_down()
    desk = Desk(before)
    await desk.notifier.start()
    await desk.tell(OPENED)
    await desk.notifier.aclose()
    async with Desk(after):
        pass

    assert after.sent == []


async def test_an_orderly_end_keeps_what_was_not_delivered(path):
    """Closing is no reason to forget."""
    channel = FakeChannel()
    channel.break_down()
    async with Desk(channel, store=SqliteNotices(path)) as desk:
        await desk.tell(OPENED)

    assert rows(path) == [(notice_id(OPENED), "fake")]


async def test_the_message_of_before_the_crash_is_updated_after_it(path):
    """The handle is kept in the same transaction that settles the notice."""
    before, after = FakeChannel(), FakeChannel()
    desk = Desk(before, store=SqliteNotices(path))
    await desk.notifier.start()
    await desk.tell(OPENED)
    await crash(desk)
    async with Desk(after, store=SqliteNotices(path)) as desk:
        await desk.tell(OPENED, outcome())

    assert after.sent == [(outcome(), "handle-1")]


async def test_each_channel_is_taken_up_where_it_was(path):
    """What one delivered it does not deliver again."""
    good, bad = FakeChannel(name="good"), FakeChannel(name="bad")
    bad.break_down()
    desk = Desk(good, bad, store=SqliteNotices(path))
    await desk.notifier.start()
    await desk.tell(OPENED)
    await crash(desk)
    bad.recover()
    async with Desk(good, bad, store=SqliteNotices(path)):
        await settle()

    assert len(good.sent) == len(bad.sent) == 1


async def test_an_outcome_that_was_accepted_supersedes_what_was_before_it(path):
    """Order and coalescing hold over a restart."""
    before, after = FakeChannel(), FakeChannel()
    before.break_down()
    desk = Desk(before, store=SqliteNotices(path))
    await desk.notifier.start()
    await desk.tell(OPENED, notice(NoticeKind.REMINDER), outcome(), outcome(state="CONSUMED"))
    await crash(desk)
    async with Desk(after, store=SqliteNotices(path)) as desk:
        await desk.tell(notice(NoticeKind.ESCALATION))

    assert [one.state for one, _ in after.sent] == ["GRANTED", "CONSUMED"]


async def test_what_is_over_or_for_nobody_is_let_go(path):
    """A channel that is not configured any more, a request that has ended, a damaged row."""
    store = SqliteNotices(path)
    store.apply(
        [
            accepted(OPENED, "removed"),
            accepted(notice(number=2, expire_time_ns=1)),
            Accepted(notice_id="ntc_x", channels=("fake",), notice=b"{}", time_ns=1),
        ]
    )
    store.close()
    channel = FakeChannel()
    async with Desk(channel, store=SqliteNotices(path)) as desk:
        await settle()
        await desk.notifier.flush()

        assert rows(path) == []
    assert channel.sent == []


async def test_a_request_that_nobody_heard_of_before_the_crash_is_watched_again(path):
    """D24 does not end at a restart."""
    channel = FakeChannel()
    channel.break_down()
    desk = Desk(channel, store=SqliteNotices(path))
    await desk.notifier.start()
    await desk.tell(OPENED)
    await crash(desk)
    async with Desk(channel, store=SqliteNotices(path), time=VirtualTime()) as desk:
        await desk.time.advance(10)

        assert desk.unreachable == [OPENED.approval]


async def test_what_did_not_fit_into_the_queue_does_not_come_back(path):
    """It was counted as dropped; a restart does not make it a surprise."""
    channel = FakeChannel()
    channel.break_down()
    async with Desk(channel, store=SqliteNotices(path), limits=LaneLimits(max_queued=1)) as desk:
        await desk.tell(notice(number=1), notice(number=2))

    assert rows(path) == [(notice_id(notice(number=1)), "fake")]


async def test_handles_of_the_day_before_yesterday_are_forgotten_while_running(path, monkeypatch):
    """Control may run for months."""
    monkeypatch.setattr(notifier_module, "PROBE_EVERY_S", 1e6)
    store = SqliteNotices(path)
    async with Desk(FakeChannel(), store=store) as desk:
        await desk.tell(OPENED)
        await desk.time.advance(24 * 3600)
        await desk.notifier.flush()
        young = dict(store.handles())
        await desk.time.advance(25 * 3600)
        await desk.notifier.flush()

        assert young == {(OPENED.approval, "fake"): "handle-1"}
        assert store.handles() == {}


# -- a store that fails ---------------------------------------------------------------------------


class FailingStore(SqliteNotices):
    """Writes only when it is told to."""

    is_broken = True

    def apply(self, changes):
        if self.is_broken:
            raise EnvironmentFailure("the disk is full")
        super().apply(changes)


async def test_a_store_that_fails_costs_durability_and_nothing_else(path, logs):
    """Messages go out; it is said once; it heals by itself."""
    store = FailingStore(path)
    channel = FakeChannel()
    async with Desk(channel, store=store) as desk:
        await desk.tell(OPENED)
        await desk.tell(notice(number=2))
        await desk.notifier.flush()
        was_durable = desk.notifier.is_durable
        store.is_broken = False
        await desk.tell(notice(number=3))
        await desk.notifier.flush()

        assert (was_durable, desk.notifier.is_durable) == (False, True)
    assert len(channel.sent) == 3
    assert [event["event"] for event in logs].count("notices are not durable") == 1


async def test_a_store_that_cannot_be_read_at_the_start_stops_nobody(path):
    """Control starts; what was waiting is not delivered, what comes is."""
    store = SqliteNotices(path)
    store.close()
    channel = FakeChannel()
    async with Desk(channel, store=store) as desk:
        await desk.tell(OPENED)

        assert not desk.notifier.is_durable
    assert channel.kinds == ["opened"]


@pytest.mark.parametrize("is_started", [True, False])
async def test_closing_closes_the_store(path, is_started):
    """Also one that has nothing to write, or was never used."""
    store = SqliteNotices(path)
    desk = Desk(FakeChannel(), store=store)
    if is_started:
        await desk.notifier.start()
        await desk.notifier.flush()
    await desk.notifier.aclose()

    with pytest.raises(EnvironmentFailure, match="is closed"):
        store.pending()


async def test_nothing_waits_for_the_disk(path):
    """``notify`` returns, and the message goes out, while the store is still writing."""
    channel = FakeChannel(error=lambda one: unreachable() if one.approval == "" else None)
    async with Desk(channel, store=SqliteNotices(path)) as desk:
        with desk.notifier._outbox._store._lock:
            await desk.tell(OPENED)
            sent = channel.kinds
        await desk.notifier.flush()

    assert sent == ["opened"]
