# SPDX-License-Identifier: Apache-2.0
"""The table of special-purpose addresses, and what hides inside IPv6."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.destination import AddressClass, addresses, canonical_address, classify, is_public
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

# First and last address of each block, its class, and the class just outside where that is public.
IPV4_BLOCKS = [
    ("0.0.0.0/32", AddressClass.UNSPECIFIED),
    ("0.0.0.1/32", AddressClass.RESERVED),
    ("10.0.0.0/8", AddressClass.PRIVATE),
    ("100.64.0.0/10", AddressClass.SHARED),
    ("127.0.0.0/8", AddressClass.LOOPBACK),
    ("169.254.0.0/16", AddressClass.LINK_LOCAL),
    ("172.16.0.0/12", AddressClass.PRIVATE),
    ("192.0.0.0/24", AddressClass.RESERVED),
    ("192.0.0.8/32", AddressClass.RESERVED),
    ("192.0.0.9/32", AddressClass.RESERVED),
    ("192.0.2.0/24", AddressClass.DOCUMENTATION),
    ("192.31.196.0/24", AddressClass.RESERVED),
    ("192.52.193.0/24", AddressClass.RESERVED),
    ("192.88.99.0/24", AddressClass.TRANSITION),
    ("192.168.0.0/16", AddressClass.PRIVATE),
    ("192.175.48.0/24", AddressClass.RESERVED),
    ("198.18.0.0/15", AddressClass.BENCHMARKING),
    ("198.51.100.0/24", AddressClass.DOCUMENTATION),
    ("203.0.113.0/24", AddressClass.DOCUMENTATION),
    ("224.0.0.0/4", AddressClass.MULTICAST),
    ("240.0.0.0/4", AddressClass.RESERVED),
]
IPV6_BLOCKS = [
    ("::/128", AddressClass.UNSPECIFIED),
    ("::1/128", AddressClass.LOOPBACK),
    ("100::/64", AddressClass.RESERVED),
    ("100:0:0:1::/64", AddressClass.RESERVED),
    ("200::/7", AddressClass.RESERVED),
    ("1000::/4", AddressClass.RESERVED),
    ("2001:1::/48", AddressClass.RESERVED),
    ("2001:2::/48", AddressClass.BENCHMARKING),
    ("2001:3::/32", AddressClass.RESERVED),
    ("2001:4:112::/48", AddressClass.RESERVED),
    ("2001:10::/28", AddressClass.RESERVED),
    ("2001:20::/28", AddressClass.RESERVED),
    ("2001:30::/28", AddressClass.RESERVED),
    ("2001:db8::/32", AddressClass.DOCUMENTATION),
    ("2620:4f:8000::/48", AddressClass.RESERVED),
    ("3fff::/20", AddressClass.DOCUMENTATION),
    ("4000::/3", AddressClass.RESERVED),
    ("5f00::/16", AddressClass.RESERVED),
    ("f000::/5", AddressClass.RESERVED),
    ("fc00::/8", AddressClass.UNIQUE_LOCAL),
    ("fe00::/9", AddressClass.RESERVED),
    ("fe80::/10", AddressClass.LINK_LOCAL),
    ("fec0::/10", AddressClass.SITE_LOCAL),
    ("ff00::/8", AddressClass.MULTICAST),
]


@pytest.mark.parametrize(("block", "kind"), IPV4_BLOCKS + IPV6_BLOCKS)
def test_b05_blocks_have_their_class_from_end_to_end(block: str, kind: AddressClass) -> None:
    """First, second and last address of each block; none of them is public."""
    network = ipaddress.ip_network(block)
    ends = {network[0], network[-1], network[min(1, network.num_addresses - 1)]}
    if block in ("100.64.0.0/10", "240.0.0.0/4"):
        ends.discard(ipaddress.ip_address("255.255.255.255"))

    assert {classify(str(address)) for address in ends} == {kind}
    assert not any(is_public(str(address)) for address in ends)


@pytest.mark.parametrize(
    "address",
    [
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::",
        "2001:200::",
        "2001:4860:4860::8888",
        "2003::",
        "2a00::1",
        "3ffe::",
        "3fff:1000::",
    ],
)
def test_b05_neighbours_of_blocks_are_public(address: str) -> None:
    """The addresses just outside are public: the table is not wider than it says."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_b05_metadata_services_are_their_own_class(address: str) -> None:
    """Also where the address looks ordinary, and behind a translation."""
    assert classify(address) is AddressClass.METADATA


def inside(template: str, address: str) -> str:
    """Return *template* with the IPv4 address in hex groups."""
    number = int(ipaddress.IPv4Address(address))
    return template.format(high=f"{number >> 16:x}", low=f"{number & 0xFFFF:x}")


