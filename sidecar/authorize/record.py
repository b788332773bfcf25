# SPDX-License-Identifier: Apache-2.0
"""What a decision leaves behind: its log entry, and the few facts the gate keeps in memory.

The log never holds what an argument said unless ``tools.yaml`` reveals it; what was denied before it
could be read is recorded by its name alone, clipped. The in-memory ring of recent questions exists so
that a containment can be verified by asking them again; it holds no token and dies with the process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sidecar.audit.log import AuditLog, Ticket
from sidecar.audit.outcomes import OutcomeJoiner
from sidecar.audit.redaction import Redactor
from sidecar.authorize.draft import Draft
from sidecar.authorize.question import Question
from sidecar.clock import Clock
from sidecar.model import AgentId, Effect

__all__ = ["MAX_RECENT", "RecentCall", "Recorder", "Seen"]

MAX_RECENT: Final = 1000
_MAX_SEEN_TOOLS: Final = 2000
_MAX_SEEN_HOSTS: Final = 100
_MAX_NAME: Final = 128


@dataclass(slots=True)
class Seen:
    """What one agent was seen to ask of one tool since the gate started."""

    calls: int = 0
    last_call_time_ns: int = 0
    hosts: set[str] = field(default_factory=set)
    effects: dict[str, int] = field(default_factory=dict)


class RecentCall(NamedTuple):
    """A question that was decided, without its token, and how."""

    question: Question
    decision_id: str
    effect: Effect


class Recorder:
    """Writes a log entry for each decision and keeps the gate's inventory."""

    def __init__(
        self, *, audit: AuditLog, redactor: Redactor, joiner: OutcomeJoiner, clock: Clock
    ) -> None:
        self._audit = audit
        self._redactor = redactor
        self._joiner = joiner
        self._clock = clock
        self._seen: dict[tuple[str, str], Seen] = {}
        self._recent: dict[AgentId, deque[RecentCall]] = {}
        self.last_allow_time_ns: dict[str, int] = {}

    def record(self, draft: Draft) -> Ticket:
        """Append the entry of *draft* and return its ticket.

        Raises:
            EnvironmentFailure: The log has failed or is overloaded.
        """
        ticket = self._audit.append(self._entry(draft))
        self._joiner.decided(
            decision_id=draft.decision_id, agent=draft.question.agent, effect=draft.effect
        )
        self._remember(draft)
        return ticket

    def allowed(self, agent: AgentId, wall_ns: int) -> None:
        """Note that an ALLOW leaves the gate now."""
        self.last_allow_time_ns[agent] = wall_ns

    def recent(self, agent: AgentId, count: int) -> list[RecentCall]:
        """Return the last *count* decided questions of *agent*, newest first."""
        calls = self._recent.get(agent, deque())
        return [calls[index] for index in range(-1, -min(count, len(calls)) - 1, -1)]

    def recall(self, call: RecentCall) -> None:
        """Keep *call* as the newest of its agent."""
        recent = self._recent.get(call.question.agent)
        if recent is None:
            recent = self._recent[call.question.agent] = deque(maxlen=MAX_RECENT)
        recent.append(call)

    def seen(self) -> dict[tuple[str, str], Seen]:
        """Return the inventory: (agent, tool) to what was seen."""
        return self._seen

    def _entry(self, draft: Draft) -> dict[str, Any]:
        question, call = draft.question, draft.call
        entry: dict[str, Any] = {
            "kind": "decision",
            "decision_id": draft.decision_id,
            "agent": question.agent,
            "tool": question.tool[:_MAX_NAME],
            "effect": draft.effect.value,
            "reasons": [reason.code.value for reason in draft.reasons],
            "epoch": draft.world.epoch,
        }
        if question.session:
            entry["session"] = question.session[:_MAX_NAME]
        policy = draft.world.policy
        if policy is not None:
            entry["policy_digest"] = policy.bundle.digest
        if call is not None:
            entry["fingerprint"] = call.fingerprint
        if draft.tool is not None and call is not None:
            entry["tool_class"] = draft.tool.tool_class.value
            entry["arguments"] = self._redactor.redact_arguments(call.arguments, draft.tool.reveal)
        if draft.policy_ids:
            entry["policies"] = list(draft.policy_ids)
        if draft.shadow_ids:
            entry["shadow_policies"] = list(draft.shadow_ids)
        if draft.hosts:
            entry["hosts"] = list(draft.hosts)
        if draft.token is not None:
            entry["token"] = {"issuer": draft.token.issuer, "jti": draft.token.jti}
        if draft.obligations.approval:
            entry["approval"] = draft.obligations.approval
        if draft.is_cached:
            entry["cached"] = True
        if draft.replaces:
            entry["replaces"] = draft.replaces
        if draft.charge is not None and draft.effect is Effect.ALLOW:
            entry["charges"] = draft.charge.as_entry()
        return entry

    def _remember(self, draft: Draft) -> None:
        question = draft.question
        if draft.call is None:
            return  # not well-formed: nothing to show, nothing to ask again
        key = (question.agent, question.tool)
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= _MAX_SEEN_TOOLS:
                return
            seen = self._seen[key] = Seen()
        seen.calls += 1
        seen.last_call_time_ns = self._clock.wall_ns()
        seen.effects[draft.effect.value] = seen.effects.get(draft.effect.value, 0) + 1
        if draft.hosts and len(seen.hosts) < _MAX_SEEN_HOSTS:
            seen.hosts.update(draft.hosts)
        if question.token:
            question = question._replace(token="")
        self.recall(RecentCall(question, draft.decision_id, draft.effect))
