# SPDX-License-Identifier: Apache-2.0
"""Outcomes joined to decisions: orphans and duplicates are marked, never lost."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sidecar.audit.outcomes import Mark, OutcomeJoiner
from sidecar.model import Effect

AGENTS = st.sampled_from(["a", "b"])
IDS = st.sampled_from([f"dec_{number}" for number in range(6)])


class JoinerMachine(RuleBasedStateMachine):
    """Against a model that forgets nothing (the machine's limit is above the number of ids)."""

    def __init__(self) -> None:
        super().__init__()
        self.joiner = OutcomeJoiner(max_decisions=10)
        self.entries: list[dict[str, str]] = []
        self.decisions: dict[str, tuple[str, Effect]] = {}
        self.reported: set[str] = set()

    @rule(decision_id=IDS, agent=AGENTS, effect=st.sampled_from(Effect))
    def decide(self, decision_id: str, agent: str, effect: Effect) -> None:
        self.joiner.decided(decision_id=decision_id, agent=agent, effect=effect)
        self.entries.append(
            {"kind": "decision", "decision_id": decision_id, "agent": agent, "effect": effect}
        )
        self.decisions.setdefault(decision_id, (agent, effect))

    @rule(decision_id=IDS, agent=AGENTS)
    def report(self, decision_id: str, agent: str) -> None:
        mark = self.joiner.outcome(decision_id=decision_id, agent=agent)
        self.entries.append({"kind": "outcome", "decision_id": decision_id, "agent": agent})

        owner, effect = self.decisions.get(decision_id, ("", Effect.DENY))
        if owner != agent:
            assert mark is Mark.ORPHAN
        elif decision_id in self.reported:
            assert mark is Mark.DUPLICATE
        else:
            self.reported.add(decision_id)
            assert mark is (Mark.MATCHED if effect is Effect.ALLOW else Mark.NOT_ALLOWED)

    @rule()
    def restart(self) -> None:
        self.joiner = OutcomeJoiner(max_decisions=10)
        for entry in self.entries:
            self.joiner.replay(entry)

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.joiner._known) <= 10


JoinerMachine.TestCase.settings = settings(max_examples=60, deadline=None)


class TestG13Machine(JoinerMachine.TestCase):  # type: ignore[misc, name-defined]
    """G13 as a state machine: outcomes before, after, twice, by others, over restarts."""


@pytest.fixture
def joiner() -> OutcomeJoiner:
    joiner = OutcomeJoiner(max_decisions=2)
    joiner.decided(decision_id="dec_1", agent="a", effect=Effect.ALLOW)
    return joiner


def test_g13_an_outcome_without_a_decision_is_an_orphan(joiner: OutcomeJoiner) -> None:
    """Unknown id or another agent's: orphan, and the decision stays open for its own agent."""
    assert joiner.outcome(decision_id="dec_9", agent="a") is Mark.ORPHAN
    assert joiner.outcome(decision_id="dec_1", agent="b") is Mark.ORPHAN
    assert joiner.outcome(decision_id="dec_1", agent="a") is Mark.MATCHED


def test_g13_a_second_outcome_is_a_duplicate(joiner: OutcomeJoiner) -> None:
    """The first counts; every later one is marked."""
    joiner.outcome(decision_id="dec_1", agent="a")

    assert joiner.outcome(decision_id="dec_1", agent="a") is Mark.DUPLICATE
    assert joiner.outcome(decision_id="dec_1", agent="a") is Mark.DUPLICATE


def test_g13_an_outcome_of_a_denied_call_stands_out(joiner: OutcomeJoiner) -> None:
    """An agent that did what it was denied has a mark of its own."""
    joiner.decided(decision_id="dec_2", agent="a", effect=Effect.HOLD)

    assert joiner.outcome(decision_id="dec_2", agent="a") is Mark.NOT_ALLOWED


def test_g13_what_was_forgotten_is_an_orphan(joiner: OutcomeJoiner) -> None:
    """Memory is bounded, and forgetting never turns into a match."""
    for number in (2, 3):
        joiner.decided(decision_id=f"dec_{number}", agent="a", effect=Effect.ALLOW)

    assert joiner.outcome(decision_id="dec_1", agent="a") is Mark.ORPHAN
    assert joiner.outcome(decision_id="dec_3", agent="a") is Mark.MATCHED


def test_g13_negative_control(joiner: OutcomeJoiner) -> None:
    """If the agent were not compared, one agent could report for another."""
    assert joiner.outcome(decision_id="dec_1", agent="b") is Mark.ORPHAN
    joiner._known["dec_1"] = ("b", True, False)
    assert joiner.outcome(decision_id="dec_1", agent="b") is Mark.MATCHED


def test_entries_that_are_neither_are_passed_over(joiner: OutcomeJoiner) -> None:
    """Replay takes any entry of the log."""
    for entry in ({}, {"kind": "decision"}, {"kind": "start", "agent": "a"}, {"decision_id": 1}):
        joiner.replay(entry)

    assert joiner.outcome(decision_id="dec_1", agent="a") is Mark.MATCHED
    with pytest.raises(ValueError, match="max_decisions"):
        OutcomeJoiner(max_decisions=0)
