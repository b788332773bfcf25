# SPDX-License-Identifier: Apache-2.0
"""Strict I-JSON: what enters, what is refused, how fast, and that both lanes agree."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.canonical import (
    DEFAULT_LIMITS,
    MAX_SAFE_INTEGER,
    JsonLimits,
    ShapeError,
    canonicalise,
    fast,
    parse,
    parse_and_canonicalise,
    parse_arguments,
)
from sidecar.model import ReasonCode

KIB = 1024
WIDE = JsonLimits(max_bytes=8 * KIB * KIB)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
)
keys = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(keys, values, max_size=5)


def code_of(data: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> ReasonCode:
    """Return the reason for which both entrances refuse *data*."""
    with pytest.raises(ShapeError) as first:
        parse_arguments(data, limits=limits)
    with pytest.raises(ShapeError) as second:
        parse_and_canonicalise(data, limits=limits)
    assert first.value.code is second.value.code
    return first.value.code


def typed(value: Any) -> Any:
    """Return *value* so that 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value).__name__, repr(value))


# A01


@pytest.mark.parametrize(
    "text",
    [
        '{"cmd":"ls","cmd":"rm"}',
        '{"cmd":"ls","cmd":"ls"}',
        '{"a":{"b":1,"c":2,"b":3}}',
        '{"a":[{"":1,"":2}]}',
        '{"a":1,"\\u0061":2}',
        '{"a:":1,"a:":2}',
        '{"x":"\\u003a","cmd":1,"cmd":2}',
        '{"é":1,"é":2}',
        '{"🏠":1,"🏠":2}',
        '{"a":0.5,"a":0.5}',
    ],
)
def test_a01_duplicate_keys_are_refused(text: str) -> None:
    """A key twice in one object is malformed at any depth and in any spelling."""
    assert code_of(text.encode()) is ReasonCode.MALFORMED


@settings(max_examples=150, deadline=None)
@given(objects.filter(bool), st.data())
def test_a01_a_key_repeated_anywhere_is_refused(value: dict[str, Any], data: st.DataObject) -> None:
    """Whatever the object: repeating one of its members is seen by both lanes."""
    key = data.draw(st.sampled_from(sorted(value)))
    member = f"{json.dumps(key, ensure_ascii=data.draw(st.booleans()))}:{json.dumps(value[key])}"
    text = json.dumps(value, ensure_ascii=False)[:-1] + f",{member}}}"

    assert code_of(text.encode()) is ReasonCode.MALFORMED


