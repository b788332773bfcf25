# SPDX-License-Identifier: Apache-2.0
"""The console's sign-in pages on loopback, and a browser that keeps cookies as browsers do."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from aiohttp import ClientResponse, ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestServer

from sidecar.clock import ManualClock
from sidecar.ids import SequentialIds
from sidecar.web.access import Door
from sidecar.web.app import make_pages
from sidecar.web.config import ConsoleConfig
from sidecar.web.login import LoginPorts, add_login_routes, login_routes
from sidecar.web.oidc import OidcConfig
from sidecar.web.security import Guard, add_headers
from sidecar.web.sessions import Session, Sessions
from tests.support.authenticator import Authenticator
from tests.support.passkeys import ORIGIN, PasskeyDesk

__all__ = ["Browser", "LoginConsole", "Page"]


@dataclass
class Page:
    """One answer, read to its end."""

    status: int
    text: str
    headers: Mapping[str, str]
    cookies: Mapping[str, Morsel[str]]

    def field(self, name: str, *, form: str = "") -> str:
        """Return the value of the first input *name*, after the form to *form*."""
        text = self.text[self.text.index(f'action="{form}"') :] if form else self.text
        found = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', text)
        assert found is not None, self.text
        return html.unescape(found[1])

    def options(self, attribute: str = "data-passkey-options") -> dict[str, Any]:
        """Return what the page asks of a passkey."""
        found = re.search(rf'{attribute}="([^"]*)"', self.text)
        assert found is not None, self.text
        made: dict[str, Any] = json.loads(html.unescape(found[1]))
        return made


@dataclass
class Browser:
    """Sends what a browser sends from a page of the console; ``headers`` of a call replace it."""

    console: LoginConsole
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str | None) -> Page:
        """Go to *path*, by hand."""
        return await self._send("GET", path, None, {"Sec-Fetch-Site": "none", **_named(headers)})

    async def post(self, path: str, form: Mapping[str, str] | str, **headers: str | None) -> Page:
        """Submit *form* from a page of the console."""
        own: dict[str, str | None] = {
            "Origin": self.console.origin,
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = form if isinstance(form, str) else urlencode(form)
        return await self._send("POST", path, body, {**own, **_named(headers)})

    async def _send(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str | None]
    ) -> Page:
        sent = {name: value for name, value in headers.items() if value is not None}
        if self.cookies and "Cookie" not in sent:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self.console.client.request(
            method,
            self.console.url(path),
            data=body,
            headers=sent,
            allow_redirects=False,
        ) as response:
            return await self._read(response)

    async def _read(self, response: ClientResponse) -> Page:
        set_now: dict[str, Morsel[str]] = {}
        for text in response.headers.getall("Set-Cookie", []):
            for name, morsel in SimpleCookie(text).items():
                set_now[name] = morsel
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return Page(response.status, await response.text(), response.headers, set_now)

    # -- stories ---------------------------------------------------------------------------------

    async def sign_in(self, device: Authenticator, *, wanted: str = "/") -> Page:
        """Sign in with *device*."""
        page = await self.get(f"/login?{urlencode({'next': wanted})}")
        return await self.post(
            "/login/passkey",
            {"csrf": page.field("csrf"), "assertion": device.get(page.options()).decode()},
        )

    @property
    def session_cookie(self) -> str:
        """The value of the session's cookie; empty if there is none."""
        return self.cookies.get(self.console.sessions.cookie_name, "")


class LoginConsole:
    """The sign-in pages over real stores, on a loopback port; ``origin`` is what browsers believe."""

    def __init__(
        self,
        path: Path,
        clock: ManualClock,
        *,
        oidc: Sequence[OidcConfig] = (),
        origin: str = ORIGIN,
    ) -> None:
        self.clock = clock
        self.origin = origin
        self.desk = PasskeyDesk(path, clock, origin=origin)
        self.log = self.desk.log
        self.people = self.desk.people
        self.config = ConsoleConfig(origin=origin)
        self.sessions = Sessions(clock=clock, is_secure=self.config.is_secure)
        self.pages = make_pages(self.config, clock=clock)
        self.ports = LoginPorts(
            operators=self.people.values,
            audit=self.log,
            origin=origin,
            clock=clock,
            sessions=self.sessions,
            passkeys=self.desk.passkeys,
            accounts=self.desk.accounts,
            page=self.pages,
            oidc=oidc,
        )

    async def start(self) -> LoginConsole:
        """Serve the pages alone; they must hold without the console's middleware."""
        app = web.Application()
        add_login_routes(app, self.ports)
        app.add_routes([web.get("/whoami", self._whoami)])
        return await self._serve(app, port=None)

    async def start_guarded(self, *more: web.RouteDef) -> LoginConsole:
        """Serve the pages as the console does, at their own origin, with *more* routes."""
        door = Door(sessions=self.sessions, operators=self.people.values)
        guard = Guard(self.config, door=door, pages=self.pages, ids=SequentialIds())
        app = web.Application(middlewares=[guard.middleware])
        app.on_response_prepare.append(add_headers(self.config))
        static = web.get("/static/{name}", self.pages.assets.get)
        who = web.get("/whoami", self._whoami)
        guard.public.update(app.add_routes([static, who, *login_routes(self.ports)]))
        app.add_routes(more)
        return await self._serve(app, port=urlsplit(self.origin).port)

    async def _serve(self, app: web.Application, *, port: int | None) -> LoginConsole:
        self._server = TestServer(app, host="127.0.0.1", port=port)
        await self._server.start_server()
        self.client = ClientSession(cookie_jar=DummyCookieJar())
        return self

    async def close(self) -> None:
        """Serve no more."""
        await self.client.close()
        await self._server.close()
        self.desk.store.close()

    def url(self, path: str) -> str:
        """Return where *path* is really served."""
        return str(self._server.make_url("/")).rstrip("/") + path

    def browser(self) -> Browser:
        """Return a fresh browser."""
        return Browser(self)

    async def who(self, browser: Browser) -> str:
        """Return whom the console takes *browser* for; empty for nobody."""
        return (await browser.get("/whoami")).text

    def session(self) -> Session:
        """Return the only session."""
        (session,) = self.sessions._sessions.values()
        return session

    async def _whoami(self, request: web.Request) -> web.Response:
        session = self.sessions.of(request)
        operator = self.ports.operator_of(session) if session is not None else None
        return web.Response(text=operator.name if operator is not None else "")


def _named(headers: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}
