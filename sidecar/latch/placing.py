# SPDX-License-Identifier: Apache-2.0
"""Where new records go: behind the others, into the other half, or into the slot. No I/O.

Laws:

1. While the active half has room, records are appended.
2. A full half is compacted: everything that stands is written into the other half, under the next
   generation; never while a slot that may be needed after a crash points there.
3. What does not fit, or would have to wait for the other half, goes into the slot itself as long as
   there is room, and moves out with the next compaction. So what is inline is always the newest.
4. If that is full too, nothing is written, and the caller learns it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sidecar.errors import EnvironmentFailure
from sidecar.latch.format import (
    INLINE_BYTES,
    Phase,
    Record,
    Slot,
    decode_inline,
    encode_inline,
    encode_records,
    encoded_length,
    journal_seed,
)

__all__ = ["INSTALL_BYTES", "JournalFullError", "nothing", "place"]

INSTALL_BYTES: Final = 16


class JournalFullError(EnvironmentFailure):
    """Even compacted, journal and slot have no room for the records; nothing was written."""


def place(
    base: Slot,
    records: Sequence[Record],
    live: Callable[[], Sequence[Record]],
    *,
    is_compacting: bool,
    is_other_half_free: bool,
) -> tuple[bytes, Slot] | None:
    """Return the last bytes of the journal below the returned slot, and that slot.

    None means that the other half is needed but not free yet.

    Raises:
        JournalFullError: Law 4.
    """
    size = sum(map(encoded_length, records))
    if base.journal_length + size <= base.half_bytes and not base.inline and not is_compacting:
        data, chain = encode_records(records, generation=base.generation, chain=base.chain)
        length = base.journal_length + len(data)
        return data, replace(base, journal_length=length, chain=chain)
    everything = tuple(live())
    count = _fitting(everything, base.half_bytes)
    is_overflowing = count < len(everything)
    if not is_compacting and (is_overflowing or not is_other_half_free):
        inline = encode_inline((*decode_inline(base.inline), *records))
        if len(inline) <= INLINE_BYTES:
            return b"", replace(base, inline=inline)
    inline = encode_inline(everything[count:])
    if len(inline) > INLINE_BYTES:
        raise JournalFullError(
            "the latch journal is full, even compacted",
            hint="release directives that are not needed any more",
        )
    if not is_other_half_free:
        return None
    data, slot = _compacted(base, everything[:count])
    return data, replace(slot, inline=inline)


def nothing(install_id: bytes | None, *, half_bytes: int) -> Slot:
    """Return a slot that says nothing, in a generation nobody has seen."""
    install_id = install_id or secrets.token_bytes(INSTALL_BYTES)
    generation = secrets.randbits(48) + 2
    return Slot(
        sequence=0,
        phase=Phase.PREPARED,
        install_id=install_id,
        epoch=0,
        generation=generation,
        half=0,
        half_bytes=half_bytes,
        journal_length=0,
        chain=journal_seed(install_id, generation),
    )


def _compacted(base: Slot, everything: Sequence[Record]) -> tuple[bytes, Slot]:
    generation = base.generation + 1
    data, chain = encode_records(
        everything, generation=generation, chain=journal_seed(base.install_id, generation)
    )
    return data, replace(
        base,
        generation=generation,
        half=1 - base.half,
        journal_length=len(data),
        chain=chain,
    )


def _fitting(records: Sequence[Record], room: int) -> int:
    """Return how many of *records*, from the first on, fit into *room* bytes."""
    for count, record in enumerate(records):
        room -= encoded_length(record)
        if room < 0:
            return count
    return len(records)
