# SPDX-License-Identifier: Apache-2.0
"""Control's containment state and the latch that carries it, always in step.

Laws:

1. An event is in the state if and only if it was published; if publishing failed for good (the latch
   is sealed), it is in the state alone, and every gate denies everything.
2. A directive that finds no room is published without the revocations that go with it; a FREEZE or
   KILL of everything, in the last resort, as a level in the slot alone, until there is room again:
   it cannot fail for lack of room. What ends a directive makes room, and needs none: in the
   last resort the directive is left out of the journal without a record of why.
3. A TTL is measured on the boot clock. The wall clock shows it and decides nothing. After a reboot,
   when nobody can say how long the host was off, it starts anew: it may end late, never early.
4. A directive that the level alone holds is, after a restart, one without an author; several are
   one, under the newest one's epoch and the strictest level.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from sidecar.clock import Clock
from sidecar.containment.events import (
    Contained,
    Event,
    Expired,
    Released,
    TokensRevoked,
    decode_event,
    encode_event,
)
from sidecar.containment.history import RequestNote
from sidecar.containment.ledger import Ledger
from sidecar.containment.machine import ContainmentState
from sidecar.errors import NotDurableError
from sidecar.latch.format import Record
from sidecar.latch.placing import JournalFullError
from sidecar.latch.writer import LatchWriter
from sidecar.model import Directive, Level, Target, TargetKind

__all__ = ["ContainmentJournal"]

_OPTIONAL_SHARE: Final = 0.5
"""Of a half, for what a compaction keeps though it need not."""
_LAST_RESORT: Final = 3


class ContainmentJournal:
    """The one place that changes what stands. Not thread-safe: belongs to the event loop.

    Raises:
        IntegrityError: The journal holds an event that this version does not know.
    """

    def __init__(self, *, writer: LatchWriter, clock: Clock, boot_id: str) -> None:
        self._writer = writer
        self._clock = clock
        self._boot_id = boot_id
        self.ledger = Ledger()
        self.state = ContainmentState.empty()
        self.recovered: tuple[Event, ...] = ()
        self._deadlines: dict[int, int] = {}
        self._unrecorded: set[int] = set()
        self._recover()

    @property
    def next_epoch(self) -> int:
        """The epoch that the next event must have."""
        return max(self._writer.epoch, self.state.epoch) + 1

    def publish(self, *events: Event, is_unsealing: bool = False) -> list[RequestNote]:
        """Let *events* stand and every gate see them; return the request ids they used.

        Raises:
            JournalFullError: No room; nothing happened.
            NotDurableError: The latch is sealed now; the events stand in memory alone (law 1).
        """
        state = self.state.apply_all(events)
        records = [encode_event(event) for event in events]
        # Law 2: if there is no room, first those that the level holds anyway may be left out, then
        # the record of an end.
        keeping: list[Callable[[], tuple[Record, ...]]] = [
            lambda: self._everything(state, records),
            lambda: self._everything(state, records, without=self._unrecorded),
        ]
        if all(isinstance(event, Released | Expired) for event in events):
            keeping.append(lambda: self._everything(state, (), without=self._unrecorded))
        try:
            for number, live in enumerate(keeping, start=1):
                try:
                    is_rewritten = self._writer.publish(
                        records,
                        level=state.global_level,
                        level_epoch=max(self._unrecorded & set(state.contained), default=0),
                        live=live,
                        is_compacting=number == _LAST_RESORT,
                        is_unsealing=is_unsealing,
                    )
                    break
                except JournalFullError:
                    if number == len(keeping):
                        raise
        except NotDurableError:
            self._accept(state, events, records)
            raise
        kept = live() if is_rewritten else ()
        notes = self._accept(state, events, records)
        self._unrecorded.intersection_update(state.contained)
        if is_rewritten:
            self.ledger.forget_but(kept, state)
            self._unrecorded.difference_update(record.epoch for record in kept)
        return notes

    def publish_containment(
        self, contained: Contained, revoked: Sequence[TokensRevoked]
    ) -> list[RequestNote]:
        """Let a directive and the revocations that go with it stand (law 2).

        Raises:
            JournalFullError: No room, and it is no FREEZE or KILL of everything; nothing happened.
            NotDurableError: The latch is sealed now; the directive stands in memory alone.
        """
        attempts: list[Callable[[], list[RequestNote]]] = [lambda: self.publish(contained)]
        if revoked:
            attempts.insert(0, lambda: self.publish(contained, *revoked))
        directive = contained.directive
        if directive.target.kind is TargetKind.ALL and directive.level >= Level.FREEZE:
            attempts.append(lambda: self._publish_level(contained))
        for attempt in attempts[:-1]:
            try:
                return attempt()
            except JournalFullError:
                continue
        return attempts[-1]()

    def restore(self, contained: Iterable[Contained]) -> None:
        """Let directives stand again that a lost latch had held, under their own epochs.

        Raises:
            JournalFullError: No room.
            NotDurableError: The latch is sealed for good.
        """
        events = sorted(contained, key=lambda event: event.epoch)
        missing = [event for event in events if event.epoch not in self.state.contained]
        if not missing:
            return
        everything = sorted((*self.state.contained.values(), *missing), key=lambda e: e.epoch)
        state = ContainmentState.empty().apply_all(everything)
        records = [encode_event(event) for event in everything]
        if state.epoch > self._writer.epoch:
            self._writer.publish_level(self._writer.level, epoch=state.epoch)
        self._writer.publish([], level=state.global_level, live=lambda: records, is_compacting=True)
        self._accept(state, everything, records)

    def due(self) -> tuple[Contained, ...]:
        """Return the directives whose TTL has passed (law 3)."""
        now = self._clock.boot_ns()
        return tuple(
            self.state.contained[epoch]
            for epoch, deadline in sorted(self._deadlines.items())
            if deadline <= now
        )

    # -- private --------------------------------------------------------------------------------

    def _publish_level(self, contained: Contained) -> list[RequestNote]:
        state = self.state.apply(contained)
        level = max(contained.directive.level, self._writer.level)
        self._writer.publish_level(level, epoch=contained.epoch)
        self._unrecorded.add(contained.epoch)
        return self._accept(state, [contained], [encode_event(contained)])

    def _accept(
        self, state: ContainmentState, events: Iterable[Event], records: Iterable[Record]
    ) -> list[RequestNote]:
        self.state = state
        notes = []
        for event, record in zip(events, records, strict=True):
            note = self.ledger.note(event, record)
            if note is not None:
                notes.append(note)
            if isinstance(event, Contained):
                self._arm(event)
            elif isinstance(event, Released | Expired):
                self._deadlines.pop(event.directive_epoch, None)
        return notes

    def _arm(self, event: Contained) -> None:
        if event.ttl_ns is None or event.deadline_boot_ns is None:
            return
        deadline = event.deadline_boot_ns
        if event.boot_id != self._boot_id:
            deadline = self._clock.boot_ns() + event.ttl_ns
        self._deadlines[event.epoch] = deadline

    def _everything(
        self,
        state: ContainmentState,
        records: Sequence[Record],
        *,
        without: Collection[int] = (),
    ) -> tuple[Record, ...]:
        """Return what a compaction keeps, in epoch order."""
        budget = round(self._writer.half_bytes * _OPTIONAL_SHARE)
        kept = self.ledger.live_records(state, budget=budget)
        merged = {record.epoch: record for record in (*kept, *records)}
        return tuple(merged[epoch] for epoch in sorted(merged) if epoch not in without)

    def _recover(self) -> None:
        records = self._writer.recovery.records
        events = [decode_event(record) for record in records]
        state = ContainmentState.empty().apply_all(events)
        orphan_epoch = self._writer.level_epoch
        if orphan_epoch and all(event.epoch != orphan_epoch for event in events):  # law 4
            orphan = Contained(
                directive=Directive(
                    epoch=orphan_epoch,
                    target=Target(kind=TargetKind.ALL),
                    level=Level(max(min(self._writer.level, Level.KILL), Level.OBSERVE)),
                    reason="The latch holds this level; its record found no room in the journal.",
                    author="",
                    create_time_ns=self._clock.wall_ns(),
                )
            )
            events = sorted((*events, orphan), key=lambda event: event.epoch)
            state = ContainmentState.empty().apply_all(events)
            self._unrecorded.add(orphan_epoch)
        self.recovered = tuple(events)
        self._accept(state, events, [encode_event(event) for event in events])
