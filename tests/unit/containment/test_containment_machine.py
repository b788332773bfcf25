# SPDX-License-Identifier: Apache-2.0
"""What stands, and how a call stands in it."""

from __future__ import annotations

import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.containment import machine
from sidecar.containment.events import (
    Contained,
    Event,
    Expired,
    PolicyActivated,
    Released,
    RevocationRule,
    TokensRevoked,
    Unsealed,
    decode_event,
    encode_event,
)
from sidecar.containment.machine import ContainmentState, Verdict
from sidecar.errors import IntegrityError
from sidecar.model import (
    Effect,
    Level,
    ReasonCode,
    Subject,
    Target,
    TargetKind,
    ToolClass,
)
from tests.unit.containment.containment_kit import ALL, agent, contained, directive

AGENTS = st.sampled_from(["a1", "a2", "a3"])
TOOLS = st.sampled_from(["t1", "t2"])
SESSIONS = st.sampled_from(["s1", "s2"])
HOSTS = ["example.com", "api.example.com", "deep.api.example.com", "badexample.com", "10.0.0.1"]
PEOPLE = ["emma", "olaf"]
LABELS: st.SearchStrategy[dict[str, str]] = st.sampled_from(
    [{}, {"env": "x"}, {"env": "y"}, {"team": "x"}, {"env": "x", "team": "x"}]
)
TARGETS = st.one_of(
    st.builds(agent, AGENTS),
    st.builds(Target, kind=st.just(TargetKind.SESSION), agent=AGENTS, session=SESSIONS),
    st.builds(Target, kind=st.just(TargetKind.TOOL), tool=TOOLS),
    st.builds(Target, kind=st.just(TargetKind.TOOL_AT_AGENT), agent=AGENTS, tool=TOOLS),
    st.builds(
        Target,
        kind=st.just(TargetKind.DESTINATION),
        destination=st.sampled_from([*HOSTS, ".example.com", ".com", ".api.example.com"]),
    ),
    st.builds(Target, kind=st.just(TargetKind.PRINCIPAL), principal=st.sampled_from(PEOPLE)),
    st.builds(
        Target,
        kind=st.just(TargetKind.LABELS),
        labels=LABELS.filter(bool).map(lambda found: tuple(found.items())),
    ),
    st.just(ALL),
)
SUBJECTS = st.builds(
    Subject,
    agent=AGENTS,
    session=SESSIONS,
    tool=TOOLS,
    hosts=st.frozensets(st.sampled_from(HOSTS), max_size=2),
    principals=st.frozensets(st.sampled_from(PEOPLE), max_size=2),
    labels=LABELS,
)


def released(epoch: int, directive_epoch: int) -> Released:
    """Return a release."""
    return Released(
        epoch=epoch,
        directive_epoch=directive_epoch,
        releaser="bob",
        releaser_human_id="bob",
        reason="fine again",
        create_time_ns=1,
    )


def state_of(*events: Event) -> ContainmentState:
    """Return the state that *events* make."""
    return ContainmentState.empty().apply_all(events)


@given(targets=st.lists(st.tuples(TARGETS, st.sampled_from(Level)), max_size=12), subject=SUBJECTS)
@settings(max_examples=400, deadline=None)
def test_lookup_finds_exactly_what_matches(
    targets: list[tuple[Target, Level]], subject: Subject
) -> None:
    """The index gives what asking every directive would give, strictest first."""
    events = [contained(n, target, level) for n, (target, level) in enumerate(targets, start=1)]
    wanted = {event.epoch for event in events if event.directive.target.matches(subject)}

    verdict = state_of(*events).effective(subject)

    assert {held.epoch for held in (verdict.directives if verdict else ())} == wanted
    if verdict is not None:
        levels = [held.level for held in verdict.directives]
        assert len(levels) == len(wanted)
        assert levels == sorted(levels, reverse=True)
        assert verdict.level == max(levels)


def test_empty_state_holds_nobody() -> None:
    """Without a directive nobody is held."""
    assert ContainmentState.empty().effective(Subject(agent="banking")) is None


