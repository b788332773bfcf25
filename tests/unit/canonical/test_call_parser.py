# SPDX-License-Identifier: Apache-2.0
"""From the wire's fields to a tool call, and the memo that nobody can fill."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from sidecar.canonical import CallParser, JsonLimits, ShapeError, call
from sidecar.model import ReasonCode

GOOD: dict[str, Any] = {"agent": "banking", "tool": "send_money", "arguments": b'{"amount":5}'}


def refusal(**changed: Any) -> ReasonCode:
    """Return the reason for which a call with these changes is refused."""
    with pytest.raises(ShapeError) as caught:
        CallParser().parse(**{**GOOD, **changed})
    return caught.value.code


def test_a_call_carries_all_its_parts() -> None:
    """Every part comes out as it went in, with value, bytes and fingerprint beside it."""
    parsed = CallParser().parse(
        **GOOD,
        session="S:1",
        url="https://example.com/a?b=c",
        cwd="/work/é b",
        environment_digest="sha256:" + "0" * 64,
        nonce="n.1",
    )

    assert (parsed.agent, parsed.session, parsed.tool) == ("banking", "S:1", "send_money")
    assert parsed.arguments == {"amount": 5}
    assert parsed.canonical_arguments == b'{"amount":5}'
    assert (parsed.url, parsed.cwd) == ("https://example.com/a?b=c", "/work/é b")
    assert (parsed.environment_digest, parsed.nonce) == ("sha256:" + "0" * 64, "n.1")
    assert len(parsed.fingerprint) == 64


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"agent": "Banking"}, ReasonCode.MALFORMED),
        ({"agent": ""}, ReasonCode.MALFORMED),
        ({"tool": "Send"}, ReasonCode.TOOL_NAME),
        ({"tool": ""}, ReasonCode.TOOL_NAME),
        ({"session": "a b"}, ReasonCode.SESSION_ID),
        ({"arguments": b""}, ReasonCode.MALFORMED),
        ({"arguments": b"[]"}, ReasonCode.MALFORMED),
        ({"arguments": b"{" + b" " * 70_000 + b"}"}, ReasonCode.TOO_LARGE),
        ({"url": "http://a b"}, ReasonCode.URL),
        ({"url": "http://é"}, ReasonCode.URL),
        ({"url": "x\n"}, ReasonCode.URL),
        ({"url": "x" * 8193}, ReasonCode.URL),
        ({"cwd": "relative"}, ReasonCode.MALFORMED),
        ({"cwd": "/a\0"}, ReasonCode.MALFORMED),
        ({"cwd": "/a\n"}, ReasonCode.MALFORMED),
        ({"cwd": "/\ud800"}, ReasonCode.MALFORMED),
        ({"cwd": "/" + "é" * 2048}, ReasonCode.MALFORMED),
        ({"environment_digest": "a b"}, ReasonCode.MALFORMED),
        ({"environment_digest": "a\n"}, ReasonCode.MALFORMED),
        ({"nonce": "x" * 129}, ReasonCode.MALFORMED),
        ({"nonce": "é"}, ReasonCode.MALFORMED),
    ],
    ids=str,
)
def test_each_part_is_checked(changed: dict[str, Any], code: ReasonCode) -> None:
    """A bad part is refused with its own reason."""
    assert refusal(**changed) is code


def test_a07_a_bad_agent_is_refused_after_a_good_one_too() -> None:
    """The short cut for the socket's agent never skips the check of another one."""
    parser = CallParser()
    parser.parse(**GOOD)

    for _ in range(2):
        with pytest.raises(ShapeError):
            parser.parse(**{**GOOD, "agent": "Banking"})
    assert parser.parse(**GOOD).agent == "banking"


def test_limits_reach_the_parser() -> None:
    """The configured limits are the ones that hold."""
    parser = CallParser(limits=JsonLimits(max_bytes=10))

    with pytest.raises(ShapeError) as caught:
        parser.parse(**GOOD)

    assert caught.value.code is ReasonCode.TOO_LARGE


