# SPDX-License-Identifier: Apache-2.0
"""Conducts the quickstart: start, replay, kill, prove, show."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sidecar.layout import StateLayout
from sidecar.quickstart.dataset import SUITES, Dataset, find_dataset, load_dataset
from sidecar.quickstart.drill import drill
from sidecar.quickstart.replay import SuiteResult, replay_suite
from sidecar.quickstart.report import as_data, show_drill, show_replay
from sidecar.sdk import Guard
from sidecar.supervisor.host import Host

__all__ = ["quickstart"]

_ROGUE = "banking"


async def quickstart(*, dataset: Path | None, is_exit: bool, is_json: bool) -> int:
    """Run the whole demonstration and return the exit code: 0 if everything held, else 1.

    Args:
        dataset: Directory of the recorded calls; None finds the shipped one.
        is_exit: End when done, instead of staying up.
        is_json: Print one JSON object instead of tables.

    Raises:
        HoldfastError: Something could not be started or read.
    """
    console = Console(stderr=is_json, highlight=False)
    data = load_dataset(dataset or find_dataset())
    root = Path(tempfile.mkdtemp(prefix="holdfast-"))
    layout = StateLayout.of(root / "state", root / "run")
    host = Host(
        layout=layout, bundle=data.bundle, agents=SUITES, listen=f"127.0.0.1:{_free_port()}"
    )
    begun = time.monotonic()
    try:
        console.print("Starting control and one gate per agent …")
        async with host:
            results = await _replay(console, host, data)
            drilled = await drill(
                host, data.suite(_ROGUE), lambda text: console.print(f"  · {text}", style="dim")
            )
            report = as_data(results, drilled)
            report["seconds"] = round(time.monotonic() - begun, 1)
            _show(console, report, results, drilled, is_json=is_json)
            if not is_exit:
                await _stay_up(console, host)
        return 0 if drilled.held and not report["injection"]["fully_allowed"] else 1
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def _replay(console: Console, host: Host, data: Dataset) -> list[SuiteResult]:
    total = sum(
        len(task.calls)
        for suite in data.suites
        for task in (*suite.user_tasks, *suite.injection_tasks)
    )
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    results = []
    with progress:
        bar = progress.add_task("Deciding recorded calls", total=total)
        for suite in data.suites:
            async with Guard(host.agent_address(suite.name)) as guard:
                await guard.wait_ready(timeout=5.0)
                results.append(
                    await replay_suite(
                        guard, suite, advance=lambda count: progress.advance(bar, count)
                    )
                )
    return results


def _show(
    console: Console,
    report: dict[str, Any],
    results: Sequence[SuiteResult],
    drilled: Any,
    *,
    is_json: bool,
) -> None:
    if is_json:
        sys.stdout.write(json.dumps(report, indent=2, sort_keys=True) + "\n")
        return
    show_replay(console, report)
    show_drill(console, drilled)
    verdict = "contained, and proved" if drilled.held else "NOT PROVED: see the marks above"
    console.print(
        f"{verdict} · {report['seconds']} s", style="bold" if drilled.held else "bold red"
    )


async def _stay_up(console: Console, host: Host) -> None:
    """Serve until interrupted, and say what to try."""
    await host.start()
    state = f"HOLDFAST_STATE_DIR={host.layout.root} HOLDFAST_RUNTIME_DIR={host.layout.runtime}"
    console.print(
        "\nStill up (Ctrl-C ends it). In another terminal, try:\n"
        f"  export {state}\n"
        "  holdfast try get_balance --agent banking          # still denied: the agent is killed\n"
        "  holdfast directives list                          # the order that holds it\n"
        "  holdfast try get_channels --agent slack           # another agent: allowed\n"
        "  holdfast release EPOCH --reason 'drill over' --as bob   # a second human ends it",
        soft_wrap=True,
    )
    await asyncio.Event().wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
