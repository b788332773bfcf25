# SPDX-License-Identifier: Apache-2.0
"""Keeps approvals in SQLite.

Laws, beside those of ``store``:

1. The file is ours, durable and whole, or not used: the laws of ``sqlite_store``.
2. A transition is one ``UPDATE`` whose WHERE clause holds everything it depends on; it was made if
   exactly one row changed. Several processes may try at once: SQLite lets one write at a time.
3. What is forgotten is overwritten in the file (``secure_delete``).

Compatibility: columns and tables may be added under a higher ``_VERSION``; none is renamed. The
documents in ``request`` and ``life`` have the law of ``rows``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.approvals.rows import COLUMNS, approval_of, life_of, row_of
from sidecar.approvals.store import Guard
from sidecar.approvals.values import Approval, ApprovalState, Request, RequestKind, Tier
from sidecar.model import Fingerprint, Role
from sidecar.sqlite_store import Schema, SqliteStore

__all__ = ["SqliteApprovals"]

_VERSION: Final = 1
_STATEMENTS: Final = (
    "CREATE TABLE IF NOT EXISTS approval_schema (version INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS approvals (
         seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
         kind TEXT NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL,
         fingerprint TEXT NOT NULL, agent TEXT NOT NULL, session TEXT NOT NULL,
         policy_digest TEXT NOT NULL, request_id TEXT NOT NULL, grant_epoch INTEGER NOT NULL,
         create_time_ns INTEGER NOT NULL, expire_time_ns INTEGER NOT NULL,
         deadline_boot_ns INTEGER NOT NULL, boot_id TEXT NOT NULL,
         end_time_ns INTEGER NOT NULL, folded_count INTEGER NOT NULL, result TEXT NOT NULL,
         summary TEXT NOT NULL, canonical BLOB NOT NULL, request BLOB NOT NULL,
         life BLOB NOT NULL, logged_version INTEGER NOT NULL
       ) STRICT""",
    """CREATE UNIQUE INDEX IF NOT EXISTS approvals_one_live_call
       ON approvals (fingerprint, agent, session, policy_digest)
       WHERE kind = 'call' AND state IN ('PENDING', 'GRANTED')""",
    """CREATE UNIQUE INDEX IF NOT EXISTS approvals_one_action
       ON approvals (request_id) WHERE kind = 'action'""",
    """CREATE INDEX IF NOT EXISTS approvals_live
       ON approvals (seq) WHERE state IN ('PENDING', 'GRANTED')""",
    """CREATE INDEX IF NOT EXISTS approvals_unlogged
       ON approvals (seq) WHERE logged_version < version""",
    "CREATE INDEX IF NOT EXISTS approvals_agent ON approvals (agent, seq)",
    "CREATE INDEX IF NOT EXISTS approvals_end ON approvals (state, end_time_ns)",
    """CREATE TABLE IF NOT EXISTS approval_announcements (
         approval_id TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (approval_id, kind)
       ) STRICT, WITHOUT ROWID""",
)
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM approvals"  # noqa: S608 - constants
_INSERT: Final = (
    f"INSERT INTO approvals ({', '.join(COLUMNS)}, logged_version) "  # noqa: S608 - constants
    f"VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"
)
_SWAP: Final = """
    UPDATE approvals SET
      state = :next_state, version = :next_version, grant_epoch = :next_grant_epoch,
      expire_time_ns = :next_expire_time_ns, deadline_boot_ns = :next_deadline_boot_ns,
      boot_id = :next_boot_id, end_time_ns = :end_time_ns, result = :result, life = :life,
      logged_version = CASE WHEN :is_logged THEN :next_version ELSE logged_version END
    WHERE id = :id AND version = :version AND state = :state"""
# Before both deadlines. The boot clock of another boot says nothing: there a request that waits goes
# by the wall clock, and a grant is void.
_UNEXPIRED: Final = """
      AND expire_time_ns > :wall_ns
      AND CASE WHEN boot_id = :boot_id THEN deadline_boot_ns > :boot_ns ELSE state = 'PENDING' END"""
_BOUND: Final = """
      AND kind = 'call' AND fingerprint = :fingerprint AND agent = :agent AND session = :session
      AND policy_digest = :policy_digest AND grant_epoch = :epoch"""
