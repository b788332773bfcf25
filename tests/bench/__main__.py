# SPDX-License-Identifier: Apache-2.0
"""Runs every benchmark once, prints the ratios, writes ``build/bench.json``."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import grpc

from tests.bench.authorize import bench_authorize
from tests.bench.decisions import bench_policies, bench_projection
from tests.bench.durable_log import bench_log
from tests.bench.kill import bench_kill
from tests.bench.memory import bench_memory
from tests.bench.rig import resident_mib, running

OUTPUT = Path("build") / "bench.json"
# What this release promises of its own figures: (where, at most or at least, bound).
BARS = (
    ("authorize.ratios.unary_over_echo_p50_closed", "at most", 1.5),
    ("authorize.ratios.unary_over_echo_p50_paced", "at most", 1.5),
    ("authorize.ratios.stream_over_echo_p50_closed", "at most", 0.6),
    ("authorize.ratios.stream_over_echo_p50_paced", "at most", 0.6),
    ("authorize.ratios.stream_over_unary_throughput", "at least", 8.0),
    ("policies.ratios.fresh_1001_over_10", "at most", 2.0),
    ("policies.ratios.cached_1001_over_10", "at most", 2.0),
    ("log.ratios.callers_64_over_single", "at least", 10.0),
    ("kill.allows_started_after_acknowledgement", "at most", 0),
    ("kill.call_to_acknowledgement_ms.p99", "at most", 100.0),
)


def _say(text: str) -> None:
    print(f"  · {text}", file=sys.stderr, flush=True)


async def _run() -> dict[str, Any]:
    report: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "grpcio": grpc.__version__,
            "load_average_at_start": round(os.getloadavg()[0], 2),
        }
    }
    async with running() as rig:
        idle = resident_mib(rig.gate_pid)
        report["authorize"] = await bench_authorize(rig, _say)
        report["kill"] = await bench_kill(rig, _say)
        report["memory"] = await bench_memory(rig, idle, _say)
    report["log"] = await bench_log(_say)
    report["policies"] = bench_policies(_say)
    report["projection"] = bench_projection()
    return report


def _look_up(report: dict[str, Any], path: str) -> float:
    value: Any = report
    for name in path.split("."):
        value = value[name]
    return float(value)


def main() -> None:
    """Run, show, write."""
    print("Benchmarks: ratios within one run; about two minutes …", file=sys.stderr)
    start = time.monotonic()
    report = asyncio.run(_run())
    report["seconds"] = round(time.monotonic() - start, 1)
    report["bars"] = []
    for path, relation, bound in BARS:
        value = _look_up(report, path)
        is_met = value <= bound if relation == "at most" else value >= bound
        report["bars"].append({"what": path, relation: bound, "measured": value, "met": is_met})
        print(f"{'✓' if is_met else '✗'} {path}: {value} ({relation} {bound})")
    rates = report["projection"]["hit_rate"]
    print(f"  cache hits on AgentDojo: projection {rates['projection']:.0%}, "
          f"keyed by all arguments {rates['all_arguments']:.0%}")  # fmt: skip
    memory = report["memory"]
    print(f"  memory of a gate: idle {memory['idle_gate_mib']} MiB, "
          f"full cache {memory['full_cache_mib']} MiB")  # fmt: skip
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {OUTPUT}", file=sys.stderr)


if __name__ == "__main__":
    main()
