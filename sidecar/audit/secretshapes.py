# SPDX-License-Identifier: Apache-2.0
"""Finds text that has the shape of a secret.

A net with known holes: it catches the common shapes where a person revealed an argument that turns
out to hold one. What keeps secrets out is that arguments are hidden by default (``redaction``).

Law: the time is linear in the text. Every repetition is bounded or over one character class that
the next part excludes, and each pattern starts with a literal, which the engine can look for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

__all__ = ["SHORTEST_SECRET", "find_secrets", "has_secret"]

SHORTEST_SECRET: Final = 8
_NESTING: Final = 2

# The look-behinds stand behind the literal that they guard: in front they would switch off the
# engine's search for that literal.
_PREFIXED = re.compile(
    r"""
      -----BEGIN[A-Z0-9 ]{0,40}PRIVATE\ KEY-----[^-]*(?:-----END[A-Z0-9 ]{0,40}-----)?
    | eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}
    | A(?:KIA|SIA|BIA|CCA|GPA|IDA|NPA|NVA|PKA|ROA)[A-Z0-9]{12,}
    | A(?:Iza|GE-SECRET-KEY-1)[\w-]{12,}
    | gh[pousr]_\w{12,} | github_pat_\w{12,} | glpat-[\w-]{12,}
    | hf_\w{16,} | npm_\w{16,} | pypi-[\w-]{12,} | ya29\.[\w-]{12,}
    | xox[abeoprs]-[\w-]{8,}
    | sk[-_](?<![A-Za-z0-9]sk[-_])[\w-]{16,} | rk[-_](?<![A-Za-z0-9]rk[-_])[\w-]{16,}
    | SG\.[\w-]{12,}\.[\w-]{12,}
    """,
    re.VERBOSE,
)
_SCHEMED = re.compile(r"(?:bearer|basic|negotiate|digest)[ \t]{1,4}[\w.~+/=:-]{6,}")
_ASSIGNED = re.compile(
    r"""(?:pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key
        |credential|authorization|cookie|session[_-]?id|signature|sig)
        s?["'\]]{0,2}\s{0,4}[=:]\s{0,4}["']?[^\s"'&,;]{1,4096}""",
    re.VERBOSE,
)
_ENCODED_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_PERCENT_RUN = re.compile(r"[^\s%]{0,256}(?:%[0-9A-Fa-f]{2}[^\s%]{0,256}){1,256}")
_URLSAFE: Final = bytes.maketrans(b"-_", b"+/")
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def has_secret(text: str) -> bool:
    """Return whether something in *text* has the shape of a secret."""
    return next(_spans(text, _NESTING), None) is not None


def find_secrets(text: str) -> list[tuple[int, int]]:
    """Return where secrets stand in *text*: (start, end) pairs in order, without overlap."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(_spans(text, _NESTING)):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def _spans(text: str, nesting: int) -> Iterator[tuple[int, int]]:
    if len(text) < SHORTEST_SECRET:
        return
    for match in _PREFIXED.finditer(text):
        yield match.span()
    has_assignment = "=" in text or ":" in text
    if has_assignment or " " in text or "\t" in text:
        lowered = text.lower() if text.isascii() else text.translate(_LOWER)
        for match in _SCHEMED.finditer(lowered):
            yield match.span()
        if has_assignment:
            for match in _ASSIGNED.finditer(lowered):
                yield match.span()
    if nesting:
        yield from _encoded_spans(text, nesting)


def _encoded_spans(text: str, nesting: int) -> Iterator[tuple[int, int]]:
    for match in _ENCODED_RUN.finditer(text):
        for decoded in _decodings(match[0]):
            if next(_spans(decoded.decode("latin-1"), nesting - 1), None):
                yield match.span()
                break
    if "%" in text:
        for match in _PERCENT_RUN.finditer(text):
            if next(_spans(unquote(match[0], errors="replace"), nesting - 1), None):
                yield match.span()


def _decodings(run: str) -> Iterator[bytes]:
    raw = run.rstrip("=").encode("ascii").translate(_URLSAFE)
    if _HEX.fullmatch(run):
        yield binascii.unhexlify(run)
    for start in range(4):  # the run may begin with characters that are not part of the encoding
        part = raw[start:]
        yield base64.b64decode(part[: len(part) // 4 * 4])
