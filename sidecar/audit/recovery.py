# SPDX-License-Identifier: Apache-2.0
"""What a log directory holds when a writer opens it. Reads only; changes nothing.

A crash can leave exactly this, and nothing else is accepted:

1. ``head`` ahead of ``checkpoint``: the head was made durable, the signature was not written.
2. Whole frames beyond ``head``: durable, perhaps acknowledged, not yet in a checkpoint.
3. A torn tail in the last segment (see ``wal``): never acknowledged; it may be cut.
4. Tiles beyond ``head``, files under ``tmp/``, partial tiles beside the full one: written again.
5. A directory in which creation did not get as far as its first entry.

Everything else raises ``IntegrityError``: a missing or foreign checkpoint, a head behind its
checkpoint, tiles that do not lead to the head, a log that ends before its head, an outside holder
that knows more. The whole log is read by the verifier, not on every start; opening checks the
hashes of the right edge, all of ``wal/`` and its overlap with the tiles.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.audit.entry import decode_entry
from sidecar.audit.files import read_regular
from sidecar.audit.head import Head, read_head
from sidecar.audit.merkle import HASH_SIZE, leaf_hash
from sidecar.audit.note import MAX_NOTE_BYTES, Checkpoint, CheckpointKey, open_checkpoint
from sidecar.audit.tiles import ENTRIES, TILE_WIDTH, RightEdge, TileReader, tile_path
from sidecar.audit.wal import FIRST_CHAIN, Segment, list_segments, read_segments
from sidecar.errors import IntegrityError, UntrustedInputError

__all__ = ["Recovered", "check_holder", "read_checkpoint", "recover", "verify_any"]

_REMEDY: Final = "run `holdfast audit verify`; keep the directory as evidence, start a new log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A directory that may be written to."""

    checkpoint: Checkpoint | None
    """The last checkpoint; None if the log is new."""
    head: Head | None
    edge: RightEdge
    """The tree at ``head``."""
    unsigned: tuple[bytes, ...]
    """Entries behind ``head``, durable but not yet in a checkpoint."""
    chain: bytes
    segments: tuple[tuple[Path, int], ...]
    """Each segment and the sequence number at which it ends."""
    torn_segment: Path | None
    good_bytes: int
    torn_bytes: int


def recover(directory: Path, *, origin: str, keys: Sequence[CheckpointKey]) -> Recovered:
    """Return what *directory* holds.

    Raises:
        IntegrityError: it holds something that no crash leaves.
    """
    checkpoint = read_checkpoint(directory, keys=keys)
    head = read_head(directory)
    paths = list_segments(directory)
    if checkpoint is None or head is None:
        return _new_log(directory, checkpoint, head, paths)
    if head.origin != origin:
        raise IntegrityError(f"the log in {directory} is of {head.origin}, not of {origin}")
    if checkpoint.size > head.size:
        raise IntegrityError(
            f"the signed checkpoint ({checkpoint.size} entries, root {checkpoint.root.hex()}) is"
            f" ahead of the last head that was signed ({head.describe()})",
            hint=_REMEDY,
        )
    reader = TileReader(directory, size=head.size)
    edge = _load_edge(reader, head)
    if reader.root(checkpoint.size) != checkpoint.root:
        raise IntegrityError(
            f"the tiles do not lead to the checkpoint of {checkpoint.size} entries", hint=_REMEDY
        )
    if not paths and head.size > 0:
        raise IntegrityError("the directory wal is empty", hint=_REMEDY)
    segments = read_segments(paths)
    unsigned = _behind_head(segments, reader, head)
    _check_nothing_behind(directory, head.size + len(unsigned))
    last = segments[-1] if segments else None
    return Recovered(
        checkpoint=checkpoint,
        head=head,
        edge=edge,
        unsigned=unsigned,
        chain=last.end_chain if last else FIRST_CHAIN,
        segments=tuple(
            (path, segment.end_seq) for path, segment in zip(paths, segments, strict=True)
        ),
        torn_segment=paths[-1] if last and last.torn_bytes else None,
        good_bytes=last.good_bytes if last else 0,
        torn_bytes=last.torn_bytes if last else 0,
    )


def read_checkpoint(directory: Path, *, keys: Sequence[CheckpointKey]) -> Checkpoint | None:
    """Return the verified checkpoint of the log in *directory*, or None if there is none.

    Raises:
        IntegrityError: it is damaged, of another log, or not signed by one of *keys*.
    """
    try:
        data = read_regular(directory / "checkpoint", max_bytes=MAX_NOTE_BYTES)
    except FileNotFoundError:
        return None
    return verify_any(data, keys=keys)


