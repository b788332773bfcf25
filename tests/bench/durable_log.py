# SPDX-License-Identifier: Apache-2.0
"""The durable log: 64 callers that share syncs, beside a loop of single synchronous appends."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit.log import AuditLog
from sidecar.clock import SystemClock

CALLERS = 64
_ENTRY = {
    "kind": "decision",
    "decision_id": "dec_00000000000000000000000000000000",
    "agent": "banking",
    "tool": "send_money",
    "effect": "ALLOW",
    "reasons": ["POLICY_ALLOW"],
    "epoch": 7,
    "fingerprint": "0" * 64,
    "policy_digest": "0" * 64,
}


async def bench_log(say: Any) -> dict[str, Any]:
    """Measure appends per second, each waited for until it survives a power cut."""
    say("durable log")
    single: list[float] = []
    crowd: list[float] = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as root:
        log = AuditLog.open(
            Path(root) / "log",
            origin="bench/log",
            signing_key=Ed25519PrivateKey.generate(),
            clock=SystemClock(),
        )
        try:
            for _ in range(4):
                single.append(await asyncio.to_thread(_single, log, 0.7))
                crowd.append(await _crowd(log, 0.7))
        finally:
            await log.aclose()
    one, many = sorted(single)[2], sorted(crowd)[2]
    return {
        "regime": f"closed loop; every append waits for its fdatasync; {CALLERS} callers",
        "appends_per_second": {"single_synchronous": round(one), "callers_64": round(many)},
        "ratios": {"callers_64_over_single": round(many / one, 1)},
    }


def _single(log: AuditLog, seconds: float) -> float:
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        log.append_sync(_ENTRY)
        done += 1
    return done / (time.perf_counter() - start)


async def _crowd(log: AuditLog, seconds: float) -> float:
    done, start = 0, time.perf_counter()

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() - start < seconds:
            await log.durable(log.append(_ENTRY))
            done += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return done / (time.perf_counter() - start)
