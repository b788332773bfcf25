# SPDX-License-Identifier: Apache-2.0
"""The refresher: keeps good keys through bad times, on time's account only."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import EnvironmentFailure, UntrustedInputError
from sidecar.model import ReasonCode
from sidecar.tokens.claims import Rejection
from sidecar.tokens.issuers import IssuerSpec
from sidecar.tokens.keys import KeyRing, KeyState
from sidecar.tokens.refresher import KeyRefresher


class Place:
    """Publishes what it is told to, as often as asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def fetch(self):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            return await answer()
        return answer


class Stop(Exception):
    """Ends the endless loop of a test."""


class Pauses:
    """Records the pauses and ends after some."""

    def __init__(self, clock, count):
        self.clock = clock
        self.count = count
        self.seconds = []

    async def sleep(self, seconds):
        self.seconds.append(seconds)
        self.clock.advance(seconds=seconds)
        if len(self.seconds) == self.count:
            raise Stop
        await asyncio.sleep(0)


def spec(name, max_key_age_s=600):
    return IssuerSpec(
        name=name,
        issuer=f"https://{name}.example",
        audience="holdfast",
        algorithms=frozenset({"EdDSA"}),
        jwks_file="jwks.json",
        max_key_age_s=max_key_age_s,
    )


@pytest.fixture
def ring(clock):
    return KeyRing(issuers={"corp": spec("corp"), "other": spec("other")}, clock=clock)


def refresher(ring, clock, **fetchers) -> KeyRefresher:
    return KeyRefresher(ring=ring, fetchers=fetchers, clock=clock, uniform=lambda low, high: 1.0)


DOWN = EnvironmentFailure("down")
BAD = UntrustedInputError("bad")


async def test_f11_good_reading_makes_keys_current(ring, clock, idp):
    """One reading of each place, together."""
    keys = refresher(ring, clock, corp=Place(idp.key_set("ed")), other=Place(idp.key_set("ed2")))

    assert await keys.refresh_all()
    assert not isinstance(ring.current("corp"), Rejection)
    assert not isinstance(ring.current("other"), Rejection)


@pytest.mark.parametrize("failure", [DOWN, BAD], ids=["down", "bad"])
async def test_f11_failure_keeps_the_last_good_set_until_its_age(ring, clock, idp, failure):
    """Readings that fail renew nothing: after max_key_age of them, DENY."""
    good = idp.key_set("ed")
    keys = refresher(ring, clock, corp=Place(good, failure))
    await keys.refresh("corp")
    clock.advance(seconds=599)
    is_good = await keys.refresh("corp")
    still = ring.current("corp")
    clock.advance(seconds=2)
    await keys.refresh("corp")
    over = ring.current("corp")

    assert (is_good, still) == (False, good)
    assert isinstance(over, Rejection)
    assert over.code is ReasonCode.ISSUER_KEYS_STALE
    assert (ring.status()[0].state, ring.status()[0].failures) == (KeyState.STALE, 2)


async def test_f11_one_issuer_down_does_not_touch_another(ring, clock, idp):
    """The other issuer's keys are read as ever."""
    keys = refresher(ring, clock, corp=Place(DOWN), other=Place(idp.key_set("ed")))

    assert not await keys.refresh_all()
    assert isinstance(ring.current("corp"), Rejection)
    assert not isinstance(ring.current("other"), Rejection)


async def test_f11_reading_that_never_ends_is_given_up(ring, clock):
    """The refresher's own deadline holds even if a place has none."""
    keys = KeyRefresher(
        ring=ring,
        fetchers={"corp": Place(lambda: asyncio.Event().wait())},
        clock=clock,
        deadline_s=0.05,
    )

    assert not await keys.refresh("corp")
    assert "0.05 s" in ring.status()[0].last_failure


async def test_f11_age_counts_from_the_question(ring, clock, idp):
    """Keys that took 599 s to arrive are 599 s old."""

    async def slow():
        clock.advance(seconds=599)
        return idp.key_set("ed")

    await refresher(ring, clock, corp=Place(slow)).refresh("corp")
    clock.advance(seconds=2)

    assert isinstance(ring.current("corp"), Rejection)


async def test_f11_other_keys_replace_the_old_ones(ring, clock, idp):
    """A rotation counts from the next reading."""
    keys = refresher(ring, clock, corp=Place(idp.key_set("ed"), idp.key_set("ed2")))
    await keys.refresh("corp")
    await keys.refresh("corp")

    assert set(ring.current("corp").keys) == {"ed2"}


async def test_f11_loop_retries_soon_then_slower_and_goes_back_to_its_pace(ring, clock, idp):
    """1, 2, 4 s after failures, never more than the interval, and the interval after success."""
    pauses = Pauses(clock, 13)
    keys = KeyRefresher(
        ring=ring,
        fetchers={"corp": Place(*[DOWN] * 11, idp.key_set("ed"), DOWN)},
        clock=clock,
        interval_s=200,
        sleep=pauses.sleep,
        uniform=lambda low, high: 1.0,
    )

    with pytest.raises(ExceptionGroup) as caught:
        await keys.run()

    assert caught.group_contains(Stop)
    assert pauses.seconds == [1, 2, 4, 8, 16, 32, 64, 128, 200, 200, 200, 200, 1]


async def test_f11_short_lived_keys_are_read_three_times_in_their_age(clock, idp):
    """Keys that may be 60 s old are read every 20 s, so they are never stale while all is well."""
    ring = KeyRing(issuers={"corp": spec("corp", 60)}, clock=clock)
    pauses = Pauses(clock, 20)
    keys = KeyRefresher(
        ring=ring,
        fetchers={"corp": Place(idp.key_set("ed"))},
        clock=clock,
        sleep=pauses.sleep,
        uniform=lambda low, high: high,
    )
    with pytest.raises(ExceptionGroup):
        await keys.run()

    assert set(pauses.seconds) == {24}
    assert not isinstance(ring.current("corp"), Rejection)


async def test_f11_pauses_are_jittered(ring, clock, idp):
    """Gates that start together drift apart, by at most a fifth."""
    pauses = Pauses(clock, 50)
    keys = KeyRefresher(
        ring=ring,
        fetchers={"corp": Place(idp.key_set("ed"))},
        clock=clock,
        interval_s=200,
        sleep=pauses.sleep,
    )
    with pytest.raises(ExceptionGroup):
        await keys.run()

    assert all(160 <= pause <= 240 for pause in pauses.seconds)
    assert len(set(pauses.seconds)) > 40


async def test_loop_ends_when_cancelled(ring, clock, idp):
    """Cancelling the task ends every reading."""
    place = Place(idp.key_set("ed"))
    task = asyncio.create_task(KeyRefresher(ring=ring, fetchers={"corp": place}, clock=clock).run())
    while place.asked == 0:
        await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_f11_tokens_never_cause_a_fetch(bench, clock, idp):
    """A thousand unknown key ids ask the issuer nothing."""
    place = Place(idp.key_set("ed"))
    await refresher(bench.ring, clock, corp=place).refresh("corp")
    for number in range(1000):
        bench.code(idp.token(header={"kid": f"unknown-{number}"}))

    assert place.asked == 1


@pytest.mark.parametrize("change", [{"interval_s": 0}, {"deadline_s": 0}])
def test_pause_and_deadline_are_positive(ring, clock, change):
    """A refresher that never pauses or never waits is misuse."""
    with pytest.raises(ValueError):
        KeyRefresher(ring=ring, fetchers={}, clock=clock, **change)
