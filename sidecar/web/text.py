# SPDX-License-Identifier: Apache-2.0
"""Hostile text, made visible: what an agent wrote becomes pieces that hide nothing.

A person decides by what they see, so nothing may be there that cannot be seen, and nothing may look
like something else. Laws:

1. Nothing is lost: joining ``text`` of all pieces gives the original, code point by code point.
2. A plain piece holds only characters that are printed where they stand: no control, format,
   bidirectional, zero-width, tag, filler, variation, private or unassigned character, no space but
   U+0020, no lone surrogate, no flood of combining marks, no combining mark without its base.
3. Everything else becomes a **chip**: a piece with a printable ``label`` (``\\u{202E}``,
   ``\\u{200B} ×300``, ``400 spaces``) and a ``kind`` that the page counts in a banner.
4. In a word that mixes Latin with another alphabet that looks like it, the foreign letters are
   chips too; so are characters that pass for punctuation of paths and host names.
5. Linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

__all__ = ["ChipKind", "Piece", "count_chips", "explain_chips", "has_chips", "pieces", "plain_text"]


class ChipKind(StrEnum):
    """What is wrong with what a chip stands for."""

    CONTROL = "control"
    DIRECTION = "direction"
    INVISIBLE = "invisible"
    SPACE = "space"
    MARKS = "marks"
    LOOKALIKE = "lookalike"
    UNKNOWN = "unknown"
    """Private, unassigned or lone surrogate: nobody knows what it shows."""


_EXPLAINED: Final = {
    ChipKind.CONTROL: ("control character", "control characters"),
    ChipKind.DIRECTION: (
        "character that reverses the reading direction",
        "characters that reverse the reading direction",
    ),
    ChipKind.INVISIBLE: ("invisible character", "invisible characters"),
    ChipKind.SPACE: ("unusual space or long padding", "unusual spaces or long paddings"),
    ChipKind.MARKS: ("pile of combining marks", "piles of combining marks"),
    ChipKind.LOOKALIKE: (
        "character that looks like another one",
        "characters that look like other ones",
    ),
    ChipKind.UNKNOWN: ("character without a meaning", "characters without a meaning"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a text. ``kind`` is None for a plain piece, whose ``label`` is its text."""

    text: str
    label: str
    kind: ChipKind | None = None
    name: str = ""
    """What the character is called, for a chip."""
    count: int = 1
    """How many of its kind a chip stands for: characters, but for paddings and piles of marks."""


_MAX_MARKS: Final = 3
_MAX_SPACES: Final = 16
_REPEATS: Final = 4
"""So many equal chips in a row become one with a number."""

_DIRECTION: Final = frozenset(
    chr(code)
    for start, end in ((0x202A, 0x202E), (0x2066, 0x2069), (0x200E, 0x200F), (0x061C, 0x061C))
    for code in range(start, end + 1)
)
# Printable by category, and still nothing to see (Default_Ignorable_Code_Point and blank fillers).
_BLANK: Final = frozenset(
    chr(code)
    for start, end in (
        (0x034F, 0x034F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x2065, 0x2065),
        (0x2800, 0x2800),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0x1D159, 0x1D159),
        (0xE0000, 0xE0FFF),
    )
    for code in range(start, end + 1)
)
# What passes for "/", "\", ".", ":" or ";" in a path, a host name or a command.
_PUNCTUATION: Final = frozenset(
    map(
        chr,
        (
            *(0x2044, 0x2215, 0x29F8, 0x2571, 0xFF0F, 0x1735, 0x3033, 0x30CE, 0x4E3F),
            *(0x2216, 0x29F5, 0x29F9, 0xFF3C, 0xFE68),
            *(0x2024, 0x0701, 0x0702, 0xFE52, 0xFF0E, 0xA4F8, 0xFF61, 0x06D4),
            *(0xA789, 0x2236, 0x02D0, 0xFF1A, 0xFE55, 0x0589, 0x05C3, 0x0703, 0x0704),
            *(0x037E, 0xFF1B, 0xFE54, 0x01C3, 0x2D51, 0xFE57, 0xFF01, 0xFF20, 0xFE6B, 0xFF03),
            *(0xFF06, 0xFF1F, 0xFF1D, 0xFF04, 0xFF5C, 0x2223, 0x01C0, 0xFF1E, 0xFF1C),
        ),
    )
)
# Alphabets whose letters pass for Latin ones. Han, Kana, Hangul, Thai, … beside Latin are everyday.
_LIKE_LATIN: Final = frozenset(
    {
        *("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET", "OSAGE"),
        *("GEORGIAN", "RUNIC", "WARANG", "GOTHIC", "CARIAN", "LYCIAN", "GLAGOLITIC", "OLD"),
        *("CANADIAN", "VAI", "BAMUM"),
    }
)
# Letters that nobody can tell from Latin ones; a word of nothing else is a disguise.
_TWINS: Final = frozenset(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u04cf\u0501\u051b\u051d"
    "\u0410\u0412\u0415\u0417\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u050c"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf\u03bd\u03c5"
)
# Letters of Latin's own that pass for plainer ones, and superscripts, which are everyday.
_LATIN_TWINS: Final = frozenset("\u0251\u0261")
_EVERYDAY: Final = frozenset("\u00aa\u00b2\u00b3\u00b9\u00ba")
_MIN_TWINS: Final = 3

_WORD: Final = re.compile(r"[^\W_]+")
_SPACES: Final = re.compile(" " * _MAX_SPACES)
_ASCII_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*\Z")


