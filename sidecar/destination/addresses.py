# SPDX-License-Identifier: Apache-2.0
"""Which addresses lead out to the public internet, by our own table.

Laws:

1. *Public is what is left over*: IPv4 outside every special-purpose block, and IPv6 inside 2000::/3
   outside every special-purpose block. What the table does not know is not public.
2. *An address is what it stands for.* Mapped and NAT64 (64:ff9b::/96) addresses are judged as the
   IPv4 address inside. The other forms that carry one (compatible, 6to4, Teredo, 64:ff9b:1::/48)
   may hide it in several places, and no host should meet them today: they are ``TRANSITION``,
   whatever is inside, and no setting admits that.
3. *Metadata services are their own class.* They hand out credentials to whoever asks, some from
   ordinary-looking addresses; no setting admits them.

Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries, RFC 6890, RFC 6052, RFC 4380.
Python's ``ipaddress`` only reads and prints here: what its ``is_global`` says differs between
versions, and it calls ``2002:7f00:1::`` (6to4 of 127.0.0.1) global.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

__all__ = ["AddressClass", "canonical_address", "carries_ipv4", "classify", "is_public"]


class AddressClass(StrEnum):
    """What an address is for."""

    PUBLIC = "public"
    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    SHARED = "shared"
    UNIQUE_LOCAL = "unique_local"
    LINK_LOCAL = "link_local"
    SITE_LOCAL = "site_local"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    DOCUMENTATION = "documentation"
    BENCHMARKING = "benchmarking"
    TRANSITION = "transition"
    METADATA = "metadata"
    RESERVED = "reserved"


# A narrower block overrides the wider one around it, wherever it stands in the list.
_IPV4_BLOCKS: Final = (
    ("0.0.0.0/0", AddressClass.PUBLIC),
    ("0.0.0.0/8", AddressClass.RESERVED),  # "this network"; Linux connects 0.x to itself
    ("0.0.0.0/32", AddressClass.UNSPECIFIED),
    ("10.0.0.0/8", AddressClass.PRIVATE),
    ("100.64.0.0/10", AddressClass.SHARED),
    ("100.100.100.200/32", AddressClass.METADATA),
    ("127.0.0.0/8", AddressClass.LOOPBACK),
    ("168.63.129.16/32", AddressClass.METADATA),
    ("169.254.0.0/16", AddressClass.LINK_LOCAL),
    ("169.254.169.253/32", AddressClass.METADATA),
    ("169.254.169.254/32", AddressClass.METADATA),
    ("169.254.170.2/32", AddressClass.METADATA),
    ("172.16.0.0/12", AddressClass.PRIVATE),
    ("192.0.0.0/24", AddressClass.RESERVED),  # with 192.0.0.8, and 192.0.0.9 and .10 too
    ("192.0.0.192/32", AddressClass.METADATA),
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
    ("233.252.0.0/24", AddressClass.DOCUMENTATION),
    ("240.0.0.0/4", AddressClass.RESERVED),
    ("255.255.255.255/32", AddressClass.BROADCAST),
)

_IPV6_BLOCKS: Final = (
    ("::/0", AddressClass.RESERVED),
    ("::/128", AddressClass.UNSPECIFIED),
    ("::1/128", AddressClass.LOOPBACK),
    ("::/96", AddressClass.TRANSITION),
    ("64:ff9b:1::/48", AddressClass.TRANSITION),
    ("100::/64", AddressClass.RESERVED),
    ("2000::/3", AddressClass.PUBLIC),
    ("2001::/23", AddressClass.RESERVED),
    ("2001::/32", AddressClass.TRANSITION),
    ("2001:2::/48", AddressClass.BENCHMARKING),
    ("2001:db8::/32", AddressClass.DOCUMENTATION),
    ("2002::/16", AddressClass.TRANSITION),
    ("2620:4f:8000::/48", AddressClass.RESERVED),
    ("3fff::/20", AddressClass.DOCUMENTATION),
    ("5f00::/16", AddressClass.RESERVED),
    ("fc00::/7", AddressClass.UNIQUE_LOCAL),
    ("fd00:42::42/128", AddressClass.METADATA),
    ("fd00:ec2::/32", AddressClass.METADATA),
    ("fd20:ce::254/128", AddressClass.METADATA),
    ("fe80::/10", AddressClass.LINK_LOCAL),
    ("fec0::/10", AddressClass.SITE_LOCAL),
    ("ff00::/8", AddressClass.MULTICAST),
)


class _Table:
    """Blocks flattened to boundaries: the class of an address is that of the last boundary."""

    def __init__(self, blocks: Iterable[tuple[str, AddressClass]]) -> None:
        networks = sorted(
            ((ipaddress.ip_network(block), kind) for block, kind in blocks),
            key=lambda pair: pair[0].prefixlen,
        )
        self._starts: list[int] = []
        self._kinds: list[AddressClass] = []
        bounds = {int(network.network_address) for network, _ in networks}
        bounds |= {int(network.broadcast_address) + 1 for network, _ in networks}
        for start in sorted(bounds):
            kinds = [
                kind
                for network, kind in networks
                if int(network.network_address) <= start <= int(network.broadcast_address)
            ]
            if kinds:
                self._starts.append(start)
                self._kinds.append(kinds[-1])

    def classify(self, number: int) -> AddressClass:
        return self._kinds[bisect_right(self._starts, number) - 1]


_IPV4: Final = _Table(_IPV4_BLOCKS)
_IPV6: Final = _Table(_IPV6_BLOCKS)

_LOW_32: Final = 0xFFFF_FFFF
_MAPPED: Final = 0xFFFF
_NAT64: Final = 0x0064_FF9B << 64


def classify(address: str) -> AddressClass:
    """Return what *address* is for.

    Raises:
        ShapeError: DESTINATION_ADDRESS, if it is not an IP address, or carries a zone id.
    """
    parsed = _read(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return _IPV4.classify(int(parsed))
    number = int(parsed)
    alias = _alias_of(number)
    if alias is not None:
        return _IPV4.classify(alias)
    return _IPV6.classify(number)


def is_public(address: str) -> bool:
    """Return whether *address* leads out to the public internet; raises as ``classify``."""
    return classify(address) is AddressClass.PUBLIC


def canonical_address(address: str) -> str:
    """Return the one spelling of *address*; an IPv4-mapped one is the IPv4 address it stands for.

    Raises:
        ShapeError: DESTINATION_ADDRESS, if it is not an IP address, or carries a zone id.
    """
    parsed = _read(address)
    if isinstance(parsed, ipaddress.IPv6Address) and int(parsed) >> 32 == _MAPPED:
        return str(ipaddress.IPv4Address(int(parsed) & _LOW_32))
    return str(parsed)


def carries_ipv4(address: ipaddress.IPv6Address) -> bool:
    """Return whether *address* is another name for an IPv4 address, in any known form."""
    number = int(address)
    return _alias_of(number) is not None or _IPV6.classify(number) is AddressClass.TRANSITION


def _alias_of(number: int) -> int | None:
    """Return the IPv4 address that *number* reaches on any ordinary network."""
    if number >> 32 == _MAPPED or number >> 32 == _NAT64:
        return number & _LOW_32
    return None


def _read(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    # A zone id ("fe80::1%eth0") would be read as part of the address; it names an interface.
    if type(address) is str and "%" not in address:
        try:
            return ipaddress.ip_address(address)
        except ValueError:
            pass
    raise ShapeError("this is not an IP address", code=ReasonCode.DESTINATION_ADDRESS)
