# SPDX-License-Identifier: Apache-2.0
"""What a playbook is told when an action did not do what it was asked.

No text here ever holds a credential: messages come from control (which sends none) or from us.

This module, the catalogue, the handlers and the HTTP client travel inside every platform's package:
they use the standard library alone and run on Python 3.10 and newer.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

__all__ = ["ActionError", "ErrorClass", "clean_text"]

_STEERS: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_MAX_MESSAGE: Final = 1000


def clean_text(text: str, limit: int = _MAX_MESSAGE) -> str:
    """Return *text* without what steers a terminal or a page, and not longer than *limit*.

    Names of agents, reasons and what a broken server sends may be an attacker's words.
    """
    shown = _STEERS.sub("?", text[: 2 * limit])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


class ErrorClass(str, Enum):  # noqa: UP042 - StrEnum is newer than the oldest platform
    """What a playbook can do about it."""

    BAD_INPUT = "BAD_INPUT"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    REFUSED = "REFUSED"
    UNAVAILABLE = "UNAVAILABLE"
    FAILED = "FAILED"

    def __str__(self) -> str:
        return self.value


class ActionError(Exception):
    """An action failed: why, what to do, and whether trying again can help.

    Attributes:
        kind: What a playbook can do about it.
        message: One sentence.
        reason: Stable code in upper snake case.
        remedy: What to do now.
        is_retryable: Whether the same request, with the same key, may simply be sent again.
    """

    def __init__(
        self, kind: ErrorClass, message: str, *, reason: str = "", remedy: str = ""
    ) -> None:
        self.message = clean_text(message)
        super().__init__(self.message)
        self.kind = kind
        self.reason = clean_text(reason, 63) or kind.value
        self.remedy = clean_text(remedy)

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may simply be sent again."""
        return self.kind is ErrorClass.UNAVAILABLE