_SCHEMA: Final = Schema(
    what="the approvals",
    version_table="approval_schema",
    version=_VERSION,
    statements=_STATEMENTS,
    remedy=(
        "move the file away and start control again: what waited must be asked again; the log keeps "
        "who decided what"
    ),
    is_erasing=True,  # law 3
)
_LIVE: Final = "state IN ('PENDING', 'GRANTED')"
_UNFINISHED: Final = "kind = 'action' AND state IN ('GRANTED', 'CONSUMED') AND result = ''"
_DECOY: Final = row_of(
    Approval(
        id="apr_" + "0" * 32,
        request=Request(
            kind=RequestKind.CALL,
            fingerprint=Fingerprint("0" * 64),
            canonical=bytes(1024),
            summary="nothing",
            reason="nothing",
            tier=Tier.LOW,
            role=Role.APPROVE,
            quorum=1,
            is_passkey_needed=False,
            is_reason_needed=False,
            expiry_s=1,
            grant_life_s=1,
            policy_digest="0" * 64,
            epoch=0,
        ),
        state=ApprovalState.PENDING,
        version=1,
        create_time_ns=0,
        expire_time_ns=0,
        deadline_boot_ns=0,
        boot_id="",
    )
)


class SqliteApprovals(SqliteStore):
    """The approvals in the SQLite file at *path*, which is made if it is missing.

    May be used from several threads; calls wait for each other.

    Raises:
        EnvironmentFailure: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    # -- transitions ----------------------------------------------------------------------------

    def insert(self, approval: Approval) -> bool:
        """Keep a new approval; False if there is a live one of the same call or request id."""
        row = (*row_of(approval), approval.version)
        with self._writing() as connection:
            try:
                connection.execute(_INSERT, row)
            except sqlite3.IntegrityError as exc:
                if exc.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE":
                    raise
                return False
        return True

    def swap(
        self, before: Approval, after: Approval, *, guard: Guard | None, is_logged: bool
    ) -> bool:
        """Put *after* in the place of exactly *before*, or return False (law 2)."""
        if (before.id, before.version + 1) != (after.id, after.version):
            raise ValueError("a transition makes the next version of the same approval")
        values = {
            "next_state": after.state.value,
            "next_version": after.version,
            "next_grant_epoch": after.grant_epoch,
            "next_expire_time_ns": after.expire_time_ns,
            "next_deadline_boot_ns": after.deadline_boot_ns,
            "next_boot_id": after.boot_id,
            "end_time_ns": after.end_time_ns,
            "result": after.result,
            "life": life_of(after),
            "is_logged": is_logged,
            "id": before.id,
            "version": before.version,
            "state": before.state.value,
        }
        statement = _SWAP
        if guard is not None:
            statement += _UNEXPIRED
            values |= {
                "wall_ns": guard.moment.wall_ns,
                "boot_ns": guard.moment.boot_ns,
                "boot_id": guard.moment.boot_id,
            }
        if guard is not None and guard.binding is not None:
            statement += _BOUND
            values |= {
                "fingerprint": guard.binding.fingerprint,
                "agent": guard.binding.agent,
                "session": guard.binding.session,
                "policy_digest": guard.binding.policy_digest,
                "epoch": guard.binding.epoch,
            }
        with self._writing() as connection:
            return connection.execute(statement, values).rowcount == 1

    # -- reading --------------------------------------------------------------------------------

    def get(self, approval_id: str) -> Approval | None:
        """Return one. One that is not there takes as long as one that is."""
        with self._reading() as connection:
            row = connection.execute(f"{_SELECT} WHERE id = ?", (approval_id,)).fetchone()
            found = approval_of(_DECOY if row is None else row)
            return None if row is None else found

    def by_request_id(self, request_id: str) -> Approval | None:
        """Return the action that was asked for with *request_id*."""
        found = self._select("WHERE kind = 'action' AND request_id = ?", request_id)
        return found[0] if found else None

    def by_call(
        self, *, fingerprint: str, agent: str, session: str, policy_digest: str
    ) -> Approval | None:
        """Return the live approval of that very call."""
        found = self._select(
            f"""WHERE kind = 'call' AND {_LIVE}
                AND fingerprint = ? AND agent = ? AND session = ? AND policy_digest = ?""",
            *(fingerprint, agent, session, policy_digest),
        )
        return found[0] if found else None

    def live(self) -> Sequence[Approval]:
        """Return those that wait or are granted, oldest first."""
        return self._select(f"WHERE {_LIVE} ORDER BY seq")

    def unfinished(self) -> Sequence[Approval]:
        """Return the actions that were granted or taken and have no result, oldest first."""
        return self._select(f"WHERE {_UNFINISHED} ORDER BY seq")

    def refused_since(self, wall_ns: int) -> Sequence[Approval]:
        """Return the calls that were refused at *wall_ns* or later."""
        return self._select(
            "WHERE state = 'REFUSED' AND end_time_ns >= ? AND kind = 'call'", wall_ns
        )

    def page(
        self, *, pending_only: bool, agent: str, limit: int, before: str | None
    ) -> Sequence[Approval]:
        """Return at most *limit*, newest first, that are older than the approval *before*."""
        clauses, values = ["1"], list[Any]()
        if pending_only:
            clauses += ["state = 'PENDING'", _LIVE]  # the second is what its index covers
        if agent:
            clauses.append("agent = ?")
            values.append(agent)
        if before is not None:
            clauses.append("seq < (SELECT seq FROM approvals WHERE id = ?)")
            values.append(before)
        where = " AND ".join(clauses)
        return self._select(f"WHERE {where} ORDER BY seq DESC LIMIT ?", *values, limit)

    # -- notes ----------------------------------------------------------------------------------

    def unlogged(self, *, limit: int) -> Sequence[Approval]:
        """Return some whose last transition the log may not have."""
        return self._select("WHERE logged_version < version ORDER BY seq LIMIT ?", limit)

    def mark_logged(self, versions: Mapping[str, int]) -> None:
        """Note that the log has the entries of these versions."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE approvals SET logged_version = max(logged_version, ?) WHERE id = ?",
                [(version, approval_id) for approval_id, version in versions.items()],
            )

    def count_folded(self, counts: Mapping[str, int]) -> None:
        """Note how often the identical call was asked while these waited."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE approvals SET folded_count = max(folded_count, ?) WHERE id = ?",
                [(count, approval_id) for approval_id, count in counts.items()],
            )

    def mark_announced(self, approval_id: str, kind: str) -> bool:
        """Note that *kind* is told of it; False if it was noted before."""
        with self._writing() as connection:
            cursor = connection.execute(
                "INSERT INTO approval_announcements VALUES (?, ?) ON CONFLICT DO NOTHING",
                (approval_id, kind),
            )
            return cursor.rowcount == 1

    def announced(self) -> Mapping[str, frozenset[str]]:
        """Return what was told of those that are live."""
        told: dict[str, frozenset[str]] = {}
        with self._reading() as connection:
            rows = connection.execute(
                f"""SELECT approval_id, approval_announcements.kind FROM approval_announcements
                    JOIN approvals ON id = approval_id WHERE {_LIVE}"""  # noqa: S608 - constants
            )
            for approval_id, kind in rows:
                told[approval_id] = told.get(approval_id, frozenset()) | {kind}
        return told

    def purge(self, *, ended_before_ns: int) -> int:
        """Forget canonical form and summary of those that ended earlier; return of how many."""
        with self._writing() as connection:
            cursor = connection.execute(
                f"""UPDATE approvals SET canonical = x'', summary = ''
                    WHERE NOT {_LIVE} AND NOT ({_UNFINISHED}) AND end_time_ns < ?
                    AND canonical <> x''""",  # noqa: S608 - constants
                (ended_before_ns,),
            )
            connection.execute(
                f"""DELETE FROM approval_announcements WHERE approval_id IN
                    (SELECT id FROM approvals WHERE NOT {_LIVE})"""  # noqa: S608 - constants
            )
            return cursor.rowcount

    # -- private --------------------------------------------------------------------------------

    def _select(self, where: str, *values: Any) -> list[Approval]:
        with self._reading() as connection:
            rows = connection.execute(f"{_SELECT} {where}", values).fetchall()
            return [approval_of(row) for row in rows]
