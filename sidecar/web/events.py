# SPDX-License-Identifier: Apache-2.0
"""Tells open pages that something changed, as server-sent events.

Laws:

1. An event holds an id and a state of ours and nothing that anybody wrote; whoever wants to know
   more loads a page, with that page's checks.
2. Nobody is told of what they may not see; who they are is asked again at every event and at every
   heartbeat, and the stream ends with the session. A stream keeps no session alive.
3. A stream that is read too slowly is not waited for: it is told to load again.
4. An open stream means that somebody's browser is there: ``watchers`` counts the people.
5. Streams are few. A browser has half a dozen connections for everything, so of one session's streams
   the oldest gives way to a new one, and is told not to come back.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from sidecar.approvals.values import Approval
from sidecar.errors import HoldfastError
from sidecar.model import Operator, Role
from sidecar.web.access import AGENT_ROLES, Door, Visitor, quiet, visitor_of
from sidecar.web.config import ConsoleConfig
from sidecar.web.ports import ApprovalDesk

__all__ = ["EventHub"]

_MAX_QUEUE: Final = 64
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}").fullmatch
_RETRY_MS: Final = 3000


@dataclass(frozen=True, slots=True)
class _Event:
    kind: str
    data: dict[str, str | int]
    may_see: Callable[[Operator], bool]

    def encode(self) -> bytes:
        data = json.dumps(self.data, separators=(",", ":"))
        return f"event: {self.kind}\ndata: {data}\n\n".encode()


@dataclass(eq=False, slots=True)
class _Stream:
    request: web.Request
    visitor: Visitor
    queue: asyncio.Queue[_Event | None] = field(
        default_factory=lambda: asyncio.Queue(maxsize=_MAX_QUEUE)
    )
    has_missed: bool = False
    is_displaced: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the browser is still there, as far as its connection tells."""
        transport = self.request.transport
        return transport is not None and not transport.is_closing() and not self.is_displaced


class EventHub:
    """The open streams."""

    def __init__(self, *, approvals: ApprovalDesk, door: Door, config: ConsoleConfig) -> None:
        self._approvals = approvals
        self._door = door
        self._config = config
        self._streams: dict[_Stream, None] = {}  # in the order in which they were opened
        self._is_closed = False

    def approval_changed(self, approval: Approval) -> None:
        """Tell whoever may see it that *approval* changed."""
        if not _SAFE_ID(approval.id):
            return
        data: dict[str, str | int] = {
            "id": approval.id,
            "state": approval.state.value,
            "version": approval.version,
        }
        self._publish(
            _Event("approval", data, lambda caller: self._approvals.may_see(approval, caller))
        )

    def agent_changed(self, agent: str) -> None:
        """Tell whoever may see agents that *agent*'s containment changed."""
        if _SAFE_ID(agent):
            self._publish(_Event("agent", {"id": agent}, _may_see_agents))

    def watchers(self, role: Role | None = None) -> int:
        """Return how many humans have a page open; only those with *role*, if given."""
        return len(
            {
                stream.visitor.operator.human_id
                for stream in self._streams
                if stream.is_open and (role is None or role in stream.visitor.operator.roles)
            }
        )

    @quiet
    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /events``."""
        visitor = visitor_of(request)
        if self._is_closed or self._open_count() >= self._config.max_event_streams:
            raise web.HTTPTooManyRequests(
                reason="Too many pages are open at once.", headers={"Retry-After": "30"}
            )
        self._make_room(visitor)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        )
        stream = _Stream(request, visitor)
        self._streams[stream] = None
        try:
            await response.prepare(request)
            await response.write(f"retry: {_RETRY_MS}\n: open\n\n".encode())
            await self._run(request, response, stream)
        except (ConnectionResetError, TimeoutError):
            pass  # the browser is gone
        finally:
            self._streams.pop(stream, None)
        return response

    async def close(self) -> None:
        """End every stream."""
        self._is_closed = True
        for stream in list(self._streams):
            _offer(stream, None)

    async def _run(
        self, request: web.Request, response: web.StreamResponse, stream: _Stream
    ) -> None:
        while not self._is_closed:
            event: _Event | None
            try:
                async with asyncio.timeout(self._config.event_heartbeat_s):
                    event = await stream.queue.get()
            except TimeoutError:
                event = _HEARTBEAT
            visitor = self._visitor(request)
            if visitor is None or visitor.session.id != stream.visitor.session.id:
                await self._write(response, b"event: end\ndata: {}\n\n")
                return
            stream.visitor = visitor
            if stream.is_displaced:
                await self._write(response, b"event: displaced\ndata: {}\n\n")
                return
            if event is None:
                return
            if stream.has_missed:
                stream.has_missed = False
                await self._write(response, b"event: missed\ndata: {}\n\n")
            if event is _HEARTBEAT:
                await self._write(response, b": beat\n\n")
            elif _may_see(event, visitor.operator):
                await self._write(response, event.encode())

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        async with asyncio.timeout(self._config.event_heartbeat_s):
            await response.write(data)

    def _open_count(self) -> int:
        return sum(stream.is_open for stream in self._streams)

    def _make_room(self, visitor: Visitor) -> None:
        """Law 5."""
        own = [
            stream
            for stream in self._streams
            if stream.is_open and stream.visitor.session.id == visitor.session.id
        ]
        for stream in own[: len(own) - self._config.max_event_streams_per_session + 1]:
            stream.is_displaced = True
            _offer(stream, None)

    def _visitor(self, request: web.Request) -> Visitor | None:
        try:
            return self._door.visitor(request, is_activity=False)
        except HoldfastError:
            return None  # nobody knows who is an operator now: nobody is told anything

    def _publish(self, event: _Event) -> None:
        for stream in self._streams:
            _offer(stream, event)


def _offer(stream: _Stream, event: _Event | None) -> None:
    try:
        stream.queue.put_nowait(event)
    except asyncio.QueueFull:
        stream.has_missed = True


def _may_see(event: _Event, caller: Operator) -> bool:
    try:
        return event.may_see(caller)
    except HoldfastError:
        return False


def _may_see_agents(caller: Operator) -> bool:
    return not caller.roles.isdisjoint(AGENT_ROLES)


_HEARTBEAT: Final = _Event("beat", {}, lambda caller: True)
