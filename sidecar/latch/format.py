# SPDX-License-Identifier: Apache-2.0
"""What the latch's two files look like, as pure encoding and decoding.

``slots`` is three pages of 4096 bytes: slot A, slot B, live page. ``journal`` is two halves of
equal length that were written full of zeros before first use; one of them is active.

Laws:

1. A slot counts only if its SHA-256 matches: a torn or flipped slot is no slot.
2. Slot A holds even sequences, slot B odd ones, as an aligned native 8-byte word at the start of
   the page, so a reader compares two words to know that nothing happened. A copied slot is no
   slot.
3. A slot is PREPARED when its journal tail may not be durable yet, COMMITTED when it is.
4. A journal record counts only in its place: CRC-32 over itself, and a SHA-256 chain from the start
   of its half, seeded with installation and generation, so a leftover of an earlier use of the half
   never follows.
5. Epochs rise strictly within a half.

Compatibility. Every later format keeps the sequence word, ``magic``, ``version`` and the place and
kind of the slot's checksum, so that an older program recognises a newer latch, and denies. A change
of anything else needs a new version. Record kinds belong to ``sidecar.containment.events``.
All numbers are in the host's byte order; a latch from a host of the other order is no latch.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from hashlib import sha256
from typing import Final, TypeAlias

from sidecar.errors import IntegrityError

__all__ = [
    "EMPTY_CHAIN",
    "FORMAT_VERSION",
    "INLINE_BYTES",
    "LIVE_BOOT_WORD",
    "LIVE_GENERATION_WORD",
    "LIVE_HEARTBEAT_WORD",
    "LIVE_PID_WORD",
    "MAX_PAYLOAD",
    "PAGE",
    "SLOTS_BYTES",
    "SLOT_WORDS",
    "Phase",
    "Record",
    "Slot",
    "SlotFault",
    "decode_inline",
    "decode_records",
    "decode_slot",
    "encode_inline",
    "encode_records",
    "encode_slot",
    "encoded_length",
    "journal_seed",
]

PAGE: Final = 4096
SLOTS_BYTES: Final = 3 * PAGE
FORMAT_VERSION: Final = 1
MAX_PAYLOAD: Final = 32 * 1024
INLINE_BYTES: Final = 3072
"""Room in a slot for records that found none in a full journal."""
EMPTY_CHAIN: Final = bytes(32)

# Positions of 8-byte words in the slots file.
SLOT_WORDS: Final = (0, PAGE // 8)
LIVE_HEARTBEAT_WORD: Final = 2 * PAGE // 8
LIVE_GENERATION_WORD: Final = LIVE_HEARTBEAT_WORD + 1
LIVE_PID_WORD: Final = LIVE_HEARTBEAT_WORD + 2
LIVE_BOOT_WORD: Final = LIVE_HEARTBEAT_WORD + 3

_MAGIC: Final = b"HOLDLTCH"
_ORDER_MARK: Final = 0x0A0B0C0D
_PREFIX: Final = struct.Struct("=Q8sII")  # sequence, magic, version, byte order
# phase, flags, install, epoch, level epoch, level, half, generation, half bytes, length, chain,
# bytes inline, seal reason
_BODY: Final = struct.Struct("=II16sQQIIQQQ32sI192s")
_CHECKSUM_AT: Final = PAGE - 32
_INLINE_AT: Final = _CHECKSUM_AT - INLINE_BYTES
_SEALED: Final = 1
_SEAL_REASON_BYTES: Final = 192
_MAX_SEQUENCE: Final = 2**63

_HEADER: Final = struct.Struct("=IHHQQ")  # payload length, kind, reserved, epoch, generation
_TRAILER: Final = struct.Struct("=16sI4x")  # first half of the chain, CRC-32
_RECORD_HEAD: Final = _HEADER.size + _TRAILER.size
_CHAIN_SHOWN: Final = 16
_ALIGN: Final = 8
_INLINE_SEED: Final = b"holdfast latch inline v1"
_JOURNAL_SEED: Final = b"holdfast latch journal v1"


class Phase(IntEnum):
    """How much a slot promises (law 3)."""

    PREPARED = 1
    COMMITTED = 2


class SlotFault(StrEnum):
    """Why a page is no slot. A no is a value: recovery decides what it means."""

    INVALID = "INVALID"
    NEWER_FORMAT = "NEWER_FORMAT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Everything one slot says.

    ``level`` is the highest level of the directives that hold everything (0: none).
    ``level_epoch`` is the newest of them that found no room for a record, and is held by the level
    alone (0: none). ``inline`` holds the encoded records that a full journal could not take.
    """

    sequence: int
    phase: Phase
    install_id: bytes
    epoch: int
    level: int = 0
    level_epoch: int = 0
    is_sealed: bool = False
    seal_reason: str = ""
    generation: int
    half: int
    half_bytes: int
    journal_length: int
    chain: bytes
    inline: bytes = b""

    @property
    def index(self) -> int:
        """Which of the two pages the slot belongs on."""
        return self.sequence % 2

    def with_sequence(self, sequence: int, phase: Phase) -> Slot:
        """Return the same content to be written under *sequence*."""
        return replace(self, sequence=sequence, phase=phase)


