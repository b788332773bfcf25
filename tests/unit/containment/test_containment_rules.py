# SPDX-License-Identifier: Apache-2.0
"""Who may contain and release, and how far one hand reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.containment import rules
from sidecar.containment.events import Contained
from sidecar.containment.rules import (
    BlastLimit,
    FleetAgent,
    covered_agents,
    is_wide,
    require_contain,
    require_release,
    require_revoke,
    require_unseal,
)
from sidecar.errors import ErrorReason, RefusedError
from sidecar.model import Operator, OperatorKind, Role, Target, TargetKind
from tests.unit.containment.containment_kit import (
    ALICE,
    ALL,
    BOB,
    ROOT,
    SOAR,
    agent,
    contained,
    directive,
    operator,
)

BY_ALICE = contained(1)
BY_SOAR = Contained(directive=directive(1, author="soar"), author_kind=OperatorKind.AUTOMATION)
BY_NOBODY = Contained(directive=directive(1, author=""))
BY_UNKNOWN_HUMAN = replace(BY_ALICE, author_human_id="")
FLEET = [
    FleetAgent(id=f"a{n}", labels={"env": "prod" if n < 3 else "test"}, tools=frozenset({"t"}))
    for n in range(1, 6)
]
LIMIT = BlastLimit()


@pytest.mark.parametrize(
    ("event", "caller", "reason"),
    [
        # an agent is no operator; whoever calls without roles may nothing
        (BY_ALICE, operator("banking", kind=OperatorKind.AUTOMATION), "PERMISSION_MISSING"),
        # automation, even with the role
        (
            BY_ALICE,
            operator("soar", Role.RELEASE, kind=OperatorKind.AUTOMATION),
            "PERMISSION_MISSING",
        ),
        (
            BY_ALICE,
            operator("bot", Role.RELEASE, kind=OperatorKind.AUTOMATION, human_id="bob"),
            "PERMISSION_MISSING",
        ),
        # the one who ordered it, also under another name, spelling or device
        (BY_ALICE, ALICE, "SECOND_HUMAN_NEEDED"),
        (BY_ALICE, operator("a.smith", Role.RELEASE, human_id="alice"), "SECOND_HUMAN_NEEDED"),
        (BY_ALICE, operator("x", Role.RELEASE, human_id="Alice "), "SECOND_HUMAN_NEEDED"),
        (BY_ALICE, operator("x", Role.RELEASE, human_id="ａlice"), "SECOND_HUMAN_NEEDED"),
        (
            BY_ALICE,
            operator("alice", Role.RELEASE, Role.BREAK_GLASS, Role.ADMIN),
            "SECOND_HUMAN_NEEDED",
        ),
        # a human without the role, or whom nobody can tell from others
        (BY_ALICE, operator("bob", Role.CONTAIN), "PERMISSION_MISSING"),
        (BY_ALICE, operator("bob", Role.ADMIN, Role.BREAK_GLASS), "PERMISSION_MISSING"),
        (BY_ALICE, operator("bob", Role.RELEASE, human_id=""), "PERMISSION_MISSING"),
        (BY_ALICE, operator("bob", Role.RELEASE, human_id=" "), "PERMISSION_MISSING"),
        # an author that nobody knows
        (BY_NOBODY, BOB, "SECOND_HUMAN_NEEDED"),
        (BY_UNKNOWN_HUMAN, BOB, "SECOND_HUMAN_NEEDED"),
        # automation that acts for a person is that person
        (replace(BY_SOAR, author_human_id="bob"), BOB, "SECOND_HUMAN_NEEDED"),
        # a second human
        (BY_ALICE, BOB, None),
        (BY_SOAR, BOB, None),
        (BY_SOAR, ALICE, None),
        (BY_ALICE, ROOT, None),
        (BY_NOBODY, ROOT, None),
    ],
)
def test_e02_release_needs_a_second_human_with_the_role(
    event: Contained, caller: Operator, reason: str | None
) -> None:
    """The table of who may release what."""
    if reason is None:
        require_release(event, caller)
        return

    with pytest.raises(RefusedError) as caught:
        require_release(event, caller)

    assert caught.value.reason is ErrorReason(reason)
    assert caught.value.hint


def test_e02_second_human_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison of humans, the author releases alone."""
    monkeypatch.setattr(rules, "_is_same_human", lambda *_: False)

    require_release(BY_ALICE, ALICE)


@pytest.mark.parametrize(
    ("caller", "is_allowed"),
    [
        (ALICE, True),
        (SOAR, True),
        (ROOT, True),
        (operator("x", Role.RELEASE, Role.ADMIN, Role.APPROVE), False),
        (operator("banking", kind=OperatorKind.AUTOMATION), False),
    ],
)
def test_e02_one_operator_with_the_role_tightens(caller: Operator, is_allowed: bool) -> None:
    """Containing and revoking take one, human or not; but not just anybody."""
    for check in (
        lambda: require_contain(agent("a1"), caller, FLEET, LIMIT),
        lambda: require_revoke(caller, is_everything=False),
    ):
        if is_allowed:
            check()
            continue
        with pytest.raises(RefusedError) as caught:
            check()
        assert caught.value.reason is ErrorReason.PERMISSION_MISSING


