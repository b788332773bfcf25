# SPDX-License-Identifier: Apache-2.0
"""Who is looking, and what they may look at.

Laws:

1. A session only names an operator. Who that is, and which roles they have, is asked anew at every
   request; whoever is gone, or is another human now, is signed out.
2. What somebody may not see looks like what does not exist.
3. Roles here decide which pages there are. Whether a vote or an order counts is decided where it is
   counted, with the same operator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiohttp import web

from sidecar.errors import NotFoundError, RefusedError
from sidecar.model import Operator, OperatorKind, Role
from sidecar.web.sessions import Session, Sessions

__all__ = [
    "AGENT_ROLES",
    "APPROVAL_ROLES",
    "AUDIT_ROLES",
    "CONTAIN_ROLES",
    "FORM",
    "VISITOR",
    "Door",
    "Visitor",
    "form_of",
    "is_quiet",
    "quiet",
    "require",
    "visitor_of",
]

APPROVAL_ROLES: Final = frozenset(
    {Role.APPROVE, Role.RELEASE, Role.POLICY_APPROVE, Role.AUDIT_READ, Role.CONTAIN}
)
"""Whoever may have approvals to look at; which of them, the approvals say one by one."""
AGENT_ROLES: Final = frozenset(
    {Role.CONTAIN, Role.RELEASE, Role.AUDIT_READ, Role.ADMIN, Role.APPROVE, Role.BREAK_GLASS}
)
AUDIT_ROLES: Final = frozenset({Role.AUDIT_READ})
CONTAIN_ROLES: Final = frozenset({Role.CONTAIN, Role.BREAK_GLASS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who made a request: a session, and the operator it stands for now."""

    session: Session
    operator: Operator

    def has_any(self, roles: Collection[Role]) -> bool:
        """Return whether the operator has one of *roles*."""
        return not self.operator.roles.isdisjoint(roles)

    @property
    def may_see_agents(self) -> bool:
        """Whether there are agents' pages for them."""
        return self.has_any(AGENT_ROLES)

    @property
    def may_audit(self) -> bool:
        """Whether there are pages over the logs for them."""
        return self.has_any(AUDIT_ROLES)

    @property
    def may_contain(self) -> bool:
        """Whether they are offered the lever."""
        return self.has_any(CONTAIN_ROLES)


_QUIET: Final = "holdfast_quiet"
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


def quiet(handler: _Handler) -> _Handler:
    """Mark *handler* as one that browsers call by themselves: it keeps no session alive."""
    setattr(handler, _QUIET, True)
    return handler


def is_quiet(handler: object) -> bool:
    """Return whether a call of *handler* is no sign of a human."""
    return bool(getattr(handler, _QUIET, False))


VISITOR: Final = web.RequestKey("visitor", Visitor)
FORM: Final = web.RequestKey("form", dict[str, str])


class Door:
    """Tells who made a request."""

    def __init__(
        self, *, sessions: Sessions, operators: Callable[[], Collection[Operator]]
    ) -> None:
        self._sessions = sessions
        self._operators = operators

    def visitor(self, request: web.Request, *, is_activity: bool = True) -> Visitor | None:
        """Return who made *request*, or None (law 1).

        Raises:
            HoldfastError: Nobody knows who is an operator now.
        """
        session = self._sessions.of(request, is_activity=is_activity)
        if session is None:
            return None
        for operator in self._operators():
            if (
                operator.name == session.operator_name
                and operator.human_id == session.human_id
                and operator.human_id
                and operator.kind is OperatorKind.HUMAN
            ):
                return Visitor(session=session, operator=operator)
        self._sessions.close(request)
        return None


def visitor_of(request: web.Request) -> Visitor:
    """Return who made *request*; the middleware has made sure that somebody did."""
    return request[VISITOR]


def form_of(request: web.Request) -> dict[str, str]:
    """Return the fields of the form, each of which came exactly once."""
    return request[FORM]


def require(visitor: Visitor, roles: Collection[Role], *, is_hidden: bool = False) -> None:
    """Let *visitor* pass with one of *roles*.

    Args:
        visitor: Who asks.
        roles: Any of them is enough.
        is_hidden: Whether the thing must look as if it did not exist (law 2).

    Raises:
        NotFoundError, RefusedError: They have none of them.
    """
    if visitor.has_any(roles):
        return
    if is_hidden:
        raise NotFoundError("there is no such page, or it is not for you")
    names = " or ".join(sorted(role.value for role in roles))
    raise RefusedError(
        f"this page is for operators with the role {names}",
        hint="roles stand in operators.yaml of the policy bundle",
    )
