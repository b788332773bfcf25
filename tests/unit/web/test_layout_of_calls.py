# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON is laid out without being written anew, and no string can break out of its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.canonical import canonicalise
from sidecar.web import pretty
from sidecar.web.pretty import CellKind, Line, all_pieces, lay_out
from sidecar.web.text import ChipKind, count_chips

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(['"},\n{"tool":"x"', "\\", "\\\\n", '\\"', "a\n\n\n\n\n\nb", "\x1b\x07\r\t"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def text_of(lines: tuple[Line, ...]) -> str:
    return "".join(piece.text for piece in all_pieces(lines))


def shown(lines: tuple[Line, ...]) -> list[str]:
    return ["".join(cell.piece.label for cell in line.cells) for line in lines]


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=5)
)
def test_d18_joining_what_is_shown_gives_the_hashed_bytes(document: dict[str, Any]) -> None:
    """Nothing is added, dropped or rewritten between the hash and the eye."""
    canonical = canonicalise(document)

    assert text_of(lay_out(canonical)).encode() == canonical


def test_a_call_is_laid_out_as_people_read_json() -> None:
    """One member to a line, indented; empty ones stay on it."""
    lines = lay_out(b'{"a":[],"b":{"c":[1,true],"d":"x"},"e":{}}')

    assert shown(lines) == [
        "{", '"a": [],', '"b": {', '"c": [', "1,", "true", "],", '"d": "x"', "},", '"e": {}', "}",
    ]  # fmt: skip
    assert [line.indent for line in lines] == [0, 1, 1, 2, 3, 3, 2, 2, 1, 1, 0]


def test_a_line_break_in_a_string_is_a_mark_and_a_continued_line() -> None:
    """What goes on with a string can be told from a line of the document."""
    lines = lay_out(canonicalise({"cmd": "one\ntwo"}))

    assert shown(lines) == ["{", '"cmd": "one\\n', 'two"', "}"]
    assert [line.is_continued for line in lines] == [False, False, True, False]


def test_a_string_cannot_look_like_a_line_of_its_own() -> None:
    """A faked member stands on a continued line, with its quotes escaped."""
    lines = lay_out(canonicalise({"note": 'x",\n  "tool": "files.read'}))

    faked = next(line for line in lines if "files.read" in shown((line,))[0])
    assert faked.is_continued
    assert '\\"tool\\"' in shown((faked,))[0]


def test_a_string_cannot_look_like_a_line_of_its_own_negative_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If strings were shown unescaped, the fake would read exactly like a member."""
    monkeypatch.setattr(pretty, "_escape_piece", lambda text: pretty.Piece(text, text[1:]))

    faked = shown(lay_out(canonicalise({"note": 'x",\n"tool": "files.read'})))

    assert '"tool": "files.read"' in faked


def test_escapes_of_control_characters_are_chips_and_counted_once_each() -> None:
    """JSON writes them as six characters; the banner counts one."""
    lines = lay_out(canonicalise({"a": "\x1b[2J\x07\r\b"}))

    chips = [piece.label for piece in all_pieces(lines) if piece.kind is not None]
    assert chips == ["\\u{001B}", "\\u{0007}", "\\u{000D}", "\\u{0008}"]
    assert count_chips(all_pieces(lines))[ChipKind.CONTROL] == 4


def test_d17_line_breaks_cannot_push_the_tail_away() -> None:
    """A thousand line breaks are one mark with a number; the tail is on the next line."""
    lines = lay_out(canonicalise({"cmd": "ls" + "\n" * 1000 + "rm -rf /"}))

    assert len(lines) == 4
    assert "\\n ×1000" in shown(lines)[1]
    assert "rm -rf /" in shown(lines)[2]


@pytest.mark.parametrize("padding", [" " * 5000, "\t" * 5000, "\u200b" * 5000])
def test_d17_padding_cannot_push_the_tail_away(padding: str) -> None:
    """A run of nothing is a mark; for tabs, whose escapes are seen, the text is simply all there."""
    lines = lay_out(canonicalise({"cmd": f"ls{padding}; rm -rf /"}))

    assert "; rm -rf /" in shown(lines)[1]
    assert text_of(lines).count("rm -rf /") == 1


def test_what_is_no_json_is_shown_as_it_is() -> None:
    """It cannot happen; if it does, nothing of it is swallowed."""
    assert text_of(lay_out(b'{"a":1} and \xe2\x80\xae more')) == '{"a":1} and \u202e more'


def test_kinds_tell_keys_from_values() -> None:
    """A value that reads like a key is coloured as a value."""
    (_, line, _) = lay_out(b'{"k":"k"}')

    assert [cell.kind for cell in line.cells] == [CellKind.KEY, CellKind.MARK, CellKind.TEXT]


def test_long_documents_are_complete() -> None:
    """Nothing is cut, however long it is."""
    document = {f"key{number:05}": "x" * 50 for number in range(2000)}

    lines = lay_out(canonicalise(document))

    assert len(lines) == 2002
    assert json.loads(text_of(lines)) == document
