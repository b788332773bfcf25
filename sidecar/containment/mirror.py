# SPDX-License-Identifier: Apache-2.0
"""Writes the history after the fact.

Nothing waits for it. What could not be written stays in the queue and is tried again at the next
kick; until then health is degraded, and the latch journal still holds what stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sidecar.containment.history import (
    DirectiveEntry,
    HistoryStore,
    RequestNote,
    RevocationArchive,
)
from sidecar.containment.ledger import Ledger
from sidecar.errors import HoldfastError

__all__ = ["Mirror"]

_T = TypeVar("_T")


class Mirror:
    """Keeps history and archive in step with the journal. Belongs to one event loop."""

    def __init__(
        self, *, history: HistoryStore, revocations: RevocationArchive, ledger: Ledger
    ) -> None:
        self._history = history
        self._revocations = revocations
        self._ledger = ledger
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="containment-mirror")
        self._entries: dict[int, DirectiveEntry] = {}
        self._requests: dict[str, RequestNote] = {}
        self._gates: dict[str, frozenset[str]] = {}
        self._remembered: dict[str, frozenset[str]] = {}
        self._task: asyncio.Task[None] | None = None
        self.problem = ""

    @property
    def backlog(self) -> int:
        """How much is not written yet."""
        queued = len(self._entries) + len(self._requests) + len(self._gates)
        return queued + self._ledger.unarchived_count

    def add(
        self, *, entries: Iterable[DirectiveEntry] = (), requests: Iterable[RequestNote] = ()
    ) -> None:
        """Queue what changed."""
        self._entries.update((entry.epoch, entry) for entry in entries)
        self._requests.update((note.request_id, note) for note in requests)
        self.kick()

    def remember_gates(self, known: Mapping[str, frozenset[str]]) -> None:
        """Queue the gates that are not remembered yet, or with other agents."""
        for gate, agents in known.items():
            if self._remembered.get(gate) != agents:
                self._remembered[gate] = self._gates[gate] = agents

    def kick(self) -> None:
        """Write what is queued, unless that is being done."""
        if self.backlog and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name="containment-mirror")

    async def flush(self) -> None:
        """Return when everything queued was written, or failed to be."""
        self.kick()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def aclose(self) -> None:
        """Write what is queued and let go of the thread."""
        await self.flush()
        self._thread.shutdown(wait=False)

    async def read(self, query: Callable[[], _T]) -> _T:
        """Return what *query* reads from the stores, in their thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, query)

    async def _run(self) -> None:
        while self.backlog:
            entries, self._entries = self._entries, {}
            requests, self._requests = self._requests, {}
            gates, self._gates = self._gates, {}
            rules = self._ledger.unarchived
            try:
                await self.read(partial(self._write, entries, requests, gates))
                if rules:
                    await self.read(partial(self._revocations.add_all, rules))
                    self._ledger.mark_archived([rule.epoch for rule in rules])
            except HoldfastError as exc:
                self.problem = exc.message
                self._entries = entries | self._entries  # newer ones win
                self._requests = requests | self._requests
                self._gates = gates | self._gates
                return
            self.problem = ""

    def _write(
        self,
        entries: dict[int, DirectiveEntry],
        requests: dict[str, RequestNote],
        gates: dict[str, frozenset[str]],
    ) -> None:
        if entries or requests:
            self._history.record(entries.values(), requests.values())
        for gate, agents in gates.items():
            self._history.remember_gate(gate, agents)
