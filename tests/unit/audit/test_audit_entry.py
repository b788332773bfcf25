# SPDX-License-Identifier: Apache-2.0
"""Entries: canonical, bounded, and unable to steer whoever reads them."""

from __future__ import annotations

import json
import re
import tracemalloc
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.audit import entry as entry_module
from sidecar.audit.entry import (
    MAX_ENTRY_BYTES,
    EntryEncoder,
    Kind,
    canonical_json,
    decode_entry,
    format_time,
)
from sidecar.audit.safetext import clip, escape_text
from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.errors import ErrorReason, IntegrityError, UntrustedInputError
from sidecar.model import Effect, Level

HOSTILE = ["\n", "\r", "\x00", "\x1b[31m", "\u2028", '"}\n{"', "\x7f", "\x9b", "\u202e", "\ufeff"]
KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
SCALARS = st.one_of(
    st.text(max_size=12),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.booleans(),
    st.sampled_from(HOSTILE),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


@pytest.fixture
def encoder() -> EntryEncoder:
    return EntryEncoder(origin="example.com/log", clock=ManualClock(wall_ns=1, boot_ns=7))


def escaped(value: Any) -> Any:
    """What law 3 makes of a value, said a second time."""
    match value:
        case str():
            return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in value)
        case dict():
            return {escaped(key): escaped(item) for key, item in value.items()}
        case list():
            return [escaped(item) for item in value]
    return value


@settings(max_examples=250, deadline=None)
@given(DOCUMENTS)
@example({"a": "\ud800"})
@example({"": "é€\U0001f600", "B": 2**53 - 1, "a": -0, "A": []})
def test_g08_canonical_form_is_rfc_8785(document: dict[str, Any]) -> None:
    """In the domain of entries the fast encoder gives the bytes of the reference one."""
    assert canonical_json(document) == rfc8785.dumps(escaped(document))


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, st.text(max_size=30), st.sampled_from(HOSTILE))
def test_g08_one_record_is_one_line_without_controls(
    document: dict[str, Any], text: str, hostile: str
) -> None:
    """Nothing in any field breaks the line or holds a character that cannot be seen."""
    encoder = EntryEncoder(origin="example.com/log", clock=ManualClock())
    fields = {f"x{key}": value for key, value in document.items()}

    line = encoder.encode(3, {**fields, "kind": "note", "text": text + hostile})

    shown = line.decode("utf-8")
    assert shown.isprintable()
    assert len(shown.splitlines()) == 1
    assert not re.search(r'\\(?!["\\])', shown.replace("\\\\", ""))
    assert json.loads(shown)["seq"] == 3


@pytest.mark.parametrize("hostile", ["\x7f", "\u2028", "\x9b", "\u202e"])
def test_g08_controls_negative_control(monkeypatch: pytest.MonkeyPatch, hostile: str) -> None:
    """Without the escape the character stands in the line as it is: JSON alone does not help."""
    monkeypatch.setattr(entry_module, "escape_text", lambda text: text)

    line = canonical_json({"text": f"a{hostile}b"}).decode()

    assert hostile in line


def test_escaping_is_a_fixed_point() -> None:
    """What is escaped once stays as it is, so that layers may each escape."""
    once = escape_text("a\x1b[31mb\u2028\ud800 \u00a0é")

    assert once == "a\\u{1b}[31mb\\u{2028}\\u{d800} \\u{a0}é"
    assert escape_text(once) == once


def test_clipping_says_so() -> None:
    """A clipped text never looks whole."""
    assert clip("abcdef", 3) == "abc… (+3 characters)"
    assert clip("abc", 3) == "abc"


def test_the_log_sets_its_own_fields(encoder: EntryEncoder) -> None:
    """Order, time and origin are the log's, and enums are written as their values."""
    line = encoder.encode(5, {"kind": Kind.DECISION, "effect": Effect.DENY, "level": Level.KILL})

    assert line == (
        b'{"boot_ns":"7","effect":"DENY","kind":"decision","level":6,'
        b'"origin":"example.com/log","seq":5,"time":"1970-01-01T00:00:00.000000001Z","v":1}'
    )


