# SPDX-License-Identifier: Apache-2.0
"""Fetches an issuer's JWK set from its configured address.

Laws:

1. The address comes from the configuration alone, never from a token (``jku``, ``x5u``).
2. https only. Plain http is for a loopback address written as a literal, and only when the process
   was started insecurely for development.
3. No redirect is followed, no proxy of the environment is used, no cookie kept, no compression
   accepted, and at most ``MAX_SET_BYTES`` are read.
4. Every step has a deadline, and so has the whole.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from sidecar.errors import (
    ConfigurationError,
    EnvironmentFailure,
    ErrorReason,
    UntrustedInputError,
)
from sidecar.tokens.jwks import MAX_SET_BYTES, KeySet, parse_jwk_set

__all__ = ["JwksHttp"]

# RFC 3986 characters only; urlsplit alone would silently drop tabs and newlines.
_URL: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_MAX_URL_CHARS: Final = 2048
_OK: Final = 200
_CHUNK_BYTES: Final = 8192


class JwksHttp:
    """The key set at *url*.

    Args:
        url: Where the issuer publishes its set.
        issuer_name: What messages call the issuer; they never quote the address.
        timeout_s: Deadline of one whole fetch.
        insecure_dev: Allows http to a loopback literal.
        ssl_context: Trust other than the system's, for an issuer with a private CA.

    Raises:
        ConfigurationError: The address breaks law 2 or is no plain address.
    """

    def __init__(
        self,
        *,
        url: str,
        issuer_name: str,
        timeout_s: float = 10.0,
        insecure_dev: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if ssl_context is not None and ssl_context.verify_mode is not ssl.CERT_REQUIRED:
            raise ValueError("an ssl_context that verifies nothing is not accepted")
        _check_url(url, issuer_name=issuer_name, is_http_allowed=insecure_dev)
        self._url = url
        self._issuer_name = issuer_name
        self._timeout_s = timeout_s
        self._ssl: ssl.SSLContext | bool = ssl_context if ssl_context is not None else True

    async def fetch(self) -> KeySet:
        """Return the key set that is published now.

        Raises:
            EnvironmentFailure: No good answer came within the deadline.
            UntrustedInputError: The answer is no acceptable key set.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                data = await self._get()
        except TimeoutError as exc:
            raise EnvironmentFailure(
                f"the keys of issuer {self._issuer_name} did not arrive in {self._timeout_s:g} s",
                reason=ErrorReason.DEADLINE,
            ) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            # The kind of failure only: the library's own text may quote the address.
            raise self._unavailable(f"failed ({type(exc).__name__})") from exc
        return parse_jwk_set(data)

    async def _get(self) -> bytes:
        timeout = aiohttp.ClientTimeout(
            total=self._timeout_s, connect=self._timeout_s / 2, sock_read=self._timeout_s / 2
        )
        async with (
            aiohttp.ClientSession(
                timeout=timeout,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": "application/jwk-set+json, application/json"},
                skip_auto_headers=("Accept-Encoding",),
                max_line_size=8190,
                max_field_size=8190,
            ) as session,
            session.get(
                self._url,
                allow_redirects=False,
                ssl=self._ssl,
                headers={"Accept-Encoding": "identity"},
            ) as response,
        ):
            if response.status != _OK:
                raise self._unavailable(f"answered {response.status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise UntrustedInputError(
                    f"the keys of issuer {self._issuer_name} came compressed, unasked"
                )
            return await self._read_bounded(response)

    async def _read_bounded(self, response: aiohttp.ClientResponse) -> bytes:
        data = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            data += chunk
            if len(data) > MAX_SET_BYTES:
                response.close()  # do not wait for the rest
                raise UntrustedInputError(
                    f"the keys of issuer {self._issuer_name} are larger than {MAX_SET_BYTES} bytes"
                )
        return bytes(data)

    def _unavailable(self, how: str) -> EnvironmentFailure:
        return EnvironmentFailure(
            f"fetching the keys of issuer {self._issuer_name} {how}",
            reason=ErrorReason.ISSUER_UNAVAILABLE,
            hint="check jwks_url in issuers.yaml; redirects are not followed",
        )


def _check_url(url: str, *, issuer_name: str, is_http_allowed: bool) -> None:
    key = f"issuers.{issuer_name}.jwks_url"
    if len(url) > _MAX_URL_CHARS or _URL.fullmatch(url) is None:
        raise ConfigurationError(
            "not a plain http(s) address", key=key, hint="no user, fragment, space or escape tricks"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigurationError("not a plain http(s) address", key=key) from exc
    if not host or port == 0:
        raise ConfigurationError("has no host, or port 0", key=key)
    if parts.scheme == "https":
        return
    if not (is_http_allowed and _is_loopback_literal(host)):  # law 2
        raise ConfigurationError(
            "must be https",
            key=key,
            hint="plain http is only for a loopback literal in insecure development mode",
        )


def _is_loopback_literal(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
