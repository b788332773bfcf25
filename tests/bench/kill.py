# SPDX-License-Identifier: Apache-2.0
"""A thousand kills under 64 callers in flight: how fast is the receipt, and does one ALLOW slip by?"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sidecar.api.v1 import (
    approval_pb2,
    approval_pb2_grpc,
    containment_pb2,
    containment_pb2_grpc,
    types_pb2,
)
from sidecar.sdk import Guard
from tests.bench.measure import Latency
from tests.bench.rig import AGENT, READ_ARGUMENTS, READ_TOOL, Rig

CALLERS = 64
KILLS = 1000


async def bench_kill(rig: Rig, say: Any) -> dict[str, Any]:
    """Kill and release the agent again and again while 64 callers never stop asking."""
    acks_ms: list[float] = []
    violations = allowed_total = 0
    is_stopping = False
    answers: list[tuple[int, bool]] = []
    async with (
        Guard(rig.gate_address, session="bench-session") as guard,
        rig.operator("soar") as soar_channel,
        rig.operator("alice") as requester_channel,
        rig.operator("bob") as approver,
    ):
        soar = containment_pb2_grpc.ContainmentServiceStub(soar_channel)
        requester = containment_pb2_grpc.ContainmentServiceStub(requester_channel)

        async def caller() -> None:
            while not is_stopping:
                asked = time.perf_counter_ns()
                decision = await guard.authorize(READ_TOOL, READ_ARGUMENTS)
                answers.append((asked, decision.allowed))

        callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
        for number in range(KILLS):
            if number % 100 == 0:
                say(f"kill {number} of {KILLS}")
            await _until_allowed(answers)
            called = time.perf_counter_ns()
            response = await soar.Contain(
                containment_pb2.ContainRequest(
                    request_id=f"bench-kill-{number:06d}",
                    target=types_pb2.Target(agent=AGENT),
                    level=types_pb2.LEVEL_KILL,
                    reason="benchmark",
                )
            )
            acknowledged = time.perf_counter_ns()
            acks_ms.append((acknowledged - called) / 1e6)
            await _answered_after(answers, acknowledged)
            violations += sum(ok and asked > acknowledged for asked, ok in answers)
            allowed_total += sum(ok for _, ok in answers)
            answers.clear()
            held = await requester.Release(
                containment_pb2.ReleaseRequest(
                    request_id=f"bench-release-{number:06d}",
                    epoch=response.receipt.directive.epoch,
                    reason="benchmark",
                )
            )
            await _grant(approver, held.operation, number)
        is_stopping = True
        await asyncio.gather(*callers)
    latency = Latency.of([value * 1000 for value in acks_ms])
    return {
        "regime": f"{CALLERS} callers in flight, closed loop; over TLS, receipt signed, gate acked",
        "kills": KILLS,
        "allowed_before": allowed_total,
        "allows_started_after_acknowledgement": violations,
        "call_to_acknowledgement_ms": {
            "p50": round(latency.p50 / 1000, 2),
            "p99": round(latency.p99 / 1000, 2),
            "max": round(max(acks_ms), 2),
        },
    }


async def _grant(channel: Any, operation: types_pb2.Operation, number: int) -> None:
    """Let a second human grant *operation*; it is carried out by itself, and then calls pass again."""
    await approval_pb2_grpc.ApprovalServiceStub(channel).DecideApproval(
        approval_pb2.DecideApprovalRequest(
            request_id=f"bench-grant-{number:06d}",
            name=operation.approval,
            verdict=approval_pb2.Approval.VERDICT_GRANT,
            fingerprint=operation.fingerprint,
        )
    )


async def _until_allowed(answers: list[tuple[int, bool]]) -> None:
    async with asyncio.timeout(10):
        while not any(ok for _, ok in answers):
            answers.clear()
            await asyncio.sleep(0.002)


async def _answered_after(answers: list[tuple[int, bool]], moment: int) -> None:
    """Wait until every caller was answered a question that it asked after *moment*."""
    async with asyncio.timeout(10):
        while sum(asked > moment for asked, _ in answers) < CALLERS:
            await asyncio.sleep(0.002)
