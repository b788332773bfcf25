# SPDX-License-Identifier: Apache-2.0
"""Whether a bundle may permit more than another: what decides if a second human must look at it.

Laws:

1. Conservative: "no" is a proof, "maybe" costs one more signature. If the answer is no, then no call
   that the new bundle allows was held or denied by the old one, none that it holds was denied, and
   none that both hold asks less of the humans.
2. Purely of syntax: texts, annotations and syntax trees; no call is tried.
3. The answer is no only if tools, agents, operators, limits, issuers, keys and approvals are the same
   bytes; every permit that decides stood there unchanged; every forbid and every ``@hold`` that
   decided still does (a permit beside a hold alone would allow); and no permit is gone whose failure
   denied a call, for a policy that cannot be evaluated denies.
4. Shadow policies decide nothing, so they do not count; nor do the bundle's tests, nor the file a
   policy stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidecar.policy.bundle import Bundle
from sidecar.policy.policies import PolicySpec
from sidecar.policy.projection import Projection, merge, projection_of
from sidecar.policy.slices import ContextPlan
from sidecar.policy.types import CedarType, RecordType, Scalar, SetType

__all__ = ["may_permit_more"]

_ANY_PLACE: Final = ("policies/", "tests/")
"""Files that are compared by what they say (policies) or that decide nothing (tests)."""

# Operators that give a value whatever well-typed operands they get. Cedar's validator has checked the
# types, that optional attributes are guarded by ``has``, and that constructors are given literals.
_TOTAL_BINARY: Final = frozenset(
    {"==", "!=", "<", "<=", ">", ">=", "&&", "||", "in", "contains", "containsAll", "containsAny"}
)
_TOTAL_CALLS: Final = frozenset(
    {"lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"}
    | {"isIpv4", "isIpv6", "isLoopback", "isMulticast", "isInRange"}
)
_CONSTRUCTORS: Final = frozenset({"decimal", "ip"})


def may_permit_more(old: Bundle, new: Bundle) -> tuple[bool, tuple[str, ...]]:
    """Return whether *new* may permit what *old* did not, and why (law 3); no reasons if not."""
    reasons = [
        *_files_that_differ(old.files, new.files),
        *_new_permits(old, new),
        *_lost_guards(old, new),
    ]
    if not reasons:
        reasons += _lost_failures(old, new)
    return bool(reasons), tuple(reasons)


def _files_that_differ(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    return [
        f"{path} differs"
        for path in sorted({*old, *new})
        if not path.startswith(_ANY_PLACE) and old.get(path) != new.get(path)
    ]


def _deciding(bundle: Bundle) -> dict[str, PolicySpec]:
    """Return the policies that decide, by id, in the order of the bundle (law 4)."""
    return {policy.id: policy for policy in bundle.policies if not policy.is_shadow}


def _is_kept(policy: PolicySpec, others: Mapping[str, PolicySpec]) -> bool:
    other = others.get(policy.id)
    return other is not None and other.text == policy.text


def _new_permits(old: Bundle, new: Bundle) -> list[str]:
    before = _deciding(old)
    return [
        f"permit {policy.id} {'has changed' if policy.id in before else 'is new'}"
        for policy in _deciding(new).values()
        if policy.effect == "permit" and not _is_kept(policy, before)
    ]


def _lost_guards(old: Bundle, new: Bundle) -> list[str]:
    """Return which forbids and holds are not there any more as they were.

    Of several holds the first of the highest tier says who decides, so their order counts.
    """
    after = _deciding(new)
    lost = []
    for policy in _deciding(old).values():
        is_guard = policy.effect == "forbid" or policy.hold is not None
        if is_guard and not _is_kept(policy, after):
            what = "forbid" if policy.effect == "forbid" else "hold"
            lost.append(f"{what} {policy.id} {'has changed' if policy.id in after else 'is gone'}")
    if not lost and _holds(old) != _holds(new):
        lost.append("the holds stand in another order")
    return lost


def _holds(bundle: Bundle) -> list[str]:
    return [policy.id for policy in _deciding(bundle).values() if policy.hold is not None]


def _lost_failures(old: Bundle, new: Bundle) -> list[str]:
    """Return which calls may have been denied only because a permit that is gone failed on them."""
    after = _deciding(new)
    gone = [policy for policy in _deciding(old).values() if policy.id not in after]
    lost = [
        f"permit {policy.id} is gone, and denied what it could not be evaluated for"
        for policy in gone
        if not all(_is_total(condition["body"]) for condition in policy.tree["conditions"])
    ]
    if not gone or lost:
        return lost
    known = {**after, **_deciding(old)}
    projections = {policy.id: projection_of([policy.tree]) for policy in known.values()}
    for name, tool in old.tools.items():
        if not any(policy.scope.names(name) for policy in gone):
            continue
        before = ContextPlan(tool, _projection(_deciding(old).values(), name, projections))
        now = ContextPlan(tool, _projection(after.values(), name, projections))
        kept = {part for part, _ in now.parts} if now.reads_anything else set()
        unread = [
            part
            for part, _ in before.parts
            if before.reads_anything
            and part not in kept
            and _may_not_convert(tool.visible.attributes[part].type)
        ]
        if unread or (before.has_destination and not now.has_destination):
            what = ", ".join(unread) or "the destination"
            lost.append(f"no policy reads {what} of {name} any more, which could deny a call")
    return lost


def _projection(
    policies: Iterable[PolicySpec], tool: str, projections: Mapping[str, Projection]
) -> Projection:
    return merge(projections[policy.id] for policy in policies if policy.scope.names(tool))


def _may_not_convert(of: CedarType) -> bool:
    """Return whether an argument that fits its schema may be no Cedar value: only numbers may."""
    match of:
        case SetType():
            return _may_not_convert(of.element)
        case RecordType():
            return any(_may_not_convert(attribute.type) for attribute in of.attributes.values())
        case Scalar():
            return of is Scalar.DECIMAL


def _is_total(node: Any) -> bool:
    """Return whether evaluating *node* cannot fail (arithmetic can: it overflows)."""
    if not isinstance(node, Mapping) or len(node) != 1:
        return False
    ((operator, operand),) = node.items()
    if operator in ("Var", "Value"):
        return True
    if operator in (".", "has", "like"):
        return _is_total(operand["left"])
    if operator in _TOTAL_BINARY:
        return _is_total(operand["left"]) and _is_total(operand["right"])
    if operator in ("!", "isEmpty"):
        return _is_total(operand["arg"])
    if operator == "if-then-else":
        return all(_is_total(operand[part]) for part in ("if", "then", "else"))
    if operator == "is":
        return _is_total(operand["left"]) and ("in" not in operand or _is_total(operand["in"]))
    if operator == "Set":
        return all(map(_is_total, operand))
    if operator == "Record":
        return all(map(_is_total, operand.values()))
    if operator in _TOTAL_CALLS:
        return all(map(_is_total, operand))
    if operator in _CONSTRUCTORS:
        return all(isinstance(part, Mapping) and set(part) == {"Value"} for part in operand)
    return False
