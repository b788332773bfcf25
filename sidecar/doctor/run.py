# SPDX-License-Identifier: Apache-2.0
"""Runs every check. One that breaks is itself a finding and never hides the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from sidecar.doctor.certificates import check_certificates
from sidecar.doctor.notifications import check_notifications
from sidecar.doctor.paths import (
    check_anchor,
    check_config_file,
    check_directories,
    check_sockets,
    check_storage,
)
from sidecar.doctor.result import CheckResult, Patient, Status, failed
from sidecar.doctor.serving import check_insecure, check_serving
from sidecar.doctor.state import check_audit, check_bundle_in_use, check_clock, check_latch

__all__ = ["CHECKS", "examine", "is_healthy"]

Check = Callable[[Patient], Iterable[CheckResult]]

CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("directories", check_directories),
    ("sockets", check_sockets),
    ("storage", check_storage),
    ("certificates", check_certificates),
    ("exposure", check_insecure),
    ("bundle", check_bundle_in_use),
    ("clock", check_clock),
    ("latch", check_latch),
    ("logs", check_audit),
    ("anchor", check_anchor),
    ("notifications", check_notifications),
)


def examine(patient: Patient, *, config: Path | None) -> list[CheckResult]:
    """Return what every check found, in the order in which things depend on each other.

    Args:
        patient: What is examined.
        config: The settings file in use, if there is one.
    """
    results = _guarded("settings file", lambda one: check_config_file(one, config), patient)
    for name, check in CHECKS:
        results += _guarded(name, check, patient)
    results += _guarded("serving", lambda one: asyncio.run(check_serving(one)), patient)
    return results


def is_healthy(results: Iterable[CheckResult]) -> bool:
    """Return whether nothing failed."""
    return all(result.status is not Status.FAIL for result in results)


def _guarded(name: str, check: Check, patient: Patient) -> list[CheckResult]:
    results: list[CheckResult] = []
    try:
        results.extend(check(patient))
    except Exception as exc:  # noqa: BLE001 - a doctor that crashes has no patient
        results.append(
            failed(name, f"the check itself failed: {type(exc).__name__}: {exc}", "report this")
        )
    return results
