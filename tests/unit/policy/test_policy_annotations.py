# SPDX-License-Identifier: Apache-2.0
"""Annotations are a closed set; an allow-all policy must say so (K03)."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.documents import DocumentErrors
from sidecar.policy import policies as policies_module
from sidecar.policy.bundle import load_bundle_from_files
from sidecar.policy.policies import HoldObligation, strictest

PING = 'permit(principal, action == Action::"ping", resource);'


def messages(contents: dict[str, bytes]) -> str:
    with pytest.raises(DocumentErrors) as caught:
        load_bundle_from_files(contents)
    return "\n".join(str(problem) for problem in caught.value.all)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (PING, "policies/main.cedar:1: the policy has no @id"),
        (f'@id("") {PING}', "the policy has no @id"),
        (f'@id("a b") {PING}', '"a b" is no id'),
        (f'@id("a") {PING}\n@id("a") {PING}', 'main.cedar:2: the id "a" is used at policies/main'),
        (f'@id("a")\n@hodl("x") {PING}', ':2: unknown annotation @hodl (did you mean "hold"?)'),
        (f'@id("a") @Hold("x") {PING}', "unknown annotation @Hold"),
        (f'@id("a") @tier("HIGH") {PING}', "@tier means nothing without @hold"),
        (f'@id("a") @hold {PING}', "@hold needs the sentence"),
        (f'@id("a") @hold(" ") {PING}', "@hold needs the sentence"),
        (f'@id("a") @hold("x") @tier("high") {PING}', 'did you mean "HIGH"'),
        (f'@id("a") @hold("x") @quorum("0") {PING}', "not a number from 1 to 10"),
        (f'@id("a") @hold("x") @quorum("01") {PING}', "not a number from 1 to 10"),
        (f'@id("a") @hold("x") @quorum("²") {PING}', "not a number from 1 to 10"),
        (f'@id("a") @hold("x") @quorum("11") {PING}', "not a number from 1 to 10"),
        (f'@id("a") @hold("x") @expiry("30") {PING}', "is not a duration"),
        (f'@id("a") @hold("x") @expiry("1s") {PING}', "outside 30s to 24h"),
        (f'@id("a") @hold("x") @expiry("2d") {PING}', "outside 30s to 24h"),
        (f'@id("a") @hold("x") @approver_role("aprove") {PING}', 'did you mean "approve"'),
        (f'@id("a") @hold("x\\ny") {PING}', "one line of at most 300"),
        (f'@id("a") @description("{"x" * 301}") {PING}', "one line of at most 300"),
        (f'@id("a") @hold("x") {PING.replace("permit", "forbid")}', "@hold on a forbid"),
    ],
)  # fmt: skip
def test_bad_annotations_are_refused(policy: str, words: str, files: Any) -> None:
    """A wrong, misspelt or misplaced annotation is refused with its line."""
    assert words in messages(files(policy))


def test_a_misspelt_hold_negative_control(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If unknown annotations passed, a misspelt @hold would allow what a human should decide."""
    monkeypatch.setattr(policies_module, "_ANNOTATIONS", (*policies_module._ANNOTATIONS, "hodl"))

    verdict = engine(f'@id("a") @hodl("ask first") {PING}').decide(
        agent="banking", session="s", tool="ping", arguments={}, destination=None
    )

    assert verdict.effect == "ALLOW"


def test_obligations_are_read(bundle: Any) -> None:
    """Defaults and stated parts of @hold end up in the policy."""
    loaded = bundle(
        f'@id("a") @hold("why") {PING}\n'
        '@id("b") @hold("why") @tier("CRITICAL") @approver_role("admin") @quorum("2") '
        f'@expiry("1h") {PING}\n@id("c") @shadow("") @description("d") {PING}\n@id("d") @shadow '
        f"{PING}"
    )

    first, second, third, fourth = loaded.policies
    assert first.hold == HoldObligation(
        reason="why", tier="MEDIUM", approver_role="approve", quorum=1, expiry_s=1800
    )
    assert second.hold == HoldObligation(
        reason="why", tier="CRITICAL", approver_role="admin", quorum=2, expiry_s=3600
    )
    assert (third.is_shadow, third.description, third.hold) == (True, "d", None)
    assert (fourth.is_shadow, first.is_shadow) == (True, False)


