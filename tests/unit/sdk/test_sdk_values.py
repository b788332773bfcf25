# SPDX-License-Identifier: Apache-2.0
"""Decisions and errors as a runtime sees them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import time
from typing import Any

import pytest

from sidecar.sdk import (
    Decision,
    Denied,
    Effect,
    GateUnavailable,
    GuardError,
    Held,
    Reason,
    Suspended,
)
from sidecar.sdk import values as values_module
from sidecar.sdk._local import Cause, local_denial


def make(effect: Effect = Effect.ALLOW, code: str = "POLICY_ALLOW", **fields: Any) -> Decision:
    given: dict[str, Any] = {
        "effect": effect,
        "reasons": (Reason(code, "because", {"policy": "p1"}),),
        "decision_id": "dec_1",
        "valid_until_ns": time.time_ns() + 10**10,
    }
    return Decision(**(given | fields))


def test_only_a_valid_allow_is_true() -> None:
    """``if decision:`` means the same as ``decision.allowed``."""
    decisions = [make(), make(Effect.DENY), make(Effect.HOLD), make(valid_until_ns=1)]

    truths = [bool(decision) for decision in decisions]

    assert truths == [True, False, False, False]
    assert decisions[0].for_model() == "Allowed."
    assert [decision.allowed for decision in decisions] == truths


def test_allow_lapses(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ALLOW that was kept past its time allows nothing and raises."""
    decision = make(valid_until_ns=1_000)
    monkeypatch.setattr(values_module.time, "time_ns", lambda: 1_000)

    assert not decision.allowed
    assert "lapsed" in decision.for_model()
    with pytest.raises(Denied):
        decision.raise_for_effect()


def test_allow_lapses_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the clock stopped before that instant the same decision allows."""
    decision = make(valid_until_ns=1_000)
    monkeypatch.setattr(values_module.time, "time_ns", lambda: 999)

    decision.raise_for_effect()

    assert decision.allowed


@pytest.mark.parametrize(
    ("decision", "error"),
    [
        (make(Effect.DENY, "POLICY_DENY"), Denied),
        (make(Effect.DENY, "SOMETHING_NEW"), Denied),
        (make(Effect.HOLD, "POLICY_HOLD"), Held),
        (make(Effect.HOLD, "CONTAINMENT_HOLD"), Held),
        (make(Effect.DENY, "KILLED"), Suspended),
        (make(Effect.DENY, "FROZEN"), Suspended),
        (make(Effect.DENY, "READ_ONLY"), Suspended),
        (make(Effect.DENY, "DEADLINE"), Denied),
        (local_denial(Cause.NO_ANSWER), GateUnavailable),
        (local_denial(Cause.FORKED), GateUnavailable),
        (local_denial(Cause.CLOSED), GateUnavailable),
        (local_denial(Cause.ARGUMENTS_NOT_JSON), Denied),
        (local_denial(Cause.KILLED), Suspended),
    ],
)
def test_each_denial_has_its_error(decision: Decision, error: type[GuardError]) -> None:
    """The error names the kind of denial and carries the whole decision."""
    with pytest.raises(GuardError) as raised:
        decision.raise_for_effect()

    assert type(raised.value) is error
    assert raised.value.decision is decision
    assert raised.value.reasons == decision.reasons
    assert raised.value.decision_id == decision.decision_id
    assert str(raised.value) == raised.value.for_model() == decision.for_model()


def test_errors_survive_pickling() -> None:
    """A worker process can hand the error to its parent."""
    error = Held(make(Effect.HOLD, "POLICY_HOLD"))

    copied = pickle.loads(pickle.dumps(error))

    assert type(copied) is Held
    assert copied.decision == error.decision


def test_decisions_are_frozen_and_copyable() -> None:
    """A decision can't be turned into another one in place."""
    decision = make(Effect.DENY)

    with pytest.raises(dataclasses.FrozenInstanceError):
        decision.effect = Effect.ALLOW  # type: ignore[misc]
    assert copy.deepcopy(decision) == decision
    assert dataclasses.asdict(decision)["reasons"][0]["code"] == "POLICY_ALLOW"
    assert isinstance(hash(decision), int)


def test_valid_until_is_only_for_an_allow() -> None:
    """A denial has no instant until which it would be good."""
    allow, deny = make(valid_until_ns=1_500_000_000), make(Effect.DENY)

    assert allow.valid_until is not None
    assert allow.valid_until.timestamp() == 1.5
    assert deny.valid_until is None


@pytest.mark.parametrize("cause", list(Cause))
def test_every_local_decision_is_a_denial(cause: Cause) -> None:
    """There is no cause for which the SDK allows by itself."""
    decision = local_denial(cause, status="UNAVAILABLE")

    assert decision.effect is Effect.DENY
    assert decision.is_local
    assert decision.decision_id.startswith("local_")
    assert decision.reason.metadata == {"cause": cause.value, "status": "UNAVAILABLE"}
    assert len(decision.for_model()) <= 500
