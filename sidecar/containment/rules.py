# SPDX-License-Identifier: Apache-2.0
"""Who may contain and release, and how far one hand reaches. No I/O.

Laws:

1. Tighten with one, loosen with two: one authorised operator, human or not, contains. A release is
   asked for by somebody with the role ``release`` and carried out with the consent of another
   human; of two others where automation asks. Who ordered the directive may ask for its release, or
   consent to it: what counts is that two humans did (two operators with one ``human_id`` are one).
2. What cannot be compared is not different: a human without a ``human_id`` does not release, and a
   directive whose author is not known needs ``break-glass`` beside ``release``.
3. A directive on everything, or on more of the fleet than one hand may reach, or on an agent that
   ``agents.yaml`` protects, needs ``break-glass`` or the consent of another human; one that only
   observes does not. An agent of which is not known what it uses counts as reached.
4. A seal is taken off by a human at the host itself, with ``release`` and ``break-glass``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sidecar.containment.consent import Consent, others
from sidecar.containment.events import Contained
from sidecar.errors import ErrorReason, RefusedError
from sidecar.model import Level, Operator, OperatorKind, Role, Subject, Target, TargetKind

__all__ = [
    "BlastLimit",
    "Fleet",
    "FleetAgent",
    "Weight",
    "covered_agents",
    "humans_needed",
    "is_wide",
    "protected_agents",
    "require_contain",
    "require_contain_request",
    "require_release",
    "require_release_request",
    "require_releaser",
    "require_revoke",
    "require_unseal",
    "unknown_agents",
    "weigh",
]

_OTHERS_FOR_A_HUMAN: Final = 1
_OTHERS_FOR_AUTOMATION: Final = 2
_NAMED: Final = 5
_ONE_AGENT = frozenset({TargetKind.AGENT, TargetKind.SESSION, TargetKind.TOOL_AT_AGENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAgent:
    """One agent that control knows. ``tools`` and ``hosts`` are None where nothing is known.

    ``is_protected``: stopping it takes a second human, or ``break-glass`` (law 3).
    """

    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    principals: frozenset[str] = frozenset()
    tools: frozenset[str] | None = None
    hosts: frozenset[str] | None = None
    is_protected: bool = False


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What makes a directive more than one hand may order (law 3)."""

    is_wide: bool
    protected: tuple[str, ...]
    """The protected agents that it reaches."""

    def __bool__(self) -> bool:
        return self.is_wide or bool(self.protected)


def covered_agents(target: Target, fleet: Sequence[FleetAgent]) -> tuple[str, ...]:
    """Return the agents that a directive on *target* reaches, as far as they are known."""
    if target.kind in _ONE_AGENT:
        return (target.agent,)
    return tuple(sorted(agent.id for agent in fleet if _reaches(target, agent)))


def unknown_agents(target: Target, fleet: Sequence[FleetAgent]) -> tuple[str, ...]:
    """Return the agents that *target* names and that nobody knows: new ones, or misspelt ones."""
    if target.kind not in _ONE_AGENT or any(agent.id == target.agent for agent in fleet):
        return ()
    return (target.agent,)


def is_wide(target: Target, fleet: Sequence[FleetAgent], limit: BlastLimit) -> bool:
    """Return whether *target* is more than one hand may reach (law 3)."""
    if target.kind is TargetKind.ALL:
        return True
    if target.kind in _ONE_AGENT or len(fleet) < limit.min_agents:
        return False
    return len(covered_agents(target, fleet)) > limit.max_share * len(fleet)


def protected_agents(target: Target, fleet: Sequence[FleetAgent]) -> tuple[str, ...]:
    """Return the protected agents that a directive on *target* reaches (law 3)."""
    protected = {agent.id for agent in fleet if agent.is_protected}
    return tuple(agent for agent in covered_agents(target, fleet) if agent in protected)


def weigh(
    target: Target, level: Level, caller: Operator, fleet: Sequence[FleetAgent], limit: BlastLimit
) -> Weight:
    """Return why *caller* may not order this alone; something false if it may (law 3)."""
    if Role.BREAK_GLASS in caller.roles or level is Level.OBSERVE:
        return Weight(is_wide=False, protected=())
    return Weight(is_wide=is_wide(target, fleet, limit), protected=protected_agents(target, fleet))


