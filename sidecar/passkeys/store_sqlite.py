# SPDX-License-Identifier: Apache-2.0
"""Keeps passkeys and enrolment tickets in SQLite.

Laws:

1. A method that changes something returns only after it is durable, and the file is ours and whole
   or not used: the laws of ``sqlite_store``.
2. A ticket is used by one compare-and-swap that names everything it is bound to, in the same
   transaction as the passkey that it admits: of any number that use it at once, one has it.
3. A counter moves by compare-and-swap from what was verified against.
4. A credential id is one passkey's for ever: a removed one stays, as removed.

Compatibility: columns may be added under a higher ``_VERSION``; none is renamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from sidecar.clock import NS_PER_SECOND
from sidecar.errors import (
    ConflictError,
    NotFoundError,
    PreconditionError,
)
from sidecar.passkeys.values import Passkey, PasskeyState, Ticket
from sidecar.sqlite_store import Schema, SqliteStore

__all__ = ["MAX_PASSKEYS_PER_HUMAN", "PasskeyStore"]

MAX_PASSKEYS_PER_HUMAN: Final = 20

_VERSION: Final = 1
_KEEP_TICKETS_NS: Final = 24 * 3600 * NS_PER_SECOND
_KEEP_PENDING_NS: Final = 3600 * NS_PER_SECOND
_STATEMENTS: Final = (
    "CREATE TABLE IF NOT EXISTS passkey_schema (version INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS passkey_credentials (
         credential_id TEXT PRIMARY KEY, human_id TEXT NOT NULL, operator TEXT NOT NULL,
         public_key BLOB NOT NULL, counter INTEGER NOT NULL, name TEXT NOT NULL,
         author TEXT NOT NULL, state TEXT NOT NULL, create_time_ns INTEGER NOT NULL,
         transports TEXT NOT NULL, use_time_ns INTEGER NOT NULL, is_seen INTEGER NOT NULL,
         remover TEXT NOT NULL, remove_time_ns INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE INDEX IF NOT EXISTS passkey_credentials_human
       ON passkey_credentials (human_id, state)""",
    """CREATE TABLE IF NOT EXISTS passkey_confirmations (
         credential_id TEXT NOT NULL, voucher TEXT NOT NULL, PRIMARY KEY (credential_id, voucher)
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS passkey_tickets (
         hash BLOB PRIMARY KEY, operator TEXT NOT NULL, human_id TEXT NOT NULL,
         author TEXT NOT NULL, request_id TEXT NOT NULL UNIQUE, create_time_ns INTEGER NOT NULL,
         expire_time_ns INTEGER NOT NULL, create_boot_ns INTEGER NOT NULL,
         deadline_boot_ns INTEGER NOT NULL, use_time_ns INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
)
# Columns are called what the values' fields are called.
_NAMES: Final = tuple(item.name for item in fields(Passkey))
_TICKET_NAMES: Final = tuple(item.name for item in fields(Ticket))
_SELECT: Final = f"SELECT {', '.join(_NAMES)} FROM passkey_credentials"  # noqa: S608
_INSERT: Final = (
    f"INSERT INTO passkey_credentials ({', '.join(_NAMES)}) "  # noqa: S608
    f"VALUES ({', '.join('?' * len(_NAMES))}) ON CONFLICT DO NOTHING"
)
_SELECT_TICKET: Final = f"SELECT {', '.join(_TICKET_NAMES)} FROM passkey_tickets"  # noqa: S608
_INSERT_TICKET: Final = (
    f"INSERT INTO passkey_tickets ({', '.join(_TICKET_NAMES)}) "  # noqa: S608
    f"VALUES ({', '.join('?' * len(_TICKET_NAMES))})"
)
_ORDER: Final = " ORDER BY create_time_ns, credential_id"
_USE_TICKET: Final = """
    UPDATE passkey_tickets SET use_time_ns = :wall
    WHERE hash = :hash AND use_time_ns = 0 AND operator = :operator AND human_id = :human
      AND :wall < expire_time_ns AND create_boot_ns <= :boot AND :boot < deadline_boot_ns
