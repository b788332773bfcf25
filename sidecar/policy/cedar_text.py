# SPDX-License-Identifier: Apache-2.0
"""Cedar source: one statement at a time, with its line, within limits that Cedar does not have.

Laws:

1. Nothing reaches Cedar's parser before its size and nesting are known to be small: deep nesting
   exhausts the parser's native stack, which would end the process instead of raising.
2. Our reading of where statements begin and end is checked against Cedar's own reading of the whole
   file; if they differ in any way, the file is refused. So no statement can hide.
3. Templates are refused: nothing here links them, so they would be rules that never apply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cedarpy

from sidecar.documents import decode_text
from sidecar.errors import DocumentError

__all__ = ["Statement", "line_mentioning", "parse_statements"]

MAX_STATEMENT_CHARS: Final = 65_536
MAX_TOKENS: Final = 1_500
"""Words and operators of one statement; strings and commas are not counted."""
MAX_NESTING: Final = 48
MAX_TREE_DEPTH: Final = 400

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+|//[^\n]*)
      | (?P<string>"[^"\\]*(?:\\.[^"\\]*)*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*|[0-9]+)
      | (?P<mark>::|&&|\|\||[=!<>]=|.)""",
    re.VERBOSE,
)
_EFFECTS: Final = frozenset({"permit", "forbid"})
_OPEN: Final = frozenset("([{")
_CLOSE: Final = frozenset(")]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One policy as it stands in its file, and Cedar's syntax tree of it."""

    path: str
    line: int
    text: str
    tree: Mapping[str, Any]

    def error(self, message: str, *, line: int | None = None, hint: str = "") -> DocumentError:
        """Return an error at *line*, or where the statement starts."""
        return DocumentError(message, path=self.path, line=line or self.line, hint=hint)


def parse_statements(
    data: bytes, *, path: str, problems: list[DocumentError]
) -> tuple[Statement, ...]:
    """Return the statements of the file *path*; those that are wrong go to *problems*.

    Raises:
        DocumentErrors: the file is not plain UTF-8 text.
    """
    text = decode_text(data, name=path)
    before = len(problems)
    pieces = _split(text, path, problems)
    statements = []
    for line, piece in pieces:
        tree = _parse_one(piece, line, path, problems)
        if tree is not None:
            statements.append(Statement(path=path, line=line, text=piece, tree=tree))
    if len(problems) > before:
        return tuple(statements)
    if _trees_of(text) != [statement.tree for statement in statements]:
        problems.append(
            DocumentError(
                "cannot be told apart into policies reliably",
                path=path,
                hint="end every policy with `;` and use `//` comments only",
            )
        )
    return tuple(statements)


def _split(text: str, path: str, problems: list[DocumentError]) -> list[tuple[int, str]]:
    """Return (line, text) of each statement. Stops at the first thing it cannot read."""
    pieces: list[tuple[int, str]] = []
    position, line = 0, 1
    start: int | None = None
    start_line, depth, tokens, has_effect = 1, 0, 0, False

    def refuse(message: str, hint: str, at: int) -> list[tuple[int, str]]:
        problems.append(DocumentError(message, path=path, line=at, hint=hint))
        return pieces

    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            return refuse("has a character that no policy holds", "remove it", line)
        lexeme = found[0]
        if found["space"] is None:
            if start is None:
                start, start_line, depth, tokens, has_effect = position, line, 0, 0, False
            if lexeme == '"':
                return refuse("has a string without its closing quote", "close it", line)
            if found["string"] is None and lexeme != ",":
                tokens += 1
            depth += (lexeme in _OPEN) - (lexeme in _CLOSE)
            if depth > MAX_NESTING:
                return refuse(
                    f"is nested deeper than {MAX_NESTING} levels", "split the policy", line
                )
            if tokens > MAX_TOKENS or found.end() - start > MAX_STATEMENT_CHARS:
                return refuse(
                    "is too long for one policy",
                    "split it, or move values into an agent's facts",
                    start_line,
                )
            is_effect = depth == 0 and lexeme in _EFFECTS
            if has_effect and depth == 0 and (is_effect or lexeme == "@"):
                return refuse("starts before the policy above is finished", "end it with `;`", line)
            has_effect = has_effect or is_effect
            if lexeme == ";":
                pieces.append((start_line, text[start : found.end()]))
                start = None
        line += lexeme.count("\n")
        position = found.end()
    if start is not None:
        return refuse("is not finished", "end the policy with `;`", start_line)
    return pieces


def _parse_one(
    piece: str, line: int, path: str, problems: list[DocumentError]
) -> Mapping[str, Any] | None:
    try:
        trees = _trees_of(piece)
    except _TemplateError:
        message, hint, place = "is a template (?principal or ?resource)", "name the agents", line
    except ValueError as exc:
        message, hint = str(exc).splitlines()[0][:200], "see the Cedar language reference"
        place = line_mentioning(piece, line, message)
    else:
        if len(trees) == 1:
            return trees[0]
        message, hint, place = "is not exactly one policy", "end every policy with `;`", line
    problems.append(DocumentError(message, path=path, line=place, hint=hint))
    return None


class _TemplateError(ValueError):
    pass


def _trees_of(text: str) -> list[Mapping[str, Any]]:
    """Return Cedar's syntax tree of each policy in *text*, in order.

    Raises:
        ValueError: it does not parse, or the tree is too deep to read.
    """
    encoded = cedarpy.policies_to_json_str(text)
    if _depth(encoded) > MAX_TREE_DEPTH:
        raise ValueError("is nested too deeply for one policy")
    parsed = json.loads(encoded)
    if parsed.get("templates"):
        raise _TemplateError
    policies = parsed["staticPolicies"]
    return [policies[f"policy{number}"] for number in range(len(policies))]


def _depth(encoded: str) -> int:
    deepest = depth = 0
    for bracket in re.finditer(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', encoded):
        mark = bracket[0]
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


def line_mentioning(piece: str, first_line: int, message: str) -> int:
    """Return the line of *piece* that the words in backticks or quotes of *message* stand on.

    Cedar's messages carry no position; the name that they quote is the best guess there is.
    """
    for quoted in re.findall(r'`([^`]+)`|"([^"]+)"', message):
        for word in (quoted[0] or quoted[1], (quoted[0] or quoted[1]).rsplit(".", 1)[-1]):
            pattern = rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9_])"
            if found := re.search(pattern, piece):
                return first_line + piece.count("\n", 0, found.start())
    return first_line
