# SPDX-License-Identifier: Apache-2.0
"""What control remembers beside what stands: request ids, ended directives, revocations. No I/O.

Laws:

1. A request id belongs to the first order that used it. The same order again is that order; another
   one is a conflict. This outlives restarts: the ids are in the journal, then in the history.
2. A compaction keeps every standing directive, the policy in force, and every revocation that is
   not in its archive yet. What the archive and the history have is kept while there is room, newest
   first, because it saves a look into them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

from sidecar.containment.events import (
    Contained,
    Event,
    Expired,
    PolicyActivated,
    Released,
    RevocationRule,
    TokensRevoked,
    Unsealed,
)
from sidecar.containment.history import RequestNote
from sidecar.containment.machine import ContainmentState
from sidecar.errors import ConflictError
from sidecar.latch.format import Record, encoded_length

__all__ = ["Ledger"]

_MAX_REQUESTS: Final = 200_000


class Ledger:
    """Belongs to the one service that writes the latch."""

    def __init__(self) -> None:
        self._requests: OrderedDict[str, RequestNote] = OrderedDict()
        self._records: dict[int, Record] = {}
        self._revocations: dict[int, TokensRevoked] = {}
        self._unarchived: set[int] = set()
        self._ends: dict[int, Contained] = {}
        self._policy: int | None = None
        self._contained: dict[int, Contained] = {}

    # -- request ids (law 1) --------------------------------------------------------------------

    def find(self, request_id: str, fingerprint: str) -> int | None:
        """Return the epoch that this very request created; None if the id is new.

        Raises:
            ConflictError: The id was used for something else.
        """
        note = self._requests.get(request_id)
        if note is None:
            return None
        if note.fingerprint != fingerprint:
            raise ConflictError(
                "this request id was used before, for another order",
                hint="use a fresh request id for each order, and the same one only to retry it",
            )
        return note.epoch

    def remember_requests(self, notes: Iterable[RequestNote]) -> None:
        """Take up what an earlier run knew."""
        for note in notes:
            self._requests.setdefault(note.request_id, note)

    # -- events ---------------------------------------------------------------------------------

    def note(self, event: Event, record: Record) -> RequestNote | None:
        """Remember *event* and its *record*; return the request id that it used, if it used one."""
        self._records[event.epoch] = record
        match event:
            case Contained():
                self._contained[event.epoch] = event
                return self._use(
                    event.directive.request_id, event.directive.request_fingerprint, event.epoch
                )
            case Released():
                self._end(event)
                return self._use(event.request_id, event.request_fingerprint, event.epoch)
            case Expired():
                self._end(event)
                return None
            case TokensRevoked():
                self._revocations[event.epoch] = event
                self._unarchived.add(event.epoch)
                return self._use(event.request_id, event.request_fingerprint, event.epoch)
            case PolicyActivated():
                if self._policy is not None:
                    self._records.pop(self._policy, None)
                self._policy = event.epoch
                return None
            case Unsealed():
                return self._use(event.request_id, event.request_fingerprint, event.epoch)

    def ended_directive(self, end_epoch: int) -> Contained | None:
        """Return the directive that the event of *end_epoch* ended, if it is remembered."""
        return self._ends.get(end_epoch)

    # -- revocations ----------------------------------------------------------------------------

    @property
    def revocations(self) -> tuple[RevocationRule, ...]:
        """The rules in the journal, oldest first."""
        return tuple(event.rule for event in self._revocations.values())

    def revocation(self, epoch: int) -> RevocationRule | None:
        """Return the rule of *epoch*, if it is in the journal."""
        event = self._revocations.get(epoch)
        return event.rule if event is not None else None

    @property
    def unarchived(self) -> tuple[RevocationRule, ...]:
        """The rules that the archive is not known to have."""
        return tuple(self._revocations[epoch].rule for epoch in sorted(self._unarchived))

    @property
    def unarchived_count(self) -> int:
        """How many rules the archive is not known to have."""
        return len(self._unarchived)

    def mark_archived(self, epochs: Collection[int]) -> None:
        """Note that the archive has the rules of *epochs*."""
        self._unarchived.difference_update(epochs)

    # -- compaction (law 2) ---------------------------------------------------------------------

    def live_records(self, state: ContainmentState, *, budget: int) -> tuple[Record, ...]:
        """Return what a compaction keeps, in epoch order, and forget the rest.

        Args:
            state: What stands, the newest events included.
            budget: Bytes that may be filled with what need not be kept.
        """
        kept = {epoch for epoch in state.contained if epoch in self._records}
        kept |= self._unarchived
        if self._policy is not None:
            kept.add(self._policy)
        room = budget - sum(encoded_length(self._records[epoch]) for epoch in kept)
        for group in self._optional(kept):
            room -= sum(encoded_length(self._records[epoch]) for epoch in group)
            if room < 0:
                break
            kept.update(group)
        return tuple(self._records[epoch] for epoch in sorted(kept))

    def forget_but(self, records: Iterable[Record], state: ContainmentState) -> None:
        """Forget what a compaction did not keep and does not stand; request ids stay."""
        kept = {record.epoch for record in records} | set(state.contained)
        for table in (self._records, self._revocations, self._contained, self._ends):
            for epoch in [epoch for epoch in table if epoch not in kept]:
                del table[epoch]

    # -- private --------------------------------------------------------------------------------

    def _use(self, request_id: str, fingerprint: str, epoch: int) -> RequestNote | None:
        if not request_id:
            return None
        note = RequestNote(request_id=request_id, fingerprint=fingerprint, epoch=epoch)
        self._requests[request_id] = note
        while len(self._requests) > _MAX_REQUESTS:
            self._requests.popitem(last=False)
        return note

    def _end(self, event: Released | Expired) -> None:
        contained = self._contained.get(event.directive_epoch)
        if contained is not None:
            self._ends[event.epoch] = contained

    def _optional(self, kept: Collection[int]) -> Iterable[tuple[int, ...]]:
        """Yield what may be dropped, newest first; a directive and its end go together."""
        groups: list[tuple[int, ...]] = [
            (epoch,) for epoch in self._revocations if epoch not in self._unarchived
        ]
        groups += [
            (contained.epoch, end)
            for end, contained in self._ends.items()
            if contained.epoch in self._records and contained.epoch not in kept
        ]
        return sorted(groups, key=lambda group: -group[-1])
