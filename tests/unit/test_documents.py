# SPDX-License-Identifier: Apache-2.0
"""Strict YAML: K02 (what is refused), and the messages people get."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from sidecar import documents
from sidecar.documents import (
    Document,
    DocumentErrors,
    closest,
    did_you_mean,
    load_document,
    load_validated,
    parse_document,
    short,
    validate_document,
)
from sidecar.errors import DocumentError, ErrorReason


class _Inner(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    enabled: bool = False
    api_key: str = ""


class _Item(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    kind: Literal["read", "write"]
    count: Annotated[int, Field(ge=1)] = 1
    names: list[str] = Field(default_factory=list)
    inner: _Inner | None = None


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    version: int
    items: dict[str, _Item] = Field(default_factory=dict)


_AMBIGUOUS_WORDS = [
    "yes", "no", "on", "off", "Yes", "NO", "On", "OFF", "y", "n", "Y", "N", "True", "FALSE",
    "Null", "NULL", "~", "0o10", "010", "0x1F", "0b11", "1_000", "1_0.5", "+1", ".5", "1.",
    "1e3", "1.e3", ".inf", "-.inf", ".NaN", "12:30", "12:30:45", "190:20:30.15", "2024-01-01",
    "2024-1-1", "=", "<<", "-0", "-0.0", "10,000", "1.0e400", "0o8", "00", "-010",
]  # fmt: skip


def parse(text: str) -> Any:
    return parse_document(text.encode(), name="f.yaml").data


def refusal(text: str | bytes) -> DocumentErrors:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(DocumentErrors) as caught:
        parse_document(data, name="f.yaml")
    return caught.value


def test_plain_values_have_the_obvious_types() -> None:
    """Canonical numbers, true, false and null are typed; everything else is text."""
    data = parse(
        "version: 1\na: -7\nb: 0.5\nc: 1.5e3\nd: true\ne: null\nf: some words\n"
        "g: 10.0.0.1\nh: 1h\ni: \"no\"\nj: '012'\nk: |\n  yes\nl: [x, 2]\nm: {}\nnn: 0\n"
        "o: v1.2.3\np: a:b\nq: 30s\n"
    )

    assert data == {
        "version": 1, "a": -7, "b": 0.5, "c": 1500.0, "d": True, "e": None, "f": "some words",
        "g": "10.0.0.1", "h": "1h", "i": "no", "j": "012", "k": "yes\n", "l": ["x", 2], "m": {},
        "nn": 0, "o": "v1.2.3", "p": "a:b", "q": "30s",
    }  # fmt: skip
    assert type(data["version"]) is int
    assert type(data["b"]) is float


@pytest.mark.parametrize("word", _AMBIGUOUS_WORDS)
@pytest.mark.parametrize("shape", ["a: {}", "a: [{}]", "{}: 1", "a:\n  - b: {}"])
def test_k02_words_that_yaml_readers_disagree_on_are_refused(word: str, shape: str) -> None:
    """An unquoted word that some YAML types differently is an error that says: quote it."""
    error = refusal(shape.format(word))

    assert "quote it" in str(error)
    assert error.line == shape.format(word)[: shape.format(word).index(word)].count("\n") + 1


@pytest.mark.parametrize("word", ["no", "0o10", "1_000", "2024-01-01", "~"])
def test_k02_ambiguous_words_negative_control(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check the word would slip through as some value."""
    monkeypatch.setattr(documents, "_AMBIGUOUS", documents.re.compile("(?!)"))

    assert parse(f"a: {word}") == {"a": word}
    assert yaml.safe_load(f"a: {word}") != {"a": word} or word == "0o10"


