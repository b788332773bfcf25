# SPDX-License-Identifier: Apache-2.0
"""What every store in SQLite shares, shown on each of them."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar import sqlite_store
from sidecar.apitokens.store_sqlite import SqliteApiTokens
from sidecar.approvals.store_sqlite import SqliteApprovals
from sidecar.containment.store_sqlite import SqliteHistory
from sidecar.errors import ConflictError, EnvironmentFailure, ErrorReason, UntrustedInputError
from sidecar.incidents.store_sqlite import SqliteIncidents
from sidecar.notify.store_sqlite import SqliteNotices
from sidecar.passkeys.store_sqlite import PasskeyStore
from sidecar.sqlite_store import Schema, SqliteStore
from sidecar.tokens.store_sqlite import RevocationStore

_STORES: Final[dict[str, tuple[Callable[[Path], Any], str]]] = {
    "containment": (SqliteHistory, "containment_schema"),
    "revocations": (RevocationStore, "revocation_schema"),
    "approvals": (SqliteApprovals, "approval_schema"),
    "passkeys": (PasskeyStore, "passkey_schema"),
    "notices": (SqliteNotices, "notify_schema"),
    "api tokens": (SqliteApiTokens, "api_token_schema"),
    "incidents": (SqliteIncidents, "incident_schema"),
}
_NOTES: Final = Schema(
    what="the notes",
    version_table="note_schema",
    version=1,
    statements=(
        "CREATE TABLE IF NOT EXISTS note_schema (version INTEGER NOT NULL) STRICT",
        "CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL) STRICT",
    ),
    remedy="write them again",
)


class Notes(SqliteStore):
    """The smallest store there can be."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _NOTES)

    def add(self, text: object, *, then: BaseException | None = None) -> None:
        """Keep *text*, unless *then* happens before the end."""
        with self._writing() as connection:
            connection.execute("INSERT INTO notes VALUES (?)", (text,))
            if then is not None:
                raise then

    def all(self, *, then: BaseException | None = None) -> list[str]:
        """Return what was kept, unless *then* happens."""
        with self._reading() as connection:
            if then is not None:
                raise then
            return [row[0] for row in connection.execute("SELECT text FROM notes")]


@pytest.fixture(params=list(_STORES))
def kind(request: pytest.FixtureRequest) -> tuple[Callable[[Path], Any], str]:
    """One of our stores, and its table of versions."""
    return _STORES[request.param]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store may lie."""
    return tmp_path / "store.db"


@pytest.fixture
def notes(path: Path) -> Notes:
    """A store that is open."""
    return Notes(path)


Kind = tuple[Callable[[Path], Any], str]


def test_a_new_file_is_ours_alone(kind: Kind, path: Path) -> None:
    """Whatever the umask says."""
    before = os.umask(0)
    try:
        kind[0](path).close()
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o644])
def test_a_file_that_others_reach_is_not_used(kind: Kind, path: Path, mode: int) -> None:
    """Its content could be theirs; the error says how to repair it."""
    kind[0](path).close()
    path.chmod(mode)

    with pytest.raises(EnvironmentFailure) as caught:
        kind[0](path)

    assert caught.value.reason is ErrorReason.UNSAFE_PATH
    assert caught.value.hint == f"chmod 0600 {path}"


def test_a_link_is_not_followed(kind: Kind, path: Path, tmp_path: Path) -> None:
    """Neither to a file that is there, nor to one that would be made."""
    kind[0](path).close()
    for target in (path, tmp_path / "elsewhere.db"):
        link = tmp_path / "link.db"
        link.symlink_to(target)
        with pytest.raises(EnvironmentFailure):
            kind[0](link)
        link.unlink()

    assert not (tmp_path / "elsewhere.db").exists()


def test_what_others_reach_is_used_without_the_check_negative_control(
    kind: Kind, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the check that refuses."""
    kind[0](path).close()
    path.chmod(0o666)
    monkeypatch.setattr(sqlite_store, "check_secret_file", lambda path: None)

    kind[0](path).close()