def test_a01_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the colon count and the pairs hook the last duplicate wins silently."""
    data = b'{"cmd":"ls","cmd":"rm"}'
    monkeypatch.setattr(parse, "_DECODER", json.JSONDecoder())

    assert parse_arguments(data) == {"cmd": "rm"}


def test_a01_fast_lane_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """The colon count is what makes the fast lane step back from duplicates."""
    data = b'{"cmd":"ls","cmd":"rm"}'
    assert fast.parse_object(data, max_bytes=1000, max_depth=32) is None

    monkeypatch.setattr(fast, "_has_every_member", lambda *_: True)
    tricked = fast.parse_object(data, max_bytes=1000, max_depth=32)

    assert tricked == ({"cmd": "rm"}, b'{"cmd":"rm"}')


# A02


@pytest.mark.parametrize(
    ("literal", "code"),
    [
        ("NaN", ReasonCode.MALFORMED),
        ("Infinity", ReasonCode.MALFORMED),
        ("-Infinity", ReasonCode.MALFORMED),
        ("1e400", ReasonCode.LIMITS),
        ("-1e400", ReasonCode.LIMITS),
        ("1e300", ReasonCode.LIMITS),
        ("9007199254740992", ReasonCode.LIMITS),
        ("-9007199254740992", ReasonCode.LIMITS),
        ("9007199254740993", ReasonCode.LIMITS),
        ("9007199254740992.0", ReasonCode.LIMITS),
        ("9007199254740993.5", ReasonCode.LIMITS),
        ("18446744073709551616", ReasonCode.LIMITS),
        ("1e-400", ReasonCode.LIMITS),
        ("-0.0e-1e", ReasonCode.MALFORMED),
        ("01", ReasonCode.MALFORMED),
        ("+1", ReasonCode.MALFORMED),
        (".5", ReasonCode.MALFORMED),
        ("1.", ReasonCode.MALFORMED),
        ("0x10", ReasonCode.MALFORMED),
        ("1_000", ReasonCode.MALFORMED),
        ("١", ReasonCode.MALFORMED),
        ("１", ReasonCode.MALFORMED),
        ("-", ReasonCode.MALFORMED),
        ("--1", ReasonCode.MALFORMED),
    ],
)
def test_a02_numbers_without_one_meaning_are_refused(literal: str, code: ReasonCode) -> None:
    """What is no I-JSON number, or no exact double, never enters."""
    assert code_of(f'{{"n":{literal}}}'.encode()) is code


@pytest.mark.parametrize(
    ("literals", "canonical"),
    [
        (("1", "1.0", "1e0", "10e-1", "0.1E1"), b"1"),
        (("0", "-0", "0.0", "-0.0", "-0e5", "0E-400"), b"0"),
        (("9007199254740991", "9007199254740991.0"), b"9007199254740991"),
        (("-9007199254740991", "-9.007199254740991e15"), b"-9007199254740991"),
        (("98.7", "98.70", "987e-1"), b"98.7"),
        (("1e-7", "0.0000001"), b"1e-7"),
        (("0.000001", "1e-6"), b"0.000001"),
        (("5e-324", "4.9e-324"), b"5e-324"),
    ],
)
def test_a02_equal_numbers_are_one_value(literals: tuple[str, ...], canonical: bytes) -> None:
    """1 and 1.0 give the same value, the same bytes and so the same fingerprint."""
    parsed = [parse_and_canonicalise(f'{{"n":{literal}}}'.encode()) for literal in literals]

    assert {form for _, form in parsed} == {b'{"n":' + canonical + b"}"}
    assert len({str(typed(value)) for value, _ in parsed}) == 1


def test_a02_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own decoder takes NaN, overflows 1e400 and lets neighbouring integers merge."""
    monkeypatch.setattr(parse, "_DECODER", json.JSONDecoder())

    assert parse_arguments(b'{"n":NaN}')["n"] != parse_arguments(b'{"n":NaN}')["n"]
    assert parse_arguments(b'{"n":1e400}')["n"] == float("inf")
    assert float(parse_arguments(b'{"n":9007199254740993}')["n"]) == 9007199254740992


# A03


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"\\ud800"}',
        '{"a":"\\udc00"}',
        '{"a":"\\ud800\\u0041"}',
        '{"a":"\\udc00\\ud800"}',
        '{"a":"\\u0000"}',
        '{"a":"x\\u0000y"}',
        '{"\\u0000":1}',
        '{"\\ud800":1}',
        '{"a":[[{"b":["\\ud800"]}]]}',
        '{"a":[[{"\\u0000":[]}]]}',
        '{"a":"\0"}',
        '{"a":"\x1f"}',
        '{"a":"\n"}',
    ],
)
def test_a03_surrogates_nul_and_raw_controls_are_refused(text: str) -> None:
    """No lone surrogate, no U+0000 and no unescaped control character, in keys as in values."""
    assert code_of(text.encode()) is ReasonCode.MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xf4\x90\x80\x80"}',
        b'{"a":"\xe2\x82"}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32-be"),
    ],
)
def test_a03_anything_but_utf8_is_refused(data: bytes) -> None:
    """Encoded surrogates, overlong forms, cut sequences and other encodings are malformed."""
    assert code_of(data) is ReasonCode.MALFORMED


def test_a03_byte_order_mark_is_refused_outside_and_kept_inside_strings() -> None:
    """A leading U+FEFF is malformed; inside a string it is hashed as it is."""
    assert code_of(b'\xef\xbb\xbf{"a":1}') is ReasonCode.MALFORMED

    value, canonical = parse_and_canonicalise('{"a":"\ufeffx"}'.encode())

    assert value == {"a": "\ufeffx"}
    assert canonical == '{"a":"\ufeffx"}'.encode()