def test_newest_of_equal_directives_comes_first() -> None:
    """Of two equally strict directives the newer one is named; of throttles the slower one."""
    state = state_of(contained(1), contained(2))
    slow = directive(3, level=Level.THROTTLE, throttle_calls_per_minute=2)
    fast = directive(4, level=Level.THROTTLE, throttle_calls_per_minute=60)
    throttled = state_of(Contained(directive=slow), Contained(directive=fast))

    kill, throttle = (s.effective(Subject(agent="banking")) for s in (state, throttled))

    assert kill is not None
    assert kill.directive.epoch == 2
    assert throttle is not None
    assert throttle.directive == slow


def test_e03_release_of_the_first_leaves_the_second() -> None:
    """A release names one directive; a newer one on the same target stands."""
    state = state_of(contained(1), contained(2), released(3, 1))

    verdict = state.effective(Subject(agent="banking"))

    assert verdict is not None
    assert [held.epoch for held in verdict.directives] == [2]
    assert state.apply(released(4, 2)).effective(Subject(agent="banking")) is None


def test_release_of_what_does_not_stand_changes_nothing_but_the_epoch() -> None:
    """Ending something twice ends nothing else."""
    state = state_of(contained(1), released(2, 1), released(3, 1), released(4, 99))

    assert (state.epoch, state.directives) == (4, ())


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_event_that_is_not_newer_is_refused(epoch: int) -> None:
    """An event cannot come twice, nor late."""
    with pytest.raises(IntegrityError, match="came after"):
        state_of(contained(1), contained(2)).apply(released(epoch, 1))


def test_every_event_raises_the_epoch() -> None:
    """Revocations, activations and unsealing count as well."""
    rule = RevocationRule(agent="banking", author="a", reason="r", epoch=1, create_time_ns=1)
    state = state_of(
        TokensRevoked(rule=rule),
        PolicyActivated(epoch=2, digest="d1", author="a", create_time_ns=1),
        Unsealed(epoch=3, author="a", author_human_id="a", reason="r", create_time_ns=1),
        contained(4),
        Expired(epoch=5, directive_epoch=4, create_time_ns=1),
    )

    assert (state.epoch, state.policy_digest, state.directives) == (5, "d1", ())


def test_global_level_is_that_of_the_strictest_directive_on_everything() -> None:
    """Directives on less than everything do not raise it."""
    state = state_of(contained(1))
    assert state.global_level == 0

    state = state.apply_all([contained(2, ALL, Level.OBSERVE), contained(3, ALL, Level.FREEZE)])
    assert state.global_level == Level.FREEZE
    assert state.apply(released(4, 3)).global_level == Level.OBSERVE


# -- whom it holds ------------------------------------------------------------------------------


def test_e12_standing_order_holds_agents_to_come() -> None:
    """Directives on labels, people, tools and everything hold an agent nobody has seen before."""
    newcomer = Subject(
        agent="never-seen", tool="t1", principals=frozenset({"emma"}), labels={"env": "prod"}
    )
    for target in (
        Target(kind=TargetKind.LABELS, labels=(("env", "prod"),)),
        Target(kind=TargetKind.PRINCIPAL, principal="emma"),
        Target(kind=TargetKind.TOOL, tool="t1"),
        agent("never-seen"),
        ALL,
    ):
        verdict = state_of(contained(1, target)).effective(newcomer)

        assert verdict is not None
        assert verdict.level is Level.KILL


@pytest.mark.parametrize(
    "alias",
    [
        Subject(agent="banking", session="a fresh session"),
        Subject(agent="banking", tool="another-tool"),
        Subject(agent="banking", principals=frozenset({"somebody-else"})),
        Subject(agent="banking", labels={"name": "renamed"}),
    ],
    ids=repr,
)
def test_e13_kill_holds_the_workload_whatever_it_calls_itself(alias: Subject) -> None:
    """A new session, tool, token or label does not revive an agent: its socket is its name."""
    verdict = state_of(contained(1, agent("banking"))).effective(alias)

    assert verdict is not None
    assert verdict.level is Level.KILL


