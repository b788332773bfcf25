# SPDX-License-Identifier: Apache-2.0
"""Which slot counts after a crash, on every pair of pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.latch import recovery
from sidecar.latch.format import (
    PAGE,
    Phase,
    Record,
    Slot,
    encode_inline,
    encode_records,
    encode_slot,
    journal_seed,
)
from sidecar.latch.recovery import Loss, Recovered, recover
from tests.unit.latch.latch_pages import newer_format

INSTALL = bytes(range(16))
HALF = 16384
RECORDS = tuple(Record(1, epoch, b'{"v":1,"n":%d}' % epoch) for epoch in (1, 2, 3))


def slot_over(records: tuple[Record, ...], sequence: int, phase: Phase, **change: object) -> Slot:
    """Return a slot over *records* in half 0."""
    data, chain = encode_records(records, generation=1, chain=journal_seed(INSTALL, 1))
    slot = Slot(
        sequence=sequence,
        phase=phase,
        install_id=INSTALL,
        epoch=records[-1].epoch if records else 0,
        generation=1,
        half=0,
        half_bytes=HALF,
        journal_length=len(data),
        chain=chain,
    )
    return replace(slot, **change)  # type: ignore[arg-type]


def journal_with(records: tuple[Record, ...]) -> bytes:
    """Return a journal whose half 0 begins with *records*."""
    data, _ = encode_records(records, generation=1, chain=journal_seed(INSTALL, 1))
    return data.ljust(2 * HALF, b"\0")


def pages_of(*slots: Slot) -> list[bytes]:
    """Return both pages with *slots* on theirs, zeros elsewhere."""
    pages = [bytes(PAGE), bytes(PAGE)]
    for slot in slots:
        pages[slot.index] = encode_slot(slot)
    return pages


ACKED = (slot_over(RECORDS, 8, Phase.PREPARED), slot_over(RECORDS, 9, Phase.COMMITTED))
"""What both pages hold after an acknowledgement."""


def test_newest_slot_counts() -> None:
    """Both slots valid: the higher sequence counts."""
    found = recover(pages_of(*ACKED), journal_with(RECORDS))

    assert isinstance(found, Recovered)
    assert (found.slot.sequence, found.records, found.highest_epoch) == (9, RECORDS, 3)


@pytest.mark.parametrize("index", [0, 1])
def test_e06_any_flipped_byte_of_one_slot_leaves_what_was_acknowledged(index: int) -> None:
    """After an acknowledgement each slot alone is enough, whatever byte of the other is wrong."""
    pages, journal = pages_of(*ACKED), journal_with(RECORDS)
    lost = []
    for position in range(PAGE):
        flipped = bytearray(pages[index])
        flipped[position] ^= 0xFF
        damaged = [bytes(flipped) if at == index else page for at, page in enumerate(pages)]
        found = recover(damaged, journal)
        if not isinstance(found, Recovered) or found.records != RECORDS:
            lost.append(position)

    assert lost == []


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("sector", range(9))
def test_e06_torn_slot_uses_the_other(index: int, sector: int) -> None:
    """A write of the next slot that stopped at any sector leaves the acknowledged state."""
    upcoming = slot_over(RECORDS, 10 + index, Phase.PREPARED, epoch=4)
    pages, journal = pages_of(*ACKED), journal_with(RECORDS)
    cut = sector * 512
    pages[index] = encode_slot(upcoming)[:cut] + pages[index][cut:]

    found = recover(pages, journal)

    assert isinstance(found, Recovered)
    assert found.records == RECORDS


def test_e06_both_slots_bad_is_a_loss() -> None:
    """Two bad slots are never taken for an empty latch."""
    found = recover([bytes(PAGE), bytes(PAGE)], journal_with(RECORDS))

    assert found == Loss(reason="neither slot of the latch is valid")


def test_prepared_slot_with_its_journal_counts() -> None:
    """What was published and is all there stands, acknowledged or not."""
    more = (*RECORDS, Record(2, 4, b"{}"))
    pages = pages_of(slot_over(more, 10, Phase.PREPARED), ACKED[1])

    found = recover(pages, journal_with(more))

    assert isinstance(found, Recovered)
    assert found.records == more


def test_prepared_slot_without_its_journal_is_rolled_back() -> None:
    """The power went before the newest event was durable: the older slot counts, its epoch burnt."""
    more = (*RECORDS, Record(2, 4, b"{}"))
    pages = pages_of(slot_over(more, 10, Phase.PREPARED), ACKED[1])

    found = recover(pages, journal_with(RECORDS))

    assert isinstance(found, Recovered)
    assert (found.records, found.is_rolled_back) == (RECORDS, True)
    assert (found.highest_epoch, found.highest_sequence) == (4, 10)


def test_seal_is_never_rolled_back() -> None:
    """If the newest slot was sealed, what is recovered is sealed."""
    more = (*RECORDS, Record(2, 4, b"{}"))
    sealed = slot_over(more, 10, Phase.PREPARED, is_sealed=True, seal_reason="disk")

    found = recover(pages_of(sealed, ACKED[1]), journal_with(RECORDS))

    assert isinstance(found, Recovered)
    assert (found.slot.is_sealed, found.slot.seal_reason) == (True, "disk")


def test_committed_slot_without_its_journal_is_a_loss() -> None:
    """What was acknowledged and is not there is never silently forgotten."""
    found = recover(pages_of(*ACKED), journal_with(RECORDS[:2]))

    assert isinstance(found, Loss)
    assert found.highest_epoch == 3


def test_committed_slot_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a COMMITTED slot could be rolled back, an acknowledged kill would be lost."""
    monkeypatch.setattr(recovery, "Phase", type("Loose", (), {"PREPARED": Phase.COMMITTED}))
    older = slot_over(RECORDS[:2], 8, Phase.PREPARED)

    found = recover(pages_of(older, ACKED[1]), journal_with(RECORDS[:2]))

    assert isinstance(found, Recovered)
    assert RECORDS[2] not in found.records


