# SPDX-License-Identifier: Apache-2.0
"""The two machines: whether a channel works, and whether anybody has heard of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.clock import NS_PER_SECOND
from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.circuit import REFUSAL_HOLDS_S, Circuit
from sidecar.notify.reach import PATIENCE_S, ReachWatch

PATIENCE_NS = round(PATIENCE_S * NS_PER_SECOND)


def error(fault: Fault) -> DeliveryError:
    return DeliveryError(f"it was {fault.value}", fault=fault)


def test_unknown_until_something_was_tried():
    """Nobody is refused before anybody knows."""
    assert Circuit().is_up is None


def test_deliveries_say_most():
    """Up after one, down after a failure, untouched by what says nothing about the channel."""
    circuit = Circuit()
    seen = []
    for fault in (None, Fault.BUSY, Fault.REJECTED, Fault.UNREACHABLE, Fault.BUSY, None,
                  Fault.REFUSED):  # fmt: skip
        if fault is None:
            circuit.delivered()
        else:
            circuit.failed(error(fault), now_ns=0)
        seen.append(circuit.is_up)

    assert seen == [True, True, True, False, False, True, False]
    assert circuit.last_error == "it was refused"


def test_probes_say_whether_it_can_be_reached():
    """Down and up again by probes alone; being asked to come back is no failure."""
    circuit = Circuit()
    circuit.probed(error(Fault.UNREACHABLE), now_ns=0)
    first = circuit.is_up
    circuit.probed(error(Fault.BUSY), now_ns=0)
    second = circuit.is_up
    circuit.probed(None, now_ns=0)

    assert (first, second, circuit.is_up) == (False, False, True)
    assert circuit.last_error == ""


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.BROKEN])
def test_a_probe_does_not_disprove_that_a_delivery_was_turned_away_until_it_is_old(fault):
    """A webhook that answers 401 or 500 to every message can be connected to all day."""
    circuit = Circuit()
    circuit.failed(error(fault), now_ns=0)
    circuit.probed(None, now_ns=(REFUSAL_HOLDS_S * NS_PER_SECOND) - 1)
    young = circuit.is_up
    circuit.probed(None, now_ns=REFUSAL_HOLDS_S * NS_PER_SECOND)
    old = circuit.is_up
    circuit.probed(None, now_ns=REFUSAL_HOLDS_S * NS_PER_SECOND)

    assert (young, old, circuit.is_up) == (False, None, True)


def test_a_probe_disproves_that_there_was_no_way():
    """The cable is back."""
    circuit = Circuit()
    circuit.failed(error(Fault.UNREACHABLE), now_ns=0)
    circuit.probed(None, now_ns=1)

    assert circuit.is_up is True


def test_what_was_delivered_disproves_a_refusal_at_once():
    """Somebody repaired it."""
    circuit = Circuit()
    circuit.failed(error(Fault.REFUSED), now_ns=0)
    circuit.delivered()

    assert circuit.is_up is True


def test_unheard_when_the_last_channel_gave_up():
    """Said once, and only for the last."""
    watch = ReachWatch()
    watch.opened("a", ["x", "y"], now_ns=0)

    assert [watch.gave_up("a", "x"), watch.gave_up("a", "y"), watch.gave_up("a", "y")] == [
        False, True, False,
    ]  # fmt: skip


def test_one_delivery_is_enough():
    """Whatever the others do afterwards."""
    watch = ReachWatch()
    watch.opened("a", ["x", "y"], now_ns=0)
    watch.gave_up("a", "x")
    watch.settled("a")

    assert not watch.gave_up("a", "y")
    assert watch.is_down("y", now_ns=10 * PATIENCE_NS) == ()
    assert len(watch) == 0


def test_a_channel_that_is_down_fails_what_has_waited_and_not_what_is_new():
    """The first seconds are for retries."""
    watch = ReachWatch()
    watch.opened("old", ["x"], now_ns=0)
    watch.opened("new", ["x"], now_ns=1)
    watch.opened("other", ["y"], now_ns=0)

    assert watch.is_down("x", now_ns=PATIENCE_NS - 1) == ()
    assert watch.is_down("x", now_ns=PATIENCE_NS) == ("old",)
    assert watch.is_down("x", now_ns=PATIENCE_NS + 1) == ("new",)
    assert len(watch) == 1


@given(
    st.sets(st.sampled_from("abcd"), min_size=1),
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans())),
)
def test_unheard_is_said_once_and_only_if_every_channel_failed(channels, failures):
    """Over every order of failures by giving up and by being down."""
    watch = ReachWatch()
    watch.opened("a", channels, now_ns=0)
    failed: set[str] = set()
    said = 0
    for channel, is_down in failures:
        if is_down:
            said += len(watch.is_down(channel, now_ns=PATIENCE_NS))
        else:
            said += watch.gave_up("a", channel)
        failed.add(channel)
        assert said == (channels <= failed)