def test_e13_aliases_negative_control() -> None:
    """A kill of one session alone is escaped by a fresh session: that is why agents are killed."""
    target = Target(kind=TargetKind.SESSION, agent="banking", session="old")

    assert state_of(contained(1, target)).effective(Subject(agent="banking", session="new")) is None


def test_for_agent_lists_what_holds_every_call() -> None:
    """Directives on parts of an agent's calls are not among those on all of them."""
    part = Target(kind=TargetKind.TOOL_AT_AGENT, agent="banking", tool="t1")
    people = Target(kind=TargetKind.PRINCIPAL, principal="emma")
    state = state_of(contained(1, part), contained(2), contained(3, people, Level.HOLD))

    held = state.for_agent("banking", principals=frozenset({"emma"}))

    assert [found.epoch for found in held] == [2, 3]
    assert state.for_agent("mail") == ()


# -- what it says -------------------------------------------------------------------------------


def verdict_of(*levels: Level) -> Verdict:
    """Return the verdict of directives of *levels* on one agent."""
    events = [contained(n, level=level) for n, level in enumerate(levels, start=1)]
    verdict = state_of(*events).effective(Subject(agent="banking"))
    assert verdict is not None
    return verdict


@pytest.mark.parametrize(
    ("level", "tool_class", "effect"),
    [
        (Level.OBSERVE, ToolClass.DESTRUCTIVE, Effect.ALLOW),
        (Level.THROTTLE, ToolClass.WRITE, Effect.ALLOW),
        (Level.HOLD, ToolClass.READ, Effect.HOLD),
        (Level.READ_ONLY, ToolClass.READ, Effect.ALLOW),
        (Level.READ_ONLY, ToolClass.WRITE, Effect.DENY),
        (Level.READ_ONLY, ToolClass.EXTERNAL, Effect.DENY),
        (Level.READ_ONLY, None, Effect.DENY),
        (Level.FREEZE, ToolClass.READ, Effect.DENY),
        (Level.KILL, ToolClass.READ, Effect.DENY),
    ],
)
def test_level_says_what_it_means(
    level: Level, tool_class: ToolClass | None, effect: Effect
) -> None:
    """Each level alone, on each class that matters."""
    assert verdict_of(level).judge(tool_class).effect is effect


@pytest.mark.parametrize(
    ("level", "code"),
    [
        (Level.OBSERVE, ReasonCode.OBSERVED),
        (Level.THROTTLE, ReasonCode.THROTTLED),
        (Level.HOLD, ReasonCode.CONTAINMENT_HOLD),
        (Level.READ_ONLY, ReasonCode.READ_ONLY),
        (Level.FREEZE, ReasonCode.FROZEN),
        (Level.KILL, ReasonCode.KILLED),
    ],
)
def test_reason_names_the_directive_and_not_the_authors_words(
    level: Level, code: ReasonCode
) -> None:
    """What the agent may read holds the directive's name and level, never why it was ordered."""
    reason = verdict_of(level).reason()

    assert reason.code is code
    assert reason.metadata == {
        "directive": "directives/1",
        "level": level.name,
        "target": reason.text.split(" holds ")[1].split(" at level ")[0],
    }
    assert "because" not in reason.text


def test_stricter_directive_never_lifts_a_milder_one() -> None:
    """READ_ONLY lets reads pass; a HOLD and a THROTTLE that stand beside it still hold them."""
    verdict = verdict_of(Level.THROTTLE, Level.HOLD, Level.READ_ONLY, Level.OBSERVE)

    judgement = verdict.judge(ToolClass.READ)

    assert verdict.level is Level.READ_ONLY
    assert judgement.effect is Effect.HOLD
    assert judgement.hold_reason == "because"
    assert [held.level for held in judgement.throttles] == [Level.THROTTLE]
    assert {reason.code for reason in judgement.reasons} == {
        ReasonCode.CONTAINMENT_HOLD,
        ReasonCode.OBSERVED,
    }


def test_stricter_directive_negative_control() -> None:
    """Whoever looks at the strictest directive alone lets the held read pass."""
    verdict = verdict_of(Level.HOLD, Level.READ_ONLY)
    strictest_alone = Verdict(directives=verdict.directives[:1])

    assert strictest_alone.judge(ToolClass.READ).effect is Effect.ALLOW
    assert verdict.judge(ToolClass.READ).effect is Effect.HOLD


