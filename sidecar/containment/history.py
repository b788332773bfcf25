# SPDX-License-Identifier: Apache-2.0
"""What stays when the latch journal is compacted: ended directives, request ids, known gates.

The journal is the truth about what stands. This is its mirror, written *after* the acknowledgement:
a store that fails makes control's health red and delays nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.containment.events import Contained, RevocationRule
from sidecar.containment.isolation import IsolationItem
from sidecar.containment.receipt import NO_LOG_INDEX, DirectiveState
from sidecar.model import Directive

__all__ = [
    "DirectiveEntry",
    "DirectiveState",
    "HistoryStore",
    "MemoryHistory",
    "MemoryRevocations",
    "RequestNote",
    "RevocationArchive",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectiveEntry:
    """One directive, standing or ended, with what its receipt needs beside the gates.

    ``end_epoch``, ``end_time_ns``, ``releaser`` and ``release_reason`` are set once it has ended;
    ``release_approval`` and ``release_approvers`` if other humans had to agree to that.
    """

    contained: Contained
    state: DirectiveState = DirectiveState.ACTIVE
    agents: tuple[str, ...] = ()
    is_durable: bool = False
    log_index: int = NO_LOG_INDEX
    checkpoint: str = ""
    isolation: tuple[IsolationItem, ...] = ()
    end_epoch: int = 0
    end_time_ns: int = 0
    releaser: str = ""
    release_reason: str = ""
    release_approval: str = ""
    release_approvers: tuple[str, ...] = ()

    @property
    def directive(self) -> Directive:
        """The directive itself."""
        return self.contained.directive

    @property
    def epoch(self) -> int:
        """The epoch that numbers it."""
        return self.contained.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestNote:
    """That a request id was used: for what, and which epoch came of it."""

    request_id: str
    fingerprint: str
    epoch: int


class HistoryStore(Protocol):
    """Where the mirror is kept. Methods block; the service calls them in a thread."""

    def record(self, entries: Iterable[DirectiveEntry], requests: Iterable[RequestNote]) -> None:
        """Make all of them durable, or none; what is there already is replaced.

        Raises:
            EnvironmentFailure: They are not.
        """

    def directive(self, epoch: int) -> DirectiveEntry | None:
        """Return the directive of *epoch*, if it is there."""

    def directives(
        self, *, before_epoch: int | None, limit: int, include_ended: bool
    ) -> Sequence[DirectiveEntry]:
        """Return at most *limit* directives below *before_epoch*, newest first."""

    def requests(self, *, limit: int) -> Sequence[RequestNote]:
        """Return the newest *limit* request ids."""

    def highest_epoch(self) -> int:
        """Return the highest epoch of anything recorded; 0 if nothing is."""

    def remember_gate(self, gate: str, agents: Collection[str]) -> None:
        """Remember *gate* beyond a restart."""

    def forget_gate(self, gate: str) -> None:
        """Forget *gate*."""

    def gates(self) -> Mapping[str, frozenset[str]]:
        """Return the remembered gates and their agents."""


class RevocationArchive(Protocol):
    """Where standing revocations are kept; ``sidecar.tokens.store_sqlite`` is one."""

    def add_all(self, rules: Iterable[RevocationRule]) -> None:
        """Make all *rules* durable, or none.

        Raises:
            EnvironmentFailure: None is.
        """

    def load_all(self) -> Sequence[RevocationRule]:
        """Return every standing rule, oldest epoch first."""


class MemoryHistory:
    """Keeps the mirror in memory: for tests, and while the database cannot be opened."""

    def __init__(self) -> None:
        self._entries: dict[int, DirectiveEntry] = {}
        self._requests: dict[str, RequestNote] = {}
        self._gates: dict[str, frozenset[str]] = {}

    def record(self, entries: Iterable[DirectiveEntry], requests: Iterable[RequestNote]) -> None:
        self._entries.update((entry.epoch, entry) for entry in entries)
        self._requests.update((note.request_id, note) for note in requests)

    def directive(self, epoch: int) -> DirectiveEntry | None:
        return self._entries.get(epoch)

    def directives(
        self, *, before_epoch: int | None, limit: int, include_ended: bool
    ) -> Sequence[DirectiveEntry]:
        found = [
            entry
            for epoch, entry in sorted(self._entries.items(), reverse=True)
            if (before_epoch is None or epoch < before_epoch)
            and (include_ended or entry.state is DirectiveState.ACTIVE)
        ]
        return found[:limit]

    def requests(self, *, limit: int) -> Sequence[RequestNote]:
        return sorted(self._requests.values(), key=lambda note: -note.epoch)[:limit]

    def highest_epoch(self) -> int:
        epochs = [max(entry.epoch, entry.end_epoch) for entry in self._entries.values()]
        return max(epochs + [note.epoch for note in self._requests.values()], default=0)

    def remember_gate(self, gate: str, agents: Collection[str]) -> None:
        self._gates[gate] = frozenset(agents)

    def forget_gate(self, gate: str) -> None:
        self._gates.pop(gate, None)

    def gates(self) -> Mapping[str, frozenset[str]]:
        return dict(self._gates)


class MemoryRevocations:
    """Keeps revocations in memory: for tests, and while the database cannot be opened."""

    def __init__(self) -> None:
        self._rules: list[RevocationRule] = []

    def add_all(self, rules: Iterable[RevocationRule]) -> None:
        self._rules.extend(rule for rule in rules if rule not in self._rules)

    def load_all(self) -> Sequence[RevocationRule]:
        return tuple(sorted(self._rules, key=lambda rule: rule.epoch))
