# SPDX-License-Identifier: Apache-2.0
"""The store: one compare-and-swap per transition, durable, ours alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import sqlite_store
from sidecar.approvals import store_sqlite
from sidecar.approvals.rows import COLUMNS, approval_of, row_of
from sidecar.approvals.store import Guard
from sidecar.approvals.store_sqlite import SqliteApprovals
from sidecar.approvals.values import (
    Approval,
    ApprovalState,
    Binding,
    Cause,
    Channel,
    Moment,
    Verdict,
    Vote,
)
from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.errors import EnvironmentFailure, ErrorReason
from tests.unit.approvals.approvals_kit import (
    BOOT,
    DIGEST,
    EPOCH,
    OTHER_BOOT,
    OTHER_DIGEST,
    action_request,
    binding_of,
    call_request,
    moment_of,
)

NOW = moment_of(ManualClock())
MS = NS_PER_SECOND // 1000


@pytest.fixture
def store(place: Path) -> Iterator[SqliteApprovals]:
    """An empty store."""
    made = SqliteApprovals(place)
    yield made
    made.close()


def pending(number: int = 1, **change: Any) -> Approval:
    """Return a PENDING approval of a call of its own."""
    request = change.pop("request", None) or call_request(nonce=f"n{number}")
    return Approval(
        **{
            "id": f"apr_{number:032x}",
            "request": request,
            "state": ApprovalState.PENDING,
            "version": 1,
            "create_time_ns": NOW.wall_ns,
            "expire_time_ns": NOW.wall_ns + 60 * NS_PER_SECOND,
            "deadline_boot_ns": NOW.boot_ns + 60 * NS_PER_SECOND,
            "boot_id": BOOT,
            **change,
        }
    )


def next_of(approval: Approval, state: ApprovalState, **change: Any) -> Approval:
    """Return the next version in *state*."""
    return replace(approval, state=state, version=approval.version + 1, **change)


def granted_in(store: SqliteApprovals, approval: Approval | None = None) -> Approval:
    """Return an approval that is stored as GRANTED."""
    waiting = approval or pending()
    assert store.insert(waiting)
    granted = next_of(waiting, ApprovalState.GRANTED, grant_epoch=EPOCH)
    assert store.swap(waiting, granted, guard=Guard(moment=NOW), is_logged=True)
    return granted


def used(granted: Approval, decision_id: str = "dec") -> Approval:
    """Return *granted* CONSUMED."""
    return next_of(granted, ApprovalState.CONSUMED, consuming_decision_id=decision_id)


def guard_of(granted: Approval, moment: Moment = NOW, **change: Any) -> Guard:
    """Return the guard of a use of *granted*."""
    binding = replace(binding_of(granted.request, granted.grant_epoch), **change)
    return Guard(moment=moment, binding=binding)


# --- law 2: the compare-and-swap ------------------------------------------------------------------


def test_a_swap_is_made_of_exactly_what_was_read(store: SqliteApprovals) -> None:
    """Another version or another state: nothing happens."""
    waiting = pending()
    store.insert(waiting)
    refused = next_of(waiting, ApprovalState.REFUSED)
    other_state = replace(waiting, state=ApprovalState.GRANTED)

    results = [
        store.swap(other_state, refused, guard=None, is_logged=False),
        store.swap(waiting, refused, guard=None, is_logged=False),
        store.swap(waiting, refused, guard=None, is_logged=False),
    ]

    assert results == [False, True, False]
    assert store.get(waiting.id) == refused


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "0" * 64},
        {"agent": "other"},
        {"session": "s-2"},
        {"policy_digest": OTHER_DIGEST},
        {"epoch": EPOCH + 1},
        {"epoch": EPOCH - 1},
    ],
)
def test_d05_a_use_swaps_only_with_its_whole_binding(
    store: SqliteApprovals, change: dict[str, Any]
) -> None:
    """The WHERE clause holds every part of the binding by itself."""
    granted = granted_in(store)

    wrong = store.swap(granted, used(granted), guard=guard_of(granted, **change), is_logged=True)
    right = store.swap(granted, used(granted), guard=guard_of(granted), is_logged=True)

    assert (wrong, right) == (False, True)


@pytest.mark.parametrize(("clause", "change"), [("_BOUND", {"agent": "other"}), ("_UNEXPIRED", {})])
def test_d05_d06_without_its_clause_the_store_swaps_negative_control(
    store: SqliteApprovals, monkeypatch: pytest.MonkeyPatch, clause: str, change: dict[str, Any]
) -> None:
    """With its part of the WHERE clause taken out, another call, or a late one, uses the grant."""
    monkeypatch.setattr(store_sqlite, clause, "")
    granted = granted_in(store)
    late = replace(NOW, wall_ns=granted.expire_time_ns) if clause == "_UNEXPIRED" else NOW
    binding = guard_of(granted, late, **change)

    assert store.swap(granted, used(granted), guard=binding, is_logged=True)


@pytest.mark.parametrize(
    ("wall_ms", "boot_ms", "boot_id", "is_made"),
    [
        (59_999, 0, BOOT, True),
        (60_000, 0, BOOT, False),
        (60_001, 0, BOOT, False),
        (0, 59_999, BOOT, True),
        (0, 60_000, BOOT, False),
        (-3_600_000, 60_000, BOOT, False),
        (0, 0, OTHER_BOOT, False),
    ],
)
def test_d06_a_use_swaps_before_both_deadlines_of_its_boot(
    store: SqliteApprovals, wall_ms: int, boot_ms: int, boot_id: str, is_made: bool
) -> None:
    """To the millisecond, on either clock; a clock set back does not help."""
    granted = granted_in(store)
    moment = Moment(
        wall_ns=NOW.wall_ns + wall_ms * MS, boot_ns=NOW.boot_ns + boot_ms * MS, boot_id=boot_id
    )

    made = store.swap(granted, used(granted), guard=guard_of(granted, moment), is_logged=True)

    assert made is is_made


def test_d06_a_vote_swaps_after_a_reboot_by_the_wall_clock(store: SqliteApprovals) -> None:
    """What waits outlives a reboot; its boot deadline then says nothing."""
    waiting = pending()
    store.insert(waiting)
    moment = Moment(wall_ns=NOW.wall_ns, boot_ns=2**60, boot_id=OTHER_BOOT)
    granted = next_of(waiting, ApprovalState.GRANTED, boot_id=OTHER_BOOT, grant_epoch=EPOCH)

    assert store.swap(waiting, granted, guard=Guard(moment=moment), is_logged=True)


def test_d04_eight_connections_use_one_grant_once(place: Path) -> None:
    """Eight threads, each with a connection of its own, 32 uses each: one is made."""
    first = SqliteApprovals(place)
    granted = granted_in(first)
    gate = threading.Barrier(8)
    made: list[str] = []

    def consume(number: int) -> None:
        own = SqliteApprovals(place)
        gate.wait()
        for turn in range(32):
            name = f"dec_{number}_{turn}"
            if own.swap(granted, used(granted, name), guard=guard_of(granted), is_logged=True):
                made.append(name)
        own.close()

    threads = [threading.Thread(target=consume, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = first.get(granted.id)
    first.close()
    assert len(made) == 1
    assert found is not None
    assert found.consuming_decision_id == made[0]


def test_d04_without_version_and_state_a_grant_is_used_again_negative_control(
    store: SqliteApprovals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With version and state taken out of the WHERE clause, every use is made."""
    weak = store_sqlite._SWAP.replace(" AND version = :version AND state = :state", "")
    assert weak != store_sqlite._SWAP
    granted = granted_in(store)
    monkeypatch.setattr(store_sqlite, "_SWAP", weak)

    made = [
        store.swap(granted, used(granted, str(turn)), guard=guard_of(granted), is_logged=True)
        for turn in range(3)
    ]

    assert made == [True, True, True]


