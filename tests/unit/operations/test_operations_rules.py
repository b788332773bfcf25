# SPDX-License-Identifier: Apache-2.0
"""Which control action needs whom; what no file can lower."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.approvals.tiers import DEFAULT_TIERS
from sidecar.approvals.values import Tier
from sidecar.containment.answers import ContainmentPreview
from sidecar.errors import RefusedError
from sidecar.model import Operator, Role
from sidecar.operations import rules
from sidecar.operations.rules import (
    need_of_activation,
    need_of_containment,
    need_of_release,
    require_activation_request,
    tier_rules,
)
from sidecar.policy.approval_rules import (
    ACTIONS,
    DEFAULT_APPROVAL_RULES,
    ApprovalRules,
    TierSpec,
)
from tests.unit.containment.containment_kit import operator
from tests.unit.operations.operations_kit import ALICE, BOB, CAROL, LOCAL, SOAR

LAX = TierSpec(
    expiry_s=86_400, grant_life_s=900, quorum=1, is_passkey_needed=False, is_reason_needed=False
)
WIDE = ContainmentPreview(
    agents=("a", "b", "c", "d"), is_wide=True, protected=(), is_consent_needed=True
)
PROTECTED = ContainmentPreview(
    agents=("a",), is_wide=False, protected=("a",), is_consent_needed=True
)
TIERS = st.sampled_from([tier.name for tier in Tier])


def all_lax(tier: str) -> ApprovalRules:
    """Return rules that ask as little as a file can ask."""
    return ApprovalRules(
        tiers={name.name: LAX for name in Tier}, action_tiers=dict.fromkeys(ACTIONS, tier)
    )


def test_tiers_are_the_defaults_where_nothing_is_said() -> None:
    """An empty file changes nothing, and every action is of tier MEDIUM."""
    assert tier_rules(DEFAULT_APPROVAL_RULES) == DEFAULT_TIERS
    assert need_of_release(ALICE, DEFAULT_APPROVAL_RULES).tier is Tier.MEDIUM
    assert need_of_activation(["x"], ALICE, DEFAULT_APPROVAL_RULES).tier is Tier.MEDIUM


def test_tier_takes_what_the_file_says_and_keeps_the_rest() -> None:
    """One key of one tier changes that key of that tier."""
    found = tier_rules(ApprovalRules(tiers={"LOW": TierSpec(expiry_s=60)}))

    assert found[Tier.LOW].expiry_s == 60
    assert found[Tier.LOW].grant_life_s == DEFAULT_TIERS[Tier.LOW].grant_life_s
    assert found[Tier.MEDIUM] == DEFAULT_TIERS[Tier.MEDIUM]


@given(
    specs=st.dictionaries(
        TIERS,
        st.builds(
            TierSpec,
            quorum=st.none() | st.integers(1, 5),
            is_passkey_needed=st.none() | st.booleans(),
            is_reason_needed=st.none() | st.booleans(),
        ),
    )
)
def test_higher_tier_never_asks_less(specs: dict[str, TierSpec]) -> None:
    """Whatever the file says, quorum, passkey and reason only rise with the tier."""
    found = tier_rules(ApprovalRules(tiers=specs))

    for lower, higher in zip(list(Tier), list(Tier)[1:], strict=False):
        assert found[higher].quorum >= found[lower].quorum
        assert found[higher].is_passkey_needed >= found[lower].is_passkey_needed
        assert found[higher].is_reason_needed >= found[lower].is_reason_needed


@pytest.mark.parametrize(
    ("caller", "tier", "quorum"),
    [
        (ALICE, "LOW", 1),
        (ALICE, "MEDIUM", 1),
        (ALICE, "HIGH", 2),
        (ALICE, "CRITICAL", 2),
        (LOCAL, "LOW", 1),
        (SOAR, "LOW", 2),
        (SOAR, "HIGH", 2),
    ],
)
def test_e02_no_file_lowers_what_loosening_takes(caller: Operator, tier: str, quorum: int) -> None:
    """The floor: one other human, two where automation asks, two from tier HIGH on."""
    lax = all_lax(tier)

    assert need_of_release(caller, lax).quorum == quorum
    assert need_of_activation(["x"], caller, lax).quorum == quorum


def test_e02_floor_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the floor, a file could let one human release at tier CRITICAL."""
    monkeypatch.setattr(rules, "_OTHERS_FROM_HIGH", 1)

    assert need_of_release(ALICE, all_lax("CRITICAL")).quorum == 1


@pytest.mark.parametrize(
    ("preview", "action", "other"),
    [(WIDE, "contain_wide", "contain_protected"), (PROTECTED, "contain_protected", "contain_wide")],
)
def test_containment_needs_what_its_rule_says(
    preview: ContainmentPreview, action: str, other: str
) -> None:
    """Each rule has its own tier."""
    found = need_of_containment(
        preview, ApprovalRules(action_tiers={action: "LOW", other: "CRITICAL"})
    )

    assert found is not None
    assert (found.tier, found.role, found.quorum) == (Tier.LOW, Role.APPROVE, 1)


def test_containment_that_needs_nobody_has_no_need() -> None:
    """Wide or not: what the caller may order alone is not held."""
    preview = ContainmentPreview(agents=("a",), is_wide=True, protected=("a",))

    assert need_of_containment(preview, all_lax("CRITICAL")) is None


@given(first=TIERS, second=TIERS)
def test_two_rules_ask_together_at_least_what_each_asks(first: str, second: str) -> None:
    """Tier, humans, passkey and reason of the stricter; the shorter times of both."""
    both = ContainmentPreview(
        agents=("a", "b"), is_wide=True, protected=("a",), is_consent_needed=True
    )
    known = ApprovalRules(action_tiers={"contain_wide": first, "contain_protected": second})

    together = need_of_containment(both, known)
    apart = [need_of_containment(preview, known) for preview in (WIDE, PROTECTED)]

    assert together is not None
    for one in apart:
        assert one is not None
        assert together.tier >= one.tier
        assert together.rule.quorum >= one.rule.quorum
        assert together.rule.expiry_s <= one.rule.expiry_s
        assert together.rule.grant_life_s <= one.rule.grant_life_s
        assert together.rule.is_passkey_needed >= one.rule.is_passkey_needed
        assert together.rule.is_reason_needed >= one.rule.is_reason_needed


def test_activation_names_its_first_reasons() -> None:
    """The approver reads why it is held, however long the list is."""
    why = need_of_activation(list("abcde"), ALICE, DEFAULT_APPROVAL_RULES).why

    assert why.endswith("the one in force: a; b; c; and 2 more.")


@pytest.mark.parametrize(
    ("caller", "is_allowed"),
    [
        (ALICE, True),
        (BOB, True),
        (CAROL, True),
        (LOCAL, True),
        (SOAR, False),
        (operator("x", Role.RELEASE, Role.APPROVE, Role.BREAK_GLASS), False),
    ],
)
def test_asking_for_a_bundle_takes_one_of_the_roles(caller: Operator, is_allowed: bool) -> None:
    """Author, approver and admin may ask; nobody else."""
    if is_allowed:
        require_activation_request(caller)
        return
    with pytest.raises(RefusedError):
        require_activation_request(caller)
