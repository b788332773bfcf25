# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON as people read it: the same bytes, laid out in lines.

Laws:

1. The layout is lexical. Tokens are taken from the canonical bytes and only white space is put
   between them; nothing is parsed into values and written anew. Joining the ``text`` of all pieces
   of all lines gives the canonical text, so what is read is what was hashed.
2. A string stays a JSON string: quotes and backslashes inside it keep their escapes, so no string
   can look like the end of itself. A ``\\n`` in it is shown as a mark and breaks the line; the next
   line is *continued* and looks different in the margin, so no string can look like a line of its
   own.
3. Nothing is left out, however long it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.web.text import ChipKind, Piece, pieces

__all__ = ["Cell", "CellKind", "Line", "all_pieces", "lay_out"]


class CellKind(StrEnum):
    """What a piece of a line is; the page colours by it."""

    MARK = "mark"
    KEY = "key"
    TEXT = "text"
    NUMBER = "number"
    WORD = "word"
    ESCAPE = "escape"


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of a line and what it is."""

    kind: CellKind
    piece: Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. ``indent`` is in steps; a continued line goes on with the string before it."""

    cells: tuple[Cell, ...]
    indent: int
    is_continued: bool = False


_TOKEN: Final = re.compile(
    r'(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9][0-9.eE+-]*)|(?P<word>true|false|null)'
    r"|(?P<open>[{\[])|(?P<close>[}\]])|(?P<comma>,)|(?P<colon>:)",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r'((?:\\n)+|\\(?:["\\/bfrt]|u[0-9a-fA-F]{4}))')
_SHORT: Final = {"b": 8, "f": 12, "r": 13}
_MAX_BREAKS: Final = 3
"""More line breaks in a row than this are one mark with a number: padding must not push away."""


def lay_out(canonical: bytes) -> tuple[Line, ...]:
    """Return *canonical* in lines.

    Raises:
        UnicodeDecodeError: It is not UTF-8, so it is not canonical JSON.
    """
    text = canonical.decode("utf-8")
    layout = _Layout()
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            # Not canonical JSON. It hashes to what it hashes to, so it is shown as it is.
            layout.text(text[position:], CellKind.TEXT)
            break
        layout.token(str(match.lastgroup), match[0], text[match.end() : match.end() + 1])
        position = match.end()
    return layout.finish()


class _Layout:
    """Builds lines from tokens."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._cells: list[Cell] = []
        self._depth = 0
        self._indent = 0
        self._is_continued = False

    def token(self, kind: str, text: str, following: str) -> None:
        match kind:
            case "open":
                self._mark(text)
                if following not in ("}", "]"):
                    self._depth += 1
                    self._break()
            case "close":
                if not (self._cells and self._cells[-1].piece.text in ("{", "[")):
                    self._depth = max(0, self._depth - 1)
                    self._break()
                self._mark(text)
            case "comma":
                self._mark(text)
                self._break()
            case "colon":
                self._cells.append(Cell(CellKind.MARK, Piece(text, ": ")))
            case "string":
                self._string(text, CellKind.KEY if following == ":" else CellKind.TEXT)
            case "number":
                self.text(text, CellKind.NUMBER)
            case _:
                self.text(text, CellKind.WORD)

    def text(self, text: str, kind: CellKind) -> None:
        self._cells.extend(Cell(kind, piece) for piece in pieces(text))

    def finish(self) -> tuple[Line, ...]:
        if self._cells:
            self._break()
        return tuple(self._lines)

    def _string(self, text: str, kind: CellKind) -> None:
        for part in _ESCAPE.split(text):
            if not part:
                continue
            if part.startswith("\\n"):
                self._newlines(part)
            elif part.startswith("\\") and _ESCAPE.fullmatch(part):
                self._cells.append(Cell(CellKind.ESCAPE, _escape_piece(part)))
            else:
                self.text(part, kind)

    def _newlines(self, text: str) -> None:
        count = len(text) // 2
        if count > _MAX_BREAKS:
            label = f"\\n ×{count}"
            piece = Piece(text, label, ChipKind.SPACE, f"{count} line breaks")
            self._cells.append(Cell(CellKind.ESCAPE, piece))
            self._break(is_continued=True)
            return
        for _ in range(count):
            self._cells.append(Cell(CellKind.ESCAPE, Piece("\\n", "\\n")))
            self._break(is_continued=True)

    def _mark(self, text: str) -> None:
        self._cells.append(Cell(CellKind.MARK, Piece(text, text)))

    def _break(self, *, is_continued: bool = False) -> None:
        self._lines.append(
            Line(cells=tuple(self._cells), indent=self._indent, is_continued=self._is_continued)
        )
        self._cells = []
        self._indent = self._depth
        self._is_continued = is_continued


def _escape_piece(text: str) -> Piece:
    letter = text[1]
    if letter == "u":
        code = int(text[2:], 16)
    elif letter in _SHORT:
        code = _SHORT[letter]
    else:
        return Piece(text, text)  # \" \\ \/ \t: seen as they stand
    return Piece(text, f"\\u{{{code:04X}}}", ChipKind.CONTROL, f"U+{code:04X}")


def all_pieces(lines: tuple[Line, ...]) -> Iterator[Piece]:
    """Yield every piece of *lines*."""
    return (cell.piece for line in lines for cell in line.cells)