@dataclass(frozen=True, slots=True)
class Record:
    """One journal record: the event's kind, the epoch it created, and its canonical JSON."""

    kind: int
    epoch: int
    payload: bytes


_Decoded: TypeAlias = tuple[tuple[Record, ...], bytes]


def encode_slot(slot: Slot) -> bytes:
    """Return the 4096 bytes of *slot*.

    Raises:
        ValueError: A field does not fit.
    """
    if len(slot.install_id) != 16 or len(slot.chain) != 32 or len(slot.inline) > INLINE_BYTES:
        raise ValueError("a slot field has the wrong length")
    seal = _cut(slot.seal_reason, _SEAL_REASON_BYTES)
    head = _PREFIX.pack(slot.sequence, _MAGIC, FORMAT_VERSION, _ORDER_MARK) + _BODY.pack(
        slot.phase,
        _SEALED if slot.is_sealed else 0,
        slot.install_id,
        slot.epoch,
        slot.level_epoch,
        slot.level,
        slot.half,
        slot.generation,
        slot.half_bytes,
        slot.journal_length,
        slot.chain,
        len(slot.inline),
        seal,
    )
    page = head.ljust(_INLINE_AT, b"\0") + slot.inline.ljust(INLINE_BYTES, b"\0")
    return page + sha256(page).digest()


def decode_slot(page: bytes, *, index: int) -> Slot | SlotFault:
    """Return what the *index*-th *page* says, or why it says nothing (laws 1 and 2)."""
    if len(page) != PAGE or sha256(page[:_CHECKSUM_AT]).digest() != page[_CHECKSUM_AT:]:
        return SlotFault.INVALID
    sequence, magic, version, order = _PREFIX.unpack_from(page)
    if magic != _MAGIC:
        return SlotFault.INVALID
    if order != _ORDER_MARK or version == 0:
        return SlotFault.INVALID
    if version > FORMAT_VERSION:
        return SlotFault.NEWER_FORMAT
    (
        phase,
        flags,
        install_id,
        epoch,
        level_epoch,
        level,
        half,
        generation,
        half_bytes,
        journal_length,
        chain,
        inline_length,
        seal,
    ) = _BODY.unpack_from(page, _PREFIX.size)
    is_plausible = (
        sequence % 2 == index
        and sequence < _MAX_SEQUENCE
        and phase in (Phase.PREPARED, Phase.COMMITTED)
        and flags & ~_SEALED == 0
        and half in (0, 1)
        and journal_length <= half_bytes
        and inline_length <= INLINE_BYTES
    )
    if not is_plausible:
        return SlotFault.INVALID
    return Slot(
        sequence=sequence,
        phase=Phase(phase),
        install_id=install_id,
        epoch=epoch,
        level=level,
        level_epoch=level_epoch,
        is_sealed=bool(flags & _SEALED),
        seal_reason=seal.rstrip(b"\0").decode("utf-8", "replace"),
        generation=generation,
        half=half,
        half_bytes=half_bytes,
        journal_length=journal_length,
        chain=chain,
        inline=page[_INLINE_AT : _INLINE_AT + inline_length],
    )


