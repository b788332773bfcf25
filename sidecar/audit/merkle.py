# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree of RFC 6962 (SHA-256), without I/O.

Laws:

1. A leaf is hashed as ``SHA-256(0x00 ‖ entry)``, an inner node as ``SHA-256(0x01 ‖ left ‖ right)``:
   a leaf can never be passed off as a node.
2. The tree over *n* leaves splits at the largest power of two below *n*; the empty tree's root is
   ``SHA-256("")``.
3. An inclusion or consistency proof is accepted only if it has exactly the length that its
   sizes call for and leads to exactly the stated roots. A check that fails *raises*; there is no
   boolean that a caller could forget to look at.

``NodeGetter(height, index)`` returns the root of the complete subtree over the leaves
``[index << height, (index + 1) << height)``; the tile reader provides one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from sidecar.errors import IntegrityError

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "CompactRange",
    "NodeGetter",
    "consistency_path",
    "inclusion_path",
    "leaf_hash",
    "node_hash",
    "range_root",
    "verify_consistency",
    "verify_inclusion",
]

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()

NodeGetter = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of *entry* as a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the inner node over *left* and *right*."""
    return sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The roots of the complete subtrees that make up the first ``size`` leaves, left to right."""

    __slots__ = ("_nodes", "size")

    def __init__(self) -> None:
        self.size = 0
        self._nodes: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add the leaf hash *leaf* on the right."""
        size = self.size
        while size & 1:
            leaf = node_hash(self._nodes.pop(), leaf)
            size >>= 1
        self._nodes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over everything appended so far."""
        if not self._nodes:
            return EMPTY_ROOT
        root = self._nodes[-1]
        for node in self._nodes[-2::-1]:
            root = node_hash(node, root)
        return root


def range_root(node: NodeGetter, start: int, end: int) -> bytes:
    """Return the root of the subtree over the leaves ``[start, end)``.

    The range must be one that RFC 6962 gives a node: left-aligned to the next power of two.
    """
    width = end - start
    if width == 0:
        return EMPTY_ROOT
    if width & (width - 1) == 0:
        height = width.bit_length() - 1
        return node(height, start >> height)
    split = start + _split(width)
    return node_hash(range_root(node, start, split), range_root(node, split, end))


def inclusion_path(node: NodeGetter, index: int, size: int) -> list[bytes]:
    """Return the proof that leaf *index* is in the tree of *size* leaves (``PATH`` of RFC 6962).

    Raises:
        ValueError: *index* is not in that tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"entry {index} is not in a tree of {size} entries")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            path.append(range_root(node, split, end))
            end = split
        else:
            path.append(range_root(node, start, split))
            start = split
    path.reverse()
    return path


def consistency_path(node: NodeGetter, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of *old* leaves is a prefix of that of *new* leaves.

    Raises:
        ValueError: *old* is larger than *new*.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} entries cannot extend one of {old}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end = 0, new
    whole = True  # RFC 6962 2.1.2: the old root itself is known while nothing was cut off its left
    while old != end:
        split = start + _split(end - start)
        if old <= split:
            path.append(range_root(node, split, end))
            end = split
        else:
            path.append(range_root(node, start, split))
            start, whole = split, False
    if not whole:
        path.append(range_root(node, start, end))
    path.reverse()
    return path


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Check that *path* leads from *leaf* at *index* to *root* (RFC 9162, 2.1.3.2).

    Raises:
        IntegrityError: it does not.
    """
    if not 0 <= index < size:
        raise IntegrityError(f"entry {index} is not in a tree of {size} entries")
    node, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise IntegrityError("the inclusion proof is too long")
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise IntegrityError("the inclusion proof is too short")
    if not compare_digest(result, root):
        raise IntegrityError(f"entry {index} is not in the tree with root {root.hex()}")


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the new tree extends the old one (RFC 9162, 2.1.4.2).

    Raises:
        IntegrityError: it does not; the message holds both heads.
    """
    refusal = IntegrityError(
        f"the tree of {new_size} entries with root {new_root.hex()} does not extend"
        f" the tree of {old_size} entries with root {old_root.hex()}"
    )
    if not 0 <= old_size <= new_size:
        raise refusal
    if old_size in (0, new_size):
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if path or not compare_digest(old_root, expected):
            raise refusal
        return
    steps = list(path)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old_root)  # a complete subtree: its root starts the proof
    if not steps:
        raise refusal
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_result = new_result = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            raise refusal
        if node & 1 or node == last:
            old_result = node_hash(sibling, old_result)
            new_result = node_hash(sibling, new_result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new_result = node_hash(new_result, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or not compare_digest(old_result, old_root):
        raise refusal
    if not compare_digest(new_result, new_root):
        raise refusal


def _split(width: int) -> int:
    """Return the largest power of two below *width* (law 2)."""
    return 1 << ((width - 1).bit_length() - 1)
