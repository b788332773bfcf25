# SPDX-License-Identifier: Apache-2.0
"""What is legal in a bundle and yet probably not meant.

A warning names something that does nothing, or does more than it seems to. A note is only worth
knowing. Neither stops a bundle; what must stop it is an error at load.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sidecar.documents import did_you_mean, short
from sidecar.model import OperatorKind, Role
from sidecar.policy.bundle import Bundle
from sidecar.policy.policies import PolicySpec, entities_named, is_unconditional

__all__ = ["Problem", "Severity", "lint"]

Severity = Literal["error", "warning", "note"]

_FOR_HUMANS = (Role.RELEASE, Role.APPROVE, Role.POLICY_APPROVE, Role.BREAK_GLASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something about a bundle that its author should know. ``code`` is stable, for programs."""

    severity: Severity
    code: str
    message: str
    path: str = ""
    line: int | None = None
    key: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = self.path + (f":{self.line}" if self.line is not None else "")
        text = ": ".join(part for part in (place, self.severity, self.message) if part)
        return f"{text} ({self.hint})" if self.hint else text


def lint(bundle: Bundle) -> tuple[Problem, ...]:
    """Return what looks unintended in *bundle*, warnings first, then by place."""
    problems = [
        *_policy_set(bundle),
        *_groups(bundle),
        *_shadowed(bundle),
        *_tools(bundle),
        *_holds(bundle),
        *_operators(bundle),
        *_budgets(bundle),
    ]
    return tuple(sorted(problems, key=lambda p: (p.severity != "warning", p.path, p.line or 0)))


def _at(policy: PolicySpec, severity: Severity, code: str, message: str, hint: str = "") -> Problem:
    return Problem(
        severity=severity,
        code=code,
        message=f"policy {policy.id} {message}",
        path=policy.path,
        line=policy.line,
        key=policy.id,
        hint=hint,
    )


def _policy_set(bundle: Bundle) -> Iterator[Problem]:
    deciding = [policy for policy in bundle.policies if not policy.is_shadow]
    if not any(policy.effect == "permit" for policy in deciding):
        yield Problem(
            severity="warning",
            code="denies-everything",
            message="no policy permits anything: every call will be denied",
            path="policies",
            hint="add a permit to policies/*.cedar",
        )
    if not bundle.tests:
        yield Problem(
            severity="note",
            code="no-tests",
            message="the bundle has no tests",
            path="tests",
            hint="say in tests/*.yaml what must stay denied",
        )
    for policy in deciding:
        if "dangerous" in policy.annotations:
            yield _at(
                policy,
                "warning",
                "dangerous",
                f"says @dangerous({short(policy.annotations['dangerous'])})",
            )


def _groups(bundle: Bundle) -> Iterator[Problem]:
    known = {group for agent in bundle.agents.values() for group in agent.groups}
    for policy in bundle.policies:
        for kind, name in dict.fromkeys(entities_named(policy.tree)):
            if kind == "Group" and name not in known:
                yield _at(
                    policy,
                    "warning",
                    "unknown-group",
                    f"names the group {short(name)}, which no agent is in",
                    did_you_mean(name, known),
                )
        if policy.scope.tools is not None and not policy.scope.tools:
            yield _at(policy, "warning", "unreachable", "applies to no tool at all")


def _shadowed(bundle: Bundle) -> Iterator[Problem]:
    """A permit that an unconditional forbid always beats can never allow anything."""
    walls = [
        policy
        for policy in bundle.policies
        if policy.effect == "forbid" and not policy.is_shadow and is_unconditional(policy.tree)
        and _always_true(policy)
    ]  # fmt: skip
    reach = {policy.id: _reach(policy, bundle) for policy in bundle.policies} if walls else {}
    for policy in bundle.policies if walls else ():
        if policy.effect == "permit" and not policy.is_shadow:
            tools, agents = reach[policy.id]
            wall = next(
                (w for w in walls if tools <= reach[w.id][0] and agents <= reach[w.id][1]), None
            )
            if wall is not None:
                yield _at(
                    policy,
                    "warning",
                    "never-applies",
                    f"never allows anything: policy {wall.id} ({wall.place}) forbids all of it",
                    "remove one of the two",
                )


def _always_true(policy: PolicySpec) -> bool:
    return all(
        condition["body"] == {"Value": condition["kind"] == "when"}
        for condition in policy.tree["conditions"]
    )


def _reach(policy: PolicySpec, bundle: Bundle) -> tuple[frozenset[str], frozenset[str]]:
    """Return the tools and the agents that the head of *policy* lets through."""
    scope = policy.scope
    agents = frozenset(
        name
        for name, agent in bundle.agents.items()
        if (scope.agent is None or scope.agent == name)
        and (scope.group is None or scope.group in agent.groups)
    )
    return (frozenset(bundle.tools) if scope.tools is None else scope.tools), agents


def _tools(bundle: Bundle) -> Iterator[Problem]:
    for name in bundle.tools:
        if not any(
            policy.effect == "permit" and not policy.is_shadow and policy.scope.names(name)
            for policy in bundle.policies
        ):
            yield Problem(
                severity="note",
                code="tool-without-permit",
                message=f"no policy permits the tool {name}: every call of it will be denied",
                path="tools.yaml",
                key=f"tools.{name}",
            )


def _holds(bundle: Bundle) -> Iterator[Problem]:
    for policy in bundle.policies:
        if policy.hold is None:
            continue
        role = policy.hold.approver_role
        humans = {
            operator.human_id
            for operator in bundle.operators.values()
            if operator.human_id is not None and role in operator.roles
        }
        if len(humans) < policy.hold.quorum:
            yield _at(
                policy,
                "warning",
                "no-approver",
                f"waits for {policy.hold.quorum} human(s) with the role {role}, "
                f"but operators.yaml has {len(humans)}: no such call will ever be granted",
                f"give the role {role} to enough people",
            )


def _operators(bundle: Bundle) -> Iterator[Problem]:
    for name, operator in bundle.operators.items():
        idle = sorted(role for role in operator.roles if role in _FOR_HUMANS)
        if operator.kind is OperatorKind.AUTOMATION and idle:
            yield Problem(
                severity="warning",
                code="automation-role",
                message=f"{name} is automation: the role {idle[0]} only counts for humans",
                path="operators.yaml",
                key=f"operators.{name}.roles",
                hint="automation normally holds `contain` alone",
            )


def _budgets(bundle: Bundle) -> Iterator[Problem]:
    for limit in bundle.limits:
        if limit.budget is None or limit.budget.argument is None:
            continue
        for name in sorted(limit.tools or ()):
            schema = bundle.tools[name].arguments_schema["properties"][limit.budget.argument]
            least = max(schema.get("minimum", -1), schema.get("exclusiveMinimum", -1))
            if least < 0:
                yield Problem(
                    severity="warning",
                    code="negative-amount",
                    message=f"the limit {limit.name} sums {limit.budget.argument} of {name}, "
                    "which may be negative",
                    path="tools.yaml",
                    key=f"tools.{name}.arguments.properties.{limit.budget.argument}",
                    hint="add `minimum: 0`, or a negative call could refill the budget",
                )
