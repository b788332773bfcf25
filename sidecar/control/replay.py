# SPDX-License-Identifier: Apache-2.0
"""Containment proved by replay: the agent's own last calls, decided again by its gates.

The gate keeps recent calls in memory only. A gate that was restarted has none, so the agent's
recorded calls are then taken from its log, with their arguments redacted: containment is decided
before arguments are looked at, so a killed agent is denied all the same, and a call that had been
allowed counts only if it is denied *for* containment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from sidecar.api.v1 import containment_pb2, types_pb2
from sidecar.control.gates import GateRegistry
from sidecar.errors import EnvironmentFailure, ErrorReason, NotFoundError, UntrustedInputError
from sidecar.internal.v1 import sync_pb2
from sidecar.model import AgentId

__all__ = ["ContainmentVerifier"]

_DEFAULT_CALLS: Final = 100
_MAX_CALLS: Final = 1000
_CONTAINING: Final = frozenset({"KILLED", "FROZEN", "READ_ONLY", "CONTAINMENT_HOLD"})


class ContainmentVerifier:
    """Replays an agent's calls on every gate that serves it."""

    def __init__(self, *, gates: GateRegistry) -> None:
        self._gates = gates

    async def verify(
        self, agent: AgentId, max_calls: int
    ) -> containment_pb2.VerifyContainmentResponse:
        """Return how the agent's last calls are decided now.

        Raises:
            NotFoundError: No connected gate serves the agent.
            EnvironmentFailure: A gate did not answer.
        """
        if not 0 <= max_calls <= _MAX_CALLS:
            raise UntrustedInputError(
                f"max_calls must be between 0 and {_MAX_CALLS}",
                reason=ErrorReason.INVALID_ARGUMENT,
            )
        gates = self._gates.of_agent(agent)
        if not gates:
            raise NotFoundError(
                f"no connected gate serves agent {agent}",
                hint="without a gate nothing is allowed; start it to have that proved",
            )
        answers = await asyncio.gather(
            *(self._gates.replay(gate, agent, max_calls or _DEFAULT_CALLS) for gate in gates)
        )
        items = [item for answer in answers for item in _items(answer)]
        allowed = sum(item.effect == types_pb2.EFFECT_ALLOW for item in items)
        is_contained = bool(items) and all(map(_is_held, items))
        return containment_pb2.VerifyContainmentResponse(
            items=items,
            contained=is_contained,
            statement=_statement(agent, items, allowed, len(gates)),
        )


def _is_held(item: containment_pb2.VerifyContainmentResponse.Item) -> bool:
    """Whether the call is not allowed now, and, if it had been, because of a containment.

    A call that is denied for another reason (its arguments are known only redacted, say) would prove
    nothing about containment.
    """
    if item.effect == types_pb2.EFFECT_ALLOW:
        return False
    was_allowed = item.original_effect == types_pb2.EFFECT_ALLOW
    return not was_allowed or item.reason.code in _CONTAINING


def _items(
    answer: sync_pb2.SyncRequest.Replayed,
) -> list[containment_pb2.VerifyContainmentResponse.Item]:
    columns = (answer.decision_ids, answer.tools, answer.original_effects, answer.decisions)
    if len({len(column) for column in columns}) != 1:
        raise EnvironmentFailure(
            "a gate answered a replay with what is none",
            reason=ErrorReason.MALFORMED,
            hint="nothing is proved; look at the gate, which may not be ours any more",
        )
    return [
        containment_pb2.VerifyContainmentResponse.Item(
            decision_id=decision_id,
            tool=tool,
            original_effect=original,
            effect=decision.effect,
            reason=decision.reasons[0] if decision.reasons else None,
        )
        for decision_id, tool, original, decision in zip(*columns, strict=True)
    ]


def _statement(
    agent: str,
    items: list[containment_pb2.VerifyContainmentResponse.Item],
    allowed: int,
    gates: int,
) -> str:
    if not items:
        return f"agent {agent} has made no call that could be replayed: nothing is proved"
    reasons = Counter(item.reason.code for item in items)
    said = ", ".join(f"{code} {count}" for code, count in reasons.most_common(3))
    was = sum(item.original_effect == types_pb2.EFFECT_ALLOW for item in items)
    verdict = "none is allowed now" if not allowed else f"{allowed} are STILL ALLOWED"
    return (
        f"{len(items)} recorded calls of agent {agent} were decided again by {gates} gate(s), "
        f"{was} of them had been allowed: {verdict} ({said})"
    )
