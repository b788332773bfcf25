# SPDX-License-Identifier: Apache-2.0
"""Hostile text becomes pieces that hide nothing and lose nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.web import text as module
from sidecar.web.text import ChipKind, count_chips, explain_chips, has_chips, pieces, plain_text

NASTY = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.characters(categories=("Cc", "Cf", "Cs", "Co", "Zs", "Zl", "Zp", "Mn", "Me", "Mc")),
        st.sampled_from("a b\u0301\u200b\u202e\u0430\U000e0041\ufe0f\u115f\u2800 "),
    ),
    max_size=60,
)

D15 = {
    "right-to-left override": ("pay\u202eexe.txt", ChipKind.DIRECTION),
    "isolate": ("\u2066ok\u2069", ChipKind.DIRECTION),
    "left-to-right mark": ("a\u200eb", ChipKind.DIRECTION),
    "arabic letter mark": ("a\u061cb", ChipKind.DIRECTION),
    "zero-width space": ("rm\u200b -rf", ChipKind.INVISIBLE),
    "zero-width joiner": ("rm\u200d", ChipKind.INVISIBLE),
    "word joiner": ("rm\u2060", ChipKind.INVISIBLE),
    "byte order mark": ("\ufeffrm", ChipKind.INVISIBLE),
    "soft hyphen": ("r\u00adm", ChipKind.INVISIBLE),
    "tag characters": ("safe\U000e0072\U000e006d", ChipKind.INVISIBLE),
    "language tag": ("\U000e0001", ChipKind.INVISIBLE),
    "variation selector": ("a\ufe0f", ChipKind.INVISIBLE),
    "variation selector 17": ("a\U000e0100", ChipKind.INVISIBLE),
    "hangul filler": ("a\u3164b", ChipKind.INVISIBLE),
    "choseong filler": ("a\u115fb", ChipKind.INVISIBLE),
    "half-width filler": ("a\uffa0b", ChipKind.INVISIBLE),
    "braille blank": ("a\u2800b", ChipKind.INVISIBLE),
    "grapheme joiner": ("a\u034fb", ChipKind.INVISIBLE),
    "mongolian vowel separator": ("a\u180eb", ChipKind.INVISIBLE),
    "escape": ("\x1b[2J", ChipKind.CONTROL),
    "null": ("a\x00b", ChipKind.CONTROL),
    "newline": ("a\nb", ChipKind.CONTROL),
    "carriage return": ("real\rfake", ChipKind.CONTROL),
    "C1": ("a\x9bb", ChipKind.CONTROL),
    "line separator": ("a\u2028b", ChipKind.CONTROL),
    "paragraph separator": ("a\u2029b", ChipKind.CONTROL),
    "no-break space": ("a\u00a0b", ChipKind.SPACE),
    "ideographic space": ("a\u3000b", ChipKind.SPACE),
    "padding": ("ls" + " " * 300 + "; rm", ChipKind.SPACE),
    "combining flood": ("Z\u0301\u0302\u0303\u0304\u0305", ChipKind.MARKS),
    "mark without base": ("\u0301abc", ChipKind.MARKS),
    "mark on a mark of ours": ("\u200b\u0301", ChipKind.MARKS),
    "cyrillic a": ("p\u0430ypal.com", ChipKind.LOOKALIKE),
    "greek omicron": ("g\u03bf\u03bfgle", ChipKind.LOOKALIKE),
    "armenian": ("g\u0585ogle", ChipKind.LOOKALIKE),
    "cherokee": ("\u13dftore", ChipKind.LOOKALIKE),
    "all cyrillic twins": ("\u0430\u0440\u0440\u04cf\u0435.com", ChipKind.LOOKALIKE),
    "full width": ("\uff52\uff4d", ChipKind.LOOKALIKE),
    "mathematical": ("\U0001d42b\U0001d426", ChipKind.LOOKALIKE),
    "division slash": ("example.com\u2215path", ChipKind.LOOKALIKE),
    "fraction slash": ("example.com\u2044path", ChipKind.LOOKALIKE),
    "one dot leader": ("example\u2024com", ChipKind.LOOKALIKE),
    "full-width semicolon": ("ls\uff1brm", ChipKind.LOOKALIKE),
    "greek question mark": ("ls\u037erm", ChipKind.LOOKALIKE),
    "latin alpha": ("p\u0251ypal", ChipKind.LOOKALIKE),
    "private use": ("a\ue000b", ChipKind.UNKNOWN),
    "unassigned": ("a\u0378b", ChipKind.UNKNOWN),
    "lone surrogate": ("a\ud800b", ChipKind.UNKNOWN),
}


@given(NASTY)
def test_nothing_is_lost(text: str) -> None:
    """Joining the pieces gives the text, code point by code point."""
    assert "".join(piece.text for piece in pieces(text)) == text


@given(NASTY)
def test_d15_a_plain_piece_hides_nothing(text: str) -> None:
    """No control, format, separator, private, surrogate, filler or pile of marks stays as it is."""
    for piece in pieces(text):
        if piece.kind is not None:
            continue
        assert piece.label == piece.text
        marks = 0
        for place, char in enumerate(piece.text):
            assert char.isprintable(), hex(ord(char))
            assert char not in module._BLANK
            assert char not in module._PUNCTUATION
            is_mark = unicodedata.category(char)[0] == "M"
            marks = marks + 1 if is_mark else 0
            assert marks <= 3
            assert not (is_mark and place == 0)


@given(NASTY)
def test_a_chip_says_what_it_stands_for_in_printable_characters(text: str) -> None:
    """Labels can be read everywhere, also by a reader of the page's source."""
    for piece in pieces(text):
        if piece.kind is not None:
            assert piece.label.replace("×", "x").isascii()
            assert piece.label.isprintable()
            assert piece.name
            assert piece.count >= 1


