# SPDX-License-Identifier: Apache-2.0
"""Which control action needs whom. No I/O.

Laws:

1. Tighten with one, loosen with two. A release, and a policy bundle that may permit more, need at
   least one human beside the one who asks; two where automation asks, and two from tier HIGH on. No
   file can ask for less.
2. A containment needs another human only if it is more than one hand may order, and never one that
   has ``break-glass``: tightening by break-glass waits for nobody.
3. If two rules hold one action, everything that either of them asks counts.
4. A question loosens nothing by itself, and whoever asks acts on the answer: one human beside the
   asker, two from tier HIGH on.
5. A bundle only makes the tiers stricter or laxer than their defaults within bounds; a higher tier
   never asks less of the humans than a lower one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sidecar.approvals.tiers import DEFAULT_TIERS, TierRule, bounded
from sidecar.approvals.values import Tier
from sidecar.containment.answers import ContainmentPreview
from sidecar.containment.rules import humans_needed
from sidecar.errors import RefusedError
from sidecar.model import Operator, Role
from sidecar.policy.approval_rules import ApprovalRules, TierSpec

__all__ = [
    "ACTIVATION_ROLES",
    "Need",
    "need_of_activation",
    "need_of_confirmation",
    "need_of_containment",
    "need_of_release",
    "require_activation_request",
    "tier_rules",
]

ACTIVATION_ROLES: Final = frozenset({Role.POLICY_AUTHOR, Role.POLICY_APPROVE, Role.ADMIN})
"""Who may ask for a bundle to come into force; the same as the method's permissions."""

_OTHERS_FROM_HIGH: Final = 2
_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a held action waits for. ``tier`` says how much is at stake, ``why`` says it in words."""

    tier: Tier
    role: Role
    rule: TierRule
    why: str

    @property
    def quorum(self) -> int:
        """How many other humans must grant."""
        return self.rule.quorum


def tier_rules(rules: ApprovalRules) -> Mapping[Tier, TierRule]:
    """Return what each tier asks under *rules* (law 5)."""
    found: dict[Tier, TierRule] = {}
    below: TierRule | None = None
    for tier in Tier:
        rule = bounded(_merged(DEFAULT_TIERS[tier], rules.tiers.get(tier.name)))
        if below is not None:
            rule = replace(
                rule,
                quorum=max(rule.quorum, below.quorum),
                is_passkey_needed=rule.is_passkey_needed or below.is_passkey_needed,
                is_reason_needed=rule.is_reason_needed or below.is_reason_needed,
            )
        found[tier] = below = rule
    return found


def need_of_release(caller: Operator, rules: ApprovalRules) -> Need:
    """Return what a release needs that *caller* asks for (law 1)."""
    return _loosening(
        "release", caller, rules, why="A release lets go: a second human must agree to it."
    )


def need_of_containment(preview: ContainmentPreview, rules: ApprovalRules) -> Need | None:
    """Return what a containment needs, or None if it is carried out at once (law 2)."""
    if not preview.is_consent_needed:
        return None
    needs = []
    if preview.is_wide:
        count = len(preview.agents)
        reached = f"{count} agent{'' if count == 1 else 's'}" if count else "everything"
        why = f"It reaches {reached}: more of the fleet than one may contain alone."
        needs.append(_need("contain_wide", rules, why=why))
    if preview.protected:
        needs.append(
            _need(
                "contain_protected",
                rules,
                why=f"It reaches what agents.yaml protects: {_named(preview.protected)}.",
            )
        )
    return _strictest(needs)


def need_of_activation(reasons: Collection[str], caller: Operator, rules: ApprovalRules) -> Need:
    """Return what a bundle needs that may permit more, for *reasons*, if *caller* asks (law 1)."""
    shown = list(reasons)[:_NAMED]
    more = f"; and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
    return _loosening(
        "activate_policy",
        caller,
        rules,
        why=f"The bundle may permit more than the one in force: {'; '.join(shown)}{more}.",
    )


def need_of_confirmation(rules: ApprovalRules) -> Need:
    """Return what a question needs (law 4)."""
    need = _need("confirm", rules, why="A step outside Holdfast waits for a human's answer.")
    floor = _OTHERS_FROM_HIGH if need.tier >= Tier.HIGH else 1
    return replace(need, rule=bounded(need.rule, quorum=floor))


def require_activation_request(caller: Operator) -> None:
    """Refuse *caller* to ask for a bundle to come into force.

    Raises:
        RefusedError: PERMISSION_MISSING.
    """
    if not caller.roles & ACTIVATION_ROLES:
        raise RefusedError(
            f"{caller.name} may not change the policy in force",
            hint="one of the roles policy-author, policy-approve and admin is needed for it",
        )


def _loosening(action: str, caller: Operator, rules: ApprovalRules, *, why: str) -> Need:
    need = _need(action, rules, why=why)
    floor = max(humans_needed(caller), _OTHERS_FROM_HIGH if need.tier >= Tier.HIGH else 1)
    return replace(need, rule=bounded(need.rule, quorum=floor))


def _need(action: str, rules: ApprovalRules, *, why: str) -> Need:
    tier = Tier[rules.tier_of(action)]
    role = Role.POLICY_APPROVE if action == "activate_policy" else Role.APPROVE
    return Need(tier=tier, role=role, rule=tier_rules(rules)[tier], why=why)


def _strictest(needs: Iterable[Need]) -> Need:
    """Return one need that holds everything that any of *needs* asks (law 3)."""
    first, *others = sorted(needs, key=lambda need: -need.tier)
    rule = first.rule
    for other in others:
        rule = replace(
            bounded(rule, quorum=other.rule.quorum, expiry_s=other.rule.expiry_s),
            grant_life_s=min(rule.grant_life_s, other.rule.grant_life_s),
            is_passkey_needed=rule.is_passkey_needed or other.rule.is_passkey_needed,
            is_reason_needed=rule.is_reason_needed or other.rule.is_reason_needed,
        )
    return replace(first, rule=rule, why=" ".join(need.why for need in (first, *others)))


def _merged(rule: TierRule, spec: TierSpec | None) -> TierRule:
    if spec is None:
        return rule
    return replace(
        rule,
        expiry_s=rule.expiry_s if spec.expiry_s is None else spec.expiry_s,
        grant_life_s=rule.grant_life_s if spec.grant_life_s is None else spec.grant_life_s,
        quorum=rule.quorum if spec.quorum is None else spec.quorum,
        is_passkey_needed=(
            rule.is_passkey_needed if spec.is_passkey_needed is None else spec.is_passkey_needed
        ),
        is_reason_needed=(
            rule.is_reason_needed if spec.is_reason_needed is None else spec.is_reason_needed
        ),
    )


def _named(agents: Collection[str]) -> str:
    shown = ", ".join(list(agents)[:_NAMED])
    return f"{shown} and {len(agents) - _NAMED} more" if len(agents) > _NAMED else shown