def test_call_that_no_directive_matches_is_cheap() -> None:
    """A thousand directives on others cost a call next to nothing (under 1 µs on a quiet box)."""
    kinds = [
        lambda n: agent(f"other{n}"),
        lambda n: Target(kind=TargetKind.TOOL, tool=f"tool{n}"),
        lambda n: Target(kind=TargetKind.TOOL_AT_AGENT, agent="banking", tool=f"tool{n}"),
        lambda n: Target(kind=TargetKind.PRINCIPAL, principal=f"person{n}"),
    ]
    state = state_of(*(contained(n, kinds[n % 4](n)) for n in range(1, 1001)))
    subject = Subject(
        agent="banking", session="s", tool="t", principals=frozenset({"emma"}), labels={"env": "x"}
    )
    empty = ContainmentState.empty()

    full, none = (
        min(timeit.repeat(lambda s=s: s.effective(subject), number=5000, repeat=7)) / 5000
        for s in (state, empty)
    )

    assert state.effective(subject) is None
    assert full < 5e-6
    assert none < 2e-6


def test_lookup_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking at domains, a host below a contained domain slips through."""
    state = state_of(contained(1, Target(kind=TargetKind.DESTINATION, destination=".example.com")))
    subject = Subject(agent="a", hosts=frozenset({"api.example.com"}))
    assert state.effective(subject) is not None

    monkeypatch.setattr(machine, "_by_host", lambda *_: ())

    assert state.effective(subject) is None


# -- the machine --------------------------------------------------------------------------------


class ContainmentMachine(RuleBasedStateMachine):
    """E03: contain, release, expire and restart in any order against a model of open orders.

    The model is a dict of what was contained and not ended, which no clever code can get wrong.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = ContainmentState.empty()
        self.journal: list[Event] = []
        self.standing: dict[int, Contained] = {}

    def happen(self, event: Event) -> None:
        self.state = self.state.apply(event)
        self.journal.append(event)

    @property
    def next_epoch(self) -> int:
        return self.state.epoch + 1

    @rule(whom=TARGETS, level=st.sampled_from(Level))
    def contain(self, whom: Target, level: Level) -> None:
        event = contained(self.next_epoch, whom, level)
        self.happen(event)
        self.standing[event.epoch] = event

    @precondition(lambda self: self.standing)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        epoch = data.draw(st.sampled_from(sorted(self.standing)))
        self.happen(released(self.next_epoch, epoch))
        del self.standing[epoch]

    @precondition(lambda self: self.standing)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        epoch = data.draw(st.sampled_from(sorted(self.standing)))
        self.happen(Expired(epoch=self.next_epoch, directive_epoch=epoch, create_time_ns=1))
        del self.standing[epoch]

    @precondition(lambda self: self.journal)
    @rule(data=st.data())
    def release_what_has_ended(self, data: st.DataObject) -> None:
        ended = set(range(1, self.next_epoch)) - set(self.standing)
        if ended:
            epoch = data.draw(st.sampled_from(sorted(ended)))
            self.happen(released(self.next_epoch, epoch))

    @rule()
    def restart(self) -> None:
        records = [encode_event(event) for event in self.journal]
        self.state = ContainmentState.empty().apply_all(map(decode_event, records))

    @rule()
    def compact(self) -> None:
        self.journal = [
            event
            for event in self.journal
            if event.epoch in self.standing or event.epoch == self.state.epoch
        ]

    @rule(subject=SUBJECTS)
    def no_allow_while_contained(self, subject: Subject) -> None:
        held = [
            event.directive
            for event in self.standing.values()
            if event.directive.target.matches(subject)
        ]
        verdict = self.state.effective(subject)
        assert (verdict is None) is (not held)
        if verdict is not None:
            assert verdict.level == max(found.level for found in held)

    @invariant()
    def state_is_the_model(self) -> None:
        assert dict(self.state.contained) == self.standing


ContainmentMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestE03ContainmentMachine = ContainmentMachine.TestCase
