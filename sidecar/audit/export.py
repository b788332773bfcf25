# SPDX-License-Identifier: Apache-2.0
"""Takes entries out of a log with the way from each to one signed tree head. Blocks.

It makes what ``evidence`` checks, and shares no code with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from sidecar.audit.index_sqlite import AuditIndex, token_after
from sidecar.audit.merkle import inclusion_path, leaf_hash, verify_inclusion
from sidecar.audit.reader import EntryFilter, signed_size
from sidecar.audit.tiles import TileReader
from sidecar.errors import IntegrityError

__all__ = ["Extract", "Proven", "extract"]

_STEP: Final = 500
_MAX_BYTES: Final = 1024 * 1024
"""Entries of one extract together, so that it fits into one message."""


class Proven(NamedTuple):
    """An entry and the sibling hashes from its leaf to the root."""

    seq: int
    line: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """Entries, oldest first; ``looked_to`` is the last entry that was looked at, -1 if none was."""

    items: tuple[Proven, ...]
    looked_to: int
    is_whole: bool


def extract(
    index: AuditIndex,
    directory: Path,
    wanted: EntryFilter,
    keep: Callable[[Mapping[str, Any]], bool],
    *,
    after: int,
    size: int,
    root: bytes,
    limit: int,
    most: int,
) -> Extract:
    """Return up to *limit* entries behind entry *after* of the tree with *size* entries.

    Each is held against *root* before it is handed out: what does not prove is no evidence.

    Args:
        index: The log's index.
        directory: The log.
        wanted: Which entries are looked at.
        keep: Which of them are taken.
        after: -1 for all.
        size: Of the tree that the proofs lead to.
        root: Its root.
        limit: At most so many.
        most: At most so many are looked at.

    Raises:
        IntegrityError: The log is damaged, smaller than *size*, or another one than it was.
    """
    signed = signed_size(directory)
    if size > signed:
        raise IntegrityError(f"the log has {signed} signed entries, and once had {size}")
    reader = TileReader(directory, size=signed)
    items: list[Proven] = []
    room, looked_at = _MAX_BYTES, 0
    while looked_at < most:
        step = min(_STEP, most - looked_at)
        page = index.query(wanted, limit=step, page_token=token_after(after))
        for entry in page.entries:
            if entry.seq >= size:
                return Extract(items=tuple(items), looked_to=after, is_whole=True)
            is_kept = keep(entry.fields())
            if is_kept and items and (len(items) == limit or len(entry.line) > room):
                return Extract(items=tuple(items), looked_to=after, is_whole=False)
            after, looked_at = entry.seq, looked_at + 1
            if is_kept:
                room -= len(entry.line)
                path = _path(reader, entry.seq, size)
                verify_inclusion(
                    leaf_hash(entry.line), index=entry.seq, size=size, path=path, root=root
                )
                items.append(Proven(entry.seq, entry.line, path))
        if not page.next_page_token:
            return Extract(items=tuple(items), looked_to=after, is_whole=True)
    return Extract(items=tuple(items), looked_to=after, is_whole=False)


def _path(reader: TileReader, index: int, size: int) -> tuple[bytes, ...]:
    try:
        return tuple(inclusion_path(reader.node, index, size))
    except FileNotFoundError as exc:
        raise IntegrityError(f"a tile is missing: {exc.filename}") from exc
