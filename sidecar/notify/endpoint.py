# SPDX-License-Identifier: Apache-2.0
"""Posts to one configured address, and trusts nothing that comes back.

Laws:

1. The address comes from the configuration alone. https, verified, TLS 1.2 or newer; plain http only
   to a loopback address written as a literal. There is no switch that turns verification off.
2. The address may hold a token, so no error, log line or ``repr`` shows any part of it. Libraries
   quote addresses in their errors: theirs never get out.
3. No redirect is followed: it would carry the message, and its signature, to somewhere else. No
   proxy of the environment is used, no cookie kept, no compression accepted.
4. At most ``MAX_ANSWER_BYTES`` of an answer are read, and everything has a deadline.
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.secret import Secret

__all__ = [
    "HTTP_TIMEOUT_S",
    "MAX_ANSWER_BYTES",
    "Answer",
    "Endpoint",
    "check_address",
    "is_loopback_literal",
    "tls_context",
    "words_of",
]

HTTP_TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 8192
_MAX_ADDRESS: Final = 2048
# RFC 3986 characters only; urlsplit alone would silently drop tabs and newlines.
_ADDRESS: Final = re.compile(
    r"https?://[A-Za-z0-9.\[\]:_-]+(?:[/?][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
).fullmatch
_SECONDS: Final = re.compile(r"[0-9]{1,9}").fullmatch
_TOO_MANY: Final = 429
_REJECTED: Final = frozenset({400, 413, 415, 422})
_TRANSIENT: Final = frozenset({408, 425})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the status, and the first bytes of the body."""

    status: int
    body: bytes
    retry_after_s: float

    @property
    def is_good(self) -> bool:
        """Whether the other side took it."""
        return 200 <= self.status < 300

    def require_good(self) -> None:
        """Raise what a bad status means to a channel.

        Raises:
            DeliveryError: With the status alone; what else the answer says is not ours to repeat.
        """
        if self.is_good:
            return
        said = f"answered {self.status}"
        if self.status == _TOO_MANY:
            raise DeliveryError(said, fault=Fault.BUSY, retry_after_s=self.retry_after_s)
        if self.status >= 500 or self.status in _TRANSIENT:
            raise DeliveryError(said, fault=Fault.BROKEN, retry_after_s=self.retry_after_s)
        if self.status in _REJECTED:
            raise DeliveryError(said, fault=Fault.REJECTED)
        if 300 <= self.status < 400:
            raise DeliveryError(
                f"{said}; redirects are not followed",
                fault=Fault.REFUSED,
                hint="configure the address it leads to",
            )
        raise DeliveryError(said, fault=Fault.REFUSED, hint="check its address and its secret")


class Endpoint:
    """One address to post to.

    Args:
        address: Where to; held to law 1.
        clock: What ``Retry-After`` is measured by.
        ca_file: Certificates to trust in place of the system's.
        timeout_s: Deadline of one exchange.

    Raises:
        ValueError: The address breaks law 1, or *ca_file* cannot be used; neither is quoted.
    """

    def __init__(
        self,
        *,
        address: Secret,
        clock: Clock,
        ca_file: Path | None = None,
        timeout_s: float = HTTP_TIMEOUT_S,
    ) -> None:
        check_address(address.reveal())
        self._address = address
        self._clock = clock
        self._tls = tls_context(ca_file) if _is_https(address) else None
        self.timeout_s = timeout_s

    async def post(self, body: bytes, *, headers: Mapping[str, str], path: str = "") -> Answer:
        """Post *body* and return the answer, whatever its status.

        Args:
            body: What to send.
            headers: Beside those of HTTP itself.
            path: Appended to the address.

        Raises:
            DeliveryError: No answer came in time.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._post(body, headers, path)
        except aiohttp.ClientConnectorError as exc:
            _raise(exc, self.timeout_s, Fault.UNREACHABLE)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            _raise(exc, self.timeout_s, Fault.BROKEN)

    async def knock(self) -> None:
        """Connect, complete the TLS handshake and hang up.

        Raises:
            DeliveryError: That is not possible.
        """
        parts = urlsplit(self._address.reveal())
        try:
            async with asyncio.timeout(self.timeout_s):
                _, writer = await asyncio.open_connection(
                    parts.hostname,
                    parts.port or (443 if self._tls else 80),
                    ssl=self._tls,
                )
                writer.transport.abort()
        except (OSError, ValueError) as exc:
            _raise(exc, self.timeout_s, Fault.UNREACHABLE)

    async def _post(self, body: bytes, headers: Mapping[str, str], path: str) -> Answer:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self.timeout_s),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.post(
                # encoded: what the configuration says goes out, byte for byte (signed queries).
                URL(self._address.reveal() + path, encoded=True),
                data=body,
                allow_redirects=False,
                ssl=self._tls or True,
                headers={"Accept-Encoding": "identity", "User-Agent": "holdfast", **headers},
            ) as response,
        ):
            try:
                found = bytearray()
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    found += chunk
                    if len(found) >= MAX_ANSWER_BYTES:  # law 4
                        break
                return Answer(
                    status=response.status,
                    body=bytes(found[:MAX_ANSWER_BYTES]),
                    retry_after_s=self._retry_after_s(response.headers.get("Retry-After", "")),
                )
            finally:
                response.close()  # do not wait for the rest

    def _retry_after_s(self, value: str) -> float:
        """Return the seconds of a ``Retry-After`` (RFC 9110, 10.2.3), 0 if it is none."""
        if _SECONDS(value):
            return float(value)
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return 0.0
        return max(0.0, moment.timestamp() - self._clock.wall_ns() / NS_PER_SECOND)


def check_address(address: str) -> None:
    """Hold *address* to law 1.

    Raises:
        ValueError: It breaks it; the message does not quote it.
    """
    if len(address) > _MAX_ADDRESS or _ADDRESS(address) is None:
        raise ValueError("is not a plain https address: no user, fragment, space or control")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a plain https address: its host or port is malformed") from None
    if not host or port == 0:
        raise ValueError("is not a plain https address: it has no host, or port 0")
    if parts.scheme != "https" and not is_loopback_literal(host):
        raise ValueError("must be https; plain http is only for 127.0.0.1 or [::1]")


def _is_https(address: Secret) -> bool:
    return address.reveal().startswith("https:")


def is_loopback_literal(host: str) -> bool:
    """Return whether *host* is a loopback address, not a name that may lead anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies, against *ca_file* alone or against the system's trust.

    Raises:
        ValueError: *ca_file* cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError("is not a readable file of PEM certificates") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _raise(exc: Exception, timeout_s: float, fault: Fault) -> NoReturn:
    """Raise *exc* in words of ours, without its chain (law 2)."""
    what, hint = words_of(exc, timeout_s)
    raise DeliveryError(what, fault=fault, hint=hint) from None


def words_of(exc: Exception, timeout_s: float) -> tuple[str, str]:
    """Return what a failed connection means, and what to do about it, without any address."""
    if isinstance(exc, TimeoutError):
        return f"no answer within {timeout_s:g} s", ""
    if isinstance(exc, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return "its certificate does not verify", "set ca_file if it is of a private CA"
    if isinstance(exc, (aiohttp.ClientSSLError, ssl.SSLError)):
        return "TLS failed", ""
    if isinstance(exc, (aiohttp.ClientConnectorDNSError, socket.gaierror)):
        return "its name cannot be resolved", ""
    if isinstance(exc, OSError) and exc.errno:
        # By its number: the text that asyncio writes there quotes the address.
        return f"cannot be connected: {os.strerror(exc.errno)}", ""
    return f"the connection failed ({type(exc).__name__})", ""
