# SPDX-License-Identifier: Apache-2.0
"""Keeps the history of containment in SQLite.

Laws:

1. ``record`` returns only after everything is durable, and the file is ours and whole or not used:
   the laws of ``sqlite_store``.
2. Recording again what is recorded changes nothing, and a directive that has ended never stands
   again: the mirror may be written late, twice, or out of order.

Compatibility: an entry is a JSON document; keys may be added with a default. Columns may be added
under a higher ``_VERSION``; none is renamed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.canonical import canonicalise
from sidecar.containment.events import Contained, decode_event, encode_event
from sidecar.containment.history import DirectiveEntry, DirectiveState, RequestNote
from sidecar.containment.isolation import IsolationItem, IsolationResult
from sidecar.errors import IntegrityError
from sidecar.latch.format import Record
from sidecar.sqlite_store import Schema, SqliteStore

__all__ = ["SqliteHistory"]

_VERSION: Final = 1
_STATEMENTS: Final = (
    "CREATE TABLE IF NOT EXISTS containment_schema (version INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS containment_directives (
         epoch INTEGER PRIMARY KEY, is_active INTEGER NOT NULL, end_epoch INTEGER NOT NULL,
         kind INTEGER NOT NULL, event BLOB NOT NULL, entry BLOB NOT NULL
       ) STRICT""",
    """CREATE INDEX IF NOT EXISTS containment_directives_active
       ON containment_directives (epoch) WHERE is_active""",
    """CREATE TABLE IF NOT EXISTS containment_requests (
         request_id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, epoch INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS containment_requests_epoch ON containment_requests (epoch)",
    """CREATE TABLE IF NOT EXISTS containment_gates (
         gate TEXT PRIMARY KEY, agents BLOB NOT NULL
       ) STRICT, WITHOUT ROWID""",
)
_PUT_DIRECTIVE: Final = """
    INSERT INTO containment_directives (epoch, is_active, end_epoch, kind, event, entry)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (epoch) DO UPDATE SET
      is_active = excluded.is_active, end_epoch = excluded.end_epoch, entry = excluded.entry
    WHERE containment_directives.is_active OR NOT excluded.is_active
"""
_PUT_REQUEST: Final = """
    INSERT INTO containment_requests (request_id, fingerprint, epoch) VALUES (?, ?, ?)
    ON CONFLICT (request_id) DO NOTHING
"""
_SCHEMA: Final = Schema(
    what="the containment history",
    version_table="containment_schema",
    version=_VERSION,
    statements=_STATEMENTS,
    remedy="move the file away and start control again; the latch holds what stands",
)


class SqliteHistory(SqliteStore):
    """The history in the SQLite file at *path*, which is made if it is missing.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    def record(self, entries: Iterable[DirectiveEntry], requests: Iterable[RequestNote]) -> None:
        """Make all of them durable, or none (laws 1 and 2)."""
        directives = [_row_of(entry) for entry in entries]
        notes = [(note.request_id, note.fingerprint, note.epoch) for note in requests]
        with self._writing() as connection:
            connection.executemany(_PUT_DIRECTIVE, directives)
            connection.executemany(_PUT_REQUEST, notes)

    def directive(self, epoch: int) -> DirectiveEntry | None:
        """Return the directive of *epoch*, if it is there."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT epoch, kind, event, entry FROM containment_directives WHERE epoch = ?",
                (epoch,),
            ).fetchone()
            return None if row is None else _entry_of(*row)

    def directives(
        self, *, before_epoch: int | None, limit: int, include_ended: bool
    ) -> Sequence[DirectiveEntry]:
        """Return at most *limit* directives below *before_epoch*, newest first."""
        with self._reading() as connection:
            rows = connection.execute(
                """SELECT epoch, kind, event, entry FROM containment_directives
                   WHERE epoch < ? AND (is_active OR ?) ORDER BY epoch DESC LIMIT ?""",
                (2**63 - 1 if before_epoch is None else before_epoch, include_ended, limit),
            ).fetchall()
            return [_entry_of(*row) for row in rows]

    def requests(self, *, limit: int) -> Sequence[RequestNote]:
        """Return the newest *limit* request ids."""
        with self._reading() as connection:
            rows = connection.execute(
                """SELECT request_id, fingerprint, epoch FROM containment_requests
                   ORDER BY epoch DESC LIMIT ?""",
                (limit,),
            ).fetchall()
            return [RequestNote(request_id=r, fingerprint=f, epoch=e) for r, f, e in rows]

    def highest_epoch(self) -> int:
        """Return the highest epoch of anything recorded; 0 if nothing is."""
        with self._reading() as connection:
            row = connection.execute(
                """SELECT max(coalesce((SELECT max(epoch) FROM containment_directives), 0),
                              coalesce((SELECT max(end_epoch) FROM containment_directives), 0),
                              coalesce((SELECT max(epoch) FROM containment_requests), 0))"""
            ).fetchone()
            return int(row[0])

    def remember_gate(self, gate: str, agents: Collection[str]) -> None:
        """Remember *gate* beyond a restart."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO containment_gates VALUES (?, ?)",
                (gate, canonicalise(sorted(agents))),
            )

    def forget_gate(self, gate: str) -> None:
        """Forget *gate*."""
        with self._writing() as connection:
            connection.execute("DELETE FROM containment_gates WHERE gate = ?", (gate,))

    def gates(self) -> Mapping[str, frozenset[str]]:
        """Return the remembered gates and their agents."""
        with self._reading() as connection:
            rows = connection.execute("SELECT gate, agents FROM containment_gates").fetchall()
            return {gate: frozenset(json.loads(agents)) for gate, agents in rows}


def _row_of(entry: DirectiveEntry) -> tuple[int, int, int, int, bytes, bytes]:
    record = encode_event(entry.contained)
    body = {
        "state": entry.state.value,
        "agents": list(entry.agents),
        "is_durable": entry.is_durable,
        "log_index": entry.log_index,
        "checkpoint": entry.checkpoint,
        "isolation": [
            [item.driver, item.subject, item.result.value, item.detail] for item in entry.isolation
        ],
        "end_epoch": str(entry.end_epoch),
        "end_time_ns": str(entry.end_time_ns),
        "releaser": entry.releaser,
        "release_reason": entry.release_reason,
    }
    if entry.release_approval:
        body["release_approval"] = entry.release_approval
        body["release_approvers"] = list(entry.release_approvers)
    is_active = entry.state is DirectiveState.ACTIVE
    return (
        entry.epoch,
        int(is_active),
        entry.end_epoch,
        record.kind,
        record.payload,
        canonicalise(body),
    )


def _entry_of(epoch: int, kind: int, event: bytes, entry: bytes) -> DirectiveEntry:
    contained = decode_event(Record(kind, epoch, event))
    if not isinstance(contained, Contained):
        raise IntegrityError("the containment history holds something else for a directive")
    body: dict[str, Any] = json.loads(entry)
    return DirectiveEntry(
        contained=contained,
        state=DirectiveState(body["state"]),
        agents=tuple(body["agents"]),
        is_durable=body["is_durable"],
        log_index=body["log_index"],
        checkpoint=body["checkpoint"],
        isolation=tuple(
            IsolationItem(
                driver=driver, subject=subject, result=IsolationResult(result), detail=detail
            )
            for driver, subject, result, detail in body["isolation"]
        ),
        end_epoch=int(body["end_epoch"]),
        end_time_ns=int(body["end_time_ns"]),
        releaser=body["releaser"],
        release_reason=body["release_reason"],
        release_approval=body.get("release_approval", ""),
        release_approvers=tuple(body.get("release_approvers", ())),
    )
