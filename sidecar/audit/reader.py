# SPDX-License-Identifier: Apache-2.0
"""Reads a log directory: entries, proofs, and what ``holdfast audit show`` and ``prove`` need.

Reading takes no lock and works while a writer runs. It does **not** verify: that is what ``verify``
is for, and what the proofs made here are for. What is read is what the current checkpoint covers;
``is_unsigned_included`` adds the durable entries behind it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from sidecar.audit.entry import decode_entry, format_time
from sidecar.audit.files import read_regular
from sidecar.audit.merkle import consistency_path, inclusion_path
from sidecar.audit.note import MAX_NOTE_BYTES
from sidecar.audit.tiles import TileReader
from sidecar.audit.wal import list_segments, read_segments
from sidecar.errors import IntegrityError, NotFoundError

__all__ = [
    "EntryFilter",
    "StoredEntry",
    "checkpoint_text",
    "consistency_proof",
    "inclusion_proof",
    "prove",
    "read_entries",
    "show",
    "signed_size",
]

_ATTEMPTS: Final = 5
_NS: Final = 1_000_000_000


class StoredEntry(NamedTuple):
    """An entry as it lies in the log."""

    seq: int
    line: bytes

    def fields(self) -> dict[str, Any]:
        """Return the entry's fields."""
        return decode_entry(self.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Which entries are wanted; an unset field wants all. Times are those in the entries."""

    agent: str | None = None
    tool: str | None = None
    decision_id: str | None = None
    kind: str | None = None
    effect: str | None = None
    kinds: tuple[str, ...] = ()
    """Any of these kinds; empty for all."""
    since: datetime | None = None
    """The earliest time wanted."""
    until: datetime | None = None
    """The first time not wanted any more."""

    def __post_init__(self) -> None:
        for moment in (self.since, self.until):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("since and until need a time zone")

    def equalities(self) -> dict[str, str]:
        """Return the fields that must have exactly one value."""
        named = {
            "agent": self.agent,
            "tool": self.tool,
            "decision_id": self.decision_id,
            "kind": self.kind,
            "effect": self.effect,
        }
        return {name: value for name, value in named.items() if value is not None}

    def times(self) -> tuple[str, str]:
        """Return ``since`` and ``until`` as entries write times; empty if unset."""
        return _as_text(self.since), _as_text(self.until)

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Return whether an entry with *fields* is wanted."""
        since, until = self.times()
        moment = str(fields.get("time", ""))
        if (since and moment < since) or (until and moment >= until):
            return False
        if self.kinds and fields.get("kind") not in self.kinds:
            return False
        return all(fields.get(name) == value for name, value in self.equalities().items())


def checkpoint_text(directory: Path) -> str:
    """Return the current checkpoint of the log in *directory*, unverified.

    Raises:
        NotFoundError: there is no log.
        IntegrityError: the file is no text.
    """
    try:
        data = read_regular(directory / "checkpoint", max_bytes=MAX_NOTE_BYTES)
        return data.decode("utf-8")
    except FileNotFoundError as exc:
        raise NotFoundError(f"there is no audit log in {directory}") from exc
    except UnicodeDecodeError as exc:
        raise IntegrityError(f"the checkpoint in {directory} is damaged") from exc


def signed_size(directory: Path) -> int:
    """Return how many entries the current checkpoint says it covers.

    Raises:
        NotFoundError, IntegrityError: as for ``checkpoint_text``.
    """
    return _size_of(checkpoint_text(directory))


def read_entries(
    directory: Path, start: int = 0, count: int = 1000, *, is_unsigned_included: bool = False
) -> list[StoredEntry]:
    """Return up to *count* entries from sequence number *start* on.

    Raises:
        NotFoundError: there is no log.
        IntegrityError: what should be there is missing or malformed.
    """
    if start < 0 or count < 0:
        raise ValueError("start and count cannot be negative")
    size = signed_size(directory)
    found = _signed(directory, start, min(start + count, size), size)
    if is_unsigned_included and start + count > size:
        found += _unsigned(directory, start + len(found), start + count)
    return found


def show(
    directory: Path,
    wanted: EntryFilter,
    *,
    start: int = 0,
    limit: int = 1000,
    is_unsigned_included: bool = False,
) -> Iterator[StoredEntry]:
    """Yield up to *limit* entries that *wanted* matches, from *start* on; reads one by one.

    Raises:
        NotFoundError, IntegrityError: as for ``read_entries``.
    """
    step = 256
    while limit > 0:
        block = read_entries(directory, start, step, is_unsigned_included=is_unsigned_included)
        for entry in block:
            if wanted.matches(entry.fields()):
                yield entry
                limit -= 1
                if limit == 0:
                    return
        if len(block) < step:
            return
        start += step


def inclusion_proof(directory: Path, index: int, size: int | None = None) -> list[bytes]:
    """Return the proof that entry *index* is in the log's first *size* entries (default: all).

    Raises:
        ValueError: *index* is not below *size*, or *size* is not covered by the checkpoint.
        NotFoundError, IntegrityError: as for ``read_entries``.
    """
    reader, size = _reader(directory, size)
    return _whole(lambda: inclusion_path(reader.node, index, size))


def consistency_proof(directory: Path, old: int, new: int | None = None) -> list[bytes]:
    """Return the proof that the log's first *old* entries are a prefix of its first *new*.

    Raises:
        ValueError, NotFoundError, IntegrityError: as for ``inclusion_proof``.
    """
    reader, new = _reader(directory, new)
    return _whole(lambda: consistency_path(reader.node, old, new))


def prove(directory: Path, index: int) -> dict[str, Any]:
    """Return all that is needed to check offline that entry *index* is in the log.

    ``verify.verify_proof`` checks it. The fields: ``version`` 1, ``origin``, ``index``, ``size``,
    ``entry`` (the canonical line), ``path`` (base64 hashes, the sibling first), ``checkpoint``.

    Raises:
        NotFoundError: there is no such entry yet.
        IntegrityError: the log is malformed.
    """
    text = checkpoint_text(directory)
    size = _size_of(text)
    if not 0 <= index < size:
        raise NotFoundError(f"the checkpoint covers {size} entries; there is no entry {index}")
    entry = _signed(directory, index, index + 1, size)[0]
    path = inclusion_proof(directory, index, size)
    return {
        "version": 1,
        "origin": text.split("\n", 1)[0],
        "index": index,
        "size": size,
        "entry": entry.line.decode("utf-8"),
        "path": [base64.b64encode(node).decode("ascii") for node in path],
        "checkpoint": text,
    }


def _reader(directory: Path, size: int | None) -> tuple[TileReader, int]:
    signed = signed_size(directory)
    size = signed if size is None else size
    if size > signed:
        raise ValueError(f"the checkpoint covers {signed} entries, not {size}")
    return TileReader(directory, size=signed), size


def _whole(make: Callable[[], list[bytes]]) -> list[bytes]:
    try:
        return make()
    except FileNotFoundError as exc:
        raise IntegrityError(f"a tile is missing: {exc.filename}") from exc


def _signed(directory: Path, start: int, end: int, size: int) -> list[StoredEntry]:
    if end <= start:
        return []
    try:
        reader = TileReader(directory, size=size)
        return [StoredEntry(seq, line) for seq, line in reader.entries(start, end)]
    except FileNotFoundError as exc:
        raise IntegrityError(f"an entry bundle is missing: {exc.filename}") from exc


def _unsigned(directory: Path, start: int, end: int) -> list[StoredEntry]:
    for _ in range(_ATTEMPTS):
        try:
            segments = read_segments(list_segments(directory))
        except FileNotFoundError:
            continue  # a checkpoint made the segment superfluous while we looked
        return [
            StoredEntry(seq, line)
            for segment in segments
            for frame in segment.frames
            for seq, line in enumerate(frame.entries, frame.first_seq)
            if start <= seq < end
        ]
    return []


def _size_of(text: str) -> int:
    lines = text.split("\n", 2)
    if len(lines) < 3 or not (lines[1].isascii() and lines[1].isdigit()) or len(lines[1]) > 19:
        raise IntegrityError("the checkpoint is malformed")
    return int(lines[1])


def _as_text(moment: datetime | None) -> str:
    if moment is None:
        return ""
    whole = moment.astimezone(UTC).replace(microsecond=0)
    return format_time(int(whole.timestamp()) * _NS + moment.microsecond * 1000)
