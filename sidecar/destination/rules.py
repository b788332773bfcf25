# SPDX-License-Identifier: Apache-2.0
"""May a tool go to these addresses?

Laws:

1. *One bad address spoils the answer.* A name that resolves to a public and a private address is
   refused whole: nobody knows which one the tool would dial.
2. *What was checked is what is dialled.* The answer is the list of addresses as an obligation;
   whoever acts on it must dial one of them and may not resolve again (DNS rebinding).
3. ``allow_private`` opens private, shared, unique-local and loopback addresses. It never opens
   link-local ones and metadata services (credentials for the asking), nor anything that is no
   host at all.
4. An address literal stands for itself; addresses that a resolver may claim for it are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.destination.addresses import AddressClass, canonical_address, classify
from sidecar.model import Destination, ReasonCode
from sidecar.shape import ShapeError

__all__ = ["MAX_ADDRESSES", "Refusal", "check_destination"]

MAX_ADDRESSES: Final = 16
"""A name with more addresses is refused: an answer is checked whole or not at all."""

_PUBLIC: Final = frozenset({AddressClass.PUBLIC})
_PUBLIC_AND_PRIVATE: Final = _PUBLIC | {
    AddressClass.PRIVATE,
    AddressClass.SHARED,
    AddressClass.UNIQUE_LOCAL,
    AddressClass.LOOPBACK,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no is a value: why these addresses may not be dialled."""

    code: ReasonCode
    text: str

    def __bool__(self) -> bool:
        return False


def check_destination(
    destination: Destination, addresses: Sequence[str], *, allow_private: bool
) -> Refusal | tuple[str, ...]:
    """Return the addresses to dial, in canonical spelling and without repeats, or a refusal.

    Args:
        destination: From ``parse_url``.
        addresses: What its name resolved to; empty for an address literal.
        allow_private: The tool's ``allow_private_addresses``.
    """
    if destination.is_ip:
        if any(_spelling(address) != destination.host for address in addresses):
            return _no("the resolver gave other addresses for an address")
        addresses = (destination.host,)
    if not addresses:
        return _no("the host has no address")
    if len(addresses) > MAX_ADDRESSES:
        return _no(f"the host has more than {MAX_ADDRESSES} addresses")
    allowed = _PUBLIC_AND_PRIVATE if allow_private else _PUBLIC
    pinned: dict[str, None] = {}
    for address in addresses:
        try:
            kind = classify(address)
        except ShapeError:
            return _no("the resolver gave something that is no address")
        if kind not in allowed:
            return _no(f"the host has an address of class {kind.value}")
        pinned[canonical_address(address)] = None
    return tuple(pinned)


def _spelling(address: str) -> str:
    try:
        return canonical_address(address)
    except ShapeError:
        return ""


def _no(text: str) -> Refusal:
    return Refusal(ReasonCode.DESTINATION_ADDRESS, text)