def test_equal_bytes_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call with the same tool and bytes comes from the memo, and is equal."""
    parser = CallParser()
    first = parser.parse(**GOOD)
    monkeypatch.setattr(call, "parse_and_canonicalise", None)

    second = parser.parse(**GOOD)

    assert second == first
    assert second.arguments is first.arguments


@pytest.mark.parametrize(
    "changed",
    [{"tool": "other"}, {"arguments": b'{"amount":6}'}, {"arguments": b'{"amount":5 }'}],
    ids=str,
)
def test_c07_memo_key_is_tool_and_bytes(changed: dict[str, Any]) -> None:
    """Another tool or any other byte is another entry."""
    parser = CallParser()
    parser.parse(**GOOD)

    parser.parse(**{**GOOD, **changed})

    assert parser.memo_size[0] == 2


def test_refusals_are_not_remembered() -> None:
    """Hostile bytes leave nothing behind."""
    parser = CallParser()
    for changed in ({"arguments": b"[]"}, {"tool": "É"}):
        with pytest.raises(ShapeError):
            parser.parse(**{**GOOD, **changed})

    assert parser.memo_size == (0, 0)


def test_c12_memo_is_bounded_in_entries_and_bytes() -> None:
    """The least recently used entry goes first, and the books are right."""
    parser = CallParser(memo_entries=3, memo_bytes=10**9)
    for number, amount in enumerate((1, 2, 3, 1, 4)):
        arguments = json.dumps({"amount": amount}).encode()
        parser.parse(**{**GOOD, "session": f"s{number}", "arguments": arguments})
    kept = [json.loads(key[1])["amount"] for key in parser._memo]

    assert kept == [3, 1, 4]
    assert parser.memo_size[1] == sum(call._cost(key) for key in parser._memo)


def test_c12_an_entry_that_is_too_large_drives_no_other_out() -> None:
    """What would never fit is not taken in, so it cannot empty the memo."""
    parser = CallParser(memo_bytes=call._cost(("t", b"x" * 20)))
    parser.parse(**GOOD)

    parser.parse(**{**GOOD, "arguments": b'{"amount":5' + b" " * 100 + b"}"})

    assert [key[1] for key in parser._memo] == [GOOD["arguments"]]


def test_longest_parts_pass() -> None:
    """8192 characters of URL and 4096 bytes of working directory are within the limits."""
    parsed = CallParser().parse(**GOOD, url="u" * 8192, cwd="/" + "é" * 2047 + "x")

    assert (len(parsed.url), len(parsed.cwd.encode())) == (8192, 4096)


def test_c12_memo_may_be_off_or_smaller_than_one_entry() -> None:
    """A memo without room keeps nothing and changes nothing."""
    for parser in (CallParser(memo_entries=0), CallParser(memo_bytes=10)):
        assert parser.parse(**GOOD).arguments == {"amount": 5}
        assert parser.memo_size == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":[' + b",".join([b'{"":{"":{"":{}}}}'] * 400) + b"]}",
        b'{"a":[' + b",".join([b'{"":1}'] * 1000) + b"]}",
        b'{"a":[' + b",".join([b"[[]]"] * 1500) + b"]}",
        b'{"a":[' + b",".join([b"{}"] * 2500) + b"]}",
        b'{"a":[' + b",".join(b"%d" % index for index in range(1000, 3000)) + b"]}",
        ('{"a":"' + "x" * 3000 + '😀"}').encode(),
    ],
    ids=[
        "nested objects",
        "small objects",
        "nested lists",
        "empty objects",
        "integers",
        "wide text",
    ],
)
def test_c12_memory_estimate_is_never_too_low(text: bytes) -> None:
    """What an entry really takes stays below what the memo counts for it."""
    copies = [text[:-1] + b" " * index + b"}" for index in range(8)]
    parser = CallParser()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for copy in copies:
            parser.parse(**{**GOOD, "arguments": copy})
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert used < parser.memo_size[1]
