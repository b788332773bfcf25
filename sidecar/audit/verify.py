# SPDX-License-Identifier: Apache-2.0
"""The offline verifier of audit logs.

It shares no code with the writer: the Merkle tree, the notes, the frames and the canonical form are
written a second time here, from the formats. It needs Python 3.11 and ``cryptography``; this file
alone can be copied to another machine and run there::

    python verify.py DIRECTORY --key KEYFILE [--checkpoint FILE]...
    python verify.py --proof PROOF.json --key KEYFILE

KEYFILE holds the log's verifier key (``name+keyid+base64``), if need be followed by
``not-after=2027-01-01T00:00:00Z``. FILE holds checkpoints that somebody else kept: one signed note,
or the list that an anchor file is. A log passes only if all of these are shown:

1.  *Files*: everything read is a regular file of sane size; no links, no strangers under ``tile/``
    and ``wal/``.
2.  *Checkpoint*: it is well formed, of the origin that the key names, and carries exactly one
    signature, by that key.
3.  *Entries*: the bundles hold exactly the entries that the checkpoint counts.
4.  *Form*: each entry is canonical JSON, bears its own number and this origin, and holds nothing
    that steers a terminal.
5.  *Root*: the Merkle root over the entries is the one signed.
6.  *Tiles*: every hash tile and every partial form of a tile or bundle is what the entries make it.
7.  *Head*: the last head to be signed is not older than the checkpoint, and it fits the entries.
8.  *Tail*: the frames in ``wal/`` form one unbroken chain, agree with the bundles, and end no
    earlier than the head. Entries behind the checkpoint are reported as ``unsigned_entries``: they
    are durable and chained, but no signature covers them yet.
9.  *Torn*: no half-written frame ends the log. A crash can leave one; opening the log cuts it. No
    entry in it was acknowledged. It is reported on its own, and it is not a pass.
10. *Holders*: every checkpoint held elsewhere is a prefix of this log, and not newer than its own.
11. *Key*: no signed entry is younger than the key's expiry.

Exit status: 0 for a full pass and nothing else; 1 for a log that does not verify, 2 for wrong
usage, 3 if a torn tail is the only problem, 4 if the verifier itself broke.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import stat
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = [
    "Problem",
    "VerifyReport",
    "main",
    "verify_checkpoint",
    "verify_directory",
    "verify_proof",
]

_WIDTH: Final = 256
_HASH: Final = 32
_MAX_ENTRY: Final = 65535
_MAX_NOTE: Final = 16 * 1024
_MAX_SEGMENT: Final = 64 * 1024 * 1024
_MAX_PAYLOAD: Final = 1024 * 1024
_MAX_INTEGER: Final = 2**53 - 1
_MAX_PROBLEMS: Final = 100
_MAX_HELD_BYTES: Final = 1024 * 1024 * 1024
_ATTEMPTS: Final = 5

_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}\Z")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z\Z")
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z")
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_TILE = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})\Z")
_PARTIAL = re.compile(r"(.*)\.p/([1-9][0-9]{0,2})\Z")
_SEGMENT_NAME = re.compile(r"[0-9]{20}\Z")
_SEGMENT: Final = struct.Struct(">8sQ32sI")
_FRAME: Final = struct.Struct(">4sIQI32sII")
_NOTE = re.compile(
    rb"(([^\n]{1,128})\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/=]{44})\n)"
    rb"\n\xe2\x80\x94 ([^\n ]{1,128}) ([A-Za-z0-9+/=]{1,256})\n\Z"
)
_HEAD = re.compile(
    rb"(holdfast audit head v1\n([^\n]{1,128})\n(0|[1-9][0-9]{0,18})\n([0-9a-f]{64})\n)"
    rb"([0-9a-f]{64})\n\Z"
)
_EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that does not verify; ``index`` is the first entry it concerns, if that is known."""

    index: int | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The verdict on a log."""

    ok: bool
    """Whether everything was shown. Nothing else is a pass."""
    origin: str
    size: int
    """Entries that the checkpoint covers."""
    root: str
    """Hex root over them, as computed from the entries."""
    unsigned_entries: int
    """Durable entries behind the checkpoint; chained, not yet signed."""
    torn_tail_bytes: int
    problems: tuple[Problem, ...]

    @property
    def first_bad_index(self) -> int | None:
        """The first entry that a problem concerns, if any is known."""
        known = [problem.index for problem in self.problems if problem.index is not None]
        return min(known, default=None)

    @property
    def is_torn_only(self) -> bool:
        """Whether a torn tail is all that is wrong."""
        return not self.ok and self.torn_tail_bytes > 0 and len(self.problems) == 1


class _BadError(Exception):
    """Something does not verify; carries the entry it concerns."""

    def __init__(self, what: str, index: int | None = None) -> None:
        super().__init__(what)
        self.index = index


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    key_id: bytes
    public_key: Ed25519PublicKey
    not_after: str


@dataclass(frozen=True, slots=True)
class _Note:
    origin: str
    size: int
    root: bytes


def verify_directory(
    directory: str | Path, *, vkey: str | None, held_checkpoints: Sequence[str] = ()
) -> VerifyReport:
    """Verify the log in *directory*.

    Args:
        directory: The log's directory. A log that is being written to may be verified; if it grew
            meanwhile, the verifier starts over.
        vkey: The log's verifier key. Without one nothing can pass.
        held_checkpoints: Checkpoints that somebody else kept.

    Returns:
        The report. Bad input never raises; it is a problem in the report.
    """
    path = os.path.abspath(directory)
    for _ in range(_ATTEMPTS):
        before = _fingerprint(path)
        report = _Verifier(path, vkey, held_checkpoints).run()
        if report.ok or _fingerprint(path) == before:
            return report
    return report


def verify_proof(proof: Mapping[str, Any], *, vkey: str | None) -> VerifyReport:
    """Verify an inclusion proof as ``holdfast audit prove`` makes it, with nothing but the key."""
    problems: list[Problem] = []
    origin, size, root = "", 0, _EMPTY_ROOT
    try:
        key = _parse_key(vkey)
        note = _open_note(_text(proof, "checkpoint"), key)
        origin, size, root = note.origin, note.size, note.root
        index, entry = proof.get("index"), _text(proof, "entry").encode("utf-8")
        if proof.get("version") != 1 or proof.get("size") != size or proof.get("origin") != origin:
            raise _BadError("the proof does not fit its checkpoint")
        if type(index) is not int or not 0 <= index < size:
            raise _BadError("the proof's index is not in the tree")
        _check_entry(entry, index, key)
        path = proof.get("path")
        if not isinstance(path, list) or not all(isinstance(node, str) for node in path):
            raise _BadError("the proof's path is malformed")
        hashes = [_base64(node, "path") for node in path]
        if _root_of_path(_leaf(entry), index, size, hashes) != note.root:
            raise _BadError("the entry is not in the signed tree", index)
    except (_BadError, UnicodeError, RecursionError) as exc:
        problems.append(Problem(index=getattr(exc, "index", None), what=str(exc)))
    return VerifyReport(
        ok=not problems,
        origin=origin,
        size=size,
        root=root.hex(),
        unsigned_entries=0,
        torn_tail_bytes=0,
        problems=tuple(problems),
    )


def verify_checkpoint(text: str, *, vkey: str | None) -> VerifyReport:
    """Verify that a checkpoint is well formed and signed by the log's key; says nothing of entries."""
    problems: list[Problem] = []
    origin, size, root = "", 0, _EMPTY_ROOT
    try:
        note = _open_note(text, _parse_key(vkey))
        origin, size, root = note.origin, note.size, note.root
    except (_BadError, UnicodeError) as exc:
        problems.append(Problem(index=None, what=str(exc)))
    return VerifyReport(
        ok=not problems,
        origin=origin,
        size=size,
        root=root.hex(),
        unsigned_entries=0,
        torn_tail_bytes=0,
        problems=tuple(problems),
    )


