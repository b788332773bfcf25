# SPDX-License-Identifier: Apache-2.0
"""Opens incidents and adds to them.

Laws:

1. What is said of an incident stands in control's log before it stands here. If it then is not kept,
   whoever asked is told so and asks again: the log may name an incident that never was, never the
   other way round.
2. A request id belongs to the first order that used it; the same order of the same operator again is
   answered with the incident, whatever became of it. Another one is a conflict.
3. Of an incident, what was gathered is in the log as its SHA-256, and each change as that of the
   order; words of people are not.
4. Nothing here is needed to contain, revoke or refuse.

Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from sidecar.clock import Clock
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    NotFoundError,
)
from sidecar.ids import Ids
from sidecar.incidents.machine import opened, updated
from sidecar.incidents.ports import AuditSink, IncidentStore
from sidecar.incidents.values import Gathered, Incident, OpenOrder, UpdateOrder
from sidecar.model import Operator

__all__ = [
    "KIND_OPENED",
    "KIND_UPDATED",
    "IncidentAnswer",
    "IncidentPage",
    "Incidents",
    "UnusableStore",
]

KIND_OPENED: Final = "incident"
KIND_UPDATED: Final = "incident_update"
_LOG_TIMEOUT_S: Final = 5.0
_MAX_PAGE: Final = 1000
_MAX_PAGE_BYTES: Final = 2 * 1024 * 1024
"""What is gathered and noted in the incidents of one page: an agent must not make lists unreadable."""
_STEP: Final = 20
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentAnswer:
    """An incident, and whether an earlier order with the same request id had made it so."""

    incident: Incident
    is_repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentPage:
    """Incidents without documents, newest first; ``next_before_seq`` is None on the last page."""

    incidents: tuple[Incident, ...]
    next_before_seq: int | None


class UnusableStore:
    """In place of a store that cannot be opened: every method says why (law 4)."""

    def __init__(self, failure: EnvironmentFailure) -> None:
        self._failure = failure

    def find_request(self, request_id: str) -> tuple[str, str] | None:
        raise self._failure

    def get(self, incident_id: str) -> Incident | None:
        raise self._failure

    def list(
        self, *, limit: int, before_seq: int | None, agents: Collection[str], open_only: bool
    ) -> Sequence[Incident]:
        raise self._failure

    def insert(self, incident: Incident, *, request_id: str, fingerprint: str) -> bool:
        raise self._failure

    def replace(
        self, incident: Incident, *, version: int, request_id: str, fingerprint: str
    ) -> bool:
        raise self._failure

    def close(self) -> None:
        """There is nothing to let go of."""


class Incidents:
    """The incidents of one control.

    Args:
        store: Where they are kept.
        audit: Control's log.
        clock: Time.
        ids: Names.
    """

    def __init__(self, *, store: IncidentStore, audit: AuditSink, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._ids = ids
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open(
        self, order: OpenOrder, caller: Operator, gather: Callable[[], Awaitable[Gathered]]
    ) -> IncidentAnswer:
        """Open an incident.

        Args:
            order: What for.
            caller: Who opens it.
            gather: Finds what there is to know; not called for a repeated request.

        Raises:
            ConflictError: The request id was used for another order.
            EnvironmentFailure: It cannot be logged or kept.
        """
        fingerprint = order.fingerprint(caller.name)
        async with self._lock(f"request {order.request_id}"):
            known = await self._known(order.request_id, fingerprint)
            if known is not None:
                return known
            gathered = await gather()
            incident = opened(
                order,
                gathered,
                id_=self._ids.new("inc"),
                author=caller.name,
                now_ns=self._clock.wall_ns(),
            )
            index = await self._log(
                KIND_OPENED,
                caller,
                {
                    "incident": incident.name,
                    "agent": incident.agent,
                    "severity": incident.severity,
                    "request_id": order.request_id,
                    "sha256": incident.sha256,
                    "order_sha256": fingerprint,
                },
            )
            incident = replace(incident, log_index=index)
            insert = partial(
                self._store.insert,
                incident,
                request_id=order.request_id,
                fingerprint=fingerprint,
            )
            if not await asyncio.to_thread(insert):
                known = await self._known(order.request_id, fingerprint)
                if known is not None:
                    return known
                raise EnvironmentFailure("the incident could not be kept")
        return IncidentAnswer(incident=await self.get(incident.id), is_repeated=False)

    async def update(
        self, order: UpdateOrder, caller: Operator, *, agents: Collection[str] = ()
    ) -> IncidentAnswer:
        """Add to an incident, or close it.

        Args:
            order: What to add.
            caller: Who adds it.
            agents: The only agents whose incidents there are for the caller; empty for all.

        Raises:
            NotFoundError: There is no such incident.
            ConflictError: The request id was used for another order.
            PreconditionError: It is closed, or full.
            EnvironmentFailure: It cannot be logged or kept.
        """
        fingerprint = order.fingerprint(caller.name)
        async with self._lock(f"incident {order.incident_id}"):
            for _ in range(_ATTEMPTS):
                incident = await self.get(order.incident_id, agents=agents)
                known = await self._known(order.request_id, fingerprint)
                if known is not None:
                    return known
                changed = updated(incident, order, author=caller.name, now_ns=self._clock.wall_ns())
                await self._log(KIND_UPDATED, caller, _update_body(changed, order, fingerprint))
                swap = partial(
                    self._store.replace,
                    changed,
                    version=incident.version,
                    request_id=order.request_id,
                    fingerprint=fingerprint,
                )
                if await asyncio.to_thread(swap):
                    return IncidentAnswer(incident=changed, is_repeated=False)
        raise EnvironmentFailure(
            "the incident changes faster than it can be changed", hint="ask again"
        )

    async def get(self, incident_id: str, *, agents: Collection[str] = ()) -> Incident:
        """Return one incident.

        Raises:
            NotFoundError: There is none, or none of *agents*.
            EnvironmentFailure: The store cannot be read.
        """
        incident = await asyncio.to_thread(self._store.get, incident_id)
        if incident is None or (agents and incident.agent not in agents):
            raise NotFoundError("there is no such incident", hint="list the incidents")
        return incident

    async def list(
        self,
        *,
        limit: int = 100,
        before_seq: int | None = None,
        agents: Collection[str] = (),
        open_only: bool = False,
    ) -> IncidentPage:
        """Return incidents, newest first; fewer than *limit* if they are large.

        Raises:
            EnvironmentFailure: The store cannot be read.
        """
        limit = max(1, min(limit, _MAX_PAGE))
        shown: list[Incident] = []
        room = _MAX_PAGE_BYTES
        while True:
            # A few at a time: what does not fit on the page is not held in memory either.
            found: Sequence[Incident] = await asyncio.to_thread(
                partial(
                    self._store.list,
                    limit=_STEP,
                    before_seq=shown[-1].seq if shown else before_seq,
                    agents=tuple(agents),
                    open_only=open_only,
                )
            )
            for incident in found:
                room -= incident.brief_size
                if len(shown) == limit or (shown and room < 0):
                    return IncidentPage(incidents=tuple(shown), next_before_seq=shown[-1].seq)
                shown.append(incident)
            if len(found) < _STEP:
                return IncidentPage(incidents=tuple(shown), next_before_seq=None)

    # -- private --------------------------------------------------------------------------------

    @asynccontextmanager
    async def _lock(self, name: str) -> AsyncIterator[None]:
        """One at a time; the store sees to it once more, this only saves work that is lost."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        async with lock:
            yield

    async def _known(self, request_id: str, fingerprint: str) -> IncidentAnswer | None:
        """Return what came of the order that used *request_id*, if one did (law 2)."""
        found = await asyncio.to_thread(self._store.find_request, request_id)
        if found is None:
            return None
        if found[0] != fingerprint:
            raise ConflictError(
                "this request id was used before, for another order",
                hint="use a fresh request id for each order, and the same one only to retry it",
            )
        return IncidentAnswer(incident=await self.get(found[1]), is_repeated=True)

    async def _log(self, kind: str, caller: Operator, body: dict[str, Any]) -> int:
        """Return the number of the entry (laws 1 and 3)."""
        body["operator"] = caller.name
        if caller.token:
            body["api_token"] = caller.token
        try:
            async with asyncio.timeout(_LOG_TIMEOUT_S):
                return (await self._audit.append(kind, body)).index
        except (OSError, TimeoutError, HoldfastError) as exc:
            raise EnvironmentFailure(
                "control's log did not take the entry of an incident",
                reason=ErrorReason.AUDIT_UNAVAILABLE,
                hint="see control's log directory and its disk, and ask again",
            ) from exc


def _update_body(changed: Incident, order: UpdateOrder, fingerprint: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "incident": changed.name,
        "agent": changed.agent,
        "version": changed.version,
        "state": changed.state.value,
        "request_id": order.request_id,
        "sha256": fingerprint,
        "is_note_added": bool(order.note),
    }
    if order.verdict is not None:
        body["verdict"] = order.verdict.value
    if order.techniques:
        body["techniques"] = list(order.techniques)
    return body
