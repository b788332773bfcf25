# SPDX-License-Identifier: Apache-2.0
"""What one process may conclude about the containment of its agent."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.sdk import Containment, Decision, Effect, Reason
from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._local import Cause, local_denial


def decision(effect: Effect, code: str, epoch: int, target: str = "agent a") -> Decision:
    return Decision(
        effect=effect,
        reasons=(Reason(code, "", {"target": target}),),
        decision_id="dec_1",
        epoch=epoch,
        valid_until_ns=time.time_ns() + 10**10,
    )


def allow(epoch: int) -> Decision:
    return decision(Effect.ALLOW, "POLICY_ALLOW", epoch)


def kill(epoch: int, target: str = "agent a") -> Decision:
    return decision(Effect.DENY, "KILLED", epoch, target)


def told(epoch: int, *, cancel: bool, level: str = "KILL") -> Containment:
    return Containment(level=level if cancel else "", epoch=epoch, cancel_in_flight=cancel)


def test_watch_sets_and_clears() -> None:
    """The watch's word is followed both ways, and listeners hear each change once."""
    state = ContainmentState()
    heard: list[bool] = []
    state.listen(heard.append)

    state.told(told(5, cancel=True))
    state.told(told(6, cancel=True))
    state.told(told(7, cancel=False))
    state.unlisten(heard.append)
    state.told(told(8, cancel=True))

    assert heard == [True, False]
    assert state.is_killed
    assert state.event.is_set()


def test_decision_sets_and_a_later_one_clears() -> None:
    """Without a watch, the last decision of no older epoch tells."""
    state = ContainmentState()

    state.decided(kill(5), own_session=True)
    was_killed = state.is_killed
    old = state.decided(allow(4), own_session=True)
    still = state.is_killed
    new = state.decided(allow(6), own_session=True)

    assert (was_killed, old, still, new, state.is_killed) == (True, False, True, True, False)


def test_watch_of_an_older_epoch_does_not_clear_a_decision() -> None:
    """A watch that lags behind the decision can't revive the agent."""
    state = ContainmentState()
    state.decided(kill(5), own_session=True)

    state.told(told(4, cancel=False))
    lagging = state.is_killed
    state.told(told(5, cancel=False))

    assert (lagging, state.is_killed) == (True, False)


def test_e16_allow_from_before_the_kill_is_refused() -> None:
    """An ALLOW that was on its way when the watch told of the kill is not used."""
    state = ContainmentState()
    state.told(told(5, cancel=True))

    usable = [state.decided(allow(epoch), own_session=True) for epoch in (4, 5, 6)]

    assert usable == [False, False, True]
    assert state.is_killed


def test_e16_negative_control() -> None:
    """Without the kill the same decisions are usable."""
    state = ContainmentState()

    assert all(state.decided(allow(epoch), own_session=True) for epoch in (4, 5, 6))


def test_another_sessions_kill_is_not_this_ones() -> None:
    """A decision about another session does not stop this one, and its ALLOW needs no newer epoch."""
    state = ContainmentState()

    state.decided(kill(5), own_session=False)
    untouched = state.is_killed
    state.told(told(5, cancel=True))

    assert not untouched
    assert state.decided(allow(5), own_session=False)
    assert not state.decided(allow(4), own_session=False)


def test_kill_of_a_tool_does_not_cancel_everything() -> None:
    """A directive on one tool or destination denies those calls and cancels no others."""
    state = ContainmentState()

    state.decided(kill(5, "tool send_money"), own_session=True)
    state.decided(kill(5, "destination .example.com"), own_session=True)

    assert not state.is_killed


def test_local_denials_prove_nothing() -> None:
    """What this process said itself is no news about the agent."""
    state = ContainmentState()

    state.decided(local_denial(Cause.KILLED), own_session=True)

    assert not state.is_killed


def test_frozen_and_killed_are_told_apart() -> None:
    """The local denial names the level."""
    state = ContainmentState()

    state.told(told(5, cancel=True, level="FREEZE"))
    frozen = state.cause
    state.told(told(6, cancel=True, level="KILL"))

    assert (frozen, state.cause) == (Cause.FROZEN, Cause.KILLED)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["watch kill", "watch free", "kill", "allow", "deny", "hold"]),
        st.integers(1, 6),
        st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(events=EVENTS)
def test_p1_no_allow_older_than_a_known_kill(events: list[tuple[str, int, bool]]) -> None:
    """In any order of news, an ALLOW older than the kill that holds is never usable."""
    state = ContainmentState()
    floor: int | None = None
    for kind, epoch, own in events:
        if kind == "watch kill":
            state.told(told(epoch, cancel=True))
            floor = epoch
        elif kind == "watch free":
            state.told(told(epoch, cancel=False))
            floor = None
        elif kind == "kill":
            state.decided(kill(epoch), own_session=own)
        elif kind == "allow":
            usable = state.decided(allow(epoch), own_session=own)
            assert not (usable and floor is not None and epoch < floor)
        else:
            state.decided(decision(Effect[kind.upper()], "POLICY_DENY", epoch), own_session=own)
        if floor is not None:
            assert state.is_killed
        assert state.event.is_set() == state.is_killed