def test_k02_quoted_words_are_text() -> None:
    """The remedy works: quoted, each of those words is text."""
    assert parse("a: 'no'\nb: \"2024-01-01\"\n'on': x") == {"a": "no", "b": "2024-01-01", "on": "x"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "appears twice (first on line 1)"),
        ("a:\n  b: {c: 1, c: 2}", 2, "a.b.c: appears twice"),
        ("a: 1\n\tb: 2", 2, "tab"),
        ("a: 'x\ty'", 1, "tab"),
        ("a: &x 1", 1, "anchor"),
        ("a: &x 1\nb: *x", 2, "alias"),
        ("<<: {a: 1}", 1, "quote it"),
        ("a: !!python/object/apply:os.system [id]", 1, "tag"),
        ("a: !local x", 1, "tag"),
        ("--- !!map\na: 1", 1, "tag"),
        ("%YAML 1.2\n---\na: 1", 1, "directive"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: [1", 1, "f.yaml"),
        ("a: 1\nb: c: d", 2, "mapping values"),
        ("? [a]\n: 1", 1, "not a word"),
        ("1: a", 1, "not text"),
        ("null: a", 1, "not text"),
        ("true: a", 1, "not text"),
        ("a:\nb: 1", 1, "has no value"),
        ("a: [x,,y]", 1, "f.yaml"),
        ("", 1, "empty"),
        ("# nothing\n", 1, "empty"),
        ("- a", 1, "empty or not a list"),
        ("just text", 1, "empty or not a list"),
        ("a: 1\nb: \u200bx", 2, "invisible character U+200B"),
        ("a: \u202ex", 1, "U+202E"),
        ("a: x\rb: y", 1, "U+000D"),
        ("a: x\u2028b", 1, "U+2028"),
        ("a: \x07", 1, "U+0007"),
        ("a: 12345678901234567890", 1, "too large"),
    ],
)
def test_k02_bad_yaml_names_line_and_cause(text: str, line: int, words: str) -> None:
    """Every construct outside the strict subset is refused, with its line and what is wrong."""
    error = refusal(text)

    assert words in str(error)
    assert line in {problem.line for problem in error.all}
    assert all(problem.path == "f.yaml" for problem in error.all)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbfa: 1", "byte order mark"),
        ("a: 1".encode("utf-16"), "byte order mark"),
        (b"a: \xff", "not UTF-8"),
        (b"a: 1\nb: \xed\xa0\x80", "f.yaml:2: is not UTF-8"),
        (b"a: x" + b"y" * (1 << 20), "larger than 1048576 bytes"),
    ],
)
def test_k02_bytes_that_are_not_plain_text_are_refused(data: bytes, words: str) -> None:
    """Byte order marks, other encodings and oversized files are refused."""
    assert words in str(refusal(data))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "{a: " * 100_000,
        "- " * 200_000,
        "? " * 100_000,
        "a: " + "[" * 33 + "]" * 33,
        "a:\n" + "".join("  " * depth + "b:\n" for depth in range(1, 40)),
        "x: [" + "1, " * 100_001 + "]",
        "a: &a [x]\n" + "".join(f"b{i}: [*a, *a, *a]\n" for i in range(1000)),
        "a: " + "&x " * 50_000,
        "!" * 100_000,
        "a: " + '"x"' * 50_000,
        "a" * 200_000 + ": 1",
        "#" * 1_000_000,
        "a: [" + "]" * 100_000,
        "".join(f"k: {i}\n" for i in range(50_000)),
        "'" * 100_001,
        ": " * 200_000,
    ],
)
def test_k02_hostile_files_are_refused_in_bounded_time(text: str) -> None:
    """Deep, wide, aliased or endless files cost little and raise only our error."""
    start = time.perf_counter()
    refusal(text)

    assert time.perf_counter() - start < 3


def test_k02_alias_bomb_negative_control() -> None:
    """What the alias rule prevents: an ordinary loader expands the bomb."""
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"

    assert str(yaml.safe_load(bomb)["d"]).count("x") == 16
    assert "alias" in str(refusal(bomb))


def test_depth_and_node_limits_are_exact() -> None:
    """32 levels and 100,000 values pass; one more does not."""
    deepest = "a: " + "[" * 31 + "]" * 31

    assert parse(deepest)
    assert "deeper than 32" in str(refusal("a: " + "[" * 32 + "]" * 32))
    small = parse_document(b"a: [1, 2]", name="f", max_nodes=5)
    assert small.data == {"a": [1, 2]}
    with pytest.raises(DocumentErrors, match="more than 4 values"):
        parse_document(b"a: [1, 2]", name="f", max_nodes=4)


