# SPDX-License-Identifier: Apache-2.0
"""Signing in and out of the console, and the list of one's own passkeys.

Laws:

1. GET opens no session and changes nothing that lasts. The one exception is the way back from an
   OpenID provider, which the standard makes a GET; it is worth nothing without the cookie of the
   browser that went there (``login_oidc.py``).
2. Every form carries the token of what it was served with: before a sign-in that of the
   half-finished sign-in, after it that of the session.
3. A challenge is made for one purpose, sealed into the browser that asked, and good for one success.
4. Where a sign-in leads is a path of this console (``loginports.local_path``).
5. Whoever has a passkey that they did not confirm is shown it before anything else.

A link in a mail comes from another site, so the browser holds back the ``Strict`` cookie of whoever
is signed in. The login page then reloads itself once: that request is the console's own.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import structlog
from aiohttp import web

from sidecar.errors import ConfigurationError, ErrorReason, HoldfastError, RefusedError
from sidecar.model import Operator
from sidecar.passkeys.accounts import AUDIT_KIND
from sidecar.passkeys.values import Passkey
from sidecar.web.access import VISITOR, Visitor
from sidecar.web.csrf import check_origin, check_token, read_form
from sidecar.web.enrol import EnrolPages
from sidecar.web.login_oidc import OidcPages
from sidecar.web.loginports import LoginPorts, find_human, local_path
from sidecar.web.loginsteps import Steps, as_attribute, told
from sidecar.web.oidc import CALLBACK_PATH, OidcProvider
from sidecar.web.presession import PreSession
from sidecar.web.sessions import Session, SignInMethod

__all__ = ["LoginPorts", "add_login_routes", "login_routes"]

log = structlog.get_logger("holdfast.control")

_PURPOSE: Final = "login"
_ELSEWHERE: Final = frozenset({"cross-site", "same-site"})
_MAX_NAME: Final = 63


def login_routes(ports: LoginPorts) -> list[web.RouteDef]:
    """Return the routes of signing in and out, for ``app.build_app``. Call it once.

    They check sessions and form tokens themselves, so nothing before them needs to.

    Raises:
        ConfigurationError: Two OpenID providers have one name.
    """
    providers = {
        config.name: OidcProvider(config, origin=ports.origin, clock=ports.clock)
        for config in ports.oidc
    }
    if len(providers) != len(ports.oidc):
        raise ConfigurationError(
            "names two providers alike", key="oidc.name", hint="give each a name of its own"
        )

    def end_what_it_opened(passkey: Passkey) -> None:
        ports.sessions.end_credential(passkey.credential_id)

    ports.accounts.add_removal_listener(end_what_it_opened)
    steps = Steps(ports)
    login = LoginPages(steps, providers)
    oidc = OidcPages(steps, providers)
    enrol = EnrolPages(steps)
    return [
        web.get("/login", login.page),
        web.post("/login/passkey/options", login.options),
        web.post("/login/passkey", login.passkey),
        web.get("/login/oidc", oidc.start, allow_head=False),
        web.get(CALLBACK_PATH + "{provider}", oidc.callback, allow_head=False),
        web.get("/login/passkeys", login.passkeys),
        web.post("/login/passkeys/confirm", login.confirm),
        web.post("/login/passkeys/remove", login.remove),
        web.post("/logout", login.logout),
        web.get("/enrol/{ticket}", enrol.page),
        web.post("/enrol/{ticket}", enrol.enrol),
    ]


def add_login_routes(app: web.Application, ports: LoginPorts) -> None:
    """Add the routes of signing in and out to *app*; see ``login_routes``."""
    app.add_routes(login_routes(ports))


class LoginPages:
    """The pages of signing in and out."""

    def __init__(self, steps: Steps, providers: dict[str, OidcProvider]) -> None:
        self.steps = steps
        self._ports = steps.ports
        self._providers = providers

    # -- signing in -----------------------------------------------------------------------------

    @told
    async def page(self, request: web.Request) -> web.StreamResponse:
        """Show the ways to sign in."""
        wanted = local_path(request.query.get("next", "/"))
        is_fresh = request.query.get("fresh") == "1"
        session = self._ports.sessions.of(request)
        if session is None and request.headers.get("Sec-Fetch-Site") in _ELSEWHERE:
            again = f"/login?next={quote(wanted, safe='')}" + ("&fresh=1" if is_fresh else "")
            return self.steps.onward(request, "login_again.html", {}, again)
        if session is not None and not is_fresh and self._ports.operator_of(session) is not None:
            raise web.HTTPSeeOther(wanted)
        before = self._ports.presessions.begin(request)
        return await self._offer(request, before, wanted=wanted, is_fresh=is_fresh)

    @told
    async def options(self, request: web.Request) -> web.StreamResponse:
        """Show the ways to sign in again, now for a passkey that does not know whose it is."""
        before, form = await self._form_before(request)
        name = form.get("name", "").strip()[:_MAX_NAME]
        return await self._offer(
            request, before, wanted=before.next, is_fresh=before.is_fresh, name=name
        )

    async def _offer(
        self,
        request: web.Request,
        before: PreSession,
        *,
        wanted: str,
        is_fresh: bool,
        name: str = "",
    ) -> web.StreamResponse:
        ports = self._ports
        challenge = self.steps.challenge(before, _PURPOSE)
        operator = find_human(ports.operators(), name) if name else None
        options = await ports.passkeys.authentication_options(
            challenge=challenge,
            human_id=operator.human_id if operator is not None else "",
            name=name,
        )
        before = before.asking(_PURPOSE, challenge, wanted=wanted, is_fresh=is_fresh)
        response = ports.page(
            request,
            "login.html",
            {
                "csrf": before.csrf,
                "options": as_attribute(options),
                "name": name,
                "is_fresh": is_fresh,
                "providers": [
                    {"name": item.config.name, "title": item.config.title}
                    for item in self._providers.values()
                ],
            },
        )
        ports.presessions.keep(response, before)
        return response

    @told
    async def passkey(self, request: web.Request) -> web.StreamResponse:
        """Sign in whoever the passkey belongs to."""
        before, form = await self._form_before(request)
        if before.purpose != _PURPOSE or not before.challenge:  # law 3
            raise RefusedError(
                "this page was opened for something else",
                reason=ErrorReason.UNAUTHENTICATED,
                hint="begin again",
            )
        assertion = form.get("assertion", "")
        if not assertion:
            raise RefusedError(
                "no passkey was used",
                reason=ErrorReason.PASSKEY_NEEDED,
                hint="a passkey needs JavaScript; let the browser run this console's own script",
            )
        passkey = await self._ports.passkeys.authenticate(
            challenge=before.challenge_bytes, assertion=assertion.encode()
        )
        operator = find_human(self._ports.operators(), passkey.operator)
        if operator is None or not passkey.is_of(operator.human_id):
            raise RefusedError(
                "the operator of this passkey is no longer in force",
                reason=ErrorReason.PERMISSION_MISSING,
                hint="ask an administrator; operators are named in operators.yaml",
            )
        target = await self.steps.destination(operator, passkey.credential_id, before.next)
        response = web.Response(status=303, headers={"Location": target})
        await self.steps.sign_in(
            request,
            response,
            operator,
            before,
            method=SignInMethod.PASSKEY,
            credential_id=passkey.credential_id,
        )
        return response

    # -- signing out ----------------------------------------------------------------------------

    @told
    async def logout(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        check_origin(request, origin=self._ports.origin)
        session = self._ports.sessions.of(request)
        if session is not None:
            check_token(await read_form(request), expected=session.csrf)
        response = self._ports.page(request, "signed_out.html", {})
        self._ports.sessions.close(request, response)
        if session is not None:
            await self._note_sign_out(session)
        return response

    async def _note_sign_out(self, session: Session) -> None:
        body = {
            "event": "signed_out",
            "operator": session.operator_name,
            "human": session.human_id,
            "session": session.id,
        }
        try:
            await self._ports.audit.append(AUDIT_KIND, body)
        except HoldfastError:  # giving up an authority needs nobody's leave
            log.exception("a sign-out could not be recorded", session=session.id)

    # -- one's own passkeys ---------------------------------------------------------------------

    @told
    async def passkeys(self, request: web.Request) -> web.StreamResponse:
        """List the passkeys of whoever is signed in, with those that they have not confirmed."""
        session, operator = self._signed_in(request)
        accounts = self._ports.accounts
        unseen = await accounts.unseen(operator.human_id, by_credential=session.credential_id)
        new = {item.credential_id for item in unseen}
        return self._ports.page(
            request,
            "login_passkeys.html",
            {
                "csrf": session.csrf,
                "operator": operator,
                "rows": [
                    {
                        "passkey": item,
                        "is_new": item.credential_id in new,
                        "is_current": item.credential_id == session.credential_id,
                    }
                    for item in await accounts.of_human(operator.human_id)
                ],
                "next": local_path(request.query.get("next", "/")),
            },
        )

    @told
    async def confirm(self, request: web.Request) -> web.StreamResponse:
        """Note that a passkey is its owner's own doing."""
        session, operator, form = await self._form_of_session(request)
        await self._ports.accounts.confirm(
            form.get("credential", ""),
            human_id=operator.human_id,
            by_credential=session.credential_id,
        )
        return self._back_to_list(form)

    @told
    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Remove a passkey of one's own, and end what it opened."""
        _, operator, form = await self._form_of_session(request)
        await self._ports.accounts.remove_own(
            form.get("credential", ""), human_id=operator.human_id, operator=operator.name
        )
        return self._back_to_list(form)

    @staticmethod
    def _back_to_list(form: dict[str, str]) -> web.Response:
        wanted = local_path(form.get("next", "/"))
        return web.Response(
            status=303, headers={"Location": f"/login/passkeys?next={quote(wanted, safe='')}"}
        )

    # -- shared ---------------------------------------------------------------------------------

    def _signed_in(self, request: web.Request) -> tuple[Session, Operator]:
        session = self._ports.sessions.of(request)
        operator = self._ports.operator_of(session) if session is not None else None
        if session is None or operator is None:
            raise RefusedError(
                "you are not signed in, or your session has ended",
                reason=ErrorReason.UNAUTHENTICATED,
                hint="sign in, then repeat it",
            )
        request[VISITOR] = Visitor(session=session, operator=operator)
        return session, operator

    async def _form_of_session(
        self, request: web.Request
    ) -> tuple[Session, Operator, dict[str, str]]:
        check_origin(request, origin=self._ports.origin)
        session, operator = self._signed_in(request)
        form = await read_form(request)
        check_token(form, expected=session.csrf)
        return session, operator, form

    async def _form_before(self, request: web.Request) -> tuple[PreSession, dict[str, str]]:
        check_origin(request, origin=self._ports.origin)
        form = await read_form(request)
        before = self._ports.presessions.require(request)
        check_token(form, expected=before.csrf)
        return before, form