@given(NASTY)
def test_a_plain_text_stays_as_it_is(text: str) -> None:
    """Text for attributes is a fixed point: showing it twice shows the same."""
    assert plain_text(plain_text(text)) == plain_text(text)
    assert plain_text(text).isprintable()


@pytest.mark.parametrize("name", D15)
def test_d15_every_trick_becomes_a_chip(name: str) -> None:
    """Each trick of the catalogue is shown as what it is, and named in the banner."""
    text, kind = D15[name]

    found = pieces(text)

    assert kind in {piece.kind for piece in found}
    assert explain_chips(count_chips(found))


def test_d15_every_trick_becomes_a_chip_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look at each character the tricks stay in the text as they are."""
    monkeypatch.setattr(module, "_kind_of", lambda char: None)
    monkeypatch.setattr(module, "_foreign_letters", lambda text: frozenset())
    monkeypatch.setattr(module, "_MAX_MARKS", 10**6)

    survivors = {name for name, (text, _) in D15.items() if not has_chips(text)}

    assert {"right-to-left override", "tag characters", "escape", "cyrillic a"} <= survivors


@pytest.mark.parametrize(
    "text",
    [
        "Grüße aus Köln, naïve café, señor, Łódź, İstanbul, Ελλάδα, Привет, мир",
        "日本語のテキスト Tシャツ",
        "한국어 텍스트",
        "हिन्दी में नमस्ते",
        "ภาษาไทย",
        "e\u0301te\u0301",
        "5 m² à 20 €, 1–2 — “quoted” … ½",
        'rm -rf "$HOME"/x && echo $((1+1)) | tee ~/y; # ok',
        "a  b   c    indented",
    ],
)
def test_everyday_text_stays_as_it_is(text: str) -> None:
    """What people of any language write is no trick: a banner that always shows warns of nothing."""
    assert not has_chips(text)


def test_a_flood_becomes_one_chip_with_a_number() -> None:
    """Thousands of equal characters do not drown the page."""
    found = pieces("a" + "\u200b" * 5000 + "b")

    assert [piece.label for piece in found] == ["a", "\\u{200B} ×5000", "b"]
    assert count_chips(found)[ChipKind.INVISIBLE] == 5000


def test_a_mixed_word_marks_only_the_foreign_letters() -> None:
    """Who reads it sees which letter is not what it looks like."""
    labels = [piece.label for piece in pieces("p\u0430yp\u0430l.com is not paypal.com")]

    assert labels == ["p", "\\u{0430}", "yp", "\\u{0430}", "l.com is not paypal.com"]


def test_the_banner_counts_by_kind() -> None:
    """One part of a sentence per kind, with its number."""
    found = pieces("\u202e\u202c x\u200by " + " " * 40)

    assert explain_chips(count_chips(found)) == (
        "2 characters that reverse the reading direction",
        "1 invisible character",
        "1 unusual space or long padding",
    )


def test_long_texts_take_linear_time() -> None:
    """Every character is looked at a bounded number of times."""
    looks = 0
    real = module._kind_of.__wrapped__

    def counting(char: str) -> ChipKind | None:
        nonlocal looks
        looks += 1
        return real(char)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_kind_of", counting)
        found = pieces("é\u202e" * 10_000)

    assert looks <= 20_000
    assert sum(len(piece.text) for piece in found) == 20_000
