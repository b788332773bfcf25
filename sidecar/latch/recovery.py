# SPDX-License-Identifier: Apache-2.0
"""Which slot counts, and whether its journal verifies. Shared by writer and reader; no I/O.

What the disk can hold after a crash follows from the writer's order (see ``writer``): at every
moment at least one slot and the journal below it were synced and have not been touched since.

Laws:

1. A slot of a newer format denies everything: nobody may act on, or overwrite, what he cannot read.
2. The valid slot with the highest sequence counts if its journal verifies to the last byte.
3. If it does not verify, the slot is PREPARED, and the other slot is valid and verifies, the other
   one counts: the power went before the newest events were durable, so nobody was told they were.
   Their epochs are burnt. A seal is never rolled back.
4. Everything else is a loss: two bad slots, slots of different installations, a COMMITTED slot
   whose journal does not verify. A loss is answered by denying everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sidecar.errors import IntegrityError
from sidecar.latch.format import (
    Phase,
    Record,
    Slot,
    SlotFault,
    decode_inline,
    decode_records,
    decode_slot,
    journal_seed,
)

__all__ = ["Loss", "Recovered", "read_journal", "recover", "valid_slots"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What stands: the slot, its records, and the highest epoch anybody can have seen."""

    slot: Slot
    records: tuple[Record, ...]
    highest_epoch: int
    highest_sequence: int
    is_rolled_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Why nothing stands any more, and what of it could still be read."""

    reason: str
    is_newer_format: bool = False
    slots: tuple[Slot, ...] = ()

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that a readable slot names."""
        return max((slot.epoch for slot in self.slots), default=0)


def valid_slots(pages: Sequence[bytes]) -> tuple[Slot, ...] | Loss:
    """Return the valid slots of the two *pages*, newest first; or why they cannot be used."""
    decoded = [decode_slot(page, index=index) for index, page in enumerate(pages)]
    if SlotFault.NEWER_FORMAT in decoded:  # law 1
        return Loss(reason="the latch was written by a newer version", is_newer_format=True)
    slots = tuple(
        sorted(
            (slot for slot in decoded if isinstance(slot, Slot)),
            key=lambda slot: slot.sequence,
            reverse=True,
        )
    )
    if not slots:
        return Loss(reason="neither slot of the latch is valid")
    if len({slot.install_id for slot in slots}) > 1:
        return Loss(reason="the latch's slots are of two installations", slots=slots)
    return slots


def recover(pages: Sequence[bytes], journal: bytes | memoryview) -> Recovered | Loss:
    """Return what the files hold, or why they hold nothing."""
    slots = valid_slots(pages)
    if isinstance(slots, Loss):
        return slots
    newest = slots[0]
    try:
        records = read_journal(newest, journal)
    except IntegrityError as exc:
        if newest.phase is Phase.PREPARED and len(slots) > 1:
            return _roll_back(slots, journal)
        return Loss(reason=exc.message, slots=slots)
    return Recovered(
        slot=newest,
        records=records,
        highest_epoch=max(slot.epoch for slot in slots),
        highest_sequence=newest.sequence,
    )


def read_journal(slot: Slot, journal: bytes | memoryview) -> tuple[Record, ...]:
    """Return all records below *slot*: its journal half, then those inline.

    Raises:
        IntegrityError: They are not what the slot was written for.
    """
    if len(journal) != 2 * slot.half_bytes:
        raise IntegrityError("the latch journal has another length than its slot says")
    start = slot.half * slot.half_bytes
    records, chain = decode_records(
        journal[start : start + slot.journal_length],
        generation=slot.generation,
        chain=journal_seed(slot.install_id, slot.generation),
    )
    if chain != slot.chain:
        raise IntegrityError("the latch journal does not end as its slot says")
    records += decode_inline(slot.inline)
    epochs = [record.epoch for record in records]
    if epochs != sorted(set(epochs)) or (epochs and epochs[-1] > slot.epoch):
        raise IntegrityError("the latch journal's epochs do not fit its slot")
    return records


def _roll_back(slots: tuple[Slot, ...], journal: bytes | memoryview) -> Recovered | Loss:
    newest, older = slots
    try:
        records = read_journal(older, journal)
    except IntegrityError as exc:
        return Loss(reason=exc.message, slots=slots)
    if newest.is_sealed:
        older = replace(older, is_sealed=True, seal_reason=newest.seal_reason)
    return Recovered(
        slot=older,
        records=records,
        highest_epoch=max(newest.epoch, older.epoch),
        highest_sequence=newest.sequence,
        is_rolled_back=True,
    )
