# SPDX-License-Identifier: Apache-2.0
"""The page behind a one-time link: a person adds a passkey to their account.

Laws:

1. GET uses nothing: mail scanners and curious browsers may open the link as often as they like.
2. POST uses it, once, from the browser that was shown the page, for a passkey that signed the
   challenge of that page.
3. A link that does not count looks the same whether it was used, grew old, or never was.
"""

from __future__ import annotations

import hashlib
from typing import Final

from aiohttp import web

from sidecar.errors import ErrorReason, RefusedError
from sidecar.web.csrf import check_origin, check_token, read_form
from sidecar.web.loginsteps import Steps, as_attribute, told

__all__ = ["EnrolPages"]

_MAX_TICKET: Final = 64


class EnrolPages:
    """Shows a link, and uses it."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self._ports = steps.ports

    @told
    async def page(self, request: web.Request) -> web.StreamResponse:
        """Show whom the link is for, and ask for a passkey."""
        secret = request.match_info["ticket"][:_MAX_TICKET]
        ports = self._ports
        ticket = await ports.accounts.open_ticket(secret)
        before = ports.presessions.begin(request)
        purpose = _purpose(secret)
        challenge = self.steps.challenge(before, purpose)
        options = await ports.accounts.registration_options(ticket, challenge=challenge)
        response = ports.page(
            request,
            "enrol.html",
            {
                "csrf": before.csrf,
                "options": as_attribute(options),
                "ticket": ticket,
                "action": request.path,
            },
        )
        ports.presessions.keep(response, before.asking(purpose, challenge, wanted="/"))
        return response

    @told
    async def enrol(self, request: web.Request) -> web.StreamResponse:
        """Use the link."""
        ports = self._ports
        check_origin(request, origin=ports.origin)
        form = await read_form(request)
        before = ports.presessions.require(request)
        check_token(form, expected=before.csrf)
        secret = request.match_info["ticket"][:_MAX_TICKET]
        if before.purpose != _purpose(secret) or not before.challenge:  # law 2
            raise RefusedError(
                "this page was opened for another link",
                reason=ErrorReason.UNAUTHENTICATED,
                hint="open the link again",
            )
        attestation = form.get("attestation", "")
        if not attestation:
            raise RefusedError(
                "no passkey was made",
                reason=ErrorReason.PASSKEY_NEEDED,
                hint="a passkey needs JavaScript; let the browser run this console's own script",
            )
        passkey = await ports.accounts.enrol(
            secret,
            challenge=before.challenge_bytes,
            response=attestation.encode(),
            name=form.get("name", ""),
        )
        response = ports.page(request, "enrol_done.html", {"passkey": passkey})
        ports.presessions.finish(response, before)
        return response


def _purpose(secret: str) -> str:
    """Return what names the link in a sealed cookie, without being it."""
    return "enrol " + hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:32]