def test_a_transition_makes_the_next_version_of_the_same_approval(store: SqliteApprovals) -> None:
    """Anything else is a mistake of ours."""
    waiting = pending()

    with pytest.raises(ValueError, match="next version"):
        store.swap(waiting, waiting, guard=None, is_logged=False)
    with pytest.raises(ValueError, match="next version"):
        store.swap(waiting, replace(waiting, id="other", version=2), guard=None, is_logged=False)


# --- law 3: one of each ---------------------------------------------------------------------------


def test_one_live_approval_of_one_call(store: SqliteApprovals) -> None:
    """A second one of the same call is not kept until the first has ended."""
    first, second = pending(1), pending(2, request=call_request(nonce="n1"))

    kept = [store.insert(first), store.insert(second)]
    store.swap(first, next_of(first, ApprovalState.CANCELLED), guard=None, is_logged=False)
    kept.append(store.insert(second))

    assert kept == [True, False, True]
    assert [item.id for item in store.live()] == [second.id]


def test_other_policies_and_sessions_are_other_calls(store: SqliteApprovals) -> None:
    """The key is fingerprint, agent, session and policy."""
    first = pending(1)
    again = pending(2, request=replace(first.request, policy_digest=OTHER_DIGEST))

    assert [store.insert(first), store.insert(again)] == [True, True]
    key = {"fingerprint": first.request.fingerprint, "agent": "banking", "session": "s-1"}
    assert store.by_call(**key, policy_digest=DIGEST) == first
    assert store.by_call(**key, policy_digest="f" * 64) is None


