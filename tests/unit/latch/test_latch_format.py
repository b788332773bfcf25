# SPDX-License-Identifier: Apache-2.0
"""What slots and records look like, and what is none."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import IntegrityError
from sidecar.latch import format as latch_format
from sidecar.latch.format import (
    MAX_PAYLOAD,
    PAGE,
    Phase,
    Record,
    Slot,
    SlotFault,
    decode_inline,
    decode_records,
    decode_slot,
    encode_inline,
    encode_records,
    encode_slot,
    encoded_length,
    journal_seed,
)
from tests.unit.latch.latch_pages import newer_format

INSTALL = bytes(range(16))
SLOT = Slot(
    sequence=7,
    phase=Phase.COMMITTED,
    install_id=INSTALL,
    epoch=42,
    level=6,
    level_epoch=41,
    is_sealed=True,
    seal_reason="syncing the latch failed: Input/output error",
    generation=3,
    half=1,
    half_bytes=16384,
    journal_length=512,
    chain=bytes(range(32)),
    inline=encode_inline([Record(1, 42, b'{"v":1}')]),
)
# Version 1 as it was first written. It must be read for ever.
GOLDEN_SLOT = (
    "eNpjZ4AAD38fF58QZw9GIJuXh5uLCUiD2AyMTMwsrGzsHJxc3Dy8fPxaUPWaUJoNqo4ZymdwgNJMUBpNv4CgkLCI"
    "qJi4hKSUtIysnLwFUElxZV5yZl66QklGqkJOYklyhkJaYmZOaoqVgmdeQWmJfn5pCZBSSC0qyi9iGAWjYBQQDdih"
    "+VMLTXzNqdKHW6uXTwrxVYot+lPrxKTckA0Sr1YqU7IyrB0NuFEwCkbBKBgFo2AUjIJRMAqGIAAApjgiTQ=="
)


def damaged(page: bytes, position: int, mask: int) -> bytes:
    """Return *page* with the bits of *mask* flipped in one byte."""
    return page[:position] + bytes([page[position] ^ mask]) + page[position + 1 :]


@given(
    sequence=st.integers(0, 2**62),
    phase=st.sampled_from(Phase),
    epoch=st.integers(0, 2**63),
    level=st.integers(0, 6),
    is_sealed=st.booleans(),
    reason=st.text(max_size=40).filter(lambda text: "\0" not in text),
    generation=st.integers(0, 2**63),
    half=st.integers(0, 1),
    length=st.integers(0, 16384),
    inline=st.binary(max_size=3072),
)
@settings(max_examples=100, deadline=None)
def test_slot_survives_encoding(
    sequence: int,
    phase: Phase,
    epoch: int,
    level: int,
    is_sealed: bool,
    reason: str,
    generation: int,
    half: int,
    length: int,
    inline: bytes,
) -> None:
    """Decoding what was encoded gives the same slot."""
    slot = Slot(
        sequence=sequence,
        phase=phase,
        install_id=INSTALL,
        epoch=epoch,
        level=level,
        is_sealed=is_sealed,
        seal_reason=reason.encode("utf-8", "ignore").decode(),
        generation=generation,
        half=half,
        half_bytes=16384,
        journal_length=length,
        chain=bytes(32),
        inline=inline,
    )

    page = encode_slot(slot)

    assert len(page) == PAGE
    assert decode_slot(page, index=slot.index) == slot


def test_sequence_is_a_native_word_at_the_start() -> None:
    """The first eight bytes of a slot are its sequence in the host's order."""
    assert struct.unpack_from("=Q", encode_slot(SLOT))[0] == SLOT.sequence


def test_long_seal_reason_is_cut_between_characters() -> None:
    """A seal reason that does not fit loses its end, never half a character."""
    slot = replace(SLOT, seal_reason="é" * 200)

    decoded = decode_slot(encode_slot(slot), index=1)

    assert isinstance(decoded, Slot)
    assert decoded.seal_reason == "é" * 96


def test_e06_every_flipped_bit_of_a_slot_is_noticed() -> None:
    """No slot with one wrong bit is taken for a slot."""
    page = encode_slot(SLOT)

    taken = [
        (position, bit)
        for position in range(PAGE)
        for bit in range(8)
        if isinstance(decode_slot(damaged(page, position, 1 << bit), index=1), Slot)
    ]

    assert taken == []


