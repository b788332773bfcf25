# SPDX-License-Identifier: Apache-2.0
"""What came of allowed calls: recorded once, joined by decision id.

An outcome is the agent's own word, so it is marked as self-reported, clipped and redacted, and it can
never touch a decision: one without a decision of *this* agent is recorded as ``orphan``, a second one
as ``duplicate``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from sidecar.api.v1 import guard_pb2
from sidecar.audit.log import AuditLog
from sidecar.audit.outcomes import Mark, OutcomeJoiner
from sidecar.audit.redaction import Redactor
from sidecar.authorize.limits import Throttle
from sidecar.clock import Clock
from sidecar.errors import EnvironmentFailure
from sidecar.gate.convert import reason_message
from sidecar.model import AgentId, Reason, ReasonCode

__all__ = ["OutcomeService", "Reported"]

_MAX_DETAIL: Final = 512
_DEADLINE_S: Final = 2.0
_DECISION_ID: Final = re.compile(r"[a-z]+_[0-9a-f]{32}")
_DIGEST: Final = re.compile(r"(?:[0-9a-f]{64})?")
_RESULT: Final = {
    guard_pb2.Outcome.RESULT_SUCCESS: "SUCCESS",
    guard_pb2.Outcome.RESULT_ERROR: "ERROR",
    guard_pb2.Outcome.RESULT_AMBIGUOUS: "AMBIGUOUS",
    guard_pb2.Outcome.RESULT_CANCELLED: "CANCELLED",
}
_TOO_MANY = Reason(ReasonCode.RATE_LIMITED, "this agent reports more outcomes than it may")
_MALFORMED = Reason(
    ReasonCode.MALFORMED, "an outcome needs a decision_id as the gate gave it and a known result"
)
_NOT_WRITTEN = Reason(ReasonCode.AUDIT_UNAVAILABLE, "the gate cannot write its log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """How one report ended."""

    log_index: int = 0
    mark: str = ""
    refusal: Reason | None = None

    @property
    def status(self) -> grpc.StatusCode:
        """The status of a unary answer that refuses."""
        match self.refusal.code if self.refusal is not None else None:
            case ReasonCode.RATE_LIMITED:
                return grpc.StatusCode.RESOURCE_EXHAUSTED
            case ReasonCode.MALFORMED:
                return grpc.StatusCode.INVALID_ARGUMENT
            case _:
                return grpc.StatusCode.UNAVAILABLE

    def as_item(self, id_: int) -> guard_pb2.LogStreamResponse.Item:
        """Return the stream's confirmation for the report *id_*."""
        item = guard_pb2.LogStreamResponse.Item(id=id_, log_index=self.log_index, mark=self.mark)
        if self.refusal is not None:
            item.refusal.CopyFrom(reason_message(self.refusal))
        return item


class OutcomeService:
    """Records outcomes of one gate's agents."""

    def __init__(
        self,
        *,
        audit: AuditLog,
        joiner: OutcomeJoiner,
        redactor: Redactor,
        clock: Clock,
        calls_per_minute: int,
    ) -> None:
        self._audit = audit
        self._joiner = joiner
        self._redactor = redactor
        self._clock = clock
        self._throttle = Throttle()
        self._calls_per_minute = calls_per_minute

    async def report(self, agent: AgentId, outcomes: Sequence[guard_pb2.Outcome]) -> list[Reported]:
        """Record *outcomes* and return, once they are durable, how each ended."""
        results: list[Reported] = []
        last = None
        for outcome in outcomes:
            if not self._throttle.take(
                0, agent, self._calls_per_minute, boot_ns=self._clock.boot_ns()
            ):
                results.append(Reported(refusal=_TOO_MANY))
                continue
            entry = self._entry(agent, outcome)
            if entry is None:
                results.append(Reported(refusal=_MALFORMED))
                continue
            try:
                last = self._audit.append(entry)
            except EnvironmentFailure:
                results.append(Reported(refusal=_NOT_WRITTEN))
                continue
            results.append(Reported(log_index=last.seq, mark=entry.get("mark", "")))
        if last is not None:
            try:
                await self._audit.durable(last, timeout_s=_DEADLINE_S)
            except EnvironmentFailure:
                return [Reported(refusal=_NOT_WRITTEN) for _ in outcomes]
        return results

    def _entry(self, agent: AgentId, outcome: guard_pb2.Outcome) -> dict[str, Any] | None:
        result = _RESULT.get(outcome.result)
        if (
            result is None
            or not _DECISION_ID.fullmatch(outcome.decision_id)
            or not _DIGEST.fullmatch(outcome.response_digest)
        ):
            return None
        entry: dict[str, Any] = {
            "kind": "outcome",
            "decision_id": outcome.decision_id,
            "agent": agent,
            "result": result,
            "self_reported": True,
        }
        if outcome.detail:
            entry["detail"] = self._redactor.safe_text(outcome.detail[:_MAX_DETAIL])
        if outcome.response_digest:
            entry["response_digest"] = outcome.response_digest
        if outcome.HasField("duration"):
            entry["duration_us"] = max(
                0, outcome.duration.seconds * 1_000_000 + outcome.duration.nanos // 1000
            )
        mark = self._joiner.outcome(decision_id=outcome.decision_id, agent=agent)
        if mark is not Mark.MATCHED:
            entry["mark"] = mark.value
        return entry
