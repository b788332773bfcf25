# SPDX-License-Identifier: Apache-2.0
"""Frames of the write-ahead log: what makes an entry durable before it is in a tile.

``wal/`` holds segments named by their first sequence number (20 digits). A segment is a header and
frames; a frame is one group commit::

    header   magic "HFWAL" 0 0 1 | base seq u64 | chain 32 bytes | CRC-32 of the foregoing
    frame    magic "HFF1" | payload length u32 | first seq u64 | count u32 | chain 32 bytes
             | CRC-32 of payload | CRC-32 of the foregoing | payload (u16 length + entry, …)

All integers are big-endian. ``chain`` is the SHA-256 of the whole previous frame (of 32 zero bytes
before the first), carried over from segment to segment. Laws:

1. A frame is whole or absent. It is acknowledged only after ``fdatasync``.
2. *Torn* is only what a crash can leave at the very end of the last segment: fewer bytes than a
   frame needs, or a frame in which a 512-byte sector came back as zeros. Such a frame was never
   acknowledged, and recovery may cut it.
3. Everything else that does not check out is damage or tampering, never a crash: the frame header
   has its own CRC, so no flipped bit can make a whole frame look like a short one.
4. The segment header is written by atomic replacement: it is whole or the segment does not exist.

Compatibility: another layout gets another magic; readers refuse what they do not know.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final
from zlib import crc32

from sidecar.audit.files import Files, read_regular, replace_file, write_all
from sidecar.errors import IntegrityError

__all__ = [
    "FIRST_CHAIN",
    "MAX_FRAME_PAYLOAD",
    "MAX_SEGMENT_BYTES",
    "Frame",
    "Segment",
    "WalWriter",
    "encode_frame",
    "encode_segment_header",
    "list_segments",
    "pack_entries",
    "read_segment",
    "read_segments",
    "scan_segment",
    "segment_name",
    "unpack_entries",
]

FIRST_CHAIN: Final = bytes(32)
MAX_FRAME_PAYLOAD: Final = 1024 * 1024
"""A batch above this is committed as several frames (each whole or absent on its own)."""
MAX_SEGMENT_BYTES: Final = 64 * 1024 * 1024

_SEGMENT_MAGIC: Final = b"HFWAL\x00\x00\x01"
_SEGMENT: Final = struct.Struct(">8sQ32s")
_FRAME_MAGIC: Final = b"HFF1"
_FRAME: Final = struct.Struct(">4sIQI32sI")
_CRC: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_SEGMENT_HEADER_BYTES: Final = _SEGMENT.size + _CRC.size
_FRAME_HEADER_BYTES: Final = _FRAME.size + _CRC.size
_SECTOR: Final = 512
_NAME_DIGITS: Final = 20
_REMEDY: Final = "keep the directory as evidence and start a new log elsewhere, under a new origin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One group commit."""

    first_seq: int
    chain: bytes
    """SHA-256 of the frame before it."""
    entries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A checked segment. ``good_bytes`` ends its last whole frame; behind it is only torn tail."""

    base_seq: int
    start_chain: bytes
    frames: tuple[Frame, ...]
    end_seq: int
    end_chain: bytes
    good_bytes: int
    torn_bytes: int


def pack_entries(entries: Sequence[bytes]) -> bytes:
    """Return *entries*, each behind its length as big-endian uint16."""
    parts: list[bytes] = []
    for entry in entries:
        parts.append(len(entry).to_bytes(2, "big"))
        parts.append(entry)
    return b"".join(parts)


def unpack_entries(data: bytes) -> list[bytes]:
    """Return the length-prefixed entries of *data*.

    Raises:
        IntegrityError: *data* does not end with an entry.
    """
    entries: list[bytes] = []
    position, end = 0, len(data)
    while position < end:
        if position + 2 > end:
            raise IntegrityError(f"entry {len(entries)} of the block is cut short")
        (length,) = _LENGTH.unpack_from(data, position)
        position += 2
        if position + length > end:
            raise IntegrityError(f"entry {len(entries)} of the block is cut short")
        entries.append(data[position : position + length])
        position += length
    return entries


def segment_name(base_seq: int) -> str:
    """Return the file name of the segment that starts at *base_seq*."""
    return f"{base_seq:0{_NAME_DIGITS}d}"


def encode_segment_header(*, base_seq: int, chain: bytes) -> bytes:
    """Return the header of a segment that continues *chain* at *base_seq*."""
    header = _SEGMENT.pack(_SEGMENT_MAGIC, base_seq, chain)
    return header + _CRC.pack(crc32(header))


def encode_frame(*, first_seq: int, entries: Sequence[bytes], chain: bytes) -> bytes:
    """Return the frame that holds *entries* and continues *chain*."""
    payload = pack_entries(entries)
    header = _FRAME.pack(_FRAME_MAGIC, len(payload), first_seq, len(entries), chain, crc32(payload))
    return b"".join((header, _CRC.pack(crc32(header)), payload))


def scan_segment(data: bytes, *, name: str, is_last: bool) -> Segment:
    """Return the checked content of a segment file.

    Args:
        data: The file's bytes.
        name: The file's name, for messages and against the header.
        is_last: Whether no segment follows; only then is a torn tail possible (law 2).

    Raises:
        IntegrityError: the segment does not check out (law 3).
    """
    base_seq, start_chain = _read_segment_header(data, name)
    chain, seq = start_chain, base_seq
    frames: list[Frame] = []
    position = _SEGMENT_HEADER_BYTES
    while position < len(data):
        frame_end = _frame_end(data, position, name)
        frame = None if frame_end is None else _read_frame(data, position, frame_end, name)
        if frame is None or frame_end is None:
            if not is_last:
                raise _damaged(name, position, "a torn frame in a segment that was continued")
            break
        if frame.first_seq != seq or frame.chain != chain:
            raise _damaged(name, position, "the frame does not continue the one before it")
        chain = sha256(data[position:frame_end]).digest()
        seq += len(frame.entries)
        frames.append(frame)
        position = frame_end
    return Segment(
        base_seq=base_seq,
        start_chain=start_chain,
        frames=tuple(frames),
        end_seq=seq,
        end_chain=chain,
        good_bytes=position,
        torn_bytes=len(data) - position,
    )


def list_segments(directory: Path) -> list[Path]:
    """Return the segment files of ``directory/wal`` in order.

    Raises:
        IntegrityError: there is a name that is no segment's.
    """
    try:
        names = sorted(path.name for path in (directory / "wal").iterdir())
    except FileNotFoundError:
        return []
    for name in names:
        if len(name) != _NAME_DIGITS or not (name.isascii() and name.isdigit()):
            raise IntegrityError(f"unexpected file wal/{name}", hint=_REMEDY)
    return [directory / "wal" / name for name in names]


def read_segment(path: Path, *, is_last: bool) -> Segment:
    """Read and check one segment file.

    Raises:
        FileNotFoundError: it is gone.
        IntegrityError: it does not check out.
    """
    data = read_regular(path, max_bytes=MAX_SEGMENT_BYTES)
    return scan_segment(data, name=f"wal/{path.name}", is_last=is_last)


def read_segments(paths: Sequence[Path]) -> list[Segment]:
    """Read, check and join *paths*, which are all segments in order.

    Raises:
        FileNotFoundError: one is gone.
        IntegrityError: one does not check out or does not continue the one before it.
    """
    segments: list[Segment] = []
    for number, path in enumerate(paths):
        segment = read_segment(path, is_last=number == len(paths) - 1)
        previous = segments[-1] if segments else None
        if previous and (
            segment.base_seq != previous.end_seq or segment.start_chain != previous.end_chain
        ):
            raise _damaged(f"wal/{path.name}", 0, "it does not continue the segment before it")
        segments.append(segment)
    return segments


class WalWriter:
    """Appends frames to the newest segment. Used by one thread; any exception is final."""

    def __init__(
        self, directory: Path, *, files: Files, max_segment_bytes: int, seq: int, chain: bytes
    ) -> None:
        """Start a new segment at *seq*, continuing *chain*."""
        self._directory = directory
        self._files = files
        self._max_segment_bytes = max_segment_bytes
        self._seq = seq
        self._chain = chain
        self._descriptor = -1
        self._bytes = 0
        self._path = self._start_segment()

    @property
    def path(self) -> Path:
        """The segment that is written to."""
        return self._path

    @property
    def seq(self) -> int:
        """The next sequence number to be made durable."""
        return self._seq

    def commit(self, entries: Sequence[bytes]) -> Path | None:
        """Make *entries* durable as one frame; return the segment that this closed, if any.

        Raises:
            OSError: the file system failed; the frame may or may not be there, and the writer must
                not be used again.
        """
        frame = encode_frame(first_seq=self._seq, entries=entries, chain=self._chain)
        closed = None
        if self._bytes + len(frame) > self._max_segment_bytes and self._bytes > 0:
            closed, self._path = self._path, self._start_segment()
        write_all(self._files, self._descriptor, frame)
        self._files.fdatasync(self._descriptor)
        self._chain = sha256(frame).digest()
        self._seq += len(entries)
        self._bytes += len(frame)
        return closed

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _start_segment(self) -> Path:
        self.close()
        path = self._directory / "wal" / segment_name(self._seq)
        header = encode_segment_header(base_seq=self._seq, chain=self._chain)
        replace_file(self._files, scratch=self._directory / "tmp", path=path, data=header)
        self._files.sync_directory(path.parent)
        self._descriptor = self._files.open(path, os.O_WRONLY | os.O_APPEND)
        self._bytes = 0
        return path


def _read_segment_header(data: bytes, name: str) -> tuple[int, bytes]:
    if len(data) < _SEGMENT_HEADER_BYTES:
        raise _damaged(name, 0, "the segment is empty or lost its header")
    header = data[: _SEGMENT.size]
    if data[_SEGMENT.size : _SEGMENT_HEADER_BYTES] != _CRC.pack(crc32(header)):
        raise _damaged(name, 0, "the segment header does not match its checksum")
    magic, base_seq, chain = _SEGMENT.unpack(header)
    if magic != _SEGMENT_MAGIC:
        raise _damaged(name, 0, "not a segment of this version")
    if name.rpartition("/")[2] != segment_name(base_seq):
        raise _damaged(name, 0, "the segment bears another segment's name")
    return base_seq, chain


def _frame_end(data: bytes, position: int, name: str) -> int | None:
    """Return where the frame at *position* ends, or None if only a torn part of it is there."""
    body = position + _FRAME_HEADER_BYTES
    if body > len(data):
        return None
    header = data[position : position + _FRAME.size]
    if data[position + _FRAME.size : body] != _CRC.pack(crc32(header)):
        if _is_lost_from(data, position, body):
            return None
        raise _damaged(name, position, "a frame header does not match its checksum")
    magic, length = struct.unpack_from(">4sI", header)
    if magic != _FRAME_MAGIC or length > MAX_FRAME_PAYLOAD:
        raise _damaged(name, position, "not a frame of this version")
    end: int = body + length
    return end if end <= len(data) else None


def _read_frame(data: bytes, position: int, end: int, name: str) -> Frame | None:
    """Return the frame in ``data[position:end]``, or None if a sector of it is lost (law 2)."""
    body = position + _FRAME_HEADER_BYTES
    _, _, first_seq, count, chain, payload_crc = _FRAME.unpack_from(data, position)
    payload = data[body:end]
    if crc32(payload) != payload_crc:
        if end == len(data) and _has_lost_sector(data, body, end):
            return None
        raise _damaged(name, position, "a frame does not match its checksum")
    entries = unpack_entries(payload)
    if len(entries) != count or not entries:
        raise _damaged(name, position, "a frame holds another number of entries than it says")
    return Frame(first_seq=first_seq, chain=chain, entries=tuple(entries))


def _is_lost_from(data: bytes, start: int, end: int) -> bool:
    """Return whether, from *start* or a sector boundary before *end*, all is zeros to the end."""
    boundary = (start // _SECTOR + 1) * _SECTOR
    return not any(data[start:]) or (boundary < end and not any(data[boundary:]))


def _has_lost_sector(data: bytes, start: int, end: int) -> bool:
    position = start
    while position < end:
        stop = min(end, (position // _SECTOR + 1) * _SECTOR)
        if not any(data[position:stop]):
            return True
        position = stop
    return False


def _damaged(name: str, position: int, what: str) -> IntegrityError:
    return IntegrityError(f"{name}, byte {position}: {what}", hint=_REMEDY)