def test_all_problems_are_reported_together_and_the_message_is_short() -> None:
    """One refusal names every problem; its text shows ten of them."""
    error = refusal("".join(f"k{i}: no\n" for i in range(25)))

    assert len(error.all) == 25
    assert [problem.line for problem in error.all] == list(range(1, 26))
    assert "25 problems" in str(error)
    assert str(error).count("quote it") == 10
    assert "… and 15 more" in str(error)
    assert isinstance(error, DocumentError)


def test_line_of_finds_keys_items_and_the_nearest_parent() -> None:
    """Every key and item knows its line; what is not there has its parent's line."""
    document = parse_document(b"a: 1\nb:\n  - x\n  - c: 2\n    d: {e: 3}\n", name="f")

    assert [
        document.line_of(path)
        for path in ((), ("a",), ("b",), ("b", 1), ("b", 1, "d", "e"), ("b", 1, "zz"), ("q",))
    ] == [1, 1, 2, 4, 5, 4, 1]
    assert str(document.error(("b", 1, "odd key"), "is odd")) == 'f:4: b[1]."odd key": is odd'


def test_files_must_be_regular(tmp_path: Path) -> None:
    """A link, a directory, a pipe and nothing at all are refused; a plain file is read."""
    plain = tmp_path / "plain.yaml"
    plain.write_text("version: 1\n")
    link = tmp_path / "link.yaml"
    link.symlink_to(plain)
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)

    assert load_document(plain).data == {"version": 1}
    for path, words in (
        (link, "symbolic link"),
        (tmp_path, "cannot be read|not a regular file"),
        (pipe, "not a regular file"),
        (tmp_path / "none.yaml", "No such file"),
        (Path("a\0b"), "is not a path"),
    ):
        with pytest.raises(DocumentErrors, match=words):
            load_document(path)


def test_a_flood_of_problems_ends_in_one_refusal() -> None:
    """Reading stops after 200 problems, also when the file is broken right there."""
    for count in (199, 200, 201):
        error = refusal("".join(f"k{i}: no\n" for i in range(count)) + "]")

        assert 200 <= len(error.all) <= 201


def test_text_is_parsed_under_a_name() -> None:
    """With text given, the path is only a name in messages."""
    assert load_document(Path("nowhere.yaml"), text="a: 1").data == {"a": 1}
    with pytest.raises(DocumentErrors, match=r"nowhere\.yaml:1: a:"):
        load_document(Path("nowhere.yaml"), text="a: no")
    with pytest.raises(DocumentErrors, match="not UTF-8"):
        load_document(Path("nowhere.yaml"), text="a: \ud800")


def _document(text: str) -> Document:
    return parse_document(text.encode(), name="f.yaml")


def test_model_problems_name_line_key_value_and_remedy() -> None:
    """A wrong key or value is named with its place, and the nearest right one is offered."""
    document = _document(
        "version: 1\n"
        "items:\n"
        "  one:\n"
        "    knd: read\n"
        "    count: 0\n"
        "  two:\n"
        "    kind: wirte\n"
        "    names: [a, 3]\n"
        "    inner: {enabled: 1, enable: true}\n"
        "  three: {kind: 5}\n"
    )

    with pytest.raises(DocumentErrors) as caught:
        validate_document(document, _File, reason=ErrorReason.INVALID_CONFIGURATION)

    assert caught.value.reason is ErrorReason.INVALID_CONFIGURATION
    assert [str(problem) for problem in caught.value.all] == [
        "f.yaml:3: items.one.kind: is missing (add `kind:`)",
        'f.yaml:4: items.one.knd: unknown key "knd" (did you mean "kind"?)',
        "f.yaml:5: items.one.count: 0 should be greater than or equal to 1",
        'f.yaml:7: items.two.kind: "wirte" is not one of read, write (did you mean "write"?)',
        "f.yaml:8: items.two.names[1]: 3 should be a valid string",
        "f.yaml:9: items.two.inner.enabled: 1 should be a valid boolean",
        'f.yaml:9: items.two.inner.enable: unknown key "enable" (did you mean "enabled"?)',
        "f.yaml:10: items.three.kind: 5 is not one of read, write",
    ]