class _Tree:
    """RFC 6962: complete subtrees as (height, hash), left to right."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash; merge subtrees of equal height."""
        height = 0
        while self._parts and self._parts[-1][0] == height:
            leaf = _node(self._parts.pop()[1], leaf)
            height += 1
        self._parts.append((height, leaf))
        self.size += 1

    def root(self) -> bytes:
        """Return the root: fold the subtrees from the right."""
        if not self._parts:
            return _EMPTY_ROOT
        result = self._parts[-1][1]
        for _, part in reversed(self._parts[:-1]):
            result = _node(part, result)
        return result


class _Verifier:
    """One walk over one directory. The numbers in comments are those of the module docstring."""

    def __init__(self, directory: str, vkey: str | None, held: Sequence[str]) -> None:
        self._directory = directory
        self._vkey = vkey
        self._held_texts = held
        self._problems: list[Problem] = []
        self._files: dict[tuple[str, int], dict[int, str]] = {}  # (level, number) → width → path
        self._torn_bytes = 0
        self._wal_base = 0
        self._wal_end = 0
        self._wal_leaves: list[bytes] = []
        self._tail: list[bytes] = []
        self._tree = _Tree()
        self._roots: dict[int, bytes] = {0: _EMPTY_ROOT}
        self._wanted: set[int] = set()

    def run(self) -> VerifyReport:
        """Return the verdict."""
        key: _Key | None = None
        note: _Note | None = None
        try:
            key = _parse_key(self._vkey)
            self._check_directory()
            note = _open_note(self._read("checkpoint", _MAX_NOTE), key)  # 2
            self._verify(note, key)
        except (_BadError, OSError, RecursionError) as exc:
            self._add(str(exc), getattr(exc, "index", None))
        root = self._roots.get(note.size) if note else None
        return VerifyReport(
            ok=not self._problems,
            origin=key.name if key else "",
            size=note.size if note else 0,
            root=root.hex() if root else "",
            unsigned_entries=len(self._tail),
            torn_tail_bytes=self._torn_bytes,
            problems=tuple(self._problems),
        )

    def _add(self, what: str, index: int | None = None) -> None:
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(Problem(index=index, what=what))

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """Let one obligation fail without hiding the others."""
        try:
            yield
        except (_BadError, OSError) as exc:
            self._add(str(exc), getattr(exc, "index", None))

    def _verify(self, note: _Note, key: _Key) -> None:
        held: list[_Note] = []
        heads: list[_Note] = []
        for text in self._held_texts:
            with self._collecting():
                held.append(_open_note(text.encode("utf-8", errors="replace"), key))
        with self._collecting():
            heads.append(_parse_head(self._read("head", _MAX_NOTE), key))
        with self._collecting():
            self._list_tiles("tile")
        with self._collecting():
            self._read_wal(note.size)
        self._wanted = {note.size, *(other.size for other in (*held, *heads))}
        total = note.size + len(self._tail)
        with self._collecting():
            self._walk(note.size, total, key)
        self._check_root("the signed checkpoint", note)  # 5
        for head in heads:  # 7, 8
            if head.size < note.size:
                self._add("the head is older than the checkpoint: something was restored")
            elif head.size > self._wal_end:
                self._add("the log ends before its head: entries were cut off", self._wal_end)
            self._check_root("the head", head)
        for other in held:  # 10
            if other.size > note.size:
                self._add(
                    f"a checkpoint held elsewhere covers {other.size} entries (root"
                    f" {other.root.hex()}), the log's own {note.size} (root {note.root.hex()}):"
                    " the log was cut or restored",
                    note.size,
                )
            self._check_root("a checkpoint held elsewhere", other)
        if self._tree.size == total:
            for forms in self._files.values():  # what the walk did not come by
                self._add(f"unexpected file {next(iter(forms.values()))}")

    def _check_root(self, whose: str, expected: _Note) -> None:
        root = self._roots.get(expected.size)
        if root is not None and root != expected.root:
            self._add(
                f"at {expected.size} entries {whose} has the root {expected.root.hex()}, the"
                f" entries lead to {root.hex()}; no consistency proof exists"
            )
        elif root is None and expected.size > self._tree.size:
            self._add(
                f"{whose} covers {expected.size} entries, but only {self._tree.size} are there",
                self._tree.size,
            )

    # -- files (1) -----------------------------------------------------------------------------

    def _check_directory(self) -> None:
        for name in ("", "tile", "wal"):
            try:
                mode = os.lstat(self._path(name)).st_mode
            except FileNotFoundError:
                if not name:
                    raise _BadError("there is no such directory") from None
                continue
            if not stat.S_ISDIR(mode):
                raise _BadError(f"{name or 'the log'} is not a directory")

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}" if name else self._directory

    def _read(self, name: str, max_bytes: int) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path(name), flags)
        except OSError as exc:
            raise _BadError(f"{name} cannot be read: {exc.strerror}") from exc
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
                raise _BadError(f"{name} is not a regular file of at most {max_bytes} bytes")
            data = file.read(status.st_size)
            if data is None or len(data) != status.st_size:
                raise _BadError(f"{name} changed while it was read")
            return data

    def _list_tiles(self, name: str) -> None:
        if not os.path.exists(self._path(name)):
            return
        for item in sorted(os.scandir(self._path(name)), key=lambda item: item.name):
            path = f"{name}/{item.name}"
            if item.is_dir(follow_symlinks=False):
                self._list_tiles(path)
                continue
            partial = _PARTIAL.match(path)
            tile = _TILE.match(partial[1] if partial else path)
            width = int(partial[2]) if partial else _WIDTH
            if not item.is_file(follow_symlinks=False) or not tile or width > _WIDTH:
                self._add(f"unexpected file {path}")
                continue
            number = int(tile[2].replace("/", "").replace("x", ""))
            self._files.setdefault((tile[1], number), {})[width] = path

    def _forms(self, level: str, number: int, size: int) -> tuple[dict[int, str], int]:
        """Return the files of a tile by width, and the width that a tree of *size* needs (3, 6)."""
        forms = self._files.pop((level, number), {})
        needed = min(_WIDTH, max(0, (size >> 8 * _rank(level)) - number * _WIDTH))
        if needed and needed not in forms and _WIDTH not in forms:
            self._add(f"tile/{level} number {number} is missing at width {needed}")
        return forms, needed

    # -- entries and tiles (3 to 6, 11) --------------------------------------------------------

    def _walk(self, size: int, total: int, key: _Key) -> None:
        rows: list[list[bytes]] = [[]]
        for number in range((total + _WIDTH - 1) // _WIDTH):
            first = number * _WIDTH
            forms, needed = self._forms("entries", number, size)
            entries = self._bundle(forms, needed)
            is_whole = len(entries) == needed
            if is_whole:
                start = max(0, first + needed - size)
                entries += self._tail[start : start + _WIDTH - needed]
            for index, entry in enumerate(entries, first):
                try:
                    _check_entry(entry, index, key, is_signed=index < size)
                except _BadError as exc:
                    self._add(str(exc), exc.index)
                self._grow(rows, 0, self._take(entry, index, size), size)
            if not is_whole:
                raise _BadError(
                    f"the bundle of entries from {first} on is damaged", self._tree.size
                )
            self._compare(forms, _pack(entries), _offsets(entries), first, 0)
        for level, row in enumerate(rows):
            if row:
                self._check_tile(level, self._tree.size >> 8 * (level + 1), row, size)

    def _take(self, entry: bytes, index: int, size: int) -> bytes:
        """Add *entry* to the tree and return its leaf hash."""
        leaf = _leaf(entry)
        self._tree.append(leaf)
        if self._tree.size in self._wanted:
            self._roots[self._tree.size] = self._tree.root()
        is_in_wal = self._wal_base <= index < min(size, self._wal_end)
        if is_in_wal and self._wal_leaves[index - self._wal_base] != leaf:
            self._add("the bundle and wal disagree on an entry", index)
        return leaf

    def _bundle(self, forms: Mapping[int, str], needed: int) -> list[bytes]:
        """Return the *needed* entries of a bundle, fewer if it is damaged."""
        if not needed or not forms:
            return []
        name = forms.get(needed) or forms[max(forms)]
        entries, _ = _unpack(self._read(name, _WIDTH * (_MAX_ENTRY + 2)))
        return entries[:needed]

    def _grow(self, rows: list[list[bytes]], level: int, node: bytes, size: int) -> None:
        row = rows[level]
        row.append(node)
        if len(row) < _WIDTH:
            return
        number = (self._tree.size >> 8 * (level + 1)) - 1
        self._check_tile(level, number, row, size)
        tile = _Tree()
        for node in row:
            tile.append(node)
        rows[level] = []
        if len(rows) == level + 1:
            rows.append([])
        self._grow(rows, level + 1, tile.root(), size)

    def _check_tile(self, level: int, number: int, row: Sequence[bytes], size: int) -> None:
        with self._collecting():
            forms, _ = self._forms(str(level), number, size)
            offsets = [_HASH * width for width in range(len(row) + 1)]
            first = (number * _WIDTH) << 8 * level
            self._compare(forms, b"".join(row), offsets, first, level)

    def _compare(
        self,
        forms: Mapping[int, str],
        expected: bytes,
        offsets: Sequence[int],
        first: int,
        level: int,
    ) -> None:
        """Check every form of a tile or bundle against the bytes that the entries make."""
        for width, name in forms.items():
            if width >= len(offsets):
                self._add(f"unexpected file {name}", first + (len(offsets) - 1 << 8 * level))
                continue
            data = self._read(name, _WIDTH * (_MAX_ENTRY + 2))
            if data != expected[: offsets[width]]:
                differs = _first_difference(data, expected[: offsets[width]])
                position = max(w for w in range(width) if offsets[w] <= differs or w == 0)
                index = first + (position << 8 * level)
                self._add(f"{name} does not fit the entries from {index} on", index)

    # -- wal (8, 9) ----------------------------------------------------------------------------

    def _read_wal(self, size: int) -> None:
        names = sorted(item.name for item in os.scandir(self._path("wal")))
        if not names:
            raise _BadError("wal is empty")
        chain: bytes | None = None
        for name in names:
            if not _SEGMENT_NAME.match(name):
                raise _BadError(f"unexpected file wal/{name}")
            data = self._read(f"wal/{name}", _MAX_SEGMENT)
            if len(data) < _SEGMENT.size:
                raise _BadError(f"wal/{name} is empty or cut")
            magic, base, start, crc = _SEGMENT.unpack_from(data)
            if magic != b"HFWAL\0\0\1" or crc != zlib.crc32(data[: _SEGMENT.size - 4]):
                raise _BadError(f"wal/{name} has a damaged header")
            if chain is None:
                self._wal_base = self._wal_end = base
                if base > size:
                    raise _BadError(f"wal begins at {base}, after the checkpoint", size)
            if int(name) != base or base != self._wal_end or chain not in (None, start):
                raise _BadError(f"wal/{name} does not continue what was before", self._wal_end)
            chain = self._read_frames(data, start, size, name=name, is_last=name == names[-1])

    def _read_frames(
        self, data: bytes, chain: bytes, size: int, *, name: str, is_last: bool
    ) -> bytes:
        position = _SEGMENT.size
        while position < len(data):
            end = _frame_end(data, position)
            if end is None:  # torn
                if not is_last:
                    raise _BadError(f"wal/{name} was continued behind a torn frame", self._wal_end)
                self._torn_bytes = len(data) - position
                self._add(
                    f"torn tail: {self._torn_bytes} bytes of a frame that was never acknowledged;"
                    " opening the log cuts it"
                )
                break
            entries = _frame_entries(data, position, end, chain, self._wal_end)
            for entry in entries:
                if self._wal_end < size:
                    self._wal_leaves.append(_leaf(entry))
                else:
                    self._tail.append(entry)
                self._wal_end += 1
            chain = hashlib.sha256(data[position:end]).digest()
            position = end
        return chain


# -- frames ------------------------------------------------------------------------------------


def _frame_end(data: bytes, position: int) -> int | None:
    """Return where the frame at *position* ends; None if a crash left only part of it (9)."""
    body = position + _FRAME.size
    if body > len(data):
        return None
    magic, length, first, _, _, payload_crc, crc = _FRAME.unpack_from(data, position)
    boundary = (position // 512 + 1) * 512
    if crc != zlib.crc32(data[position : body - 4]):
        if not any(data[position:]) or (boundary < body and not any(data[boundary:])):
            return None
        raise _BadError(f"a frame header at byte {position} of wal is damaged")
    if magic != b"HFF1" or length > _MAX_PAYLOAD:
        raise _BadError(f"no frame of this version at byte {position} of wal", first)
    end: int = body + length
    if end > len(data):
        return None
    if payload_crc != zlib.crc32(data[body:end]):
        if end == len(data) and _has_zero_sector(data, body):
            return None
        raise _BadError(f"the frame at byte {position} of wal fails its checksum", first)
    return end


def _has_zero_sector(data: bytes, position: int) -> bool:
    while position < len(data):
        stop = min(len(data), (position // 512 + 1) * 512)
        if not any(data[position:stop]):
            return True
        position = stop
    return False


def _frame_entries(data: bytes, position: int, end: int, chain: bytes, seq: int) -> list[bytes]:
    _, _, first, count, before, _, _ = _FRAME.unpack_from(data, position)
    if first != seq or before != chain:
        raise _BadError("a frame does not continue the one before it", seq)
    entries, rest = _unpack(data[position + _FRAME.size : end])
    if rest or len(entries) != count or not entries:
        raise _BadError("a frame holds another number of entries than it says", seq)
    return entries


def _unpack(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the length-prefixed entries of *data* and what is left over."""
    entries: list[bytes] = []
    position = 0
    while position + 2 <= len(data):
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        if end > len(data):
            break
        entries.append(data[position + 2 : end])
        position = end
    return entries, data[position:]


def _pack(entries: Sequence[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def _offsets(entries: Sequence[bytes]) -> list[int]:
    offsets = [0]
    for entry in entries:
        offsets.append(offsets[-1] + 2 + len(entry))
    return offsets


def _first_difference(data: bytes, expected: bytes) -> int:
    for position, (one, other) in enumerate(zip(data, expected, strict=False)):
        if one != other:
            return position
    return min(len(data), len(expected))


def _rank(level: str) -> int:
    return 0 if level == "entries" else int(level)


# -- entries (4, 11) ---------------------------------------------------------------------------


def _check_entry(entry: bytes, index: int, key: _Key, *, is_signed: bool = True) -> None:
    try:
        line = entry.decode("utf-8")
        fields = json.loads(
            line,
            parse_float=_reject,
            parse_constant=_reject,
            parse_int=_integer,
            object_pairs_hook=_unique,
        )
        again = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError) as exc:
        raise _BadError(f"entry {index} is not canonical JSON", index) from exc
    if again != line or not isinstance(fields, dict) or len(entry) > _MAX_ENTRY:
        raise _BadError(f"entry {index} is not a canonical JSON object", index)
    unescaped = line.replace("\\\\", "").replace('\\"', "")
    if _STEERING.search(line) or "\\" in unescaped:
        raise _BadError(f"entry {index} holds control characters", index)
    if fields.get("seq") != index or fields.get("origin") != key.name or fields.get("v") != 1:
        raise _BadError(f"entry {index} bears another number, origin or version", index)
    moment, kind, boot = fields.get("time"), fields.get("kind"), fields.get("boot_ns")
    if not isinstance(moment, str) or not isinstance(kind, str) or not isinstance(boot, str):
        raise _BadError(f"entry {index} lacks time, kind or boot_ns", index)
    if not _TIME.match(moment) or not _KIND.match(kind) or not _NUMBER.match(boot):
        raise _BadError(f"entry {index} has a malformed time, kind or boot_ns", index)
    if is_signed and key.not_after and moment >= key.not_after:
        raise _BadError(f"entry {index} was signed after the key expired", index)


def _reject(text: str) -> NoReturn:
    raise ValueError(f"{text} has no place in an entry")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > _MAX_INTEGER:
        raise ValueError("integer too wide")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs) or not all(key.isascii() for key in fields):
        raise ValueError("duplicate or non-ASCII key")
    return fields


# -- hashes, notes, heads, keys (2, 7) ---------------------------------------------------------


def _leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _root_of_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root to which *path* leads (RFC 6962 2.1.1, by its own recursion)."""
    if size == 1:
        if path:
            raise _BadError("the path is too long", index)
        return leaf
    if not path:
        raise _BadError("the path is too short", index)
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return _node(_root_of_path(leaf, index, split, path[:-1]), path[-1])
    return _node(path[-1], _root_of_path(leaf, index - split, size - split, path[:-1]))


def _parse_key(text: str | None) -> _Key:
    if not text:
        raise _BadError("without the log's verifier key nothing can be verified")
    vkey, _, extra = text.strip().partition(" ")
    not_after = ""
    if extra:
        name, _, value = extra.strip().partition("=")
        if name != "not-after":
            raise _BadError("the key file holds something unknown")
        not_after = _moment(value)
    parts = vkey.split("+", 2)
    if len(parts) != 3 or not _ORIGIN.match(parts[0]):
        raise _BadError("the verifier key is malformed")
    raw = _base64(parts[2], "verifier key")
    key_id = hashlib.sha256(parts[0].encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != 1 or parts[1] != key_id.hex():
        raise _BadError("the verifier key is malformed")
    public_key = Ed25519PublicKey.from_public_bytes(raw[1:])
    return _Key(name=parts[0], key_id=key_id, public_key=public_key, not_after=not_after)


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise _BadError("the key's expiry is malformed") from exc
    if moment.tzinfo is None:
        raise _BadError("the key's expiry needs a time zone")
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z"


def _open_note(data: bytes | str, key: _Key) -> _Note:
    raw = data.encode("utf-8", errors="replace") if isinstance(data, str) else data
    match = _NOTE.match(raw)
    if not match or len(raw) > _MAX_NOTE:
        raise _BadError("the checkpoint is not a note with exactly one signature")
    body, origin, size, root, name, line = match.groups()
    signature = _base64(line.decode("ascii"), "signature")
    if origin != key.name.encode() or name != origin:
        raise _BadError("the checkpoint is of another log than the key")
    if len(signature) != 4 + 64 or signature[:4] != key.key_id:
        raise _BadError("the checkpoint is not signed by this key")
    try:
        key.public_key.verify(signature[4:], body)
    except InvalidSignature as exc:
        raise _BadError("the checkpoint's signature is wrong") from exc
    return _Note(origin=key.name, size=int(size), root=_hash(root.decode("ascii")))


def _parse_head(data: bytes, key: _Key) -> _Note:
    match = _HEAD.match(data)
    if not match or hashlib.sha256(match[1]).hexdigest().encode() != match[5]:
        raise _BadError("the head is damaged")
    if match[2] != key.name.encode():
        raise _BadError("the head is of another log")
    return _Note(origin=key.name, size=int(match[3]), root=bytes.fromhex(match[4].decode("ascii")))


def _hash(text: str) -> bytes:
    raw = _base64(text, "root")
    if len(raw) != _HASH:
        raise _BadError("a root is malformed")
    return raw


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _BadError(f"the {what} is not base64") from exc
    if base64.b64encode(raw).decode("ascii") != text:
        raise _BadError(f"the {what} is not canonical base64")
    return raw


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise _BadError(f"the proof lacks {name}")
    return value


def _fingerprint(directory: str) -> object:
    """Return what changes when a log grows, to tell a moving log from a damaged one."""
    try:
        status = os.lstat(f"{directory}/checkpoint")
        names = os.scandir(f"{directory}/wal")
        segments = sorted((item.name, item.stat(follow_symlinks=False).st_size) for item in names)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size, segments


# -- command line ------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="verify", description="Verify a Holdfast audit log, offline."
    )
    parser.add_argument("directory", nargs="?", help="the log's directory")
    parser.add_argument("--key", required=True, help="file with the log's verifier key")
    parser.add_argument(
        "--checkpoint", action="append", default=[], help="file with checkpoints held elsewhere"
    )
    parser.add_argument("--proof", help="verify this inclusion proof instead of a directory")
    options = parser.parse_args(arguments)
    if bool(options.directory) == bool(options.proof):
        parser.error("name a directory or a proof")
    try:
        key = _read_small(options.key, _MAX_NOTE)
        if options.proof:
            proof = json.loads(_read_small(options.proof, 16 * _MAX_ENTRY))
            report = verify_proof(proof if isinstance(proof, dict) else {}, vkey=key)
        else:
            held = [text for name in options.checkpoint for text in _read_held(name)]
            report = verify_directory(options.directory, vkey=key, held_checkpoints=held)
    except (OSError, ValueError, RecursionError, _BadError) as exc:
        sys.stderr.write(f"verify: {exc}\n")
        return 2
    except Exception as exc:  # noqa: BLE001 - whatever breaks here must not look like a pass
        sys.stderr.write(f"verify: internal error: {type(exc).__name__}\n")
        return 4
    sys.stdout.write(_render(report))
    if report.ok:
        return 0
    return 3 if report.is_torn_only else 1


def _render(report: VerifyReport) -> str:
    lines = [
        f"log       {report.origin or '-'}",
        f"entries   {report.size} signed, {report.unsigned_entries} behind the checkpoint",
        f"root      {report.root or '-'}",
    ]
    for problem in report.problems:
        place = "" if problem.index is None else f" (entry {problem.index})"
        lines.append(f"PROBLEM   {problem.what}{place}")
    lines.append("VERIFIED" if report.ok else "NOT VERIFIED")
    return "".join(ascii(line)[1:-1] + "\n" for line in lines)


def _read_small(name: str, max_bytes: int) -> str:
    if os.stat(name).st_size > max_bytes:
        raise _BadError(f"{name} is too large")
    return Path(name).read_text(encoding="utf-8")


def _read_held(name: str) -> list[str]:
    """Return the checkpoints in a file: one note, or one JSON object a line."""
    text = _read_small(name, _MAX_HELD_BYTES)
    if not text.startswith("{"):
        return [text]
    held = []
    for line in filter(None, text.split("\n")):
        try:
            document = json.loads(line)
        except ValueError:
            continue  # a crash of the holder left half a line
        if isinstance(document, dict) and isinstance(document.get("checkpoint"), str):
            held.append(document["checkpoint"])
    if not held:
        raise _BadError(f"{name} holds no checkpoint")
    return held


if __name__ == "__main__":
    sys.exit(main())