def test_a03_other_spellings_of_a_character_stay_apart_or_come_together_as_json_says() -> None:
    """An escape and its character are one value; NFC and NFD are two."""
    escaped = parse_and_canonicalise(b'{"a":"\\u00e9\\ud83d\\ude00\\u2028"}')[1]
    plain = parse_and_canonicalise('{"a":"é😀\u2028"}'.encode())[1]
    decomposed = parse_and_canonicalise('{"a":"e\u0301😀\u2028"}'.encode())[1]

    assert escaped == plain
    assert decomposed != plain


def test_a03_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the walk over escaped strings a NUL and a lone surrogate enter."""
    monkeypatch.setattr(parse, "_check_strings", lambda *_: None)

    assert parse_arguments(b'{"a":"\\u0000"}') == {"a": "\0"}
    assert parse_arguments(b'{"a":"\\ud800"}') == {"a": "\ud800"}


# A04

MONSTERS = {
    "deep lists": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ReasonCode.LIMITS),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ReasonCode.LIMITS),
    "deep unclosed": (b'{"a":' + b"[" * 100_000, ReasonCode.LIMITS),
    "deep behind a string": (b'{"a":"[[[","b":' + b"[" * 5000 + b"]" * 5000, ReasonCode.LIMITS),
    "4,301-digit integer": (b'{"a":' + b"9" * 4301 + b"}", ReasonCode.LIMITS),
    "60,000-digit fraction": (b'{"a":9' + b"9" * 60_000 + b".5}", ReasonCode.LIMITS),
    "huge exponent": (b'{"a":1e' + b"9" * 60_000 + b"}", ReasonCode.LIMITS),
    "1 MiB string": (b'{"a":"' + b"x" * KIB * KIB + b'"}', ReasonCode.LIMITS),
    "100,000 keys": (
        ("{" + ",".join(f'"{index}":0' for index in range(100_000)) + "}").encode(),
        ReasonCode.LIMITS,
    ),
}


def best_seconds(data: bytes, limits: JsonLimits) -> float:
    """Return the best of five times of one refusal: what it costs, not what the machine does."""
    best = 60.0
    for _ in range(5):
        start = time.perf_counter()
        with pytest.raises(ShapeError):
            parse_and_canonicalise(data, limits=limits)
        best = min(best, time.perf_counter() - start)
    return best


@pytest.mark.parametrize("name", MONSTERS)
def test_a04_monsters_are_refused_quickly(name: str) -> None:
    """Within the default limits each monster costs less than 10 ms and never a RecursionError."""
    data, code = MONSTERS[name]
    expected = ReasonCode.TOO_LARGE if len(data) > DEFAULT_LIMITS.max_bytes else code

    assert code_of(data) is expected
    assert best_seconds(data, DEFAULT_LIMITS) < 0.010


@pytest.mark.parametrize("name", MONSTERS)
def test_a04_monsters_are_refused_for_what_they_are(name: str) -> None:
    """With a large limit on bytes the other limits still hold."""
    data, code = MONSTERS[name]

    assert code_of(data, WIDE) is code


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"' + b"\\" * 60_000,
        b'{"a":' + b'"\\"' * 20_000,
        b'{"a":"' + b'\\"' * 32_000,
        b'{"a":[' + b'"",' * 21_000,
        b'{"a":[' + b"[]," * 21_000 + b"[]]}",
        b'{"a":[' + b"{}," * 21_000 + b"{}]}",
        b'{"a":[' + b"1," * 32_000 + b"1]}",
        b'{"a":"' + b"\\u0041" * 10_000,
        b" " * 65_000,
        b"{" * 30_000 + b'"' * 30_000,
        b'{"a":' + b"-" * 60_000,
        b"\xf0" * 65_000,
        b'{"a":0.' + b"0" * 60_000 + b"1}",
        b'{"a":0.' + b"123456789" * 7000 + b"e-290",
    ],
    ids=range(14),
)
def test_a04_no_text_within_the_limit_is_slow(data: bytes) -> None:
    """What makes scanners quadratic costs less than 10 ms here."""
    assert len(data) <= DEFAULT_LIMITS.max_bytes
    assert best_seconds(data, DEFAULT_LIMITS) < 0.010


@pytest.mark.parametrize("limits", [DEFAULT_LIMITS, JsonLimits(max_depth=3), WIDE])
def test_a04_depth_limit_is_exact(limits: JsonLimits) -> None:
    """The object itself is depth 1; one level more than the limit is refused."""
    within = limits.max_depth - 1
    for opening, closing in ((b"[", b"]"), (b'{"b[{":', b"}")):
        core = b"" if opening == b"[" else b"1"
        good = b'{"a":' + opening * within + core + closing * within + b"}"
        bad = b'{"a":' + opening * (within + 1) + core + closing * (within + 1) + b"}"

        assert parse_arguments(good, limits=limits)
        assert code_of(bad, limits) is ReasonCode.LIMITS


def test_a04_brackets_in_strings_are_no_depth() -> None:
    """Any number of brackets may stand in a string, escaped quotes or not."""
    value = {"a": '[{"' * 500, "b": ["\\", '"', '\\"[']}

    assert parse_arguments(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "text", ['{"a":[' + "[]," * 40 + "[}", "{" * 5 + "]" * 40, '{"a":1}' + "]" * 40]
)
def test_a04_unbalanced_brackets_are_refused(text: str) -> None:
    """The bracket scan never lets anything pass that is not JSON."""
    with pytest.raises(ShapeError):
        parse_arguments(text.encode())


def test_a04_node_limit_is_exact() -> None:
    """10,000 values pass (the object, the list and 9,998 items), one more does not."""
    good = ('{"a":[' + ",".join("1" * 9_998) + "]}").encode()
    bad = ('{"a":[' + ",".join("1" * 9_999) + "]}").encode()

    assert len(parse_arguments(good)["a"]) == 9_998
    assert code_of(bad) is ReasonCode.LIMITS


def nodes(value: Any) -> int:
    """Count values the slow way."""
    children = value.values() if isinstance(value, dict) else value
    return 1 + (sum(map(nodes, children)) if isinstance(value, dict | list) else 0)


@settings(max_examples=150, deadline=None)
@given(objects, st.sampled_from([None, 1]))
def test_a04_nodes_are_counted_without_decoding(value: dict[str, Any], indent: int | None) -> None:
    """The count on the text is the count on the value: the limit holds to the node."""
    data = json.dumps(value, indent=indent).encode() + b" " * 200
    count = nodes(value)
    harmless = JsonLimits(max_nodes=count, max_bytes=10**6, max_string_bytes=10**6)

    assert nodes(parse_arguments(data, limits=harmless)) == count
    if count > 1:
        assert (
            code_of(data, dataclasses.replace(harmless, max_nodes=count - 1)) is ReasonCode.LIMITS
        )


@pytest.mark.parametrize(("letter", "count"), [("x", 100), ("é", 50), ("😀", 25)])
def test_a04_string_limit_is_exact_in_bytes(letter: str, count: int) -> None:
    """The limit counts UTF-8 bytes, of keys as of values."""
    limits = JsonLimits(max_string_bytes=100)

    for template in ('{{"a":"{}"}}', '{{"{}":1}}', '{{"a":[["{}"]]}}'):
        assert parse_arguments(template.format(letter * count).encode(), limits=limits)
        assert code_of(template.format(letter * count + "y").encode(), limits) is ReasonCode.LIMITS


def test_a04_depth_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the bracket scan the decoder recurses until Python gives up."""
    monkeypatch.setattr(parse, "_check_structure", lambda *_: None)
    monkeypatch.setattr(parse, "_decode", json.loads)

    with pytest.raises(RecursionError):
        parse_arguments(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", limits=WIDE)


def test_a04_digits_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the length test Python's own conversion raises a foreign exception."""
    monkeypatch.setattr(parse, "_DECODER", json.JSONDecoder())

    with pytest.raises(ValueError, match="digits"):
        parse_arguments(b'{"a":' + b"9" * 4301 + b"}")


# A15


def padded(size: int) -> bytes:
    """Return an object that takes exactly *size* bytes."""
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


@pytest.mark.parametrize("limit", [64, 1000, 64 * KIB])
def test_a15_size_limit_is_exact(limit: int) -> None:
    """limit - 1 and limit bytes pass whole; limit + 1 is refused, never cut short."""
    limits = JsonLimits(max_bytes=limit)

    for size in (limit - 1, limit):
        value, canonical = parse_and_canonicalise(padded(size), limits=limits)
        assert len(value["a"]) == size - 8
        assert len(canonical) == size
    assert code_of(padded(limit + 1), limits) is ReasonCode.TOO_LARGE
    assert code_of(padded(limit) + b" ", limits) is ReasonCode.TOO_LARGE


def test_a15_negative_control() -> None:
    """With a higher limit the same bytes pass: it is the limit that refuses them."""
    data = padded(64 * KIB + 1)
    assert code_of(data) is ReasonCode.TOO_LARGE

    assert parse_arguments(data, limits=JsonLimits(max_bytes=65 * KIB, max_string_bytes=65 * KIB))


# The grammar and the two lanes


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b" ", b"null", b"1", b'"a"', b"[]", b"[{}]", b"true", b"{", b"}", b"{]", b'{"a"}'),
        *(b"{,}", b'{"a":1,}', b"{'a':1}", b"{a:1}", b'{"a":1}}', b'{"a":1}{"b":2}', b'{"a":1}x'),
        *(b"{}\0", b"{}\x0c", b"\x0b{}", b"\xc2\xa0{}", b'{"a":1}//', b'{"a":/**/1}'),
        *(b'{"a":True}', b'{"a":"\\x41"}', b'{"a":"\\u00g0"}', b'{"a":"\\u 041"}', b'{"a":"'),
        *(b'{"a":tru}', b'{"a" 1}', b'{"a":1 "b":2}', b"{1:1}", b"{null:1}", b'{"a":[1,]}'),
    ],
)
def test_only_one_json_object_enters(data: bytes) -> None:
    """Anything but exactly one object in RFC 8259 grammar is malformed."""
    assert code_of(data) is ReasonCode.MALFORMED


