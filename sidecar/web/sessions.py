# SPDX-License-Identifier: Apache-2.0
"""Who is signed in to the console. Kept in memory: a restart of control signs everybody out.

That is on purpose. A session is an authority like any other, and one that no disk and no backup
holds cannot be stolen from there; people sign in again with one touch of their passkey.

Laws:

1. A session is named by 256 random bits that only its browser knows; here they stand as SHA-256.
2. Signing in always makes a new session, and ends the one the browser had: what was known before a
   sign-in is worth nothing after it (no session fixation).
3. A session ends after half an hour without a request and after eight hours whatever happens, by
   the boot clock, which nobody sets back.
4. A session names an operator; it is none. Whoever uses it looks the operator up again, every time.
5. A human has at most ``max_per_human`` sessions; a new one ends the oldest.
6. A cookie counts only if exactly one of its name was sent.

The cookie is ``SameSite=Strict``: no request that another site caused carries it, links included.
A link in a mail still works, because the login page reloads itself once, as its own (``login.py``).
On plain http, which is for ``localhost`` only, a browser keeps no ``__Host-`` cookie, and programs
on other ports of the same host can set and receive ours: good enough to try Holdfast out, and the
reason why it is refused elsewhere.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from aiohttp import web

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.model import Operator

__all__ = [
    "RECENT_LOGIN_S",
    "Session",
    "SessionLimits",
    "Sessions",
    "SignInMethod",
    "read_cookie",
]

RECENT_LOGIN_S: Final = 300
"""From tier HIGH on, whoever grants signed in at most this long ago."""

_TOKEN_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class SignInMethod(StrEnum):
    """How somebody proved who they are. Stable: logged and shown."""

    PASSKEY = "passkey"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How long, and how many."""

    idle_s: int = 30 * 60
    absolute_s: int = 8 * 3600
    max_per_human: int = 10
    max_total: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signed-in browser.

    Attributes:
        id: Names it in logs; opens nothing.
        csrf: What every form of this session carries back.
        login_time_ns: When the human last proved who they are (wall clock).
        credential_id: The passkey that opened it; empty for OpenID Connect.
        issuer: The OpenID provider; empty for a passkey.
        acr: What the provider says about how it authenticated, if anything.
    """

    id: str
    csrf: str = field(repr=False)
    operator_name: str
    human_id: str
    method: SignInMethod
    login_time_ns: int
    login_boot_ns: int
    create_boot_ns: int
    seen_boot_ns: int
    credential_id: str = ""
    issuer: str = ""
    acr: str = ""


class Sessions:
    """The sessions of one console.

    Args:
        clock: Boot time decides what has ended.
        is_secure: Whether the console is served over https.
        limits: How long, and how many.
    """

    def __init__(
        self, *, clock: Clock, is_secure: bool, limits: SessionLimits | None = None
    ) -> None:
        self._clock = clock
        self._is_secure = is_secure
        self._limits = limits or SessionLimits()
        self._sessions: dict[bytes, Session] = {}

    @property
    def cookie_name(self) -> str:
        """Name of the cookie."""
        return "__Host-holdfast" if self._is_secure else "holdfast"

    def __len__(self) -> int:
        """Return how many sessions are open."""
        return len(self._sessions)

    def of(self, request: web.Request, *, is_activity: bool = True) -> Session | None:
        """Return the session that *request* belongs to, if it stands.

        Args:
            request: Of a browser.
            is_activity: False for requests that no human caused (streams, polling): they do not
                keep a session alive.
        """
        found = read_cookie(request, self.cookie_name)
        if found is None or _TOKEN.fullmatch(found) is None:
            return None
        key = _hash(found)
        session = self._sessions.get(key)
        if session is None:
            return None
        if self._has_ended(session):
            del self._sessions[key]
            return None
        if is_activity:
            session = replace(session, seen_boot_ns=self._clock.boot_ns())
            self._sessions[key] = session
        return session

    def open(
        self,
        request: web.Request,
        response: web.StreamResponse,
        operator: Operator,
        *,
        method: SignInMethod,
        auth_time_ns: int | None = None,
        credential_id: str = "",
        issuer: str = "",
        acr: str = "",
    ) -> Session:
        """Sign *operator* in: end the browser's old session, begin a new one (law 2).

        Args:
            auth_time_ns: When they proved who they are, if that was earlier than now (wall clock).
        """
        self.close(request)
        wall_ns, boot_ns = self._clock.wall_ns(), self._clock.boot_ns()
        earlier_ns = max(0, wall_ns - auth_time_ns) if auth_time_ns is not None else 0
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        session = Session(
            id=_hash(token).hex()[:16],
            csrf=secrets.token_urlsafe(_TOKEN_BYTES),
            operator_name=operator.name,
            human_id=operator.human_id,
            method=method,
            login_time_ns=wall_ns - earlier_ns,
            login_boot_ns=boot_ns - earlier_ns,
            create_boot_ns=boot_ns,
            seen_boot_ns=boot_ns,
            credential_id=credential_id,
            issuer=issuer,
            acr=acr,
        )
        self._make_room(session.human_id)
        self._sessions[_hash(token)] = session
        response.set_cookie(
            self.cookie_name,
            token,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="Strict",
        )
        return session

    def close(self, request: web.Request, response: web.StreamResponse | None = None) -> None:
        """End the session of *request*, and take the cookie back with *response*."""
        found = read_cookie(request, self.cookie_name)
        if found is not None:
            self._sessions.pop(_hash(found), None)
        if response is not None:
            response.del_cookie(
                self.cookie_name,
                path="/",
                secure=self._is_secure,
                httponly=True,
                samesite="Strict",
            )

    def end(self, session: Session) -> None:
        """End *session*."""
        self._end(lambda item: item.id == session.id)

    def end_human(self, human_id: str) -> int:
        """End every session of *human_id*; return how many."""
        return self._end(lambda session: session.human_id == human_id)

    def end_credential(self, credential_id: str) -> int:
        """End every session that the passkey *credential_id* opened; return how many."""
        return self._end(lambda session: session.credential_id == credential_id)

    def is_recent(self, session: Session, *, max_age_s: int = RECENT_LOGIN_S) -> bool:
        """Return whether the human proved who they are at most *max_age_s* ago, by both clocks."""
        age_ns = max(
            self._clock.boot_ns() - session.login_boot_ns,
            self._clock.wall_ns() - session.login_time_ns,
        )
        return age_ns <= max_age_s * NS_PER_SECOND

    # -- private --------------------------------------------------------------------------------

    def _has_ended(self, session: Session) -> bool:
        now = self._clock.boot_ns()
        return (
            now - session.seen_boot_ns >= self._limits.idle_s * NS_PER_SECOND
            or now - session.create_boot_ns >= self._limits.absolute_s * NS_PER_SECOND
        )

    def _make_room(self, human_id: str) -> None:
        """Law 5; ``_sessions`` is in the order in which they were opened."""
        self._end(self._has_ended)
        own = [key for key, item in self._sessions.items() if item.human_id == human_id]
        for key in own[: max(0, len(own) - self._limits.max_per_human + 1)]:
            del self._sessions[key]
        while len(self._sessions) >= self._limits.max_total:
            del self._sessions[next(iter(self._sessions))]

    def _end(self, is_meant: Callable[[Session], bool]) -> int:
        ended = [key for key, session in self._sessions.items() if is_meant(session)]
        for key in ended:
            del self._sessions[key]
        return len(ended)


def read_cookie(request: web.Request, name: str) -> str | None:
    """Return the value of the cookie *name*, unless there are none or several (law 6)."""
    pairs = [
        pair.strip().partition("=")
        for header in request.headers.getall("Cookie", [])
        for pair in header.split(";")
    ]
    values = [value for found, _, value in pairs if found == name]
    return values[0] if len(values) == 1 else None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
