# SPDX-License-Identifier: Apache-2.0
"""Policy decisions in process: how they grow with the number of policies, and what the cache hits."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.authorize.cache import DecisionCache
from sidecar.authorize.destination import destination_of
from sidecar.canonical import CallParser
from sidecar.clock import SystemClock
from sidecar.policy.bundle import load_bundle, load_bundle_from_files
from sidecar.policy.engine import PolicyEngine, PolicyVerdict
from tests.bench.rig import BUNDLE

_TOOLS = 100


def _bundle_files(policies: int) -> dict[str, bytes]:
    """Return a bundle of *policies* policies over a hundred tools; one tool is measured."""
    tools = "".join(
        f"  tool{n}:\n    class: read\n    arguments:\n      type: object\n"
        "      properties: {amount: {type: integer}, to: {type: string}}\n"
        "      required: [amount, to]\n"
        for n in range(_TOOLS)
    )
    texts = [
        f'@id("p{n}")\npermit (principal == Agent::"a", action == Action::"tool{n % _TOOLS}", '
        f'resource) when {{ context.args.amount < {n + 10} && context.args.to != "x{n}" }};'
        for n in range(policies)
    ]
    return {
        "tools.yaml": ("version: 1\ntools:\n" + tools).encode(),
        "agents.yaml": b"version: 1\nagents:\n  a: {owner: o@example.com}\n",
        "operators.yaml": b"version: 1\noperators: {}\n",
        "policies/all.cedar": "\n".join(texts).encode(),
    }


def bench_policies(say: Callable[[str], None]) -> dict[str, Any]:
    """Measure a decision, fresh and cached, with 10 and with 1,001 policies."""
    engines = {}
    for count in (10, 1001):
        say(f"building a bundle of {count} policies")
        engines[count] = PolicyEngine(load_bundle_from_files(_bundle_files(count)))
    call: dict[str, Any] = {
        "agent": "a",
        "session": "s",
        "tool": "tool3",
        "arguments": {"amount": 5, "to": "somebody"},
        "destination": None,
    }
    clock = SystemClock()
    fresh: dict[int, list[float]] = {count: [] for count in engines}
    cached: dict[int, list[float]] = {count: [] for count in engines}
    caches: dict[int, DecisionCache[PolicyVerdict]] = {
        count: DecisionCache(max_entries=1000, clock=clock) for count in engines
    }
    for count, engine in engines.items():
        key = engine.cache_key(**call)
        caches[count].put(key, engine.decide(**call), clock.boot_ns() + 25_000_000_000)
    for _ in range(40):
        for count, engine in engines.items():
            fresh[count].append(_time_us(lambda e=engine: e.decide(**call), 25))
            cached[count].append(
                _time_us(
                    lambda e=engine, c=caches[count]: c.get(e.cache_key(**call), clock.boot_ns()),
                    200,
                )
            )
    p50 = {name: {n: statistics.median(v) for n, v in rows.items()}
           for name, rows in (("fresh", fresh), ("cached", cached))}  # fmt: skip
    return {
        "regime": "in process, closed loop",
        "fresh_us": {str(n): round(v, 1) for n, v in p50["fresh"].items()},
        "cached_us": {str(n): round(v, 2) for n, v in p50["cached"].items()},
        "ratios": {
            "fresh_1001_over_10": round(p50["fresh"][1001] / p50["fresh"][10], 2),
            "cached_1001_over_10": round(p50["cached"][1001] / p50["cached"][10], 2),
        },
    }


def bench_projection() -> dict[str, Any]:
    """Count what a cache keyed by the projection hits on AgentDojo's benign calls.

    Beside it a cache keyed by every argument; both keep everything, so only the keys differ.
    """
    bundle = load_bundle(BUNDLE)
    engine, parser = PolicyEngine(bundle), CallParser()
    hits = {"projection": 0, "all_arguments": 0}
    seen: dict[str, set[Any]] = {"projection": set(), "all_arguments": set()}
    calls = 0
    for path in sorted((BUNDLE.parent / "calls").glob("*.json")):
        calls += _count_hits(path, engine, parser, seen, hits)
    return {
        "calls": calls,
        "hit_rate": {name: round(count / calls, 3) for name, count in hits.items()},
        "regime": "339 benign calls of AgentDojo once each, in order, unbounded cache",
    }


def _count_hits(
    path: Path,
    engine: PolicyEngine,
    parser: CallParser,
    seen: dict[str, set[Any]],
    hits: dict[str, int],
) -> int:
    suite = json.loads(path.read_bytes())
    count = 0
    for task in suite["user_tasks"]:
        for recorded in task["calls"]:
            count += 1
            call = parser.parse(
                agent=suite["suite"],
                session=task["id"],
                tool=recorded["tool"],
                arguments=json.dumps(recorded["arguments"]).encode(),
            )
            spec = engine.bundle.tools[call.tool].destination
            keys = {
                "projection": engine.cache_key(
                    agent=call.agent,
                    session=call.session,
                    tool=call.tool,
                    arguments=call.arguments,
                    destination=destination_of(call, spec) if spec else None,
                ),
                "all_arguments": (call.agent, call.tool, call.canonical_arguments),
            }
            for name, key in keys.items():
                hits[name] += key in seen[name]
                seen[name].add(key)
    return count


def _time_us(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    return (time.perf_counter_ns() - start) / count / 1000