def test_space_around_the_object_is_json() -> None:
    """The four JSON space characters may stand anywhere between tokens."""
    assert parse_arguments(b' \t\r\n{ "a" :\n[ 1 , 2 ] } \n') == {"a": [1, 2]}
    assert parse_arguments(b"{}") == {}


@settings(max_examples=250, deadline=None)
@given(objects, st.booleans(), st.sampled_from([None, 1, "\t"]))
@example({"a": 1e-7, "b": 0.001, "c": 123456789012.25, "d": 0.1}, False, None)
@example({"\uffff": 1, "😀": 2, "\ue000": 3}, False, None)
def test_lanes_agree_on_good_input(value: dict[str, Any], ascii_only: bool, indent: Any) -> None:
    """The fast lane's value and bytes are the strict lane's, type for type and byte for byte."""
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    try:
        strict = parse_arguments(data)
    except ShapeError:
        strict = None
    strict_form = strict_canonical(strict) if strict is not None else None

    quick = fast.parse_object(
        data, max_bytes=DEFAULT_LIMITS.max_harmless_bytes, max_depth=DEFAULT_LIMITS.max_depth
    )

    if quick is not None:
        assert typed(quick[0]) == typed(strict)
        assert quick[1] == strict_form


@settings(max_examples=300, deadline=None)
@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)
@example("0.1000000000000000055511151231257827021181583404541015625")
@example("2.22507385850720113605740979670913197593481954635164564e-308")
@example("9007199254740990.99999999999999999999")
def test_lanes_agree_on_any_literal(literal: str) -> None:
    """Both lanes read every number literal as the same value, or the strict one refuses it."""
    data = f'{{"n":{literal}}}'.encode()
    quick = fast.parse_object(data, max_bytes=10_000, max_depth=32)
    try:
        strict = parse_arguments(data)
    except ShapeError:
        assert quick is None
        return

    assert strict["n"] == float(literal)
    assert quick is None or typed(quick[0]) == typed(strict)


