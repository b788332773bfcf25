# SPDX-License-Identifier: Apache-2.0
"""Makes transitions: log, compare-and-swap, board, listeners; in the order that fails closed.

Laws:

1. What loosens is in the log before it is in the store, and in the store before anybody is answered.
   A log or a store that fails stops it.
2. What tightens is in the store first. A log that fails does not stop it: ``entries`` writes it
   later. A store that fails does not stop it in memory either: nothing is loosened on an approval
   whose end is owed, and ``settle`` writes it.
3. Whoever loses a compare-and-swap reads again and decides again, a bounded number of times.
4. A transition that has begun is finished, even when whoever asked for it has gone.

Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from sidecar.approvals import machine
from sidecar.approvals.board import Board
from sidecar.approvals.changes import Changes
from sidecar.approvals.entries import Entries
from sidecar.approvals.ports import Announcer
from sidecar.approvals.refusals import No, Refusal
from sidecar.approvals.store import ApprovalStore, Guard
from sidecar.approvals.values import Approval, ApprovalState, Binding, Cause, Moment, Request
from sidecar.approvals.worker import Worker
from sidecar.clock import Clock
from sidecar.errors import EnvironmentFailure, NotFoundError

__all__ = ["Step", "Transitions", "missing"]

Step: TypeAlias = Callable[[Approval, Moment], Approval | Refusal]
"""A transition of the machine, ready for the approval that is read and the moment it is made."""

_T = TypeVar("_T")
_MAX_TRIES: Final = 16


def missing() -> NotFoundError:
    """Return the one error for an approval that is not there, or is none of the caller's business."""
    return NotFoundError("there is no such approval", hint="list those that you may see")


