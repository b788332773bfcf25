# SPDX-License-Identifier: Apache-2.0
"""What a playbook is told when an action did not do what it was asked.

No text here ever holds a credential: messages come from control (which sends none) or from us.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ActionError", "ErrorClass"]


class ErrorClass(StrEnum):
    """What a playbook can do about it."""

    BAD_INPUT = "BAD_INPUT"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    REFUSED = "REFUSED"
    UNAVAILABLE = "UNAVAILABLE"
    FAILED = "FAILED"


class ActionError(Exception):
    """An action failed: why, what to do, and whether trying again can help."""

    def __init__(
        self, kind: ErrorClass, message: str, *, reason: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.reason = reason or kind.value
        self.remedy = remedy

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may simply be sent again."""
        return self.kind is ErrorClass.UNAVAILABLE
