# SPDX-License-Identifier: Apache-2.0
"""What a handler answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from soar_actions.client import ControlClient

__all__ = ["Handler", "Result", "Status"]


class Status(StrEnum):
    """How an action ended. Only ``SUCCESS`` may be shown as success.

    ``PENDING`` is no end: a human must decide first, and nothing has been done.
    """

    SUCCESS = "SUCCESS"
    PENDING = "PENDING"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Outcome, a sentence for people, and data for the playbook."""

    status: Status
    summary: str
    data: Mapping[str, Any] = field(default_factory=dict)


Handler = Callable[[ControlClient, Mapping[str, str], str], Awaitable[Result]]
"""(client, checked parameters, idempotency key) to a result."""
