# SPDX-License-Identifier: Apache-2.0
"""A query index over a log, in SQLite. It is no evidence and holds none.

Laws:

1. The index can be deleted at any time: it is rebuilt from the log. A missing, damaged or foreign
   index, or one that does not fit the log, is rebuilt without asking.
2. It covers only what a checkpoint covers, so it never shows an entry that a crash may take back.
3. Answers are read from the log; the index only says where they are.

``catch_up`` and ``query`` may be called from any thread; run them off the event loop.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from sidecar.audit.entry import decode_entry
from sidecar.audit.files import FILE_MODE
from sidecar.audit.merkle import leaf_hash
from sidecar.audit.reader import EntryFilter, StoredEntry, read_entries, signed_size
from sidecar.errors import EnvironmentFailure, ErrorReason, UntrustedInputError

__all__ = ["AuditIndex", "Page", "token_after", "token_before"]

_NAME: Final = "index.db"
_SCHEMA_VERSION: Final = 1
_BLOCK: Final = 4096
_MAX_LIMIT: Final = 1000
_MAX_NAMED: Final = 500
_MAX_REFERRING: Final = 8
"""Entries of one kind that are looked at for one decision, on average: anybody may repeat a report."""
_COLUMNS: Final = ("agent", "tool", "decision_id", "kind", "effect")
_SCHEMA: Final = """
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY, time TEXT, agent TEXT, tool TEXT, decision_id TEXT, kind TEXT,
        effect TEXT
    );
    CREATE INDEX by_agent ON entries (agent, seq);
    CREATE INDEX by_tool ON entries (tool, seq);
    CREATE INDEX by_decision ON entries (decision_id, seq) WHERE decision_id IS NOT NULL;
    CREATE INDEX by_kind ON entries (kind, effect, seq);
    CREATE INDEX by_time ON entries (time, seq);
    CREATE TABLE state (size INTEGER NOT NULL, last_leaf BLOB NOT NULL);
    INSERT INTO state VALUES (0, x'');
"""
_Result = TypeVar("_Result")
_TOKEN = re.compile(r"([ad]):(0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of answers; ``next_page_token`` is empty on the last one."""

    entries: tuple[StoredEntry, ...]
    next_page_token: str


