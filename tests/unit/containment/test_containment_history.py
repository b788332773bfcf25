# SPDX-License-Identifier: Apache-2.0
"""One contract for every history: in memory and in SQLite; and what SQLite adds."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.containment.events import RevocationRule
from sidecar.containment.history import (
    DirectiveEntry,
    HistoryStore,
    MemoryHistory,
    MemoryRevocations,
    RequestNote,
    RevocationArchive,
)
from sidecar.containment.isolation import IsolationItem, IsolationResult
from sidecar.containment.receipt import DirectiveState
from sidecar.containment.store_sqlite import SqliteHistory
from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.tokens.store_sqlite import RevocationStore
from tests.unit.containment.containment_kit import contained

ENTRY = DirectiveEntry(
    contained=contained(7),
    agents=("banking", "mail"),
    is_durable=True,
    log_index=3,
    checkpoint="checkpoint 4",
    isolation=(
        IsolationItem(
            driver="process_group",
            subject="pgid 1",
            result=IsolationResult.KILLED,
            detail="was killed",
        ),
    ),
)
ENDED = replace(
    ENTRY,
    state=DirectiveState.RELEASED,
    end_epoch=9,
    end_time_ns=2**62,
    releaser="bob",
    release_reason="fine again",
    release_approval="approvals/apr_1",
    release_approvers=("alice", "carol"),
)


@pytest.fixture(params=["memory", "sqlite"])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HistoryStore]:
    """Every kind of history."""
    if request.param == "memory":
        yield MemoryHistory()
        return
    store = SqliteHistory(tmp_path / "control.db")
    yield store
    store.close()


def entries(*epochs: int) -> list[DirectiveEntry]:
    """Return standing directives of *epochs*."""
    return [DirectiveEntry(contained=contained(epoch)) for epoch in epochs]


def test_entry_survives(history: HistoryStore) -> None:
    """What was recorded comes back as it was."""
    history.record([ENTRY], [])

    assert history.directive(7) == ENTRY
    assert history.directive(8) is None


def test_end_replaces_the_standing_entry(history: HistoryStore) -> None:
    """A directive that ended is one directive, and does not stand."""
    history.record([ENTRY], [])
    history.record([ENDED], [])

    assert history.directive(7) == ENDED
    assert history.directives(before_epoch=None, limit=9, include_ended=False) == []
    assert list(history.directives(before_epoch=None, limit=9, include_ended=True)) == [ENDED]


def test_directives_come_newest_first_in_pages(history: HistoryStore) -> None:
    """Pages go down from the newest epoch."""
    history.record(entries(*range(1, 8)), [])

    first = history.directives(before_epoch=None, limit=3, include_ended=False)
    second = history.directives(before_epoch=first[-1].epoch, limit=3, include_ended=False)

    assert [entry.epoch for entry in (*first, *second)] == [7, 6, 5, 4, 3, 2]


def test_requests_survive(history: HistoryStore) -> None:
    """Request ids come back newest first, and not more than asked for."""
    notes = [
        RequestNote(request_id=f"request-{epoch}", fingerprint="f", epoch=epoch)
        for epoch in range(1, 6)
    ]
    history.record([], notes)

    assert list(history.requests(limit=2)) == [notes[4], notes[3]]


def test_highest_epoch_covers_everything(history: HistoryStore) -> None:
    """Directives, their ends and request ids all count."""
    assert history.highest_epoch() == 0
    history.record([ENTRY], [])
    assert history.highest_epoch() == 7
    history.record([ENDED], [])
    assert history.highest_epoch() == 9
    history.record([], [RequestNote(request_id="request-1", fingerprint="f", epoch=12)])
    assert history.highest_epoch() == 12


def test_gates_are_remembered_until_forgotten(history: HistoryStore) -> None:
    """A gate and its agents outlive a restart of control."""
    history.remember_gate("g1", ["banking", "mail"])
    history.remember_gate("g2", [])
    history.remember_gate("g1", ["mail"])
    history.forget_gate("g2")
    history.forget_gate("g3")

    assert history.gates() == {"g1": frozenset({"mail"})}


# -- SQLite -------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database lies."""
    return tmp_path / "control.db"


