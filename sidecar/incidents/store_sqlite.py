# SPDX-License-Identifier: Apache-2.0
"""Keeps incidents in SQLite.

Laws:

1. A method that changes something returns only after it is durable, and the file is ours and whole
   or not used: the laws of ``sqlite_store``.
2. An incident changes by compare-and-swap from the version that was read, in one transaction with the
   request id that changes it: of any number that use an id or a version at once, one does.
3. What was gathered is written once: no statement here updates it.

Compatibility: columns may be added under a higher ``_VERSION``; none is renamed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.incidents.values import Incident, IncidentState, IncidentVerdict, Note
from sidecar.sqlite_store import Schema, SqliteStore

__all__ = ["SqliteIncidents"]

_VERSION: Final = 1
_STATEMENTS: Final = (
    "CREATE TABLE IF NOT EXISTS incident_schema (version INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS incidents (
         seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
         state TEXT NOT NULL, title TEXT NOT NULL, severity TEXT NOT NULL, agent TEXT NOT NULL,
         document BLOB NOT NULL, brief BLOB NOT NULL, sha256 TEXT NOT NULL,
         techniques TEXT NOT NULL, verdict TEXT NOT NULL, notes TEXT NOT NULL, author TEXT NOT NULL,
         create_time_ns INTEGER NOT NULL, update_time_ns INTEGER NOT NULL,
         end_time_ns INTEGER NOT NULL, external_reference TEXT NOT NULL, log_index INTEGER NOT NULL
       ) STRICT""",
    "CREATE INDEX IF NOT EXISTS incidents_agent ON incidents (agent, seq)",
    "CREATE INDEX IF NOT EXISTS incidents_state ON incidents (state, seq)",
    """CREATE TABLE IF NOT EXISTS incident_requests (
         request_id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, incident TEXT NOT NULL
       ) STRICT, WITHOUT ROWID""",
)
_NAMES: Final = (
    "seq", "id", "version", "state", "title", "severity", "agent", "brief", "sha256", "techniques",
    "verdict", "notes", "author", "create_time_ns", "update_time_ns", "end_time_ns",
    "external_reference", "log_index",
)  # fmt: skip
_KEPT: Final = tuple(name for name in _NAMES if name != "seq")
_INSERT: Final = (
    f"INSERT INTO incidents ({', '.join(_KEPT)}, document) "  # noqa: S608
    f"VALUES ({', '.join(f':{name}' for name in _KEPT)}, :document)"
)
_REPLACE: Final = """
    UPDATE incidents SET version = :version, state = :state, techniques = :techniques,
      verdict = :verdict, notes = :notes, update_time_ns = :update_time_ns,
      end_time_ns = :end_time_ns
    WHERE id = :id AND version = :read_version
      AND NOT EXISTS (SELECT 1 FROM incident_requests WHERE request_id = :request_id)
"""
_USE: Final = """
    INSERT INTO incident_requests (request_id, fingerprint, incident)
    VALUES (:request_id, :fingerprint, :id) ON CONFLICT DO NOTHING
"""
_MAX_BYTES: Final = 2 * 1024**3
"""Room for tens of thousands: whoever may open incidents must not fill control's disk with them."""
_SCHEMA: Final = Schema(
    what="the store of incidents",
    version_table="incident_schema",
    version=_VERSION,
    statements=_STATEMENTS,
    remedy="restore it from a backup, or move it away: containment does not need it",
    max_bytes=_MAX_BYTES,
)


class SqliteIncidents(SqliteStore):
    """The incidents in the SQLite file at *path*, which is made if it is missing.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    # -- reading --------------------------------------------------------------------------------

    def find_request(self, request_id: str) -> tuple[str, str] | None:
        """Return (fingerprint, incident id) of the order that used *request_id*."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT fingerprint, incident FROM incident_requests WHERE request_id = ?",
                (request_id,),
            ).fetchone()
        return None if row is None else (str(row[0]), str(row[1]))

    def get(self, incident_id: str) -> Incident | None:
        """Return one incident."""
        statement = f"SELECT {', '.join(_NAMES)}, document FROM incidents WHERE id = ?"  # noqa: S608
        with self._reading() as connection:
            row = connection.execute(statement, (incident_id,)).fetchone()
            return None if row is None else _incident_of(row)

    def list(
        self,
        *,
        limit: int,
        before_seq: int | None,
        agents: Collection[str],
        open_only: bool,
    ) -> Sequence[Incident]:
        """Return incidents without their documents, newest first."""
        clauses: list[str] = []
        values: list[object] = []
        if before_seq is not None:
            clauses.append("seq < ?")
            values.append(before_seq)
        if agents:
            clauses.append(f"agent IN ({', '.join('?' * len(agents))})")
            values += sorted(agents)
        if open_only:
            clauses.append("state = ?")
            values.append(IncidentState.OPEN.value)
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        statement = (
            f"SELECT {', '.join(_NAMES)}, x'' FROM incidents{where}"  # noqa: S608
            " ORDER BY seq DESC LIMIT ?"
        )
        with self._reading() as connection:
            rows = connection.execute(statement, (*values, limit)).fetchall()
            return [_incident_of(row) for row in rows]

    # -- changing -------------------------------------------------------------------------------

    def insert(self, incident: Incident, *, request_id: str, fingerprint: str) -> bool:
        """Keep a new incident and the order that opened it (law 2)."""
        with self._writing() as connection:
            if not self._use(connection, incident, request_id, fingerprint):
                return False
            connection.execute(_INSERT, _row_of(incident) | {"document": incident.document})
            return True

    def replace(
        self, incident: Incident, *, version: int, request_id: str, fingerprint: str
    ) -> bool:
        """Swap *incident* for what was read as *version* (laws 2 and 3)."""
        with self._writing() as connection:
            row = _row_of(incident) | {"read_version": version, "request_id": request_id}
            if connection.execute(_REPLACE, row).rowcount != 1:
                return False
            return self._use(connection, incident, request_id, fingerprint)

    # -- private --------------------------------------------------------------------------------

    def _use(
        self, connection: sqlite3.Connection, incident: Incident, request_id: str, fingerprint: str
    ) -> bool:
        used = connection.execute(
            _USE, {"request_id": request_id, "fingerprint": fingerprint, "id": incident.id}
        )
        return used.rowcount == 1


def _row_of(incident: Incident) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(incident, name) for name in _KEPT}
    row["state"] = incident.state.value
    row["verdict"] = incident.verdict.value if incident.verdict is not None else ""
    row["techniques"] = json.dumps(incident.techniques)
    row["notes"] = json.dumps(
        [
            {"author": note.author, "time_ns": str(note.create_time_ns), "text": note.text}
            for note in incident.notes
        ]
    )
    return row


def _incident_of(row: Sequence[Any]) -> Incident:
    fields: dict[str, Any] = dict(zip((*_NAMES, "document"), row, strict=True))
    fields["state"] = IncidentState(fields["state"])
    fields["verdict"] = IncidentVerdict(fields["verdict"]) if fields["verdict"] else None
    fields["techniques"] = tuple(json.loads(fields["techniques"]))
    fields["notes"] = tuple(_note_of(note) for note in json.loads(fields["notes"]))
    return Incident(**fields)


def _note_of(body: Mapping[str, str]) -> Note:
    return Note(author=body["author"], create_time_ns=int(body["time_ns"]), text=body["text"])