def test_e06_flipped_byte_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checksum, a slot with a wrong epoch is believed."""

    class Unchecked:
        def __init__(self, _: bytes) -> None:
            pass

        def digest(self) -> bytes:
            return bytes(32)

    monkeypatch.setattr(latch_format, "sha256", Unchecked)
    page = encode_slot(replace(SLOT, epoch=1))

    decoded = decode_slot(damaged(page, 48, 0xFF), index=1)

    assert isinstance(decoded, Slot)
    assert decoded.epoch != 1


@pytest.mark.parametrize("sector", range(1, 8))
def test_e06_slot_torn_at_a_sector_is_no_slot(sector: int) -> None:
    """A page that is half the new slot and half the old one is neither."""
    old = encode_slot(SLOT)
    new = encode_slot(replace(SLOT, sequence=9, epoch=43, chain=bytes(32), inline=b"x" * 3000))
    cut = sector * 512

    pages = (new[:cut] + old[cut:], old[:cut] + new[cut:])

    assert [decode_slot(page, index=1) for page in pages] == [SlotFault.INVALID] * 2


def test_e14_first_format_is_still_read() -> None:
    """A slot as version 1 wrote it means today what it meant then."""
    page = zlib.decompress(base64.b64decode(GOLDEN_SLOT))

    assert decode_slot(page + sha256(page).digest(), index=1) == SLOT


def test_e14_newer_format_is_recognised() -> None:
    """A slot of a later version is not read, and not taken for damage."""
    assert decode_slot(newer_format(encode_slot(SLOT), 2), index=1) is SlotFault.NEWER_FORMAT


def test_e14_damage_is_not_taken_for_a_newer_format() -> None:
    """A flipped version byte is damage: the other slot may be used."""
    assert decode_slot(damaged(encode_slot(SLOT), 16, 2), index=1) is SlotFault.INVALID


@pytest.mark.parametrize(
    "page",
    [
        newer_format(encode_slot(SLOT), 0),
        b"",
        bytes(PAGE),
        bytes(PAGE - 32) + sha256(bytes(PAGE - 32)).digest(),
        encode_slot(SLOT)[:-1],
        encode_slot(replace(SLOT, journal_length=SLOT.half_bytes + 1)),
        encode_slot(replace(SLOT, half=2)),
    ],
)
def test_what_is_no_slot(page: bytes) -> None:
    """Zeros, short pages and impossible fields are no slot."""
    assert decode_slot(page, index=1) is SlotFault.INVALID


def test_slot_copied_to_the_other_page_is_no_slot() -> None:
    """An old slot copied over the new one does not count there."""
    assert decode_slot(encode_slot(SLOT), index=0) is SlotFault.INVALID


def test_slot_from_a_host_of_the_other_byte_order_is_no_slot() -> None:
    """A latch moved to another architecture is not misread."""
    page = encode_slot(SLOT)
    body = page[:20] + page[20:24][::-1] + page[24:-32]

    assert decode_slot(body + sha256(body).digest(), index=1) is SlotFault.INVALID


@pytest.mark.parametrize(
    "change", [{"install_id": b"short"}, {"chain": b"short"}, {"inline": bytes(3073)}]
)
def test_slot_that_cannot_be_written_is_misuse(change: dict[str, bytes]) -> None:
    """A field of the wrong length is a mistake of ours."""
    with pytest.raises(ValueError, match="length"):
        encode_slot(replace(SLOT, **change))  # type: ignore[arg-type]


# -- records ------------------------------------------------------------------------------------

SEED = journal_seed(INSTALL, 3)
RECORDS = (Record(1, 5, b'{"a":1}'), Record(2, 6, b"{}"), Record(1, 9, b"x" * 100))
GOLDEN_RECORD = "BwAAAAEAAAAFAAAAAAAAAAMAAAAAAAAAiIfA+hlZVfVzo58GmqY5dJ6tbC4AAAAAeyJhIjoxfQA="


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=200), max_size=20),
    start=st.integers(0, 2**60),
)
@settings(max_examples=100, deadline=None)
def test_records_survive_encoding(payloads: list[bytes], start: int) -> None:
    """Decoding what was encoded gives the same records and the same chain."""
    records = tuple(Record(n % 7, start + n, payload) for n, payload in enumerate(payloads))

    data, chain = encode_records(records, generation=3, chain=SEED)

    assert len(data) == sum(map(encoded_length, records))
    assert len(data) % 8 == 0
    assert decode_records(data, generation=3, chain=SEED) == (records, chain)


def test_records_can_be_read_on_from_the_middle() -> None:
    """A reader that kept its chain reads only what is new."""
    first, chain = encode_records(RECORDS[:2], generation=3, chain=SEED)
    second, end = encode_records(RECORDS[2:], generation=3, chain=chain)

    assert decode_records(second, generation=3, chain=chain, after_epoch=6) == (RECORDS[2:], end)
    assert decode_records(first + second, generation=3, chain=SEED) == (RECORDS, end)


def test_e06_every_flipped_bit_of_a_record_is_noticed() -> None:
    """A record with one wrong bit ends the reading, or only padding was hit."""
    data, _ = encode_records(RECORDS, generation=3, chain=SEED)
    survivors = set()
    for position in range(len(data)):
        for bit in range(8):
            try:
                found, _ = decode_records(
                    damaged(data, position, 1 << bit), generation=3, chain=SEED
                )
            except IntegrityError:
                continue
            survivors.add(found)

    assert survivors <= {RECORDS}


@pytest.mark.parametrize(
    ("generation", "chain"), [(4, SEED), (3, journal_seed(INSTALL, 4)), (3, bytes(32))]
)
def test_leftover_of_an_earlier_use_does_not_follow(generation: int, chain: bytes) -> None:
    """Records of another generation, installation or place are refused."""
    data, _ = encode_records(RECORDS, generation=3, chain=SEED)

    with pytest.raises(IntegrityError):
        decode_records(data, generation=generation, chain=chain)


def test_reordered_records_are_refused() -> None:
    """A record counts only after the one it was written after."""
    parts = []
    chain = SEED
    for one in RECORDS:
        part, chain = encode_records([one], generation=3, chain=chain)
        parts.append(part)

    with pytest.raises(IntegrityError):
        decode_records(parts[1] + parts[0] + parts[2], generation=3, chain=SEED)


@pytest.mark.parametrize("epochs", [(5, 5), (5, 4)])
def test_epochs_that_do_not_rise_are_refused(epochs: tuple[int, int]) -> None:
    """Even well-chained records must be in the order of their epochs."""
    data, _ = encode_records([Record(1, e, b"{}") for e in epochs], generation=3, chain=SEED)

    with pytest.raises(IntegrityError, match="rise"):
        decode_records(data, generation=3, chain=SEED)


def test_record_without_its_padding_is_refused() -> None:
    """A half that ends inside the padding of its last record was cut."""
    data, _ = encode_records([Record(1, 5, b"{}")], generation=3, chain=SEED)

    with pytest.raises(IntegrityError, match="breaks off"):
        decode_records(data[:-1], generation=3, chain=SEED)


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_as_garbage(data: bytes) -> None:
    """Whatever the bytes are, nothing but an integrity error comes out."""
    try:
        records, _ = decode_records(data, generation=3, chain=SEED)
    except IntegrityError:
        return

    assert records == ()


@pytest.mark.parametrize("length", [0, MAX_PAYLOAD + 1])
def test_payload_that_cannot_be_written_is_misuse(length: int) -> None:
    """Empty and oversized payloads are a mistake of ours."""
    with pytest.raises(ValueError, match="payload"):
        encode_records([Record(1, 1, bytes(length))], generation=1, chain=SEED)


def test_inline_records_survive() -> None:
    """What a slot holds for a full journal comes out as it went in."""
    assert decode_inline(encode_inline(RECORDS)) == RECORDS


def test_e14_first_record_format_is_still_read() -> None:
    """A record as version 1 wrote it means today what it meant then."""
    data = base64.b64decode(GOLDEN_RECORD)

    assert decode_records(data, generation=3, chain=SEED)[0] == RECORDS[:1]
