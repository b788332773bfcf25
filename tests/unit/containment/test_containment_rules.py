# SPDX-License-Identifier: Apache-2.0
"""Who may contain and release, and how far one hand reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.containment import rules
from sidecar.containment.consent import Consent
from sidecar.containment.events import Contained
from sidecar.containment.rules import (
    BlastLimit,
    FleetAgent,
    covered_agents,
    is_wide,
    protected_agents,
    require_contain,
    require_release,
    require_release_request,
    require_revoke,
    require_unseal,
    weigh,
)
from sidecar.errors import ErrorReason, RefusedError
from sidecar.model import Level, Operator, OperatorKind, Role, Target, TargetKind
from tests.unit.containment.containment_kit import (
    ALICE,
    ALL,
    BOB,
    BY_CAROL,
    ROOT,
    SOAR,
    agent,
    agreed,
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
MISSING = ErrorReason.PERMISSION_MISSING
SECOND = ErrorReason.SECOND_HUMAN_NEEDED
BOB_CONTAINS = operator("bob", Role.CONTAIN)


BOT = operator("bot", Role.RELEASE, kind=OperatorKind.AUTOMATION)
BOT_OF_BOB = replace(BOT, human_id="bob")


@pytest.mark.parametrize(
    ("event", "caller", "consent", "reason"),
    [
        # an agent is no operator; whoever calls without the role may nothing, whoever agrees
        (BY_ALICE, operator("banking", kind=OperatorKind.AUTOMATION), BY_CAROL, MISSING),
        (BY_ALICE, operator("bob", Role.CONTAIN), BY_CAROL, MISSING),
        (BY_ALICE, operator("bob", Role.ADMIN, Role.BREAK_GLASS), BY_CAROL, MISSING),
        # a human whom nobody can tell from others
        (BY_ALICE, operator("bob", Role.RELEASE, human_id=""), BY_CAROL, MISSING),
        (BY_ALICE, operator("bob", Role.RELEASE, human_id=" "), BY_CAROL, MISSING),
        # one human alone: the one who ordered it, another one, one with every role
        (BY_ALICE, ALICE, None, SECOND),
        (BY_ALICE, BOB, None, SECOND),
        (BY_SOAR, BOB, None, SECOND),
        (BY_ALICE, ROOT, None, SECOND),
        (BY_ALICE, BOB, agreed(), SECOND),
        # the same human once more, under another name, spelling or device
        (BY_ALICE, BOB, agreed("bob"), SECOND),
        (BY_ALICE, BOB, agreed("Bob ", "ｂob", "bo\u200bb"), SECOND),
        (BY_ALICE, operator("b.jones", Role.RELEASE, human_id="bob"), agreed("bob"), SECOND),
        # nobody in particular
        (BY_ALICE, BOB, agreed(""), SECOND),
        (BY_ALICE, BOB, agreed(" "), SECOND),
        # consent that nobody could look up
        (BY_ALICE, BOB, Consent(approval="", humans=("carol",)), SECOND),
        # automation is no human: it takes two others; one that acts for a person is that person
        (BY_ALICE, BOT, None, SECOND),
        (BY_ALICE, BOT, agreed("carol"), SECOND),
        (BY_ALICE, BOT, agreed("carol", "Carol"), SECOND),
        (BY_ALICE, BOT_OF_BOB, agreed("bob", "carol"), SECOND),
        # an author that nobody knows
        (BY_NOBODY, BOB, BY_CAROL, SECOND),
        (BY_UNKNOWN_HUMAN, BOB, BY_CAROL, SECOND),
        # two humans, whoever of them ordered it
        (BY_ALICE, ALICE, agreed("bob"), None),
        (BY_ALICE, BOB, agreed("alice"), None),
        (BY_ALICE, BOB, BY_CAROL, None),
        (BY_SOAR, BOB, BY_CAROL, None),
        (BY_ALICE, BOB, agreed("bob", "carol"), None),
        (BY_ALICE, BOT, agreed("bob", "carol"), None),
        (BY_ALICE, BOT_OF_BOB, agreed("alice", "carol"), None),
        (BY_NOBODY, ROOT, BY_CAROL, None),
    ],
)
def test_e02_release_needs_two_humans_and_the_role(
    event: Contained, caller: Operator, consent: Consent | None, reason: ErrorReason | None
) -> None:
    """The table of who may release what."""
    if reason is None:
        require_release(event, caller, consent)
        require_release_request(event, caller)
        return

    with pytest.raises(RefusedError) as caught:
        require_release(event, caller, consent)

    assert caught.value.reason is reason
    assert caught.value.hint


@pytest.mark.parametrize(
    ("event", "caller", "is_allowed"),
    [
        (BY_ALICE, ALICE, True),
        (BY_ALICE, BOT, True),
        (BY_NOBODY, ROOT, True),
        (BY_NOBODY, BOB, False),
        (BY_ALICE, SOAR, False),
        (BY_ALICE, operator("bob", Role.RELEASE, human_id=" "), False),
    ],
)
def test_e02_asking_for_a_release_takes_the_role(
    event: Contained, caller: Operator, is_allowed: bool
) -> None:
    """Whom no consent would help is refused before anybody is asked."""
    if is_allowed:
        require_release_request(event, caller)
        return

    with pytest.raises(RefusedError):
        require_release_request(event, caller)


def test_e02_second_human_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison of humans, one human releases alone."""
    monkeypatch.setattr(rules, "others", lambda consent, caller: {*consent.humans, "x"})

    require_release(BY_ALICE, BOB, agreed("bob"))


