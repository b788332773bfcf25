# SPDX-License-Identifier: Apache-2.0
"""The containment machine: what stands, and how a call stands in it.

Laws:

1. The state is made of events alone, in the order of their epochs; the same events make the same
   state. No clock decides here: a directive ends by an event or not at all.
2. A directive holds until a ``Released`` or ``Expired`` names *its* epoch. Another directive on the
   same target stands on its own: a release never ends a newer containment.
3. The strictest matching directive comes first; of equal ones the newest. The others still hold:
   ``Verdict.judge`` asks them all, so a READ_ONLY never lifts a HOLD or a THROTTLE.
4. Directives match what a call *is* (agent id from the socket, tool, session, hosts, the humans
   behind it, labels of the bundle), known or not: a standing order holds agents to come.
5. Looking a call up costs no more the more directives stand that do not match it.

That the latch is sealed, or holds a level of its own, is not in the events; whoever decides about a
call looks at ``LatchState`` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, assert_never

from sidecar.containment.events import (
    Contained,
    Event,
    Expired,
    PolicyActivated,
    Released,
    TokensRevoked,
    Unsealed,
)
from sidecar.errors import IntegrityError
from sidecar.model import (
    Directive,
    Effect,
    Level,
    Reason,
    ReasonCode,
    Subject,
    Target,
    TargetKind,
    ToolClass,
)

__all__ = ["ContainmentState", "Judgement", "Verdict"]

_CODES: Final = {
    Level.OBSERVE: ReasonCode.OBSERVED,
    Level.THROTTLE: ReasonCode.THROTTLED,
    Level.HOLD: ReasonCode.CONTAINMENT_HOLD,
    Level.READ_ONLY: ReasonCode.READ_ONLY,
    Level.FREEZE: ReasonCode.FROZEN,
    Level.KILL: ReasonCode.KILLED,
}
_EVERYTHING: Final = ("all",)
_NO_LABELS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What containment alone says about a call: ALLOW means that it does not object.

    Attributes:
        effect: DENY, HOLD (a human must decide) or ALLOW.
        reasons: Why; also names a directive that only observes.
        throttles: THROTTLE directives whose rate the call must keep.
        hold_reason: The author's words, for the human who decides.
    """

    effect: Effect
    reasons: tuple[Reason, ...] = ()
    throttles: tuple[Directive, ...] = ()
    hold_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The directives that hold one call, strictest first; at least one."""

    directives: tuple[Directive, ...]

    @property
    def directive(self) -> Directive:
        """The strictest."""
        return self.directives[0]

    @property
    def level(self) -> Level:
        """The strictest level."""
        return self.directives[0].level

    def reason(self) -> Reason:
        """Return the strictest directive as a reason that is safe to show to the agent."""
        return _reason(self.directive)

    def judge(self, tool_class: ToolClass | None) -> Judgement:
        """Return what all these directives say to a call of *tool_class* (law 3).

        A tool of no known class is not a reading one.
        """
        held: list[Directive] = []
        throttles: list[Directive] = []
        observers: list[Directive] = []
        for directive in self.directives:
            match directive.level:
                case Level.KILL | Level.FREEZE:
                    return Judgement(effect=Effect.DENY, reasons=(_reason(directive),))
                case Level.READ_ONLY:
                    if tool_class is not ToolClass.READ:
                        return Judgement(effect=Effect.DENY, reasons=(_reason(directive),))
                case Level.HOLD:
                    held.append(directive)
                case Level.THROTTLE:
                    throttles.append(directive)
                case Level.OBSERVE:
                    observers.append(directive)
                case _:
                    assert_never(directive.level)
        return Judgement(
            effect=Effect.HOLD if held else Effect.ALLOW,
            reasons=tuple(map(_reason, (*held, *observers))),
            throttles=tuple(throttles),
            hold_reason=held[0].reason if held else "",
        )


_Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Directives by what a call would have to be (law 5); each list strictest first."""

    table: Mapping[_Key, tuple[Directive, ...]]
    kinds: frozenset[str]

    @classmethod
    def of(cls, contained: Iterable[Contained]) -> _Index:
        table: dict[_Key, list[Directive]] = {}
        for event in contained:
            table.setdefault(_key(event.directive.target), []).append(event.directive)
        return cls(
            table={key: _strictest_first(found) for key, found in table.items()},
            kinds=frozenset(key[0] for key in table),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentState:
    """What stands after ``epoch``. Immutable; ``apply`` returns the next one."""

    epoch: int = 0
    contained: Mapping[int, Contained] = field(default_factory=dict)
    policy_digest: str = ""
    _memo: dict[str, _Index] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def empty(cls) -> ContainmentState:
        """Return the state before the first event."""
        return cls()

    @property
    def directives(self) -> tuple[Directive, ...]:
        """The directives that stand, oldest first."""
        return tuple(event.directive for event in self.contained.values())

    @property
    def global_level(self) -> int:
        """The highest level of the directives that hold everything; 0 if none does."""
        # Not by the index: control asks at every event, and would make it for that alone.
        return max(
            (
                event.directive.level
                for event in self.contained.values()
                if event.directive.target.kind is TargetKind.ALL
            ),
            default=0,
        )

    def apply(self, event: Event) -> ContainmentState:
        """Return the state after *event*.

        Raises:
            IntegrityError: The event is not newer than the state (law 1).
        """
        return self.apply_all((event,))

    def apply_all(self, events: Iterable[Event]) -> ContainmentState:
        """Return the state after all *events*, in order.

        Raises:
            IntegrityError: Their epochs do not rise above the state's (law 1).
        """
        epoch, contained, digest = self.epoch, dict(self.contained), self.policy_digest
        for event in events:
            if event.epoch <= epoch:
                raise IntegrityError(f"an event of epoch {event.epoch} came after epoch {epoch}")
            epoch = event.epoch
            match event:
                case Contained():
                    contained[epoch] = event
                case Released() | Expired():
                    contained.pop(event.directive_epoch, None)  # law 2
                case PolicyActivated():
                    digest = event.digest
                case TokensRevoked() | Unsealed():
                    pass
                case _:
                    assert_never(event)
        return ContainmentState(epoch=epoch, contained=contained, policy_digest=digest)

    def effective(self, subject: Subject) -> Verdict | None:
        """Return the directives that hold a call of *subject*; None if none does."""
        index = self._index
        kinds = index.kinds
        if not kinds:
            return None
        table, agent, tool = index.table, subject.agent, subject.tool
        found: tuple[Directive, ...] = table.get(_EVERYTHING, ())
        if "agent" in kinds:
            found += table.get(("agent", agent), ())
        if "tool" in kinds:
            found += table.get(("tool", tool), ())
        if "session" in kinds:
            found += table.get(("session", agent, subject.session), ())
        if "tool_at_agent" in kinds:
            found += table.get(("tool_at_agent", agent, tool), ())
        if "principal" in kinds:
            for principal in subject.principals:
                found += table.get(("principal", principal), ())
        if "labels" in kinds:
            for key, value in subject.labels.items():
                for directive in table.get(("labels", key, value), ()):
                    if directive.target.matches(subject):
                        found += (directive,)
        if subject.hosts and ("host" in kinds or "domain" in kinds):
            found += _by_host(table, subject.hosts)
        if not found:
            return None
        return Verdict(directives=found if len(found) == 1 else _strictest_first(found))

    def for_agent(
        self,
        agent: str,
        *,
        labels: Mapping[str, str] = _NO_LABELS,
        principals: frozenset[str] = frozenset(),
    ) -> tuple[Directive, ...]:
        """Return the directives that hold *every* call of an agent, strictest first."""
        subject = Subject(agent=agent, labels=labels, principals=principals)
        verdict = self.effective(subject)
        return verdict.directives if verdict is not None else ()

    @property
    def _index(self) -> _Index:
        index = self._memo.get("index")
        if index is None:  # made once, by the first who asks: replaying makes many states
            index = self._memo["index"] = _Index.of(self.contained.values())
        return index


def _key(target: Target) -> _Key:
    match target.kind:
        case TargetKind.AGENT:
            return ("agent", target.agent)
        case TargetKind.SESSION:
            return ("session", target.agent, target.session)
        case TargetKind.TOOL:
            return ("tool", target.tool)
        case TargetKind.TOOL_AT_AGENT:
            return ("tool_at_agent", target.agent, target.tool)
        case TargetKind.DESTINATION:
            if target.destination.startswith("."):
                return ("domain", target.destination[1:])
            return ("host", target.destination)
        case TargetKind.PRINCIPAL:
            return ("principal", target.principal)
        case TargetKind.LABELS:
            return ("labels", *target.labels[0])  # a candidate; ``effective`` compares the rest
        case TargetKind.ALL:
            return _EVERYTHING
        case _:
            assert_never(target.kind)


def _by_host(
    table: Mapping[_Key, tuple[Directive, ...]], hosts: frozenset[str]
) -> tuple[Directive, ...]:
    found: dict[int, Directive] = {}
    for host in hosts:
        hits = table.get(("host", host), ()) + table.get(("domain", host), ())
        rest = host
        while "." in rest:
            rest = rest.split(".", 1)[1]
            hits += table.get(("domain", rest), ())
        found.update((directive.epoch, directive) for directive in hits)
    return tuple(found.values())


def _strictest_first(directives: Iterable[Directive]) -> tuple[Directive, ...]:
    return tuple(
        sorted(
            directives,
            key=lambda held: (-held.level, _calls(held), -held.epoch),
        )
    )


def _calls(directive: Directive) -> int:
    """Order throttles by their rate; other levels have none."""
    return directive.throttle_calls_per_minute if directive.level is Level.THROTTLE else 0


def _reason(directive: Directive) -> Reason:
    return Reason(
        _CODES[directive.level],
        f"{directive.name} holds {directive.target.describe()} at level {directive.level.name}",
        {
            "directive": directive.name,
            "level": directive.level.name,
            "target": directive.target.describe(),
        },
    )