def require_contain(
    target: Target,
    caller: Operator,
    fleet: Sequence[FleetAgent],
    limit: BlastLimit,
    *,
    level: Level = Level.KILL,
    consent: Consent | None = None,
) -> None:
    """Refuse *caller* a directive on *target* that it may not order.

    Raises:
        RefusedError: PERMISSION_MISSING, or WIDE_BLAST or SECOND_HUMAN_NEEDED (law 3).
    """
    require_contain_request(caller)
    weight = weigh(target, level, caller, fleet, limit)
    if not weight or others(consent, caller):
        return
    if weight.is_wide:
        reached = "everything" if target.kind is TargetKind.ALL else "much of the fleet"
        raise RefusedError(
            f"{target.describe()} is {reached}: more than {caller.name} may contain alone",
            reason=ErrorReason.WIDE_BLAST,
            hint="name fewer agents, or let somebody with the role break-glass order it",
        )
    raise RefusedError(
        f"{target.describe()} reaches {_named(weight.protected)}, which {caller.name} may not "
        "contain alone",
        reason=ErrorReason.SECOND_HUMAN_NEEDED,
        hint="agents.yaml protects it: a second human, or somebody with the role break-glass",
    )


def require_contain_request(caller: Operator) -> None:
    """Refuse *caller* to order any directive.

    Raises:
        RefusedError: PERMISSION_MISSING.
    """
    if not caller.roles & {Role.CONTAIN, Role.BREAK_GLASS}:
        raise RefusedError(
            f"{caller.name} may not contain", hint="the role contain is needed for it"
        )


def humans_needed(caller: Operator) -> int:
    """Return how many other humans a release needs that *caller* asks for (law 1)."""
    if caller.kind is OperatorKind.HUMAN:
        return _OTHERS_FOR_A_HUMAN
    return _OTHERS_FOR_AUTOMATION


def require_release(contained: Contained, caller: Operator, consent: Consent | None = None) -> None:
    """Refuse *caller* a release that it may not order (laws 1 and 2).

    Raises:
        RefusedError: PERMISSION_MISSING or SECOND_HUMAN_NEEDED.
    """
    require_release_request(contained, caller)
    needed = humans_needed(caller)
    if len(others(consent, caller)) < needed:
        raise RefusedError(
            f"{caller.name} may not release {contained.directive.name} alone",
            reason=ErrorReason.SECOND_HUMAN_NEEDED,
            hint="another human must grant it" if needed == 1 else "two humans must grant it",
        )


def require_release_request(contained: Contained, caller: Operator) -> None:
    """Refuse *caller* to ask for a release that no consent would let it have (law 2).

    Raises:
        RefusedError: PERMISSION_MISSING or SECOND_HUMAN_NEEDED.
    """
    require_releaser(caller)
    directive = contained.directive
    is_author_known = contained.author_kind is OperatorKind.AUTOMATION or contained.author_human_id
    if not (directive.author and is_author_known) and Role.BREAK_GLASS not in caller.roles:
        raise RefusedError(
            f"nobody can say who ordered {directive.name}",
            reason=ErrorReason.SECOND_HUMAN_NEEDED,
            hint="let somebody with the roles release and break-glass do it",
        )


def require_releaser(caller: Operator) -> None:
    """Refuse *caller* to ask for any release.

    Raises:
        RefusedError: PERMISSION_MISSING.
    """
    if Role.RELEASE not in caller.roles:
        raise RefusedError(
            f"{caller.name} may not release", hint="the role release is needed for it"
        )
    if caller.kind is OperatorKind.HUMAN:
        _require_known_human(caller, "release")


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
    _require_known_human(caller, verb)


def _require_known_human(caller: Operator, verb: str) -> None:
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


def _named(agents: Sequence[str]) -> str:
    shown = ", ".join(agents[:_NAMED])
    more = f" and {len(agents) - _NAMED} more" if len(agents) > _NAMED else ""
    return f"the protected agent{'s' if len(agents) > 1 else ''} {shown}{more}"
