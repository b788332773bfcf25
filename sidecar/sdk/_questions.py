# SPDX-License-Identifier: Apache-2.0
"""The questions that wait for the gate: batching, deadlines, late and doubled answers.

Knows protobuf messages and futures, no connection. Laws:

1. Every question is settled once: by its answer, its deadline, the loss of the connection that
   carried it, or the end of the guard. Until then somebody waits for its future.
2. Everything that waits leaves in one message (natural batching), up to the contract's count and
   ``MAX_BATCH_BYTES``. A question whose caller is gone does not leave at all.
3. An id is never used twice in the life of a guard, so no answer can meet another connection's
   question. An answer nobody asked for, and a second answer, change nothing.
4. An ALLOW that comes when nobody will act on it any more is handed to ``on_unused``, once.
5. A question that left and was not answered is not asked again: it may have been decided.
6. One timer serves all questions: they have one deadline, so the oldest is always the first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk._wire import unused_id
from sidecar.sdk.values import Decision

__all__ = ["MAX_BATCH", "MAX_BATCH_BYTES", "MAX_WAITING", "Questions"]

Item = guard_pb2.AuthorizeStreamRequest.Item
Answer = types_pb2.Decision | Decision
"""The gate's own answer, or a local denial."""

MAX_BATCH: Final = 1024
MAX_BATCH_BYTES: Final = 256 * 1024
"""A message stays far below gRPC's default limit of 4 MiB, whatever its questions hold."""
MAX_WAITING: Final = 16 * 1024
_MAX_REMEMBERED: Final = 16 * 1024
"""How many ids of questions that were given up on are kept to recognise a late ALLOW."""


class Questions:
    """The questions of one event loop.

    Args:
        loop: Where futures and the timer live.
        deadline_s: How long each question waits.
        on_unused: Takes the decision id of an ALLOW that came too late.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        deadline_s: float,
        on_unused: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._deadline_s = deadline_s
        self._on_unused = on_unused
        self._wanted = asyncio.Event()
        self._next_id = 1
        self._last_sent = 0
        self._pending: dict[int, tuple[float, asyncio.Future[Answer]]] = {}
        self._unsent: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._given_up: dict[int, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.stray_answers = 0
        """Answers to nothing, or a second time; only a broken gate sends them."""

    # -- the caller's side --------------------------------------------------------------------

    def ask(self, item: Item) -> asyncio.Future[Answer]:
        """Take over *item* (without id) and return the future of its answer."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        pending = self._pending
        if self._is_closed:
            future.set_result(local_denial(Cause.CLOSED))
            return future
        if len(pending) >= MAX_WAITING:
            future.set_result(local_denial(Cause.TOO_MANY_WAITING))
            return future
        item.id = id_ = self._next_id
        self._next_id = id_ + 1
        when = self._loop.time() + self._deadline_s
        pending[id_] = (when, future)
        self._unsent.append((item, future))
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._sweep)
        if len(self._unsent) == 1:
            self._wanted.set()
        return future

    def has_left(self, item: Item) -> bool:
        """Return whether *item*, which was asked here, has been taken for sending."""
        return 0 < item.id <= self._last_sent

    def close(self) -> None:
        """Deny whatever waits and whatever comes."""
        self._is_closed = True
        self._unsent.clear()
        self._settle(list(self._pending), Cause.CLOSED)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the connection's side ----------------------------------------------------------------

    async def wanted(self) -> None:
        """Wait until a question wants to leave."""
        await self._wanted.wait()

    def take_batch(self) -> guard_pb2.AuthorizeStreamRequest | None:
        """Return the next message, or None if nothing wants to leave."""
        unsent = self._unsent
        items: list[Item] = []
        size = 0
        while unsent and len(items) < MAX_BATCH:
            item, future = unsent[0]
            if future.done():
                unsent.popleft()
                self._pending.pop(item.id, None)
                continue
            size += item.ByteSize()
            if items and size > MAX_BATCH_BYTES:
                break
            unsent.popleft()
            items.append(item)
        if not unsent:
            self._wanted.clear()
        if not items:
            return None
        self._last_sent = items[-1].id
        return guard_pb2.AuthorizeStreamRequest(items=items)

    def answered(self, message: guard_pb2.AuthorizeStreamResponse) -> None:
        """Hand out the answers in *message*."""
        now = self._loop.time()
        pop = self._pending.pop
        for item in message.items:
            entry = pop(item.id, None)
            if entry is None:
                self._answered_late(item)
                continue
            when, future = entry
            if future.done():
                self._unused(item.decision)
            elif now > when:
                # The loop was busy and the timer comes only now: the deadline holds all the same.
                future.set_result(local_denial(Cause.NO_ANSWER))
                self._unused(item.decision)
            else:
                future.set_result(item.decision)

    def disconnected(self, status: str) -> None:
        """Deny what had left on the connection that is gone; what had not, waits for the next."""
        last_sent = self._last_sent
        sent = []
        for id_ in self._pending:
            if id_ > last_sent:
                break
            sent.append(id_)
        self._settle(sent, Cause.STREAM_LOST, status)
        # No answer can come any more.
        self._given_up.clear()

    # -- within -------------------------------------------------------------------------------

    def _answered_late(self, item: guard_pb2.AuthorizeStreamResponse.Item) -> None:
        if item.id not in self._given_up:
            self.stray_answers += 1
            return
        del self._given_up[item.id]
        self._unused(item.decision)

    def _unused(self, decision: types_pb2.Decision) -> None:
        decision_id = unused_id(decision)
        if decision_id:
            self._on_unused(decision_id)

    def _sweep(self) -> None:
        """Deny what is past its deadline and set the timer for the oldest that is not."""
        self._timer = None
        now = self._loop.time()
        expired: list[int] = []
        for id_, (when, _) in self._pending.items():
            if when > now:
                self._timer = self._loop.call_at(when, self._sweep)
                break
            expired.append(id_)
        last_sent = self._last_sent
        for id_ in expired:
            _, future = self._pending.pop(id_)
            if id_ <= last_sent:
                self._give_up(id_)
            if not future.done():
                cause = Cause.NO_ANSWER if id_ <= last_sent else Cause.NOT_CONNECTED
                future.set_result(local_denial(cause))
        # While the gate is away nobody takes batches, and what expired must not pile up.
        while self._unsent and self._unsent[0][1].done():
            self._unsent.popleft()
        if not self._unsent:
            self._wanted.clear()

    def _give_up(self, id_: int) -> None:
        self._given_up[id_] = None
        if len(self._given_up) > _MAX_REMEMBERED:
            del self._given_up[next(iter(self._given_up))]

    def _settle(self, ids: Iterable[int], cause: Cause, status: str = "") -> None:
        for id_ in ids:
            _, future = self._pending.pop(id_)
            if not future.done():
                future.set_result(local_denial(cause, status=status))
