# SPDX-License-Identifier: Apache-2.0
"""Label by label: what a rule on hosts covers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.destination import HostPattern, check_host, match_host
from sidecar.model import ReasonCode, Subject, Target, TargetKind
from sidecar.shape import ShapeError

HOSTS = [
    "corp.com",
    "a.corp.com",
    "a.b.corp.com",
    "evilcorp.com",
    "corp.com.evil",
    "com",
    "acorp.com",
]

labels = st.text("ab-1", min_size=1, max_size=3).filter(
    lambda text: text[0] != "-" and text[-1] != "-" and not text.isdigit()
)
names = st.lists(labels, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("corp.com", {"corp.com"}),
        ("*.corp.com", {"a.corp.com"}),
        (".corp.com", {"corp.com", "a.corp.com", "a.b.corp.com"}),
        (".com", {"corp.com", "a.corp.com", "a.b.corp.com", "evilcorp.com", "com", "acorp.com"}),
        ("*.com", {"corp.com", "evilcorp.com", "acorp.com"}),
        ("10.0.0.1", set()),
        ("2001:db8::1", set()),
    ],
)
def test_b09_depth_is_as_documented(pattern: str, covered: set[str]) -> None:
    """A plain host is itself, ``*.`` one label more, ``.`` itself and everything below."""
    assert {host for host in HOSTS if match_host(pattern, host)} == covered


def test_b09_addresses_match_exactly() -> None:
    """An address covers itself and nothing else."""
    assert match_host("10.0.0.1", "10.0.0.1")
    assert match_host("2001:db8::1", "2001:db8::1")
    assert not match_host("10.0.0.1", "110.0.0.1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "*",
        "*.",
        "..",
        "*.*.com",
        "a.*.com",
        "*corp.com",
        "a*.com",
        "**.com",
        ".corp.com.",
        "corp.com.",
        "Corp.com",
        "*.Corp.com",
        ".10.0.0.1",
        "*.0.0.1",
        ".0.0.1",
        "*.2001:db8::1",
        "2001:DB8::1",
        "corp.com/",
        "corp.com:80",
        "http://corp.com",
        "bücher.de",
        "a_b.com",
        "corp.com\n",
        " corp.com",
        "..corp.com",
        "*..corp.com",
        "::ffff:1.2.3.4",
    ],
    ids=ascii,
)
def test_b09_other_patterns_are_refused(text: str) -> None:
    """No other wildcard, no upper case, no wildcard before an address."""
    with pytest.raises(ShapeError) as caught:
        HostPattern.parse(text)

    assert caught.value.code is ReasonCode.DESTINATION


@pytest.mark.parametrize("value", [None, 5, b"corp.com"])
def test_b09_other_types_are_refused(value: Any) -> None:
    """What is no text is no pattern."""
    with pytest.raises(ShapeError):
        HostPattern.parse(value)


@settings(max_examples=300, deadline=None)
@given(names, names)
def test_b09_patterns_agree_with_lists_of_labels(name: str, host: str) -> None:
    """The three forms mean what they mean on lists of labels."""
    rule, labels_of_host = name.split("."), host.split(".")
    try:
        check_host(name), check_host(host)
    except ShapeError:
        return
    is_below = labels_of_host[-len(rule) :] == rule

    assert match_host(name, host) == (rule == labels_of_host)
    assert match_host("*." + name, host) == (is_below and len(labels_of_host) == len(rule) + 1)
    assert match_host("." + name, host) == is_below


@settings(max_examples=200, deadline=None)
@given(names, names)
def test_b09_directives_cover_the_same_hosts(name: str, host: str) -> None:
    """A directive on a destination and a pattern of the same text agree."""
    try:
        check_host(name), check_host(host)
    except ShapeError:
        return
    subject = Subject(agent="a", hosts=frozenset({host}))

    for text in (name, "." + name):
        target = Target(kind=TargetKind.DESTINATION, destination=text)
        assert target.matches(subject) == match_host(text, host)


@pytest.mark.parametrize("value", ["\u212aelvin.com", "ſ.com", None, 5, b"corp.com"], ids=ascii)
def test_b03_letters_that_fold_to_ascii_are_refused(value: Any) -> None:
    """The Kelvin sign lower-cases to k, but is no k."""
    with pytest.raises(ShapeError):
        check_host(value)


def test_b09_negative_control() -> None:
    """Matching by the end of the text would take ``evilcorp.com`` for ``corp.com``."""
    assert "evilcorp.com".endswith("corp.com")
    assert not match_host(".corp.com", "evilcorp.com")
