# SPDX-License-Identifier: Apache-2.0
"""The steps that every way of signing in shares.

Laws:

1. A sign-in is in control's log, durable, before its cookie leaves; if the log fails, nobody is
   signed in.
2. A half-finished sign-in succeeds once (``presession``), and before the session is opened.
3. What goes wrong becomes a page that says what, and how to begin again. It never repeats what came
   with the request.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Final
from urllib.parse import quote

import structlog
from aiohttp import web

from sidecar.clock import NS_PER_SECOND
from sidecar.errors import HoldfastError
from sidecar.model import Operator
from sidecar.passkeys.accounts import AUDIT_KIND
from sidecar.passkeys.passkeys import Passkeys
from sidecar.web.loginports import LoginPorts
from sidecar.web.presession import PreSession
from sidecar.web.security import status_of
from sidecar.web.sessions import Session, SignInMethod

__all__ = ["Steps", "as_attribute", "told"]

log = structlog.get_logger("holdfast.control")

_PASSKEYS: Final = "/login/passkeys"


def told(
    handler: Callable[[Any, web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[Any, web.Request], Awaitable[web.StreamResponse]]:
    """Let what *handler* refuses become a page with a way to begin again (law 3)."""

    @wraps(handler)
    async def call(self: Any, request: web.Request) -> web.StreamResponse:
        try:
            return await handler(self, request)
        except HoldfastError as exc:
            steps: Steps = self.steps
            log.warning("sign-in refused", reason=exc.reason, page=_page_of(request))
            return steps.problem(request, exc)

    return call


class Steps:
    """The shared steps of one console."""

    def __init__(self, ports: LoginPorts) -> None:
        self.ports = ports

    def challenge(self, before: PreSession, purpose: str) -> bytes:
        """Return the challenge that *before* holds for *purpose*, or a new one.

        A page that is opened twice keeps its challenge: both stay good until one has succeeded.
        """
        if before.purpose == purpose and before.challenge:
            return before.challenge_bytes
        return Passkeys.new_challenge()

    async def sign_in(
        self,
        request: web.Request,
        response: web.StreamResponse,
        operator: Operator,
        before: PreSession,
        *,
        method: SignInMethod,
        auth_time_s: int | None = None,
        credential_id: str = "",
        issuer: str = "",
        acr: str = "",
    ) -> Session:
        """Open *operator*'s session with *response* (laws 1 and 2)."""
        ports = self.ports
        ports.presessions.finish(response, before)
        session = ports.sessions.open(
            request,
            response,
            operator,
            method=method,
            auth_time_ns=None if auth_time_s is None else auth_time_s * NS_PER_SECOND,
            credential_id=credential_id,
            issuer=issuer,
            acr=acr,
        )
        try:
            await ports.audit.append(
                AUDIT_KIND,
                {
                    "event": "signed_in",
                    "operator": session.operator_name,
                    "human": session.human_id,
                    "session": session.id,
                    "method": session.method.value,
                    "credential": session.credential_id or None,
                    "issuer": session.issuer or None,
                    "acr": session.acr or None,
                },
            )
        except BaseException:
            ports.sessions.end(session)
            raise
        log.info("signed in", operator=operator.name, session=session.id, method=method.value)
        return session

    async def destination(self, operator: Operator, credential_id: str, wanted: str) -> str:
        """Return where a sign-in leads: *wanted*, by way of a passkey that nobody confirmed."""
        unseen = await self.ports.accounts.unseen(operator.human_id, by_credential=credential_id)
        return f"{_PASSKEYS}?next={quote(wanted, safe='')}" if unseen else wanted

    def problem(self, request: web.Request, error: HoldfastError) -> web.Response:
        """Return the page for *error*."""
        return self.ports.page(
            request,
            "login_problem.html",
            {"message": error.message, "hint": error.hint, "back": _begin_again(request)},
            status=status_of(error),
        )

    def onward(
        self, request: web.Request, template: str, context: Mapping[str, Any], target: str
    ) -> web.Response:
        """Return a page that goes on to *target* by itself, as a request of the console's own."""
        response = self.ports.page(request, template, {**context, "target": target})
        response.headers["Refresh"] = f"0; url={target}"
        return response


def _begin_again(request: web.Request) -> str:
    """Return where to begin again: at the link that was opened, or at the sign-in page."""
    return request.path if "ticket" in request.match_info else "/login"


def _page_of(request: web.Request) -> str:
    """Return the address as the route is written: the real one may hold a link's secret."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def as_attribute(options: Mapping[str, Any]) -> str:
    """Return *options* as JSON in ASCII, for a ``data-`` attribute."""
    return json.dumps(options, separators=(",", ":"), ensure_ascii=True)