def test_one_approval_of_one_actions_request_id(store: SqliteApprovals) -> None:
    """For ever: an action is not asked for twice with one id."""
    first, second = (pending(number, request=action_request()) for number in (1, 2))

    kept = [store.insert(first)]
    store.swap(first, next_of(first, ApprovalState.REFUSED), guard=None, is_logged=False)
    kept.append(store.insert(second))

    assert kept == [True, False]
    found = store.by_request_id("request-1")
    assert found is not None
    assert found.id == first.id


def test_what_is_broken_otherwise_is_not_a_double(store: SqliteApprovals) -> None:
    """Only a second one is answered with False; any other failure raises."""
    broken = replace(pending(), folded_count="many")  # type: ignore[arg-type]

    with pytest.raises(EnvironmentFailure, match="cannot be used"):
        store.insert(broken)


# --- what is kept ---------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VOTES = st.builds(
    Vote,
    human_id=TEXT,
    operator=TEXT,
    identity=TEXT,
    verdict=st.sampled_from(Verdict),
    reason=TEXT,
    time_ns=st.integers(0, 2**62),
    channel=st.sampled_from(Channel),
    request_id=TEXT,
    assertion=TEXT,
)


@given(
    votes=st.lists(VOTES, max_size=3).map(tuple),
    state=st.sampled_from(ApprovalState),
    cause=st.none() | st.sampled_from(Cause),
    texts=st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT),
    epoch=st.integers(0, 2**62),
)
def test_what_is_read_is_what_was_written(
    votes: tuple[Vote, ...],
    state: ApprovalState,
    cause: Cause | None,
    texts: tuple[str, ...],
    epoch: int,
) -> None:
    """Whatever an approval holds comes back from its row."""
    summary, detail, result, owner, reason = texts
    request = call_request(summary=summary or "s", owner=owner, reason=reason, epoch=epoch)
    approval = pending(
        request=request, votes=votes, state=state, cause=cause, detail=detail, result=result
    )

    assert approval_of(row_of(approval)) == approval
    assert len(row_of(approval)) == len(COLUMNS)


def test_ended_approvals_stay_and_their_content_goes(store: SqliteApprovals) -> None:
    """After the retention: who decided what is there, what would have been done is not."""
    old, young, live = pending(1), pending(2), pending(3)
    for item in (old, young, live):
        store.insert(item)
    for item, end in ((old, 100), (young, 200)):
        ended = next_of(item, ApprovalState.REFUSED, end_time_ns=end)
        store.swap(item, ended, guard=None, is_logged=False)

    purged = [store.purge(ended_before_ns=150), store.purge(ended_before_ns=150)]

    assert purged == [1, 0]
    found = {
        item.id: item for item in store.page(pending_only=False, agent="", limit=9, before=None)
    }
    assert found[old.id].request.canonical == b""
    assert found[old.id].request.summary == "what banking asked for is no longer kept"
    assert found[old.id].request.fingerprint == old.request.fingerprint
    assert found[young.id].request.canonical == young.request.canonical
    assert found[live.id] == live


def test_what_is_forgotten_is_overwritten(place: Path) -> None:
    """The file holds no byte of it any more."""
    store = SqliteApprovals(place)
    waiting = pending(request=call_request(tool="canary_tool", nonce="x" * 100, summary="canary"))
    store.insert(waiting)
    store.swap(waiting, next_of(waiting, ApprovalState.REFUSED), guard=None, is_logged=False)
    store.purge(ended_before_ns=2**62)
    store.close()  # the last connection takes the write-ahead log with it

    content = place.read_bytes()
    assert b"x" * 100 not in content
    assert b"canary" not in content.replace(b'"tool":"canary_tool"', b"")


def test_an_action_that_was_interrupted_keeps_its_content(store: SqliteApprovals) -> None:
    """What was taken and has no result is still to be carried out."""
    waiting = pending(request=action_request())
    store.insert(waiting)
    granted = next_of(waiting, ApprovalState.GRANTED)
    taken = next_of(granted, ApprovalState.CONSUMED, end_time_ns=1)
    store.swap(waiting, granted, guard=None, is_logged=True)
    store.swap(granted, taken, guard=None, is_logged=True)

    assert store.purge(ended_before_ns=2**62) == 0
    assert store.unfinished() == [taken]
    done = next_of(taken, ApprovalState.CONSUMED, result="{}")
    store.swap(taken, done, guard=None, is_logged=True)
    assert store.unfinished() == []
    assert store.purge(ended_before_ns=2**62) == 1


