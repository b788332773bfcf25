# SPDX-License-Identifier: Apache-2.0
"""The numbers that both processes serve: they follow what happens, and looking changes nothing."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable
from pathlib import Path

from sidecar.gate.probes import GateMetrics
from sidecar.gate.state import GateState
from tests.support.polling import eventually
from tests.support.processes import free_port
from tests.support.rig import GateRig
from tests.support.testbed import Testbed


def _scrape(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def test_metrics_follow_decisions_and_containment(make_bed: Callable[..., Testbed]) -> None:
    """Decisions by effect, the epoch, the gates, the log: at control and at the gate."""
    bed = make_bed()
    control, gate = (f"127.0.0.1:{free_port()}" for _ in range(2))
    bed.launch_control(metrics_listen=control)
    bed.launch_gate(["alpha"], metrics_listen=gate)
    bed.wait_control()
    bed.wait_gate("alpha")
    async with bed.operator("alice") as alice, bed.agent() as agent:
        await agent.ask("note.read")
        await agent.ask("note.forbidden")
        epoch = (await alice.contain("alpha", "FREEZE")).receipt.directive.epoch

        async def has_it() -> bool:
            return (await asyncio.to_thread(_scrape, gate))["holdfast_epoch"] == epoch

        await eventually(has_it, 5)
    at_gate = await asyncio.to_thread(_scrape, gate)
    at_control = await asyncio.to_thread(_scrape, control)

    assert at_gate['holdfast_decisions_total{agent="alpha",effect="ALLOW"}'] == 1
    assert at_gate['holdfast_decisions_total{agent="alpha",effect="DENY"}'] == 1
    assert (at_gate["holdfast_stale"], at_gate["holdfast_audit_healthy"]) == (0, 1)
    assert at_control["holdfast_epoch"] == epoch
    assert at_control["holdfast_gates_connected"] == 1
    assert at_control['holdfast_directives{level="FREEZE"}'] == 1


async def test_a_scrape_applies_nothing(tmp_path: Path) -> None:
    """A scrape runs in another thread; the state of the world belongs to the event loop alone."""
    tmp_path.chmod(0o700)
    async with GateRig(tmp_path) as rig:
        metrics = GateMetrics(
            state=rig.state,
            sync=_NoSync(),  # type: ignore[arg-type]
            recorder=rig.recorder,
            audit=rig.audit,
            cache=rig.cache,
        )
        before = rig.state.latest
        rig.contain("alpha")
        await asyncio.to_thread(lambda: list(metrics.samples()))
        after = rig.state.latest
        verdict = await rig.verdict()

    assert before is after
    assert verdict == "DENY KILLED"


async def test_a_scrape_through_current_would_apply_negative_control(tmp_path: Path) -> None:
    """Asking for the current world, as a call does, applies what the latch shows."""
    tmp_path.chmod(0o700)
    async with GateRig(tmp_path) as rig:
        before = rig.state.latest
        rig.contain("alpha")
        await asyncio.to_thread(GateState.current, rig.state)

        assert rig.state.latest is not before


class _NoSync:
    is_connected = False
