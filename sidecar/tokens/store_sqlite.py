# SPDX-License-Identifier: Apache-2.0
"""Keeps the standing revocations through restart, crash and power cut.

Laws:

1. ``add`` returns only after the rule is durable, and the file is ours and whole or not used: the
   laws of ``sqlite_store``.
2. One row stands for all rules with the same selectors (see ``revocations.merged``), so adding a
   rule again changes nothing. What was revoked when, and by whom, is in the audit log.
3. A store that failed once is not used again: every method raises. Nobody reads "no revocations"
   out of a broken file.

Compatibility: columns may be added with a default under a higher ``_VERSION``; none is renamed.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sidecar.errors import (
    NotDurableError,
    UntrustedInputError,
)
from sidecar.sqlite_store import Schema, name_of_failure, open_database
from sidecar.tokens.revocations import RevocationRule, merged

__all__ = ["RevocationStore"]

_VERSION: Final = 1
_COLUMNS: Final = (
    "jti, agent, session, issuer, issued_before_s, author, reason, epoch, create_time_ns, "
    "expire_time_s, leave_time_s"
)
# An absent selector is the empty text: SQL's NULLs are all different and would break the key.
_STATEMENTS: Final = (
    "CREATE TABLE IF NOT EXISTS revocation_schema (version INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS revocations (
         jti TEXT NOT NULL, agent TEXT NOT NULL, session TEXT NOT NULL, issuer TEXT NOT NULL,
         issued_before_s INTEGER, author TEXT NOT NULL, reason TEXT NOT NULL,
         epoch INTEGER NOT NULL, create_time_ns INTEGER NOT NULL, expire_time_s INTEGER,
         leave_time_s INTEGER,
         PRIMARY KEY (jti, agent, session, issuer)
       ) STRICT, WITHOUT ROWID""",
    """CREATE INDEX IF NOT EXISTS revocations_leaving ON revocations (leave_time_s)
       WHERE leave_time_s IS NOT NULL""",
)
_SELECT_ONE: Final = (
    f"SELECT {_COLUMNS} FROM revocations "  # noqa: S608 - constants only
    "WHERE jti = ? AND agent = ? AND session = ? AND issuer = ?"
)
_UPSERT: Final = (
    f"INSERT OR REPLACE INTO revocations ({_COLUMNS}) "  # noqa: S608 - constants only
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_REMEDY: Final = (
    "stop control, move the file away, put back a good copy, and start again; "
    "tokens are refused until then"
)
_SCHEMA: Final = Schema(
    what="the revocation store",
    version_table="revocation_schema",
    version=_VERSION,
    statements=_STATEMENTS,
    remedy=_REMEDY,
)

_Row = tuple[str, str, str, str, int | None, str, str, int, int, int | None, int | None]


class RevocationStore:
    """The revocations in the SQLite file at *path*, which is made if it is missing.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used; the message says what to do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._is_broken = False
        self._connection: sqlite3.Connection | None = open_database(path, _SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the store cannot be used any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def add(self, rule: RevocationRule) -> None:
        """Make *rule* durable.

        Raises:
            NotDurableError: It is not.
        """
        self.add_all((rule,))

    def add_all(self, rules: Iterable[RevocationRule]) -> None:
        """Make all *rules* durable, or none.

        Raises:
            NotDurableError: None is.
        """
        added = tuple(rules)  # what fails while it is made is not the store's failure
        with self._writing() as connection:
            for rule in added:
                selectors = _selectors(rule)
                row: _Row | None = connection.execute(_SELECT_ONE, selectors).fetchone()
                if row is not None:
                    held = _rule_of(row)
                    kept = merged(held, rule)
                    if kept == held:
                        continue
                    rule = kept
                connection.execute(_UPSERT, _row_of(rule))

    def load_all(self) -> tuple[RevocationRule, ...]:
        """Return every standing rule, oldest epoch first.

        Raises:
            EnvironmentFailure: The file cannot be read, or holds what no rule can be.
        """
        with self._reading() as connection:
            rows: list[_Row] = connection.execute(
                f"SELECT {_COLUMNS} FROM revocations ORDER BY epoch"  # noqa: S608 - constants only
            ).fetchall()
            return tuple(_rule_of(row) for row in rows)

    def count(self) -> int:
        """Return how many rules stand."""
        with self._reading() as connection:
            return int(connection.execute("SELECT count(*) FROM revocations").fetchone()[0])

    def prune(self, *, now_s: int) -> int:
        """Drop the rules that no admissible token needs any more; return how many."""
        with self._writing() as connection:
            return connection.execute(
                "DELETE FROM revocations WHERE leave_time_s < ?", (now_s,)
            ).rowcount

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._usable()
            try:
                yield connection
            except (sqlite3.Error, UntrustedInputError, TypeError) as exc:
                self._is_broken = True
                raise _SCHEMA.failure(self._path, "cannot be read", exc) from exc

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._usable()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except (sqlite3.Error, UntrustedInputError, TypeError) as exc:
                self._roll_back(connection)
                # Full or busy passes, and nothing was written; anything else may have half failed.
                if getattr(exc, "sqlite_errorname", "") not in ("SQLITE_FULL", "SQLITE_BUSY"):
                    self._is_broken = True
                raise NotDurableError(
                    f"the revocation store {self._path} did not write ({name_of_failure(exc)})",
                    hint=_REMEDY if self._is_broken else "free disk space, then revoke again",
                ) from exc
            except BaseException:
                self._roll_back(connection)
                raise

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._is_broken = True

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None or self._is_broken:  # law 3
            raise _SCHEMA.failure(self._path, "is closed, or failed before")
        return self._connection


def _selectors(rule: RevocationRule) -> tuple[str, str, str, str]:
    return (rule.jti or "", rule.agent or "", rule.session or "", rule.issuer or "")


def _row_of(rule: RevocationRule) -> _Row:
    return (
        *_selectors(rule),
        rule.issued_before_s,
        rule.author,
        rule.reason,
        rule.epoch,
        rule.create_time_ns,
        rule.expire_time_s,
        rule.leave_time_s(),
    )


def _rule_of(row: _Row) -> RevocationRule:
    return RevocationRule(
        jti=row[0] or None,
        agent=row[1] or None,
        session=row[2] or None,
        issuer=row[3] or None,
        issued_before_s=row[4],
        author=row[5],
        reason=row[6],
        epoch=row[7],
        create_time_ns=row[8],
        expire_time_s=row[9],
    )
