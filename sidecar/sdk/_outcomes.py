# SPDX-License-Identifier: Apache-2.0
"""The outcomes that wait to be in the gate's log.

Knows protobuf messages and futures, no connection. Laws:

1. Reporting never waits and never fails the tool: outcomes leave in the background, batched.
2. An outcome is kept until the gate confirms or refuses it. One that left on a connection that
   broke is sent again: the gate marks what it had already recorded as ``duplicate``.
3. Memory is bounded: at most ``MAX_KEPT`` wait, and one that was sent ``MAX_SENDS`` times without
   an answer is dropped. What is dropped is counted.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from sidecar.api.v1 import guard_pb2
from sidecar.sdk._wire import confirmation_of
from sidecar.sdk.values import LogConfirmation

__all__ = ["MAX_KEPT", "MAX_SENDS", "Outcomes"]

Item = guard_pb2.LogStreamRequest.Item
Confirmed = asyncio.Future[LogConfirmation | None]
"""None: given up on."""

MAX_KEPT: Final = 8 * 1024
MAX_SENDS: Final = 5
_MAX_BATCH: Final = 256


class _Report:
    __slots__ = ("future", "item", "sends")

    def __init__(self, item: Item, future: Confirmed | None) -> None:
        self.item = item
        self.future = future
        self.sends = 0


class Outcomes:
    """The outcomes of one event loop."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._next_id = 1
        self._unsent: dict[int, _Report] = {}
        self._sent: dict[int, _Report] = {}
        self.dropped = 0
        """Outcomes that the gate will never hear of."""

    # -- the caller's side --------------------------------------------------------------------

    def report(self, outcome: guard_pb2.Outcome) -> bool:
        """Queue *outcome*; return False if there was no room for it."""
        return self._queue(outcome, None)

    def report_and_wait(self, outcome: guard_pb2.Outcome) -> Confirmed | None:
        """Queue *outcome* and return the future of its confirmation; None if there was no room."""
        future: Confirmed = self._loop.create_future()
        return future if self._queue(outcome, future) else None

    async def settled(self) -> None:
        """Wait until the gate has answered every report."""
        await self._settled.wait()

    def _queue(self, outcome: guard_pb2.Outcome, future: Confirmed | None) -> bool:
        if len(self._unsent) + len(self._sent) >= MAX_KEPT:
            self.dropped += 1
            return False
        id_ = self._next_id
        self._next_id = id_ + 1
        self._unsent[id_] = _Report(Item(id=id_, outcome=outcome), future)
        self._settled.clear()
        self._wanted.set()
        return True

    # -- the connection's side ----------------------------------------------------------------

    async def wanted(self) -> None:
        """Wait until a report wants to leave."""
        await self._wanted.wait()

    def take_batch(self) -> guard_pb2.LogStreamRequest | None:
        """Return the next message, or None if nothing wants to leave."""
        items: list[Item] = []
        for id_ in list(islice(self._unsent, _MAX_BATCH)):
            report = self._unsent.pop(id_)
            report.sends += 1
            self._sent[id_] = report
            items.append(report.item)
        if not self._unsent:
            self._wanted.clear()
        return guard_pb2.LogStreamRequest(items=items) if items else None

    def answered(self, message: guard_pb2.LogStreamResponse) -> None:
        """Settle what the gate confirms or refuses in *message*."""
        for item in message.items:
            report = self._sent.pop(item.id, None)
            if report is not None and report.future is not None and not report.future.done():
                report.future.set_result(confirmation_of(item))
        self._note_settled()

    def disconnected(self, status: str) -> None:
        """Queue again, in front, what had left on the connection that is gone."""
        again: dict[int, _Report] = {}
        for id_, report in self._sent.items():
            if report.sends < MAX_SENDS:
                again[id_] = report
            else:
                self._drop(report)
        self._sent.clear()
        self._unsent = again | self._unsent
        if self._unsent:
            self._wanted.set()
        self._note_settled()

    def close(self) -> None:
        """Give up on whatever is not confirmed."""
        for report in (*self._sent.values(), *self._unsent.values()):
            self._drop(report)
        self._sent.clear()
        self._unsent.clear()
        self._wanted.clear()
        self._note_settled()

    def _drop(self, report: _Report) -> None:
        self.dropped += 1
        if report.future is not None and not report.future.done():
            report.future.set_result(None)

    def _note_settled(self) -> None:
        if not self._sent and not self._unsent:
            self._settled.set()
