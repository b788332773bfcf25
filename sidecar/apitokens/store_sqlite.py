# SPDX-License-Identifier: Apache-2.0
"""Keeps API tokens in SQLite, without their secrets.

Laws:

1. A method that changes something returns only after it is durable: WAL with ``synchronous=FULL``,
   both read back when the store is opened, since SQLite ignores a pragma it cannot follow.
2. A request id names one order for ever, in the same transaction as what the order did.
3. A row changes by compare-and-swap: from the secret that was to be replaced, from not revoked to
   revoked, and never back.
4. A store of a newer version, or one that is corrupt, is not used: every method raises. A row that
   does not read as a token is none, and no limit that cannot be read means "no limit".

Compatibility: columns may be added under a higher ``_VERSION``; none is renamed.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import structlog

from sidecar.apitokens.values import ApiToken
from sidecar.errors import ConflictError, EnvironmentFailure, ErrorReason, HoldfastError
from sidecar.model import Role

__all__ = ["SqliteApiTokens"]

log = structlog.get_logger("holdfast.control")

_VERSION: Final = 1
_SYNCHRONOUS_FULL: Final = 2
_BUSY_MS: Final = 2000
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS api_token_schema (version INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS api_tokens (
         id TEXT PRIMARY KEY, operator TEXT NOT NULL, identity TEXT NOT NULL,
         human_id TEXT NOT NULL, permissions TEXT NOT NULL, agents TEXT NOT NULL,
         description TEXT NOT NULL, author TEXT NOT NULL, hash BLOB NOT NULL,
         create_time_ns INTEGER NOT NULL, expire_time_ns INTEGER NOT NULL,
         rotate_time_ns INTEGER NOT NULL, previous_hash BLOB NOT NULL,
         previous_expire_time_ns INTEGER NOT NULL, revoke_time_ns INTEGER NOT NULL,
         revoker TEXT NOT NULL, revoke_reason TEXT NOT NULL, use_time_ns INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS api_token_requests (
         request_id TEXT PRIMARY KEY, what TEXT NOT NULL
       ) STRICT, WITHOUT ROWID""",
)
# Columns are called what the value's fields are called.
_NAMES: Final = tuple(item.name for item in fields(ApiToken))
_SELECT: Final = f"SELECT {', '.join(_NAMES)} FROM api_tokens"  # noqa: S608
_INSERT: Final = (
    f"INSERT INTO api_tokens ({', '.join(_NAMES)}) "  # noqa: S608
    f"VALUES ({', '.join('?' * len(_NAMES))})"
)
_ROTATE: Final = """
    UPDATE api_tokens
    SET hash = :hash, previous_hash = :previous_hash, rotate_time_ns = :rotate_time_ns,
        previous_expire_time_ns = :previous_expire_time_ns
    WHERE id = :id AND hash = :replaced AND revoke_time_ns = 0
"""
_REVOKE: Final = """
    UPDATE api_tokens
    SET revoke_time_ns = :revoke_time_ns, revoker = :revoker, revoke_reason = :revoke_reason
    WHERE id = :id AND revoke_time_ns = 0
"""
_REMEDY: Final = "restore it from a backup, or move it away and make the tokens anew"


class SqliteApiTokens:
    """The tokens in the SQLite file at *path*, which is made if it is missing.

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

    def load_all(self) -> Sequence[ApiToken]:
        """Return every token that there ever was, in no order (law 4)."""
        with self._using() as connection:
            rows = connection.execute(_SELECT).fetchall()
        found = []
        for row in rows:
            try:
                found.append(_token_of(row))
            except (ValueError, TypeError):
                log.error("an API token cannot be read, so it does not work", id=str(row[0]))
        return found

    def order_of(self, request_id: str) -> str:
        """Return what *request_id* was used for, or "" if it never was (law 2)."""
        with self._using() as connection:
            row = connection.execute(
                "SELECT what FROM api_token_requests WHERE request_id = ?", (request_id,)
            ).fetchone()
        return "" if row is None else str(row[0])

    def add(self, token: ApiToken, *, request_id: str, what: str) -> None:
        """Keep a token that is new.

        Raises:
            ConflictError: The request id was used.
        """
        with self._using(is_writing=True) as connection:
            _take(connection, request_id, what)
            connection.execute(_INSERT, _row_of(token))

    def rotate(self, token: ApiToken, *, replaced: bytes, request_id: str, what: str) -> bool:
        """Keep the new secret of *token* instead of *replaced* (law 3); return whether it was that.

        Raises:
            ConflictError: The request id was used.
        """
        with self._using(is_writing=True) as connection:
            _take(connection, request_id, what)
            values = {**dict(zip(_NAMES, _row_of(token), strict=True)), "replaced": replaced}
            return bool(connection.execute(_ROTATE, values).rowcount == 1)

    def revoke(self, token: ApiToken, *, request_id: str, what: str) -> None:
        """Keep that *token* is revoked (law 3).

        Raises:
            ConflictError: The request id was used for something else.
        """
        with self._using(is_writing=True) as connection:
            _take(connection, request_id, what)
            connection.execute(_REVOKE, dict(zip(_NAMES, _row_of(token), strict=True)))

    def note_uses(self, uses: Mapping[str, int]) -> None:
        """Keep when tokens were last used; one that is known to be used later stays as it is."""
        with self._using(is_writing=True) as connection:
            connection.executemany(
                "UPDATE api_tokens SET use_time_ns = max(use_time_ns, ?) WHERE id = ?",
                [(wall_ns, token_id) for token_id, wall_ns in uses.items()],
            )

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
        versions = [row[0] for row in connection.execute("SELECT version FROM api_token_schema")]
        if not versions:
            connection.execute("INSERT INTO api_token_schema VALUES (?)", (_VERSION,))
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
            except HoldfastError:
                self._roll_back(connection)
                raise
            except (sqlite3.Error, ValueError, TypeError) as exc:
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
            f"the store of API tokens {self._path} {what}{detail}",
            reason=ErrorReason.STORE_UNAVAILABLE,
            hint=_REMEDY,
        )


def _take(connection: sqlite3.Connection, request_id: str, what: str) -> None:
    """Law 2."""
    row = connection.execute(
        "SELECT what FROM api_token_requests WHERE request_id = ?", (request_id,)
    ).fetchone()
    if row is None:
        connection.execute("INSERT INTO api_token_requests VALUES (?, ?)", (request_id, what))
    elif row[0] != what:
        raise ConflictError(
            "this request id was used before, for another order",
            reason=ErrorReason.REQUEST_ID_CONFLICT,
            hint="use a fresh request id for each order",
        )


def _row_of(token: ApiToken) -> tuple[Any, ...]:
    values = {name: getattr(token, name) for name in _NAMES}
    values["permissions"] = json.dumps(sorted(token.permissions))
    values["agents"] = json.dumps(sorted(token.agents))
    return tuple(values.values())


def _token_of(row: Sequence[Any]) -> ApiToken:
    values: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    values["permissions"] = frozenset(Role(item) for item in _texts(values["permissions"]))
    values["agents"] = frozenset(_texts(values["agents"]))
    if len(values["hash"]) != 32 or len(values["previous_hash"]) not in (0, 32):
        raise ValueError("no hash")
    return ApiToken(**values)


def _texts(text: str) -> list[str]:
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
        raise ValueError("not a list of texts")
    return found
