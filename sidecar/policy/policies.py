# SPDX-License-Identifier: Apache-2.0
"""A policy: a Cedar statement, and the obligations in its annotations.

Laws:

1. Every policy has an ``@id`` that is unique over the bundle.
2. Annotations are a closed set: a misspelt ``@hodl`` would make an "allow" of "a human decides".
3. ``@hold`` belongs to permits; its tier, approver role, quorum and expiry belong to ``@hold``.
4. A permit of anything to anybody, on no condition, says ``@dangerous("why")`` or is refused. A
   condition that reads nothing of the request is no condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from sidecar.documents import did_you_mean, short
from sidecar.errors import DocumentError
from sidecar.model import Role
from sidecar.policy.cedar_text import Statement
from sidecar.policy.fields import is_policy_id, parse_duration

__all__ = [
    "TIERS",
    "HoldObligation",
    "PolicySpec",
    "Scope",
    "entities_named",
    "is_unconditional",
    "policy_of",
    "strictest",
]

Effect = Literal["permit", "forbid"]
TIERS: Final = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
MAX_QUORUM: Final = 10
_MIN_EXPIRY_S: Final = 30
_MAX_EXPIRY_S: Final = 86_400
_MAX_SENTENCE: Final = 300
_HOLD_PARTS: Final = ("tier", "approver_role", "quorum", "expiry")
_ANNOTATIONS: Final = ("id", "description", "hold", *_HOLD_PARTS, "shadow", "dangerous")


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldObligation:
    """What a held call waits for."""

    reason: str
    tier: str
    approver_role: str
    quorum: int
    expiry_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The head of a policy. None means "any"; ``tools`` merges action and resource."""

    agent: str | None
    group: str | None
    tools: frozenset[str] | None

    @property
    def is_unrestricted(self) -> bool:
        """Whether the head lets every request through."""
        return self.agent is None and self.group is None and self.tools is None

    def names(self, tool: str) -> bool:
        """Return whether a call of *tool* can reach the policy's conditions."""
        return self.tools is None or tool in self.tools


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """One policy. Immutable."""

    id: str
    path: str
    line: int
    effect: Effect
    text: str
    scope: Scope
    description: str
    hold: HoldObligation | None
    is_shadow: bool
    annotations: Mapping[str, str]
    tree: Mapping[str, Any] = field(repr=False, compare=False)
    """Cedar's syntax tree; read it, never change it."""

    @property
    def place(self) -> str:
        """Where the policy stands: ``policies/base.cedar:12``."""
        return f"{self.path}:{self.line}"


def policy_of(statement: Statement, problems: list[DocumentError]) -> PolicySpec | None:
    """Return the policy in *statement*, or None after noting in *problems* what is wrong."""
    tree = statement.tree
    annotations = {name: value or "" for name, value in tree.get("annotations", {}).items()}
    effect: Effect = "permit" if tree["effect"] == "permit" else "forbid"
    before = len(problems)

    def note(name: str, message: str, hint: str) -> None:
        problems.append(statement.error(message, line=_line_of(statement, f"@{name}"), hint=hint))

    for name, value in annotations.items():
        if name not in _ANNOTATIONS:
            known = did_you_mean(name, _ANNOTATIONS)
            hint = known or f"known: {', '.join('@' + known for known in _ANNOTATIONS)}"
            note(name, f"unknown annotation @{name}", hint)
        elif len(value) > _MAX_SENTENCE or not value.isprintable():
            note(name, f"@{name} is one line of at most {_MAX_SENTENCE} printable characters", "")
    policy_id = annotations.get("id", "")
    if not is_policy_id(policy_id):
        note("id", "the policy has no @id" if not policy_id else f"{short(policy_id)} is no id",
             'write @id("letters-digits.and_dashes") before it')  # fmt: skip
    hold = _hold(annotations, effect, note)
    scope = _scope(tree)
    is_open = effect == "permit" and scope.is_unrestricted and is_unconditional(tree)
    reason = annotations.get("dangerous")
    if is_open and not reason:
        note(
            "dangerous" if reason is not None else "id",
            "permits every call of every tool to every agent",
            'narrow it, or say why not with @dangerous("reason")',
        )
    if len(problems) > before:
        return None
    return PolicySpec(
        id=policy_id,
        path=statement.path,
        line=statement.line,
        effect=effect,
        text=statement.text,
        scope=scope,
        description=annotations.get("description", ""),
        hold=hold,
        is_shadow="shadow" in annotations,
        annotations=MappingProxyType(annotations),
        tree=tree,
    )


