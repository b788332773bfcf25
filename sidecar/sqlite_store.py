# SPDX-License-Identifier: Apache-2.0
"""What every store in SQLite shares: a file that is ours, durable and whole, or is not used.

Laws:

1. What was committed survives a power cut: WAL with ``synchronous=FULL``, both read back when the
   file is opened, since SQLite ignores a pragma it cannot follow; and the name of a new file is made
   durable with its directory.
2. A file that others could have prepared is not used: it is made with mode 0600 and never through a
   link, and one that is there is held to the laws of ``safe_paths``.
3. A file of another schema version, or a corrupt one, is not used. Nothing is repaired.
4. What fails inside a transaction leaves nothing behind. If not even the roll-back works, the
   connection is closed: nobody knows what it would commit next.
5. A row that we cannot have written is the store's failure, not the caller's.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure, IntegrityError, UntrustedInputError
from sidecar.safe_paths import check_secret_file

__all__ = ["Schema", "SqliteStore", "name_of_failure", "open_database"]

_SYNCHRONOUS_FULL: Final = 2
_BUSY_MS: Final = 2000
# What SQLite raises, what a value that no column holds raises, what a foreign row raises (law 5).
_FAILURES: Final = (
    sqlite3.Error,
    OverflowError,
    ValueError,
    TypeError,
    KeyError,
    UntrustedInputError,
    IntegrityError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a file must hold to be one of ours.

    Args:
        what: Names the store in errors ("the containment history").
        version_table: Holds one row with one column, the version.
        version: The one that this program knows.
        statements: Make what is missing, and leave what is there.
        remedy: What a person does about a file that cannot be used.
        is_erasing: Whether what is deleted is overwritten with zeros.
        max_bytes: What the file may grow to; what would make it larger fails. 0: as the disk allows.
    """

    what: str
    version_table: str
    version: int
    statements: tuple[str, ...]
    remedy: str
    is_erasing: bool = False
    max_bytes: int = 0

    def failure(
        self, path: Path, problem: str, cause: BaseException | None = None
    ) -> EnvironmentFailure:
        """Return the error that says *problem* of the file; never what was to be written."""
        detail = f" ({name_of_failure(cause)})" if cause is not None else ""
        return EnvironmentFailure(f"{self.what} {path} {problem}{detail}", hint=self.remedy)


def name_of_failure(cause: BaseException) -> str:
    """Return SQLite's own name of what went wrong, or the exception's."""
    name = str(getattr(cause, "sqlite_errorname", ""))
    return name if name.startswith("SQLITE_") else type(cause).__name__


def open_database(path: Path, schema: Schema) -> sqlite3.Connection:
    """Return a connection to the file at *path*, which is made if it is missing (laws 1 to 3).

    It may be used from several threads, one at a time, and begins its transactions by hand.

    Raises:
        EnvironmentFailure: The file cannot be used; the message says why and what to do.
    """
    connection: sqlite3.Connection | None = None
    try:
        _claim(path)
        connection = _connect(path)
        _prepare(connection, path, schema)
    except (sqlite3.Error, OSError) as exc:
        _close(connection)
        raise schema.failure(path, "cannot be opened", exc) from exc
    except EnvironmentFailure:
        _close(connection)
        raise
    return connection


class SqliteStore:
    """The SQLite file at *path*, which is made if it is missing; base of the stores.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = open_database(path, schema)

    def close(self) -> None:
        """Close the file; the store cannot be used any more."""
        with self._lock:
            connection, self._connection = self._connection, None
            _close(connection)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection.

        Raises:
            EnvironmentFailure: The store is closed, or what was done with the connection failed.
        """
        with self._lock:
            connection = self._connection
            if connection is None:
                raise self._failure("is closed")
            try:
                yield connection
            except _FAILURES as exc:
                raise self._failure("cannot be used", exc) from exc

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for one transaction, which is durable when the block has ended (law 4).

        Raises:
            EnvironmentFailure: The store is closed, or nothing was written.
        """
        with self._reading() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._roll_back(connection)
                raise

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()

    def _failure(self, problem: str, cause: BaseException | None = None) -> EnvironmentFailure:
        return self._schema.failure(self._path, problem, cause)


def _claim(path: Path) -> None:
    """Make the file, or make sure that it is ours (law 2)."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        check_secret_file(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    connection.execute("PRAGMA synchronous = FULL")
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    if (mode, synchronous) != ("wal", _SYNCHRONOUS_FULL):
        raise schema.failure(path, "cannot be made durable")
    if schema.is_erasing:
        connection.execute("PRAGMA secure_delete = ON")
    if schema.max_bytes:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {schema.max_bytes // page_size}")
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise schema.failure(path, "is corrupt")
    connection.execute("BEGIN IMMEDIATE")
    for statement in schema.statements:
        connection.execute(statement)
    table = schema.version_table
    versions = [row[0] for row in connection.execute(f"SELECT version FROM {table}")]  # noqa: S608
    if not versions:
        connection.execute(f"INSERT INTO {table} VALUES (?)", (schema.version,))  # noqa: S608
    elif versions != [schema.version]:
        connection.execute("ROLLBACK")
        raise schema.failure(
            path, f"has schema version {versions}, this program knows {schema.version}"
        )
    connection.execute("COMMIT")
