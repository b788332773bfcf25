# SPDX-License-Identifier: Apache-2.0
"""The C2SP ``tlog-tiles`` layout: where entries and hashes lie on disk.

``tile/<L>/<N>[.p/<W>]`` holds up to 256 hashes of level *L* (each the root of a full tile below, or
a leaf hash), ``tile/entries/<N>[.p/<W>]`` the entries of leaf tile *N*, each behind its length as
big-endian uint16. *N* is written in groups of three digits, all but the last behind an ``x``. Laws:

1. A tile's content is a function of the entries alone, so writing it again changes nothing.
2. A partial tile exists for every checkpoint that was signed, until its full tile does: a reader
   that holds an older checkpoint finds the exact tiles for it, or the full ones.
3. A partial tile is a prefix of every wider one.

The directory can be served as it is by any static web server.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.audit.entry import MAX_ENTRY_BYTES
from sidecar.audit.files import read_regular
from sidecar.audit.merkle import EMPTY_ROOT, HASH_SIZE, node_hash, range_root
from sidecar.audit.wal import pack_entries, unpack_entries
from sidecar.errors import IntegrityError

__all__ = [
    "ENTRIES",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "RightEdge",
    "TileFile",
    "TileReader",
    "tile_path",
]

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
ENTRIES: Final = "entries"
MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (MAX_ENTRY_BYTES + 2)
_MAX_TILE_BYTES: Final = TILE_WIDTH * HASH_SIZE
_CACHED_TILES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TileFile:
    """One file to be written: its path below the log's directory, and its bytes."""

    path: str
    data: bytes


