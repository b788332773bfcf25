# SPDX-License-Identifier: Apache-2.0
"""Writes transitions into control's log, and what it missed later.

Laws:

1. ``append`` returns once the entry is durable, or raises. It never waits longer than its limit.
2. A transition that was made and not logged is known to the store, over restarts too, and is logged
   as soon as the log works again. It may be logged twice (same ``version``), never not at all.
3. That an announced transition was not made is logged too; what cannot be is kept in memory for a
   while. If that is lost, the next entry of the same ``version`` says it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import structlog

from sidecar.approvals import record
from sidecar.approvals.ports import AuditSink
from sidecar.approvals.store import ApprovalStore
from sidecar.approvals.values import Approval
from sidecar.approvals.worker import Worker
from sidecar.errors import EnvironmentFailure, ErrorReason, HoldfastError

__all__ = ["Entries"]

_MAX_LAPSED: Final = 10_000
_RELOG_LIMIT: Final = 100

log = structlog.get_logger("holdfast.approvals")


class Entries:
    """The entries about approvals. Belongs to one event loop."""

    def __init__(
        self, *, audit: AuditSink, store: ApprovalStore, worker: Worker, timeout_s: float
    ) -> None:
        self._audit = audit
        self._store = store
        self._worker = worker
        self._timeout_s = timeout_s
        self._lapsed: deque[Mapping[str, Any]] = deque(maxlen=_MAX_LAPSED)
        self._logged: dict[str, int] = {}
        self._logging: set[tuple[str, int]] = set()
        self._is_behind = True  # until ``catch_up`` has looked

    @property
    def missing_count(self) -> int:
        """How many entries are known to be missing; at least."""
        return len(self._lapsed) + len(self._logging) + int(self._is_behind)

    async def announce(self, approval: Approval) -> None:
        """Log the transition to *approval* before it is made.

        Raises:
            EnvironmentFailure: It is not in the log, so it must not be made.
        """
        await self._append(record.entry_of(approval))

    async def note_lapsed(self, approval: Approval) -> None:
        """Log that the announced transition to *approval* was not made (law 3)."""
        entry = record.lapsed_entry_of(approval)
        try:
            await self._append(entry)
        except HoldfastError:
            self._lapsed.append(entry)

    async def note_made(self, approval: Approval) -> None:
        """Log a transition that was made, now or later (law 2)."""
        version = (approval.id, approval.version)
        self._logging.add(version)
        try:
            await self._append(record.entry_of(approval))
            self._logged[approval.id] = approval.version
        except HoldfastError as exc:
            self._is_behind = True
            log.error("approval not logged yet", approval=approval.name, problem=exc.message)
        finally:
            self._logging.discard(version)

    def note_doubt(self) -> None:
        """Note that the store may hold a transition that nobody has logged: it failed at one."""
        self._is_behind = True

    async def catch_up(self) -> None:
        """Log what is missing, and tell the store what is not; raises if either fails."""
        while self._lapsed:
            await self._append(self._lapsed[0])
            self._lapsed.popleft()
        if self._is_behind:
            self._is_behind = await self._log_some()
        if self._logged:
            logged, self._logged = self._logged, {}
            try:
                await self._worker.run(partial(self._store.mark_logged, logged))
            except HoldfastError:
                self._logged = logged | self._logged
                raise

    async def _log_some(self) -> bool:
        """Log some of what the store knows to be missing; return whether there may be more."""
        find = partial(self._store.unlogged, limit=_RELOG_LIMIT)
        is_any = False
        for approval in await self._worker.run(find):
            is_logged = self._logged.get(approval.id, 0) >= approval.version
            if is_logged or (approval.id, approval.version) in self._logging:
                continue
            is_any = True
            await self._append(record.entry_of(approval))
            self._logged[approval.id] = approval.version
        return is_any

    async def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._audit.append(record.KIND, entry)
        except (OSError, ValueError, TimeoutError) as exc:
            raise EnvironmentFailure(
                "the log did not take the entry of an approval",
                reason=ErrorReason.AUDIT_UNAVAILABLE,
                hint="see control's log directory and its disk",
            ) from exc
