# SPDX-License-Identifier: Apache-2.0
"""Control actions that wait for humans: opened once, taken once, finished once.

Laws:

1. One request id is one request, for whoever asked first; another body, or another asker, with that
   id is a conflict.
2. A granted action is taken once, by control itself, and only while those who granted it may still
   decide.
3. What was taken and has no result yet is what a crash has interrupted: it is carried out again, with
   the same request id, by whoever carries it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sidecar.approvals import machine
from sidecar.approvals.answers import ApprovalLimits
from sidecar.approvals.board import Board
from sidecar.approvals.ports import Reach
from sidecar.approvals.refusals import No, Refusal, error_of
from sidecar.approvals.requests import check_request
from sidecar.approvals.store import ApprovalStore
from sidecar.approvals.transitions import Transitions
from sidecar.approvals.values import Approval, Cause, Moment, Request, RequestKind
from sidecar.approvals.worker import Worker
from sidecar.approvals.world import World
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    PreconditionError,
    RefusedError,
)
from sidecar.ids import Ids

__all__ = ["Acting"]


class Acting:
    """Requests for control actions."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        worker: Worker,
        board: Board,
        transitions: Transitions,
        world: World,
        reach: Reach,
        ids: Ids,
        limits: ApprovalLimits,
    ) -> None:
        self._store = store
        self._worker = worker
        self._board = board
        self._transitions = transitions
        self._world = world
        self._reach = reach
        self._ids = ids
        self._limits = limits

    async def open(self, request: Request) -> Approval:
        """Return the approval of *request*, a new one or the one that its id named before.

        Raises:
            ConflictError: The id names another request.
            RefusedError: NO_APPROVER or NO_CHANNEL.
            PreconditionError: APPROVAL_LIMIT.
            UntrustedInputError: It is not what it says it is.
            EnvironmentFailure: It could not be opened.
        """
        if request.kind is not RequestKind.ACTION:
            raise ValueError("a call is held, not opened as an action")
        check_request(request)
        async with self._board.lock(f"action {request.request_id}"):
            earlier = await self.find(request.request_id)
            if earlier is not None:
                return _same(earlier, request)
            opened = self._draft(request)
            if await self._transitions.open(opened):
                return opened
            earlier = await self.find(request.request_id)
        if earlier is None:
            raise EnvironmentFailure("the request could not be kept")
        return _same(earlier, request)

    async def take(self, approval_id: str) -> Approval:
        """Return the granted action, CONSUMED: the caller carries it out now (law 2).

        Raises:
            NotFoundError: There is no such approval.
            PreconditionError: It is not granted, or not any more.
        """

        def step(approval: Approval, moment: Moment) -> Approval | Refusal:
            electorate = self._world.electorate(approval.request)
            return machine.take(approval, electorate=electorate, moment=moment)

        taken = await self._transitions.loosen(approval_id, step)
        if not isinstance(taken, Refusal):
            return taken
        match taken.code:
            case No.EXPIRED:
                await self._transitions.expire(approval_id)
            case No.REBOOTED:
                await self._transitions.tighten(approval_id, self._world.void)
            case No.NO_APPROVER:
                await self._transitions.cancel(approval_id, Cause.NO_APPROVER, taken.text)
            case _:
                pass
        error = error_of(taken)
        raise PreconditionError(error.message, reason=error.reason, hint=error.hint)

    async def finish(
        self, approval_id: str, *, result: str, detail: str, is_failed: bool
    ) -> Approval:
        """Attach the result of a taken action; the same one again changes nothing.

        Raises:
            NotFoundError: There is no such approval.
            PreconditionError: It was not taken, or it has another result.
            EnvironmentFailure: It could not be written yet; the service goes on trying.
        """
        finished = await self._transitions.tighten(
            approval_id,
            lambda approval, _: machine.finish(
                approval, result=result, detail=detail, is_failed=is_failed
            ),
        )
        if isinstance(finished, Refusal):
            raise error_of(finished)
        return finished

    async def find(self, request_id: str) -> Approval | None:
        """Return the action that was asked for with *request_id*, if there is one (law 1)."""
        return await self._worker.run(partial(self._store.by_request_id, request_id))

    async def unfinished(self) -> Sequence[Approval]:
        """Return what was granted or taken and has no result, oldest first (law 3)."""
        return await self._worker.run(self._store.unfinished)

    def _draft(self, request: Request) -> Approval:
        try:
            electorate = self._world.electorate(request)
        except HoldfastError as exc:
            raise RefusedError(
                "nobody knows who may decide now", reason=ErrorReason.NO_APPROVER, hint=exc.hint
            ) from exc
        opened = machine.open_approval(
            request,
            approval_id=self._ids.new("apr"),
            electorate=electorate,
            moment=self._transitions.moment(),
        )
        if isinstance(opened, Refusal):
            raise error_of(opened)
        unreachable = self._reach.refusal(request)
        if unreachable:
            raise RefusedError(unreachable, reason=ErrorReason.NO_CHANNEL)
        cap = self._limits.max_pending_per_requester
        if self._board.pending_count(RequestKind.ACTION, request.requester) >= cap:
            raise PreconditionError(
                f"{cap} requests of {request.requester} wait for humans already",
                reason=ErrorReason.APPROVAL_LIMIT,
                hint="have some of them decided or withdrawn first",
            )
        return opened


def _same(earlier: Approval, request: Request) -> Approval:
    known = earlier.request
    if (known.fingerprint, known.requester) != (request.fingerprint, request.requester):
        raise ConflictError(
            "this request id names another request", hint="use a new request id"
        )  # law 1
    return earlier