def pieces(text: str) -> tuple[Piece, ...]:
    """Return *text* in pieces (laws 1 to 4)."""
    if not text:
        return ()
    if _ASCII_PRINTABLE.match(text) and not _SPACES.search(text):
        return (Piece(text, text),)
    return tuple(_merged(_split(text)))


def has_chips(text: str) -> bool:
    """Return whether *text* holds anything that cannot be shown as it is."""
    return any(piece.kind is not None for piece in pieces(text))


def plain_text(text: str) -> str:
    """Return *text* with labels in place of what cannot be shown: for attributes and JSON."""
    return "".join(
        piece.text
        if piece.kind is None
        else f"[{piece.label}]"
        if " " in piece.label
        else piece.label
        for piece in pieces(text)
    )


def count_chips(found: Iterable[Piece]) -> Counter[ChipKind]:
    """Return how many characters of *found* became chips, by kind."""
    counter: Counter[ChipKind] = Counter()
    for piece in found:
        if piece.kind is not None:
            counter[piece.kind] += piece.count
    return counter


def explain_chips(counter: Counter[ChipKind]) -> tuple[str, ...]:
    """Return what a banner says: ``2 invisible characters``, one sentence part per kind."""
    return tuple(
        f"{number} {_EXPLAINED[kind][number > 1]}"
        for kind in ChipKind
        if (number := counter.get(kind, 0))
    )


def _split(text: str) -> Iterator[Piece]:
    foreign = _foreign_letters(text)
    start = position = 0
    length = len(text)
    has_base = False
    while position < length:
        char = text[position]
        end = position + 1
        kind: ChipKind | None = None
        if char == " ":
            while end < length and text[end] == " ":
                end += 1
            if end - position >= _MAX_SPACES:
                kind = ChipKind.SPACE
            has_base = True
        elif "!" <= char <= "~":
            has_base = True
        elif char not in _BLANK and unicodedata.category(char)[0] == "M":
            while end < length and _is_mark(text[end]):
                end += 1
            if not has_base or end - position > _MAX_MARKS:
                kind = ChipKind.MARKS
        elif position in foreign:
            kind = ChipKind.LOOKALIKE
        else:
            kind = _kind_of(char)
            has_base = kind is None
        if kind is not None:
            if start < position:
                yield Piece(text[start:position], text[start:position])
            yield _chip(text[position:end], kind)
            start = end
            has_base = False
        position = end
    if start < length:
        yield Piece(text[start:], text[start:])


def _is_mark(char: str) -> bool:
    return char > "\u02ff" and char not in _BLANK and unicodedata.category(char)[0] == "M"


@lru_cache(maxsize=4096)
def _kind_of(char: str) -> ChipKind | None:
    if char in _DIRECTION:
        return ChipKind.DIRECTION
    if char in _BLANK:
        return ChipKind.INVISIBLE
    if char in _PUNCTUATION or char in _LATIN_TWINS:
        return ChipKind.LOOKALIKE
    if char.isprintable():
        return ChipKind.LOOKALIKE if _is_dressed(char) else None
    category = unicodedata.category(char)
    if category == "Cc":
        return ChipKind.CONTROL
    if category == "Cf":
        return ChipKind.INVISIBLE
    if category in ("Zl", "Zp"):
        return ChipKind.CONTROL
    return ChipKind.SPACE if category == "Zs" else ChipKind.UNKNOWN


def _is_dressed(char: str) -> bool:
    """Return whether *char* is an ASCII letter or digit in another dress (full width, script, …)."""
    if char.isascii() or char in _EVERYDAY:
        return False
    folded = unicodedata.normalize("NFKC", char)
    return folded.isascii() and folded.isalnum()


def _chip(text: str, kind: ChipKind) -> Piece:
    if kind is ChipKind.SPACE and len(text) > 1:
        return Piece(text, f"{len(text)} spaces", kind, "a run of spaces")
    label = "".join(f"\\u{{{ord(char):04X}}}" for char in text[:_REPEATS])
    if len(text) > _REPEATS:
        label += f" +{len(text) - _REPEATS} more"
    name = unicodedata.name(text[0], "") or f"U+{ord(text[0]):04X}"
    return Piece(text, label, kind, name.capitalize())


def _merged(found: Iterator[Piece]) -> Iterator[Piece]:
    """Put long runs of one and the same chip into one, so that a flood does not drown the page."""
    run: list[Piece] = []
    for piece in found:
        if run and piece.kind is not None and piece == run[0]:
            run.append(piece)
            continue
        yield from _flush(run)
        run = [piece]
    yield from _flush(run)


def _flush(run: list[Piece]) -> Iterator[Piece]:
    if len(run) <= _REPEATS:
        yield from run
    else:
        first = run[0]
        label = f"{first.label} ×{len(run)}"
        yield Piece(first.text * len(run), label, first.kind, first.name, len(run))


def _foreign_letters(text: str) -> frozenset[int]:
    """Return where letters stand that pass for Latin ones (law 4)."""
    if text.isascii():
        return frozenset()
    found: set[int] = set()
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isascii():
            continue
        scripts = [_script(char) for char in word]
        letters = [char for char in word if not char.isdecimal()]
        is_disguise = len(letters) >= _MIN_TWINS and all(char in _TWINS for char in letters)
        if "LATIN" in scripts or is_disguise:
            found.update(
                match.start() + offset
                for offset, script in enumerate(scripts)
                if script in _LIKE_LATIN
            )
    return frozenset(found)


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    if char.isascii():
        return "LATIN" if char.isalpha() else ""
    return unicodedata.name(char, "").split(" ", 1)[0]
