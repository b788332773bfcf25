# SPDX-License-Identifier: Apache-2.0
"""Joins outcomes to decisions, without I/O.

Laws:

1. An outcome belongs to a decision only if the decision id is known **and** was given to the same
   agent; otherwise it is an ``ORPHAN``. What another agent knows makes no difference to the answer.
2. The first outcome of an allowed decision is ``MATCHED``, every later one ``DUPLICATE``.
3. The outcome of a decision that was not an ALLOW is ``NOT_ALLOWED``: the agent says that it did
   what it was told not to do.
4. Nothing is refused: each outcome is recorded with its mark. Memory is bounded; what was forgotten
   (the oldest first) reads as an orphan, never as a match.

After a restart, feed the log's entries to ``replay``; marks do not depend on time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from sidecar.audit.entry import Kind
from sidecar.model import Effect

__all__ = ["Mark", "OutcomeJoiner"]

_DEFAULT_MAX_OPEN: Final = 100_000


class Mark(StrEnum):
    """How an outcome relates to its decision; written to the log as it is."""

    MATCHED = "matched"
    ORPHAN = "orphan"
    DUPLICATE = "duplicate"
    NOT_ALLOWED = "not_allowed"


class OutcomeJoiner:
    """Knows the latest decisions and which of them have an outcome."""

    def __init__(self, *, max_decisions: int = _DEFAULT_MAX_OPEN) -> None:
        """Remember the last *max_decisions* decisions."""
        if max_decisions < 1:
            raise ValueError("max_decisions must be at least 1")
        self._max_decisions = max_decisions
        # (agent, is allowed, has an outcome); a dict keeps the order in which they came
        self._known: dict[str, tuple[str, bool, bool]] = {}

    def decided(self, *, decision_id: str, agent: str, effect: Effect) -> None:
        """Remember a decision. An id that is known already keeps its first meaning."""
        known = self._known
        if decision_id in known:
            return
        known[decision_id] = (agent, effect is Effect.ALLOW, False)
        if len(known) > self._max_decisions:
            del known[next(iter(known))]

    def outcome(self, *, decision_id: str, agent: str) -> Mark:
        """Return the mark of an outcome that *agent* reports for *decision_id*."""
        known_agent, is_allowed, has_outcome = self._known.get(decision_id, ("", False, False))
        if known_agent != agent:  # law 1; no agent has an empty name
            return Mark.ORPHAN
        if has_outcome:
            return Mark.DUPLICATE
        self._known[decision_id] = (agent, is_allowed, True)
        return Mark.MATCHED if is_allowed else Mark.NOT_ALLOWED

    def replay(self, entry: Mapping[str, Any]) -> None:
        """Take over what an entry of the log says; entries of other kinds change nothing."""
        decision_id, agent = entry.get("decision_id"), entry.get("agent")
        if not isinstance(decision_id, str) or not isinstance(agent, str):
            return
        if entry.get("kind") == Kind.DECISION:
            is_allowed = entry.get("effect") == Effect.ALLOW
            effect = Effect.ALLOW if is_allowed else Effect.DENY
            self.decided(decision_id=decision_id, agent=agent, effect=effect)
        elif entry.get("kind") == Kind.OUTCOME:
            self.outcome(decision_id=decision_id, agent=agent)
