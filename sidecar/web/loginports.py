# SPDX-License-Identifier: Apache-2.0
"""What signing in needs from the rest of control, and the few steps that its pages share.

Laws:

1. A sign-in names an operator who is in force now, is a human, and has a ``human_id``. Automation
   and agents never sign in.
2. Where to go afterwards is a path of this console and nothing else (``local_path``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import unquote

from aiohttp import web

from sidecar.clock import Clock
from sidecar.model import Operator, OperatorKind
from sidecar.passkeys.accounts import Accounts
from sidecar.passkeys.passkeys import Passkeys
from sidecar.web.oidc import OidcConfig
from sidecar.web.presession import PreSessions
from sidecar.web.sessions import Session, Sessions

__all__ = ["AuditSink", "LoginPorts", "PageRenderer", "find_human", "local_path"]

_MAX_PATH: Final = 512
# What RFC 3986 lets stand in a path and a query, less the quotes; no fragment.
_PATH: Final = re.compile(
    r"/(?:[A-Za-z0-9._~!$&()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"
    r"(?:\?(?:[A-Za-z0-9._~!$&()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
)
_MAX_ESCAPES: Final = 4
_HIDDEN: Final = re.compile(r"[\x00-\x20\x7f-\x9f\\]|//|/\.{1,2}(?:/|\Z)")
_OWN_STEPS: Final = frozenset({"login", "logout", "enrol"})
_OWN_PAGES: Final = frozenset({"/login/passkeys"})


class AuditSink(Protocol):
    """Control's log."""

    async def append(self, kind: str, body: Mapping[str, Any]) -> Any:
        """Record *body*; it is durable when this returns."""


class PageRenderer(Protocol):
    """How a page is made: the console's template environment, headers and layout."""

    def __call__(
        self,
        request: web.Request,
        template: str,
        context: Mapping[str, Any],
        *,
        status: int = 200,
    ) -> web.Response:
        """Return *template* (a file name in ``templates``) with *context*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPorts:
    """Everything signing in is given.

    Attributes:
        operators: The operators in force, asked at every request.
        audit: Control's log.
        origin: The console's one origin, ``https://console.example`` (``ConsoleConfig.origin``).
        clock: Time.
        sessions: The sessions, shared with the console's pages.
        passkeys: Verifies passkeys; ``accounts`` keeps them.
        oidc: OpenID providers; empty if there are only passkeys.
        page: Makes pages.
    """

    operators: Callable[[], Collection[Operator]]
    audit: AuditSink
    origin: str
    clock: Clock
    sessions: Sessions
    passkeys: Passkeys
    accounts: Accounts
    page: PageRenderer
    oidc: Sequence[OidcConfig] = ()
    presessions: PreSessions = field(init=False)

    def __post_init__(self) -> None:
        presessions = PreSessions(clock=self.clock, is_secure=self.origin.startswith("https://"))
        object.__setattr__(self, "presessions", presessions)

    def operator_of(self, session: Session) -> Operator | None:
        """Return the operator that *session* stands for, if they are in force and the same human."""
        operator = find_human(self.operators(), session.operator_name)
        return operator if operator is not None and operator.human_id == session.human_id else None


def find_human(operators: Collection[Operator], name: str) -> Operator | None:
    """Return the human operator called *name* (law 1)."""
    return next(
        (
            operator
            for operator in operators
            if operator.name == name and operator.kind is OperatorKind.HUMAN and operator.human_id
        ),
        None,
    )


def local_path(text: str) -> str:
    """Return *text* if it is a path of this console that a sign-in may lead to, else ``/``.

    Whatever two readers could read differently is not one: ``//``, dot segments, and escapes that
    hide a slash, a backslash or a control character in the path, at any depth.
    """
    if len(text) > _MAX_PATH or _PATH.fullmatch(text) is None:
        return "/"
    path = text.partition("?")[0]
    slashes = path.count("/")
    for _ in range(_MAX_ESCAPES):
        if _HIDDEN.search(path) or path.count("/") != slashes:
            return "/"
        try:
            plain = unquote(path, errors="strict")
        except UnicodeDecodeError:
            return "/"
        if plain == path:
            is_step = path.split("/")[1] in _OWN_STEPS and path not in _OWN_PAGES
            return "/" if is_step else text
        path = plain
    return "/"
