# SPDX-License-Identifier: Apache-2.0
"""The stored revocations: durable, idempotent, and never read out of a broken file."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar import sqlite_store
from sidecar.clock import NS_PER_SECOND
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    NotDurableError,
    UntrustedInputError,
)
from sidecar.tokens.revocations import RevocationRule, RevocationSet
from sidecar.tokens.store_sqlite import RevocationStore

NOW_S = 1_760_000_000
ISSUER = "https://idp.example"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "revocations.db"


def test_rules_come_back_as_they_were_added(path, make_rule):
    """Every field survives, and selectors that were not given stay not given."""
    rules = (
        make_rule(jti="t1", issuer=ISSUER, epoch=1, expire_time_s=NOW_S + 60),
        make_rule(agent="banking", epoch=2),
        make_rule(session="s1", agent="banking", epoch=3, author="ü", reason='it\'s "quoted";'),
        make_rule(issued_before_s=5, epoch=4),
    )
    with RevocationStore(path) as store:
        store.add_all(rules)
    with RevocationStore(path) as store:
        loaded, count = store.load_all(), store.count()

    assert loaded == rules
    assert count == 4


def test_adding_again_is_idempotent_and_keeps_what_covers(path, make_rule):
    """A rule that arrives twice, or a narrower one, changes nothing; a wider one replaces."""
    wide = make_rule(agent="a", issued_before_s=20, epoch=2)
    with RevocationStore(path) as store:
        store.add_all([make_rule(agent="a", issued_before_s=10, epoch=1), wide, wide])
        store.add(make_rule(agent="a", issued_before_s=15, epoch=3))

        assert store.load_all() == (wide,)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rules=st.lists(
        st.tuples(
            st.sampled_from(["t1", "t2", None]),
            st.sampled_from(["a", None]),
            st.sampled_from(["s", None]),
            st.none() | st.integers(0, 300_000),
            st.none() | st.integers(0, 300_000),
            st.integers(0, 300_000),
        ),
        max_size=6,
    ),
    now_s=st.integers(0, 600_000),
    claims=st.tuples(
        st.sampled_from(["t1", "t2"]), st.sampled_from(["s", ""]), st.integers(0, 300_000)
    ),
)
def test_f10_store_and_memory_agree(path, make_claims, rules, now_s, claims):
    """A set loaded from the store revokes what the one in memory does, pruned or not."""
    made = [
        RevocationRule(
            jti=jti,
            agent=agent,
            session=session,
            issued_before_s=before,
            expire_time_s=expire,
            author="a",
            reason="r",
            epoch=1,
            create_time_ns=created * NS_PER_SECOND,
        )
        for jti, agent, session, before, expire, created in rules
        if jti or agent or session or before is not None
    ]
    token = make_claims(
        jti=claims[0],
        session=claims[1],
        issue_time_s=claims[2],
        agent="a",
        expire_time_s=claims[2] + 60,
    )
    memory = RevocationSet.empty().with_rules(made)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with RevocationStore(path) as store:
        store.add_all(made)
        before = RevocationSet.empty().with_rules(store.load_all()).match(token) is not None
        store.prune(now_s=now_s)
        after = RevocationSet.empty().with_rules(store.load_all()).match(token) is not None

    assert before is (memory.match(token) is not None)
    is_needed = any(
        rule.matches(token) and ((leave := rule.leave_time_s()) is None or leave >= now_s)
        for rule in made
    )
    assert after or not is_needed


def test_prune_drops_what_left_and_nothing_else(path, make_rule):
    """Token-id rules leave after their time; agent rules stay."""
    rule = make_rule(jti="t1")
    leave_s = rule.leave_time_s()
    with RevocationStore(path) as store:
        store.add_all([rule, make_rule(agent="a")])
        dropped = (store.prune(now_s=leave_s), store.prune(now_s=leave_s + 1))

        assert dropped == (0, 1)
        assert store.count() == 1


def test_file_is_private(path):
    """Nobody else reads who was revoked and why."""
    RevocationStore(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_pragmas_are_in_force(path):
    """WAL and synchronous=FULL hold on the very connection that writes."""
    with RevocationStore(path) as store:
        connection = store._connection
        assert connection is not None
        values = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]

    assert values == ["wal", 2]


def test_store_that_cannot_be_durable_is_refused(monkeypatch):
    """A database that ignores WAL (here: one in memory) is not accepted."""
    monkeypatch.setattr(sqlite_store, "_claim", lambda path: None)
    monkeypatch.setattr(
        sqlite_store, "_connect", lambda path: sqlite3.connect(":memory:", isolation_level=None)
    )

    with pytest.raises(EnvironmentFailure, match="cannot be made durable"):
        RevocationStore("unused")


def damage_header(path):
    path.write_bytes(b"garbage" + path.read_bytes()[7:])


def damage_pages(path):
    data = bytearray(path.read_bytes())
    for offset in range(4096, len(data)):
        data[offset] ^= 0x5A
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:5000])


def newer_version(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE revocation_schema SET version = 2")
    connection.close()


def drop_table(path):
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE revocations")
        connection.execute("CREATE TABLE revocations (jti TEXT)")
    connection.close()


@pytest.mark.parametrize("damage", [damage_header, damage_pages, cut, newer_version, drop_table])
def test_broken_file_is_not_opened(path, make_rule, damage):
    """A corrupt or foreign file is STORE_UNAVAILABLE with a remedy, never an empty list."""
    with RevocationStore(path) as store:
        store.add_all(make_rule(jti=f"t{n}") for n in range(200))
    damage(path)

    with pytest.raises(EnvironmentFailure) as caught:
        RevocationStore(path).load_all()

    assert caught.value.reason is ErrorReason.STORE_UNAVAILABLE
    assert "put back a good copy" in caught.value.hint


def test_broken_file_negative_control(path, make_rule):
    """Somebody who takes an unreadable table for an empty one admits revoked tokens."""
    with RevocationStore(path) as store:
        store.add(make_rule(jti="t1"))
    drop_table(path)
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT * FROM revocations").fetchall()
    connection.close()

    assert rows == []


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo", "no parent"])
def test_path_that_is_no_regular_file_is_refused(path, kind):
    """Nothing is followed, created elsewhere or waited for."""
    match kind:
        case "directory":
            path.mkdir()
        case "symlink":
            path.symlink_to(path.with_name("elsewhere.db"))
        case "fifo":
            os.mkfifo(path)
        case _:
            path = path / "missing" / "revocations.db"

    with pytest.raises(EnvironmentFailure):
        RevocationStore(path)
    assert not path.with_name("elsewhere.db").exists()


def test_row_that_is_no_rule_breaks_the_store(path, make_rule):
    """A row that was tampered with is not skipped: the store is unusable from then on."""
    with RevocationStore(path) as store:
        store.add(make_rule(jti="t1"))
        connection = store._connection
        assert connection is not None
        connection.execute("UPDATE revocations SET jti = 'a b'")

        with pytest.raises(EnvironmentFailure):
            store.load_all()
        with pytest.raises(EnvironmentFailure):
            store.count()


def test_closed_store_refuses_everything(path, make_rule):
    """After close there is no answer, not even an empty one."""
    store = RevocationStore(path)
    store.close()

    for call in (store.load_all, store.count, lambda: store.prune(now_s=0)):
        with pytest.raises(EnvironmentFailure):
            call()
    with pytest.raises(EnvironmentFailure):
        store.add(make_rule(jti="t"))


def test_full_disk_is_not_durable_and_passes(path, make_rule):
    """A write that did not fit is reported; nothing of it stays; later ones work."""
    with RevocationStore(path) as store:
        store.add(make_rule(jti="t0"))
        connection = store._connection
        assert connection is not None
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(NotDurableError):
            store.add_all(make_rule(jti=f"x{n}" * 100) for n in range(100))
        connection.execute("PRAGMA max_page_count = 1000000")
        store.add(make_rule(jti="t1"))

        assert [rule.jti for rule in store.load_all()] == ["t0", "t1"]


def test_failed_write_is_never_retried_as_if_fine(path, make_rule):
    """After an I/O error the store stays shut until it is opened anew."""

    class Failing:
        in_transaction = False

        def execute(self, *_):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error

        def close(self):
            pass

    with RevocationStore(path) as store:
        good, store._connection = store._connection, Failing()
        with pytest.raises(NotDurableError):
            store.add(make_rule(jti="t1"))
        store._connection = good

        with pytest.raises(EnvironmentFailure):
            store.add(make_rule(jti="t1"))


def test_rollback_that_fails_shuts_the_store(path, make_rule):
    """Even after a full disk: if the transaction cannot be undone, nothing is trusted."""

    class Failing:
        in_transaction = True

        def execute(self, *_):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error

    with RevocationStore(path) as store:
        good, store._connection = store._connection, Failing()
        with pytest.raises(NotDurableError) as caught:
            store.add(make_rule(jti="t1"))
        store._connection = good

        assert "put back a good copy" in caught.value.hint
        with pytest.raises(EnvironmentFailure):
            store.count()


def test_error_in_the_callers_rules_stores_none(path, make_rule):
    """If the rules themselves fail half-way, none is stored, and the store goes on."""

    def failing():
        yield make_rule(jti="t1")
        yield make_rule(jti="not a token id")

    with RevocationStore(path) as store:
        with pytest.raises(UntrustedInputError):
            store.add_all(failing())

        assert store.count() == 0


def test_threads_wait_for_each_other(path, make_rule):
    """Eight threads add at once, and every rule is there."""
    with RevocationStore(path) as store:
        threads = [
            threading.Thread(
                target=lambda lane=lane: [
                    store.add(make_rule(jti=f"t{lane}-{n}")) for n in range(10)
                ]
            )
            for lane in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert store.count() == 80


_WRITER = """
import sys
from pathlib import Path
from sidecar.tokens.revocations import RevocationRule
from sidecar.tokens.store_sqlite import RevocationStore
store = RevocationStore(Path(sys.argv[1]))
for number in range(10**6):
    store.add(RevocationRule(jti=f"{sys.argv[2]}-{number}", author="a", reason="r", epoch=number,
        create_time_ns=1))
    print(number, flush=True)
"""


def test_f10_acknowledged_revocations_survive_sigkill(path):
    """Kill the writer in the middle, again and again: what it acknowledged is there."""
    acknowledged = set()
    for life in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(life)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(20 + life):
                acknowledged.add(f"{life}-{int(writer.stdout.readline())}")
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged |= {f"{life}-{int(line)}" for line in writer.stdout if line.endswith("\n")}
    with RevocationStore(path) as store:
        stored = {rule.jti for rule in store.load_all()}

    assert acknowledged <= stored
