# SPDX-License-Identifier: Apache-2.0
"""Keeps the outbox of notices in SQLite (``notices.db``, in control's own directory).

Laws:

1. ``apply`` returns only after everything is durable: WAL with ``synchronous=FULL``, both read back
   when the store is opened, since SQLite ignores a pragma it cannot follow.
2. Accepting a notice twice keeps it once; settling what is not there changes nothing.
3. A store of a newer version, or one that is corrupt, is not used.

Compatibility: ``notice`` is an encoding of its own (``encoding``). Columns may be added under a
higher ``_VERSION``; none is renamed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure
from sidecar.notify.outbox import Accepted, Change, Settled, Stored

__all__ = ["SqliteNotices"]

_VERSION: Final = 1
_SYNCHRONOUS_FULL: Final = 2
_BUSY_MS: Final = 2000
_SCHEMA: Final = (
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
_REMEDY: Final = "move the file away and start control again; what was not delivered is lost"


class SqliteNotices:
    """The outbox in the SQLite file at *path*, which is made if it is missing.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        try:
            if not path.exists():
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                os.close(os.open(path, flags, 0o600))
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare(self._connection)
        except (sqlite3.Error, OSError) as exc:
            self.close()
            raise self._failure("cannot be opened", exc) from exc
        except EnvironmentFailure:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; the store cannot be used any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def apply(self, changes: Sequence[Change]) -> None:
        """Make all *changes* durable, in order, or none (laws 1 and 2)."""
        with self._using(is_writing=True) as connection:
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
        with self._using() as connection:
            rows = connection.execute(
                "SELECT notice_id, channel, notice, time_ns FROM notify_outbox ORDER BY seq"
            ).fetchall()
            return [
                Stored(notice_id=name, channel=channel, notice=notice, time_ns=time_ns)
                for name, channel, notice, time_ns in rows
            ]

    def handles(self) -> Mapping[tuple[str, str], str]:
        """Return the handle for every (approval, channel) that has one, oldest first."""
        with self._using() as connection:
            rows = connection.execute(
                "SELECT approval, channel, handle FROM notify_handles ORDER BY time_ns"
            ).fetchall()
            return {(approval, channel): handle for approval, channel, handle in rows}

    # -- private --------------------------------------------------------------------------------

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute("PRAGMA synchronous = FULL")
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
        if (mode, synchronous) != ("wal", _SYNCHRONOUS_FULL):  # law 1
            raise self._failure("cannot be made durable")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise self._failure("is corrupt")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        versions = [row[0] for row in connection.execute("SELECT version FROM notify_schema")]
        if not versions:
            connection.execute("INSERT INTO notify_schema VALUES (?)", (_VERSION,))
        elif versions != [_VERSION]:
            connection.execute("ROLLBACK")
            raise self._failure(f"has schema version {versions}, this program knows {_VERSION}")
        connection.execute("COMMIT")

    @contextmanager
    def _using(self, *, is_writing: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._connection
            if connection is None:
                raise self._failure("is closed")
            try:
                if is_writing:
                    connection.execute("BEGIN IMMEDIATE")
                yield connection
                if is_writing:
                    connection.execute("COMMIT")
            except (sqlite3.Error, ValueError, TypeError, OverflowError) as exc:
                self._roll_back(connection)
                raise self._failure("cannot be used", exc) from exc

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()  # nobody knows what it would commit next

    def _failure(self, what: str, exc: BaseException | None = None) -> EnvironmentFailure:
        name = getattr(exc, "sqlite_errorname", "") or (type(exc).__name__ if exc else "")
        detail = f" ({name})" if name else ""
        return EnvironmentFailure(
            f"the outbox of notices {self._path} {what}{detail}", hint=_REMEDY
        )


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
