# SPDX-License-Identifier: Apache-2.0
"""The writer: numbers, durability, group commit, failure, opening."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit import log as log_module
from sidecar.audit.anchors import AnchorFile, MemoryAnchor
from sidecar.audit.files import OsFiles
from sidecar.audit.log import AuditLog, LogLimits, Ticket
from sidecar.audit.reader import read_entries
from sidecar.audit.verify import verify_directory
from sidecar.audit.wal import list_segments, read_segments
from sidecar.clock import ManualClock
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    IntegrityError,
    NotDurableError,
    UntrustedInputError,
)

Open = Callable[..., AuditLog]
Fields = Callable[..., dict[str, Any]]
SMALL_SEGMENTS = LogLimits(checkpoint_interval_s=1e6, max_segment_bytes=1024 * 1024 + 1)


class GateFiles(OsFiles):
    """A disk whose ``fdatasync`` waits until the test lets it go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def fdatasync(self, descriptor: int) -> None:
        self.entered.set()
        assert self.released.wait(20)


class SignallingAnchor(MemoryAnchor):
    """Says when a checkpoint arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Event()

    def publish(self, checkpoint: str, *, is_requested: bool) -> None:
        super().publish(checkpoint, is_requested=is_requested)
        self.arrived.set()


async def test_an_entry_is_durable_and_numbered(open_log: Open, fields: Fields) -> None:
    """Numbers count from 0 without gaps; a durable ticket's entry can be read back."""
    log = open_log()

    tickets = [log.append(fields(number)) for number in range(5)]
    for ticket in tickets:
        await log.durable(ticket)
    await log.durable(tickets[0])
    await log.checkpoint()

    assert [ticket.seq for ticket in tickets] == [0, 1, 2, 3, 4]
    assert log.durable_size == log.size == log.signed_size == 5
    read = read_entries(log.directory)
    assert [entry.fields()["decision_id"] for entry in read] == [
        fields(number)["decision_id"] for number in range(5)
    ]
    assert log.is_healthy
    assert not log.failure


async def test_a_crowd_shares_one_sync(open_log: Open, fields: Fields) -> None:
    """Everything that waits while the disk works goes into the next frame, all of it."""
    files = GateFiles()
    log = open_log(files=files)
    first = log.append(fields())
    assert await asyncio.to_thread(files.entered.wait, 20)

    tickets = [log.append(fields(number)) for number in range(300)]
    files.released.set()
    await asyncio.gather(*(log.durable(ticket) for ticket in (first, *tickets)))

    segments = read_segments(list_segments(log.directory))
    assert [len(frame.entries) for frame in segments[0].frames] == [1, 300]


async def test_entries_nobody_waits_for_gather(open_log: Open, fields: Fields) -> None:
    """Without a waiter entries linger and share a frame; a waiter ends that at once."""
    limits = LogLimits(checkpoint_interval_s=1e6, linger_s=1000.0, integrate_every_s=1000.0)
    log = open_log(limits=limits)
    tickets = [log.append(fields(number)) for number in range(10)]
    assert log.durable_size == 0

    await log.durable(tickets[3])

    segments = read_segments(list_segments(log.directory))
    assert [len(frame.entries) for frame in segments[0].frames] == [10]
    await log.checkpoint()
    log.append(fields())
    log.close()
    assert log.signed_size == 11


async def test_nothing_is_durable_before_the_sync(open_log: Open, fields: Fields) -> None:
    """A ticket is not durable while the disk works, however long that takes."""
    files = GateFiles()
    log = open_log(files=files)
    ticket = log.append(fields())

    with pytest.raises(NotDurableError):
        await log.durable(ticket, timeout_s=0.01)
    assert log.durable_size == 0
    files.released.set()
    await log.durable(ticket)

    assert log.durable_size == 1


async def test_each_waiter_keeps_its_own_deadline(open_log: Open, fields: Fields) -> None:
    """A later waiter with a shorter deadline is told first; cancelled ones harm nobody."""
    files = GateFiles()
    log = open_log(files=files)
    ticket = log.append(fields())
    patient = asyncio.create_task(log.durable(ticket, timeout_s=20))
    hasty = asyncio.create_task(log.durable(ticket, timeout_s=0.01))
    gone = asyncio.create_task(log.durable(ticket, timeout_s=20))
    soon = asyncio.create_task(log.durable(ticket, timeout_s=0.02))
    await asyncio.wait([hasty])
    gone.cancel()

    with pytest.raises(NotDurableError):
        await hasty
    with pytest.raises(NotDurableError):
        await soon
    files.released.set()
    await patient

    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_foreign_ticket_is_misuse(open_log: Open, fields: Fields) -> None:
    """A ticket beyond the log is our mistake."""
    log = open_log()
    log.append(fields())

    for seq in (1, -1):
        with pytest.raises(ValueError, match="ticket"):
            await log.durable(Ticket(seq if seq > 0 else 10**9))


