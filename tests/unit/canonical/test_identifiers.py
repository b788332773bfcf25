# SPDX-License-Identifier: Apache-2.0
"""Names: used exactly as they came, or refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar import identifiers
from sidecar.identifiers import (
    check_agent_id,
    check_label_key,
    check_label_value,
    check_request_id,
    check_session_id,
    check_spiffe_id,
    check_token_text,
    check_tool_name,
)
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

Check = Callable[[str], str]

CHECKS: dict[str, tuple[Check, str, int]] = {
    "tool": (check_tool_name, "send_money", 128),
    "agent": (check_agent_id, "banking-1.eu", 63),
    "session": (check_session_id, "S1:a.b-c", 128),
    "request": (check_request_id, "12345678-abcd", 128),
    "label key": (check_label_key, "team/name", 63),
    "label value": (check_label_value, "Blue-1", 63),
    "token text": (lambda text: check_token_text(text, what="nonce"), "sha256:ab+/=", 128),
}

DISGUISES = [
    "{} ",
    " {}",
    "{}\n",
    "{}\r\n",
    "\n{}",
    "{}\t",
    "{}\0",
    "{}\u200b",
    "\ufeff{}",
    "{}\u00ad",
    "{}\u202e",
    "{}\u0301",
    "{}é",
    "{}\ud800",
    "{}\u2028",
    "{}%20",
    "{}\\",
    "{}*",
    "{}>",
    "{}\x7f",
    "{}\x1b[0m",
]


@pytest.mark.parametrize("name", CHECKS)
def test_a07_good_names_pass_as_they_are(name: str) -> None:
    """A good name comes back unchanged, up to the longest."""
    check, good, longest = CHECKS[name]

    assert check(good) == good
    assert check("a" * longest) == "a" * longest
    with pytest.raises(ShapeError):
        check("a" * (longest + 1))


@pytest.mark.parametrize("disguise", DISGUISES, ids=ascii)
@pytest.mark.parametrize("name", CHECKS)
def test_a06_a07_disguised_names_are_refused(name: str, disguise: str) -> None:
    """Blanks, newlines, NUL, zero width, bidi, combining and escape characters are refused."""
    check, good, _ = CHECKS[name]

    with pytest.raises(ShapeError):
        check(disguise.format(good))


@pytest.mark.parametrize("text", ["", "Send_money", "SEND", "_x", "-x", ".x", "/x", "a:b", "a@b"])
def test_a06_tool_names_outside_the_alphabet_are_refused(text: str) -> None:
    """Upper case and odd first characters are refused with their own reason."""
    with pytest.raises(ShapeError) as caught:
        check_tool_name(text)

    assert caught.value.code is ReasonCode.TOOL_NAME


@pytest.mark.parametrize(
    "text",
    [
        "ｓend_money",  # fullwidth
        "ѕend_money",  # Cyrillic
        "send＿money",
        "ﬁnd",  # ligature
        "ⓢend",
        unicodedata.normalize("NFD", "sénd"),
        unicodedata.normalize("NFC", "sénd"),
        "ſend",  # upper-cases to S
        "send_mone𝐲",
        "İ",
        "1２",
        "٣",
    ],
)
@pytest.mark.parametrize("name", CHECKS)
def test_a06_a07_lookalikes_are_refused(name: str, text: str) -> None:
    """A name that would become a good one by normalising is refused, not normalised."""
    with pytest.raises(ShapeError):
        CHECKS[name][0](text)


def test_a07_session_refusals_have_their_own_reason() -> None:
    """The decision can tell a bad session id from the rest."""
    with pytest.raises(ShapeError) as caught:
        check_session_id("a b")

    assert caught.value.code is ReasonCode.SESSION_ID


@pytest.mark.parametrize("value", [None, 5, b"send_money", ["send_money"], True])
@pytest.mark.parametrize("name", [*CHECKS, "spiffe"])
def test_a07_other_types_are_refused(name: str, value: Any) -> None:
    """What is no text is refused by the domain error."""
    check = check_spiffe_id if name == "spiffe" else CHECKS[name][0]

    with pytest.raises(ShapeError):
        check(value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_a06_a07_nothing_is_ever_changed(text: str) -> None:
    """Any text is refused, or comes back equal and in plain visible ASCII."""
    for check, _, _ in CHECKS.values():
        try:
            checked = check(text)
        except ShapeError:
            continue
        assert checked == text
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text


def test_a06_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same expression with ``match`` and ``$`` lets a trailing newline through."""
    loose = re.compile(r"^[a-z0-9][a-z0-9._/-]{0,127}$").match
    monkeypatch.setattr(identifiers, "_TOOL", loose)

    assert check_tool_name("send_money\n") == "send_money\n"


def test_a07_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression that knows other alphabets' letters lets a lookalike through."""
    monkeypatch.setattr(identifiers, "_AGENT", re.compile(r"\w+").fullmatch)

    assert check_agent_id("bаnking") != "banking"


def test_request_ids_may_be_uuids() -> None:
    """A UUID is a request id; seven characters are too few to be one."""
    assert check_request_id("123e4567-e89b-12d3-a456-426614174000")
    with pytest.raises(ShapeError):
        check_request_id("1234567")


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://holdfast.dev/operator/alice",
        "spiffe://a/b",
        "spiffe://a.b-c_d.1/X.Y_Z-0/..a/...",
        "spiffe://a/" + "x" * (2048 - 11),
    ],
)
def test_h02_good_spiffe_ids_pass(text: str) -> None:
    """Workload ids pass unchanged, up to 2048 characters."""
    assert check_spiffe_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://",
        "spiffe://a",
        "spiffe://a/",
        "spiffe:///a",
        "spiffe://CORP/a",
        "SPIFFE://a/b",
        "Spiffe://a/b",
        "spiffe:/a/b",
        "https://a/b",
        "spiffe://a/b/",
        "spiffe://a//b",
        "spiffe://a/./b",
        "spiffe://a/../b",
        "spiffe://a/..",
        "spiffe://a/.",
        "spiffe://a/%61",
        "spiffe://a/%2e%2e/b",
        "spiffe://a:443/b",
        "spiffe://u@a/b",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://a/b\n",
        "spiffe://a/b ",
        "spiffe://a/b\\c",
        "spiffe://a/é",
        "spiffe://.a/b",
        "spiffe://-a/b",
        "spiffe://" + "a" * 256 + "/b",
        "spiffe://a/" + "x" * (2048 - 10),
    ],
    ids=ascii,
)
def test_h02_other_spiffe_ids_are_refused(text: str) -> None:
    """Upper-case domains, escapes, dot segments, ports, queries and newlines are refused."""
    with pytest.raises(ShapeError):
        check_spiffe_id(text)


def test_h02_negative_control() -> None:
    """A general URL parser would take what is refused here for the same identity."""
    from urllib.parse import urlsplit

    loose = urlsplit("SPIFFE://CORP/a")

    assert (loose.scheme, loose.hostname) == ("spiffe", "corp")
    with pytest.raises(ShapeError):
        check_spiffe_id("SPIFFE://CORP/a")
