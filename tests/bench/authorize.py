# SPDX-License-Identifier: Apache-2.0
"""Authorize against the echo: latency in two regimes, throughput at 64 callers.

Unary and stream are called by bare stubs, as the echo is; ``sdk_authorize`` is the same stream through
``sidecar.sdk``, with its deadlines, batching and checks.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import grpc

from sidecar.sdk import Guard
from tests.bench.measure import closed_loop, interleaved, paced, throughput
from tests.bench.rig import (
    READ_ARGUMENTS,
    READ_TOOL,
    Rig,
    read_request,
    stream_caller,
    unary_authorize,
    unary_echo,
)

CALLERS = 64


async def bench_authorize(rig: Rig, say: Any) -> dict[str, Any]:
    """Measure one cached read call, its record included, beside the echo of the same message."""
    request = read_request()
    options = [("grpc.enable_retries", 0)]
    async with (
        grpc.aio.insecure_channel(rig.echo_address, options=options) as echo_channel,
        grpc.aio.insecure_channel(rig.gate_address, options=options) as gate_channel,
        Guard(rig.gate_address, session="bench-session") as guard,
    ):
        echo, authorize = unary_echo(echo_channel), unary_authorize(gate_channel)
        await guard.wait_ready(timeout=5.0)

        async def sdk() -> None:
            decision = await guard.authorize(READ_TOOL, READ_ARGUMENTS)
            assert decision.allowed, decision

        cases = {
            "echo_unary": partial(echo, request),
            "authorize_unary": partial(authorize, request),
            "authorize_stream": stream_caller(gate_channel),
            "sdk_authorize": sdk,
        }
        for call in cases.values():
            await closed_loop(call, 300)  # warm: caches, JIT-less interpreter, page cache
        say("latency, closed loop")
        closed = await interleaved(cases, lambda call: closed_loop(call, 400), rounds=6)
        say("latency, paced: one call every 20 ms")
        slow = await interleaved(cases, lambda call: paced(call, 50), rounds=4)
        say(f"throughput, {CALLERS} callers")
        # Only the SDK shares one stream among many callers, so the batched stream is measured there.
        crowds = {name: call for name, call in cases.items() if name != "authorize_stream"}
        rates: dict[str, list[float]] = {name: [] for name in crowds}
        for _ in range(4):
            for name, call in crowds.items():
                rates[name].append(await throughput(call, callers=CALLERS, seconds=1.5))
    rate = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    return {
        "closed_loop_us": {name: vars_of(value) for name, value in closed.items()},
        "paced_20ms_us": {name: vars_of(value) for name, value in slow.items()},
        "calls_per_second_64_callers": {name: round(value) for name, value in rate.items()},
        "ratios": {
            "unary_over_echo_p50_closed": ratio(closed, "authorize_unary"),
            "stream_over_echo_p50_closed": ratio(closed, "authorize_stream"),
            "unary_over_echo_p50_paced": ratio(slow, "authorize_unary"),
            "stream_over_echo_p50_paced": ratio(slow, "authorize_stream"),
            "sdk_over_echo_p50_closed": ratio(closed, "sdk_authorize"),
            "sdk_over_echo_p50_paced": ratio(slow, "sdk_authorize"),
            "stream_over_unary_throughput": round(
                rate["sdk_authorize"] / rate["authorize_unary"], 2
            ),
            "stream_over_echo_throughput": round(rate["sdk_authorize"] / rate["echo_unary"], 2),
        },
    }


def vars_of(latency: Any) -> dict[str, float]:
    """Return a latency as plain data."""
    return {"p50": latency.p50, "p99": latency.p99, "count": latency.count}


def ratio(latencies: dict[str, Any], name: str) -> float:
    """Return the p50 of *name* over that of the echo."""
    return round(latencies[name].p50 / latencies["echo_unary"].p50, 2)
