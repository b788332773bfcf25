# SPDX-License-Identifier: Apache-2.0
"""What holds for every request and every answer, before and after any page.

Laws:

1. Every answer carries the headers, errors and files and streams too (``on_response_prepare``).
2. Checked in this order, and before any handler: ``Host``, method, origin, session, token of the
   form. GET, HEAD and OPTIONS reach no handler that changes anything.
3. A form is URL-encoded, bounded, and has each field once; a second value of a field is refused, so
   nobody can be shown one and have the other counted.
4. Whatever goes wrong becomes a page that says what and what to do. A failure that nobody foresaw
   says nothing but a number that is in our own log.
5. A route is public only if it is registered as such; every other needs a session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

import structlog
from aiohttp import web

from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.ids import Ids
from sidecar.web.access import FORM, VISITOR, Door, is_quiet
from sidecar.web.config import MAX_BODY_BYTES, ConsoleConfig
from sidecar.web.csrf import SAFE_METHODS, check_origin, check_token, read_form
from sidecar.web.render import Pages, see_other, wants_json

__all__ = ["CONTENT_SECURITY_POLICY", "Guard", "add_headers"]

log = structlog.get_logger("holdfast.control")

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # not no-referrer: browsers then send "Origin: null" with our own forms (csrf.py)
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), "
        "microphone=(), geolocation=(), payment=(), usb=()"
    ),
    "X-Robots-Tag": "noindex, nofollow",
    "Server": "holdfast",
}
_HSTS: Final = "max-age=63072000; includeSubDomains"
_METHODS: Final = SAFE_METHODS | {"POST"}
_MAX_URL: Final = 2048

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUS: Final[tuple[tuple[type[HoldfastError], int], ...]] = (
    (UntrustedInputError, 400),
    (RefusedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (PreconditionError, 409),
    (EnvironmentFailure, 503),
    (IntegrityError, 500),
)
_TITLES: Final = {
    400: "That could not be read",
    401: "Please sign in",
    403: "That is not allowed",
    404: "There is nothing here",
    405: "That is not possible here",
    409: "That has already changed",
    413: "That is too much",
    415: "That could not be read",
    421: "This is another console's address",
    422: "That is not complete",
    429: "Too many at once",
    500: "Something is wrong",
    503: "Not available at the moment",
}


def add_headers(
    config: ConsoleConfig,
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return the signal handler that puts the headers on every answer (law 1)."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if config.is_secure:
            response.headers["Strict-Transport-Security"] = _HSTS
        response.headers.setdefault("Cache-Control", "no-store")

    return prepare


class Guard:
    """The middleware."""

    def __init__(self, config: ConsoleConfig, *, door: Door, pages: Pages, ids: Ids) -> None:
        self._config = config
        self._door = door
        self._pages = pages
        self._ids = ids
        self.public: set[web.AbstractRoute] = set()
        """Routes that need no session (law 5)."""

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Check *request*, have it handled, and turn what goes wrong into a page."""
        try:
            refusal = await self._check(request)
            return refusal if refusal is not None else await handler(request)
        except web.HTTPException as exc:
            if exc.status < 400:
                raise
            return self._http_error(request, exc)
        except HoldfastError as exc:
            return self.error(
                request, status_of(exc), exc.message, hint=exc.hint, reason=exc.reason
            )
        except Exception:
            incident = self._ids.new("incident")
            log.exception("page failed", incident=incident, page=_page_of(request))
            return self.error(
                request,
                500,
                "The console could not do this, and does not know why.",
                hint=f"Nothing was decided by it. The log of control says more under {incident}.",
            )

    async def _check(self, request: web.Request) -> web.StreamResponse | None:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._config.hosts:
            return _plain(421, "This console is not served under that name.\n")
        if len(request.raw_path) > _MAX_URL:
            return self.error(request, 400, "The address is too long.")
        if request.method not in _METHODS:
            raise web.HTTPMethodNotAllowed(request.method, sorted(_METHODS))
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, request.content_length or 0)
        check_origin(request, origin=self._config.origin)
        # A page that asks by itself says so; who lies about it only ends their session sooner.
        is_activity = not is_quiet(request.match_info.handler) and "X-Quiet" not in request.headers
        visitor = self._door.visitor(request, is_activity=is_activity)
        if visitor is not None:
            request[VISITOR] = visitor
        if self._is_public(request.match_info.route):
            return None
        if visitor is None:
            return self._signed_out(request)
        if request.method not in SAFE_METHODS:
            form = await read_form(request)
            check_token(form, expected=visitor.session.csrf)
            request[FORM] = form
        return None

    def _is_public(self, route: web.AbstractRoute) -> bool:
        """Return whether *route* needs no session. HEAD's is a route beside the GET that was named."""
        return route in self.public or (
            route.method == "HEAD" and any(route.resource is item.resource for item in self.public)
        )

    def _signed_out(self, request: web.Request) -> web.StreamResponse:
        if request.method not in SAFE_METHODS or wants_json(request) or _is_stream(request):
            return self.error(
                request,
                401,
                "You are not signed in, or your session has ended.",
                hint="Sign in and repeat it.",
                reason=ErrorReason.UNAUTHENTICATED,
            )
        return see_other(f"/login?next={quote(request.path_qs, safe='/')}")

    def _http_error(self, request: web.Request, exc: web.HTTPException) -> web.Response:
        messages = {
            404: "There is no such page, or it is not for you.",
            405: "This address cannot be used that way.",
            413: f"At most {MAX_BODY_BYTES // 1024} KiB can be sent to the console.",
        }
        response = self.error(request, exc.status, messages.get(exc.status, exc.reason))
        for name in ("Allow", "Retry-After"):
            if name in exc.headers:
                response.headers[name] = exc.headers[name]
        return response

    def error(
        self,
        request: web.Request,
        status: int,
        message: str,
        *,
        hint: str = "",
        reason: ErrorReason | None = None,
    ) -> web.Response:
        """Return the page that says what is wrong (law 4)."""
        code = reason.value if reason is not None else ""
        if wants_json(request):
            body = {"error": {"status": status, "reason": code, "message": message, "hint": hint}}
            return web.json_response(body, status=status)
        title = _TITLES.get(status, _TITLES[500])
        context = {"status": status, "title": title, "message": message, "hint": hint, "code": code}
        return self._pages(request, "error.html", context, status=status)


def status_of(error: HoldfastError) -> int:
    """Return the HTTP status of *error*."""
    if error.reason is ErrorReason.UNAUTHENTICATED:
        return 401
    return next((status for family, status in _STATUS if isinstance(error, family)), 500)


def _page_of(request: web.Request) -> str:
    """Return the pattern of the address, never what came in it."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _is_stream(request: web.Request) -> bool:
    return "text/event-stream" in request.headers.get("Accept", "")


def _plain(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/plain")
