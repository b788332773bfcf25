# SPDX-License-Identifier: Apache-2.0
"""``holdfast doctor``: one line for each thing that can be wrong, and one that says what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click

from sidecar.cli.command import command, setting
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit
from sidecar.clock import SystemClock
from sidecar.doctor.result import CheckResult, Patient, Status
from sidecar.doctor.run import examine, is_healthy
from sidecar.settings import ConfigurationErrors, Settings, config_in_use

__all__ = ["doctor"]

_MARKS: Final = {Status.OK: True, Status.WARN: None, Status.FAIL: False}


@command(
    name="doctor", examples=("holdfast doctor", "holdfast doctor --dev", "holdfast doctor --json")
)
@click.option("--dev", "is_dev", is_flag=True, help="Development mode is meant here.")
@setting("state_dir", "runtime_dir", "bundle")
def doctor(is_dev: bool, config: Path | None, **flags: Any) -> Exit:
    """Find out what is wrong with this host. Exits 1 if anything is.

    Looks at settings, directories, sockets, certificates, clock, bundle, storage, latch, logs, and
    whether control and gates answer. Changes nothing. Run it as root, or as the user of control.
    """
    results: list[CheckResult] = []
    try:
        settings = Settings.load(flags=flags, config=config, is_dev=is_dev)
    except ConfigurationErrors as exc:
        results = [
            CheckResult(
                name="settings", status=Status.FAIL, found=problem.message, fix=problem.hint
            )
            for problem in exc.all
        ]
    else:
        patient = Patient(settings=settings, is_dev=is_dev, environ=os.environ, clock=SystemClock())
        results = examine(patient, config=config_in_use(config=config))
    is_good = is_healthy(results)

    def show(page: Page) -> None:
        for result in results:
            page.mark(_MARKS[result.status], f"{result.name}: {result.found}")
            if result.fix and result.status is not Status.OK:
                page.line(f"    → {result.fix}")
        bad = sum(result.status is Status.FAIL for result in results)
        doubtful = sum(result.status is Status.WARN for result in results)
        page.line(f"{len(results)} checks, {bad} failed, {doubtful} warnings")

    data = {
        "ok": is_good,
        "checks": [
            {
                "name": result.name,
                "status": result.status.value,
                "found": result.found,
                "fix": result.fix or None,
            }
            for result in results
        ],
    }
    emit("Doctor", data, show)
    return Exit.OK if is_good else Exit.FAILURE
