# SPDX-License-Identifier: Apache-2.0
"""The policy decision: one tool call against one bundle.

Laws:

1. Default deny; a matching forbid wins over every permit.
2. Any error is a deny. Cedar skips a policy that fails to evaluate, so a forbid that fails would
   not forbid; here one failing policy denies the call.
3. If a matching permit carries ``@hold``, the call is held; the strictest obligation wins.
4. A shadow policy never decides, not even by failing.
5. The engine never changes: a new bundle is a new engine, and a call uses one engine throughout.
6. ``cache_key(a) == cache_key(b)`` implies ``decide(a) == decide(b)``.
7. No text or error holds a value of an argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import cedarpy

from sidecar.model import Destination, Effect, ReasonCode
from sidecar.policy.bundle import Bundle
from sidecar.policy.convert import ConversionError
from sidecar.policy.policies import HoldObligation, PolicySpec, strictest
from sidecar.policy.schema import entities_json
from sidecar.policy.slices import PolicyGroup, Slice, build_slices

__all__ = ["PolicyEngine", "PolicyVerdict"]

_NAMED_PERMITS: Final = 3
_FAILED_POLICY: Final = re.compile(r"policy `(policy[0-9]+)`")
_NOT_AN_OBJECT: Final = ("not an object",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVerdict:
    """What policy says about one tool call. A deny is a value, never an exception."""

    effect: Effect
    reason: ReasonCode
    text: str
    """A sentence that is safe to show to the agent: it names policies, never argument values."""
    policy_ids: tuple[str, ...] = ()
    """The policies that decided: the forbids, the holds, the permits or those that failed."""
    shadow_ids: tuple[str, ...] = ()
    """The shadow policies that matched; for the log."""
    hold: HoldObligation | None = None
    errors: tuple[str, ...] = ()
    """What could not be evaluated, in words without argument values."""
    is_cacheable: bool = False


class PolicyEngine:
    """One bundle, ready to decide. Immutable; safe to share between threads."""

    __slots__ = ("_agents", "_bundle", "_entities", "_slices")

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._slices: Mapping[str, Slice] = build_slices(bundle.tools, bundle.policies)
        self._agents: Mapping[str, dict[str, str]] = MappingProxyType(
            {name: {"type": "Agent", "id": name} for name in bundle.agents}
        )
        self._entities = cedarpy.Entities.from_json_str(
            entities_json(tools=bundle.tools, agents=bundle.agents),
            schema=bundle.schema,
            release_gil=True,
        )

    @property
    def bundle(self) -> Bundle:
        """The bundle that this engine decides by."""
        return self._bundle

    @property
    def entities(self) -> cedarpy.Entities:
        """Every agent, group and tool as Cedar entities."""
        return self._entities

    @property
    def digest(self) -> str:
        """The policy version that decisions name."""
        return self._bundle.digest

    def slice_of(self, tool: str) -> Slice | None:
        """Return the policies and plans of *tool*, for explanations."""
        return self._slices.get(tool)

    def cache_key(
        self,
        *,
        agent: str,
        session: str,
        tool: str,
        arguments: Mapping[str, Any],
        destination: Destination | None,
    ) -> tuple[Any, ...]:
        """Return what of the call the verdict depends on, as a hashable value.

        It holds tool and agent always, the session and the destination only if some policy reads
        them, and exactly those arguments that some policy reads. It does not hold the bundle's
        digest or the epoch: the caller adds those.
        """
        found = self._slices.get(tool)
        if found is None or type(arguments) is not dict:
            return (tool, agent, _NOT_AN_OBJECT)
        return found.key(agent=agent, session=session, arguments=arguments, destination=destination)

    def decide(
        self,
        *,
        agent: str,
        session: str,
        tool: str,
        arguments: Mapping[str, Any],
        destination: Destination | None,
    ) -> PolicyVerdict:
        """Return the verdict on the call of *tool* by *agent*, evaluated afresh.

        *arguments* have passed the tool's ``validate_arguments``; whatever cannot be evaluated
        nevertheless is denied.
        """
        found = self._slices.get(tool)
        if found is None:
            return _deny(ReasonCode.UNKNOWN_TOOL, "the tool is not in the bundle")
        principal = self._agents.get(agent)
        if principal is None:
            return _deny(ReasonCode.UNKNOWN_AGENT, "the agent is not in the bundle")
        if type(arguments) is not dict:
            return _failed(("the arguments are not a JSON object",))
        try:
            context = found.plan.context(
                session=session, arguments=arguments, destination=destination
            )
        except ConversionError as exc:
            return _failed((str(exc),))
        request = {
            "principal": principal,
            "action": {"type": "Action", "id": tool},
            "resource": {"type": "Tool", "id": tool},
            "context": context,
        }
        is_allowed, reasons, errors = self._ask(found.deciding, request)
        shadow_ids: tuple[str, ...] = ()
        if found.shadows:
            shadow_ids = self._shadow_ids(found, request, session, arguments, destination)
        if errors:
            ids = tuple(policy.id for policy in found.deciding.find(_numbers(errors)))
            return _failed(_failures(ids), policy_ids=ids, shadow_ids=shadow_ids)
        matched = found.deciding.find(reasons)
        if is_allowed:
            return _allow_or_hold(matched, shadow_ids)
        if matched:
            return _forbidden(matched, shadow_ids)
        return _not_permitted(found, agent=agent, shadow_ids=shadow_ids)

    def _ask(
        self, group: PolicyGroup, request: dict[str, Any]
    ) -> tuple[bool, list[str], list[str]]:
        """Return (allowed, reasons, errors) of Cedar; whatever goes wrong is an error."""
        if not group.policies:
            return False, [], []
        try:
            result = cedarpy.is_authorized(request, group.handle, self._entities)
            decision = result.decision
        except (ValueError, TypeError, KeyError, OverflowError):
            return False, [], ["the request could not be built"]
        errors = list(result.diagnostics.errors)
        if decision is cedarpy.Decision.NoDecision and not errors:
            errors = ["Cedar gave no decision"]
        return decision is cedarpy.Decision.Allow, list(result.diagnostics.reasons), errors

    def _shadow_ids(
        self,
        found: Slice,
        request: Mapping[str, Any],
        session: str,
        arguments: Mapping[str, Any],
        destination: Destination | None,
    ) -> tuple[str, ...]:
        """Return which shadow policies match. Those that cannot be evaluated match nothing."""
        try:
            context = found.shadow_plan.context(
                session=session, arguments=arguments, destination=destination
            )
        except ConversionError:
            return ()
        ids: list[str] = []
        for group in found.shadows:
            _, reasons, _ = self._ask(group, {**request, "context": context})
            ids += [policy.id for policy in group.find(reasons)]
        return tuple(ids)


def _numbers(errors: list[str]) -> list[str]:
    return [found[1] for error in errors if (found := _FAILED_POLICY.search(error))]


def _failures(ids: tuple[str, ...]) -> tuple[str, ...]:
    # Cedar's own words may hold argument values, so they stop here; `explain` shows them.
    if not ids:
        return ("the request could not be evaluated",)
    return tuple(f"policy {policy_id} could not be evaluated" for policy_id in ids)


def _deny(
    reason: ReasonCode,
    text: str,
    *,
    policy_ids: tuple[str, ...] = (),
    shadow_ids: tuple[str, ...] = (),
    is_cacheable: bool = False,
) -> PolicyVerdict:
    return PolicyVerdict(
        effect=Effect.DENY,
        reason=reason,
        text=text,
        policy_ids=policy_ids,
        shadow_ids=shadow_ids,
        is_cacheable=is_cacheable,
    )


def _failed(
    errors: tuple[str, ...],
    *,
    policy_ids: tuple[str, ...] = (),
    shadow_ids: tuple[str, ...] = (),
) -> PolicyVerdict:
    return PolicyVerdict(
        effect=Effect.DENY,
        reason=ReasonCode.POLICY_ERROR,
        text=f"denied because {'; '.join(errors[:_NAMED_PERMITS])}",
        policy_ids=policy_ids,
        shadow_ids=shadow_ids,
        errors=errors,
    )


def _forbidden(matched: tuple[PolicySpec, ...], shadow_ids: tuple[str, ...]) -> PolicyVerdict:
    first = matched[0]
    more = f" (and {len(matched) - 1} more)" if len(matched) > 1 else ""
    because = f": {first.description}" if first.description else ""
    return _deny(
        ReasonCode.POLICY_DENY,
        f"policy {first.id}{more} forbids it{because}",
        policy_ids=tuple(policy.id for policy in matched),
        shadow_ids=shadow_ids,
        is_cacheable=True,
    )


def _allow_or_hold(matched: tuple[PolicySpec, ...], shadow_ids: tuple[str, ...]) -> PolicyVerdict:
    holding = [policy for policy in matched if policy.hold is not None]
    if not holding:
        return PolicyVerdict(
            effect=Effect.ALLOW,
            reason=ReasonCode.POLICY_ALLOW,
            text=f"policy {matched[0].id} permits it",
            policy_ids=tuple(policy.id for policy in matched),
            shadow_ids=shadow_ids,
            is_cacheable=True,
        )
    hold = strictest([policy.hold for policy in holding if policy.hold is not None])
    return PolicyVerdict(
        effect=Effect.HOLD,
        reason=ReasonCode.POLICY_HOLD,
        text=f"policy {holding[0].id} asks a human: {hold.reason}",
        policy_ids=tuple(policy.id for policy in holding),
        shadow_ids=shadow_ids,
        hold=hold,
    )


def _not_permitted(found: Slice, *, agent: str, shadow_ids: tuple[str, ...]) -> PolicyVerdict:
    tool = found.tool.name
    if not found.permits:
        return _deny(
            ReasonCode.NO_POLICY_ALLOWS,
            f"no policy permits {tool}",
            shadow_ids=shadow_ids,
            is_cacheable=True,
        )
    ids = [policy.id for policy in found.permits]
    named = ", ".join(ids[:_NAMED_PERMITS]) + (", …" if len(ids) > _NAMED_PERMITS else "")
    number = f"{len(ids)} permit" + ("s" if len(ids) > 1 else "")
    return _deny(
        ReasonCode.NO_POLICY_ALLOWS,
        f"no policy permits this {tool} call of agent {agent}; "
        f"{number} for the tool ({named}) did not match",
        shadow_ids=shadow_ids,
        is_cacheable=True,
    )