@pytest.mark.parametrize(
    ("target", "agents", "wide"),
    [
        (ALL, ("a1", "a2", "a3", "a4", "a5"), True),
        (agent("a1"), ("a1",), False),
        (agent("unknown"), ("unknown",), False),
        (Target(kind=TargetKind.SESSION, agent="a1", session="s"), ("a1",), False),
        (Target(kind=TargetKind.TOOL_AT_AGENT, agent="a1", tool="t"), ("a1",), False),
        (Target(kind=TargetKind.LABELS, labels=(("env", "prod"),)), ("a1", "a2"), False),
        (Target(kind=TargetKind.LABELS, labels=(("env", "test"),)), ("a3", "a4", "a5"), True),
        (Target(kind=TargetKind.TOOL, tool="t"), ("a1", "a2", "a3", "a4", "a5"), True),
        (Target(kind=TargetKind.TOOL, tool="unused"), (), False),
        # nobody knows where they connect to, so everybody is reached
        (
            Target(kind=TargetKind.DESTINATION, destination="x.com"),
            ("a1", "a2", "a3", "a4", "a5"),
            True,
        ),
        (Target(kind=TargetKind.PRINCIPAL, principal="emma"), (), False),
    ],
    ids=lambda value: value.describe() if isinstance(value, Target) else "",
)
def test_wide_blast_is_recognised(target: Target, agents: tuple[str, ...], wide: bool) -> None:
    """What a directive reaches, and whether that is more than half of the fleet."""
    assert covered_agents(target, FLEET) == agents
    assert is_wide(target, FLEET, LIMIT) is wide
    if not wide:
        require_contain(target, SOAR, FLEET, LIMIT)
        return
    with pytest.raises(RefusedError) as caught:
        require_contain(target, SOAR, FLEET, LIMIT)
    assert caught.value.reason is ErrorReason.WIDE_BLAST
    require_contain(target, ROOT, FLEET, LIMIT)


def test_wide_blast_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the limit, automation contains everything."""
    monkeypatch.setattr(rules, "is_wide", lambda *_: False)

    require_contain(ALL, SOAR, FLEET, LIMIT)


def test_small_fleet_has_no_wide_directive_but_everything() -> None:
    """With three agents, two of them are not much of a fleet."""
    target = Target(kind=TargetKind.LABELS, labels=(("env", "prod"),))

    require_contain(target, SOAR, FLEET[:3], LIMIT)
    with pytest.raises(RefusedError):
        require_contain(ALL, SOAR, [], LIMIT)


@pytest.mark.parametrize(("size", "wide"), [(3, False), (4, True), (5, True)])
def test_wide_begins_with_four_known_agents(size: int, wide: bool) -> None:
    """With exactly as many agents as the limit names, the share counts."""
    fleet = [replace(one, labels={"env": "prod"}) for one in FLEET[:size]]

    assert is_wide(Target(kind=TargetKind.LABELS, labels=(("env", "prod"),)), fleet, LIMIT) is wide


def test_exactly_the_share_is_not_wide() -> None:
    """Half of the fleet is what one hand may reach; one agent more is wide."""
    target = Target(kind=TargetKind.LABELS, labels=(("env", "prod"),))

    assert not is_wide(target, FLEET[:4], LIMIT)
    assert is_wide(target, [*FLEET[:4], replace(FLEET[0], id="a9")], LIMIT)


def test_hosts_that_are_known_count() -> None:
    """Agents that are known to talk elsewhere are not reached by a destination."""
    fleet = [replace(one, hosts=frozenset({f"{one.id}.example.com"})) for one in FLEET]
    target = Target(kind=TargetKind.DESTINATION, destination="a1.example.com")

    assert covered_agents(target, fleet) == ("a1",)
    assert covered_agents(replace(target, destination=".example.com"), fleet) == tuple(
        one.id for one in FLEET
    )


def test_e12_revoking_every_token_needs_break_glass() -> None:
    """A revocation that names nobody hits everybody."""
    with pytest.raises(RefusedError) as caught:
        require_revoke(SOAR, is_everything=True)

    assert caught.value.reason is ErrorReason.WIDE_BLAST
    require_revoke(ROOT, is_everything=True)


@pytest.mark.parametrize(
    ("caller", "is_allowed"),
    [
        (ROOT, True),
        (replace(ROOT, is_local=False), False),
        (replace(ROOT, roles=frozenset({Role.RELEASE})), False),
        (replace(ROOT, roles=frozenset({Role.BREAK_GLASS})), False),
        (replace(ROOT, kind=OperatorKind.AUTOMATION), False),
    ],
)
def test_unsealing_takes_a_human_at_the_host(caller: Operator, is_allowed: bool) -> None:
    """After a loss of state only somebody at the host itself opens the gates again."""
    if is_allowed:
        require_unseal(caller)
        return
    with pytest.raises(RefusedError):
        require_unseal(caller)
