# SPDX-License-Identifier: Apache-2.0
"""A gate that does as it is told: a real grpc.aio server on a Unix socket, with scripted answers."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import guard_pb2, guard_pb2_grpc, types_pb2

Question = guard_pb2.AuthorizeStreamRequest.Item
Answer = guard_pb2.AuthorizeStreamResponse.Item
Context = grpc.aio.ServicerContext


class ScriptedGate(guard_pb2_grpc.GuardServiceServicer):
    """Answers as ``on_batch`` says; remembers what it was asked and told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batches: list[int] = []
        self.questions: list[Question] = []
        self.outcomes: list[guard_pb2.Outcome] = []
        self.outcome_came = asyncio.Event()
        self.asked = asyncio.Event()
        self.streams = 0
        self.epoch = 1
        self.on_batch: Callable[[ScriptedGate, Any, Context], Awaitable[object]] = (
            ScriptedGate.answer_all
        )
        self.on_watch: Callable[[ScriptedGate, Any, Context], Awaitable[None]] | None = None
        self.refuse_outcomes = False
        self.lose_outcome_streams = 0
        self.waits: list[guard_pb2.WaitApprovalRequest] = []
        self.broken_waits: list[str] = []
        self.withdrawn: list[str] = []
        self.on_wait: Callable[[ScriptedGate, Any, Context], Awaitable[Any]] | None = None
        self._requests: dict[bytes, str] = {}
        self._approvals: dict[str, guard_pb2.WaitApprovalResponse] = {}
        self._approval_changed = asyncio.Event()
        self.containment = guard_pb2.WatchContainmentResponse(epoch=1)
        self._containment_changed = asyncio.Event()
        self._ids = itertools.count(1)
        self._server: Any = None

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    # -- making answers -----------------------------------------------------------------------

    def decision(
        self,
        effect: int = types_pb2.EFFECT_ALLOW,
        code: str = "POLICY_ALLOW",
        text: str = "the script allows it",
        **fields: Any,
    ) -> types_pb2.Decision:
        decision = types_pb2.Decision(
            effect=effect,
            decision_id=f"dec_{next(self._ids):032x}",
            epoch=self.epoch,
            fingerprint="ab" * 32,
            policy_digest="cd" * 32,
            tool_class=types_pb2.TOOL_CLASS_WRITE,
        )
        decision.reasons.add(code=code, text=text)
        decision.valid_until.FromNanoseconds(time.time_ns() + 5_000_000_000)
        for name, value in fields.items():
            setattr(decision, name, value)
        return decision

    def deny(self, code: str, text: str = "the script denies it") -> types_pb2.Decision:
        return self.decision(types_pb2.EFFECT_DENY, code, text)

    async def answer_all(self, message: Any, context: Context) -> None:
        """Allow everything at once."""
        await context.write(
            guard_pb2.AuthorizeStreamResponse(
                items=[Answer(id=item.id, decision=self.decision()) for item in message.items]
            )
        )

    def answers(self, make: Callable[[Question], types_pb2.Decision]) -> None:
        """Answer everything at once with what *make* returns."""

        async def on_batch(gate: ScriptedGate, message: Any, context: Context) -> None:
            await context.write(
                guard_pb2.AuthorizeStreamResponse(
                    items=[Answer(id=item.id, decision=make(item)) for item in message.items]
                )
            )

        self.on_batch = on_batch

    def held(self, name: str = "approvals/apr_1", text: str = "ask first") -> types_pb2.Decision:
        """Return a HOLD that waits for *name*."""
        decision = self.decision(types_pb2.EFFECT_HOLD, "POLICY_HOLD", text)
        waits = decision.obligations
        waits.approval, waits.hold_tier, waits.hold_quorum = name, "HIGH", 1
        waits.hold_reason, waits.hold_url = text, "https://control.example/a/1"
        waits.hold_approvers.extend(["alice", "bob"])
        waits.hold_expire_time.FromNanoseconds(time.time_ns() + 3_600_000_000_000)
        return decision

    def holds(self, tool: str = "pay") -> None:
        """Hold every call of *tool* until the identical one is granted; allow it once then."""

        def make(question: Question) -> types_pb2.Decision:
            if question.request.tool_call.tool != tool:
                return self.decision()
            key = question.request.tool_call.SerializeToString(deterministic=True)
            name = self._requests.get(key, "")
            state = self._approvals[name].state if name else ""
            if state == "GRANTED":
                self.decides(name, "CONSUMED")
                decision = self.decision(code="APPROVAL_GRANTED")
                decision.obligations.approval = name
                return decision
            if state != "PENDING":
                name = self._requests[key] = f"approvals/apr_{len(self._approvals) + 1}"
                self.decides(name, "PENDING")
            return self.held(name)

        self.answers(make)

    def decides(self, name: str, state: str, text: str = "", code: str = "") -> None:
        """Let *name* stand so from now on, and tell whoever waits."""
        response = self._approvals[name] = guard_pb2.WaitApprovalResponse(state=state)
        if text or code:
            response.reason.code, response.reason.text = code or f"APPROVAL_{state}", text
        changed, self._approval_changed = self._approval_changed, asyncio.Event()
        changed.set()

    def hangs(self) -> None:
        """Answer nothing, ever."""

        async def on_batch(gate: ScriptedGate, message: Any, context: Context) -> None:
            return

        self.on_batch = on_batch

    def aborts(self, code: grpc.StatusCode) -> None:
        """End the stream with *code* instead of answering."""

        async def on_batch(gate: ScriptedGate, message: Any, context: Context) -> None:
            await context.abort(code, "the script ends the stream")

        self.on_batch = on_batch

    def contain(self, level: int, *, epoch: int, cancel: bool, code: str = "KILLED") -> None:
        """Tell every watcher how the agent is held from now on."""
        self.epoch = max(self.epoch, epoch)
        self.containment = guard_pb2.WatchContainmentResponse(
            epoch=epoch, level=level, cancel_in_flight=cancel
        )
        if level:
            self.containment.reason.code = code
        changed, self._containment_changed = self._containment_changed, asyncio.Event()
        changed.set()

    # -- the service --------------------------------------------------------------------------

    async def AuthorizeStream(self, _: Any, context: Context) -> None:
        self.streams += 1
        while True:
            message = await context.read()
            if message is grpc.aio.EOF:
                return
            self.batches.append(len(message.items))
            self.questions.extend(message.items)
            self.asked.set()
            if await self.on_batch(self, message, context):
                return

    async def LogStream(self, _: Any, context: Context) -> None:
        while True:
            message = await context.read()
            if message is grpc.aio.EOF:
                return
            if self.lose_outcome_streams:
                self.lose_outcome_streams -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the script loses the stream")
            response = guard_pb2.LogStreamResponse()
            for item in message.items:
                confirmation = response.items.add(id=item.id)
                if self.refuse_outcomes:
                    confirmation.refusal.code = "RATE_LIMITED"
                    continue
                self.outcomes.append(item.outcome)
                confirmation.log_index = len(self.outcomes)
            self.outcome_came.set()
            await context.write(response)

    async def WatchContainment(self, request: Any, context: Context) -> None:
        if self.on_watch is not None:
            await self.on_watch(self, request, context)
            return
        while True:
            changed = self._containment_changed
            await context.write(self.containment)
            await changed.wait()

    async def WaitApproval(self, request: Any, context: Context) -> Any:
        self.waits.append(request)
        if self.on_wait is not None:
            return await self.on_wait(self, request, context)
        pending = guard_pb2.WaitApprovalResponse(state="PENDING")
        try:
            async with asyncio.timeout(request.timeout.ToNanoseconds() / 1e9):
                while True:
                    changed = self._approval_changed
                    status = self._approvals.get(request.approval, pending)
                    if status.state != "PENDING":
                        return status
                    await changed.wait()
        except TimeoutError:
            return pending
        except asyncio.CancelledError:
            self.broken_waits.append(request.approval)
            raise

    async def CancelApproval(self, request: Any, context: Context) -> Any:
        self.withdrawn.append(request.approval)
        self.decides(request.approval, "CANCELLED", "withdrawn by the agent")
        return guard_pb2.CancelApprovalResponse(state="CANCELLED")

    # -- its life -----------------------------------------------------------------------------

    async def start(self) -> None:
        self._server = grpc.aio.server()
        guard_pb2_grpc.add_GuardServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
        self.path.unlink(missing_ok=True)

    @staticmethod
    async def until(condition: Callable[[], object]) -> None:
        """Wait for *condition*, which nothing announces."""
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)

    async def outcomes_become(self, count: int) -> list[guard_pb2.Outcome]:
        """Wait until *count* outcomes have come, and return them."""
        async with asyncio.timeout(5):
            while len(self.outcomes) < count:
                self.outcome_came.clear()
                await self.outcome_came.wait()
        return self.outcomes


