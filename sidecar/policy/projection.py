# SPDX-License-Identifier: Apache-2.0
"""Which attributes of a request a policy can read, from its syntax tree alone.

A decision can be reused for another request that differs only in what no applicable policy reads.

Laws:

1. Everything a policy can read is in the projection; when in doubt, more is. A path counts as read
   if it is read on any branch, whether or not the branch is taken.
2. A static path (``context.args.amount``) reads that attribute. ``has`` reads presence alone.
3. A record that is used as a value (compared, put in a set, passed on) is read whole; an operator
   that this module does not know reads the whole context.
4. Principal, action and resource are not part of it: they are constants of agent and tool, and
   those are in every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["NOTHING", "Path", "Projection", "Read", "merge", "projection_of"]

Path = tuple[str, ...]

_BINARY: Final = frozenset(
    {"==", "!=", "<", "<=", ">", ">=", "&&", "||", "+", "-", "*", "in"}
    | {"contains", "containsAll", "containsAny", "getTag", "hasTag"}
)
_UNARY: Final = frozenset({"!", "neg", "isEmpty"})
_CONSTANT: Final = frozenset({"Value"})


@dataclass(frozen=True, slots=True, order=True)
class Read:
    """One thing that is read below ``context``: an attribute, or only whether it is there."""

    path: Path
    is_presence: bool = False

    def __str__(self) -> str:
        name = ".".join(("context", *self.path))
        return f"{name} (whether present)" if self.is_presence else name


@dataclass(frozen=True, slots=True)
class Projection:
    """What can be read, without what another entry already covers, in a stable order."""

    reads: tuple[Read, ...]
    names: frozenset[str]
    """Every attribute name that occurs anywhere in the policies."""

    def is_read(self, path: Path) -> bool:
        """Return whether *path* or something around it is read as a value."""
        return any(
            not read.is_presence and path[: len(read.path)] == read.path for read in self.reads
        )

    def below(self, root: str) -> tuple[Read, ...]:
        """Return the reads below ``context.<root>``, with paths relative to it."""
        if self.is_read((root,)):
            return (Read(()),)
        return tuple(
            Read(read.path[1:], read.is_presence) for read in self.reads if read.path[:1] == (root,)
        )


NOTHING: Final = Projection((), frozenset())


def projection_of(trees: Iterable[Mapping[str, Any]]) -> Projection:
    """Return what the conditions of the policies *trees* can read."""
    collector = _Collector()
    for tree in trees:
        for condition in tree["conditions"]:
            collector.use(condition["body"])
    return _normal(collector.reads, frozenset(collector.names))


def merge(projections: Iterable[Projection]) -> Projection:
    """Return what any of *projections* reads."""
    reads: set[Read] = set()
    names: set[str] = set()
    for projection in projections:
        reads.update(projection.reads)
        names.update(projection.names)
    return _normal(reads, frozenset(names))


def _normal(reads: set[Read], names: frozenset[str]) -> Projection:
    values = {read.path for read in reads if not read.is_presence}

    def is_covered(read: Read) -> bool:
        shortest = len(read.path) + 1 if read.is_presence else len(read.path)
        return any(read.path[:length] in values for length in range(shortest))

    return Projection(tuple(sorted(read for read in reads if not is_covered(read))), names)


class _Collector:
    def __init__(self) -> None:
        self.reads: set[Read] = set()
        self.names: set[str] = set()

    def use(self, node: Any) -> None:
        """Note that the value of *node* is used: if it is a path, all below it is read."""
        path = self._path(node)
        if path is not None:
            self.reads.add(Read(path))

    def _path(self, node: Any) -> Path | None:
        """Return the path below context that *node* stands for; else note what it reads."""
        if not isinstance(node, Mapping) or len(node) != 1:
            return ()
        ((operator, operand),) = node.items()
        if operator == "Var":
            return () if operand == "context" else None
        if operator == ".":
            self.names.add(operand["attr"])
            base = self._path(operand["left"])
            return None if base is None else (*base, operand["attr"])
        if operator == "has":
            self.names.add(operand["attr"])
            base = self._path(operand["left"])
            if base is not None:
                self.reads.add(Read((*base, operand["attr"]), is_presence=True))
            return None
        if operator in _CONSTANT:
            return None
        children = self._children(operator, operand)
        if children is None:
            return ()
        for child in children:
            self.use(child)
        return None

    def _children(self, operator: str, operand: Any) -> list[Any] | None:
        """Return the operands of an operator that yields a value, or None if it is unknown."""
        if operator in _BINARY:
            return [operand["left"], operand["right"]]
        if operator in _UNARY:
            return [operand["arg"]]
        if operator == "if-then-else":
            return [operand["if"], operand["then"], operand["else"]]
        if operator == "like":
            return [operand["left"]]
        if operator == "is":
            inner = [operand["in"]] if "in" in operand else []
            return [operand["left"], *inner]
        if operator == "Set":
            return list(operand)
        if operator == "Record":
            self.names.update(operand)
            return list(operand.values())
        if isinstance(operand, list):  # extension functions: decimal, lessThan, ip, isInRange, …
            return operand
        return None
