# SPDX-License-Identifier: Apache-2.0
"""Keeps API tokens in SQLite, without their secrets.

Laws:

1. A method that changes something returns only after it is durable, and the file is ours and whole
   or not used: the laws of ``sqlite_store``.
2. A request id names one order for ever, in the same transaction as what the order did.
3. A row changes by compare-and-swap: from the secret that was to be replaced, from not revoked to
   revoked, and never back.
4. A row that does not read as a token is none, and no limit that cannot be read means "no limit".

Compatibility: columns may be added under a higher ``_VERSION``; none is renamed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import structlog

from sidecar.apitokens.values import ApiToken
from sidecar.errors import ConflictError, ErrorReason
from sidecar.model import Role
from sidecar.sqlite_store import Schema, SqliteStore

__all__ = ["SqliteApiTokens"]

log = structlog.get_logger("holdfast.control")

_VERSION: Final = 1
_STATEMENTS: Final = (
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
_SCHEMA: Final = Schema(
    what="the store of API tokens",
    version_table="api_token_schema",
    version=_VERSION,
    statements=_STATEMENTS,
    remedy="restore it from a backup, or move it away and make the tokens anew",
)


class SqliteApiTokens(SqliteStore):
    """The tokens in the SQLite file at *path*, which is made if it is missing.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    def load_all(self) -> Sequence[ApiToken]:
        """Return every token that there ever was, in no order (law 4)."""
        with self._reading() as connection:
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
        with self._reading() as connection:
            row = connection.execute(
                "SELECT what FROM api_token_requests WHERE request_id = ?", (request_id,)
            ).fetchone()
        return "" if row is None else str(row[0])

    def add(self, token: ApiToken, *, request_id: str, what: str) -> None:
        """Keep a token that is new.

        Raises:
            ConflictError: The request id was used.
        """
        with self._writing() as connection:
            _take(connection, request_id, what)
            connection.execute(_INSERT, _row_of(token))

    def rotate(self, token: ApiToken, *, replaced: bytes, request_id: str, what: str) -> bool:
        """Keep the new secret of *token* instead of *replaced* (law 3); return whether it was that.

        Raises:
            ConflictError: The request id was used.
        """
        with self._writing() as connection:
            _take(connection, request_id, what)
            values = {**dict(zip(_NAMES, _row_of(token), strict=True)), "replaced": replaced}
            return bool(connection.execute(_ROTATE, values).rowcount == 1)

    def revoke(self, token: ApiToken, *, request_id: str, what: str) -> None:
        """Keep that *token* is revoked (law 3).

        Raises:
            ConflictError: The request id was used for something else.
        """
        with self._writing() as connection:
            _take(connection, request_id, what)
            connection.execute(_REVOKE, dict(zip(_NAMES, _row_of(token), strict=True)))

    def note_uses(self, uses: Mapping[str, int]) -> None:
        """Keep when tokens were last used; one that is known to be used later stays as it is."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE api_tokens SET use_time_ns = max(use_time_ns, ?) WHERE id = ?",
                [(wall_ns, token_id) for token_id, wall_ns in uses.items()],
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
