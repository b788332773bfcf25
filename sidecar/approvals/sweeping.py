# SPDX-License-Identifier: Apache-2.0
"""What time does to approvals, and what was left undone: one look every second.

Laws:

1. Each part is done whatever becomes of the others; what fails is tried again at the next look.
2. Approvers are reminded once and alarmed once, over restarts too: what is told is noted first.
3. An end that somebody should have told of (a policy, an epoch, too few approvers) is found here at
   the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final

import structlog

from sidecar.approvals.answers import ApprovalLimits
from sidecar.approvals.board import Board
from sidecar.approvals.deadlines import is_due, share_of_wait
from sidecar.approvals.eligibility import Electorate, shortfall
from sidecar.approvals.entries import Entries
from sidecar.approvals.ports import Announcer
from sidecar.approvals.store import ApprovalStore
from sidecar.approvals.tiers import TierRule
from sidecar.approvals.transitions import Transitions
from sidecar.approvals.values import Approval, ApprovalState, Cause, Request, Tier
from sidecar.approvals.worker import Worker
from sidecar.approvals.world import World
from sidecar.clock import NS_PER_SECOND
from sidecar.errors import HoldfastError

__all__ = ["Sweeping"]

_REMINDER: Final = "reminder"
_ESCALATION: Final = "escalation"

log = structlog.get_logger("holdfast.approvals")


class Sweeping:
    """Looks after what waits."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        worker: Worker,
        entries: Entries,
        board: Board,
        transitions: Transitions,
        world: World,
        announcer: Announcer,
        tiers: Mapping[Tier, TierRule],
        limits: ApprovalLimits,
    ) -> None:
        self._store = store
        self._worker = worker
        self._entries = entries
        self._board = board
        self._transitions = transitions
        self._world = world
        self._announcer = announcer
        self._tiers = tiers
        self._limits = limits
        self._told: dict[str, frozenset[str]] = {}
        self._purged_boot_ns: int | None = None
        self.problem = ""
        """What failed at the last look; empty if nothing did."""

    def remember_told(self, told: Mapping[str, frozenset[str]]) -> None:
        """Take up what an earlier run has told (law 2)."""
        self._told = dict(told)

    async def sweep(self) -> None:
        """Do once what is due (law 1)."""
        self.problem = ""
        parts: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("settle", self._transitions.settle),
            ("end", self.end_due),
            ("electorate", self._end_orphans),
            ("remind", self._remind),
            ("fold", self._write_folded),
            ("log", self._entries.catch_up),
            ("purge", self._purge),
        )
        for name, part in parts:
            try:
                await part()
            except HoldfastError as exc:
                self.problem = exc.message
                log.error("approvals not swept", part=name, problem=exc.message)
        self._board.forget_refusals(self._transitions.moment().boot_ns)

    async def end_due(self) -> None:
        """End everything whose deadline has passed, or that the world voids."""
        moment = self._transitions.moment()
        await _all(
            self._transitions.expire(approval.id)
            if is_due(approval, moment)
            else self._transitions.tighten(approval.id, self._world.void)
            for approval in self._board
            if is_due(approval, moment) or self._world.void_cause(approval, moment) is not None
        )

    async def _end_orphans(self) -> None:
        """Cancel what too few people are left to decide (law 3)."""
        known: dict[tuple[str, ...], Electorate] = {}
        orphans: list[tuple[str, str]] = []
        for approval in self._board:
            if approval.state is ApprovalState.PENDING:
                electorate = self._electorate(approval.request, known)
                missing = shortfall(approval.request, electorate)
                if missing:
                    orphans.append((approval.id, missing))
        await _all(
            self._transitions.cancel(approval_id, Cause.NO_APPROVER, missing)
            for approval_id, missing in orphans
        )

    def _electorate(self, request: Request, known: dict[tuple[str, ...], Electorate]) -> Electorate:
        key = (request.role, request.requester, request.requester_human, request.owner)
        if key not in known:
            known[key] = self._world.electorate(request)
        return known[key]

    async def _remind(self) -> None:
        moment = self._transitions.moment()
        for approval in self._board:
            if approval.state is not ApprovalState.PENDING:
                continue
            rule = self._tiers[approval.request.tier]
            share = share_of_wait(approval, moment)
            for kind, threshold in ((_REMINDER, rule.remind_at), (_ESCALATION, rule.escalate_at)):
                if share >= threshold:
                    await self._tell(approval, kind)
        self._told = {id_: told for id_, told in self._told.items() if id_ in self._board.live}

    async def _tell(self, approval: Approval, kind: str) -> None:
        told = self._told.get(approval.id, frozenset())
        if kind in told:
            return
        mark = partial(self._store.mark_announced, approval.id, kind)
        is_new = await self._worker.run(mark)
        self._told[approval.id] = told | {kind}
        current = self._board.live.get(approval.id)
        if is_new and current is not None and current.state is ApprovalState.PENDING:
            self._announcer.announce(current, kind)

    async def _write_folded(self) -> None:
        counts = self._board.take_folded()
        if not counts:
            return
        try:
            await self._worker.run(partial(self._store.count_folded, counts))
        except HoldfastError:
            self._board.put_back_folded(counts)
            raise

    async def _purge(self) -> None:
        moment = self._transitions.moment()
        every_ns = self._limits.purge_every_s * NS_PER_SECOND
        if self._purged_boot_ns is None or moment.boot_ns - self._purged_boot_ns >= every_ns:
            await self.purge()
            self._purged_boot_ns = moment.boot_ns

    async def purge(self) -> int:
        """Forget what would have been done, of approvals that ended long ago; return of how many."""
        horizon = self._transitions.moment().wall_ns - self._limits.retention_s * NS_PER_SECOND
        return await self._worker.run(partial(self._store.purge, ended_before_ns=horizon))


async def _all(works: Iterable[Awaitable[object]]) -> None:
    """Do all of *works*, whatever becomes of each; raises the first failure."""
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