def verify_any(text: str | bytes, *, keys: Sequence[CheckpointKey]) -> Checkpoint:
    """Return the checkpoint *text*, which one of *keys* must have signed.

    Raises:
        IntegrityError: none did, or *text* is no checkpoint.
    """
    failure: Exception | None = None
    for key in keys:
        try:
            return open_checkpoint(text, key=key)
        except (UntrustedInputError, IntegrityError) as exc:
            failure = exc
    raise IntegrityError(
        f"the checkpoint does not verify: {failure}",
        hint="open the log with its own signing key (or name the former key)",
    ) from failure


def check_holder(holder: str, held: Checkpoint, *, reader: TileReader) -> None:
    """Check that the log that *reader* reads extends *held*.

    Raises:
        IntegrityError: it is shorter or another; the message holds both heads.
    """
    if held.size > reader.size:
        raise IntegrityError(
            f"{holder} holds a checkpoint of {held.size} entries (root {held.root.hex()}), but the"
            f" log ends at {reader.size} (root {reader.root().hex()}): it was cut or restored",
            hint=_REMEDY,
        )
    root = reader.root(held.size)
    if root != held.root:
        raise IntegrityError(
            f"the log is a fork: at {held.size} entries {holder} holds the root"
            f" {held.root.hex()}, the directory has {root.hex()}; no consistency proof exists",
            hint=_REMEDY,
        )


def _new_log(
    directory: Path, checkpoint: Checkpoint | None, head: Head | None, paths: list[Path]
) -> Recovered:
    """Accept a directory without checkpoint or head only if it never held an entry."""
    segments = read_segments(paths)
    has_entries = any(segment.frames for segment in segments)
    has_tiles = (directory / "tile").exists() and any(os.scandir(directory / "tile"))
    signed = max(checkpoint.size if checkpoint else 0, head.size if head else 0)
    if has_entries or has_tiles or signed or checkpoint is not None:
        missing = "checkpoint" if checkpoint is None else "head"
        raise IntegrityError(f"the file {missing} is missing from {directory}", hint=_REMEDY)
    return Recovered(
        checkpoint=None,
        head=head,
        edge=RightEdge(),
        unsigned=(),
        chain=FIRST_CHAIN,
        segments=tuple((path, 0) for path in paths),
        torn_segment=None,
        good_bytes=0,
        torn_bytes=0,
    )


def _load_edge(reader: TileReader, head: Head) -> RightEdge:
    try:
        edge = RightEdge.load(reader)
    except FileNotFoundError as exc:
        raise IntegrityError(f"a tile is missing: {exc.filename}", hint=_REMEDY) from exc
    if edge.root() != head.root:
        raise IntegrityError(
            f"the tiles lead to root {edge.root().hex()}, but signed was {head.describe()}",
            hint=_REMEDY,
        )
    if edge.bundle and [leaf_hash(entry) for entry in edge.bundle] != edge.rows[0]:
        raise IntegrityError("the last entry bundle does not match its tile", hint=_REMEDY)
    return edge


def _behind_head(segments: Sequence[Segment], reader: TileReader, head: Head) -> tuple[bytes, ...]:
    """Return the entries behind *head*, after checking those before it against the tiles."""
    if not segments:
        return ()
    if segments[0].base_seq > head.size or segments[-1].end_seq < head.size:
        raise IntegrityError(
            f"wal covers entries {segments[0].base_seq} to {segments[-1].end_seq}, but signed was"
            f" {head.describe()}",
            hint=_REMEDY,
        )
    unsigned: list[bytes] = []
    for segment in segments:
        for frame in segment.frames:
            for seq, entry in enumerate(frame.entries, frame.first_seq):
                if seq >= head.size:
                    if decode_entry(entry)["seq"] != seq:
                        raise IntegrityError(f"entry {seq} of wal bears another number")
                    unsigned.append(entry)
                elif _tile_hash(reader, seq) != leaf_hash(entry):
                    raise IntegrityError(f"entry {seq} differs between wal and tiles", hint=_REMEDY)
    return tuple(unsigned)


def _check_nothing_behind(directory: Path, size: int) -> None:
    """Refuse tiles that cover more than the *size* entries there are: only a restore leaves them.

    Tiles are made from what is durable in ``wal/``, never before it.
    """
    number, width = divmod(size, TILE_WIDTH)
    for level in (ENTRIES, 0):
        tile = directory / tile_path(level, number)
        following = directory / tile_path(level, number + 1)
        partials = tile.with_name(f"{tile.name}.p")
        widths = [int(path.name) for path in _children(partials) if path.name.isdecimal()]
        is_ahead = tile.exists() or following.exists() or max(widths, default=0) > width
        if is_ahead or _children(following.with_name(f"{following.name}.p")):
            raise IntegrityError(
                f"there are tiles of more than the {size} entries that wal ends with: part of the"
                " directory was restored from a backup",
                hint=_REMEDY,
            )


def _children(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _tile_hash(reader: TileReader, seq: int) -> bytes:
    number, offset = divmod(seq, TILE_WIDTH)
    return reader.tile(0, number)[offset * HASH_SIZE : (offset + 1) * HASH_SIZE]
