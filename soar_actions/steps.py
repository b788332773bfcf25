# SPDX-License-Identifier: Apache-2.0
"""What a handler is: steps without I/O.

A handler is a generator. It yields the calls it needs and is sent their answers; what it returns is
the result. Whoever drives it (``run``) does the sending, over whichever transport there is; a call
that failed is thrown into the handler as ``ActionError``, and most handlers let it pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Call", "Handler", "Result", "Status", "Steps"]


class Status(str, Enum):  # noqa: UP042 - StrEnum is newer than the oldest platform
    """How an action ended. Only ``SUCCESS`` may be shown as success.

    ``PENDING`` is no end: a human must decide first, and what waits has not been done.
    """

    SUCCESS = "SUCCESS"
    PENDING = "PENDING"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Call:
    """One call of the control plane.

    Attributes:
        method: ``ContainmentService/Contain``; the package is always ``sidecar.api.v1``.
        body: The request in proto3 JSON, with the proto's own field names in lowerCamelCase.
        patience_s: How much longer than usual control may take: it was asked to wait, or to read
            much.
    """

    method: str
    body: Mapping[str, Any] = field(default_factory=dict)
    patience_s: float = 0.0


@dataclass(frozen=True)
class Result:
    """Outcome, a sentence for people, and data for the playbook."""

    status: Status
    summary: str
    data: Mapping[str, Any] = field(default_factory=dict)


Steps = Generator[Call, Mapping[str, Any], Result]
"""Yields calls, is sent answers in proto3 JSON, returns the result."""

Handler = Callable[[Mapping[str, str], str], Steps]
"""(checked parameters, idempotency key) to steps."""