class ThreadedGate:
    """A ``ScriptedGate`` in a thread and event loop of its own, for blocking clients."""

    def __init__(self, path: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.gate: ScriptedGate = self.run(self._made(path))

    async def _made(self, path: Path) -> ScriptedGate:
        gate = ScriptedGate(path)
        await gate.start()
        return gate

    async def _ended(self) -> None:
        await self.gate.stop()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def run(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(10)

    def call(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        async def work() -> None:
            function(*args, **kwargs)

        self.run(work())

    def close(self) -> None:
        self.run(self._ended())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A short path: a Unix socket's is limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/tmp") as directory:
        yield Path(directory) / "guard.sock"


@pytest.fixture
async def gate(socket_path: Path) -> AsyncIterator[ScriptedGate]:
    """A running scripted gate in the test's own event loop."""
    gate = ScriptedGate(socket_path)
    await gate.start()
    yield gate
    await gate.stop()


@pytest.fixture
async def stopped_gate(socket_path: Path) -> AsyncIterator[ScriptedGate]:
    """A scripted gate that the test starts by itself."""
    gate = ScriptedGate(socket_path)
    yield gate
    await gate.stop()


@pytest.fixture
def threaded_gate(socket_path: Path) -> Iterator[ThreadedGate]:
    """A running scripted gate in a thread."""
    gate = ThreadedGate(socket_path)
    yield gate
    gate.close()
