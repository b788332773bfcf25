# SPDX-License-Identifier: Apache-2.0
"""One reading of a URL, or none.

URL parsers disagree, and each disagreement is a way past a host rule. So nothing is given to a
general parser: a URL passes here only if it is written so plainly that curl, ``urllib``, browsers
and resolvers all read the same scheme, host and port out of it.

Laws, in order:

1. Only characters of RFC 3986; no space, control character, backslash or non-ASCII; every ``%``
   begins two hex digits; at most 8192 characters.
2. ``http://`` or ``https://`` in any ASCII case, and a host after it: no ``http:host``, no
   ``//host``, no third slash.
3. No userinfo: no ``@`` in the authority, and none anywhere if ``?`` or ``#`` follows the authority
   without a slash (old parsers take the host from behind it).
4. The host is as ``hosts`` says; IPv6 only in brackets, without zone id.
5. A port is decimal, 1 to 65535, without leading zero; a colon without port is refused.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.destination.hosts import check_host, check_ipv6_literal
from sidecar.model import Destination, ReasonCode
from sidecar.shape import ShapeError

__all__ = ["MAX_URL", "parse_url"]

MAX_URL: Final = 8192

_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+").fullmatch
_SCHEME: Final = re.compile(r"([A-Za-z]+)://([^/?#]+)(.*)", re.DOTALL).fullmatch
_BARE: Final = re.compile(r"[A-Za-z0-9.:\[\]-]+").fullmatch
_AUTHORITY: Final = re.compile(r"(?:\[([^\[\]@%]*)\]|([^\[\]@%:]+))(?::([0-9]+))?").fullmatch
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}").fullmatch
_MAX_PORT: Final = 65535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def parse_url(text: str, *, allow_bare: bool = False) -> Destination:
    """Return where the http(s) URL *text* leads.

    Args:
        text: The URL.
        allow_bare: Accept ``host`` and ``host:port`` too (for tools whose argument is a host).
            Their scheme is empty, and their port 0 if it is not written.

    Raises:
        ShapeError: URL.
    """
    if type(text) is not str or len(text) > MAX_URL:
        raise _refused(f"the URL is not at most {MAX_URL} characters of text")
    if allow_bare and _BARE(text):
        return _destination("", text, default_port=0)
    if not _PLAIN(text):
        raise _refused("the URL holds characters that no URL may hold")
    parts = _SCHEME(text)
    scheme = parts[1].lower() if parts else ""
    if parts is None or scheme not in _DEFAULT_PORTS:
        raise _refused("the URL is not http://host… or https://host…")
    authority, rest = parts[2], parts[3]
    if "@" in authority or (rest[:1] in ("?", "#") and "@" in rest):
        raise _refused("the URL holds an @ where a user name would stand")
    return _destination(scheme, authority, default_port=_DEFAULT_PORTS[scheme])


def _destination(scheme: str, authority: str, *, default_port: int) -> Destination:
    parts = _AUTHORITY(authority)
    if parts is None:
        raise _refused("the URL's host is not a host with an optional port")
    literal, name, digits = parts[1], parts[2], parts[3]
    port = default_port
    if digits is not None:
        port = int(digits) if _PORT(digits) else 0
        if not 0 < port <= _MAX_PORT:
            raise _refused(f"the URL's port is not a decimal number from 1 to {_MAX_PORT}")
    if literal is not None:
        return Destination(scheme=scheme, host=check_ipv6_literal(literal), port=port, is_ip=True)
    host, is_ip = check_host(name)
    return Destination(scheme=scheme, host=host, port=port, is_ip=is_ip)


def _refused(message: str) -> ShapeError:
    return ShapeError(message, code=ReasonCode.URL)
