# SPDX-License-Identifier: Apache-2.0
"""What a check says, and what it may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.clock import Clock
from sidecar.errors import HoldfastError
from sidecar.layout import StateLayout
from sidecar.settings import Settings

__all__ = ["CheckResult", "Patient", "Status", "failed", "fine", "from_error", "warned"]


class Status(StrEnum):
    """How a check ended. A warning does not fail ``doctor``."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One line: what was looked at, what was found, and, unless all is well, what to do."""

    name: str
    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is examined.

    Attributes:
        settings: As a process started here and now would have them.
        is_dev: Whether development mode is meant.
        environ: The environment.
        clock: The host's clocks.
    """

    settings: Settings
    is_dev: bool
    environ: Mapping[str, str]
    clock: Clock

    @property
    def layout(self) -> StateLayout:
        """Where everything lies."""
        return self.settings.layout


def fine(name: str, found: str) -> CheckResult:
    """Return that all is well."""
    return CheckResult(name=name, status=Status.OK, found=found)


def warned(name: str, found: str, fix: str) -> CheckResult:
    """Return something doubtful."""
    return CheckResult(name=name, status=Status.WARN, found=found, fix=fix)


def failed(name: str, found: str, fix: str) -> CheckResult:
    """Return something wrong."""
    return CheckResult(name=name, status=Status.FAIL, found=found, fix=fix)


def from_error(name: str, error: HoldfastError, fix: str = "") -> CheckResult:
    """Return *error* as a failed check; *fix* stands in where the error has no hint."""
    return failed(name, error.message, error.hint or fix)
