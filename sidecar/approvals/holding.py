# SPDX-License-Identifier: Apache-2.0
"""What comes of a held call: its grant is used, it waits with others like it, or it is denied.

Laws:

1. The order is: grant, wait, refused lately, no approver, no channel, too many, open. Whatever can be
   said without the disk is said without it, so a flood costs its sender and nobody else.
2. Identical calls wait on one request. An agent has a bounded number of them open, and is told about
   at most once a minute.
3. A grant is used under the world as it is: an epoch or a policy that moved before the use, or while
   it was written, voids it.
4. Doubt denies: an unknown directory, an unreachable approver, a log or a store that fails.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.approvals import machine
from sidecar.approvals.answers import (
    ApprovalLimits,
    Consumed,
    Denied,
    HoldAnswer,
    Pending,
)
from sidecar.approvals.board import Board, CallKey, call_key
from sidecar.approvals.deadlines import is_due
from sidecar.approvals.eligibility import Electorate, shortfall
from sidecar.approvals.ports import Announcer, Reach
from sidecar.approvals.refusals import No, Refusal, clock_time
from sidecar.approvals.transitions import Transitions
from sidecar.approvals.values import (
    Approval,
    ApprovalState,
    Binding,
    Cause,
    Moment,
    Request,
    RequestKind,
)
from sidecar.approvals.world import World
from sidecar.clock import NS_PER_SECOND
from sidecar.errors import EnvironmentFailure, HoldfastError
from sidecar.ids import Ids
from sidecar.model import Reason, ReasonCode

__all__ = ["Holding"]

_MAX_ROUNDS: Final = 8
_MOVED: Final = "containment or policy changed since this call was held; ask again"


class _NobodyKnowsError(HoldfastError):
    """The directory cannot be read: nobody may decide (law 4)."""


class Holding:
    """Answers for held calls."""

    def __init__(
        self,
        *,
        board: Board,
        transitions: Transitions,
        world: World,
        reach: Reach,
        announcer: Announcer,
        ids: Ids,
        limits: ApprovalLimits,
    ) -> None:
        self._board = board
        self._transitions = transitions
        self._world = world
        self._reach = reach
        self._announcer = announcer
        self._ids = ids
        self._limits = limits

    async def hold(self, request: Request, binding: Binding, *, decision_id: str) -> HoldAnswer:
        """Return what comes of the held call *request*.

        Raises:
            HoldfastError: It cannot be said; the call is to be denied.
        """
        held = (binding.fingerprint, binding.agent, binding.session, binding.policy_digest)
        key = call_key(request)
        if held != key or binding.policy_digest != self._world.policy_digest():
            return _denied(ReasonCode.APPROVAL_BINDING, _MOVED)
        for _ in range(_MAX_ROUNDS):
            known = self._board.of_call(key)
            opening = self._board.opening(key)
            try:
                if known is not None:
                    answer = await self._of_known(known, binding, decision_id)
                elif opening is not None:
                    await asyncio.shield(opening)
                    answer = None  # it is known now, or it ended already
                else:
                    answer = self._denial(request, key) or await self._open(request, key)
            except _NobodyKnowsError as exc:
                return _denied(ReasonCode.NO_APPROVER, exc.message)
            if answer is not None:
                return answer
        raise EnvironmentFailure("the approval changed too often while it was asked for")

    # -- a live approval ------------------------------------------------------------------------

    async def _of_known(
        self, known: Approval, binding: Binding, decision_id: str
    ) -> HoldAnswer | None:
        """Return what a live approval gives; None if it is none any more."""
        if self._transitions.is_owed(known.id):
            return _denied(
                ReasonCode.APPROVAL_UNAVAILABLE, "an earlier request is being closed", known.id
            )
        if known.state is ApprovalState.GRANTED:
            return await self._use(known, binding, decision_id)
        if is_due(known, self._transitions.moment()):
            await self._transitions.expire(known.id)
            return None
        electorate = self._electorate(known.request)
        missing = shortfall(known.request, electorate)
        if missing:
            await self._transitions.cancel(known.id, Cause.NO_APPROVER, missing)
            return _denied(ReasonCode.NO_APPROVER, missing, known.id)
        return Pending(self._board.fold(known), electorate.names)

    async def _use(self, known: Approval, binding: Binding, decision_id: str) -> HoldAnswer | None:
        def step(approval: Approval, moment: Moment) -> Approval | Refusal:
            if approval.is_live and self._world.void_cause(approval, moment) is not None:
                return Refusal(No.VOID, _MOVED)
            return machine.consume(
                approval,
                binding,
                electorate=self._electorate(approval.request),
                moment=moment,
                decision_id=decision_id,
            )

        used = await self._transitions.loosen(known.id, step, binding=binding)
        if isinstance(used, Refusal):
            return await self._of_refusal(known.id, used)
        if (self._world.epoch(), self._world.policy_digest()) != (
            used.grant_epoch,
            used.request.policy_digest,
        ):  # law 3: it is used up, and it allows nothing
            return _denied(ReasonCode.APPROVAL_BINDING, _MOVED, used.id)
        return Consumed(used)

    async def _of_refusal(self, approval_id: str, refusal: Refusal) -> HoldAnswer | None:
        match refusal.code:
            case No.BINDING:
                return _denied(ReasonCode.APPROVAL_BINDING, refusal.text, approval_id)
            case No.NO_APPROVER:
                await self._transitions.cancel(approval_id, Cause.NO_APPROVER, refusal.text)
                return _denied(ReasonCode.NO_APPROVER, refusal.text, approval_id)
            case No.EXPIRED:
                await self._transitions.expire(approval_id)
            case No.VOID | No.REBOOTED:
                await self._transitions.tighten(approval_id, self._world.void)
            case _:
                pass  # it has ended meanwhile
        return None

    # -- a new one ------------------------------------------------------------------------------

    def _denial(self, request: Request, key: CallKey) -> Denied | None:
        """Return why no human is asked (law 1); nothing here touches the disk."""
        boot_ns = self._transitions.moment().boot_ns
        refused = self._board.refusal(key, boot_ns)
        if refused is not None:
            return _denied(
                ReasonCode.APPROVAL_REFUSED,
                f"{refused.detail}; ask again after {clock_time(refused.until_wall_ns)}",
                refused.approval_id,
            )
        missing = shortfall(request, self._electorate(request))
        if missing:
            return _denied(ReasonCode.NO_APPROVER, missing)
        unreachable = self._reach.refusal(request)
        if unreachable:
            return _denied(ReasonCode.NO_CHANNEL, unreachable)
        cap = self._limits.max_pending_per_agent
        if self._board.pending_count(RequestKind.CALL, request.agent) < cap:
            return None
        every_ns = self._limits.alert_every_s * NS_PER_SECOND
        if self._board.may_alert(request.agent, boot_ns, every_ns):
            self._announcer.alert(
                request.agent,
                f"agent {request.agent} has {cap} calls that wait for humans and asks for more",
            )
        return _denied(
            ReasonCode.APPROVAL_LIMIT, f"{cap} calls of this agent wait for humans already"
        )

    def _electorate(self, request: Request) -> Electorate:
        try:
            return self._world.electorate(request)
        except HoldfastError as exc:
            raise _NobodyKnowsError("nobody knows who may decide now") from exc

    async def _open(self, request: Request, key: CallKey) -> HoldAnswer | None:
        """Open a request; None if somebody else has opened one for the same call."""
        electorate = self._electorate(request)
        opened = machine.open_approval(
            request,
            approval_id=self._ids.new("apr"),
            electorate=electorate,
            moment=self._transitions.moment(),
        )
        if isinstance(opened, Refusal):
            return _denied(ReasonCode.NO_APPROVER, opened.text)
        opening = self._board.begin_opening(key)
        earlier_cancel = self._board.last_cancel(request.agent)
        return await self._transitions.see_through(
            self._kept(Pending(opened, electorate.names), opening, earlier_cancel)
        )

    async def _kept(
        self,
        pending: Pending,
        opening: asyncio.Future[None],
        earlier_cancel: tuple[int, Cause, str] | None,
    ) -> HoldAnswer | None:
        """Return *pending* once it is kept, why it ended meanwhile, or None if another one is."""
        approval, request = pending.approval, pending.approval.request
        try:
            is_kept = await self._transitions.open(approval)
            if not is_kept:
                await self._transitions.refresh_call(request)
        except HoldfastError as exc:
            opening.set_exception(exc)
            raise
        finally:
            self._board.end_opening(call_key(request))
            if not opening.done():
                opening.set_result(None)
        cancel = self._board.last_cancel(request.agent)
        if is_kept and cancel is not None and cancel != earlier_cancel:
            await self._transitions.cancel(approval.id, cancel[1], cancel[2])
            return _denied(ReasonCode.APPROVAL_CANCELLED, cancel[2], approval.id)
        moment = self._transitions.moment()
        if is_kept and self._world.void_cause(approval, moment) is not None:
            await self._transitions.tighten(approval.id, self._world.void)
            return _denied(ReasonCode.APPROVAL_BINDING, _MOVED, approval.id)
        return pending if is_kept else None


def _denied(code: ReasonCode, text: str, approval_id: str = "") -> Denied:
    metadata = {"approval": f"approvals/{approval_id}"} if approval_id else {}
    return Denied(Reason(code, text, metadata), approval_id)