@pytest.mark.parametrize("name", ["v", "seq", "time", "boot_ns", "origin"])
def test_a_caller_cannot_set_a_reserved_field(encoder: EntryEncoder, name: str) -> None:
    """Law 1: a caller that tries is a bug, and no entry is made."""
    with pytest.raises(ValueError, match=name):
        encoder.encode(0, {"kind": "decision", name: "x"})


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), 2**53, -(2**53), b"bytes", object(), {1: "x"}, {"é": 1}, [1.0], [None]],
)
def test_values_outside_the_domain_are_misuse(encoder: EntryEncoder, value: object) -> None:
    """Law 2: floats, wide integers, bytes and foreign keys do not enter, at any depth."""
    for nested in (value, {"inner": value}, [[value]]):
        with pytest.raises(ValueError):
            encoder.encode(0, {"kind": "decision", "field": nested})


def test_nesting_has_a_limit(encoder: EntryEncoder) -> None:
    """Depth is bounded, so no value can exhaust the stack."""
    value: Any = "x"
    for _ in range(10_000):
        value = [value]

    with pytest.raises(ValueError, match="nested"):
        encoder.encode(0, {"kind": "decision", "field": value})


@pytest.mark.parametrize("kind", [None, "", "Decision", "a b", "x" * 65, 3])
def test_an_entry_needs_a_kind(encoder: EntryEncoder, kind: object) -> None:
    """Readers select by kind; an entry without one would be lost to them."""
    with pytest.raises(ValueError, match="kind"):
        encoder.encode(0, {"kind": kind})


def test_none_means_absent(encoder: EntryEncoder) -> None:
    """Law 4: an optional value that is not there leaves no field."""
    line = encoder.encode(0, {"kind": "decision", "agent": None})

    assert b"agent" not in line


def test_the_size_limit_is_exact(encoder: EntryEncoder) -> None:
    """65535 bytes go in, one more is refused as untrusted input."""
    empty = len(encoder.encode(0, {"kind": "note", "text": ""}))
    room = MAX_ENTRY_BYTES - empty

    assert len(encoder.encode(0, {"kind": "note", "text": "x" * room})) == MAX_ENTRY_BYTES
    with pytest.raises(UntrustedInputError) as caught:
        encoder.encode(0, {"kind": "note", "text": "x" * (room + 1)})
    assert caught.value.reason is ErrorReason.INVALID_ARGUMENT


def test_waiting_entries_take_little_more_than_their_bytes(encoder: EntryEncoder) -> None:
    """A queue that is bounded in bytes is bounded in memory: no entry keeps a larger buffer."""
    tracemalloc.start()
    waiting = [encoder.encode(number, {"kind": "note", "text": "x" * 500}) for number in range(200)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert used < 2 * sum(map(len, waiting))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4_000_000_000 * NS_PER_SECOND), st.integers(0, 10**12))
def test_times_sort_as_text(early: int, gap: int) -> None:
    """The text of times orders as the times do."""
    assert format_time(early) <= format_time(early + gap)
    assert len(format_time(early)) == 30


def test_the_encoder_follows_the_clock_both_ways() -> None:
    """The cached second is not used for another one."""
    clock = ManualClock(wall_ns=1_760_000_000 * NS_PER_SECOND)
    encoder = EntryEncoder(origin="example.com/log", clock=clock)
    times = []
    for step in (0.0, 0.25, 1.0, -3600.0, 86_400.0):
        clock.step_wall(seconds=step)
        times.append(decode_entry(encoder.encode(0, {"kind": "note"}))["time"])

    assert times == [
        "2025-10-09T08:53:20.000000000Z",
        "2025-10-09T08:53:20.250000000Z",
        "2025-10-09T08:53:21.250000000Z",
        "2025-10-09T07:53:21.250000000Z",
        "2025-10-10T07:53:21.250000000Z",
    ]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b"{}", b'{"seq":"1"}', b"\xff"])
def test_decoding_something_else_is_an_integrity_error(line: bytes) -> None:
    """Stored bytes that are no entry are damage."""
    with pytest.raises(IntegrityError):
        decode_entry(line)
