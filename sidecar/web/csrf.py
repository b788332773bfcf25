# SPDX-License-Identifier: Apache-2.0
"""Tells a form that our own page sent from one that another site made a browser send.

Laws; the first three are each enough against an ordinary forgery, and all must hold:

1. An unsafe method comes from exactly our origin: ``Origin`` equals it, and ``Sec-Fetch-Site``, if
   the browser sends it, says ``same-origin``. ``Origin: null`` is nobody's. Without ``Origin`` the
   browser must say ``Sec-Fetch-Site: same-origin``.
2. A form carries the token of its session in the field ``csrf``, compared in constant time.
3. The session's cookie is ``SameSite=Strict`` (``sessions.py``).
4. A form has each field once: nobody is shown one value and has the other counted.

Whoever sets response headers: ``Referrer-Policy: no-referrer`` makes browsers send ``Origin: null``
with our own forms, so use ``same-origin``.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from sidecar.errors import ErrorReason, RefusedError, UntrustedInputError

__all__ = ["FIELD", "SAFE_METHODS", "check_origin", "check_token", "read_form"]

FIELD: Final = "csrf"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that decide nothing and change nothing. Whatever is not one of them is unsafe."""

_SAME_ORIGIN: Final = "same-origin"
_MAX_FORM_BYTES: Final = 64 * 1024
_MAX_FIELDS: Final = 32
_FORM_DEADLINE_S: Final = 10.0


def check_origin(request: web.Request, *, origin: str) -> None:
    """Let *request* pass if its method is safe or its sender is *origin* (law 1).

    Raises:
        RefusedError: CROSS_SITE.
    """
    if request.method in SAFE_METHODS:
        return
    origins = request.headers.getall("Origin", [])
    sites = request.headers.getall("Sec-Fetch-Site", [])
    if len(origins) > 1 or len(sites) > 1:
        raise _cross_site("names its origin more than once")
    if sites and sites[0] != _SAME_ORIGIN:
        raise _cross_site("was caused by another site")
    if origins and origins[0] != origin:
        raise _cross_site("comes from another origin")
    if not origins and not sites:
        raise _cross_site("does not say where it comes from")


def check_token(form: Mapping[str, str], *, expected: str) -> None:
    """Let *form* pass if it carries the token *expected* (law 2).

    Raises:
        RefusedError: CROSS_SITE.
    """
    found = form.get(FIELD, "")
    if not expected or not hmac.compare_digest(
        found.encode("utf-8", "surrogatepass"), expected.encode("ascii")
    ):
        raise RefusedError(
            "the form does not belong to this session",
            reason=ErrorReason.CROSS_SITE,
            hint="open the page again and repeat it; you may have signed in anew in between",
        )


async def read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of the form in *request*, each of which came exactly once.

    Raises:
        UntrustedInputError: It is no URL-encoded form, too long, or has a field twice.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise _no_form("only the console's own forms are taken")
    if (request.content_length or 0) > _MAX_FORM_BYTES:
        raise _no_form("the form is too long")
    try:
        async with asyncio.timeout(_FORM_DEADLINE_S):
            body = await request.read()  # aiohttp bounds what names no length
    except TimeoutError as exc:
        raise _no_form("the form took too long to arrive") from exc
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as exc:
        raise _no_form("the form is not well-formed") from exc
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _no_form("the form names a field more than once")
    return form


def _no_form(what: str) -> UntrustedInputError:
    return UntrustedInputError(what, hint="open the page again and repeat it")


def _cross_site(what: str) -> RefusedError:
    return RefusedError(
        f"the request {what}",
        reason=ErrorReason.CROSS_SITE,
        hint="use the console's own pages, at the address the console is configured with",
    )
