# SPDX-License-Identifier: Apache-2.0
"""One guard's connection: a channel, its streams, the watch and the waits, in one event loop.

The only module that imports grpc together with ``_streams``; ``guard`` imports it at first use.
Laws:

1. One channel. Its options belong to it alone: nothing process-wide is set in the agent's process.
2. Every background task is owned here and ends with ``aclose``.
3. A link is used only in the process and the event loop that made it.
4. What is asked again after a human granted it has a stream and a deadline of its own: an answer that
   came too late would waste the grant, and nobody else has to wait behind it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import Any, Final

import grpc

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.api.v1.guard_pb2_grpc import GuardServiceStub
from sidecar.sdk import _fork
from sidecar.sdk._approvals import Approvals
from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._holds import AGAIN_S
from sidecar.sdk._local import local_denial
from sidecar.sdk._outcomes import Outcomes
from sidecar.sdk._questions import Answer, Item, Questions
from sidecar.sdk._settings import Settings
from sidecar.sdk._streams import Backoff, Stream, is_cancelled
from sidecar.sdk._wire import containment_of, decision_of, outcome_message, question_of, unused_id
from sidecar.sdk.values import Decision, Effect, LogConfirmation, Result

__all__ = ["CHANNEL_OPTIONS", "Link"]

log = logging.getLogger("sidecar.sdk")

CHANNEL_OPTIONS: Final = (
    # We ask again ourselves, or deny; a retry below us would be a second decision.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_http_proxy", 0),
    # No connection shared with whatever else this process does over gRPC.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    ("grpc.max_send_message_length", 4 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # The kernel tells at once when the gate dies. Pinging is for a machine that was suspended, and
    # more often than every five minutes is taken for an attack by a server with default settings.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
)


class Link:
    """The connection of one guard.

    Args:
        settings: Where the gate is.
        state: Told what the watch says.
    """

    def __init__(self, *, settings: Settings, state: ContainmentState) -> None:
        self.loop = asyncio.get_running_loop()
        self.state = state
        state.rebind()
        self.outcomes = Outcomes(loop=self.loop)
        self.questions = Questions(
            loop=self.loop,
            deadline_s=settings.deadline.total_seconds(),
            on_unused=self.note_unused,
        )
        self._patient_questions = Questions(
            loop=self.loop,
            deadline_s=max(AGAIN_S, settings.deadline.total_seconds()),
            on_unused=self.note_unused,
        )
        self.ask = self.questions.ask
        self.question_of = question_of
        self._session = settings.session
        self._is_ready = asyncio.Event()
        _fork.note_connected()
        _fork.watch_over(self)
        self._channel = grpc.aio.insecure_channel(settings.address, options=CHANNEL_OPTIONS)
        # The generated stub is untyped.
        self._stub: Any = GuardServiceStub(self._channel)
        ask: Stream[Any, Any] = Stream(
            name="authorize", method=self._stub.AuthorizeStream, book=self.questions
        )
        again: Stream[Any, Any] = Stream(
            name="authorize-again", method=self._stub.AuthorizeStream, book=self._patient_questions
        )
        tell: Stream[Any, Any] = Stream(name="log", method=self._stub.LogStream, book=self.outcomes)
        self._tasks = [
            self.loop.create_task(work, name=f"holdfast-{name}")
            for name, work in (
                ("authorize", ask.run()),
                ("authorize-again", again.run()),
                ("log", tell.run()),
                ("watch", self._watch()),
            )
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        self.approvals = Approvals(
            loop=self.loop,
            stub=self._stub,
            state=state,
            is_ending=lambda: any(task.done() or task.cancelling() for task in self._tasks),
        )

    async def ask_for_waiter(self, question: Item, *, is_again: bool) -> Answer:
        """Ask for a caller who will wait for a human, or has: *is_again*.

        If it is cancelled meanwhile, an ALLOW is reported as not used, and a HOLD is withdrawn.
        """
        book = self._patient_questions if is_again else self.questions
        future = book.ask(question)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if future.done() or book.has_left(question):
                future.add_done_callback(lambda done: self._give_up(done.result()))
            else:
                future.cancel()
            raise

    def conclude(self, answer: Answer, own_session: bool) -> Decision:
        """Return the decision that *answer* amounts to at this moment."""
        if isinstance(answer, Decision):
            return answer
        decision = decision_of(answer, now_ns=time.time_ns())
        if decision.effect is Effect.ALLOW and not self.state.is_killed:
            return decision
        if not self.state.decided(decision, own_session=own_session):
            decision = local_denial(self.state.cause)
        if decision.is_local:
            self.discard(answer)
        return decision

    def discard(self, answer: Answer) -> None:
        """Report *answer*, if it is an ALLOW, as not used."""
        if not isinstance(answer, Decision):
            decision_id = unused_id(answer)
            if decision_id:
                self.note_unused(decision_id)

    def _give_up(self, answer: Answer) -> None:
        self.discard(answer)
        if not isinstance(answer, Decision) and answer.effect == types_pb2.EFFECT_HOLD:
            self.approvals.give_up(answer.obligations.approval)

    def report(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
    ) -> None:
        """Queue an outcome; it leaves in the background."""
        message = outcome_message(
            decision_id, result, detail=detail, duration=duration, response_digest=response_digest
        )
        if not self.outcomes.report(message) and self.outcomes.dropped == 1:
            log.warning("outcomes are dropped: the gate takes none")

    async def confirm(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str,
        duration: timedelta | None,
        response_digest: str,
        timeout_s: float,
    ) -> LogConfirmation | None:
        """Report an outcome and return the gate's confirmation; None if it gave none in time."""
        message = outcome_message(
            decision_id, result, detail=detail, duration=duration, response_digest=response_digest
        )
        future = self.outcomes.report_and_wait(message)
        if future is None:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                # The report stays queued when the wait is over.
                return await asyncio.shield(future)
        except TimeoutError:
            return None

    def note_unused(self, decision_id: str) -> None:
        """Report that an ALLOW came too late to be used."""
        self.report(decision_id, Result.CANCELLED, detail="answered too late")

    async def ready(self) -> None:
        """Wait until the gate has told how the agent is held, and so is there."""
        await self._is_ready.wait()

    async def aclose(self, *, flush_s: float) -> None:
        """Deny what waits, give outcomes *flush_s* seconds to leave, and hang up."""
        self._deny_all()
        try:
            async with asyncio.timeout(flush_s):
                await self.approvals.settled()
                await self.outcomes.settled()
        except TimeoutError:
            log.warning("closed before the gate confirmed every outcome")
        finally:
            ending = self.abandon()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._channel.close(None)

    def abandon(self) -> list[asyncio.Task[Any]]:
        """Stop everything without waiting; return the tasks that are ending."""
        self._deny_all()
        self.outcomes.close()
        for task in self._tasks:
            task.cancel()
        return [*self._tasks, *self.approvals.abandon()]

    def _deny_all(self) -> None:
        self.questions.close()
        self._patient_questions.close()
        self.approvals.close()

    def bury(self) -> object:
        """Stay as it is, for ever, in a forked child: even being freed would touch the parent's."""
        return self

    async def _watch(self) -> None:
        """Follow the containment of the agent, for as long as the guard lives."""
        backoff = Backoff(first_s=0.05, most_s=2.0)
        request = guard_pb2.WatchContainmentRequest(session_id=self._session)
        while True:
            call = self._stub.WatchContainment(request)
            try:
                while True:
                    message = await call.read()
                    if message is grpc.aio.EOF or message is None:
                        break
                    backoff.reset()
                    self.state.told(containment_of(message))
                    self._is_ready.set()
            except grpc.aio.AioRpcError as error:
                log.debug("watch ended: %s", error.code().name)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
            finally:
                self._is_ready.clear()
                call.cancel()
            await asyncio.sleep(backoff.next_pause_s())

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A background task never ends by itself; when one has ended, everything is denied."""
        self._deny_all()
        if not task.cancelled():
            log.error("the guard failed and denies from now on", exc_info=task.exception())
