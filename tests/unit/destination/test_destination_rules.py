# SPDX-License-Identifier: Apache-2.0
"""Which addresses may be dialled, and that they stay the ones that were checked."""

from __future__ import annotations

import pytest

from sidecar.destination import AddressClass, Refusal, check_destination, parse_url, rules
from sidecar.model import Destination, ReasonCode

NAME = Destination(scheme="https", host="api.example.com", port=443)


def test_b06_public_addresses_are_pinned() -> None:
    """The answer is the checked addresses, in one spelling, without repeats, in order."""
    found = ["8.8.8.8", "2001:4860:4860:0::8888", "::ffff:8.8.8.8", "1.1.1.1"]

    assert check_destination(NAME, found, allow_private=False) == (
        "8.8.8.8",
        "2001:4860:4860::8888",
        "1.1.1.1",
    )


@pytest.mark.parametrize(
    "bad",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::",
        "0.0.0.0",
        "fe80::1",
        "fec0::1",
        "fe80::1%eth0",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.0.8",
        "224.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "junk",
        "",
    ],
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_b05_b06_one_bad_address_spoils_the_answer(bad: str, position: int) -> None:
    """A public and a private address together are refused whole, wherever the bad one stands."""
    found = ["8.8.8.8", "1.1.1.1"]
    found.insert(position, bad)

    verdict = check_destination(NAME, found, allow_private=False)

    assert isinstance(verdict, Refusal)
    assert not verdict
    assert verdict.code is ReasonCode.DESTINATION_ADDRESS


def test_b05_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the table a rebound name leads to the metadata service."""
    monkeypatch.setattr(rules, "classify", lambda _: AddressClass.PUBLIC)

    assert check_destination(NAME, ["169.254.169.254"], allow_private=False) == ("169.254.169.254",)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "127.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::1", "8.8.8.8"]
)
def test_b05_private_addresses_pass_where_the_tool_may(address: str) -> None:
    """``allow_private_addresses`` opens private, shared, unique-local and loopback addresses."""
    assert check_destination(NAME, [address], allow_private=True) == (address,)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "2002:808:808::1",
    ],
)
def test_b05_some_addresses_never_pass(address: str) -> None:
    """Metadata services, link-local, multicast and no-host addresses stay closed."""
    assert not check_destination(NAME, [address], allow_private=True)


def test_b06_no_address_is_a_refusal() -> None:
    """A name without addresses leads nowhere."""
    assert isinstance(check_destination(NAME, [], allow_private=True), Refusal)


def test_b06_too_many_addresses_are_refused_whole() -> None:
    """16 addresses pass, 17 do not: the answer is never cut to the good part."""
    found = [f"8.8.8.{last}" for last in range(1, 18)]

    assert len(check_destination(NAME, found[:16], allow_private=False) or ()) == 16
    assert not check_destination(NAME, found, allow_private=False)


def test_b05_address_literals_stand_for_themselves() -> None:
    """A literal is judged without a resolver, and no resolver may answer otherwise."""
    public = parse_url("https://8.8.8.8/")
    private = parse_url("https://[::1]/")

    assert check_destination(public, [], allow_private=False) == ("8.8.8.8",)
    assert check_destination(public, ["8.8.8.8"], allow_private=False) == ("8.8.8.8",)
    assert not check_destination(public, ["1.1.1.1"], allow_private=False)
    assert not check_destination(public, ["junk"], allow_private=False)
    assert not check_destination(private, [], allow_private=False)
    assert check_destination(private, [], allow_private=True) == ("::1",)