def test_another_version_is_not_used(kind: Kind, path: Path) -> None:
    """The same columns may mean something else."""
    kind[0](path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE {kind[1]} SET version = 2")
    connection.commit()
    connection.close()

    with pytest.raises(EnvironmentFailure, match=r"version \[2\], this program knows 1") as caught:
        kind[0](path)

    assert caught.value.hint


def test_junk_is_not_used(kind: Kind, path: Path) -> None:
    """Nothing is repaired, and the file stays what it is."""
    path.write_bytes(b"no database at all " * 500)
    path.chmod(0o600)

    with pytest.raises(EnvironmentFailure, match=r"cannot be opened \(SQLITE_NOTADB\)"):
        kind[0](path)

    assert path.read_bytes().startswith(b"no database")


def test_what_cannot_be_durable_is_not_used(
    kind: Kind, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database in memory ignores WAL, as a file on some network shares does."""
    monkeypatch.setattr(
        sqlite_store, "_connect", lambda path: sqlite3.connect(":memory:", isolation_level=None)
    )

    with pytest.raises(EnvironmentFailure, match="cannot be made durable"):
        kind[0](path)


@pytest.mark.parametrize(
    "then",
    [
        ConflictError("used before"),
        sqlite3.OperationalError("disk I/O error"),
        KeyboardInterrupt(),
        MemoryError(),
        OverflowError(),
    ],
    ids=lambda then: type(then).__name__,
)
def test_what_fails_inside_a_transaction_leaves_nothing(notes: Notes, then: BaseException) -> None:
    """Whatever ends it; and the next one is made."""
    with pytest.raises((type(then), EnvironmentFailure)):
        notes.add("half", then=then)

    notes.add("whole")

    assert notes.all() == ["whole"]


def test_an_error_of_the_domain_is_what_the_caller_sees(notes: Notes) -> None:
    """A conflict is the caller's, not the disk's."""
    with pytest.raises(ConflictError):
        notes.add("x", then=ConflictError("used before"))


@pytest.mark.parametrize(
    "then",
    [KeyError("state"), ValueError("MAYBE"), UntrustedInputError("no JSON"), OverflowError()],
    ids=lambda then: type(then).__name__,
)
def test_a_row_that_is_not_ours_is_the_stores_failure(notes: Notes, then: BaseException) -> None:
    """What cannot be read is reported with the place and the remedy, not guessed at."""
    with pytest.raises(EnvironmentFailure, match="cannot be used") as caught:
        notes.all(then=then)

    assert caught.value.hint == "write them again"


def test_a_failure_never_shows_what_was_to_be_written(notes: Notes) -> None:
    """A value may be a secret."""
    with pytest.raises(EnvironmentFailure) as caught:
        notes.add(b"canary-5ebd")

    assert "canary" not in str(caught.value)
    assert "IntegrityError" in str(caught.value) or "SQLITE_CONSTRAINT" in str(caught.value)


def test_where_the_roll_back_fails_the_store_is_closed(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what it would commit next."""
    real = notes._connection
    assert real is not None

    class Dead:
        """A connection that begins, and does nothing else any more."""

        in_transaction = True
        close = real.close

        def execute(self, statement: str, *_: object) -> object:
            if statement == "BEGIN IMMEDIATE":
                return real.execute(statement)
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(notes, "_connection", Dead())
    with pytest.raises(EnvironmentFailure, match="cannot be used"):
        notes.add("x")

    with pytest.raises(EnvironmentFailure, match="is closed"):
        notes.all()


def _write(store: SqliteStore, text: str) -> None:
    with store._writing() as connection:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))


def test_a_file_grows_to_its_bound_and_no_further(path: Path) -> None:
    """Who may write must not fill the disk; what was written stays readable."""
    store = SqliteStore(path, replace(_NOTES, max_bytes=64 * 1024))
    kept = 0

    def fill() -> None:
        nonlocal kept
        while kept < 1000:
            _write(store, "x" * 1000)
            kept += 1

    with pytest.raises(EnvironmentFailure, match="SQLITE_FULL"):
        fill()
    store.close()

    again = SqliteStore(path, _NOTES)
    with again._reading() as connection:
        found = connection.execute("SELECT count(*) FROM notes").fetchone()[0]
    _write(again, "x" * 100_000)  # the negative control: without a bound it goes on
    again.close()

    assert found == kept > 10
    assert path.stat().st_size > 64 * 1024


def test_incidents_have_a_bound(path: Path) -> None:
    """A SOAR's credential may open them, and may be somebody else's by now."""
    store = SqliteIncidents(path)
    connection = store._connection
    assert connection is not None
    pages = connection.execute("PRAGMA max_page_count").fetchone()[0]

    assert pages * connection.execute("PRAGMA page_size").fetchone()[0] <= 2 * 1024**3


def test_a_closed_store_says_so(notes: Notes) -> None:
    """And closing twice is no error."""
    notes.close()
    notes.close()

    with pytest.raises(EnvironmentFailure, match="is closed"):
        notes.add("x")


_LOCK_IS_FREE = """
import fcntl, sys
with open(sys.argv[1], "rb+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(1)
"""


def test_looking_at_a_file_drops_no_lock_on_it(notes: Notes, path: Path) -> None:
    """A second store of this process leaves the first one's locks: POSIX drops all at any close."""
    with path.open("rb+") as file:
        fcntl.fcntl(file, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 2**40, 1, 0))

        def is_free() -> bool:
            return subprocess.run([sys.executable, "-c", _LOCK_IS_FREE, path]).returncode == 0

        assert not is_free()
        sqlite_store._claim(path)
        assert not is_free()
        os.close(os.open(path, os.O_RDONLY))  # the negative control
        assert is_free()
