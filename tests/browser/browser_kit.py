# SPDX-License-Identifier: Apache-2.0
"""Tabs of a real browser, passkeys that are software, other people's pages, and what changed."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, BrowserContext, CDPSession, Page

from sidecar.approvals.answers import Pending
from sidecar.approvals.values import Approval, Cause
from sidecar.canonical import canonicalise
from tests.support.console import Arrival, Console, binding_of, fingerprint_of

__all__ = [
    "CHROMIUM_FLAGS",
    "DESKTOP",
    "MEMORY",
    "PHONE",
    "Device",
    "Elsewhere",
    "Tab",
    "Tabs",
    "add_device",
    "arrived",
    "enrol",
    "forged",
    "hold_document",
    "record",
]

CHROMIUM_FLAGS: Final = ["--no-sandbox"]
"""The tests run as root in containers, where Chromium's own sandbox cannot start."""
MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where stores of tests lie: in memory if possible."""
PHONE: Final = {"width": 390, "height": 844}
DESKTOP: Final = {"width": 1280, "height": 900}

# Tells of what the page's policy refused, whatever the page itself does later.
_WITNESS: Final = """
    window.refusals = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      window.refusals.push(`${event.effectiveDirective} ${event.blockedURI}`);
    });
"""


@dataclass(eq=False)
class Tab:
    """A page in a profile of its own.

    Attributes:
        complaints: What the browser wrote to its console, and errors of scripts.
        dialogs: What ``alert`` and its kin said.
        requests: Addresses that were asked for.
        is_spoilt: Whether a test left something in the profile that cannot be taken out again.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    is_spoilt: bool = False
    _listeners: list[tuple[str, Callable[..., Any]]] = field(default_factory=list)

    @property
    def context(self) -> BrowserContext:
        """The profile."""
        return self.page.context

    async def refusals(self) -> list[str]:
        """Return what the policy of the page refused so far."""
        found: list[str] = await self.page.evaluate("window.refusals")
        return found

    def listen(self) -> None:
        """Take down what happens in the page."""

        async def dismiss(dialog: Any) -> None:
            self.dialogs.append(dialog.message)
            await dialog.dismiss()

        self._listeners = [
            ("dialog", dismiss),
            ("console", lambda message: self.complaints.append(message.text)),
            ("pageerror", lambda error: self.complaints.append(str(error))),
            ("request", lambda request: self.requests.append(request.url)),
        ]
        for event, listener in self._listeners:
            self.page.on(event, listener)  # type: ignore[call-overload]

    async def clean(self) -> None:
        """Leave nothing in the profile of what was done in it."""
        for event, listener in self._listeners:
            self.page.remove_listener(event, listener)
        await self.page.goto("about:blank")
        await self.context.clear_cookies()
        await self.context.clear_permissions()