async def test_the_log_fails_for_good(open_log: Open, fields: Fields, spy: Any) -> None:
    """After a failed sync every waiter and every later append is told; nothing is retried."""
    files = spy(only="fdatasync", fail_at=1)
    log = open_log(files=files)
    durable = log.append(fields())
    await log.durable(durable)
    lost = [log.append(fields()) for _ in range(3)]
    waits = [asyncio.create_task(log.durable(ticket)) for ticket in lost]
    results = await asyncio.gather(*waits, return_exceptions=True)

    assert all(isinstance(result, EnvironmentFailure) for result in results)
    assert not log.is_healthy
    assert "injected" in log.failure
    for attempt in (
        lambda: log.append(fields()),
        lambda: log.append_sync(fields()),
        lambda: log.checkpoint_sync(),
    ):
        with pytest.raises(EnvironmentFailure) as caught:
            attempt()
        assert caught.value.reason is ErrorReason.AUDIT_UNAVAILABLE
    with pytest.raises(EnvironmentFailure):
        await log.durable(lost[-1])
    await log.durable(durable)
    assert files.count == 2


async def test_a_full_queue_refuses(open_log: Open, fields: Fields) -> None:
    """Entries that the disk cannot keep up with are refused, and later ones are taken again."""
    files = GateFiles()
    limits = LogLimits(checkpoint_interval_s=1e6, max_queue_bytes=70_000)
    log = open_log(files=files, limits=limits)
    accepted = [log.append(fields(note="x" * 20_000)) for _ in range(4)]
    with pytest.raises(EnvironmentFailure, match="wait for the disk") as caught:
        log.append(fields())

    assert caught.value.reason is ErrorReason.AUDIT_UNAVAILABLE
    files.released.set()
    await log.durable(accepted[-1])
    await log.checkpoint()
    assert log.append_sync(fields()).seq == 4


async def test_an_entry_that_is_too_large_leaves_no_gap(open_log: Open, fields: Fields) -> None:
    """A refused entry takes no number and harms nothing."""
    log = open_log()
    log.append(fields())

    with pytest.raises(UntrustedInputError):
        log.append(fields(note="x" * 70_000))
    with pytest.raises(ValueError, match="float"):
        log.append(fields(note=1.5))

    assert log.append_sync(fields()).seq == 1


def test_threads_may_append(open_log: Open, fields: Fields) -> None:
    """Eight threads get distinct numbers, and each entry bears its own."""
    log = open_log()
    seqs: list[int] = []

    def work(worker: int) -> None:
        for number in range(25):
            seqs.append(log.append_sync(fields(number, agent=f"agent-{worker}")).seq)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.checkpoint_sync()

    assert sorted(seqs) == list(range(200))
    assert all(entry.fields()["seq"] == entry.seq for entry in read_entries(log.directory))


async def test_a_checkpoint_covers_what_is_durable(open_log: Open, fields: Fields) -> None:
    """Asked for, it covers every durable entry; without news it is the same one."""
    log = open_log()
    await log.durable(log.append(fields()))

    text = await log.checkpoint()

    assert text.splitlines()[:2] == [log.origin, "1"]
    assert await log.checkpoint() == log.checkpoint_sync() == text == log.latest_checkpoint
    log.append_sync(fields())
    assert (await log.checkpoint()).splitlines()[1] == "2"


def test_a_regular_checkpoint_comes_by_itself(
    open_log: Open, fields: Fields, clock: ManualClock
) -> None:
    """Within the interval after a new entry a checkpoint is written and handed out."""
    anchor = SignallingAnchor()
    log = open_log(anchors=[anchor], limits=LogLimits(checkpoint_interval_s=0.01))
    anchor.arrived.clear()
    log.append_sync(fields())
    clock.advance(seconds=1)

    assert anchor.arrived.wait(20)
    assert anchor.held[-1].splitlines()[1] == "1"


def test_no_regular_checkpoint_before_its_time(open_log: Open, fields: Fields) -> None:
    """A clock that stands still makes no checkpoint due."""
    log = open_log(limits=LogLimits(checkpoint_interval_s=1.0))

    for number in range(20):
        log.append_sync(fields(number))

    assert log.signed_size == 0


