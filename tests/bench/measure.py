# SPDX-License-Identifier: Apache-2.0
"""Loops and percentiles. Times in microseconds."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of one case, in microseconds."""

    p50: float
    p99: float
    count: int

    @classmethod
    def of(cls, samples_us: Sequence[float]) -> Latency:
        """Return the percentiles of *samples_us*."""
        ordered = sorted(samples_us)
        return cls(
            round(statistics.median(ordered), 1),
            round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
            len(ordered),
        )


async def closed_loop(call: Call, count: int) -> list[float]:
    """Call *count* times, each as soon as the one before is answered."""
    samples = []
    for _ in range(count):
        start = time.perf_counter_ns()
        await call()
        samples.append((time.perf_counter_ns() - start) / 1000)
    return samples


async def paced(call: Call, count: int, *, interval_s: float = 0.02) -> list[float]:
    """Call *count* times, one every *interval_s*, whatever the answer takes."""
    samples = []
    due = time.perf_counter()
    for _ in range(count):
        due += interval_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter_ns()
        await call()
        samples.append((time.perf_counter_ns() - start) / 1000)
    return samples


async def throughput(call: Call, *, callers: int, seconds: float) -> float:
    """Return calls per second of *callers* closed loops side by side."""
    done = 0
    stop = time.perf_counter() + seconds

    async def loop() -> None:
        nonlocal done
        while time.perf_counter() < stop:
            await call()
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(callers)))
    return done / (time.perf_counter() - start)


async def interleaved(
    cases: dict[str, Call],
    measure: Callable[[Call], Awaitable[list[float]]],
    *,
    rounds: int,
) -> dict[str, Latency]:
    """Measure *cases* in turn, *rounds* times, so that a noisy second hits all alike."""
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, call in cases.items():
            samples[name].extend(await measure(call))
    return {name: Latency.of(values) for name, values in samples.items()}