def test_pages_are_newest_first(store: SqliteApprovals) -> None:
    """By the order of opening, from any approval on; filters hold on every page."""
    for number in range(1, 6):
        request = call_request(agent="a" if number % 2 else "b", nonce=str(number))
        store.insert(pending(number, request=request))
    store.swap(pending(5), next_of(pending(5), ApprovalState.REFUSED), guard=None, is_logged=True)

    def page(**change: Any) -> list[int]:
        arguments = {"pending_only": False, "agent": "", "limit": 9, "before": None, **change}
        return [int(item.id[4:], 16) for item in store.page(**arguments)]

    assert page() == [5, 4, 3, 2, 1]
    assert page(limit=2, before=f"apr_{4:032x}") == [3, 2]
    assert page(pending_only=True) == [4, 3, 2, 1]
    assert page(agent="a", pending_only=True) == [3, 1]
    assert page(before="apr_" + "f" * 32) == []


def test_notes_are_kept(store: SqliteApprovals) -> None:
    """What was told, how many wait, and what the log has."""
    waiting = pending()
    store.insert(waiting)
    store.swap(waiting, next_of(waiting, ApprovalState.GRANTED), guard=None, is_logged=False)

    told = [store.mark_announced(waiting.id, "reminder") for _ in range(2)]
    store.count_folded({waiting.id: 7})
    store.count_folded({waiting.id: 3})
    unlogged = [item.version for item in store.unlogged(limit=9)]
    store.mark_logged({waiting.id: 2})

    assert told == [True, False]
    assert store.announced() == {waiting.id: frozenset({"reminder"})}
    found = store.get(waiting.id)
    assert found is not None
    assert found.folded_count == 7
    assert (unlogged, store.unlogged(limit=9)) == ([2], [])


def test_refusals_of_late(store: SqliteApprovals) -> None:
    """Calls only, from a time on."""
    for number, request in ((1, call_request(nonce="1")), (2, action_request())):
        waiting = pending(number, request=request)
        store.insert(waiting)
        refused = next_of(waiting, ApprovalState.REFUSED, end_time_ns=1000)
        store.swap(waiting, refused, guard=None, is_logged=True)

    assert [item.id for item in store.refused_since(1000)] == [f"apr_{1:032x}"]
    assert store.refused_since(1001) == []


# --- laws 1 and 3 of the file ---------------------------------------------------------------------


def test_the_file_is_durable_and_ours_alone(place: Path) -> None:
    """0600, write-ahead log, synchronous FULL."""
    store = SqliteApprovals(place)

    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    connection = store._connection
    assert connection is not None
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    store.close()


def test_it_survives_a_reopening(place: Path) -> None:
    """Everything that was answered is there again."""
    first = SqliteApprovals(place)
    granted = granted_in(first)
    first.close()

    second = SqliteApprovals(place)

    assert second.live() == [granted]
    second.close()


def test_a_link_is_refused(place: Path) -> None:
    """Whoever could put one there chooses what is granted."""
    SqliteApprovals(place).close()
    link = place.parent / "link.db"
    link.symlink_to(place)

    with pytest.raises(EnvironmentFailure) as caught:
        SqliteApprovals(link)

    assert caught.value.reason is ErrorReason.UNSAFE_PATH


def test_a_file_that_others_can_write_is_refused(place: Path) -> None:
    """What was granted would be what they wrote."""
    SqliteApprovals(place).close()
    place.chmod(0o620)

    with pytest.raises(EnvironmentFailure) as caught:
        SqliteApprovals(place)

    assert caught.value.reason is ErrorReason.UNSAFE_PATH


