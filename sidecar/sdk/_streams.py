# SPDX-License-Identifier: Apache-2.0
"""Keeps one long-lived stream to the gate while something wants to travel on it.

Laws:

1. Connecting is lazy: without something to send there is no connection attempt.
2. Between two attempts lies a pause that doubles, is jittered and bounded; an answer resets it.
3. Nothing is taken for sending before the connection stands, so what waits keeps waiting.
4. However a connection ends, its book hears of it before the next one begins.
5. Only the cancellation of its task ends a stream for good.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import grpc

__all__ = ["Backoff", "Book", "Stream", "is_cancelled"]

log = logging.getLogger("sidecar.sdk")

Sent = TypeVar("Sent")
Received = TypeVar("Received")
Taken = TypeVar("Taken", covariant=True)
Given = TypeVar("Given", contravariant=True)


class Book(Protocol[Taken, Given]):
    """What travels on a stream."""

    async def wanted(self) -> None:
        """Wait until something wants to leave."""

    def take_batch(self) -> Taken | None:
        """Return the next message, or None if nothing wants to leave."""

    def answered(self, message: Given, /) -> None:
        """Take the gate's next message."""

    def disconnected(self, status: str) -> None:
        """Hear that no answer will come to what had left."""


class Backoff:
    """How long to wait before the next attempt.

    Args:
        first_s: The shortest pause.
        most_s: The longest.
    """

    def __init__(self, *, first_s: float = 0.02, most_s: float = 1.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def reset(self) -> None:
        """Note that an attempt succeeded."""
        self._failures = 0

    def next_pause_s(self) -> float:
        """Note a failure and return how long to wait now."""
        pause = min(self._most_s, self._first_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        # Jitter spreads the agents of one host; it guards no secret.
        return pause * random.uniform(0.5, 1.0)  # noqa: S311


def is_cancelled() -> bool:
    """Return whether this task was told to end.

    grpc raises ``CancelledError`` also where a *call* was cancelled, by us or by the gate. Taken for
    the task's own, it would silently end the task, and with it every later decision.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class Stream(Generic[Sent, Received]):
    """One bidirectional method and what travels on it."""

    def __init__(
        self,
        *,
        name: str,
        method: Callable[[], grpc.aio.StreamStreamCall[Sent, Received]],
        book: Book[Sent, Received],
        backoff: Backoff | None = None,
    ) -> None:
        self._name = name
        self._method = method
        self._book = book
        self._backoff = backoff or Backoff()
        self._was_lost = False

    async def run(self) -> None:
        """Carry what the book holds, until cancelled."""
        while True:
            await self._book.wanted()
            status = await self._connection()
            if not self._was_lost:
                self._was_lost = True
                log.warning("no stream to the gate: %s %s", self._name, status)
            await asyncio.sleep(self._backoff.next_pause_s())

    async def _connection(self) -> str:
        """Use one connection until it ends; return the name of the status it ended with."""
        call = self._method()
        status = "CANCELLED"
        writer: asyncio.Task[None] | None = None
        try:
            await call.wait_for_connection()
            writer = asyncio.create_task(self._write(call), name=f"holdfast-{self._name}-write")
            status = await self._read(call)
        except grpc.aio.AioRpcError as error:
            status = error.code().name
        except asyncio.CancelledError:
            if is_cancelled():
                raise
        finally:
            if writer is not None:
                writer.cancel()
            call.cancel()
            self._book.disconnected(status)
        return status

    async def _read(self, call: grpc.aio.StreamStreamCall[Sent, Received]) -> str:
        while True:
            message: Any = await call.read()
            if message is grpc.aio.EOF:
                return "OK"
            if message is None:
                # grpc's way to say that the bytes were no such message.
                return "DATA_LOSS"
            self._backoff.reset()
            if self._was_lost:
                self._was_lost = False
                log.info("stream to the gate is back: %s", self._name)
            self._book.answered(message)

    async def _write(self, call: grpc.aio.StreamStreamCall[Sent, Received]) -> None:
        book = self._book
        try:
            while True:
                await book.wanted()
                message = book.take_batch()
                if message is not None:
                    await call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            # The reader hears the reason; this only makes sure that it hears at once.
            call.cancel()