"""
_SCHEMA: Final = Schema(
    what="the store of passkeys",
    version_table="passkey_schema",
    version=_VERSION,
    statements=_STATEMENTS,
    remedy="restore it from a backup, or move it away and enrol everybody's passkeys anew",
)


class PasskeyStore(SqliteStore):
    """The passkeys in the SQLite file at *path*, which is made if it is missing.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    # -- passkeys -------------------------------------------------------------------------------

    def find(self, credential_id: str) -> Passkey | None:
        """Return the passkey *credential_id* in whatever state, if it is there."""
        with self._reading() as connection:
            row = connection.execute(
                f"{_SELECT} WHERE credential_id = ?", (credential_id,)
            ).fetchone()
        return None if row is None else _passkey_of(row)

    def of_human(self, human_id: str) -> Sequence[Passkey]:
        """Return the active passkeys of *human_id*, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE state = 'active' AND human_id = ?{_ORDER}", (human_id,)
            ).fetchall()
        return [_passkey_of(row) for row in rows]

    def all(self) -> Sequence[Passkey]:
        """Return every active passkey, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(f"{_SELECT} WHERE state = 'active'{_ORDER}").fetchall()
        return [_passkey_of(row) for row in rows]

    def admit(self, passkey: Passkey, *, ticket: bytes, wall_ns: int, boot_ns: int) -> None:
        """Use *ticket* for *passkey*, which must be PENDING (law 2).

        Raises:
            NotFoundError: The ticket is unknown, used, too old, or somebody else's.
            ConflictError: The credential id is taken (law 4).
            PreconditionError: The human has too many passkeys.
        """
        with self._writing() as connection:
            used = connection.execute(
                _USE_TICKET,
                {
                    "hash": ticket,
                    "operator": passkey.operator,
                    "human": passkey.human_id,
                    "wall": wall_ns,
                    "boot": boot_ns,
                },
            ).rowcount
            if used != 1:
                raise NotFoundError(
                    "this link was used, is older than 15 minutes, or was never given out",
                    hint="ask an administrator for a new one: holdfast accounts enrol NAME",
                )
            connection.execute(  # whose entry in the log never came to be
                "DELETE FROM passkey_credentials WHERE state = 'pending' AND create_time_ns < ?",
                (wall_ns - _KEEP_PENDING_NS,),
            )
            (count,) = connection.execute(
                """SELECT count(*) FROM passkey_credentials
                   WHERE human_id = ? AND state <> 'removed'""",
                (passkey.human_id,),
            ).fetchone()
            if count >= MAX_PASSKEYS_PER_HUMAN:
                raise PreconditionError(
                    f"there are {count} passkeys of this human already",
                    hint="remove one: holdfast accounts remove NAME --credential ID",
                )
            added = connection.execute(_INSERT, _row_of(passkey)).rowcount
            if added != 1:
                raise ConflictError(
                    "this passkey is known here already", hint="use another authenticator"
                )

    def activate(self, credential_id: str) -> bool:
        """Let the PENDING passkey *credential_id* count; return whether it was one."""
        return self._change(
            """UPDATE passkey_credentials SET state = 'active'
               WHERE credential_id = ? AND state = 'pending'""",
            credential_id,
        )

    def advance(
        self, credential_id: str, *, human_id: str, counter: int, to: int, wall_ns: int
    ) -> bool:
        """Move the counter from *counter* to *to* (law 3); return whether it stood there."""
        return self._change(
            """UPDATE passkey_credentials SET counter = ?, use_time_ns = ?
               WHERE credential_id = ? AND human_id = ? AND counter = ? AND state = 'active'""",
            to,
            wall_ns,
            credential_id,
            human_id,
            counter,
        )

    def confirm(self, credential_id: str, *, human_id: str, voucher: str) -> bool:
        """Note that *human_id*, signed in with *voucher*, says the passkey is theirs.

        Args:
            voucher: The passkey they are signed in with; empty for OpenID Connect.

        Returns:
            Whether it is theirs.
        """
        with self._writing() as connection:
            changed = connection.execute(
                """UPDATE passkey_credentials SET is_seen = 1
                   WHERE credential_id = ? AND human_id = ? AND state = 'active'""",
                (credential_id, human_id),
            ).rowcount
            if changed == 1:
                connection.execute(
                    "INSERT OR IGNORE INTO passkey_confirmations VALUES (?, ?)",
                    (credential_id, voucher),
                )
            return bool(changed == 1)

    def confirmed_with(self, voucher: str) -> frozenset[str]:
        """Return the credential ids that were confirmed by people signed in with *voucher*."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT credential_id FROM passkey_confirmations WHERE voucher = ?", (voucher,)
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def remove(self, credential_id: str, *, human_id: str, remover: str, wall_ns: int) -> bool:
        """Remove the passkey for good; return whether it was there to be removed."""
        return self._change(
            """UPDATE passkey_credentials SET state = 'removed', remover = ?, remove_time_ns = ?
               WHERE credential_id = ? AND human_id = ? AND state <> 'removed'""",
            remover,
            wall_ns,
            credential_id,
            human_id,
        )

    # -- tickets --------------------------------------------------------------------------------

    def issue(self, ticket: Ticket) -> None:
        """Keep *ticket*; every other open one of its operator is void from now on.

        Raises:
            ConflictError: Its request id was used for another operator.
            PreconditionError: The ticket of this request id was used.
        """
        with self._writing() as connection:
            earlier = connection.execute(
                "SELECT operator, use_time_ns FROM passkey_tickets WHERE request_id = ?",
                (ticket.request_id,),
            ).fetchone()
            if earlier is not None and earlier[0] != ticket.operator:
                raise ConflictError(
                    "this request id was used to enrol somebody else",
                    hint="take a fresh request id for another order",
                )
            if earlier is not None and earlier[1]:
                raise PreconditionError(
                    "the link of this request was used", hint="take a fresh request id"
                )
            connection.execute(
                """DELETE FROM passkey_tickets
                   WHERE (operator = ? AND use_time_ns = 0) OR expire_time_ns < ?""",
                (ticket.operator, ticket.create_time_ns - _KEEP_TICKETS_NS),
            )
            connection.execute(_INSERT_TICKET, _ticket_row_of(ticket))

    def ticket(self, hash_: bytes) -> Ticket | None:
        """Return the ticket whose secret hashes to *hash_*; reading uses nothing."""
        with self._reading() as connection:
            row = connection.execute(f"{_SELECT_TICKET} WHERE hash = ?", (hash_,)).fetchone()
        return None if row is None else _ticket_of(row)

    # -- private --------------------------------------------------------------------------------

    def _change(self, statement: str, *values: object) -> bool:
        with self._writing() as connection:
            return bool(connection.execute(statement, values).rowcount == 1)


def _row_of(passkey: Passkey) -> tuple[object, ...]:
    row = {name: getattr(passkey, name) for name in _NAMES}
    row["state"] = passkey.state.value
    row["transports"] = " ".join(passkey.transports)
    row["is_seen"] = int(passkey.is_seen)
    return tuple(row.values())


def _passkey_of(row: Sequence[Any]) -> Passkey:
    columns: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    columns["state"] = PasskeyState(columns["state"])
    columns["transports"] = tuple(columns["transports"].split())
    columns["is_seen"] = bool(columns["is_seen"])
    return Passkey(**columns)


def _ticket_row_of(ticket: Ticket) -> tuple[object, ...]:
    return tuple(getattr(ticket, name) for name in _TICKET_NAMES)


def _ticket_of(row: Sequence[Any]) -> Ticket:
    return Ticket(**dict(zip(_TICKET_NAMES, row, strict=True)))
