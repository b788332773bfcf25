# SPDX-License-Identifier: Apache-2.0
"""The way to an OpenID provider and back.

Laws:

1. What comes back is read only after it was found to belong to what this browser began
   (``OidcProvider.check_answer``), at the address of that very provider.
2. A parameter that comes twice is refused: two readers could each take another one.
3. Whoever proves to be somebody whom ``operators.yaml`` does not name is signed in to nothing, and
   told so, with what an administrator would have to write.
4. Nothing of what the provider or the query says is shown, but for known error codes, and issuer and
   subject once they are proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from aiohttp import web

from sidecar.clock import NS_PER_SECOND
from sidecar.errors import ErrorReason, NotFoundError, RefusedError
from sidecar.web.loginsteps import Steps, told
from sidecar.web.oidc import Flow, OidcProvider, operator_of_login
from sidecar.web.presession import PreSession
from sidecar.web.sessions import SignInMethod

__all__ = ["OidcPages"]

log = structlog.get_logger("holdfast.control")

_ERRORS: Final = {
    "access_denied": "you, or the provider, said no",
    "login_required": "the provider wanted you to sign in there first",
    "interaction_required": "the provider wanted something of you first",
    "temporarily_unavailable": "the provider is overloaded",
    "server_error": "the provider failed",
}


class OidcPages:
    """Begins a sign-in at a provider, and ends it."""

    def __init__(self, steps: Steps, providers: Mapping[str, OidcProvider]) -> None:
        self.steps = steps
        self._ports = steps.ports
        self._providers = providers

    @told
    async def start(self, request: web.Request) -> web.StreamResponse:
        """Send the browser to the provider; opens nothing."""
        provider = self._provider(request.query.get("provider", ""))
        before = self._ports.presessions.begin(request)
        flow = Flow.begin(
            start_time_s=self._ports.clock.wall_ns() // NS_PER_SECOND, is_fresh=before.is_fresh
        )
        url = await provider.authorization_url(flow)
        response = web.Response(status=303, headers={"Location": url})
        self._ports.presessions.keep(response, before.leaving(provider.config.name, flow))
        return response

    @told
    async def callback(self, request: web.Request) -> web.StreamResponse:
        """Take what the provider sends the browser back with."""
        provider = self._provider(request.match_info["provider"])
        before = self._ports.presessions.require(request)
        if before.provider != provider.config.name:
            raise _no("comes from another provider than the one that was asked")
        flow = _flow_of(before)
        await provider.check_answer(
            flow, state=_one(request, "state") or "", issuer=_one(request, "iss")
        )
        error = _one(request, "error")
        if error is not None:
            raise _no(f"is no: {_ERRORS.get(error, 'it did not say a reason we know')}")
        identity = await provider.redeem(flow, code=_one(request, "code") or "")
        operator = operator_of_login(self._ports.operators(), identity)
        if operator is None:
            log.warning("login of nobody", issuer=identity.issuer, subject=identity.subject)
            context = {"issuer": identity.issuer, "subject": identity.subject}
            nobody = self._ports.page(request, "login_nobody.html", context, status=403)
            self._ports.presessions.finish(nobody, before)
            return nobody
        target = await self.steps.destination(operator, "", before.next)
        response = self.steps.onward(
            request, "login_done.html", {"operator": operator.name}, target
        )
        await self.steps.sign_in(
            request,
            response,
            operator,
            before,
            method=SignInMethod.OIDC,
            auth_time_s=identity.auth_time_s,
            issuer=identity.issuer,
            acr=identity.acr,
        )
        return response

    def _provider(self, name: str) -> OidcProvider:
        provider = self._providers.get(name)
        if provider is None:
            raise NotFoundError(
                "this console knows no such provider", hint="choose one on the sign-in page"
            )
        return provider


def _flow_of(before: PreSession) -> Flow:
    return Flow(
        state=before.state,
        nonce=before.nonce,
        verifier=before.verifier,
        start_time_s=before.begin_time_s,
        is_fresh=before.is_fresh,
    )


def _one(request: web.Request, name: str) -> str | None:
    """Return the parameter *name* (law 2)."""
    values = request.query.getall(name, [])
    if len(values) > 1:
        raise _no("has a parameter more than once")
    return values[0] if values else None


def _no(what: str) -> RefusedError:
    return RefusedError(
        f"the provider's answer {what}", reason=ErrorReason.UNAUTHENTICATED, hint="begin again"
    )
