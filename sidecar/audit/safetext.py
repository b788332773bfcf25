# SPDX-License-Identifier: Apache-2.0
"""Text that a terminal, a log viewer or a page can show without being steered by it.

Every character that Python does not call printable (controls, ESC, DEL, C1, line and paragraph
separators, bidirectional and zero-width marks, exotic spaces, lone surrogates, private and
unassigned code points) becomes visible as ``\\u{hex}``. The result is a fixed point: escaping it
again changes nothing.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_MAX_CHARS", "clip", "escape_text"]

DEFAULT_MAX_CHARS: Final = 512


def escape_text(text: str) -> str:
    """Return *text* with everything that cannot be seen made visible."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in text)


def clip(text: str, max_chars: int = DEFAULT_MAX_CHARS) -> str:
    """Return at most *max_chars* of *text*, and say how many characters were left out."""
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars]}… (+{len(text) - max_chars} characters)"