def test_e02_two_humans_for_automation_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """If automation counted as a human, it and one human would release."""
    monkeypatch.setattr(rules, "humans_needed", lambda _caller: 1)

    require_release(BY_ALICE, BOT, BY_CAROL)


@pytest.mark.parametrize(
    ("consent", "is_allowed"),
    [
        (None, False),
        (agreed(), False),
        (agreed("bob"), False),
        (agreed("Bob "), False),
        (agreed("carol"), True),
    ],
)
def test_wide_blast_takes_another_human(consent: Consent | None, is_allowed: bool) -> None:
    """A wide directive stands with the consent of a human who is not the one who orders it."""
    if is_allowed:
        require_contain(ALL, BOB_CONTAINS, FLEET, LIMIT, consent=consent)
        require_contain(ALL, SOAR, FLEET, LIMIT, consent=consent)
        return

    with pytest.raises(RefusedError) as caught:
        require_contain(ALL, BOB_CONTAINS, FLEET, LIMIT, consent=consent)

    assert caught.value.reason is ErrorReason.WIDE_BLAST


PROTECTED = [replace(FLEET[0], is_protected=True), *FLEET[1:]]


@pytest.mark.parametrize(
    ("target", "protected"),
    [
        (agent("a1"), ("a1",)),
        (agent("a2"), ()),
        (Target(kind=TargetKind.SESSION, agent="a1", session="s"), ("a1",)),
        (Target(kind=TargetKind.TOOL_AT_AGENT, agent="a1", tool="t"), ("a1",)),
        (Target(kind=TargetKind.LABELS, labels=(("env", "prod"),)), ("a1",)),
        (Target(kind=TargetKind.LABELS, labels=(("env", "test"),)), ()),
        (Target(kind=TargetKind.TOOL, tool="t"), ("a1",)),
        (Target(kind=TargetKind.TOOL, tool="unused"), ()),
        (ALL, ("a1",)),
    ],
    ids=lambda value: value.describe() if isinstance(value, Target) else "",
)
def test_protected_agents_are_recognised(target: Target, protected: tuple[str, ...]) -> None:
    """What reaches a protected agent takes another human or break-glass; observing takes neither."""
    assert protected_agents(target, PROTECTED) == protected
    require_contain(target, ROOT, PROTECTED, LIMIT)
    require_contain(target, SOAR, PROTECTED, LIMIT, level=Level.OBSERVE)
    require_contain(target, SOAR, PROTECTED, LIMIT, consent=BY_CAROL)
    if not protected:
        return

    for level in set(Level) - {Level.OBSERVE}:
        with pytest.raises(RefusedError):
            require_contain(target, SOAR, PROTECTED, LIMIT, level=level)
        assert weigh(target, level, SOAR, PROTECTED, LIMIT)
        assert not weigh(target, level, ROOT, PROTECTED, LIMIT)


def test_protected_agent_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule, automation stops a protected agent alone."""
    monkeypatch.setattr(rules, "protected_agents", lambda *_: ())

    require_contain(agent("a1"), SOAR, PROTECTED, LIMIT)


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