def tile_path(level: int | str, number: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile (or of a bundle, with *level* ``ENTRIES``) below the directory."""
    path = f"tile/{level}/{_number_path(number)}"
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def _number_path(number: int) -> str:
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


class TileReader:
    """Reads the tiles of the tree with *size* entries; serves as a ``NodeGetter``."""

    def __init__(self, directory: Path, *, size: int) -> None:
        self._directory = directory
        self.size = size
        self._tiles: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._bundle: tuple[int, list[bytes]] = (-1, [])

    def node(self, height: int, index: int) -> bytes:
        """Return the root of the complete subtree over ``[index << height, (index+1) << height)``.

        Raises:
            FileNotFoundError: the tile is not there.
            IntegrityError: the tile is malformed.
        """
        level, rise = divmod(height, TILE_HEIGHT)
        first = index << rise  # the subtree's hashes at the tile's own level
        number, offset = divmod(first, TILE_WIDTH)
        tile = self.tile(level, number)
        width = 1 << rise
        if (offset + width) * HASH_SIZE > len(tile):
            raise ValueError(f"node {height}/{index} is outside a tree of {self.size} entries")
        hashes = [
            tile[HASH_SIZE * position : HASH_SIZE * (position + 1)]
            for position in range(offset, offset + width)
        ]
        return _fold(hashes)

    def tile(self, level: int, number: int) -> bytes:
        """Return tile *number* of *level* at the width it has in this tree."""
        key = (level, number)
        cached = self._tiles.get(key)
        if cached is not None:
            self._tiles.move_to_end(key)
            return cached
        width = self._width(level, number)
        size = width * HASH_SIZE
        path, data = self._read(level, number, width, _MAX_TILE_BYTES)
        if len(data) != size and not (len(data) == _MAX_TILE_BYTES and width < TILE_WIDTH):
            raise IntegrityError(f"{path} has {len(data)} bytes instead of {size}")
        self._tiles[key] = data[:size]
        if len(self._tiles) > _CACHED_TILES:
            self._tiles.popitem(last=False)
        return data[:size]

    def bundle(self, number: int) -> list[bytes]:
        """Return the entries of bundle *number* that belong to this tree."""
        if self._bundle[0] == number:
            return self._bundle[1]
        width = self._width(0, number)
        path, data = self._read(ENTRIES, number, width, MAX_BUNDLE_BYTES)
        try:
            entries = unpack_entries(data)
        except IntegrityError as exc:
            raise IntegrityError(f"{path}: {exc.message}") from exc
        if len(entries) not in (width, TILE_WIDTH):
            raise IntegrityError(f"{path} has {len(entries)} entries instead of {width}")
        self._bundle = (number, entries[:width])
        return entries[:width]

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence number, entry) for ``[start, end)``."""
        index = start
        while index < end:
            number, offset = divmod(index, TILE_WIDTH)
            for entry in self.bundle(number)[offset : offset + end - index]:
                yield index, entry
                index += 1

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the tree over the first *size* entries (all of them by default)."""
        return range_root(self.node, 0, self.size if size is None else size)

    def _width(self, level: int, number: int) -> int:
        width = (self.size >> (TILE_HEIGHT * level)) - number * TILE_WIDTH
        if width <= 0:
            raise ValueError(f"tile {level}/{number} is outside a tree of {self.size} entries")
        return min(width, TILE_WIDTH)

    def _read(self, level: int | str, number: int, width: int, max_bytes: int) -> tuple[str, bytes]:
        path = tile_path(level, number, width)
        try:
            return path, read_regular(self._directory / path, max_bytes=max_bytes)
        except FileNotFoundError:
            if width == TILE_WIDTH:
                raise
        path = tile_path(level, number)  # law 2: the partial tile gave way to the full one
        return path, read_regular(self._directory / path, max_bytes=max_bytes)


@dataclass(slots=True)
class RightEdge:
    """The growing end of the tree: hashes and entries of tiles that are not full yet.

    Full tiles that came up since the last ``take_full`` wait in ``_full``.
    """

    size: int = 0
    rows: list[list[bytes]] = field(default_factory=lambda: [[]])
    bundle: list[bytes] = field(default_factory=list)
    _full: list[TileFile] = field(default_factory=list)
    _written: dict[int, int] = field(default_factory=dict)

    def append(self, entry: bytes, leaf: bytes) -> None:
        """Add *entry*, whose leaf hash is *leaf*."""
        self.rows[0].append(leaf)
        self.bundle.append(entry)
        self.size += 1
        if len(self.bundle) == TILE_WIDTH:
            number = self.size // TILE_WIDTH - 1
            self._add_full(ENTRIES, number, pack_entries(self.bundle))
            self.bundle = []
            self._close_tile(0)

    def root(self) -> bytes:
        """Return the root over all entries."""
        result: bytes | None = None
        for row in self.rows:
            position = len(row)
            for bit in range(TILE_HEIGHT):  # the smallest complete subtree is the rightmost
                if position >> bit & 1 == 0:
                    continue
                start = position - (1 << bit)
                subtree = _fold(row[start:position])
                result = subtree if result is None else node_hash(subtree, result)
                position = start
        return EMPTY_ROOT if result is None else result

    def take_full(self) -> list[TileFile]:
        """Return the tiles and bundles that became full since the last call."""
        files, self._full = self._full, []
        return files

    def take_partial(self) -> list[TileFile]:
        """Return the partial tiles and bundle that a checkpoint at this size still needs.

        They count as written afterwards.
        """
        files: list[TileFile] = []
        for level, row in enumerate(self.rows):
            if not row or self._written.get(level) == len(row):
                continue
            self._written[level] = len(row)
            number = self.size >> (TILE_HEIGHT * (level + 1))
            files.append(_partial(level, number, len(row), b"".join(row)))
            if level == 0:
                files.append(_partial(ENTRIES, number, len(row), pack_entries(self.bundle)))
        return files

    def _close_tile(self, level: int) -> None:
        row = self.rows[level]
        number = (self.size >> (TILE_HEIGHT * (level + 1))) - 1
        self._add_full(level, number, b"".join(row))
        self.rows[level] = []
        self._written.pop(level, None)
        if len(self.rows) == level + 1:
            self.rows.append([])
        self.rows[level + 1].append(_fold(row))
        if len(self.rows[level + 1]) == TILE_WIDTH:
            self._close_tile(level + 1)

    def _add_full(self, level: int | str, number: int, data: bytes) -> None:
        self._full.append(TileFile(path=tile_path(level, number), data=data))

    @classmethod
    def load(cls, reader: TileReader) -> RightEdge:
        """Return the right edge of the tree that *reader* reads.

        Raises:
            FileNotFoundError: a tile is missing.
            IntegrityError: a tile is malformed.
        """
        edge = cls(size=reader.size)
        level = 0
        while reader.size >> (TILE_HEIGHT * level):
            width = (reader.size >> (TILE_HEIGHT * level)) % TILE_WIDTH
            number = reader.size >> (TILE_HEIGHT * (level + 1))
            tile = reader.tile(level, number) if width else b""
            row = [tile[i : i + HASH_SIZE] for i in range(0, len(tile), HASH_SIZE)]
            edge.rows[level:] = [row]
            edge._written[level] = width
            level += 1
        if reader.size % TILE_WIDTH:
            edge.bundle = list(reader.bundle(reader.size // TILE_WIDTH))
        return edge


def _partial(level: int | str, number: int, width: int, data: bytes) -> TileFile:
    return TileFile(path=tile_path(level, number, width), data=data)


def _fold(hashes: list[bytes]) -> bytes:
    """Return the root over *hashes*, a power of two of them."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]
