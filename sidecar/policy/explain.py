# SPDX-License-Identifier: Apache-2.0
"""Why a call is decided the way it is: every policy that names the tool, and what became of it.

For operators and authors. Unlike a verdict, an explanation may show Cedar's own error messages,
which can hold argument values: print it to the one who gave the arguments, never to a log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cedarpy

from sidecar.model import Destination
from sidecar.policy.bundle import Bundle
from sidecar.policy.convert import ConversionError
from sidecar.policy.engine import PolicyEngine, PolicyVerdict
from sidecar.policy.judge import DestinationParser, judge, plain_destination
from sidecar.policy.policies import PolicySpec
from sidecar.policy.projection import projection_of
from sidecar.policy.slices import ContextPlan, Slice

__all__ = ["Explanation", "PolicyOutcome", "explain"]

Outcome = Literal["matched", "head does not fit", "condition is false", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutcome:
    """One policy that names the tool, and whether it matched this call."""

    policy: PolicySpec
    outcome: Outcome
    error: str = ""

    @property
    def is_match(self) -> bool:
        """Whether the policy matched."""
        return self.outcome == "matched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A verdict and how it came about. ``policies`` is empty if policy was never asked."""

    verdict: PolicyVerdict
    destination: Destination | None
    policies: tuple[PolicyOutcome, ...]
    reads: tuple[str, ...]
    """What the decision can depend on: the parts of the cache key by name."""


def explain(
    bundle: Bundle,
    *,
    agent: str,
    tool: str,
    arguments: Mapping[str, Any],
    session: str = "explain",
    url: str = "",
    parse_destination: DestinationParser = plain_destination,
) -> Explanation:
    """Return how *bundle* decides a call, and why."""
    engine = PolicyEngine(bundle)
    verdict, destination = judge(
        engine,
        agent=agent,
        session=session,
        tool=tool,
        arguments=arguments,
        url=url,
        parse_destination=parse_destination,
    )
    found = engine.slice_of(tool)
    outcomes: tuple[PolicyOutcome, ...] = ()
    if found is not None and agent in bundle.agents and type(arguments) is dict:
        outcomes = tuple(
            _outcome(engine, found, policy, agent, session, arguments, destination)
            for policy in bundle.policies
            if policy.scope.names(tool)
        )
    return Explanation(
        verdict=verdict,
        destination=destination,
        policies=outcomes,
        reads=found.describe_key() if found else (),
    )


def _outcome(
    engine: PolicyEngine,
    found: Slice,
    policy: PolicySpec,
    agent: str,
    session: str,
    arguments: Mapping[str, Any],
    destination: Destination | None,
) -> PolicyOutcome:
    request: dict[str, Any] = {
        "principal": {"type": "Agent", "id": agent},
        "action": {"type": "Action", "id": found.tool.name},
        "resource": {"type": "Tool", "id": found.tool.name},
        "context": "{}",
    }
    head = {
        "staticPolicies": {"policy0": {**policy.tree, "conditions": []}},
        "templates": {},
        "templateLinks": [],
    }
    fits, _ = _ask(engine, request, cedarpy.PolicySet.from_json_str(json.dumps(head)))
    if not fits:
        return PolicyOutcome(policy=policy, outcome="head does not fit")
    try:
        request["context"] = ContextPlan(found.tool, projection_of([policy.tree])).context(
            session=session, arguments=arguments, destination=destination
        )
    except ConversionError as exc:
        return PolicyOutcome(policy=policy, outcome="failed", error=str(exc))
    is_match, error = _ask(engine, request, cedarpy.PolicySet.from_str(policy.text))
    if error:
        return PolicyOutcome(policy=policy, outcome="failed", error=error)
    return PolicyOutcome(policy=policy, outcome="matched" if is_match else "condition is false")


def _ask(
    engine: PolicyEngine, request: dict[str, Any], handle: cedarpy.PolicySet
) -> tuple[bool, str]:
    try:
        result = cedarpy.is_authorized(request, handle, engine.entities)
    except (ValueError, TypeError, KeyError, OverflowError) as exc:
        return False, str(exc)
    return bool(result.diagnostics.reasons), "; ".join(result.diagnostics.errors)