def test_closing_signs_everything(open_log: Open, fields: Fields) -> None:
    """A clean stop leaves nothing unsigned, and the log takes no more."""
    log = open_log()
    for number in range(3):
        log.append(fields(number))

    log.close()
    log.close()

    report = verify_directory(log.directory, vkey=log.vkey)
    assert (report.ok, report.size, report.unsigned_entries) == (True, 3, 0)
    with pytest.raises(EnvironmentFailure, match="closed"):
        log.append(fields())
    assert not log.is_healthy


async def test_closing_off_the_loop(open_log: Open, fields: Fields) -> None:
    """``aclose`` does the same without blocking the event loop."""
    log = open_log()
    ticket = log.append(fields())

    await log.aclose()

    assert log.signed_size == ticket.seq + 1


def test_closing_over_a_hanging_disk_returns(open_log: Open, fields: Fields) -> None:
    """A disk that never answers does not keep the process alive, and the lock stays."""
    files = GateFiles()
    log = open_log(files=files)
    log.append(fields())
    assert files.entered.wait(20)

    log.close(timeout_s=0.01)

    assert "did not answer" in log.failure
    with pytest.raises(EnvironmentFailure, match="another process"):
        open_log()
    files.released.set()


def test_opening_again_continues(open_log: Open, fields: Fields) -> None:
    """Numbers, tree and chain go on over restarts."""
    vkey = ""
    for turn in range(4):
        log = open_log()
        assert log.recovery.size == log.size == turn * 2
        assert log.recovery.is_new is (turn == 0)
        vkey = log.vkey
        log.append_sync(fields())
        log.append(fields())
        log.close()

    report = verify_directory(log.directory, vkey=vkey)
    assert (report.ok, report.size) == (True, 8)


def test_g14_the_chain_continues_over_segments(open_log: Open, fields: Fields) -> None:
    """Segments rotate while entries come; checkpoints remove the covered ones; all verifies."""
    log = open_log(limits=SMALL_SEGMENTS)
    for _ in range(60):
        log.append_sync(fields(note="x" * 60_000))

    before = list_segments(log.directory)
    assert verify_directory(log.directory, vkey=log.vkey).unsigned_entries == 60
    log.checkpoint_sync()
    after = list_segments(log.directory)

    assert len(before) == 4
    assert after == before[-1:]
    report = verify_directory(log.directory, vkey=log.vkey)
    assert (report.ok, report.size) == (True, 60)
    log.append_sync(fields())
    log.close()
    again = open_log(limits=SMALL_SEGMENTS)
    assert again.recovery.size == 61
    assert verify_directory(log.directory, vkey=log.vkey).ok


def test_g14_a_batch_above_the_frame_limit_is_split(open_log: Open, fields: Fields) -> None:
    """A crowd of large entries becomes several frames, none above the limit."""
    files = GateFiles()
    log = open_log(files=files, limits=SMALL_SEGMENTS)
    log.append(fields())
    assert files.entered.wait(20)
    for _ in range(40):
        last = log.append(fields(note="x" * 60_000))
    files.released.set()
    log.checkpoint_sync(timeout_s=20)
    log.append_sync(fields())

    assert log.durable_size == last.seq + 2
    assert verify_directory(log.directory, vkey=log.vkey).ok


def test_g15_order_is_the_sequence_whatever_the_clock_says(
    open_log: Open, fields: Fields, clock: ManualClock
) -> None:
    """The wall clock goes back an hour: both clocks are recorded, order and proof stay."""
    log = open_log()
    log.append_sync(fields(0))
    clock.advance(seconds=10)
    clock.step_wall(seconds=-3600)
    log.append_sync(fields(1))
    log.checkpoint_sync()

    first, second = (entry.fields() for entry in read_entries(log.directory))
    assert second["time"] < first["time"]
    assert int(second["boot_ns"]) > int(first["boot_ns"])
    assert (first["seq"], second["seq"]) == (0, 1)
    assert verify_directory(log.directory, vkey=log.vkey).ok


