# SPDX-License-Identifier: Apache-2.0
"""The logs of this host by name: control's own and those of every gate that connected.

Everything that reads the disk runs off the event loop. Reading shows what checkpoints cover;
verifying is the verifier's, which shares no code with the writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sidecar.audit.index_sqlite import AuditIndex, Page
from sidecar.audit.log import AuditLog
from sidecar.audit.reader import EntryFilter, checkpoint_text
from sidecar.audit.verify import VerifyReport, verify_directory
from sidecar.control.gates import GateRegistry
from sidecar.errors import NotFoundError
from sidecar.identifiers import CONTROL_LOG

__all__ = ["HostLogs"]

_EXPORT_PAGE: Final = 500
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    directory: Path
    verifier_key: str


class HostLogs:
    """Finds, searches and verifies the logs of this host."""

    def __init__(
        self, *, audit: AuditLog, directory: Path, index_directory: Path, gates: GateRegistry
    ) -> None:
        self._audit = audit
        self._directory = directory
        self._index_directory = index_directory
        self._gates = gates
        self._indexes: dict[str, tuple[Path, AuditIndex]] = {}
        self._indexing = asyncio.Lock()

    def names(self) -> list[str]:
        """Return every log that can be read: control's, then those of the gates."""
        return [CONTROL_LOG, *sorted(self._gates.names())]

    def of_agent(self, agent: str) -> list[str]:
        """Return the logs of the gates that serve or served *agent* since control started.

        What another gate says about it is nobody's word (see ``control.gates``).
        """
        return sorted(self._gates.serving(agent))

    def key(self, name: str) -> str:
        """Return the verifier key of a log, as this host knows it; empty if it does not.

        Raises:
            NotFoundError: There is no such log.
        """
        return self._place(name).verifier_key

    def directory(self, name: str) -> tuple[str, Path]:
        """Return name and directory of a log; an empty name is control's.

        Raises:
            NotFoundError: There is no such log.
        """
        place = self._place(name)
        return place.name, place.directory

    async def query(
        self,
        wanted: EntryFilter,
        *,
        log: str = "",
        limit: int = 100,
        page_token: str = "",
        is_newest_first: bool = True,
    ) -> Page:
        """Return a page of entries.

        Raises:
            NotFoundError: There is no such log.
            UntrustedInputError: *page_token* is not one of ours.
        """
        place = self._place(log)
        if place.name == CONTROL_LOG:
            await self._audit.checkpoint()  # what was answered before is listed now
        async with self._indexing:
            return await asyncio.to_thread(
                self._query, place, wanted, limit, page_token, is_newest_first
            )

    async def read(self, log: str, work: Callable[[AuditIndex], _T]) -> _T:
        """Return what *work* finds with the index of one log, off the event loop; keep it short.

        Raises:
            NotFoundError: There is no such log.
            EnvironmentFailure, IntegrityError: It cannot be read.
        """
        place = self._place(log)
        if place.name == CONTROL_LOG:
            await self._audit.checkpoint()  # what was answered before is seen now
        async with self._indexing:
            return await asyncio.to_thread(lambda: work(self._index(place)))

    async def verify(self, log: str = "", *, held: Sequence[str] = ()) -> VerifyReport:
        """Verify one log as anybody could who holds its directory and its key.

        Args:
            log: Which one; empty for control's own.
            held: Checkpoints that it must extend.

        Raises:
            NotFoundError: There is no such log.
        """
        place = self._place(log)
        if place.name == CONTROL_LOG:
            await self._audit.checkpoint()
        return await asyncio.to_thread(
            verify_directory,
            place.directory,
            vkey=place.verifier_key or None,
            held_checkpoints=held,
        )

    async def checkpoint(self, log: str = "") -> str:
        """Return the newest signed tree head of one log; control's covers every durable entry.

        Raises:
            NotFoundError: There is no such log.
            IntegrityError: It is no text.
        """
        place = self._place(log)
        if place.name == CONTROL_LOG:
            return await self._audit.checkpoint()
        return await asyncio.to_thread(checkpoint_text, place.directory)

    async def note(self, kind: str, body: Mapping[str, Any]) -> int:
        """Return the number of an entry in control's own log, once it is durable.

        Raises:
            EnvironmentFailure: The log does not take it.
        """
        ticket = self._audit.append({"kind": kind, **body})
        await self._audit.durable(ticket)
        return ticket.seq

    async def export(self, wanted: EntryFilter, *, log: str = "") -> AsyncIterator[bytes]:
        """Yield entries as they lie in the log, a line each, oldest first."""
        token = ""
        while True:
            page = await self.query(
                wanted, log=log, limit=_EXPORT_PAGE, page_token=token, is_newest_first=False
            )
            for entry in page.entries:
                yield entry.line + b"\n"
            token = page.next_page_token
            if not token:
                return

    def close(self) -> None:
        """Close the indexes."""
        for _, index in self._indexes.values():
            index.close()

    def _place(self, name: str) -> _Place:
        if name in ("", CONTROL_LOG):
            return _Place(CONTROL_LOG, self._directory, self._audit.vkey)
        gate = self._gates.known(name)
        if gate is None:
            raise NotFoundError(
                f"there is no log {name!r}", hint="`control`, or the id of a gate that connected"
            )
        return _Place(name, gate.audit_directory, gate.verifier_key)

    def _query(
        self, place: _Place, wanted: EntryFilter, limit: int, page_token: str, newest_first: bool
    ) -> Page:
        return self._index(place).query(
            wanted, limit=limit, page_token=page_token, is_newest_first=newest_first
        )

    def _index(self, place: _Place) -> AuditIndex:
        """Return the index of a log, caught up with it; blocks."""
        directory, index = self._indexes.get(place.name, (None, None))
        if index is None or directory != place.directory:  # a gate may come back from elsewhere
            if index is not None:
                index.close()
            path = self._index_directory / f"index-{place.name}.db"
            index = AuditIndex.open(place.directory, path=path)
            self._indexes[place.name] = place.directory, index
        index.catch_up()
        return index