def _line_of(statement: Statement, word: str) -> int:
    position = statement.text.find(word)
    return statement.line + statement.text.count("\n", 0, max(position, 0))


def _hold(annotations: Mapping[str, str], effect: Effect, note: Any) -> HoldObligation | None:
    if "hold" not in annotations:
        for name in _HOLD_PARTS:
            if name in annotations:
                note(name, f"@{name} means nothing without @hold", "add @hold, or remove it")
        return None
    if effect == "forbid":
        note("hold", "@hold on a forbid means nothing", "put it on the permit that may be granted")
        return None
    reason = annotations["hold"]
    if not reason.strip():
        note("hold", "@hold needs the sentence that the approver reads", '@hold("why")')
    tier = annotations.get("tier", "MEDIUM")
    if tier not in TIERS:
        hint = did_you_mean(tier.upper(), TIERS)
        note("tier", f"{short(tier)} is not one of {', '.join(TIERS)}", hint)
    role = annotations.get("approver_role", Role.APPROVE.value)
    roles = [known.value for known in Role]
    if role not in roles:
        hint = did_you_mean(role, roles)
        note("approver_role", f"{short(role)} is not one of {', '.join(roles)}", hint)
    quorum_text = annotations.get("quorum", "1")
    quorum = int(quorum_text) if quorum_text.isascii() and quorum_text.isdigit() else 0
    if not 1 <= quorum <= MAX_QUORUM or quorum_text != str(quorum):
        note("quorum", f"{short(quorum_text)} is not a number from 1 to {MAX_QUORUM}", "")
    try:
        expiry_s = parse_duration(annotations.get("expiry", "30m"))
    except ValueError as exc:
        note("expiry", str(exc), "")
        expiry_s = _MIN_EXPIRY_S
    if not _MIN_EXPIRY_S <= expiry_s <= _MAX_EXPIRY_S:
        note("expiry", f"{short(annotations['expiry'])} is outside 30s to 24h", "")
    return HoldObligation(
        reason=reason, tier=tier, approver_role=role, quorum=quorum, expiry_s=expiry_s
    )


def strictest(holds: list[HoldObligation]) -> HoldObligation:
    """Return the obligation that satisfies all of *holds*: highest tier, most votes, least time.

    The reason and role are those of the first hold of the highest tier.
    """
    highest = max(holds, key=lambda hold: TIERS.index(hold.tier))
    return HoldObligation(
        reason=highest.reason,
        tier=highest.tier,
        approver_role=highest.approver_role,
        quorum=max(hold.quorum for hold in holds),
        expiry_s=min(hold.expiry_s for hold in holds),
    )


def _scope(tree: Mapping[str, Any]) -> Scope:
    agent = group = None
    principal = tree["principal"]
    if principal["op"] == "==":
        agent = principal["entity"]["id"]
    elif principal["op"] == "in" or "in" in principal:
        # ``in Agent::"x"`` is legal too, and matches that agent alone.
        entity = principal["entity"] if "entity" in principal else principal["in"]["entity"]
        if entity["type"] == "Agent":
            agent = entity["id"]
        else:
            group = entity["id"]
    tools: frozenset[str] | None = None
    for part in ("action", "resource"):
        named = _entities_of(tree[part])
        if named is not None:
            tools = named if tools is None else tools & named
    return Scope(agent=agent, group=group, tools=tools)


def _entities_of(constraint: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the ids that a scope constraint admits, or None when it admits any."""
    if constraint["op"] == "is" and "in" in constraint:
        constraint = constraint["in"]
    if "entities" in constraint:
        return frozenset(entity["id"] for entity in constraint["entities"])
    if "entity" in constraint:
        return frozenset({constraint["entity"]["id"]})
    return None


def is_unconditional(tree: Mapping[str, Any]) -> bool:
    """Return whether no condition of the policy reads anything of the request."""
    return not any(_reads_anything(condition["body"]) for condition in tree["conditions"])


def _reads_anything(node: object) -> bool:
    if isinstance(node, dict):
        return "Var" in node or any(_reads_anything(child) for child in node.values())
    if isinstance(node, list):
        return any(_reads_anything(child) for child in node)
    return False


def entities_named(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (type, id) of every entity that the policy names, in its head and its conditions."""
    found: list[tuple[str, str]] = []

    def visit(node: object) -> None:
        if isinstance(node, dict):
            kind, name = node.get("type"), node.get("id")
            if isinstance(kind, str) and isinstance(name, str):
                found.append((kind, name))
            for child in node.values():
                visit(child)
        elif isinstance(node, list):
            for child in node:
                visit(child)

    for part in ("principal", "action", "resource", "conditions"):
        visit(tree[part])
    return found