class Tabs:
    """Opens tabs. A profile costs the best part of a second, so clean ones are used again.

    Two tabs that are open at once never share one, unless asked to (``beside``).
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._open: list[tuple[str, Tab]] = []
        self._idle: dict[str, list[Page]] = {}

    async def open(self, console: Console | None = None, name: str = "", **options: Any) -> Tab:
        """Return a tab in which *name* is signed in at *console*, or nobody."""
        options = {"viewport": PHONE, "color_scheme": "light", **options}
        key = repr(sorted(options.items()))
        idle = self._idle.setdefault(key, [])
        page = idle.pop() if idle else await self._new_page(options)
        await page.set_viewport_size(options["viewport"])
        await page.emulate_media(color_scheme=options["color_scheme"])
        tab = Tab(page)
        tab.listen()
        self._open.append((key, tab))
        if console is not None and name:
            await tab.context.add_cookies([console.cookie(name)])  # type: ignore[list-item]
        return tab

    async def _new_page(self, options: dict[str, Any]) -> Page:
        context = await self._browser.new_context(**options)
        context.set_default_timeout(15_000)
        await context.add_init_script(_WITNESS)
        return await context.new_page()

    async def beside(self, context: BrowserContext) -> Tab:
        """Return another tab of the same profile."""
        tab = Tab(await context.new_page())
        tab.listen()
        return tab

    def of(self, page: Page) -> Tab:
        """Return the tab of *page*."""
        return next(tab for _, tab in self._open if tab.page is page)

    async def release(self) -> None:
        """Close what is open; keep the profiles that are clean."""
        for key, tab in self._open:
            for page in tab.context.pages:
                if page is not tab.page:
                    await page.close()
            if tab.is_spoilt or tab.page.is_closed():
                await tab.context.close()
            else:
                await tab.clean()
                self._idle[key].append(tab.page)
        self._open.clear()

    async def close(self) -> None:
        """Close everything."""
        for _, tab in self._open:
            await tab.context.close()
        self._open.clear()
        for pages in self._idle.values():
            for page in pages:
                await page.context.close()
        self._idle.clear()


# -- passkeys ------------------------------------------------------------------------------------


@dataclass
class Device:
    """An authenticator that Chromium simulates; it says yes to everything it is asked."""

    devtools: CDPSession
    id: str

    async def set_verified(self, is_verified: bool) -> None:
        """Say whether it can tell that its human is there (PIN, finger, face)."""
        await self.devtools.send(
            "WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": is_verified}
        )

    async def forget(self) -> None:
        """Lose every passkey."""
        await self.devtools.send("WebAuthn.clearCredentials", {"authenticatorId": self.id})

    async def credentials(self) -> list[dict[str, Any]]:
        """Return the passkeys it keeps."""
        answer = await self.devtools.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        found: list[dict[str, Any]] = answer["credentials"]
        return found


async def add_device(tab: Tab) -> Device:
    """Give *tab* an authenticator that is built in, keeps passkeys and verifies its human."""
    devtools = await tab.context.new_cdp_session(tab.page)
    await devtools.send("WebAuthn.enable")
    made = await devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
            }
        },
    )
    tab.is_spoilt = True  # a page does not get rid of its authenticators
    return Device(devtools, made["authenticatorId"])


async def enrol(
    tab: Tab, console: Console, name: str, *, device: Device | None = None, named: str = ""
) -> Device:
    """Give *name* a passkey on a device of *tab*, by a link as administrators give out."""
    device = device or await add_device(tab)
    await tab.page.bring_to_front()  # only the page that has the focus may make a passkey
    await tab.page.goto(await console.link(name))
    await tab.page.get_by_label("What you call it").fill(named or f"{name}'s phone")
    await tab.page.get_by_role("button", name="Add a passkey").click()
    await tab.page.get_by_role("heading", name="The passkey was added").wait_for()
    return device


# -- other people's pages ------------------------------------------------------------------------


class Elsewhere:
    """A server of somebody else, whose pages are whatever a test puts there.

    It is one server with two names. To the console at ``localhost`` the one is another site; the
    other is the same site at another port, which cookies do not tell apart.
    """

    def __init__(self) -> None:
        self._pages: dict[str, str] = {}
        self.hits: list[str] = []

    async def start(self) -> None:
        """Serve on loopback."""
        app = web.Application()
        app.add_routes([web.get("/{name:.*}", self._get)])
        self._server = TestServer(app, host="127.0.0.1")
        await self._server.start_server()

    async def close(self) -> None:
        """Serve no more."""
        await self._server.close()

    def url(self, name: str, *, is_same_site: bool = False) -> str:
        """Return the address of the page *name*."""
        host = "localhost" if is_same_site else "127.0.0.1"
        return f"http://{host}:{self._server.port}/{name}"

    def put(self, name: str, body: str) -> None:
        """Serve *body* under *name*."""
        self._pages[name] = f'<!doctype html><meta charset="utf-8"><title>win</title>{body}'

    async def _get(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.hits.append(name)
        if name not in self._pages:
            return web.Response(status=404)
        return web.Response(text=self._pages[name], content_type="text/html")


def forged(console: Console, approval: Approval, **changes: str) -> str:
    """Return a form that would grant *approval*, by who knows everything but the session's token."""
    fields = {
        "csrf": "guess",
        "verdict": "grant",
        "fingerprint": approval.request.fingerprint,
        "request_id": "forged-request-1",
        "reason": "forged",
        "read": "all",
        **changes,
    }
    inputs = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
        for name, value in fields.items()
    )
    action = f"{console.url}/approvals/{approval.id}/decision"
    return f'<form id="f" method="post" action="{action}">{inputs}</form>'


async def hold_document(console: Console, document: Mapping[str, Any], **changes: Any) -> Approval:
    """Have an agent held with *document* as its call, past what a gate would let through.

    ``agent``, ``session`` and ``tool`` of the document are those of the approval.
    """
    made = {"v": 1, "agent": "billing-bot", "session": "s-1", "tool": "shell.exec", **document}
    canonical = canonicalise(made)
    like = await console.hold(arguments={}, session="like", **changes)
    await console.approvals.cancel(like.id, Cause.WITHDRAWN, detail="only the form of a request")
    request = replace(
        like.request,
        canonical=canonical,
        fingerprint=fingerprint_of(canonical),
        agent=made["agent"],
        session=made["session"],
        tool=made["tool"],
    )
    answer = await console.approvals.hold(
        request, binding_of(request), decision_id=request.decision_id
    )
    assert isinstance(answer, Pending), answer
    return answer.approval


# -- what changed --------------------------------------------------------------------------------


async def record(console: Console) -> dict[str, Any]:
    """Return everything that a request could have changed: equal records mean that nothing was."""
    page = await console.approvals.list(limit=200)
    return {
        "approvals": {
            item.id: (item.state.value, item.version, item.votes) for item in page.approvals
        },
        "ballots": len(console.desk.ballots),
        "orders": len(console.containment.orders),
        "log": len(console.log.entries),
        "verifications": console.logs.verify_count,
        "sessions": len(console.sessions),
    }


def arrived(console: Console, wanted: Callable[[Arrival], bool]) -> Callable[[], list[Arrival]]:
    """Return a condition: the requests that have arrived and are *wanted*."""
    return lambda: [item for item in console.arrivals if wanted(item)]
