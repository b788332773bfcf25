# SPDX-License-Identifier: Apache-2.0
"""Who may contain and release, and how far one hand reaches. No I/O.

Laws:

1. One authorised operator, human or not, tightens. Only a human with the role ``release``, who is
   not the one who ordered it, loosens (two operators with one ``human_id`` are one human).
2. What cannot be compared is not different: a releaser without a ``human_id`` does not release, and
   a directive whose author is not known needs ``break-glass`` beside ``release``.
3. A directive on everything, or on more of the fleet than one hand may reach, needs
   ``break-glass``. An agent of which is not known what it uses counts as reached.
4. A seal is taken off by a human at the host itself, with ``release`` and ``break-glass``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sidecar.containment.events import Contained
from sidecar.errors import ErrorReason, RefusedError
from sidecar.model import Operator, OperatorKind, Role, Subject, Target, TargetKind

__all__ = [
    "BlastLimit",
    "Fleet",
    "FleetAgent",
    "covered_agents",
    "is_wide",
    "require_contain",
    "require_release",
    "require_revoke",
    "require_unseal",
]

_ONE_AGENT = frozenset({TargetKind.AGENT, TargetKind.SESSION, TargetKind.TOOL_AT_AGENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAgent:
    """One agent that control knows. ``tools`` and ``hosts`` are None where nothing is known."""

    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    principals: frozenset[str] = frozenset()
    tools: frozenset[str] | None = None
    hosts: frozenset[str] | None = None


class Fleet(Protocol):
    """Where the agents are known from (the bundle, and what gates have seen)."""

    def agents(self) -> Sequence[FleetAgent]:
        """Return every agent that is known now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastLimit:
    """How much of the fleet one directive may hold without ``break-glass``.

    Attributes:
        max_share: Of the known agents; more than this is wide.
        min_agents: With fewer known agents only a directive on everything is wide.
    """

    max_share: float = 0.5
    min_agents: int = 4


def covered_agents(target: Target, fleet: Sequence[FleetAgent]) -> tuple[str, ...]:
    """Return the agents that a directive on *target* reaches, as far as they are known."""
    if target.kind in _ONE_AGENT:
        return (target.agent,)
    return tuple(sorted(agent.id for agent in fleet if _reaches(target, agent)))


def is_wide(target: Target, fleet: Sequence[FleetAgent], limit: BlastLimit) -> bool:
    """Return whether *target* is more than one hand may reach (law 3)."""
    if target.kind is TargetKind.ALL:
        return True
    if target.kind in _ONE_AGENT or len(fleet) < limit.min_agents:
        return False
    return len(covered_agents(target, fleet)) > limit.max_share * len(fleet)


def require_contain(
    target: Target, caller: Operator, fleet: Sequence[FleetAgent], limit: BlastLimit
) -> None:
    """Refuse *caller* a directive on *target* that it may not order.

    Raises:
        RefusedError: PERMISSION_MISSING, or WIDE_BLAST (law 3).
    """
    if not caller.roles & {Role.CONTAIN, Role.BREAK_GLASS}:
        raise RefusedError(
            f"{caller.name} may not contain", hint="the role contain is needed for it"
        )
    if Role.BREAK_GLASS not in caller.roles and is_wide(target, fleet, limit):
        reached = "everything" if target.kind is TargetKind.ALL else "much of the fleet"
        raise RefusedError(
            f"{target.describe()} is {reached}: more than {caller.name} may contain alone",
            reason=ErrorReason.WIDE_BLAST,
            hint="name fewer agents, or let somebody with the role break-glass order it",
        )


def require_release(contained: Contained, caller: Operator) -> None:
    """Refuse *caller* a release that it may not order (laws 1 and 2).

    Raises:
        RefusedError: PERMISSION_MISSING or SECOND_HUMAN_NEEDED.
    """
    _require_human_releaser(caller, "release")
    directive = contained.directive
    if _is_same_human(contained.author_human_id, caller.human_id):
        raise RefusedError(
            f"{directive.name} was ordered by the same human",
            reason=ErrorReason.SECOND_HUMAN_NEEDED,
            hint="let a second human with the role release do it",
        )
    is_author_known = contained.author_kind is OperatorKind.AUTOMATION or contained.author_human_id
    if not (directive.author and is_author_known) and Role.BREAK_GLASS not in caller.roles:
        raise RefusedError(
            f"nobody can say who ordered {directive.name}",
            reason=ErrorReason.SECOND_HUMAN_NEEDED,
            hint="let somebody with the roles release and break-glass do it",
        )


def require_revoke(caller: Operator, *, is_everything: bool) -> None:
    """Refuse *caller* a revocation that it may not order; one of all tokens is wide (law 3).

    Raises:
        RefusedError: PERMISSION_MISSING or WIDE_BLAST.
    """
    if not caller.roles & {Role.CONTAIN, Role.BREAK_GLASS}:
        raise RefusedError(
            f"{caller.name} may not revoke tokens", hint="the role contain is needed for it"
        )
    if is_everything and Role.BREAK_GLASS not in caller.roles:
        raise RefusedError(
            f"revoking every token is more than {caller.name} may do alone",
            reason=ErrorReason.WIDE_BLAST,
            hint="name an agent, a session or an issuer, or let somebody with break-glass do it",
        )


def require_unseal(caller: Operator) -> None:
    """Refuse *caller* to take the seal off the latch (law 4).

    Raises:
        RefusedError: PERMISSION_MISSING.
    """
    _require_human_releaser(caller, "unseal")
    if Role.BREAK_GLASS not in caller.roles or not caller.is_local:
        raise RefusedError(
            f"{caller.name} may not unseal",
            hint="it takes the roles release and break-glass, and the local socket of the host",
        )


def _require_human_releaser(caller: Operator, verb: str) -> None:
    if Role.RELEASE not in caller.roles:
        raise RefusedError(
            f"{caller.name} may not {verb}", hint="the role release is needed for it"
        )
    if caller.kind is not OperatorKind.HUMAN or not caller.human_id.strip():
        raise RefusedError(
            f"{caller.name} is no human that could be told from others, and may not {verb}",
            hint="only a human loosens; operators.yaml says who is one",
        )


def _reaches(target: Target, agent: FleetAgent) -> bool:
    if target.kind is TargetKind.TOOL and agent.tools is None:
        return True
    if target.kind is TargetKind.DESTINATION and agent.hosts is None:
        return True
    subject = Subject(
        agent=agent.id,
        tool=target.tool if target.tool in (agent.tools or ()) else "",
        hosts=agent.hosts or frozenset(),
        principals=agent.principals,
        labels=agent.labels,
    )
    return target.matches(subject)


def _is_same_human(one: str, other: str) -> bool:
    return bool(one) and _folded(one) == _folded(other)


def _folded(human_id: str) -> str:
    """Fold what people call the same: a wrong "same" costs a second signature, a wrong
    "different" costs the second human."""
    return unicodedata.normalize("NFKC", human_id).strip().casefold()
