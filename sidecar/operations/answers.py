# SPDX-License-Identifier: Apache-2.0
"""What the service of operations answers beside operations themselves. Frozen."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.approvals.values import Request
from sidecar.containment.history import DirectiveEntry
from sidecar.containment.receipt import SignedReceipt
from sidecar.model import Directive
from sidecar.operations.rules import Need
from sidecar.operations.values import Operation

__all__ = ["NO_RESULT", "AskPreview", "OperationPage", "OperationResult", "Preview"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an order to contain would do.

    ``need`` is what it would wait for; None if it would be carried out at once. ``unknown`` are agents
    that its target names and that nothing declares or serves.
    """

    agents: tuple[str, ...]
    is_wide: bool
    protected: tuple[str, ...]
    need: Need | None
    summary: str
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPreview:
    """What a question would be: ``request`` is what humans would be shown."""

    request: Request
    need: Need


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPage:
    """Operations, newest first. ``next_before`` asks for the next page; None on the last one."""

    operations: tuple[Operation, ...]
    next_before: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationResult:
    """What an operation that is DONE gave, as it stands now.

    ``receipt`` for a containment; ``entry`` and ``remaining`` (directives that still hold agents of
    the same target) for a release.
    """

    receipt: SignedReceipt | None = None
    entry: DirectiveEntry | None = None
    remaining: tuple[Directive, ...] = ()


NO_RESULT = OperationResult()