def test_files_are_private(open_log: Open, fields: Fields) -> None:
    """Directories are 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        log = open_log()
        for number in range(300):
            log.append(fields(number))
        log.close()
    finally:
        os.umask(before)

    for path in [log.directory, *log.directory.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_one_writer(open_log: Open) -> None:
    """A second writer is refused while the first holds the log, and only then."""
    log = open_log()

    with pytest.raises(EnvironmentFailure, match="another process"):
        open_log()
    log.close()

    open_log()


def test_one_writer_negative_control(
    open_log: Open, fields: Fields, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock two writers give the same number twice."""
    monkeypatch.setattr("sidecar.audit.opening.fcntl.flock", lambda *arguments: None)
    one, other = open_log(), open_log()

    assert one.append(fields()).seq == other.append(fields()).seq == 0


@pytest.mark.parametrize("case", ["link", "writable", "file", "wal-link", "foreign"])
def test_unsafe_directories_are_refused(
    open_log: Open, fast_dir: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link, a file, a directory of others or one that others can write to is no place."""
    path = fast_dir / "log"
    other = fast_dir / "other"
    other.mkdir(0o700)
    if case == "link":
        path.symlink_to(other)
    elif case == "file":
        path.write_bytes(b"")
    elif case == "wal-link":
        path.mkdir(0o700)
        (path / "wal").symlink_to(other)
    else:
        path.mkdir(0o700)
        if case == "writable":
            path.chmod(0o770)
        else:
            monkeypatch.setattr("os.geteuid", lambda: 12345)

    with pytest.raises(EnvironmentFailure) as caught:
        open_log()

    assert caught.value.reason is ErrorReason.UNSAFE_PATH
    assert not list(other.iterdir())


def test_a_log_that_must_exist_is_not_created(open_log: Open, fast_dir: Path) -> None:
    """An installation that lost its log is told so, and nothing is made in its place."""
    with pytest.raises(IntegrityError, match="no audit log"):
        open_log(is_creation_allowed=False)

    assert not (fast_dir / "log").exists()
    open_log().close()
    assert open_log(is_creation_allowed=False).recovery.is_new is False


def test_another_origin_or_key_cannot_continue(open_log: Open, fields: Fields) -> None:
    """A log belongs to one origin and key; a former key has to be named."""
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    log = open_log()
    log.append_sync(fields())
    log.close()

    with pytest.raises(IntegrityError):
        open_log(origin="example.com/gate/host-2")
    with pytest.raises(IntegrityError, match="former"):
        open_log(signing_key=stranger)
    rotated = open_log(signing_key=stranger, former_vkeys=[log.vkey])
    rotated.append_sync(fields())
    rotated.close()

    assert not verify_directory(log.directory, vkey=log.vkey).ok
    assert verify_directory(log.directory, vkey=rotated.vkey).size == 2


def test_a_failing_holder_stops_nothing_but_shows(
    open_log: Open, fields: Fields, fast_dir: Path, clock: ManualClock
) -> None:
    """A holder out of reach is reported; the log goes on."""
    holder = AnchorFile(fast_dir / "missing" / "anchors", clock=clock)
    log = open_log(anchors=[holder])
    log.append_sync(fields())
    log.checkpoint_sync()

    assert log.is_healthy
    assert list(log.anchor_failures) == [holder.name]
    (fast_dir / "missing").mkdir()
    log.append_sync(fields())
    log.checkpoint_sync()

    assert not log.anchor_failures


def test_a_holder_inside_the_directory_is_misuse(
    open_log: Open, fast_dir: Path, clock: ManualClock
) -> None:
    """What lies inside the directory holds nothing against whoever writes it."""
    with pytest.raises(ValueError, match="outside"):
        open_log(anchors=[AnchorFile(fast_dir / "log" / "anchors", clock=clock)])


def test_two_event_loops_one_after_the_other(open_log: Open, fields: Fields) -> None:
    """A log outlives an event loop; waiters of a closed one are forgotten."""
    files = GateFiles()
    log = open_log(files=files)

    async def give_up() -> None:
        task = asyncio.create_task(log.durable(log.append(fields())))
        await asyncio.to_thread(files.entered.wait, 20)
        task.cancel()

    asyncio.run(give_up())
    files.released.set()

    async def succeed() -> None:
        await log.durable(log.append(fields()))

    asyncio.run(succeed())

    assert log.durable_size == 2


@pytest.mark.parametrize(
    "options", [{"max_segment_bytes": 10}, {"max_queue_bytes": 1}, {"durable_timeout_s": 0}]
)
def test_limits_have_limits(options: dict[str, Any]) -> None:
    """Settings that cannot work are refused when they are made."""
    with pytest.raises(ValueError):
        LogLimits(**options)


def test_public_names_exist() -> None:
    """What the module promises is there."""
    assert all(hasattr(log_module, name) for name in log_module.__all__)