def journal_seed(install_id: bytes, generation: int) -> bytes:
    """Return the chain before the first record of a half (law 4)."""
    return sha256(_JOURNAL_SEED + install_id + generation.to_bytes(8, "big")).digest()


def encoded_length(record: Record) -> int:
    """Return how many bytes *record* takes in the journal."""
    return _padded(_RECORD_HEAD + len(record.payload))


def encode_records(
    records: Iterable[Record], *, generation: int, chain: bytes
) -> tuple[bytes, bytes]:
    """Return the bytes of *records* that follow *chain*, and the chain after them.

    Raises:
        ValueError: A payload is empty or longer than ``MAX_PAYLOAD``.
    """
    parts: list[bytes] = []
    for record in records:
        if not 0 < len(record.payload) <= MAX_PAYLOAD:
            raise ValueError(f"a record's payload has 1 to {MAX_PAYLOAD} bytes")
        header = _HEADER.pack(len(record.payload), record.kind, 0, record.epoch, generation)
        chain = sha256(chain + header + record.payload).digest()
        shown = chain[:_CHAIN_SHOWN]
        crc = zlib.crc32(record.payload, zlib.crc32(shown, zlib.crc32(header)))
        whole = header + _TRAILER.pack(shown, crc) + record.payload
        parts.append(whole.ljust(_padded(len(whole)), b"\0"))
    return b"".join(parts), chain


def decode_records(
    data: bytes | memoryview, *, generation: int, chain: bytes, after_epoch: int = -1
) -> _Decoded:
    """Return the records that fill *data* exactly, and the chain after them (laws 4 and 5).

    Raises:
        IntegrityError: A record is not what was written, or not where it was written.
    """
    records: list[Record] = []
    at, end = 0, len(data)
    while at < end:
        if end - at < _RECORD_HEAD:
            raise IntegrityError(f"the latch journal breaks off inside a record at byte {at}")
        length, kind, reserved, epoch, found_generation = _HEADER.unpack_from(data, at)
        shown, crc = _TRAILER.unpack_from(data, at + _HEADER.size)
        start = at + _RECORD_HEAD
        if not 0 < length <= MAX_PAYLOAD or start + length > end or reserved != 0:
            raise IntegrityError(f"the latch journal has no record at byte {at}")
        header = bytes(data[at : at + _HEADER.size])
        payload = bytes(data[start : start + length])
        if zlib.crc32(payload, zlib.crc32(shown, zlib.crc32(header))) != crc:
            raise IntegrityError(f"the latch journal's record at byte {at} is damaged")
        chain = sha256(chain + header + payload).digest()
        if chain[:_CHAIN_SHOWN] != shown or found_generation != generation:
            raise IntegrityError(f"the latch journal's record at byte {at} does not belong there")
        if epoch <= after_epoch:
            raise IntegrityError(f"the latch journal's epochs do not rise at byte {at}")
        after_epoch = epoch
        records.append(Record(kind, epoch, payload))
        at = start + length
        at += -at % _ALIGN
    if at != end:
        raise IntegrityError("the latch journal breaks off inside a record")
    return tuple(records), chain


def encode_inline(records: Iterable[Record]) -> bytes:
    """Return *records* for the room in a slot."""
    return encode_records(records, generation=0, chain=sha256(_INLINE_SEED).digest())[0]


def decode_inline(data: bytes) -> tuple[Record, ...]:
    """Return the records from the room in a slot.

    Raises:
        IntegrityError: They are not what ``encode_inline`` wrote.
    """
    return decode_records(data, generation=0, chain=sha256(_INLINE_SEED).digest())[0]


def _padded(length: int) -> int:
    return length + -length % _ALIGN


def _cut(text: str, limit: int) -> bytes:
    """Return *text* as UTF-8 of at most *limit* bytes, never ending inside a character."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore").encode()
