# SPDX-License-Identifier: Apache-2.0
"""What a browser is in the middle of before anybody is signed in: it carries that itself, sealed.

Laws:

1. Nothing is kept here for a stranger. A browser's half-finished sign-in travels in its own cookie,
   encrypted and authenticated with a key that only this process has, so a flood of strangers fills
   no memory and pushes out nobody.
2. It is worth ten minutes, by the boot clock, and one success: what has opened a session once opens
   none again. Only successes are remembered, and those somebody had to prove who they are for.
3. A challenge serves the one purpose it was made for.
4. A form that was served before a sign-in carries the token of this cookie (login CSRF): nobody can
   have a browser sign in as somebody whom its human did not choose.

The cookie is ``SameSite=Lax`` because an OpenID provider sends the browser back with a link from
another site, and a ``Strict`` cookie would stay behind. It opens nothing: it holds what a callback
is compared with. The cookie of the session itself is ``Strict``.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import ErrorReason, RefusedError, UntrustedInputError
from sidecar.passkeys.values import from_base64url, to_base64url
from sidecar.web.oidc import Flow
from sidecar.web.sessions import read_cookie

__all__ = ["LIFE_S", "PreSession", "PreSessions"]

LIFE_S: Final = 600
_NONCE_BYTES: Final = 12
_TOKEN_BYTES: Final = 32
_MAX_CHARS: Final = 4000
"""What every browser keeps of one cookie."""
_CONTEXT: Final = b"holdfast sign-in v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreSession:
    """One half-finished sign-in.

    Attributes:
        id: Names it, so that it succeeds only once.
        csrf: What the forms of the sign-in pages carry back.
        next: Where to go afterwards; checked when it was taken in.
        purpose: What ``challenge`` was made for.
        challenge: What a passkey must sign, base64url.
        provider, state, nonce, verifier, begin_time_s: Of a sign-in with OpenID Connect.
        is_fresh: The human must prove who they are now, not by what a provider remembers.
    """

    id: str
    csrf: str = field(repr=False)
    start_boot_ns: int
    next: str = "/"
    purpose: str = ""
    challenge: str = ""
    provider: str = ""
    state: str = field(default="", repr=False)
    nonce: str = field(default="", repr=False)
    verifier: str = field(default="", repr=False)
    begin_time_s: int = 0
    is_fresh: bool = False

    @property
    def challenge_bytes(self) -> bytes:
        """The challenge as it is signed."""
        return from_base64url(self.challenge, what="the challenge")

    def asking(
        self, purpose: str, challenge: bytes, *, wanted: str, is_fresh: bool = False
    ) -> PreSession:
        """Return this, with *challenge* to be signed for *purpose* on the way to *wanted*."""
        text = to_base64url(challenge)
        return replace(self, purpose=purpose, challenge=text, next=wanted, is_fresh=is_fresh)

    def leaving(self, provider: str, flow: Flow) -> PreSession:
        """Return this, on the way to *provider* with *flow*."""
        return replace(
            self,
            provider=provider,
            state=flow.state,
            nonce=flow.nonce,
            verifier=flow.verifier,
            begin_time_s=flow.start_time_s,
            is_fresh=flow.is_fresh,
        )


_FIELDS: Final = frozenset(item.name for item in fields(PreSession))


class PreSessions:
    """The half-finished sign-ins of one console."""

    def __init__(self, *, clock: Clock, is_secure: bool) -> None:
        self._clock = clock
        self._is_secure = is_secure
        self._seal = AESGCM(AESGCM.generate_key(bit_length=256))
        self._done: dict[str, int] = {}

    @property
    def cookie_name(self) -> str:
        """Name of the cookie."""
        return "__Host-holdfast-signin" if self._is_secure else "holdfast-signin"

    def begin(self, request: web.Request) -> PreSession:
        """Return what the browser is in the middle of, or a new beginning."""
        found = self.of(request)
        if found is not None:
            # A second tab keeps the token of the first, or its form would no longer be taken.
            return replace(found, start_boot_ns=self._clock.boot_ns())
        return PreSession(
            id=secrets.token_urlsafe(16),
            csrf=secrets.token_urlsafe(_TOKEN_BYTES),
            start_boot_ns=self._clock.boot_ns(),
        )

    def of(self, request: web.Request) -> PreSession | None:
        """Return what the browser is in the middle of, if that still counts (law 2)."""
        text = read_cookie(request, self.cookie_name)
        found = self._open(text) if text is not None and len(text) <= _MAX_CHARS else None
        if found is None or found.id in self._done:
            return None
        age_ns = self._clock.boot_ns() - found.start_boot_ns
        return found if 0 <= age_ns < LIFE_S * NS_PER_SECOND else None

    def require(self, request: web.Request) -> PreSession:
        """Return what the browser is in the middle of.

        Raises:
            RefusedError: It is in the middle of nothing.
        """
        found = self.of(request)
        if found is None:
            raise RefusedError(
                "this sign-in was not begun here, took longer than ten minutes, or is over",
                reason=ErrorReason.UNAUTHENTICATED,
                hint="begin again; the browser must keep cookies of this address",
            )
        return found

    def keep(self, response: web.StreamResponse, what: PreSession) -> None:
        """Have the browser carry *what*."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(asdict(what), separators=(",", ":")).encode()
        sealed = nonce + self._seal.encrypt(nonce, plain, _CONTEXT)
        text = to_base64url(sealed)
        if len(text) > _MAX_CHARS:
            raise ValueError("a half-finished sign-in does not fit into a cookie")
        response.set_cookie(
            self.cookie_name,
            text,
            max_age=LIFE_S,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="Lax",
        )

    def finish(self, response: web.StreamResponse, what: PreSession) -> None:
        """Let *what* succeed: it does not count again (law 2). Comes before a session is opened.

        Raises:
            RefusedError: It has succeeded already.
        """
        now = self._clock.boot_ns()
        for key in [key for key, until in self._done.items() if until <= now]:
            del self._done[key]
        if what.id in self._done:
            raise RefusedError(
                "this sign-in is over", reason=ErrorReason.UNAUTHENTICATED, hint="begin again"
            )
        self._done[what.id] = what.start_boot_ns + LIFE_S * NS_PER_SECOND
        self.forget(response)

    def forget(self, response: web.StreamResponse) -> None:
        """Take the cookie back."""
        response.del_cookie(
            self.cookie_name, path="/", secure=self._is_secure, httponly=True, samesite="Lax"
        )

    def _open(self, text: str) -> PreSession | None:
        try:
            sealed = from_base64url(text, what="the cookie")
            plain = self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _CONTEXT)
        except (UntrustedInputError, ValueError, InvalidTag):
            return None
        document: dict[str, Any] = json.loads(plain)  # ours: the seal says so
        return PreSession(**document) if document.keys() == _FIELDS else None
