# SPDX-License-Identifier: Apache-2.0
"""Text from elsewhere, made harmless for a terminal.

Agents choose tool names, sessions and reasons; playbooks choose reasons; files choose themselves.
None of it may move the cursor, set the clipboard, colour a DENY green or hide half a line.

Laws:

1. What is printed holds no control character but the newlines that we put there ourselves.
2. What cannot be seen is made visible, as ``\\u{hex}``; nothing is dropped.
"""

from __future__ import annotations

from typing import Final

from sidecar.audit.safetext import escape_text

__all__ = ["escape", "escape_block"]

# Letters and symbols by their category, and yet blank: a name made of them looks like no name.
_BLANKS: Final = {
    code: f"\\u{{{code:x}}}"
    for code in (
        0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0,
        *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),
    )
}  # fmt: skip


def escape(text: object) -> str:
    """Return *text* on one line in which everything can be seen."""
    return escape_text(str(text)).translate(_BLANKS)


def escape_block(text: object) -> str:
    """Return *text* like ``escape``, but keep its line ends."""
    return "\n".join(escape(line) for line in str(text).split("\n"))
