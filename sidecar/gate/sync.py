# SPDX-License-Identifier: Apache-2.0
"""Keeps a gate in step with its control, over the internal socket.

Control sends the revocations, the bundle and nudges; the gate sends acknowledgements, what it has
seen, the verdicts of a replay, and the calls that a human must decide (``approvals``). The stream is
a convenience for speed and proof: a kill reaches the gate through the latch even if this stream is
down, and without control's heartbeat the gate denies by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import grpc
import structlog

from sidecar.authorize.record import RecentCall, Recorder
from sidecar.authorize.world import PolicyInForce
from sidecar.errors import HoldfastError
from sidecar.gate.approvals import ApprovalDesk
from sidecar.gate.convert import decision_message, effect_message
from sidecar.gate.state import GateState
from sidecar.internal.v1 import sync_pb2, sync_pb2_grpc
from sidecar.model import AgentId, Decision
from sidecar.tokens.revocations import RevocationRule

__all__ = ["GateIdentity", "SyncClient"]

_RETRY_S: Final = (0.02, 0.05, 0.1, 0.2)
_INVENTORY_EVERY_S: Final = 1.0
_MAX_MESSAGE: Final = 64 * 1024 * 1024
log = structlog.get_logger("holdfast.gate")

BuildPolicy = Callable[[dict[str, bytes]], Awaitable[PolicyInForce]]
Replay = Callable[[AgentId, int], Awaitable[Sequence[tuple[RecentCall, Decision]]]]
GateIdentity = sync_pb2.SyncRequest.Hello


class SyncClient:
    """The gate's end of the internal stream."""

    def __init__(
        self,
        *,
        address: str,
        identity: GateIdentity,
        state: GateState,
        recorder: Recorder,
        build_policy: BuildPolicy,
        decode_rule: Callable[[bytes], RevocationRule],
        replay: Replay,
        approvals: ApprovalDesk,
    ) -> None:
        self._address = address
        self._identity = identity
        self._state = state
        self._recorder = recorder
        self._build_policy = build_policy
        self._decode_rule = decode_rule
        self._replay = replay
        self._approvals = approvals
        self._outgoing: asyncio.Queue[sync_pb2.SyncRequest] = asyncio.Queue(maxsize=1024)
        self._acked_epoch = -1
        self._is_connected = False

    @property
    def is_connected(self) -> bool:
        """Whether the stream to control is up."""
        return self._is_connected

    def acknowledge(self, epoch: int) -> None:
        """Tell control that this gate enforces *epoch* (once per epoch and connection)."""
        if not self._is_connected or epoch == self._acked_epoch:
            return
        self._acked_epoch = epoch
        ack = sync_pb2.SyncRequest.Ack(
            epoch=epoch, last_allow_time_ns=self._recorder.last_allow_time_ns
        )
        self._put(sync_pb2.SyncRequest(ack=ack))

    async def run(self) -> None:
        """Stay connected for as long as the gate lives; never returns but by cancellation."""
        failures = 0
        while True:
            try:
                await self._converse()
            except* grpc.aio.AioRpcError as errors:
                if self._is_connected:
                    log.warning("control is gone", status=_first_status(errors))
            except* HoldfastError as errors:
                log.error("control sent what cannot be used", problem=str(errors.exceptions[0]))
            if self._is_connected:
                failures = 0
            self._is_connected = False
            self._approvals.disconnected()
            await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
            failures += 1

    async def _converse(self) -> None:
        options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE),
            ("grpc.enable_retries", 0),
        ]
        async with grpc.aio.insecure_channel(self._address, options=options) as channel:
            stub = sync_pb2_grpc.SyncServiceStub(channel)
            call = stub.Sync()
            await call.write(sync_pb2.SyncRequest(hello=self._identity))
            self._outgoing = asyncio.Queue(maxsize=1024)
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(call))
                inventory = tasks.create_task(self._tell_inventory())
                try:
                    await self._read(call, tasks)
                finally:
                    writer.cancel()
                    inventory.cancel()

    async def _read(
        self,
        call: grpc.aio.StreamStreamCall[sync_pb2.SyncRequest, sync_pb2.SyncResponse],
        tasks: asyncio.TaskGroup,
    ) -> None:
        rules: list[RevocationRule] = []
        while True:
            message = await call.read()
            if message is grpc.aio.EOF:
                return
            if not self._is_connected:
                self._is_connected, self._acked_epoch = True, -1
                self._approvals.connected(self._put)
            match message.WhichOneof("kind"):
                case "revocations":
                    rules.extend(map(self._decode_rule, message.revocations.rules))
                    if message.revocations.complete:
                        self._state.take_revocations(rules)
                        rules = []
                case "bundle":
                    await self._take_bundle(message.bundle)
                case "nudge":
                    self.acknowledge(self._state.current().epoch)
                case "replay":
                    tasks.create_task(self._answer_replay(message.replay))
                case "held":
                    self._approvals.take_held(message.held)
                case "approval_changed":
                    self._approvals.take_change(message.approval_changed)

    async def _take_bundle(self, bundle: sync_pb2.SyncResponse.Bundle) -> None:
        policy = self._state.policy(bundle.digest)
        if policy is None:
            policy = await self._build_policy(dict(bundle.files))
        self._state.stage_policy(policy)

    async def _answer_replay(self, question: sync_pb2.SyncResponse.Replay) -> None:
        replayed = await self._replay(AgentId(question.agent), question.max_calls)
        answer = sync_pb2.SyncRequest.Replayed(id=question.id)
        for call, decision in replayed:
            answer.decisions.append(decision_message(decision))
            answer.tools.append(call.question.tool)
            answer.original_effects.append(effect_message(call.effect))
            answer.decision_ids.append(call.decision_id)
        self._put(sync_pb2.SyncRequest(replayed=answer))

    async def _write(
        self, call: grpc.aio.StreamStreamCall[sync_pb2.SyncRequest, sync_pb2.SyncResponse]
    ) -> None:
        while True:
            await call.write(await self._outgoing.get())

    async def _tell_inventory(self) -> None:
        while True:
            await asyncio.sleep(_INVENTORY_EVERY_S)
            inventory = sync_pb2.SyncRequest.Inventory()
            for (agent, tool), seen in self._recorder.seen().items():
                inventory.seen.add(
                    agent=agent,
                    tool=tool,
                    calls=seen.calls,
                    hosts=sorted(seen.hosts),
                    last_call_time_ns=seen.last_call_time_ns,
                    effects=seen.effects,
                )
            if self._is_connected:
                self._put(sync_pb2.SyncRequest(inventory=inventory))

    def _put(self, message: sync_pb2.SyncRequest) -> bool:
        """Queue *message*; return whether there was room."""
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            # Control does not read; it will list this gate as a laggard, which is the truth.
            log.warning("control does not read the gate's messages")
            return False
        return True


def _first_status(errors: BaseExceptionGroup[grpc.aio.AioRpcError]) -> str:
    first = errors.exceptions[0]
    return first.code().name if isinstance(first, grpc.aio.AioRpcError) else "UNKNOWN"