def test_unknown_keys_without_a_near_one_list_what_there_is() -> None:
    """When nothing is near, the known keys are listed."""
    with pytest.raises(DocumentErrors, match="keys here: version, items"):
        validate_document(_document("version: 1\nqqqq: 2"), _File)


def test_secret_values_are_not_shown() -> None:
    """The value below a key that sounds like a secret is not repeated."""
    document = _document("version: 1\nitems: {a: {kind: read, inner: {api_key: [hunter2]}}}")

    with pytest.raises(DocumentErrors) as caught:
        validate_document(document, _File)

    assert "hunter2" not in str(caught.value)
    assert "api_key: the value should be a valid string" in str(caught.value)


def test_valid_documents_become_models(tmp_path: Path) -> None:
    """A good file is a model; form and content problems of a bad one come in one refusal."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("version: 1\nitems: {a: {kind: read}}\n")
    bad.write_text("version: yes\nitems: {a: {kind: rid}}\n")

    assert load_validated(good, _File).items["a"].kind == "read"
    with pytest.raises(DocumentErrors) as caught:
        load_validated(bad, _File)
    assert {problem.key for problem in caught.value.all} == {"version", "items.a.kind"}
    bad.write_text("version: 1\na: &x 1\n".replace("a: &x 1", "items: &x {}"))
    with pytest.raises(DocumentErrors, match="anchor"):
        load_validated(bad, _File)


def test_an_empty_list_of_problems_is_misuse() -> None:
    """A refusal without a problem cannot be made."""
    with pytest.raises(ValueError, match="at least one"):
        DocumentErrors([])


def test_words_are_shown_short_and_visible() -> None:
    """Shown values are cut, quoted, and hold no control characters."""
    assert short("x" * 100) == '"' + "x" * 59 + '…"'
    assert short('a"b\\\n\u202e') == '"a\\"b\\\\\\n\\u202e"'
    assert [short(value) for value in (None, True, 5, [1], {"a": 1}, "x")] == [
        "null", "true", "5", "a list", "a mapping", '"x"',
    ]  # fmt: skip
    assert len(short(10**100)) == 60
    assert closest("recpient", ["recipient", "amount"]) == "recipient"
    assert did_you_mean("zzz", ["recipient"]) == ""


_scalars = st.one_of(
    st.sampled_from(["yes", "no", "1", "0.5", "x", "", "~", "null", "a b", "*", "&", "- ", "0x1"]),
    st.integers(-(10**17), 10**17).map(str),
    st.text(max_size=8),
)
_yaml_text = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(st.tuples(_scalars, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), _yaml_text, _yaml_text.map("a: {}".format)))
def test_k02_what_is_accepted_means_the_same_to_an_ordinary_reader(text: str) -> None:
    """Any text is refused with our error, or read exactly as an ordinary loader reads it."""
    with contextlib.suppress(DocumentErrors):
        document = load_document(Path("f"), text=text)

        assert repr(document.data) == repr(yaml.safe_load(text))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_k02_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No bytes raise anything but our error."""
    with contextlib.suppress(DocumentErrors):
        assert isinstance(parse_document(data, name="f").data, dict)


@settings(max_examples=150, deadline=None)
@given(_yaml_text.map("a: {}".format))
def test_both_yaml_parsers_agree(text: str) -> None:
    """Whether libyaml is there or not, a file is accepted or refused alike, with equal data."""
    outcomes = []
    for loader in (yaml.SafeLoader, documents._LOADER):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(documents, "_LOADER", loader)
            try:
                outcomes.append(repr(load_document(Path("f"), text=text).data))
            except DocumentErrors:
                outcomes.append("refused")

    assert outcomes[0] == outcomes[1]
