# SPDX-License-Identifier: Apache-2.0
"""Approvals: what waits for humans, who decided it, and what was done with it.

The one service that changes approvals. Its laws are those of its parts: ``machine`` (what may
become what), ``eligibility`` (who decides), ``transitions`` (log, store and memory, in the order that
fails closed), ``holding`` (held calls), ``deciding`` (votes), ``acting`` (control actions),
``sweeping`` (time).

Belongs to one event loop. Call ``start`` once before anything else, keep ``run`` running, and
``close`` it at the end; until it is started, every held call is denied.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from sidecar.approvals import machine
from sidecar.approvals.acting import Acting
from sidecar.approvals.answers import (
    ApprovalLimits,
    ApprovalPage,
    Ballot,
    Consumed,
    DecideAnswer,
    Denied,
    HoldAnswer,
    Pending,
    WaitStats,
)
from sidecar.approvals.board import Board, RememberedRefusal, call_key
from sidecar.approvals.changes import Changes
from sidecar.approvals.deciding import Deciding, may_see
from sidecar.approvals.eligibility import Electorate
from sidecar.approvals.ending import Ending
from sidecar.approvals.entries import Entries
from sidecar.approvals.holding import Holding
from sidecar.approvals.ports import Announcer, AuditSink, Directory, PasskeyVerifier, Reach
from sidecar.approvals.store import ApprovalStore
from sidecar.approvals.sweeping import Sweeping
from sidecar.approvals.tally import Tally
from sidecar.approvals.tiers import DEFAULT_TIERS, TierRule
from sidecar.approvals.transitions import Transitions
from sidecar.approvals.values import (
    Approval,
    ApprovalState,
    Binding,
    Cause,
    Moment,
    Request,
    RequestKind,
    Tier,
)
from sidecar.approvals.worker import Worker
from sidecar.approvals.world import World
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import EnvironmentFailure, HoldfastError, NotFoundError
from sidecar.ids import Ids
from sidecar.model import Operator, Reason, ReasonCode

__all__ = [
    "ApprovalLimits",
    "ApprovalPage",
    "Approvals",
    "Ballot",
    "Consumed",
    "DecideAnswer",
    "Denied",
    "HoldAnswer",
    "Pending",
    "WaitStats",
]

_ID: Final = re.compile(r"apr_[0-9a-f]{32}").fullmatch
_NO_ID: Final = "apr_" + "0" * 32
_MAX_PAGE: Final = 1000

log = structlog.get_logger("holdfast.approvals")


class Approvals:
    """What waits for humans on this host."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        directory: Directory,
        audit: AuditSink,
        passkeys: PasskeyVerifier,
        reach: Reach,
        announcer: Announcer,
        clock: Clock,
        boot_id: str,
        ids: Ids,
        epoch: Callable[[], int],
        policy_digest: Callable[[], str],
        limits: ApprovalLimits | None = None,
        tiers: Mapping[Tier, TierRule] = DEFAULT_TIERS,
        worker: Worker | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits or ApprovalLimits()
        self._board = Board()
        self._changes = Changes()
        self._tally = Tally()
        self._is_started = False
        self._world = World(epoch=epoch, policy_digest=policy_digest, directory=directory)
        self._worker = worker or Worker(timeout_s=self._limits.store_timeout_s)
        self._entries = Entries(
            audit=audit,
            store=store,
            worker=self._worker,
            timeout_s=self._limits.audit_timeout_s,
        )
        self._transitions = Transitions(
            store=store,
            worker=self._worker,
            entries=self._entries,
            announcer=announcer,
            clock=clock,
            boot_id=boot_id,
            board=self._board,
            changes=self._changes,
            note=self._note,
        )
        self._holding = Holding(
            board=self._board,
            transitions=self._transitions,
            world=self._world,
            reach=reach,
            announcer=announcer,
            ids=ids,
            limits=self._limits,
        )
        self._deciding = Deciding(
            transitions=self._transitions,
            world=self._world,
            passkeys=passkeys,
            look_up=self.get,
        )
        self._acting = Acting(
            store=store,
            worker=self._worker,
            board=self._board,
            transitions=self._transitions,
            world=self._world,
            reach=reach,
            ids=ids,
            limits=self._limits,
        )
        self._ending = Ending(board=self._board, transitions=self._transitions)
        self._sweeping = Sweeping(
            store=store,
            worker=self._worker,
            entries=self._entries,
            board=self._board,
            transitions=self._transitions,
            world=self._world,
            announcer=announcer,
            tiers=tiers,
            limits=self._limits,
        )

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what waited before, and end what a reboot, a policy or an epoch voids.

        Raises:
            EnvironmentFailure: The store cannot be used.
        """
        moment = self._transitions.moment()
        for approval in await self._worker.run(self._store.live):
            self._board.put(approval)
        self._sweeping.remember_told(await self._worker.run(self._store.announced))
        horizon = moment.wall_ns - self._limits.refusal_memory_s * NS_PER_SECOND
        for approval in await self._worker.run(partial(self._store.refused_since, horizon)):
            self._remember_refusal(approval, moment)
        await self._sweeping.end_due()
        self._is_started = True

    async def run(self) -> None:
        """Expire, remind and catch up until cancelled."""
        while True:
            await self.tick()
            await asyncio.sleep(self._limits.tick_s)

    async def tick(self) -> None:
        """Do once what ``run`` does over and over; never raises ``HoldfastError``."""
        await self._sweeping.sweep()

    async def purge(self) -> int:
        """Forget what would have been done, of approvals that ended long ago; return of how many.

        Raises:
            EnvironmentFailure: The store cannot be used.
        """
        return await self._sweeping.purge()

    async def close(self) -> None:
        """Finish what has begun and stop; the store stays open, for whoever opened it."""
        self._is_started = False
        await self._transitions.close()

    @property
    def problem(self) -> str:
        """What failed at the last look, as a sentence for health; empty if nothing did."""
        return self._sweeping.problem

    # -- held calls -----------------------------------------------------------------------------

    async def hold(self, request: Request, binding: Binding, *, decision_id: str) -> HoldAnswer:
        """Use the grant of the call, wait with it, or deny it; never raises ``HoldfastError``.

        Args:
            request: What would be asked.
            binding: What the call is, as its gate sees it now.
            decision_id: The decision that holds it; it is the one that uses the grant.
        """
        try:
            if not self._is_started or request.kind is not RequestKind.CALL:
                raise EnvironmentFailure("the approvals are not started, or this is no call")
            return await self._holding.hold(request, binding, decision_id=decision_id)
        except HoldfastError as exc:
            log.error("held call denied", agent=request.agent, problem=str(exc))
            return Denied(
                Reason(
                    ReasonCode.APPROVAL_UNAVAILABLE,
                    "no human can be asked now: approvals do not work; operators see why",
                )
            )

    # -- votes ----------------------------------------------------------------------------------

    async def decide(self, ballot: Ballot, caller: Operator) -> DecideAnswer:
        """Count the vote of *caller*; see ``Deciding.decide`` for what it raises."""
        return await self._deciding.decide(ballot, caller)

    def may_see(self, approval: Approval, caller: Operator) -> bool:
        """Return whether *caller* may know of it: its role, auditors, and whoever asked."""
        return may_see(approval, caller)

    def may_decide(self, approval: Approval, caller: Operator) -> bool:
        """Return whether *caller* could vote on it now."""
        try:
            electorate = self._world.electorate(approval.request)
        except HoldfastError:
            return False
        moment = self._transitions.moment()
        refusal = machine.vote_refusal(
            approval, caller=caller, electorate=electorate, moment=moment
        )
        return refusal is None

    def electorate(self, request: Request) -> Electorate:
        """Return who may decide *request* now; raises ``HoldfastError`` if nobody knows."""
        return self._world.electorate(request)

    # -- control actions ------------------------------------------------------------------------

    async def open_action(self, request: Request) -> Approval:
        """Ask for a control action; see ``Acting.open`` for what it raises."""
        return await self._acting.open(request)

    async def find_action(self, request_id: str) -> Approval | None:
        """Return the action that was asked for with *request_id*, if there is one."""
        return await self._acting.find(request_id)

    async def take(self, approval_id: str) -> Approval:
        """Use the grant of a control action, once; see ``Acting.take`` for what it raises."""
        return await self._acting.take(approval_id)

    async def finish(
        self, approval_id: str, *, result: str, detail: str, is_failed: bool = False
    ) -> Approval:
        """Attach the result of a taken action; see ``Acting.finish`` for what it raises."""
        return await self._acting.finish(
            approval_id, result=result, detail=detail, is_failed=is_failed
        )

    async def unfinished(self) -> Sequence[Approval]:
        """Return the actions that were granted or taken and have no result, oldest first."""
        return await self._acting.unfinished()

    # -- the end --------------------------------------------------------------------------------

    async def cancel(
        self, approval_id: str, cause: Cause, *, detail: str, agent: str | None = None
    ) -> Approval | None:
        """Cancel it, if it is live; return it then, and None otherwise.

        Args:
            agent: If given, only a call of that agent.

        Raises:
            EnvironmentFailure: It holds in memory and could not be written yet.
        """
        try:
            # What is live is in memory, so a disk that cannot be read does not stop an end.
            known = self._board.live.get(approval_id) or await self.get(approval_id)
        except NotFoundError:
            return None
        return await self._ending.cancel(known, cause, detail=detail, agent=agent)

    async def cancel_agent(self, agent: str, cause: Cause, *, detail: str) -> int:
        """Cancel every live call of *agent*, also those being opened; return how many."""
        return await self._ending.cancel_agent(agent, cause, detail=detail)

    async def epoch_moved(self, epoch: int) -> int:
        """Cancel the grants of calls that are bound to an older epoch; return how many."""
        return await self._ending.epoch_moved(epoch)

    async def policy_changed(self, digest: str) -> int:
        """Cancel the live calls that another policy held; return how many."""
        return await self._ending.policy_changed(digest)

    # -- looking --------------------------------------------------------------------------------

    async def get(self, approval_id: str) -> Approval:
        """Return one. Missing and malformed ids take the same way as others (case D26).

        Raises:
            NotFoundError: There is none.
            EnvironmentFailure: The store cannot be used.
        """
        return self._counted(
            await self._transitions.refresh(approval_id if _ID(approval_id) else _NO_ID)
        )

    async def list(
        self,
        *,
        pending_only: bool = False,
        agent: str = "",
        limit: int = 100,
        before: str | None = None,
    ) -> ApprovalPage:
        """Return a page of approvals, newest first; callers leave out what ``may_see`` denies.

        Args:
            limit: At most this many, at most 1,000.
            before: ``next_before`` of an earlier page.
        """
        limit = min(max(limit, 1), _MAX_PAGE)
        found = await self._worker.run(
            partial(
                self._store.page,
                pending_only=pending_only,
                agent=agent,
                limit=limit + 1,
                before=before if before is None or _ID(before) else _NO_ID,
            )
        )
        page = tuple(self._counted(approval) for approval in found[:limit])
        return ApprovalPage(approvals=page, next_before=page[-1].id if len(found) > limit else None)

    async def wait(self, approval_id: str, *, version: int, timeout_s: float) -> Approval:
        """Return it as soon as it is newer than *version*, or as it is at the timeout.

        Raises:
            NotFoundError: There is none.
            EnvironmentFailure: The store cannot be used.
        """
        return await self._changes.wait(
            approval_id, version=version, timeout_s=timeout_s, look=self.get
        )

    def add_listener(self, listener: Callable[[Approval], None]) -> None:
        """Call *listener* in the loop after every change, once it is durable."""
        self._changes.add_listener(listener)

    def live(self) -> tuple[Approval, ...]:
        """Return those that wait or are granted, as memory knows them."""
        return tuple(self._board)

    def pending_count(self) -> int:
        """Return how many wait for humans."""
        return sum(item.state is ApprovalState.PENDING for item in self._board)

    def waits(self) -> WaitStats:
        """Return how approvals stand and how long they took, for metrics."""
        return self._tally.stats(
            self._board,
            wall_ns=self._clock.wall_ns(),
            unlogged=self._entries.missing_count,
            unwritten=self._transitions.owed_count,
        )

    # -- private --------------------------------------------------------------------------------

    def _note(self, approval: Approval) -> None:
        self._tally.note(approval)
        if approval.state is ApprovalState.REFUSED:
            self._remember_refusal(approval, self._transitions.moment())

    def _remember_refusal(self, approval: Approval, moment: Moment) -> None:
        if approval.request.kind is not RequestKind.CALL:
            return
        memory_ns = self._limits.refusal_memory_s * NS_PER_SECOND
        left_ns = min(memory_ns, approval.end_time_ns + memory_ns - moment.wall_ns)
        self._board.remember_refusal(
            call_key(approval.request),
            RememberedRefusal(
                approval.id, approval.detail, moment.boot_ns + left_ns, moment.wall_ns + left_ns
            ),
        )

    def _counted(self, approval: Approval) -> Approval:
        """Return *approval* with the calls that wait on it now; the store learns of them later."""
        known = self._board.live.get(approval.id)
        if known is None or known.folded_count <= approval.folded_count:
            return approval
        return replace(approval, folded_count=known.folded_count)
