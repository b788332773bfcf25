# SPDX-License-Identifier: Apache-2.0
"""A small gate in memory, behind real gRPC on an agent's socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc

from sidecar.api.v1 import guard_pb2, guard_pb2_grpc, types_pb2
from tests.unit.cli.cli_server import register_health

Context = grpc.aio.ServicerContext
EFFECTS = {
    "get_balance": types_pb2.EFFECT_ALLOW,
    "send_money": types_pb2.EFFECT_HOLD,
}


class MemoryGate(guard_pb2_grpc.GuardServiceServicer):
    """Allows ``get_balance``, holds ``send_money``, denies the rest; kills when told."""

    def __init__(self) -> None:
        self.calls: list[guard_pb2.ToolCall] = []
        self.tokens: list[str] = []
        self.outcomes: list[guard_pb2.Outcome] = []
        self.level = types_pb2.LEVEL_UNSPECIFIED
        self.sessions: list[str] = []
        self._changed = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        """Add the services to *server*."""
        guard_pb2_grpc.add_GuardServiceServicer_to_server(self, server)
        register_health(1)(server)

    async def contain(self, level: int) -> None:
        """Hold the agent at *level* from now on."""
        self.level = types_pb2.Level.ValueType(level)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _decide(self, request: guard_pb2.AuthorizeRequest) -> types_pb2.Decision:
        self.calls.append(request.tool_call)
        self.tokens.append(request.token)
        effect = EFFECTS.get(request.tool_call.tool, types_pb2.EFFECT_DENY)
        code = {
            types_pb2.EFFECT_ALLOW: "POLICY_ALLOW",
            types_pb2.EFFECT_HOLD: "POLICY_HOLD",
        }.get(effect, "NO_POLICY_ALLOWS")
        decision = types_pb2.Decision(
            effect=effect,
            reasons=[types_pb2.Reason(code=code, text="because \x1b[2J of that")],
            decision_id=f"dec_{len(self.calls)}",
            epoch=7,
            fingerprint="f" * 64,
            policy_digest="d" * 64,
            tool_class=types_pb2.TOOL_CLASS_READ,
        )
        decision.valid_until.FromNanoseconds(time.time_ns() + 5_000_000_000)
        if effect == types_pb2.EFFECT_HOLD:
            decision.obligations.hold_reason = "money leaves"
            decision.obligations.hold_tier = "HIGH"
            decision.obligations.hold_quorum = 2
            decision.obligations.hold_approver_role = "approve"
        return decision

    async def Authorize(self, request: Any, context: Context) -> Any:
        return guard_pb2.AuthorizeResponse(decision=self._decide(request))

    async def AuthorizeStream(self, requests: Any, context: Context) -> AsyncIterator[Any]:
        async for batch in requests:
            yield guard_pb2.AuthorizeStreamResponse(
                items=[
                    guard_pb2.AuthorizeStreamResponse.Item(
                        id=item.id, decision=self._decide(item.request)
                    )
                    for item in batch.items
                ]
            )

    async def LogStream(self, requests: Any, context: Context) -> AsyncIterator[Any]:
        async for batch in requests:
            self.outcomes += [item.outcome for item in batch.items]
            yield guard_pb2.LogStreamResponse(
                items=[guard_pb2.LogStreamResponse.Item(id=item.id) for item in batch.items]
            )

    async def WatchContainment(self, request: Any, context: Context) -> AsyncIterator[Any]:
        self.sessions.append(request.session_id)
        while True:
            changed = self._changed
            yield guard_pb2.WatchContainmentResponse(
                epoch=7,
                level=self.level,
                cancel_in_flight=self.level >= types_pb2.LEVEL_FREEZE,
                reason=types_pb2.Reason(code="KILLED", text="directives/7 \x1b[31mholds it"),
            )
            await changed.wait()
