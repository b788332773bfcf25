# SPDX-License-Identifier: Apache-2.0
"""Ends what has become moot: the agent was contained, the policy or the epoch moved, nobody asks.

Laws:

1. An end that the disk does not take holds in memory at once and is written later; it counts.
2. An end of everything an agent has includes what is being opened while it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from sidecar.approvals import machine
from sidecar.approvals.board import Board
from sidecar.approvals.refusals import No, Refusal
from sidecar.approvals.transitions import Step, Transitions
from sidecar.approvals.values import (
    Approval,
    ApprovalState,
    Cause,
    Moment,
    RequestKind,
)
from sidecar.errors import HoldfastError

__all__ = ["Ending"]

log = structlog.get_logger("holdfast.approvals")


class Ending:
    """Cancels, one by one or all at once."""

    def __init__(self, *, board: Board, transitions: Transitions) -> None:
        self._board = board
        self._transitions = transitions

    async def cancel(
        self, known: Approval, cause: Cause, *, detail: str, agent: str | None
    ) -> Approval | None:
        """Cancel *known*, if it is live and, if *agent* is given, a call of that agent."""
        is_call = known.request.kind is RequestKind.CALL
        if agent is not None and not (is_call and known.request.agent == agent):
            return None
        if not known.is_live:
            return None
        ended = await self._transitions.cancel(known.id, cause, detail)
        return None if isinstance(ended, Refusal) else ended

    async def cancel_agent(self, agent: str, cause: Cause, *, detail: str) -> int:
        """Cancel every live call of *agent* (law 2); return how many."""
        self._board.note_cancel(agent, cause, detail)
        return await self._all(
            (item.id for item in self._board.of_asker(RequestKind.CALL, agent)),
            lambda approval, moment: machine.cancel(approval, cause, detail=detail, moment=moment),
        )

    async def epoch_moved(self, epoch: int) -> int:
        """Cancel the grants of calls that are bound to an epoch before *epoch*; return how many."""

        def step(approval: Approval, moment: Moment) -> Approval | Refusal:
            if not _is_granted_before(approval, epoch):
                return Refusal(No.NOT_DUE, "this grant is not bound to an older epoch")
            detail = "containment or policy changed before the grant was used"
            return machine.cancel(approval, Cause.EPOCH_MOVED, detail=detail, moment=moment)

        moved = (item.id for item in self._board if _is_granted_before(item, epoch))
        return await self._all(moved, step)

    async def policy_changed(self, digest: str) -> int:
        """Cancel the live calls that a policy other than *digest* held; return how many."""
        return await self._all(
            (
                item.id
                for item in self._board
                if item.request.kind is RequestKind.CALL and item.request.policy_digest != digest
            ),
            lambda approval, moment: machine.cancel(
                approval,
                Cause.POLICY_CHANGED,
                detail="another policy came into force",
                moment=moment,
            ),
        )

    async def _all(self, approval_ids: Iterable[str], step: Step) -> int:
        """Take *step* with each, whatever becomes of the others (law 1)."""
        results = await asyncio.gather(
            *(self._transitions.tighten(approval_id, step) for approval_id in approval_ids),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, HoldfastError):
                log.error("approval not cancelled on disk yet", problem=str(result))
            elif isinstance(result, BaseException):
                raise result
        return sum(not isinstance(result, Refusal) for result in results)


def _is_granted_before(approval: Approval, epoch: int) -> bool:
    is_granted_call = (
        approval.state is ApprovalState.GRANTED and approval.request.kind is RequestKind.CALL
    )
    return is_granted_call and approval.grant_epoch < epoch
