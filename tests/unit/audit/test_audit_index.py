# SPDX-License-Identifier: Apache-2.0
"""The query index: right answers, pages, and rebuilding from the log."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.audit.index_sqlite import AuditIndex, Page
from sidecar.audit.log import AuditLog
from sidecar.audit.reader import EntryFilter, show
from sidecar.audit.verify import verify_directory
from sidecar.clock import ManualClock
from sidecar.errors import EnvironmentFailure, UntrustedInputError

Open = Callable[..., AuditLog]
Fields = Callable[..., dict[str, Any]]
Build = Callable[..., tuple[Path, str]]
START = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


def all_pages(index: AuditIndex, wanted: EntryFilter, **options: Any) -> list[int]:
    found: list[int] = []
    token = ""
    while True:
        page = index.query(wanted, page_token=token, **options)
        found += [entry.seq for entry in page.entries]
        token = page.next_page_token
        if not token:
            return found


@pytest.fixture
def mixed(open_log: Open, fields: Fields, clock: ManualClock) -> AuditLog:
    """A log of 300 entries of several agents, tools, kinds and seconds."""
    log = open_log()
    for number in range(300):
        log.append(
            {
                "kind": ("decision", "outcome", "contain")[number % 3],
                "agent": f"agent-{number % 4}",
                "tool": f"tool-{number % 5}" if number % 7 else None,
                "effect": ("ALLOW", "DENY")[number % 2],
                "decision_id": f"dec_{number // 2}",
            }
        )
        clock.advance(seconds=1)
    log.append_sync(fields(1000))
    log.checkpoint_sync()
    return log


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_index_answers_like_a_walk_over_the_log(mixed: AuditLog, data: st.DataObject) -> None:
    """For any filter, page size and direction: the same entries as reading everything."""
    index = AuditIndex.open(mixed.directory)
    index.catch_up()
    pick = st.none() | st.integers(0, 320)
    wanted = EntryFilter(
        agent=data.draw(st.sampled_from([None, "agent-1", "banking", "x"])),
        tool=data.draw(st.sampled_from([None, "tool-2", "send_money"])),
        kind=data.draw(st.sampled_from([None, "outcome", "decision"])),
        effect=data.draw(st.sampled_from([None, "ALLOW"])),
        decision_id=data.draw(st.sampled_from([None, None, "dec_7"])),
        since=None if (gap := data.draw(pick)) is None else START + timedelta(seconds=gap),
        until=None if (gap := data.draw(pick)) is None else START + timedelta(seconds=gap),
    )
    is_newest_first = data.draw(st.booleans())

    found = all_pages(
        index, wanted, limit=data.draw(st.integers(1, 60)), is_newest_first=is_newest_first
    )
    index.close()

    expected = [entry.seq for entry in show(mixed.directory, wanted)]
    assert found == (expected[::-1] if is_newest_first else expected)


def test_it_follows_the_log(open_log: Open, fields: Fields) -> None:
    """Catching up adds what was signed since, and nothing that is not signed."""
    log = open_log()
    index = AuditIndex.open(log.directory)

    assert index.catch_up() == 0
    assert index.query() == Page(entries=(), next_page_token="")
    log.append_sync(fields(0))
    assert index.catch_up() == 0
    log.checkpoint_sync()
    assert index.catch_up() == 1
    log.append_sync(fields(1))
    log.checkpoint_sync()
    assert index.catch_up() == index.catch_up() == 2
    assert [entry.seq for entry in index.query().entries] == [0, 1]
    index.close()
    again = AuditIndex.open(log.directory)
    assert again.catch_up() == 2
    again.close()


@pytest.mark.parametrize("damage", ["garbage", "truncated", "deleted", "version", "tables", "wal"])
def test_a_damaged_index_is_rebuilt(build: Build, damage: str) -> None:
    """Whatever happened to the file, the next use has the right answers."""
    directory, _ = build(20, batch=True)
    index = AuditIndex.open(directory)
    index.catch_up()
    index.close()
    path = directory / "index.db"
    if damage == "garbage":
        path.write_bytes(b"garbage" * 1000)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "deleted":
        path.unlink()
    elif damage == "wal":
        (directory / "index.db-wal").write_bytes(b"garbage")
    else:
        statement = "PRAGMA user_version = 99" if damage == "version" else "DROP TABLE entries"
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    index = AuditIndex.open(directory)
    assert index.catch_up() == 21
    found = all_pages(index, EntryFilter(), limit=7)
    index.close()

    assert found == list(range(21))


def test_a_query_on_a_damaged_index_rebuilds_it(build: Build) -> None:
    """Damage that shows only while it is used is repaired there and then."""
    directory, _ = build(20, batch=True)
    index = AuditIndex.open(directory)
    index.catch_up()
    connection = sqlite3.connect(directory / "index.db")
    connection.execute("DROP TABLE entries")
    connection.commit()
    connection.close()

    assert len(index.query().entries) == 21
    index.close()


def test_the_index_of_another_log_is_rebuilt(build: Build) -> None:
    """An index that does not fit the log is dropped, however good it is in itself."""
    one, _ = build(10, name="one")
    other, _ = build(12, name="other")
    for directory in (one, other):
        index = AuditIndex.open(directory)
        index.catch_up()
        index.close()
    (other / "index.db").replace(one / "index.db")

    index = AuditIndex.open(one)

    assert index.catch_up() == 10
    assert [entry.fields()["note"] for entry in index.query(limit=1).entries] == ["one"]
    index.close()


def test_the_index_is_private_and_no_evidence(build: Build) -> None:
    """Its files are 0600 and do not disturb the verifier."""
    directory, vkey = build(3)
    index = AuditIndex.open(directory)
    index.catch_up()

    for path in directory.glob("index.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert verify_directory(directory, vkey=vkey).ok
    index.close()


@pytest.mark.parametrize("token", ["x", "é", "YTow", "ZDo3", "YTotMQ==", "YTowMQ==", "=" * 8])
def test_a_foreign_page_token_is_refused(build: Build, token: str) -> None:
    """Tokens come from outside: only our own spelling for this direction is taken."""
    directory, _ = build(3)
    index = AuditIndex.open(directory)
    index.catch_up()

    with pytest.raises(UntrustedInputError):
        index.query(page_token=token, is_newest_first=token != "ZDo3")
    index.close()


def test_limits_are_misuse(build: Build) -> None:
    """A page has at least one and at most a thousand entries."""
    directory, _ = build(3)
    index = AuditIndex.open(directory)

    for limit in (0, 1001):
        with pytest.raises(ValueError, match="limit"):
            index.query(limit=limit)
    index.close()


def test_an_index_that_cannot_be_made_says_so(build: Build, fast_dir: Path) -> None:
    """A place that cannot be written to is an environment failure; a link is not followed."""
    directory, _ = build(3)
    (fast_dir / "link.db").symlink_to(fast_dir / "elsewhere.db")

    for path in (fast_dir / "missing" / "index.db", fast_dir / "link.db"):
        with pytest.raises(EnvironmentFailure):
            AuditIndex.open(directory, path=path)
    assert not (fast_dir / "elsewhere.db").exists()
