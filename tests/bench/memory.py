# SPDX-License-Identifier: Apache-2.0
"""Memory of a gate, idle and with a full cache."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sidecar.sdk import Guard
from tests.bench.rig import Rig, resident_mib

_ENTRIES = 100_000
_TOOL = "read_file"


async def bench_memory(rig: Rig, idle_mib: float, say: Any) -> dict[str, Any]:
    """Fill the decision cache with verdicts that differ, and report what that took."""
    say(f"filling the cache with {_ENTRIES} verdicts")
    async with Guard(rig.gate_address, session="bench-memory") as guard:
        semaphore = asyncio.Semaphore(256)

        async def ask(number: int) -> None:
            async with semaphore:
                await guard.authorize(
                    _TOOL, json.dumps({"file_path": f"notes/{number:08d}.txt"}).encode()
                )

        for start in range(0, _ENTRIES, 5000):
            await asyncio.gather(*(ask(n) for n in range(start, start + 5000)))
    return {
        "idle_gate_mib": idle_mib,
        "full_cache_mib": resident_mib(rig.gate_pid),
        "cache_entries": _ENTRIES,
    }