class Transitions:
    """The one place where approvals change."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        worker: Worker,
        entries: Entries,
        announcer: Announcer,
        clock: Clock,
        boot_id: str,
        board: Board,
        changes: Changes,
        note: Callable[[Approval], None],
    ) -> None:
        self._store = store
        self._worker = worker
        self._entries = entries
        self._announcer = announcer
        self._clock = clock
        self._boot_id = boot_id
        self._board = board
        self._changes = changes
        self._note = note
        self._tasks: set[asyncio.Task[Any]] = set()
        self._owed: dict[str, Step] = {}
        self._doubtful: dict[str, Approval] = {}

    # -- reading --------------------------------------------------------------------------------

    def moment(self) -> Moment:
        """Return now, on both clocks."""
        return Moment(
            wall_ns=self._clock.wall_ns(), boot_ns=self._clock.boot_ns(), boot_id=self._boot_id
        )

    async def current(self, approval_id: str) -> Approval:
        """Return an approval as it is known; raises ``NotFoundError``."""
        known = self._board.live.get(approval_id)
        return known if known is not None else await self.refresh(approval_id)

    async def refresh_call(self, request: Request) -> None:
        """Take in the live approval of the very call *request*, if the store has one."""
        find = partial(
            self._store.by_call,
            fingerprint=request.fingerprint,
            agent=request.agent,
            session=request.session,
            policy_digest=request.policy_digest,
        )
        found = await self._worker.run(find)
        if found is not None:
            self._seen(found)

    async def refresh(self, approval_id: str) -> Approval:
        """Return an approval as the store has it; raises ``NotFoundError``."""
        found = await self._worker.run(partial(self._store.get, approval_id))
        if found is None:
            raise missing()
        return self._seen(found)

    def is_owed(self, approval_id: str) -> bool:
        """Return whether its end holds in memory and is not written yet (law 2)."""
        return approval_id in self._owed

    @property
    def owed_count(self) -> int:
        """How many ends are not written yet."""
        return len(self._owed)

    # -- changing -------------------------------------------------------------------------------

    async def open(self, approval: Approval) -> bool:
        """Keep a new approval; False if there is one already (law 1)."""
        return await self.see_through(self._open(approval))

    async def loosen(
        self, approval_id: str, step: Step, *, binding: Binding | None = None
    ) -> Approval | Refusal:
        """Make the transition *step*, or return its refusal (laws 1, 3 and 4).

        Raises:
            NotFoundError: There is no such approval.
            EnvironmentFailure: It was not made, for all that is known.
        """
        return await self.see_through(self._loosen(approval_id, step, binding))

    async def tighten(self, approval_id: str, step: Step) -> Approval | Refusal:
        """Make the transition *step*, or return its refusal (laws 2, 3 and 4).

        Raises:
            NotFoundError: There is no such approval.
            EnvironmentFailure: It holds in memory and could not be written yet.
        """
        return await self.see_through(self._tighten(approval_id, step))

    async def see_through(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what *work* gives; it ends even if whoever waits for it goes away (law 4)."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def expire(self, approval_id: str) -> Approval | Refusal:
        """Let *approval_id* expire, if it is due; as ``tighten``."""
        return await self.tighten(
            approval_id, lambda approval, moment: machine.expire(approval, moment=moment)
        )

    async def cancel(self, approval_id: str, cause: Cause, detail: str) -> Approval | Refusal:
        """Cancel *approval_id*, if it is live; as ``tighten``."""
        return await self.tighten(
            approval_id,
            lambda approval, moment: machine.cancel(approval, cause, detail=detail, moment=moment),
        )

    # -- catching up ----------------------------------------------------------------------------

    async def settle(self) -> None:
        """Write the ends that are owed (law 2), and find out what a failing store has done.

        Raises:
            EnvironmentFailure: The store still fails.
        """
        for approval_id, step in list(self._owed.items()):
            try:
                await self.tighten(approval_id, step)
            except NotFoundError:  # the store was exchanged
                self._forget_owed(approval_id, step)
        for approval_id in list(self._doubtful):
            await self._resolve(approval_id)

    async def close(self) -> None:
        """Finish what has begun, and take nothing more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._worker.close()

    # -- private --------------------------------------------------------------------------------

    async def _open(self, approval: Approval) -> bool:
        await self._entries.announce(approval)
        if await self._try(approval, partial(self._store.insert, approval)):
            self._published(approval, "opened")
            return True
        return False

    async def _loosen(
        self, approval_id: str, step: Step, binding: Binding | None
    ) -> Approval | Refusal:
        async with self._board.lock(approval_id):
            await self._resolve(approval_id)
            for _ in range(_MAX_TRIES):
                before = await self.current(approval_id)
                if self.is_owed(approval_id):
                    return Refusal(No.CLOSED, "this approval is being closed")
                after = step(before, self.moment())
                if isinstance(after, Refusal):
                    return after
                await self._entries.announce(after)
                if await self._swap_loosening(before, after, binding):
                    return self._published(after, "decided")
                await self.refresh(approval_id)
        raise EnvironmentFailure("the approval changed too often while it was decided")

    async def _swap_loosening(
        self, before: Approval, after: Approval, binding: Binding | None
    ) -> bool:
        def swap() -> bool:
            # The moment is that of the swap, however long the log and the queue took.
            guard = Guard(moment=self.moment(), binding=binding)
            return self._store.swap(before, after, guard=guard, is_logged=True)

        return await self._try(after, swap)

    async def _try(self, after: Approval, work: Callable[[], bool]) -> bool:
        """Return whether *work* made what the log has announced; log it if it did not (law 1)."""
        try:
            is_made = not self.is_owed(after.id) and await self._worker.run(work)
        except EnvironmentFailure:
            self._doubtful[after.id] = after  # it may be in the file; ``settle`` looks
            raise
        if not is_made:
            await self._entries.note_lapsed(after)
        return is_made

    async def _resolve(self, approval_id: str) -> None:
        """Find out whether what the store failed at was made all the same."""
        wanted = self._doubtful.get(approval_id)
        if wanted is None:
            return
        try:
            found = await self.refresh(approval_id)
        except NotFoundError:
            found = None
        if self._doubtful.pop(approval_id, None) is None:
            return  # somebody else has found out meanwhile
        if found is None or found.version < wanted.version:
            await self._entries.note_lapsed(wanted)
        else:
            self._published(found, "opened" if found.version == 1 else "decided")

    async def _tighten(self, approval_id: str, step: Step) -> Approval | Refusal:
        for _ in range(_MAX_TRIES):
            try:
                before = await self.current(approval_id)
                after = step(before, self.moment())
                if isinstance(after, Refusal) or after is before:
                    if self._forget_owed(approval_id, step) and not before.is_live:
                        self._published(before, "decided")  # it was made, and nobody was told
                    return after
                swap = partial(self._store.swap, before, after, guard=None, is_logged=False)
                is_made = await self._worker.run(swap)
                if not is_made:
                    await self.refresh(approval_id)
                    continue
            except EnvironmentFailure:
                self._owed.setdefault(approval_id, step)
                self._entries.note_doubt()
                raise
            self._forget_owed(approval_id, step)
            self._published(after, "decided")
            await self._entries.note_made(after)
            return after
        raise EnvironmentFailure("the approval changed too often while it was decided")

    def _forget_owed(self, approval_id: str, step: Step) -> bool:
        """Return whether it was *step* that was owed; another one that is owed stays owed."""
        if self._owed.get(approval_id) is not step:
            return False
        del self._owed[approval_id]
        return True

    def _seen(self, approval: Approval) -> Approval:
        known = self._board.live.get(approval.id)
        self._board.put(approval)
        if known is None or known.version <= approval.version:
            return approval
        return known

    def _published(self, approval: Approval, kind: str) -> Approval:
        self._board.put(approval)
        self._note(approval)
        self._changes.publish(approval)
        if kind != "decided" or approval.state is not ApprovalState.PENDING:
            self._announcer.announce(approval, kind)
        return approval

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked sees it; if they have gone, nobody needs to
