# SPDX-License-Identifier: Apache-2.0
"""The refusal of hostile shapes: what the strict parsers raise, and nothing else.

A ``ShapeError`` knows the ``ReasonCode`` that the decision will carry. Its sentence says *where*
and *which rule*, never a piece of the input: arguments hold secrets, and the sentence is shown and
logged. For the same reason the parsers raise it ``from None``: Python's own decoding errors carry
the whole document with them.
"""

from __future__ import annotations

from sidecar.errors import ErrorReason, UntrustedInputError
from sidecar.model import ReasonCode

__all__ = ["ShapeError"]


class ShapeError(UntrustedInputError):
    """Bytes or text of a tool call are not what they must be; becomes ``DENY(code)``.

    Args:
        message: One sentence without any piece of the input.
        code: The reason that the decision will carry.
        hint: What the caller can do about it.
    """

    def __init__(
        self, message: str, *, code: ReasonCode = ReasonCode.MALFORMED, hint: str = ""
    ) -> None:
        super().__init__(message, reason=ErrorReason.MALFORMED, hint=hint)
        self.code = code
