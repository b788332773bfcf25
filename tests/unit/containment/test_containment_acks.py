# SPDX-License-Identifier: Apache-2.0
"""Which gate enforces what, since when."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.containment import acks as acks_module
from sidecar.containment.acks import MAX_ACKS, AckTracker, GateItem, GateStanding


@pytest.fixture
def acks() -> AckTracker:
    """Two gates, connected."""
    tracker = AckTracker()
    tracker.connect("g1", agents=["banking", "mail"])
    tracker.connect("g2", agents=["other"])
    return tracker


def ack(tracker: AckTracker, gate: str, epoch: int, wall_ns: int = 50, **allows: int) -> None:
    """Let *gate* acknowledge *epoch*."""
    tracker.acknowledge(gate, epoch=epoch, last_allow_ns=allows, wall_ns=wall_ns)


def standings(tracker: AckTracker, epoch: int) -> dict[str, GateStanding]:
    """Return where every gate stands."""
    return {item.gate: item.standing for item in tracker.items(epoch)}


def test_gate_enforces_what_it_acknowledged(acks: AckTracker) -> None:
    """An acknowledgement of a later epoch covers the earlier ones."""
    ack(acks, "g1", 5)

    assert standings(acks, 4)["g1"] is GateStanding.ENFORCED
    assert standings(acks, 5) == {"g1": GateStanding.ENFORCED, "g2": GateStanding.LAGGARD}
    assert standings(acks, 6)["g1"] is GateStanding.LAGGARD
    assert acks.laggards(5) == ("g2",)


def test_item_tells_when_and_what_came_before(acks: AckTracker) -> None:
    """The first acknowledgement that covers an epoch dates it, and names the last ALLOW before."""
    ack(acks, "g1", 3, wall_ns=30, banking=21, mail=29)
    ack(acks, "g1", 7, wall_ns=70, banking=21, mail=65)

    items = {
        epoch: next(item for item in acks.items(epoch, agents=["banking"]) if item.gate == "g1")
        for epoch in (2, 3, 4, 8)
    }

    assert items[2] == items[3]
    assert items[3] == GateItem(
        gate="g1",
        standing=GateStanding.ENFORCED,
        applied_epoch=7,
        ack_time_ns=30,
        last_allow_time_ns=21,
    )
    assert (items[4].ack_time_ns, items[4].last_allow_time_ns) == (70, 21)
    assert (items[8].ack_time_ns, items[8].last_allow_time_ns) == (None, None)
    everybodys = acks.items(4, agents=None)[0]
    assert everybodys.last_allow_time_ns == 65


def test_gate_without_allows_has_none_to_tell(acks: AckTracker) -> None:
    """Zero is no time."""
    ack(acks, "g1", 3, banking=0)

    assert acks.items(3)[0].last_allow_time_ns is None


def test_disconnected_gate_is_not_called_a_laggard(acks: AckTracker) -> None:
    """A gate that is gone denies by itself, unless it had enforced before it went."""
    ack(acks, "g1", 5)
    acks.disconnect("g1")
    acks.disconnect("g2")

    assert standings(acks, 5) == {"g1": GateStanding.ENFORCED, "g2": GateStanding.DISCONNECTED}
    assert acks.laggards(5) == ("g2",)


def test_restarted_gate_must_acknowledge_again(acks: AckTracker) -> None:
    """What a gate applied before it restarted is not what it applies now."""
    ack(acks, "g1", 5)
    acks.disconnect("g1")

    acks.connect("g1", agents=["banking"])

    assert standings(acks, 5)["g1"] is GateStanding.LAGGARD
    ack(acks, "g1", 5)
    assert standings(acks, 5)["g1"] is GateStanding.ENFORCED


def test_gate_cannot_go_back_and_strangers_are_not_heard(acks: AckTracker) -> None:
    """An older epoch, an unknown gate and a disconnected one change nothing."""
    ack(acks, "g1", 5)
    ack(acks, "g1", 4)
    ack(acks, "stranger", 9)
    acks.disconnect("g2")
    ack(acks, "g2", 9)
    acks.disconnect("stranger")

    assert {item.gate: item.applied_epoch for item in acks.items(1)} == {"g1": 5, "g2": 0}


def test_gate_of_an_earlier_run_is_listed() -> None:
    """A gate that never came back after control's restart is not forgotten silently."""
    tracker = AckTracker()
    tracker.remember({"old": ["banking"]})

    assert standings(tracker, 1) == {"old": GateStanding.DISCONNECTED}
    assert tracker.gates == {"old": frozenset({"banking"})}
    tracker.forget("old")
    assert tracker.items(1) == ()


def test_old_acknowledgements_are_dropped(acks: AckTracker) -> None:
    """Memory is bounded; an old epoch is dated late, never early."""
    for epoch in range(1, MAX_ACKS + 11):
        ack(acks, "g1", epoch, wall_ns=epoch)

    assert acks.items(1)[0].ack_time_ns == 11


async def test_waiting_ends_when_every_connected_gate_enforces(acks: AckTracker) -> None:
    """The last acknowledgement wakes whoever waits for it."""
    waiting = asyncio.create_task(acks.wait_for(5, timeout_s=5))
    later = asyncio.create_task(acks.wait_for(6, timeout_s=0.01))
    await asyncio.sleep(0)
    ack(acks, "g1", 5)
    ack(acks, "g2", 5)

    assert await waiting
    assert not await later
    assert await acks.wait_for(5, timeout_s=0)


async def test_gate_that_goes_is_not_waited_for(acks: AckTracker) -> None:
    """A gate that disconnects, or is taken out of service, holds nobody up."""
    ack(acks, "g1", 5)
    waiting = asyncio.create_task(acks.wait_for(5, timeout_s=5))
    await asyncio.sleep(0)
    acks.disconnect("g2")

    assert await waiting


async def test_i11_laggard_negative_control(
    acks: AckTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If waiting alone made a gate enforce, a stale gate would count as contained."""
    assert not await acks.wait_for(5, timeout_s=0.01)

    monkeypatch.setattr(acks_module.AckTracker, "_is_enforced", lambda *_: True)

    assert await acks.wait_for(5, timeout_s=0.01)
