# SPDX-License-Identifier: Apache-2.0
"""Conducts the quickstart: start, replay, let a human decide, kill, prove, release, show."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sidecar.layout import StateLayout
from sidecar.quickstart.dataset import SUITES, Dataset, find_dataset, load_dataset
from sidecar.quickstart.drill import DrillResult, drill, verify_logs
from sidecar.quickstart.humans import (
    APPROVER,
    HeldCall,
    HeldRelease,
    decided,
    held_call,
    held_release,
)
from sidecar.quickstart.replay import SuiteResult, replay_suite
from sidecar.quickstart.report import as_data, is_proved, show_drill, show_humans, show_replay
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
        layout=layout,
        bundle=data.bundle,
        agents=SUITES,
        listen=f"127.0.0.1:{_free_port()}",
        console_listen=f"127.0.0.1:{_free_port()}",
    )
    begun = time.monotonic()
    try:
        console.print("Starting control and one gate per agent …")
        async with host:
            results = await _replay(console, host, data)

            def step(text: str) -> None:
                console.print(f"  · {text}", style="dim", markup=False, soft_wrap=True)

            held = await held_call(
                host, data, results, not_agent=_ROGUE, is_scripted=is_exit, step=step
            )
            drilled = await drill(host, data.suite(_ROGUE), step)
            release = await held_release(
                host,
                data.suite(_ROGUE),
                epoch=drilled.directive_epoch,
                is_scripted=is_exit,
                step=step,
            )
            drilled.audit = await verify_logs(host, step)
            report = as_data(results, drilled, held, release)
            report["seconds"] = round(time.monotonic() - begun, 1)
            _show(console, report, drilled, held, release, is_json=is_json)
            if not is_exit:
                await _stay_up(console, host, held, release)
        return 0 if is_proved(report, drilled, held, release) else 1
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
    drilled: DrillResult,
    held: HeldCall,
    release: HeldRelease,
    *,
    is_json: bool,
) -> None:
    if is_json:
        sys.stdout.write(json.dumps(report, indent=2, sort_keys=True) + "\n")
        return
    show_replay(console, report)
    show_drill(console, drilled)
    show_humans(console, held, release)
    ok = is_proved(report, drilled, held, release)
    verdict = "contained, and proved" if ok else "NOT PROVED: see the marks above"
    console.print(f"{verdict} · {report['seconds']} s", style="bold" if ok else "bold red")


async def _stay_up(console: Console, host: Host, held: HeldCall, release: HeldRelease) -> None:
    """Serve until interrupted, say what to try, and tell when a human has decided."""
    await host.start()
    state = f"HOLDFAST_STATE_DIR={host.layout.root} HOLDFAST_RUNTIME_DIR={host.layout.runtime}"
    call, operation = held.approval, release.operation
    console.print(
        "\nStill up (Ctrl-C ends it), and two things wait for a human. In another terminal:\n"
        f"  export {state}\n"
        f"  holdfast approvals show {call['name']} --as {APPROVER}\n"
        f"  holdfast approvals grant {call['name']} --as {APPROVER}  # then the call is made\n"
        f"  holdfast approvals show {operation['approval']} --as {APPROVER}\n"
        f"  holdfast approvals grant {operation['approval']} --as {APPROVER}  # then it is released\n"
        "or in a browser, which wants a passkey first:\n"
        f"  holdfast accounts enrol {APPROVER}                         # prints a link, once\n"
        f"  {call['url']}\n"
        f"  {operation['url']}\n"
        "and besides:\n"
        "  holdfast try get_balance --agent banking          # denied while the agent is killed\n"
        "  holdfast try get_channels --agent slack           # another agent: allowed\n"
        "  holdfast directives list                          # the order that holds it",
        soft_wrap=True,
        markup=False,
    )
    async with asyncio.TaskGroup() as tasks:
        for name in (call["name"], operation["approval"]):
            tasks.create_task(_tell_decision(console, host, name))
        tasks.create_task(_forever())


async def _tell_decision(console: Console, host: Host, name: str) -> None:
    shown = await decided(host, name)
    console.print(
        f"{shown['state']}: {shown['summary']}. {shown['detail'] or ''}", markup=False, style="bold"
    )


async def _forever() -> None:
    await asyncio.Event().wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