def test_without_the_check_a_link_is_followed_negative_control(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the check taken out, a link to a prepared file is opened."""
    SqliteApprovals(place).close()
    link = place.parent / "link.db"
    link.symlink_to(place)
    monkeypatch.setattr(sqlite_store, "check_secret_file", lambda path: None)

    SqliteApprovals(link).close()


def test_a_newer_version_is_refused(place: Path) -> None:
    """A newer program may mean something else by the same columns."""
    SqliteApprovals(place).close()
    connection = sqlite3.connect(place)
    connection.execute("UPDATE approval_schema SET version = 2")
    connection.commit()
    connection.close()

    with pytest.raises(EnvironmentFailure, match=r"schema version \[2\], this program knows 1"):
        SqliteApprovals(place)


@pytest.mark.parametrize("junk", [b"not a database at all" * 300, b"\0" * 5000])
def test_a_corrupt_file_is_refused(place: Path, junk: bytes) -> None:
    """Nothing is repaired, nothing is guessed."""
    place.write_bytes(junk)
    place.chmod(0o600)

    with pytest.raises(EnvironmentFailure):
        SqliteApprovals(place)


def test_corrupt_pages_are_refused(place: Path) -> None:
    """A damaged page is found when the store is opened."""
    store = SqliteApprovals(place)
    for number in range(1, 60):
        store.insert(pending(number))
    store.close()
    content = bytearray(place.read_bytes())
    for page in range(2, len(content) // 4096 - 1):
        content[page * 4096 : page * 4096 + 200] = os.urandom(200)
    place.write_bytes(content)

    with pytest.raises(EnvironmentFailure, match=r"corrupt|cannot be"):
        SqliteApprovals(place)


@pytest.mark.parametrize(
    "damage", ["state = 'MAYBE'", "life = x'00'", "request = x'7b7d'", "kind = 'wish'"]
)
def test_a_row_that_we_did_not_write_is_refused(place: Path, damage: str) -> None:
    """An unknown name or a missing key is never guessed at."""
    store = SqliteApprovals(place)
    waiting = pending()
    store.insert(waiting)
    connection = sqlite3.connect(place)
    connection.execute(f"UPDATE approvals SET {damage}")
    connection.commit()
    connection.close()

    with pytest.raises(EnvironmentFailure, match="cannot be used"):
        store.get(waiting.id)
    store.close()


def test_a_closed_store_says_so(place: Path) -> None:
    """Every method raises after it was closed."""
    store = SqliteApprovals(place)
    store.close()

    with pytest.raises(EnvironmentFailure, match="is closed"):
        store.live()


def test_a_directory_that_is_missing_is_reported(place: Path) -> None:
    """With what to do about it."""
    with pytest.raises(EnvironmentFailure, match="cannot be opened") as caught:
        SqliteApprovals(place.parent / "missing" / "approvals.db")

    assert "start control again" in caught.value.hint


@pytest.mark.parametrize("failing", ["UPDATE", "COMMIT", "BEGIN"])
def test_a_failing_disk_changes_nothing(
    store: SqliteApprovals, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Whatever statement of a transition fails, it is not made, and the store goes on."""
    granted = granted_in(store)
    real = store._connection

    class Faulty:
        """A connection whose disk fails at one statement."""

        def execute(self, statement: str, *values: Any) -> Any:
            if statement.strip().startswith(failing):
                raise sqlite3.OperationalError("disk I/O error")
            assert real is not None
            return real.execute(statement, *values)

        @property
        def in_transaction(self) -> bool:
            assert real is not None
            return real.in_transaction

    with monkeypatch.context() as patch:
        patch.setattr(store, "_connection", Faulty())
        with pytest.raises(EnvironmentFailure, match="cannot be used"):
            store.swap(granted, used(granted), guard=guard_of(granted), is_logged=True)

    assert store.get(granted.id) == granted
    assert store.swap(granted, used(granted), guard=guard_of(granted), is_logged=True)


KILLED = """
import os, signal, sys
from pathlib import Path
from dataclasses import replace
from tests.unit.approvals import test_approvals_store as kit
from sidecar.approvals.store_sqlite import SqliteApprovals

store = SqliteApprovals(Path(sys.argv[1]))
granted = kit.granted_in(store)
if sys.argv[2] == "inside":
    connection = store._connection
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE approvals SET state = 'CONSUMED', version = 3")
else:
    assert store.swap(granted, kit.used(granted), guard=kit.guard_of(granted), is_logged=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("where", "state"),
    [("inside", ApprovalState.GRANTED), ("after", ApprovalState.CONSUMED)],
)
def test_a_killed_process_leaves_all_or_nothing(
    place: Path, where: str, state: ApprovalState
) -> None:
    """SIGKILL inside a transition undoes it; after it was answered, it stays."""
    root = Path(__file__).resolve().parents[3]
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(place), where],
        cwd=root,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == -9, child.stderr.decode()

    store = SqliteApprovals(place)

    (found,) = store.page(pending_only=False, agent="", limit=9, before=None)
    assert found.state is state
    store.close()


def test_bindings_compare_text_with_text(store: SqliteApprovals) -> None:
    """An epoch that is no integer is no epoch."""
    granted = granted_in(store)
    odd = Binding(
        fingerprint=granted.request.fingerprint,
        agent="banking",
        session="s-1",
        policy_digest=DIGEST,
        epoch="7 or 1=1",  # type: ignore[arg-type]
    )

    assert not store.swap(
        granted, used(granted), guard=Guard(moment=NOW, binding=odd), is_logged=True
    )
