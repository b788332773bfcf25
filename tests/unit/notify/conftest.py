# SPDX-License-Identifier: Apache-2.0
"""Fixtures for notifications: servers on the loopback that record what they are sent."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecar.notify import lane, notifier, outbox, smtp
from tests.support.certificates import Authority
from tests.support.mail import MailHost


@dataclass
class Heard:
    """One request as a server got it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class HttpHost:
    """A server that answers what it is told to."""

    url: str
    heard: list[Heard] = field(default_factory=list)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[HttpHost]]]:
    """Start servers; each records every request, and answers with *handler* or 200."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            handler: Handler | None = None, *, tls: ssl.SSLContext | None = None
        ) -> HttpHost:
            host = HttpHost(url="")

            async def take(request: web.Request) -> web.StreamResponse:
                body = await request.read()
                host.heard.append(
                    Heard(path=request.path_qs, headers=dict(request.headers), body=body)
                )
                return await handler(request) if handler is not None else web.Response()

            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", take)
            runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            scheme = "https" if tls else "http"
            host.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
            return host

        yield start


@pytest.fixture
async def mail_host() -> AsyncIterator[Callable[..., Awaitable[MailHost]]]:
    """Start mail servers."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> MailHost:
            host = await MailHost(**options).start()
            stack.push_async_callback(host.stop)
            return host

        yield start


@pytest.fixture(scope="session")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for 127.0.0.1 and localhost, and the file of the CA that signed it."""
    authority = Authority()
    directory = tmp_path_factory.mktemp("tls")
    chain, key = authority.server().write(directory, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    ca_file = directory / "ca.pem"
    ca_file.write_bytes(authority.pem)
    return context, ca_file


class Journal:
    """Takes the place of a module's logger."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = events

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **words: self._events.append({"level": level, "event": event, **words})


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every log event of the test."""
    events: list[dict[str, Any]] = []
    for module in (lane, notifier, outbox, smtp):
        monkeypatch.setattr(module, "_log", Journal(events))
    return events