def test_the_strictest_obligation_satisfies_all() -> None:
    """Highest tier, most votes, least time."""

    def hold(tier: str, quorum: int, expiry_s: int, role: str = "approve") -> HoldObligation:
        return HoldObligation(
            reason=tier, tier=tier, approver_role=role, quorum=quorum, expiry_s=expiry_s
        )

    found = strictest([hold("LOW", 3, 600), hold("HIGH", 1, 900, "admin"), hold("HIGH", 2, 300)])

    assert found == HoldObligation(
        reason="HIGH", tier="HIGH", approver_role="admin", quorum=3, expiry_s=300
    )


@pytest.mark.parametrize(
    "policy",
    [
        "permit(principal, action, resource);",
        "permit(principal is Agent, action, resource is Tool);",
        "permit(principal, action, resource) when { true };",
        "permit(principal, action, resource) unless { false };",
        "permit(principal, action, resource) when { 1 < 2 } unless { [1].contains(2) };",
        '@hold("ask") permit(principal, action, resource);',
        "@shadow permit(principal, action, resource);",
        "@dangerous permit(principal, action, resource);",
        '@dangerous("") permit(principal, action, resource);',
    ],
)
def test_k03_allow_all_needs_a_reason(policy: str, files: Any) -> None:
    """A permit of everything to everybody is refused unless @dangerous says why."""
    assert "permits every call of every tool to every agent" in messages(
        files(f'@id("a") {policy}')
    )


@pytest.mark.parametrize(
    "policy",
    [
        '@dangerous("sandbox without data") permit(principal, action, resource);',
        'permit(principal == Agent::"banking", action, resource);',
        'permit(principal in Group::"staff", action, resource);',
        'permit(principal is Agent in Group::"staff", action, resource);',
        'permit(principal, action == Action::"ping", resource);',
        'permit(principal, action in [Action::"ping", Action::"fetch"], resource);',
        'permit(principal, action, resource == Tool::"ping");',
        'permit(principal, action, resource) when { resource.class == "read" };',
        "forbid(principal, action, resource);",
    ],
)
def test_k03_anything_narrower_needs_none(policy: str, bundle: Any) -> None:
    """A restricted permit, a forbid, and a permit that says why are fine."""
    assert bundle(f'@id("a") {policy}').policies[0].id == "a"


def test_k03_allow_all_negative_control(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule the allow-all policy allows."""
    monkeypatch.setattr(policies_module, "is_unconditional", lambda tree: False)

    verdict = engine('@id("a") permit(principal, action, resource);').decide(
        agent="intern", session="s", tool="ping", arguments={}, destination=None
    )

    assert verdict.effect == "ALLOW"


def test_scopes_say_which_tools_a_policy_can_reach(bundle: Any) -> None:
    """Action and resource together decide which slices a policy belongs to."""
    loaded = bundle(
        '@id("a") forbid(principal, action, resource);'
        '@id("b") forbid(principal, action in [Action::"ping", Action::"fetch"], '
        'resource == Tool::"ping");'
        '@id("c") forbid(principal in Agent::"banking", action == Action::"ping", '
        'resource == Tool::"fetch");'
        '@id("d") forbid(principal is Agent in Group::"staff", action in Action::"ping", resource '
        'is Tool in Tool::"ping");'
    )

    scopes = [policy.scope for policy in loaded.policies]
    assert [scope.tools for scope in scopes] == [
        None, frozenset({"ping"}), frozenset(), frozenset({"ping"}),
    ]  # fmt: skip
    assert [scope.agent for scope in scopes] == [None, None, "banking", None]
    assert [scope.group for scope in scopes] == [None, None, None, "staff"]
