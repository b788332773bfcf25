# SPDX-License-Identifier: Apache-2.0
"""The notifier over channels that do as they are told, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.notify import lane as lane_module
from sidecar.notify import notifier as notifier_module
from sidecar.notify.channel import DeliveryError, Fault, Route, Routed
from sidecar.notify.lane import LaneLimits
from sidecar.notify.notice import NoticeKind
from sidecar.notify.notifier import ALERT_EVERY_S, Notifier
from sidecar.observe.metrics import Metrics
from tests.unit.notify.notify_kit import (
    CANARY,
    OPENED,
    Desk,
    FakeChannel,
    VirtualTime,
    notice,
    outcome,
    settle,
    unreachable,
)

ONLY_ESCALATIONS = Route(events=frozenset({NoticeKind.ESCALATION, NoticeKind.DECIDED}))
NOT_ALERTS = Route(events=frozenset(NoticeKind) - {NoticeKind.ALERT})


def refused(text: str = "answered 401") -> DeliveryError:
    return DeliveryError(text, fault=Fault.REFUSED)


def broken(name: str = "fake", error: Exception | None = None) -> FakeChannel:
    channel = FakeChannel(name=name)
    channel.break_down(error)
    return channel


def failing_first(count: int, error: Exception):
    """Return what fails *count* times with *error*, then does not."""
    left = [error] * count
    return lambda notice: left.pop() if left else None


# -- delivery -------------------------------------------------------------------------------------


async def test_every_channel_is_told_and_an_outcome_comes_with_the_handle():
    """What a channel returned for the opening is what it updates with the outcome."""
    first, second = FakeChannel(name="a"), FakeChannel(name="b")
    async with Desk(first, second) as desk:
        await desk.tell(OPENED)
        await desk.tell(outcome())

    for channel in (first, second):
        assert channel.sent == [(OPENED, None), (outcome(), "handle-1")]


async def test_routes_decide_who_is_told_what():
    """By event and by tier."""
    high = FakeChannel(name="high")
    alerts = FakeChannel(name="alerts")
    routes = (
        Route(tiers=frozenset({"HIGH"})),
        Route(events=frozenset({NoticeKind.ALERT})),
    )
    async with Desk(high, alerts, routes=routes) as desk:
        await desk.tell(notice(number=1, tier="LOW"), notice(number=2, tier="HIGH"))
        await desk.tell(notice(NoticeKind.ALERT, approval="", tier=""))

    assert [one.approval for one, _ in high.sent] == ["approvals/apr_0002", ""]
    assert alerts.kinds == ["alert"]


async def test_an_escalation_channel_hears_the_outcome_of_what_it_was_told():
    """And of nothing else: on-call is not woken by grants."""
    channel = FakeChannel()
    async with Desk(channel, routes=[ONLY_ESCALATIONS]) as desk:
        await desk.tell(notice(number=1), notice(number=2))
        await desk.tell(notice(NoticeKind.ESCALATION, 2))
        await desk.tell(outcome(1), outcome(2))

    assert [(one.kind.value, one.approval[-1]) for one, _ in channel.sent] == [
        ("escalation", "2"),
        ("decided", "2"),
    ]


async def test_a_request_is_announced_once_per_channel():
    """Whoever announces it again after a restart does not post it twice."""
    channel = FakeChannel()
    channel.gate = asyncio.Event()
    async with Desk(channel) as desk:
        await desk.tell(OPENED, OPENED)
        channel.gate.set()
        await settle()
        await desk.tell(OPENED, notice(create_time_ns=5))

    assert channel.kinds == ["opened"]


async def test_notify_never_raises_and_never_waits(logs):
    """Not for a hung channel, not for a mistake of ours, not before the start nor after the end."""
    channel = FakeChannel(gate=asyncio.Event())
    desk = Desk(channel, limits=LaneLimits(closing_grace_s=0))
    desk.notifier.notify(OPENED)
    async with desk:
        for number in range(100):
            desk.notifier.notify(notice(number=number))
        desk.notifier.notify(None)  # type: ignore[arg-type]
        desk.notifier.notify(notice(approval=7))
    desk.notifier.notify(OPENED)

    assert channel.sent == []
    assert any(event["event"] == "notice lost" for event in logs)


async def test_what_was_said_before_the_start_is_delivered():
    """Control may hold a call while it is still starting."""
    channel = FakeChannel()
    desk = Desk(channel)
    desk.notifier.notify(OPENED)
    async with desk:
        await settle()

    assert channel.kinds == ["opened"]


def test_two_channels_of_one_name_are_misuse():
    """Names tell them apart in logs, metrics and the outbox."""
    routed = [Routed(channel=FakeChannel()), Routed(channel=FakeChannel())]

    with pytest.raises(ValueError, match="one name"):
        Notifier(channels=routed, clock=VirtualTime().clock)


# -- retries --------------------------------------------------------------------------------------


async def test_what_failed_is_tried_again_with_growing_waits():
    """Half a second, one, two, four …, each with at most half a second of jitter."""
    channel = FakeChannel(error=failing_first(4, unreachable()))
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        seen = [channel.attempts]
        for seconds in (1.0, 1.5, 2.5, 4.5):
            await desk.time.advance(seconds)
            seen.append(channel.attempts)

    assert seen == [1, 2, 3, 4, 5]
    assert channel.kinds == ["opened"]


async def test_the_first_retry_does_not_come_at_once():
    """A server that just failed has half a second."""
    channel = FakeChannel(error=failing_first(1, unreachable()))
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        await desk.time.advance(0.49)
        assert channel.attempts == 1


async def test_retry_after_holds_the_whole_channel_back():
    """Nothing is sent before the time the other side named, not even something new."""
    channel = FakeChannel()
    limit = DeliveryError("answered 429", fault=Fault.BUSY, retry_after_s=30)
    channel.error = failing_first(1, limit)
    async with Desk(channel) as desk:
        await desk.tell(notice(number=1))
        await desk.tell(notice(number=2))
        await desk.time.advance(29)
        before = channel.attempts
        await desk.time.advance(3)

    assert before == 1
    assert sorted(one.approval[-1] for one, _ in channel.sent) == ["1", "2"]
    assert desk.unreachable == []


async def test_retry_after_of_a_year_is_five_minutes():
    """Nobody silences a channel by saying so."""
    limit = DeliveryError("answered 429", fault=Fault.BUSY, retry_after_s=3e7)
    channel = FakeChannel(error=failing_first(1, limit))
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        await desk.time.advance(301)

    assert channel.kinds == ["opened"]


async def test_what_is_not_accepted_is_not_tried_again():
    """The second time would end like the first; others go through."""
    bad = DeliveryError("answered 400", fault=Fault.REJECTED)
    channel = FakeChannel(error=lambda one: bad if one.approval.endswith("1") else None)
    async with Desk(channel) as desk:
        await desk.tell(notice(number=1), notice(number=2))
        await desk.time.advance(100)

    assert channel.attempts == 2
    assert desk.notifier.health()[0].failed == 1
    assert desk.notifier.health()[0].is_up is True


async def test_a_message_that_a_server_chokes_on_does_not_silence_the_rest():
    """Approvals do not wait for each other."""
    channel = FakeChannel(error=lambda one: unreachable() if one.approval.endswith("1") else None)
    async with Desk(channel) as desk:
        await desk.tell(notice(number=1), notice(number=2), notice(number=3))

    assert [one.approval[-1] for one, _ in channel.sent] == ["2", "3"]


async def test_a_recovered_channel_delivers_what_waits_at_once(monkeypatch):
    """Nobody sits out a backoff when a probe finds that the way is free."""
    monkeypatch.setattr(lane_module, "_backoff", lambda state: 3000.0)
    channel = broken()
    async with Desk(channel) as desk:
        await desk.tell(*(outcome(number) for number in range(5)))
        await desk.time.advance(600)
        channel.recover()
        await desk.time.advance(37)

    assert len(channel.sent) == 5


async def test_a_delivery_proves_that_the_channel_is_up_again():
    """No probe is needed, and none would disprove a refusal so soon."""
    channel = FakeChannel(error=failing_first(1, refused()))
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        before = desk.notifier.health()[0].is_up
        await desk.time.advance(1)

        assert (before, desk.notifier.health()[0].is_up) == (False, True)
        assert desk.notifier.health()[0].last_error == ""


async def test_trying_ends_after_an_hour():
    """What nobody took for so long is given up, counted and logged."""
    channel = broken()
    async with Desk(channel) as desk:
        await desk.tell(outcome())
        await desk.time.advance(3700)
        health = desk.notifier.health()[0]

    assert (health.queued, health.failed, health.sent) == (0, 1, 0)


async def test_an_opening_is_not_tried_beyond_the_end_of_its_request():
    """Nobody is called to decide what has refused itself."""
    channel = broken()
    async with Desk(channel) as desk:
        wall_ns = desk.time.clock.wall_ns()
        await desk.tell(notice(expire_time_ns=wall_ns + 60_000_000_000))
        await desk.time.advance(100)
        channel.recover()
        await desk.time.advance(100)

    assert channel.sent == []
    assert desk.notifier.health()[0].superseded == 1


async def test_an_attempt_has_a_deadline():
    """A channel that never returns is a channel that failed."""
    channel = FakeChannel(timeout_s=0.01, gate=asyncio.Event())
    async with Desk(channel) as desk:
        desk.notifier.notify(OPENED)
        while not desk.notifier.health()[0].last_error:
            await asyncio.sleep(0.005)

    assert desk.notifier.health()[0].last_error == "no answer within 0.01 s"


async def test_a_channel_with_a_mistake_does_not_stop_its_lane(logs):
    """Whatever it raises: this notice failed, the next one is tried, the text is not logged."""
    channel = FakeChannel(
        error=lambda one: ValueError(CANARY) if one.approval.endswith("1") else None
    )
    async with Desk(channel) as desk:
        await desk.tell(notice(number=1), notice(number=2))
        error = desk.notifier.health()[0].last_error

    assert [one.approval[-1] for one, _ in channel.sent] == ["2"]
    assert CANARY not in f"{logs}{error}"
    assert any(event["event"] == "notification channel is broken" for event in logs)


# -- order and coalescing -------------------------------------------------------------------------


async def test_notices_about_one_approval_keep_their_order():
    """While the first is tried again, what follows waits."""
    channel = FakeChannel(error=failing_first(3, unreachable()))
    async with Desk(channel) as desk:
        await desk.tell(
            outcome(state="GRANTED"),
            outcome(state="CONSUMED", detail="used"),
            outcome(state="CONSUMED", detail="finished"),
        )
        await desk.time.advance(60)

    assert [(one.state, one.detail) for one, _ in channel.sent] == [
        ("GRANTED", "granted by alice on the console"),
        ("CONSUMED", "used"),
        ("CONSUMED", "finished"),
    ]


async def test_after_an_outcome_no_reminder_is_sent():
    """Neither what waited behind a failing opening, nor what comes later."""
    channel = FakeChannel(error=failing_first(1, unreachable()))
    async with Desk(channel) as desk:
        await desk.tell(OPENED, notice(NoticeKind.REMINDER), notice(NoticeKind.ESCALATION))
        await desk.tell(outcome())
        await desk.tell(notice(NoticeKind.REMINDER), OPENED)
        await desk.time.advance(60)

    assert channel.kinds == ["decided"]
    assert desk.notifier.health()[0].superseded == 3


async def test_after_an_outcome_no_reminder_is_sent_negative_control(monkeypatch):
    """Without the two guards people would be called to decide what is decided."""
    monkeypatch.setattr(lane_module, "_BEFORE_OUTCOME", frozenset())
    monkeypatch.setattr(notifier_module, "_MAX_DECIDED", 0)
    channel = FakeChannel(error=failing_first(1, unreachable()))
    async with Desk(channel) as desk:
        await desk.tell(OPENED, notice(NoticeKind.REMINDER), outcome())
        await desk.tell(notice(NoticeKind.REMINDER, detail="late"))
        await desk.time.advance(60)

    assert channel.kinds == ["opened", "reminder", "decided", "reminder"]


async def test_an_outcome_does_not_wait_for_the_backoff_of_the_opening():
    """It wakes the chain: people learn of it as soon as the channel is back."""
    channel = FakeChannel(error=failing_first(6, unreachable()))
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        await desk.time.advance(20)  # the next try is seconds away
        attempts = channel.attempts
        await desk.tell(outcome())

    assert attempts == 6
    assert channel.kinds == ["decided"]


async def test_an_outcome_during_an_attempt_follows_it():
    """The opening that is on the wire arrives, then the outcome updates it."""
    channel = FakeChannel(gate=asyncio.Event())
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        await desk.tell(outcome())
        channel.gate.set()
        await settle()

    assert channel.sent == [(OPENED, None), (outcome(), "handle-1")]


async def test_a_full_queue_drops_and_counts():
    """Bounded, whatever comes."""
    channel = FakeChannel(gate=asyncio.Event())
    async with Desk(channel, limits=LaneLimits(max_queued=10, closing_grace_s=0)) as desk:
        await desk.tell(*(notice(number=number) for number in range(50)))
        health = desk.notifier.health()[0]
        await settle()

    assert (health.queued, health.dropped) == (10, 40)
    assert len(desk.unreachable) == 40


async def test_at_most_a_few_are_sent_at_once():
    """A burst is no flood for the other side."""
    channel = FakeChannel(gate=asyncio.Event())
    async with Desk(channel, limits=LaneLimits(slots=2)) as desk:
        await desk.tell(*(notice(number=number) for number in range(20)))
        assert channel.attempts == 2
        channel.gate.set()
        await settle()

    assert len(channel.sent) == 20


# -- D24: silence is said -------------------------------------------------------------------------


async def test_d24_nobody_can_be_reached_is_one_sentence_with_names_and_errors():
    """Known from the first probe, before the first call is held."""
    channels = broken("mail", unreachable("no answer")), broken("chat", refused("invalid_auth"))
    async with Desk(*channels) as desk:
        assert desk.notifier.refusal() == (
            "no notification channel reaches anybody: mail (no answer), chat (invalid_auth)"
        )


async def test_d24_one_of_two_that_works_is_enough():
    """Somebody hears of it."""
    good = FakeChannel(name="chat")
    async with Desk(broken("mail"), good) as desk:
        assert desk.notifier.refusal() == ""
        await desk.tell(OPENED)
        await desk.time.advance(30)

        assert desk.unreachable == []
    assert good.kinds[-1] == "opened"


async def test_d24_nothing_is_refused_without_channels_or_knowledge_or_with_a_watcher():
    """None configured: people look. Nothing known yet: it is tried. Somebody watches: they see."""
    async with Desk() as desk:
        assert desk.notifier.refusal() == ""
    assert Desk(broken()).notifier.refusal() == ""
    async with Desk(broken(), watchers=1) as desk:
        assert desk.notifier.refusal() == ""
        desk.watchers = 0
        assert desk.notifier.refusal() != ""


async def test_d24_only_channels_that_announce_the_tier_count():
    """A pager for escalations reaches nobody with an opening."""
    pager, high = FakeChannel(name="pager"), broken("high")
    routes = (ONLY_ESCALATIONS, Route(tiers=frozenset({"HIGH"})))
    async with Desk(pager, high, routes=routes) as desk:
        assert desk.notifier.refusal("HIGH").endswith("high (cannot be connected)")
        assert desk.notifier.refusal("LOW") == ""
        assert desk.notifier.refusal() != ""


async def test_d24_a_request_that_reached_nobody_is_called_back_once_after_five_seconds():
    """Every channel went down after the call was held; retries had their time."""
    first, second = FakeChannel(name="a"), FakeChannel(name="b")
    async with Desk(first, second, routes=[NOT_ALERTS] * 2) as desk:
        first.break_down()
        second.break_down()
        await desk.tell(OPENED)
        await desk.time.advance(4.9)
        early = list(desk.unreachable)
        await desk.time.advance(300)

    assert early == []
    assert desk.unreachable == [OPENED.approval]


async def test_d24_a_request_that_reached_nobody_negative_control(monkeypatch):
    """Without the watch it would wait in silence until it expires."""
    monkeypatch.setattr(
        notifier_module.ReachWatch, "opened", lambda self, approval, channels, *, now_ns: None
    )
    channel = FakeChannel()
    async with Desk(channel) as desk:
        channel.break_down()
        await desk.tell(OPENED)
        await desk.time.advance(300)

    assert desk.unreachable == []


async def test_d24_nobody_is_called_back_for_what_one_channel_delivered_late():
    """The second try within the first seconds is in time."""
    channel = FakeChannel(error=failing_first(3, unreachable()))
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        await desk.time.advance(300)

    assert channel.kinds == ["opened"]
    assert desk.unreachable == []


async def test_d24_an_opening_that_hangs_on_a_channel_found_dead_by_its_probe_reached_nobody():
    """The attempt has not ended, but the way is known to be gone."""
    channel = FakeChannel(gate=asyncio.Event())
    async with Desk(channel, limits=LaneLimits(closing_grace_s=0)) as desk:
        await desk.tell(OPENED)
        channel.break_down()
        await desk.time.advance(20)
        before = list(desk.unreachable)
        await desk.time.advance(20)

        assert before == []
        assert desk.unreachable == [OPENED.approval]


async def test_d24_an_attempt_that_fails_late_reached_nobody_then():
    """A mail server that thinks for six seconds before it says no."""
    channel = FakeChannel(gate=asyncio.Event())
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        channel.error = lambda one: unreachable()
        await desk.time.advance(6)
        before = list(desk.unreachable)
        channel.gate.set()
        await settle()

        assert before == []
        assert desk.unreachable == [OPENED.approval]


async def test_d24_what_was_delivered_stays_heard_of_when_the_channel_dies():
    """Somebody has the message; that there will be no reminder is another matter."""
    channel = FakeChannel()
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        channel.break_down()
        await desk.time.advance(300)

        assert desk.unreachable == []


async def test_d24_a_retry_that_hangs_on_a_channel_that_is_down_is_not_waited_for():
    """It failed once, and after five seconds it has still not shown the contrary."""
    channel = FakeChannel()
    async with Desk(channel, limits=LaneLimits(closing_grace_s=0)) as desk:
        channel.break_down()
        await desk.tell(OPENED)
        channel.gate = asyncio.Event()
        await desk.time.advance(4.9)
        before = list(desk.unreachable)
        await desk.time.advance(0.2)

        assert before == []
        assert desk.unreachable == [OPENED.approval]


async def test_d24_a_watcher_is_somebody():
    """Who looks at the console has seen it."""
    channel = FakeChannel()
    async with Desk(channel, watchers=1) as desk:
        channel.break_down()
        await desk.tell(OPENED)
        await desk.time.advance(300)

    assert desk.unreachable == []


async def test_d24_a_message_that_every_channel_rejects_reached_nobody_at_once():
    """There is nothing to wait for."""
    channel = FakeChannel()
    async with Desk(channel) as desk:
        channel.error = lambda one: DeliveryError("answered 400", fault=Fault.REJECTED)
        await desk.tell(OPENED)

        assert desk.unreachable == [OPENED.approval]


async def test_d24_a_channel_that_is_only_slow_has_not_failed():
    """Asked to come back in two minutes: it will arrive."""
    limit = DeliveryError("answered 429", fault=Fault.BUSY, retry_after_s=120)
    channel = FakeChannel(error=failing_first(1, limit))
    async with Desk(channel) as desk:
        await desk.tell(OPENED)
        await desk.time.advance(119)
        before = list(desk.unreachable)
        await desk.time.advance(10)

    assert before == desk.unreachable == []
    assert channel.kinds == ["opened"]


async def test_d24_what_was_decided_meanwhile_is_not_called_back():
    """It has an outcome already."""
    channel = FakeChannel()
    async with Desk(channel) as desk:
        channel.break_down()
        await desk.tell(OPENED)
        await desk.tell(outcome(state="CANCELLED"))
        await desk.time.advance(300)

    assert desk.unreachable == []


async def test_d24_the_callback_may_tell_the_outcome():
    """Whoever cancels the request announces it from within; nothing is re-entered."""
    channel = FakeChannel()
    desk = Desk(channel)
    said: list[str] = []

    def cancel(approval: str) -> None:
        said.append(approval)
        desk.notifier.notify(outcome(state="CANCELLED", detail="nobody was reached"))

    desk.notifier._on_unreachable = cancel
    async with desk:
        channel.break_down()
        await desk.tell(OPENED)
        await desk.time.advance(10)
        channel.recover()
        await desk.time.advance(40)

    assert said == [OPENED.approval]
    assert [(one.kind, one.state) for one, _ in channel.sent] == [(NoticeKind.DECIDED, "CANCELLED")]


# -- health ---------------------------------------------------------------------------------------


async def test_channels_are_probed_at_the_start_and_every_half_minute():
    """With jitter, so that not everybody asks at once."""
    channel = FakeChannel()
    async with Desk(channel) as desk:
        first = channel.probes
        await desk.time.advance(36.1)
        second = channel.probes
        await desk.time.advance(360)

    assert (first, second) == (1, 2)
    assert 10 <= channel.probes - second <= 15


async def test_health_says_what_doctor_and_metrics_need():
    """Up or not, since when, what went wrong, how many."""
    good, bad = FakeChannel(name="good", kind="slack"), broken("bad")
    async with Desk(good, bad, routes=[NOT_ALERTS] * 2) as desk:
        await desk.tell(OPENED)
        now_ns = desk.time.clock.wall_ns()
        healthy, ill = desk.notifier.health()

    assert (healthy.name, healthy.kind, healthy.is_up) == ("good", "slack", True)
    assert (healthy.sent, healthy.queued, healthy.last_success_ns) == (1, 0, now_ns)
    assert (ill.is_up, ill.queued, ill.last_error) == (False, 1, "cannot be connected")
    assert ill.last_success_ns == 0


async def test_samples_are_metrics_with_bounded_labels():
    """What Prometheus would see; a channel of which nothing is known has no state."""
    good, bad = FakeChannel(name="good"), broken("bad")
    desk = Desk(good, bad, routes=[NOT_ALERTS] * 2)
    metrics = Metrics()
    metrics.pull(desk.notifier.samples)
    read = metrics.registry.get_sample_value
    before = read("holdfast_notification_channel_up", {"channel": "good"})
    async with desk:
        await desk.tell(OPENED)
        assert read("holdfast_notifications_queued", {"channel": "bad"}) == 1

        assert before is None
        assert read("holdfast_notification_channel_up", {"channel": "good"}) == 1
        assert read("holdfast_notification_channel_up", {"channel": "bad"}) == 0
        sent = {"channel": "good", "result": "sent"}
        assert read("holdfast_notifications_total", sent) == 1
        assert read("holdfast_notifications_durable") == 0


async def test_a_channel_that_goes_down_is_reported_on_the_others_and_not_too_often():
    """Once in a quarter of an hour, however often it flaps; not when it never worked."""
    flapping, witness = FakeChannel(name="mail"), FakeChannel(name="chat")
    async with Desk(flapping, witness) as desk:
        for _ in range(3):
            flapping.break_down(unreachable("no answer within 5 s"))
            await desk.time.advance(40)
            flapping.recover()
            await desk.time.advance(40)
        first = list(witness.sent)
        await desk.time.advance(ALERT_EVERY_S)
        flapping.break_down()
        await desk.time.advance(40)

    assert [one.summary for one, _ in first] == ["The notification channel mail is down"]
    assert first[0][0].detail == "no answer within 5 s"
    assert len(witness.sent) == 2


async def test_a_delivery_that_fails_is_reported_on_the_others_too():
    """Before any probe finds it."""
    bad, witness = FakeChannel(name="mail"), FakeChannel(name="chat")
    async with Desk(bad, witness) as desk:
        bad.break_down()
        await desk.tell(OPENED)

    assert witness.kinds == ["opened", "alert"]


async def test_handles_are_bounded(monkeypatch):
    """The oldest is let go; its outcome is a message of its own."""
    monkeypatch.setattr(lane_module, "_MAX_HANDLES", 2)
    channel = FakeChannel()
    async with Desk(channel) as desk:
        for number in (1, 2, 3):
            await desk.tell(notice(number=number))
        for number in (2, 1):
            await desk.tell(outcome(number))

    assert [handle for _, handle in channel.sent[3:]] == ["handle-2", None]


async def test_closing_does_not_wait_for_what_is_to_be_tried_again():
    """It is in the outbox; the grace is for what is on the wire."""
    desk = Desk(broken(), limits=LaneLimits(closing_grace_s=3600))
    await desk.notifier.start()
    await desk.tell(OPENED)
    async with asyncio.timeout(30):
        await desk.notifier.aclose()

    assert desk.notifier.health()[0].sent == 0


async def test_closing_gives_what_is_on_the_wire_a_moment_and_ends_everything_else():
    """No task is left behind, whatever waited."""
    busy, dead = FakeChannel(name="busy", gate=asyncio.Event()), broken("dead")
    desk = Desk(busy, dead)
    await desk.notifier.start()
    await desk.tell(OPENED, notice(number=2))
    asyncio.get_running_loop().call_later(0.05, busy.gate.set)
    await desk.notifier.aclose()
    await settle()

    assert len(busy.sent) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}
