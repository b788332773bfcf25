# SPDX-License-Identifier: Apache-2.0
"""Drivers that stop what a KILL leaves running.

A driver is asked only after the kill is durable, so it can delay neither the kill nor its
acknowledgement, and it answers per runtime: one that cannot be stopped never hides the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["IsolationDriver", "IsolationItem", "IsolationResult"]


class IsolationResult(StrEnum):
    """What became of one runtime. Part of the API: never rename."""

    RUNNING = "RUNNING"
    """It is being stopped."""
    TERMINATED = "TERMINATED"
    """It ended when asked to."""
    KILLED = "KILLED"
    """It did not, and was ended."""
    ALREADY_GONE = "ALREADY_GONE"
    SKIPPED_IDENTITY_CHANGED = "SKIPPED_IDENTITY_CHANGED"
    """Its process id belongs to something else now; that was left alone."""
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationItem:
    """What one driver did to one runtime."""

    driver: str
    subject: str
    result: IsolationResult
    detail: str = ""


class IsolationDriver(Protocol):
    """One way to stop runtimes."""

    @property
    def name(self) -> str:
        """Return the driver's name in receipts."""

    def pending(self, agents: Collection[str]) -> Sequence[IsolationItem]:
        """Return one RUNNING item for each runtime that ``isolate`` would act on."""

    async def isolate(self, agents: Collection[str]) -> Sequence[IsolationItem]:
        """Stop every runtime of *agents* and return one item for each; raises nothing."""
