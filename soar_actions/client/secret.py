# SPDX-License-Identifier: Apache-2.0
"""Text that shows itself only to whoever asks for it by name."""

from __future__ import annotations

import hmac

__all__ = ["Secret"]


class Secret:
    """A credential. Neither ``repr`` nor ``str`` nor a format shows it; it cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, to be sent where it belongs."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(…)" if self._text else "Secret()"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
