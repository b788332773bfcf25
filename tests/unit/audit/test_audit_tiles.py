# SPDX-License-Identifier: Apache-2.0
"""The tile layout: paths, widths, and trees rebuilt from what lies on disk."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sidecar.audit.merkle import (
    CompactRange,
    consistency_path,
    inclusion_path,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from sidecar.audit.tiles import ENTRIES, RightEdge, TileFile, TileReader, tile_path
from sidecar.audit.wal import pack_entries
from sidecar.errors import IntegrityError


def store(directory: Path, files: list[TileFile]) -> None:
    for file in files:
        path = directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)


def grow(edge: RightEdge, tree: CompactRange, count: int) -> None:
    for _ in range(count):
        entry = b"entry %d" % edge.size
        leaf = leaf_hash(entry)
        edge.append(entry, leaf)
        tree.append(leaf)


def flush(directory: Path, edge: RightEdge) -> None:
    store(directory, edge.take_full())
    store(directory, edge.take_partial())


@pytest.mark.parametrize(
    ("level", "number", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (3, 999, 1, "tile/3/999.p/1"),
        (ENTRIES, 1000, 255, "tile/entries/x001/000.p/255"),
    ],
)
def test_paths_are_those_of_the_specification(
    level: int | str, number: int, width: int, path: str
) -> None:
    """The specification's own example, and its neighbours."""
    assert tile_path(level, number, width) == path


def test_a_tree_of_70000_has_the_tiles_the_specification_lists() -> None:
    """273 full leaf tiles and one of 112, one full tile and one of 17 above, one of 1 on top."""
    edge = RightEdge()
    leaf = leaf_hash(b"x")
    for _ in range(70_000):
        edge.append(b"x", leaf)

    full = [file.path for file in edge.take_full()]
    partial = {file.path: len(file.data) for file in edge.take_partial()}

    assert sum(path.startswith("tile/0/") for path in full) == 273
    assert sum(path.startswith("tile/entries/") for path in full) == 273
    assert [path for path in full if path.startswith("tile/1/")] == ["tile/1/000"]
    assert partial == {
        "tile/0/273.p/112": 112 * 32,
        "tile/entries/273.p/112": 112 * 3,
        "tile/1/001.p/17": 17 * 32,
        "tile/2/000.p/1": 32,
    }


def test_trees_read_from_disk_are_the_trees_that_were_written(fast_dir: Path) -> None:
    """At every checkpoint size the tiles give root, entries and right edge; older sizes too."""
    rng = random.Random(5)
    edge, tree = RightEdge(), CompactRange()
    roots = {0: tree.root()}

    while edge.size < 1400:
        grow(edge, tree, rng.choice([1, 2, 3, 60, 200, 255, 256, 257]))
        flush(fast_dir, edge)
        roots[edge.size] = tree.root()
        assert edge.root() == tree.root()

        for size, root in roots.items():
            assert TileReader(fast_dir, size=size).root() == root
            assert TileReader(fast_dir, size=edge.size).root(size) == root
        again = RightEdge.load(TileReader(fast_dir, size=edge.size))
        assert (again.size, again.rows, again.bundle) == (edge.size, edge.rows, edge.bundle)
        assert again.take_partial() == again.take_full() == []
        edge = again

    reader = TileReader(fast_dir, size=edge.size)
    assert [entry for _, entry in reader.entries(0, edge.size)] == [
        b"entry %d" % number for number in range(edge.size)
    ]


def test_proofs_from_tiles_verify(fast_dir: Path) -> None:
    """Inclusion and consistency proofs made from tiles hold against the roots."""
    edge, tree = RightEdge(), CompactRange()
    roots = {}
    for count in (100, 156, 1, 500):
        grow(edge, tree, count)
        flush(fast_dir, edge)
        roots[edge.size] = tree.root()
    reader = TileReader(fast_dir, size=edge.size)

    for index in (0, 1, 99, 255, 256, 511, 512, 756):
        for size, root in roots.items():
            if index < size:
                verify_inclusion(
                    leaf_hash(b"entry %d" % index),
                    index=index,
                    size=size,
                    path=inclusion_path(reader.node, index, size),
                    root=root,
                )
    for old in roots:
        for new in roots:
            if old <= new:
                verify_consistency(
                    old_size=old,
                    old_root=roots[old],
                    new_size=new,
                    new_root=roots[new],
                    path=consistency_path(reader.node, old, new),
                )


def test_an_older_tree_is_read_from_the_full_tile(fast_dir: Path) -> None:
    """When a partial tile gave way to the full one, its reader still finds what it needs."""
    edge, tree = RightEdge(), CompactRange()
    grow(edge, tree, 100)
    flush(fast_dir, edge)
    root = tree.root()
    grow(edge, tree, 156)
    flush(fast_dir, edge)
    (fast_dir / "tile/0/000.p/100").unlink()
    (fast_dir / "tile/entries/000.p/100").unlink()

    reader = TileReader(fast_dir, size=100)

    assert reader.root() == root
    assert len(reader.bundle(0)) == 100


def test_malformed_tiles_are_integrity_errors(fast_dir: Path) -> None:
    """A tile or bundle of another length is damage."""
    edge, tree = RightEdge(), CompactRange()
    grow(edge, tree, 5)
    flush(fast_dir, edge)
    tile, bundle = fast_dir / "tile/0/000.p/5", fast_dir / "tile/entries/000.p/5"

    for data in (b"", bytes(31), bytes(32 * 4), bytes(32 * 6)):
        tile.write_bytes(data)
        with pytest.raises(IntegrityError):
            TileReader(fast_dir, size=5).root()
    for data in (b"", b"\x00", pack_entries([b"x"] * 4), pack_entries([b"x"] * 6), b"\xff\xff1"):
        bundle.write_bytes(data)
        with pytest.raises(IntegrityError):
            TileReader(fast_dir, size=5).bundle(0)


def test_asking_outside_the_tree_is_misuse(fast_dir: Path) -> None:
    """Nodes and tiles that the tree does not have are our mistake."""
    edge, tree = RightEdge(), CompactRange()
    grow(edge, tree, 5)
    flush(fast_dir, edge)
    reader = TileReader(fast_dir, size=5)

    with pytest.raises(ValueError, match="outside"):
        reader.node(0, 5)
    with pytest.raises(ValueError, match="outside"):
        reader.tile(0, 1)
    with pytest.raises(ValueError, match="outside"):
        reader.tile(1, 0)
