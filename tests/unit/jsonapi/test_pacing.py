# SPDX-License-Identifier: Apache-2.0
"""What a crowd can cost is bounded, and nobody's crowd stands in another's way."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from sidecar.jsonapi import pacing
from sidecar.jsonapi.errors import ApiError
from sidecar.jsonapi.pacing import Pace, Slots


class _Time:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def _pace(time: _Time) -> Pace:
    return Pace(rate=10, burst=5, address_rate=2, address_burst=3, clock_s=time)


def test_a_burst_is_free_and_what_follows_waits_its_turn() -> None:
    """Each further one waits as long as the rate says, one after the other."""
    pace = _pace(_Time())

    delays = [pace.delay_s("a") for _ in range(6)]

    assert delays == [0, 0, 0, 0.5, 1.0, 1.5]


def test_waiting_pays_back() -> None:
    """Time fills the bucket again, up to the burst."""
    time = _Time()
    pace = _pace(time)
    for _ in range(6):
        pace.delay_s("a")

    time.now_s += 60

    assert [pace.delay_s("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_one_address_does_not_use_up_another_s_share() -> None:
    """What waits for its own turn has not been counted in common yet."""
    pace = _pace(_Time())
    for _ in range(1000):
        pace.delay_s("crowd")

    assert pace.delay_s("other") == 0
    assert pace.common_delay_s() == 0


def test_what_is_remembered_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address is forgotten when too many others came since."""
    monkeypatch.setattr(pacing, "_MAX_REMEMBERED", 10)
    pace = _pace(_Time())

    for number in range(100):
        pace.delay_s(f"address-{number}")

    assert len(pace._by_address) == 10


def test_slots_are_bounded_for_each_and_for_all() -> None:
    """One caller cannot take them all, and all together not more than there are."""
    slots = Slots(total=4, kept=1, per_caller=2)
    with ExitStack() as held:
        held.enter_context(slots.one("a", is_lever=False))
        held.enter_context(slots.one("a", is_lever=False))
        with pytest.raises(ApiError) as own:
            held.enter_context(slots.one("a", is_lever=True))
        held.enter_context(slots.one("b", is_lever=False))
        with pytest.raises(ApiError) as common:
            held.enter_context(slots.one("c", is_lever=False))
        held.enter_context(slots.one("c", is_lever=True))
        with pytest.raises(ApiError):
            held.enter_context(slots.one("d", is_lever=True))

    assert own.value.http_status == common.value.http_status == 429
    assert dict(own.value.headers) == {"Retry-After": "1"}
    with slots.one("a", is_lever=False):
        pass
    assert slots._by_caller == {}


def test_watching_cannot_crowd_out_a_lever() -> None:
    """The kept slot is there although everything else is taken."""
    slots = Slots(total=2, kept=1, per_caller=10)
    with slots.one("watcher", is_lever=False):
        with pytest.raises(ApiError), slots.one("watcher", is_lever=False):
            pass
        with slots.one("soar", is_lever=True):
            pass


def test_without_kept_slots_it_is_crowded_out_negative_control() -> None:
    """The guard is what makes the difference."""
    slots = Slots(total=1, kept=0, per_caller=10)

    with (
        slots.one("watcher", is_lever=False),
        pytest.raises(ApiError),
        slots.one("soar", is_lever=True),
    ):
        pass