def test_rotten_journal_is_a_loss_even_with_an_older_slot() -> None:
    """Damage below what both slots cover cannot be rolled back over."""
    more = (*RECORDS, Record(2, 4, b"{}"))
    journal = bytearray(journal_with(more))
    journal[60] ^= 1

    found = recover(pages_of(slot_over(more, 10, Phase.PREPARED), ACKED[1]), bytes(journal))

    assert isinstance(found, Loss)


def test_slots_of_two_installations_are_a_loss() -> None:
    """A slot that was copied from another host does not count, and neither does the rest."""
    foreign = replace(ACKED[0], install_id=bytes(16))

    assert isinstance(recover(pages_of(foreign, ACKED[1]), journal_with(RECORDS)), Loss)


@pytest.mark.parametrize("index", [0, 1])
def test_e14_newer_format_on_either_page_denies(index: int) -> None:
    """One slot of a later version is enough not to act on the other."""
    pages = pages_of(*ACKED)
    pages[index] = newer_format(pages[index])

    found = recover(pages, journal_with(RECORDS))

    assert isinstance(found, Loss)
    assert found.is_newer_format


def test_journal_of_another_length_is_a_loss() -> None:
    """A slot and a journal that do not belong together are no latch."""
    assert isinstance(recover(pages_of(*ACKED), journal_with(RECORDS)[:-1]), Loss)


def test_inline_records_come_last() -> None:
    """Records in the slot follow those in the journal."""
    extra = Record(1, 4, b'{"v":1}')
    slot = slot_over(RECORDS, 10, Phase.COMMITTED, epoch=4, inline=encode_inline([extra]))

    found = recover(pages_of(slot), journal_with(RECORDS))

    assert isinstance(found, Recovered)
    assert found.records == (*RECORDS, extra)


def test_journal_that_ends_elsewhere_is_a_loss() -> None:
    """Good records that are not those the slot was written for do not count."""
    slot = slot_over(RECORDS, 9, Phase.COMMITTED, chain=bytes(32))

    assert isinstance(recover(pages_of(slot), journal_with(RECORDS)), Loss)


@pytest.mark.parametrize("epoch", [3, 9])
def test_inline_records_out_of_order_are_a_loss(epoch: int) -> None:
    """An inline record that repeats an epoch, or is beyond the slot's, is damage."""
    extra = Record(1, epoch, b'{"v":1}')
    slot = slot_over(RECORDS, 10, Phase.COMMITTED, epoch=4, inline=encode_inline([extra]))

    assert isinstance(recover(pages_of(slot), journal_with(RECORDS)), Loss)
