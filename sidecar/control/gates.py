# SPDX-License-Identifier: Apache-2.0
"""The gates of this host: who is connected, what they enforce, what they have seen.

A gate is told three things (revocations, the bundle, that there is a newer epoch) and asked one (to
decide its agent's last calls again). It asks one: what of a call that a human must decide
(``holds``). What it says is its own word about its own agents; it is never taken for another gate's.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
import structlog

from sidecar.clock import Clock
from sidecar.containment.acks import AckTracker
from sidecar.containment.process_group import ProcessGroupDriver
from sidecar.errors import EnvironmentFailure, ErrorReason, UntrustedInputError
from sidecar.identifiers import check_agent_id, check_gate_id
from sidecar.internal.v1 import sync_pb2, sync_pb2_grpc

__all__ = ["GateConnection", "GateRegistry", "Holds", "Snapshot", "SyncServicer"]

_RULES_PER_MESSAGE: Final = 5000
_QUEUE: Final = 4096
_MAX_HOLDS: Final = 1024
"""Questions about held calls of one gate that wait for an answer; more is an overload."""
_REPLAY_DEADLINE_S: Final = 10.0
log = structlog.get_logger("holdfast.control")


@dataclass(slots=True, eq=False)
class GateConnection:
    """One connected gate."""

    gate: str
    agents: tuple[str, ...]
    audit_directory: Path
    verifier_key: str
    outgoing: asyncio.Queue[sync_pb2.SyncResponse] = field(
        default_factory=lambda: asyncio.Queue(maxsize=_QUEUE)
    )
    inventory: tuple[sync_pb2.SyncRequest.Inventory.Seen, ...] = ()
    replays: dict[int, asyncio.Future[sync_pb2.SyncRequest.Replayed]] = field(default_factory=dict)
    asking: set[asyncio.Task[None]] = field(default_factory=set)
    handler: asyncio.Task[None] | None = None

    def send(self, message: sync_pb2.SyncResponse) -> None:
        """Queue *message*; a gate that does not read is cut off, and asks for everything anew."""
        try:
            self.outgoing.put_nowait(message)
        except asyncio.QueueFull:
            log.warning("gate does not read: its stream is ended", gate=self.gate)
            if self.handler is not None:
                self.handler.cancel()


class GateRegistry:
    """Gates by id; one connection for each."""

    def __init__(self, *, acks: AckTracker) -> None:
        self._acks = acks
        self._gates: dict[str, GateConnection] = {}
        self._known: dict[str, GateConnection] = {}
        self._served: dict[str, set[str]] = {}
        self._next_replay = 0

    def connected(self) -> list[GateConnection]:
        """Return the gates that are connected now."""
        return list(self._gates.values())

    def is_connected(self, gate: str) -> bool:
        """Return whether a gate of this id is connected now."""
        return gate in self._gates

    def known(self, gate: str) -> GateConnection | None:
        """Return a gate that is or was connected since control started."""
        return self._known.get(gate)

    def names(self) -> set[str]:
        """Return the id of every gate that is or was connected since control started."""
        return set(self._known)

    def of_agent(self, agent: str) -> list[GateConnection]:
        """Return the connected gates that serve *agent*."""
        return [gate for gate in self._gates.values() if agent in gate.agents]

    def serving(self, agent: str) -> set[str]:
        """Return the id of every gate that serves *agent*, or served it since control started."""
        return {gate for gate, agents in self._served.items() if agent in agents}

    def agents(self) -> set[str]:
        """Return every agent that a gate serves or served."""
        return {agent for gate in self._known.values() for agent in gate.agents}

    def add(self, gate: GateConnection) -> None:
        """Take *gate* in."""
        self._gates[gate.gate] = self._known[gate.gate] = gate
        self._served.setdefault(gate.gate, set()).update(gate.agents)
        self._acks.connect(gate.gate, agents=gate.agents)

    def remove(self, gate: GateConnection) -> None:
        """Note that *gate* is gone."""
        if self._gates.get(gate.gate) is gate:
            del self._gates[gate.gate]
            self._acks.disconnect(gate.gate)
        for future in gate.replays.values():
            future.cancel()

    def tell_approval(self, changed: sync_pb2.SyncResponse.ApprovalChanged) -> None:
        """Tell the gates of an agent how one of its approvals stands now."""
        for gate in self.of_agent(changed.agent):
            gate.send(sync_pb2.SyncResponse(approval_changed=changed))

    def nudge(self, epoch: int) -> None:
        """Tell every gate to look at the latch now."""
        message = sync_pb2.SyncResponse(nudge=sync_pb2.SyncResponse.Nudge(epoch=epoch))
        for gate in self._gates.values():
            gate.send(message)

    def send_bundle(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Send the bundle to every gate."""
        bundle = sync_pb2.SyncResponse.Bundle(digest=digest, files=files)
        for gate in self._gates.values():
            gate.send(sync_pb2.SyncResponse(bundle=bundle))

    async def settle(self, *, timeout_s: float) -> None:
        """Wait until every gate has taken what was sent to it, or the time is over.

        A gate takes messages in their order, so its answer to an empty replay says that it has taken
        everything before it: a bundle, say, which it must build first.
        """
        if not self._gates:
            return
        asked = [asyncio.create_task(self.replay(gate, "", 0)) for gate in self._gates.values()]
        _, late = await asyncio.wait(asked, timeout=timeout_s)
        for task in late:
            task.cancel()
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                log.warning("a gate is slow to take what it was sent", problem=str(outcome))

    async def replay(
        self, gate: GateConnection, agent: str, max_calls: int
    ) -> sync_pb2.SyncRequest.Replayed:
        """Ask *gate* to decide the last calls of *agent* again.

        Raises:
            EnvironmentFailure: The gate did not answer in time.
        """
        self._next_replay += 1
        id_ = self._next_replay
        future = asyncio.get_running_loop().create_future()
        gate.replays[id_] = future
        gate.send(
            sync_pb2.SyncResponse(
                replay=sync_pb2.SyncResponse.Replay(id=id_, agent=agent, max_calls=max_calls)
            )
        )
        try:
            async with asyncio.timeout(_REPLAY_DEADLINE_S):
                replayed: sync_pb2.SyncRequest.Replayed = await future
                return replayed
        except (TimeoutError, asyncio.CancelledError) as exc:
            task = asyncio.current_task()
            if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            raise EnvironmentFailure(
                f"gate {gate.gate} did not replay the calls of {agent}",
                reason=ErrorReason.DEADLINE,
                hint="look at the gate's log; a gate that is gone denies by itself",
            ) from exc
        finally:
            gate.replays.pop(id_, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a gate needs before it may decide anything."""

    epoch: int
    rules: Iterable[bytes]
    digest: str
    files: Mapping[str, bytes]


class Holds(Protocol):
    """Answers what gates ask about held calls (``control.holds``)."""

    async def hold(
        self, agents: Collection[str], question: sync_pb2.SyncRequest.Hold
    ) -> sync_pb2.SyncResponse.Held:
        """Use a grant, or open a request, for one of *agents*, which are those of the gate."""

    async def status(self, agent: str, approval: str) -> sync_pb2.SyncResponse.ApprovalChanged:
        """Return how an approval of *agent* stands."""

    async def abandon(
        self, agent: str, approval: str, *, is_asked: bool
    ) -> sync_pb2.SyncResponse.ApprovalChanged:
        """Withdraw an approval of *agent*."""


class SyncServicer(sync_pb2_grpc.SyncServiceServicer):
    """Control's end of the internal stream."""

    def __init__(
        self,
        *,
        registry: GateRegistry,
        acks: AckTracker,
        runtimes: ProcessGroupDriver,
        snapshot: Callable[[], Awaitable[Snapshot]],
        registered: Callable[[str], Awaitable[None]],
        holds: Holds,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._acks = acks
        self._runtimes = runtimes
        self._snapshot = snapshot
        self._registered = registered
        self._holds = holds
        self._clock = clock

    async def Sync(  # noqa: N802 - the name is the proto's
        self,
        request_iterator: AsyncIterator[sync_pb2.SyncRequest],
        context: grpc.aio.ServicerContext,
    ) -> None:
        """Serve one gate for as long as its stream lives."""
        first = await context.read()
        if first is grpc.aio.EOF or first.WhichOneof("kind") != "hello":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be hello")
        hello = first.hello
        try:
            check_gate_id(hello.gate)
            for name in hello.agents:
                check_agent_id(name)
        except UntrustedInputError as exc:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, exc.message)
        if self._registry.is_connected(hello.gate):
            # Two processes under one name: the one that is here stays; a receipt must not lie.
            await context.abort(
                grpc.StatusCode.ALREADY_EXISTS, f"a gate {hello.gate} is connected already"
            )
        gate = GateConnection(
            hello.gate, tuple(hello.agents), Path(hello.audit_directory), hello.verifier_key
        )
        gate.handler = asyncio.current_task()
        # Registered before the snapshot is taken: an event in between is sent twice, never lost.
        self._registry.add(gate)
        log.info("gate connected", gate=gate.gate, agents=list(gate.agents))
        writer = asyncio.create_task(self._write(gate, context))
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                self._take(gate, message)
        finally:
            writer.cancel()
            for task in gate.asking:
                task.cancel()
            self._registry.remove(gate)
            log.info("gate disconnected", gate=gate.gate)

    async def _write(self, gate: GateConnection, context: grpc.aio.ServicerContext) -> None:
        snapshot = await self._snapshot()
        rules = list(snapshot.rules)
        for start in range(0, max(len(rules), 1), _RULES_PER_MESSAGE):
            part = rules[start : start + _RULES_PER_MESSAGE]
            is_last = start + _RULES_PER_MESSAGE >= len(rules)
            await context.write(
                sync_pb2.SyncResponse(
                    revocations=sync_pb2.SyncResponse.Revocations(rules=part, complete=is_last)
                )
            )
        await context.write(
            sync_pb2.SyncResponse(
                bundle=sync_pb2.SyncResponse.Bundle(digest=snapshot.digest, files=snapshot.files)
            )
        )
        await context.write(
            sync_pb2.SyncResponse(nudge=sync_pb2.SyncResponse.Nudge(epoch=snapshot.epoch))
        )
        while True:
            await context.write(await gate.outgoing.get())

    def _take(self, gate: GateConnection, message: sync_pb2.SyncRequest) -> None:
        match message.WhichOneof("kind"):
            case "ack":
                own = {
                    agent: time_ns
                    for agent, time_ns in message.ack.last_allow_time_ns.items()
                    if agent in gate.agents
                }
                self._acks.acknowledge(
                    gate.gate,
                    epoch=message.ack.epoch,
                    last_allow_ns=own,
                    wall_ns=self._clock.wall_ns(),
                )
            case "inventory":
                gate.inventory = tuple(
                    seen for seen in message.inventory.seen if seen.agent in gate.agents
                )
            case "replayed":
                future = gate.replays.get(message.replayed.id)
                if future is not None and not future.done():
                    future.set_result(message.replayed)
            case "hold":
                self._start(gate, self._hold(gate, message.hold))
            case "ask_approval":
                self._start(gate, self._tell(gate, message.ask_approval))
            case "abandon":
                self._start(gate, self._abandon(gate, message.abandon))

    def _start(self, gate: GateConnection, work: Coroutine[Any, Any, None]) -> None:
        """Do *work* beside the stream; beyond the bound it is not done, and the gate denies."""
        if len(gate.asking) >= _MAX_HOLDS:
            work.close()
            log.warning("a gate asks about too many held calls at once", gate=gate.gate)
            return
        task = asyncio.create_task(work)
        gate.asking.add(task)
        task.add_done_callback(gate.asking.discard)

    async def _hold(self, gate: GateConnection, question: sync_pb2.SyncRequest.Hold) -> None:
        held = await self._holds.hold(gate.agents, question)
        gate.send(sync_pb2.SyncResponse(held=held))

    async def _tell(self, gate: GateConnection, question: sync_pb2.SyncRequest.AskApproval) -> None:
        if question.agent in gate.agents:
            changed = await self._holds.status(question.agent, question.approval)
            gate.send(sync_pb2.SyncResponse(approval_changed=changed))

    async def _abandon(self, gate: GateConnection, order: sync_pb2.SyncRequest.Abandon) -> None:
        if order.agent in gate.agents:
            changed = await self._holds.abandon(order.agent, order.approval, is_asked=order.asked)
            gate.send(sync_pb2.SyncResponse(approval_changed=changed))

    async def RegisterRuntime(  # noqa: N802 - the name is the proto's
        self, request: sync_pb2.RegisterRuntimeRequest, context: grpc.aio.ServicerContext
    ) -> sync_pb2.RegisterRuntimeResponse:
        """Register the process group of an agent's runtime."""
        try:
            check_agent_id(request.agent)
            self._runtimes.register(
                agent=request.agent,
                process_group=request.process_group,
                leader=request.leader,
                leader_start_time=request.leader_start_time,
            )
        except UntrustedInputError as exc:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, exc.message)
        await self._registered(request.agent)
        return sync_pb2.RegisterRuntimeResponse()
