# SPDX-License-Identifier: Apache-2.0
"""Host names: which exist, and which a rule covers.

Laws:

1. A host is ASCII: labels of letters, digits and inner hyphens, 1 to 63 each, 253 together. Other
   alphabets come as A-labels (``xn--…``) that really encode something. Underscores are no host.
2. Exactly two spellings are folded, because every resolver folds them: ASCII case and one trailing
   dot. Everything else is taken as it is or refused.
3. Whoever's last label looks like a number is an IPv4 address to some resolver (``127.1``,
   ``0x7f.1``, ``0177.0.0.1``, ``2130706433``): it must be a strict dotted quad, or is refused.
4. Names are matched label by label, never by substring: ``evilcorp.com`` and ``corp.com.evil`` have
   nothing to do with ``corp.com``.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from sidecar.destination.addresses import carries_ipv4
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

__all__ = ["HostPattern", "check_host", "check_ipv6_literal", "match_host"]

_MAX_NAME: Final = 253
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
# The same test as in the URL Standard ("ends in a number").
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_DOTTED_QUAD: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}").fullmatch
_RESERVED_LABEL: Final = re.compile(r"(?:^|\.)..--").search
_IPV6_TEXT: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}").fullmatch
_A_LABEL: Final = "xn--"


def check_host(text: str) -> tuple[str, bool]:
    """Return the host that *text* names, and whether it is an IPv4 literal.

    Raises:
        ShapeError: URL.
    """
    name = text.lower() if type(text) is str and text.isascii() else ""
    if name.endswith("."):
        name = name[:-1]
    if len(name) > _MAX_NAME or not _NAME(name):
        raise ShapeError(
            "the host is not an ASCII host name or address",
            code=ReasonCode.URL,
            hint="write names of other alphabets as A-labels (xn--…)",
        )
    if _NUMERIC(name.rpartition(".")[2]):
        if not _DOTTED_QUAD(name) or text.endswith("."):
            raise ShapeError(
                "the host ends in a number but is not a dotted quad", code=ReasonCode.URL
            )
        return name, True
    if "--" in name and _RESERVED_LABEL(name):
        _check_a_labels(name)
    return name, False


def check_ipv6_literal(text: str) -> str:
    """Return the canonical spelling of the IPv6 address *text* (without brackets).

    An address that carries an IPv4 address is refused: it would be a second name for it, and slip
    past a directive on the first.

    Raises:
        ShapeError: URL.
    """
    if _IPV6_TEXT(text):
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            pass
        else:
            if not carries_ipv4(address):
                return str(address)
            raise ShapeError(
                "the address carries an IPv4 address",
                code=ReasonCode.URL,
                hint="write the IPv4 address itself",
            )
    raise ShapeError("the host is not an IPv6 address", code=ReasonCode.URL)


def match_host(pattern: str, host: str) -> bool:
    """Return whether the rule *pattern* covers *host* (as ``check_host`` returned it)."""
    return HostPattern.parse(pattern).covers(host)


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A rule on hosts. Three forms, by depth:

    * ``corp.com``: that host alone;
    * ``*.corp.com``: exactly one label more, as in certificates (``a.corp.com``);
    * ``.corp.com``: that host and everything below it, at any depth.
    """

    text: str
    suffix: str
    is_exact: bool
    is_one_label: bool

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Read a pattern.

        Raises:
            ShapeError: DESTINATION, if it is none of the three forms, is not in lower case, or puts
                a wildcard before an address.
        """
        if type(text) is not str:
            raise _no_pattern()
        is_one_label = text.startswith("*.")
        is_exact = not is_one_label and not text.startswith(".")
        name = text[2:] if is_one_label else text[0 if is_exact else 1 :]
        try:
            host, is_ip = _check_name_or_address(name)
        except ShapeError:
            host, is_ip = "", False
        if not name or host != name or (is_ip and not is_exact):
            raise _no_pattern()
        return cls(text, "" if is_exact else "." + host, is_exact, is_one_label)

    def covers(self, host: str) -> bool:
        """Return whether *host* is covered."""
        if self.is_exact:
            return host == self.text
        if self.is_one_label:
            return host.endswith(self.suffix) and host.find(".") == len(host) - len(self.suffix)
        return host == self.suffix[1:] or (host.endswith(self.suffix) and host != self.suffix)


def _no_pattern() -> ShapeError:
    return ShapeError(
        "the host pattern is not host, *.host or .host in lower case", code=ReasonCode.DESTINATION
    )


def _check_name_or_address(text: str) -> tuple[str, bool]:
    return (check_ipv6_literal(text), True) if ":" in text else check_host(text)


def _check_a_labels(name: str) -> None:
    """Refuse labels with hyphens in places 3 and 4, unless they are sound A-labels (RFC 5890)."""
    for label in name.split("."):
        if label[2:4] != "--":
            continue
        if not label.startswith(_A_LABEL):
            raise ShapeError("the host has a reserved label (??--…)", code=ReasonCode.URL)
        encoded = label[len(_A_LABEL) :]
        try:
            decoded = encoded.encode().decode("punycode")
            is_sound = (
                not decoded.isascii()
                and decoded.isprintable()
                and decoded == unicodedata.normalize("NFC", decoded).lower()
                and decoded.encode("punycode").decode() == encoded
            )
        except UnicodeError:
            is_sound = False
        if not is_sound:
            raise ShapeError("the host has a false A-label (xn--…)", code=ReasonCode.URL)
