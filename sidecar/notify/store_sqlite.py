# SPDX-License-Identifier: Apache-2.0
"""Keeps the outbox of notices in SQLite (``notices.db``, in control's own directory).

Laws:

1. ``apply`` returns only after everything is durable, and the file is ours and whole or not used:
   the laws of ``sqlite_store``.
2. Accepting a notice twice keeps it once; settling what is not there changes nothing.

Compatibility: ``notice`` is an encoding of its own (``encoding``). Columns may be added under a
higher ``_VERSION``; none is renamed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sidecar.notify.outbox import Accepted, Change, Settled, Stored
from sidecar.sqlite_store import Schema, SqliteStore

__all__ = ["SqliteNotices"]

_VERSION: Final = 1
_STATEMENTS: Final = (
    "CREATE TABLE IF NOT EXISTS notify_schema (version INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS notify_outbox (
         seq INTEGER PRIMARY KEY AUTOINCREMENT, notice_id TEXT NOT NULL, channel TEXT NOT NULL,
         notice BLOB NOT NULL, time_ns INTEGER NOT NULL, UNIQUE (notice_id, channel)
       ) STRICT""",
    """CREATE TABLE IF NOT EXISTS notify_handles (
         approval TEXT NOT NULL, channel TEXT NOT NULL, handle TEXT NOT NULL,
         time_ns INTEGER NOT NULL, PRIMARY KEY (approval, channel)
       ) STRICT, WITHOUT ROWID""",
)
_SCHEMA: Final = Schema(
    what="the outbox of notices",
    version_table="notify_schema",
    version=_VERSION,
    statements=_STATEMENTS,
    remedy="move the file away and start control again; what was not delivered is lost",
)


class SqliteNotices(SqliteStore):
    """The outbox in the SQLite file at *path*, which is made if it is missing.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    def apply(self, changes: Sequence[Change]) -> None:
        """Make all *changes* durable, in order, or none (laws 1 and 2)."""
        with self._writing() as connection:
            for change in changes:
                if isinstance(change, Accepted):
                    connection.executemany(
                        """INSERT INTO notify_outbox (notice_id, channel, notice, time_ns)
                           VALUES (?, ?, ?, ?) ON CONFLICT (notice_id, channel) DO NOTHING""",
                        [
                            (change.notice_id, channel, change.notice, change.time_ns)
                            for channel in change.channels
                        ],
                    )
                elif isinstance(change, Settled):
                    _settle(connection, change)
                else:
                    connection.execute(
                        "DELETE FROM notify_handles WHERE time_ns < ?", (change.before_ns,)
                    )

    def pending(self) -> Sequence[Stored]:
        """Return what is not settled, in the order in which it was accepted."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT notice_id, channel, notice, time_ns FROM notify_outbox ORDER BY seq"
            ).fetchall()
            return [
                Stored(notice_id=name, channel=channel, notice=notice, time_ns=time_ns)
                for name, channel, notice, time_ns in rows
            ]

    def handles(self) -> Mapping[tuple[str, str], str]:
        """Return the handle for every (approval, channel) that has one, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT approval, channel, handle FROM notify_handles ORDER BY time_ns"
            ).fetchall()
            return {(approval, channel): handle for approval, channel, handle in rows}


def _settle(connection: sqlite3.Connection, change: Settled) -> None:
    connection.execute(
        "DELETE FROM notify_outbox WHERE notice_id = ? AND channel = ?",
        (change.notice_id, change.channel),
    )
    if change.handle is not None and change.approval:
        connection.execute(
            """INSERT INTO notify_handles (approval, channel, handle, time_ns) VALUES (?, ?, ?, ?)
               ON CONFLICT (approval, channel) DO UPDATE SET
                 handle = excluded.handle, time_ns = excluded.time_ns""",
            (change.approval, change.channel, change.handle, change.time_ns),
        )
