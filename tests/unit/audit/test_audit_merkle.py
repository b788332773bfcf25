# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree against RFC 6962's own data, a naive tree, and another implementation."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.audit import merkle
from sidecar.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    range_root,
    verify_consistency,
    verify_inclusion,
)
from sidecar.errors import IntegrityError

RFC_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
RFC_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    left, right = naive_root(entries[:split]), naive_root(entries[split:])
    return sha256(b"\x01" + left + right).digest()


def naive_path(index: int, entries: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1, word for word."""
    if len(entries) == 1:
        return []
    split = 1
    while split * 2 < len(entries):
        split *= 2
    if index < split:
        return [*naive_path(index, entries[:split]), naive_root(entries[split:])]
    return [*naive_path(index - split, entries[split:]), naive_root(entries[:split])]


def naive_subproof(old: int, entries: list[bytes], *, is_whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2, word for word."""
    if old == len(entries):
        return [] if is_whole else [naive_root(entries)]
    split = 1
    while split * 2 < len(entries):
        split *= 2
    if old <= split:
        head = naive_subproof(old, entries[:split], is_whole=is_whole)
        return [*head, naive_root(entries[split:])]
    head = naive_subproof(old - split, entries[split:], is_whole=False)
    return [*head, naive_root(entries[:split])]


def node_getter(entries: list[bytes]) -> Callable[[int, int], bytes]:
    def node(height: int, index: int) -> bytes:
        if height == 0:
            return leaf_hash(entries[index])
        return node_hash(node(height - 1, 2 * index), node(height - 1, 2 * index + 1))

    return node


def make_entries(count: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(count)]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_rfc_test_data(size: int) -> None:
    """The eight leaves that certificate transparency tests with give the published roots."""
    tree = CompactRange()

    for leaf in RFC_LEAVES[:size]:
        tree.append(leaf_hash(leaf))

    assert tree.root().hex() == RFC_ROOTS[size - 1]


def test_the_empty_tree_has_the_rfc_root() -> None:
    """The empty tree's root is the hash of nothing."""
    assert CompactRange().root() == EMPTY_ROOT == sha256(b"").digest()


def test_inclusion_path_is_that_of_the_rfc_test_data() -> None:
    """The audit path of leaf 5 in a tree of 8 is the published one."""
    path = inclusion_path(node_getter(RFC_LEAVES), 5, 8)

    assert [node.hex() for node in path] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_roots_agree_with_another_implementation() -> None:
    """pymerkle, which also follows the RFC, has the same root at every size to 70."""
    other = pymerkle.InmemoryTree(algorithm="sha256")
    append = getattr(other, "append_entry", None) or other.append
    root_of = getattr(other, "get_root", None) or other.get_state
    tree = CompactRange()

    for entry in make_entries(70):
        append(entry)
        tree.append(leaf_hash(entry))

        assert tree.root() == root_of(tree.size)


@pytest.mark.parametrize("size", [*range(1, 40), 64, 65, 100])
def test_proofs_are_the_naive_ones(size: int) -> None:
    """Every inclusion and consistency proof is the RFC's, and verifies."""
    entries = make_entries(size)
    node = node_getter(entries)
    root = range_root(node, 0, size)

    assert root == naive_root(entries)
    for index in range(size):
        path = inclusion_path(node, index, size)
        assert path == naive_path(index, entries)
        verify_inclusion(leaf_hash(entries[index]), index=index, size=size, path=path, root=root)
    for old in range(1, size + 1):
        proof = consistency_path(node, old, size)
        assert proof == naive_subproof(old, entries, is_whole=True)
        verify_consistency(
            old_size=old,
            old_root=naive_root(entries[:old]),
            new_size=size,
            new_root=root,
            path=proof,
        )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_inclusion_proof_is_refused(data: st.DataObject) -> None:
    """Any other leaf, index, size, path or root fails."""
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    entries = make_entries(size)
    node = node_getter(entries)
    leaf, root = leaf_hash(entries[index]), naive_root(entries)
    path = inclusion_path(node, index, size)
    change = data.draw(st.sampled_from(["leaf", "index", "longer", "shorter", "node", "root"]))
    if change == "leaf":
        leaf = leaf_hash(b"other")
    elif change == "index":
        index = (index + data.draw(st.integers(1, 60))) % 61
        if index < size and size == 1:
            return
    elif change == "longer":
        path = [*path, leaf]
    elif change == "shorter":
        if not path:
            return
        path = path[:-1]
    elif change == "node":
        if not path:
            return
        position = data.draw(st.integers(0, len(path) - 1))
        path[position] = sha256(path[position]).digest()
    else:
        root = sha256(root).digest()

    with pytest.raises(IntegrityError):
        verify_inclusion(leaf, index=index, size=size, path=path, root=root)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_consistency_proof_is_refused(data: st.DataObject) -> None:
    """Any other root or path between the same sizes fails."""
    new = data.draw(st.integers(2, 40))
    old = data.draw(st.integers(1, new - 1))
    entries = make_entries(new)
    path = consistency_path(node_getter(entries), old, new)
    old_root, new_root = naive_root(entries[:old]), naive_root(entries)
    change = data.draw(st.sampled_from(["old", "new", "longer", "shorter", "node", "swap"]))
    if change == "old":
        old_root = sha256(old_root).digest()
    elif change == "new":
        new_root = sha256(new_root).digest()
    elif change == "longer":
        path = [*path, old_root]
    elif change == "shorter":
        path = path[:-1]
    elif change == "node":
        position = data.draw(st.integers(0, len(path) - 1))
        path[position] = sha256(path[position]).digest()
    else:
        old, new, old_root, new_root = new, old, new_root, old_root

    with pytest.raises(IntegrityError, match="does not extend"):
        verify_consistency(
            old_size=old, old_root=old_root, new_size=new, new_root=new_root, path=path
        )


def test_a_tree_extends_the_empty_one_and_itself_with_an_empty_proof_only() -> None:
    """Trivial proofs are empty, and the roots still have to be right."""
    root = naive_root(make_entries(3))

    verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=3, new_root=root, path=[])
    verify_consistency(old_size=3, old_root=root, new_size=3, new_root=root, path=[])

    for old_size, old_root, path in ((0, root, []), (0, EMPTY_ROOT, [root]), (3, EMPTY_ROOT, [])):
        with pytest.raises(IntegrityError):
            verify_consistency(
                old_size=old_size, old_root=old_root, new_size=3, new_root=root, path=path
            )
    with pytest.raises(IntegrityError):
        verify_consistency(old_size=3, old_root=root, new_size=7, new_root=root, path=[])


def test_a_leaf_cannot_pass_as_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes concatenated are not the preimage of a leaf (law 1)."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")

    assert leaf_hash(left + right) != node_hash(left, right)


def test_a_leaf_cannot_pass_as_a_node_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the prefixes a tree of two entries is also a tree of one forged entry."""
    monkeypatch.setattr(merkle, "leaf_hash", lambda entry: sha256(entry).digest())
    monkeypatch.setattr(merkle, "node_hash", lambda one, two: sha256(one + two).digest())
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")

    verify_inclusion(
        merkle.leaf_hash(left + right),
        index=0,
        size=1,
        path=[],
        root=merkle.node_hash(left, right),
    )


def test_misuse_is_a_value_error() -> None:
    """Asking for a proof that cannot exist is our mistake, not tampering."""
    node = node_getter(make_entries(4))

    for index in (-1, 4):
        with pytest.raises(ValueError, match="is not in a tree"):
            inclusion_path(node, index, 4)
    with pytest.raises(ValueError, match="cannot extend"):
        consistency_path(node, 5, 4)