class AuditIndex:
    """The index of the log in one directory."""

    def __init__(self, directory: Path, *, path: Path) -> None:
        """Use ``AuditIndex.open``."""
        self._directory = directory
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @classmethod
    def open(cls, directory: Path, *, path: Path | None = None) -> AuditIndex:
        """Open (or make) the index of the log in *directory*; by default it lies inside.

        Raises:
            EnvironmentFailure: the index can be neither opened nor made.
        """
        index = cls(directory, path=path or directory / _NAME)
        with index._lock:
            index._run(lambda connection: connection.execute("SELECT size FROM state").fetchone())
        return index

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._disconnect()

    def catch_up(self) -> int:
        """Index what the log has gained; return how many entries the index covers.

        Raises:
            IntegrityError: the log cannot be read.
            EnvironmentFailure: the index cannot be written.
        """
        with self._lock:
            return self._run(self._catch_up)

    def query(
        self,
        wanted: EntryFilter | None = None,
        *,
        limit: int = 100,
        page_token: str = "",
        is_newest_first: bool = False,
    ) -> Page:
        """Return up to *limit* entries that *wanted* matches, in the order of the log.

        Args:
            wanted: Which entries; None for all.
            limit: At most so many, up to 1000.
            page_token: ``next_page_token`` of the page before this one.
            is_newest_first: Whether the order is reversed.

        Raises:
            UntrustedInputError: *page_token* is not one of ours.
            EnvironmentFailure: the index cannot be read.
        """
        if not 1 <= limit <= _MAX_LIMIT:
            raise ValueError(f"limit must be between 1 and {_MAX_LIMIT}")
        wanted = wanted or EntryFilter()
        order = "d" if is_newest_first else "a"
        conditions, values = _conditions(wanted)
        if page_token:
            conditions.append("seq < ?" if is_newest_first else "seq > ?")
            values.append(_read_token(page_token, order))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        direction = "DESC" if is_newest_first else "ASC"
        statement = f"SELECT seq FROM entries{where} ORDER BY seq {direction} LIMIT ?"  # noqa: S608
        with self._lock:
            rows = self._run(
                lambda connection: connection.execute(statement, (*values, limit + 1)).fetchall()
            )
        numbers = [int(row[0]) for row in rows]
        has_more = len(numbers) > limit
        numbers = numbers[:limit]
        return Page(
            entries=tuple(self._load(numbers)),
            next_page_token=_write_token(order, numbers[-1]) if has_more else "",
        )

    def referring(self, decision_ids: Collection[str], *, kind: str) -> tuple[StoredEntry, ...]:
        """Return the entries of *kind* that name one of *decision_ids*, in the order of the log.

        Raises:
            EnvironmentFailure: the index cannot be read.
        """
        wanted = list(dict.fromkeys(decision_ids))
        numbers: list[int] = []
        with self._lock:
            for start in range(0, len(wanted), _MAX_NAMED):
                part = wanted[start : start + _MAX_NAMED]
                marks = ", ".join("?" * len(part))
                statement = (
                    f"SELECT seq FROM entries WHERE decision_id IN ({marks})"  # noqa: S608
                    " AND kind = ? ORDER BY seq LIMIT ?"
                )
                values = (*part, kind, _MAX_REFERRING * len(part))
                rows = self._run(_fetching(statement, values))
                numbers += [int(row[0]) for row in rows]
        return tuple(self._load(sorted(numbers)))

    def _load(self, numbers: list[int]) -> Iterator[StoredEntry]:
        position = 0
        while position < len(numbers):
            first = numbers[position]
            step = 1 if position + 1 >= len(numbers) or numbers[position + 1] > first else -1
            end = position + 1
            while end < len(numbers) and numbers[end] == numbers[end - 1] + step:
                end += 1
            run = numbers[position:end]
            block = read_entries(self._directory, min(run), len(run))
            yield from block if step == 1 else reversed(block)
            position = end

    def _catch_up(self, connection: sqlite3.Connection) -> int:
        target = signed_size(self._directory)
        size = self._checked_size(connection, target)
        while size < target:
            block = read_entries(self._directory, size, min(_BLOCK, target - size))
            self._add(connection, block)
            size += len(block)
        return size

    def _add(self, connection: sqlite3.Connection, block: list[StoredEntry]) -> None:
        rows = []
        for entry in block:
            fields = decode_entry(entry.line)
            named = (_text(fields.get(name)) for name in _COLUMNS)
            rows.append((entry.seq, _text(fields.get("time")), *named))
        with connection:
            connection.executemany(
                "INSERT INTO entries (seq, time, agent, tool, decision_id, kind, effect)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            last = block[-1]
            connection.execute(
                "UPDATE state SET size = ?, last_leaf = ?", (last.seq + 1, leaf_hash(last.line))
            )

    def _checked_size(self, connection: sqlite3.Connection, target: int) -> int:
        """Return how many entries are indexed, after making sure that they are this log's."""
        size, last_leaf = connection.execute("SELECT size, last_leaf FROM state").fetchone()
        if size == 0:
            return 0
        if size <= target:
            (last,) = read_entries(self._directory, size - 1, 1)
            if leaf_hash(last.line) == last_leaf:
                return int(size)
        raise sqlite3.DatabaseError("the index is of another log")

    def _run(self, operation: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run *operation*; if the index turns out to be unusable, rebuild it once (law 1)."""
        try:
            try:
                return operation(self._connect())
            except sqlite3.DatabaseError:
                self._discard()
                connection = self._connect()
                self._catch_up(connection)
                return operation(connection)
        except (sqlite3.Error, OSError) as exc:
            self._disconnect()
            raise EnvironmentFailure(
                f"the index {self._path} cannot be used: {exc}",
                reason=ErrorReason.STORE_UNAVAILABLE,
                hint="check space and permissions; the file may be deleted at any time",
            ) from exc

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(self._path, flags, FILE_MODE))  # SQLite would make it by the umask
            connection = sqlite3.connect(self._path, timeout=5.0, check_same_thread=False)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                version_mark = f"PRAGMA user_version = {_SCHEMA_VERSION}"
                connection.executescript(f"BEGIN; {_SCHEMA} {version_mark}; COMMIT;")
            elif version != _SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"the index has version {version}")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _discard(self) -> None:
        self._disconnect()
        for suffix in ("", "-wal", "-shm", "-journal"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def token_before(seq: int) -> str:
    """Return the page token of what lies before entry *seq*, newest first."""
    return _write_token("d", seq)


def token_after(seq: int) -> str:
    """Return the page token of what lies behind entry *seq*, oldest first; empty for all (-1)."""
    return _write_token("a", seq) if seq >= 0 else ""


def _fetching(
    statement: str, values: tuple[object, ...]
) -> Callable[[sqlite3.Connection], list[tuple[int]]]:
    return lambda connection: connection.execute(statement, values).fetchall()


def _conditions(wanted: EntryFilter) -> tuple[list[str], list[str | int]]:
    conditions: list[str] = []
    values: list[str | int] = []
    for name, value in wanted.equalities().items():
        conditions.append(f"{name} = ?")
        values.append(value)
    if wanted.kinds:
        conditions.append(f"kind IN ({', '.join('?' * len(wanted.kinds))})")
        values += wanted.kinds
    since, until = wanted.times()
    if since:
        conditions.append("time >= ?")
        values.append(since)
    if until:
        conditions.append("time < ?")
        values.append(until)
    return conditions, values


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _write_token(order: str, seq: int) -> str:
    return base64.urlsafe_b64encode(f"{order}:{seq}".encode()).decode("ascii")


def _read_token(token: str, order: str) -> int:
    try:
        text = base64.urlsafe_b64decode(token.encode("ascii")).decode("ascii")
    except (binascii.Error, ValueError) as exc:
        raise UntrustedInputError("the page token is malformed") from exc
    match = _TOKEN.match(text)
    if not match or match[1] != order:
        raise UntrustedInputError("the page token is not of this query")
    return int(match[2])
