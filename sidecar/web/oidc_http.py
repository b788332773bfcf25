# SPDX-License-Identifier: Apache-2.0
"""Speaks to an OpenID provider, and trusts it with as little as possible.

Laws:

1. https only. Plain http is for loopback, where a test or a developer runs a provider.
2. No redirect is followed, no proxy of the environment is used, no cookie kept, no compression
   accepted. An answer has at most 64 KiB and 5 seconds.
3. No message quotes an address, a code, a token or a secret: they would land in a log.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from sidecar.errors import EnvironmentFailure, ErrorReason, UntrustedInputError
from sidecar.tokens.strict_json import parse_object

__all__ = ["MAX_ANSWER_BYTES", "ProviderHttp", "is_acceptable_url"]

MAX_ANSWER_BYTES: Final = 64 * 1024
_URL: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_MAX_URL: Final = 2048
_OK: Final = 200
_CHUNK: Final = 8192


def is_acceptable_url(url: object) -> bool:
    """Return whether *url* is plain and https, or http on loopback (law 1)."""
    if not isinstance(url, str) or len(url) > _MAX_URL or _URL.fullmatch(url) is None:
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(host) and port != 0 and (parts.scheme == "https" or _is_loopback(host))


class ProviderHttp:
    """The way to one provider.

    Args:
        name: What messages call it.
        ca_file: CA to trust in place of the system's, for a provider inside.
        timeout_s: Deadline of one question.
    """

    def __init__(self, *, name: str, ca_file: Path | None = None, timeout_s: float = 5.0) -> None:
        self._name = name
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._context: ssl.SSLContext | None = None

    async def get(self, url: str) -> bytes:
        """Return what is at *url*.

        Raises:
            EnvironmentFailure: No good answer came in time.
            UntrustedInputError: The answer is too large, or came compressed.
        """
        return await self._ask("GET", url, data=None, headers={})

    async def get_object(self, url: str) -> dict[str, Any]:
        """Return the JSON object at *url*; raises as ``get``."""
        return parse_object(await self.get(url), what=f"what provider {self._name} answers")

    async def post(
        self, url: str, data: Mapping[str, str], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return the JSON object that *url* answers to the form *data*; raises as ``get``."""
        answer = await self._ask("POST", url, data=data, headers=headers)
        return parse_object(answer, what=f"what provider {self._name} answers")

    async def _ask(
        self, method: str, url: str, *, data: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> bytes:
        if not is_acceptable_url(url):
            raise UntrustedInputError(f"provider {self._name} names an address that is not https")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(method, url, data, headers)
        except TimeoutError as exc:
            raise EnvironmentFailure(
                f"provider {self._name} did not answer in {self._timeout_s:g} s",
                reason=ErrorReason.DEADLINE,
                hint="try again; or sign in with a passkey",
            ) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise self._unavailable(f"cannot be asked ({type(exc).__name__})") from exc

    async def _exchange(
        self, method: str, url: str, data: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> bytes:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding", "User-Agent"),
                max_line_size=8190,
                max_field_size=8190,
            ) as session,
            session.request(
                method,
                url,
                data=data,
                allow_redirects=False,
                ssl=await self._trust(),
                headers={"Accept": "application/json", "Accept-Encoding": "identity", **headers},
            ) as response,
        ):
            if response.status != _OK:
                raise self._unavailable(f"answered {response.status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise UntrustedInputError(f"provider {self._name} answers compressed, unasked")
            return await self._bounded(response)

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        found = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            found += chunk
            if len(found) > MAX_ANSWER_BYTES:
                response.close()  # do not wait for the rest
                raise UntrustedInputError(
                    f"provider {self._name} answers more than {MAX_ANSWER_BYTES // 1024} KiB"
                )
        return bytes(found)

    async def _trust(self) -> ssl.SSLContext | bool:
        if self._ca_file is None:
            return True
        if self._context is None:
            self._context = await asyncio.to_thread(
                ssl.create_default_context, cafile=str(self._ca_file)
            )
        return self._context

    def _unavailable(self, how: str) -> EnvironmentFailure:
        return EnvironmentFailure(
            f"provider {self._name} {how}",
            reason=ErrorReason.ISSUER_UNAVAILABLE,
            hint="check its issuer, client_id and secret in the settings; redirects are not followed",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