def strict_canonical(value: Any) -> bytes:
    """Return the library's RFC 8785 bytes."""
    import rfc8785

    return rfc8785.dumps(value)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_lanes_agree_on_damaged_input(data: st.DataObject) -> None:
    """What the fast lane takes of damaged text, the strict lane takes too, and equally."""
    text = bytearray(json.dumps(data.draw(objects), ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        piece = data.draw(st.sampled_from([b'"', b":", b",", b"{", b"}", b"[", b"\\", b"e1", b"."]))
        piece = data.draw(st.just(piece) | st.binary(max_size=2))
        text[place : place + data.draw(st.integers(0, 2))] = piece
    damaged = bytes(text)

    quick = fast.parse_object(damaged, max_bytes=10_000, max_depth=32)
    try:
        strict = parse_arguments(damaged)
    except ShapeError:
        assert quick is None
        return

    assert quick is None or typed(quick[0]) == typed(strict)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode(errors="replace"))
)
def test_no_bytes_raise_anything_but_shape_errors(data: bytes) -> None:
    """Garbage is refused by the domain error, and by nothing else."""
    try:
        outcome: Any = parse_arguments(data)
    except ShapeError as exc:
        outcome = exc.code

    assert isinstance(outcome, dict) or outcome in (
        ReasonCode.MALFORMED,
        ReasonCode.LIMITS,
        ReasonCode.TOO_LARGE,
    )