SAME = {"mapped": "::ffff:{high}:{low}", "nat64": "64:ff9b::{high}:{low}"}
HIDING = {
    "compatible": "::{high}:{low}",
    "nat64 local": "64:ff9b:1::{high}:{low}",
    "nat64 local, private outside": "64:ff9b:1:a00:0:100:{high}:{low}",
    "6to4": "2002:{high}:{low}::1",
    "teredo": "2001:0:{high}:{low}::f7f7:f7f7",
    "teredo, private server": "2001:0:a00:1::{high}:{low}",
}


@pytest.mark.parametrize("form", SAME)
@settings(max_examples=200, deadline=None)
@given(number=st.integers(0, 2**32 - 1))
@example(number=0x7F000001)
@example(number=0xA9FEA9FE)
@example(number=0x08080808)
def test_b05_mapped_and_nat64_are_the_address_inside(form: str, number: int) -> None:
    """For every IPv4 address the two forms have its class."""
    plain = str(ipaddress.IPv4Address(number))

    assert classify(inside(SAME[form], plain)) is classify(plain)


@pytest.mark.parametrize("form", HIDING)
@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "8.8.8.8"])
def test_b05_other_forms_are_admitted_by_nothing(form: str, address: str) -> None:
    """Whatever is inside, and however it is dressed: never public, never private."""
    assert classify(inside(HIDING[form], address)) is AddressClass.TRANSITION


@pytest.mark.parametrize(
    "block",
    ["::2/127", "64:ff9b:1::/48", "2001::/32", "2002::/16", "::ffff:0:0/96", "64:ff9b::/96"],
)
def test_b05_forms_that_carry_ipv4_are_known_from_end_to_end(block: str) -> None:
    """First and last address of each form; the neighbours are no such thing."""
    network = ipaddress.IPv6Network(block)

    assert addresses.carries_ipv4(network[0])
    assert addresses.carries_ipv4(network[-1])
    if block not in ("::2/127", "2001::/32"):
        assert not addresses.carries_ipv4(network[0] - 1)
    if block != "::2/127":
        assert not addresses.carries_ipv4(network[-1] + 1)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
    | st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
)
def test_b05_what_python_calls_special_is_never_public(address: Any) -> None:
    """Our table is at least as strict as the standard library's properties."""
    if is_public(str(address)):
        assert address.is_global
        assert not (address.is_private)
        assert not (address.is_loopback)
        assert not (address.is_multicast)
        assert not (address.is_reserved)
        assert not (address.is_link_local)
        assert not (address.is_unspecified)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "2000::/3"])
def test_b05_table_agrees_with_a_slow_reading_of_itself(network: str) -> None:
    """Flattening the blocks loses none of them: the narrowest block around an address decides."""
    blocks = addresses._IPV4_BLOCKS if "." in network else addresses._IPV6_BLOCKS
    parsed = [(ipaddress.ip_network(block), kind) for block, kind in blocks]
    table = addresses._IPV4 if "." in network else addresses._IPV6
    size = 2**32 if "." in network else 2**128
    edges = {int(block.network_address) for block, _ in parsed}
    edges |= {int(block.broadcast_address) for block, _ in parsed}

    for edge in edges:
        for number in {max(edge - 1, 0), edge, min(edge + 1, size - 1)}:
            around = [
                (block.prefixlen, kind)
                for block, kind in parsed
                if int(block.network_address) <= number <= int(block.broadcast_address)
            ]
            assert table.classify(number) is max(around, key=lambda pair: pair[0])[1]


def test_b05_negative_control() -> None:
    """The standard library alone would let 6to4 or NAT64 forms of 127.0.0.1 through."""
    loopbacks = [inside({**SAME, **HIDING}[form], "127.0.0.1") for form in ("6to4", "nat64")]

    assert any(ipaddress.ip_address(text).is_global for text in loopbacks)
    assert not any(is_public(text) for text in loopbacks)


def test_b05_unwrapping_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the table's blocks a 6to4 form of 127.0.0.1 is an ordinary public address."""
    plain = addresses._Table([("::/0", AddressClass.RESERVED), ("2000::/3", AddressClass.PUBLIC)])
    monkeypatch.setattr(addresses, "_IPV6", plain)

    assert is_public(inside(HIDING["6to4"], "127.0.0.1"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fe80::1%eth0",
        "::1%1",
        "127.1",
        "0177.0.0.1",
        "1.2.3.4/32",
        "１.2.3.4",
        "localhost",
        "1.2.3.4 ",
        "[::1]",
        "2130706433",
        None,
        5,
        b"\x7f\x00\x00\x01",
        2**32,
    ],
    ids=repr,
)
def test_b05_other_spellings_are_no_addresses(text: Any) -> None:
    """Zones, numbers, odd forms and other types are refused by the domain error."""
    with pytest.raises(ShapeError) as caught:
        classify(text)

    assert caught.value.code is ReasonCode.DESTINATION_ADDRESS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::", "::"),
    ],
)
def test_addresses_have_one_spelling(text: str, expected: str) -> None:
    """A mapped address is spelled as the IPv4 address it is."""
    assert canonical_address(text) == expected
