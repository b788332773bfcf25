# SPDX-License-Identifier: Apache-2.0
"""Every case of the security catalogue that must be tested has a test with its id in its name."""

from __future__ import annotations

from tests.support.catalogue import REQUIRED, cases, negative_controls


def test_every_required_case_has_a_test() -> None:
    """An id without a test is a promise that nobody checks."""
    missing = sorted(REQUIRED - set(cases()))

    assert not missing


def test_guards_have_negative_controls() -> None:
    """A test that cannot fail proves nothing: guards are taken out somewhere, and attacks succeed."""
    assert len(negative_controls()) > 50


def test_a_case_that_nobody_tests_is_noticed_negative_control() -> None:
    """The comparison does find what is missing."""
    assert {"a01", "z99"} - set(cases()) == {"z99"}