def test_history_survives_reopening(path: Path) -> None:
    """What was recorded is there for the next run, in a private file, synced in full."""
    store = SqliteHistory(path)
    store.record([ENTRY], [RequestNote(request_id="request-1", fingerprint="f", epoch=7)])
    store.remember_gate("g1", ["banking"])
    store.close()

    again = SqliteHistory(path)

    assert again.directive(7) == ENTRY
    assert len(again.requests(limit=5)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert again._connection is not None
    assert again._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert again._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    again.close()


def test_e14_entries_from_before_consent_are_read(path: Path) -> None:
    """A directive that was released before others had to agree was released by one."""
    store = SqliteHistory(path)
    store.record([replace(ENDED, release_approval="", release_approvers=())], [])
    store.close()

    with sqlite3.connect(path) as connection:
        [(entry,)] = connection.execute("SELECT entry FROM containment_directives").fetchall()
    again = SqliteHistory(path)

    assert b"approv" not in entry
    found = again.directive(7)
    assert found is not None
    assert (found.releaser, found.release_approval, found.release_approvers) == ("bob", "", ())
    again.close()


def test_late_mirror_never_lets_an_ended_directive_stand_again(path: Path) -> None:
    """Written out of order, the end wins."""
    store = SqliteHistory(path)
    store.record([ENDED], [])
    store.record([ENTRY], [])

    assert store.directive(7) == ENDED
    store.close()


def test_request_id_keeps_its_first_meaning(path: Path) -> None:
    """Recording an id again changes nothing."""
    store = SqliteHistory(path)
    for fingerprint in ("first", "second"):
        note = RequestNote(request_id="request-1", fingerprint=fingerprint, epoch=1)
        store.record([], [note])

    assert store.requests(limit=1)[0].fingerprint == "first"
    store.close()


def spoil_version(path: Path) -> None:
    """Mark the schema as that of a later program."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE containment_schema SET version = 2")


def spoil_entry(path: Path) -> None:
    """Write what is no entry."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE containment_directives SET entry = x'7b7d'")


def spoil_kind(path: Path) -> None:
    """Write an event of a kind that is no directive's."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE containment_directives SET kind = 3, event = ?",
            (b'{"create_time_ns":"1","directive_epoch":"3","epoch":"7","v":1}',),
        )


def spoil_file(path: Path) -> None:
    """Make the file no database."""
    path.write_bytes(b"no database, no database, no database" * 100)


@pytest.mark.parametrize("spoil", [spoil_version, spoil_file, spoil_entry, spoil_kind])
def test_history_that_cannot_be_read_says_so(path: Path, spoil: Callable[[Path], None]) -> None:
    """A newer, broken or odd database is a failure of the environment, never an empty history."""
    store = SqliteHistory(path)
    store.record([ENTRY], [])
    store.close()
    for extra in ("-wal", "-shm"):
        path.with_name(path.name + extra).unlink(missing_ok=True)
    spoil(path)

    def read() -> object:
        return SqliteHistory(path).directive(7)

    with pytest.raises(EnvironmentFailure) as caught:
        read()

    assert caught.value.reason is ErrorReason.STORE_UNAVAILABLE
    assert caught.value.hint


def test_closed_history_says_so(path: Path) -> None:
    """A closed store refuses, and closing twice is fine."""
    store = SqliteHistory(path)
    store.close()
    store.close()

    with pytest.raises(EnvironmentFailure, match="closed"):
        store.record([ENTRY], [])


def test_history_below_nothing_says_so(path: Path) -> None:
    """A directory that is not there is an environment failure."""
    with pytest.raises(EnvironmentFailure, match="cannot be opened"):
        SqliteHistory(path / "missing" / "control.db")


def test_full_disk_is_a_failure_that_passes(path: Path) -> None:
    """A write that found no room can be tried again, and leaves nothing half-written."""
    store = SqliteHistory(path)
    assert store._connection is not None
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    many = entries(*range(1, 400))
    with pytest.raises(EnvironmentFailure, match="SQLITE_FULL"):
        store.record(many, [])
    assert store.directives(before_epoch=None, limit=9, include_ended=True) == []

    store._connection.execute("PRAGMA max_page_count = 10000")
    store.record(many, [])

    assert len(store.directives(before_epoch=None, limit=999, include_ended=True)) == 399
    store.close()


@pytest.mark.parametrize("kind", ["memory", "tokens"])
def test_both_archives_keep_revocations(tmp_path: Path, kind: str) -> None:
    """The archive of the token component fits the protocol, like the one in memory."""
    archive: RevocationArchive
    archive = MemoryRevocations() if kind == "memory" else RevocationStore(tmp_path / "control.db")
    rules = [
        RevocationRule(agent=name, author="a", reason="r", epoch=epoch, create_time_ns=1)
        for epoch, name in enumerate(("banking", "mail"), start=1)
    ]

    archive.add_all(rules)
    archive.add_all(rules)

    assert list(archive.load_all()) == rules