@settings(max_examples=200, deadline=None)
@given(objects)
def test_canonical_bytes_are_a_fixed_point(value: dict[str, Any]) -> None:
    """Parsing canonical bytes gives the same value and the same bytes again."""
    data = json.dumps(value).encode()
    try:
        parsed, canonical = parse_and_canonicalise(data)
    except ShapeError:
        return

    again, canonical_again = parse_and_canonicalise(canonical)

    assert canonical_again == canonical == canonicalise(parsed)
    assert typed(again) == typed(parsed)


@pytest.mark.parametrize("is_installed", [True, False])
def test_result_does_not_depend_on_orjson(
    is_installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without orjson everything takes the strict lane and comes out the same."""
    if not is_installed:
        monkeypatch.setattr(fast, "_orjson", None)

    value, canonical = parse_and_canonicalise('{"b":[1.50,"é"],"a":null,"😀":1}'.encode())

    assert value == {"b": [1.5, "é"], "a": None, "😀": 1}
    assert canonical == '{"a":null,"b":[1.5,"é"],"😀":1}'.encode()


def test_refusals_hold_no_piece_of_the_input() -> None:
    """Neither the sentence nor the chain behind it repeats arguments."""
    for data in (
        b'{"k":"hunter2"',
        b'{"hunter2":1,"hunter2":2}',
        b'{"a":"hunter2\xff"}',
        b'"hunter2"',
    ):
        with pytest.raises(ShapeError) as caught:
            parse_arguments(data)

        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_default_limits_are_the_documented_ones() -> None:
    """64 KiB, 32 levels, 10,000 values, 64 KiB to the string."""
    assert JsonLimits() == DEFAULT_LIMITS
    assert (DEFAULT_LIMITS.max_bytes, DEFAULT_LIMITS.max_string_bytes) == (65_536, 65_536)
    assert (DEFAULT_LIMITS.max_depth, DEFAULT_LIMITS.max_nodes) == (32, 10_000)
    assert JsonLimits(max_depth=200)


@pytest.mark.parametrize("field", ["max_bytes", "max_depth", "max_nodes", "max_string_bytes"])
def test_limits_of_nothing_are_misuse(field: str) -> None:
    """A limit below 1, or a depth near the interpreter's own, is a programming error."""
    with pytest.raises(ValueError, match="at least 1"):
        JsonLimits(**{field: 0})
    with pytest.raises(ValueError, match="max_depth"):
        JsonLimits(max_depth=201)
