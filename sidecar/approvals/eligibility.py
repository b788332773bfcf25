# SPDX-License-Identifier: Apache-2.0
"""Who may decide a request: its electorate.

Laws:

1. Only humans decide: operators of kind human that name a person. Automation never does, also when
   it carries a person's id.
2. Only members of the request's role decide.
3. Whoever asks does not decide, nor does the agent's owner. The *person* is out, not the operator:
   with every alias, whichever of their names says so.
4. A person is a folded ``human_id``: compatibility forms, case, surrounding space and characters
   that nobody can see make no second person. Two operators of one person are one voter.
5. Fewer people than the quorum is a refusal, at once. Nobody at all is never "nobody objects".
6. A vote counts as long as the operator who cast it is in the electorate, under the same name and
   the same identity. Nobody's absence makes a request easier to grant.

Folding can only bring people together, so where it errs, it errs towards fewer voters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from types import MappingProxyType

from sidecar.approvals.values import Request, Verdict, Vote
from sidecar.model import Operator, OperatorKind

__all__ = [
    "Electorate",
    "Standing",
    "electorate_of",
    "fold",
    "granting_humans",
    "shortfall",
    "standing_of",
]


class Standing(Enum):
    """How an operator stands to a request."""

    MEMBER = auto()
    SELF = auto()
    """The requester or the agent's owner, by whatever name."""
    OUTSIDER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Electorate:
    """Who may decide one request now.

    Attributes:
        humans: Folded ``human_id`` to the operators of that person who hold the role.
        excluded: Folded ids of the people whom law 3 excludes, members of the role or not.
    """

    humans: Mapping[str, tuple[Operator, ...]]
    excluded: frozenset[str] = frozenset()

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Everybody who may decide, by name."""
        members = (operator for group in self.humans.values() for operator in group)
        return tuple(sorted(members, key=lambda operator: operator.name))

    @property
    def names(self) -> tuple[str, ...]:
        """Their operator names, sorted."""
        return tuple(operator.name for operator in self.operators)

    def has(self, *, human_id: str, name: str, identity: str) -> bool:
        """Return whether that operator of that person is in it (law 6)."""
        return any(
            operator.name == name and operator.identity == identity
            for operator in self.humans.get(fold(human_id), ())
        )


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Return *text* as names of people are compared (law 4); empty if it names nobody."""
    compatible = unicodedata.normalize("NFKC", text)
    visible = "".join(char for char in compatible if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible.strip().casefold())


def electorate_of(request: Request, operators: Collection[Operator]) -> Electorate:
    """Return who of *operators* may decide *request* (laws 1 to 4)."""
    known = [
        (fold(operator.human_id), _is_party(request, operator), operator) for operator in operators
    ]
    excluded = {human for human, is_party, _ in known if is_party}
    humans: dict[str, list[Operator]] = {}
    for human, is_party, operator in known:
        if operator.kind is not OperatorKind.HUMAN or not human:  # law 1
            continue
        if request.role not in operator.roles:  # law 2
            continue
        if is_party or human in excluded:  # law 3
            continue
        humans.setdefault(human, []).append(operator)
    return Electorate(
        humans=MappingProxyType({human: tuple(group) for human, group in humans.items()}),
        excluded=frozenset(excluded - {""}),
    )


def standing_of(request: Request, electorate: Electorate, caller: Operator) -> Standing:
    """Return how *caller* stands to *request*."""
    human = fold(caller.human_id)
    if caller.kind is not OperatorKind.HUMAN or not human:  # law 1
        return Standing.OUTSIDER
    if human in electorate.excluded or _is_party(request, caller):  # law 3
        return Standing.SELF
    if electorate.has(human_id=human, name=caller.name, identity=caller.identity):
        return Standing.MEMBER
    return Standing.OUTSIDER


def granting_humans(votes: Collection[Vote], electorate: Electorate) -> frozenset[str]:
    """Return the people whose GRANT counts now (laws 4 and 6)."""
    return frozenset(
        fold(vote.human_id)
        for vote in votes
        if vote.verdict is Verdict.GRANT
        and electorate.has(human_id=vote.human_id, name=vote.operator, identity=vote.identity)
    )


def shortfall(request: Request, electorate: Electorate) -> str:
    """Return "" if enough people may decide *request*, else what is missing, as a sentence (law 5).

    It names nobody, so it may be shown to an agent.
    """
    found, needed = len(electorate.humans), max(1, request.quorum)
    if found >= needed:
        return ""
    people = "1 human" if needed == 1 else f"{needed} different humans"
    there = "there is none" if found == 0 else f"there is only {found}"
    return (
        f"{people} with the role {request.role} must decide, beside the requester and the agent's "
        f"owner, and {there}"
    )


def _is_party(request: Request, operator: Operator) -> bool:
    """Return whether *operator* is the requester or the agent's owner by any of its names."""
    human = fold(operator.human_id)
    requester, owner = fold(request.requester), fold(request.owner)
    if requester and requester == fold(operator.name):
        return True
    if human and human == fold(request.requester_human):
        return True
    if not owner:
        return False
    if owner in (human, fold(operator.name), fold(operator.identity)):
        return True
    return any(owner == fold(email) for email in operator.emails)
