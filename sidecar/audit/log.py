# SPDX-License-Identifier: Apache-2.0
"""The writer of an audit log: sequence numbers, group commit, checkpoints.

Laws:

1. ``append`` gives an entry its number and returns at once; the entry counts only when its ticket
   is durable. Numbers have no gaps.
2. Natural group commit: the committer thread takes whatever waits as soon as the last
   ``fdatasync`` came back, writes it as one frame, and then wakes the waiters once. Who waits for an
   entry waits for no timer: a lone caller waits for one sync and a crowd shares it. Entries that
   nobody waits for may gather for ``linger_s``, so that they cost the event loop no wake-ups.
3. The integrator thread makes tiles and checkpoints from what is durable: one at least every
   ``checkpoint_interval_s`` while there are new entries, and one whenever somebody asks. It is
   another thread so that a dozen syncs for a checkpoint do not hold up the commits.
4. After any failed write or sync the log is failed for good: nothing is retried, every later
   ``append`` raises, and every waiter learns it. Closing and opening again recovers.
5. One writer: an ``flock`` on the file ``lock`` keeps a second one out.

The threads meet under one lock, which is never held across a system call that can block.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit.anchors import Anchor
from sidecar.audit.entry import EntryEncoder
from sidecar.audit.files import Files, OsFiles
from sidecar.audit.note import CheckpointKey, check_key_name, format_vkey, parse_vkey
from sidecar.audit.opening import LogLimits, OpenedLog, Recovery, open_directory
from sidecar.audit.waiters import Waiters
from sidecar.audit.wal import MAX_FRAME_PAYLOAD
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import EnvironmentFailure, ErrorReason

__all__ = ["AuditLog", "LogLimits", "Recovery", "Ticket"]

_LOGGER: Final = logging.getLogger(__name__)
_CHUNK: Final = 64
_BREATH_S: Final = 50e-6


class Ticket(NamedTuple):
    """The claim to an entry that was appended: its sequence number, which is its leaf index."""

    seq: int


class AuditLog:
    """One append-only transparency log. Make one with ``AuditLog.open``."""

    def __init__(
        self, opened: OpenedLog, *, key: CheckpointKey, clock: Clock, limits: LogLimits
    ) -> None:
        """Start writing to *opened*; ``AuditLog.open`` is the way to get here."""
        self.directory = opened.directory
        self.recovery = opened.recovery
        self._key = key
        self._clock = clock
        self._limits = limits
        self._encoder = EntryEncoder(origin=key.name, clock=clock)
        self._wal = opened.wal
        self._integrator = opened.integrator
        self._lock_descriptor = opened.lock_descriptor

        self._lock = threading.Lock()
        self._failure: str | None = None
        self._is_closing = False
        self._is_hurried = False
        self._next_seq = self._durable_size = opened.recovery.size
        self._durable = self._new_waiters(lambda: self._durable_size)
        self._signed = self._new_waiters(lambda: self.signed_size)

        # append → committer
        self._has_pending = threading.Condition(self._lock)
        self._pending: list[bytes] = []
        self._queued_bytes = 0
        self._is_committer_idle = False
        # committer → integrator
        self._has_work = threading.Condition(self._lock)
        self._durable_batches: deque[list[bytes]] = deque()
        self._closed_segments: list[tuple[Path, int]] = []
        self._is_committer_done = False
        self._requested_size = -1
        self._unsigned_since_ns: int | None = None

        self._threads = [
            self._start("audit-commit", self._commit_all),
            self._start("audit-integrate", self._integrate_all),
        ]

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        origin: str,
        signing_key: Ed25519PrivateKey,
        clock: Clock,
        anchors: Sequence[Anchor] = (),
        former_vkeys: Sequence[str] = (),
        limits: LogLimits | None = None,
        files: Files | None = None,
        is_creation_allowed: bool = True,
    ) -> AuditLog:
        """Open the log in *directory*, recover it, and start writing.

        Blocks on the disk; call it before the event loop serves, or in a thread.

        Args:
            directory: The log's own directory, private to this user.
            origin: The log's name in the world, such as ``example.com/gate/host-1``.
            signing_key: Signs checkpoints.
            clock: Wall and boot time of entries.
            anchors: Outside holders that get the checkpoints, and that the log must extend.
            former_vkeys: Verifier keys by which the log's last checkpoint may be signed instead.
            limits: Bounds.
            files: The file system.
            is_creation_allowed: Whether a directory without a log becomes a new one. Pass False
                where the installation knows that there must be one.

        Raises:
            IntegrityError: the directory holds what no crash leaves, or a holder knows better.
            EnvironmentFailure: the directory is unsafe, locked by another writer, or broken.
        """
        limits = limits or LogLimits()
        key = CheckpointKey(name=check_key_name(origin), public_key=signing_key.public_key())
        opened = open_directory(
            directory.absolute(),
            files=files or OsFiles(),
            limits=limits,
            keys=(key, *map(parse_vkey, former_vkeys)),
            signing_key=signing_key,
            anchors=anchors,
            is_creation_allowed=is_creation_allowed,
        )
        return cls(opened, key=key, clock=clock, limits=limits)

    def close(self, *, timeout_s: float = 30.0) -> None:
        """Make everything durable, write a last checkpoint, stop.

        A log that failed, or a disk that hangs, raises nothing here: ``failure`` says so. The lock
        is given up only when both threads have stopped.
        """
        with self._lock:
            self._is_closing = True
            self._has_pending.notify_all()
            self._has_work.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)
        if any(thread.is_alive() for thread in self._threads):
            self._fail("the disk did not answer before the log was closed")
            return
        self._wal.close()
        if self._lock_descriptor >= 0:
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1

    async def aclose(self, *, timeout_s: float = 30.0) -> None:
        """``close`` off the event loop."""
        await asyncio.to_thread(self.close, timeout_s=timeout_s)

    # -- state ---------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._key.name

    @property
    def vkey(self) -> str:
        """The verifier key that people check this log with."""
        return format_vkey(self._key.name, self._key.public_key)

    @property
    def size(self) -> int:
        """How many entries were appended, durable or not."""
        return self._next_seq

    @property
    def durable_size(self) -> int:
        """How many entries survive a power cut."""
        return self._durable_size

    @property
    def signed_size(self) -> int:
        """How many entries the last checkpoint covers."""
        latest = self._integrator.latest
        return latest.size if latest else 0

    @property
    def latest_checkpoint(self) -> str:
        """The text of the last checkpoint."""
        latest = self._integrator.latest
        return latest.text if latest else ""

    @property
    def is_healthy(self) -> bool:
        """Whether the log takes entries."""
        return self._failure is None and not self._is_closing

    @property
    def failure(self) -> str:
        """Why the log failed; empty if it did not."""
        return self._failure or ""

    @property
    def anchor_failures(self) -> Mapping[str, str]:
        """Which outside holders failed last time, and how."""
        return dict(self._integrator.anchor_failures)

    # -- appending -----------------------------------------------------------------------------

    def append(self, fields: Mapping[str, Any]) -> Ticket:
        """Give the entry with *fields* its number and queue it; see ``entry`` for the domain.

        Any thread may call this. It never waits for the disk.

        Raises:
            ValueError: *fields* are not an entry.
            UntrustedInputError: the entry is too large.
            EnvironmentFailure: the log failed, is closed, or its queue is full.
        """
        with self._lock:
            if self._failure is not None or self._is_closing:
                raise self._unavailable() or _closed()
            if self._queued_bytes > self._limits.max_queue_bytes:
                raise EnvironmentFailure(
                    f"{self._queued_bytes} bytes of audit entries wait for the disk",
                    reason=ErrorReason.AUDIT_UNAVAILABLE,
                    hint="the disk is slower than the calls; lower the load or move the log",
                )
            seq = self._next_seq
            entry = self._encoder.encode(seq, fields)
            self._next_seq = seq + 1
            self._pending.append(entry)
            self._queued_bytes += len(entry)
            if self._is_committer_idle:
                self._is_committer_idle = False
                self._has_pending.notify()
        return Ticket(seq)

    async def durable(self, ticket: Ticket, *, timeout_s: float | None = None) -> None:
        """Return when the entry of *ticket* survives a power cut.

        Raises:
            NotDurableError: that took longer than the deadline. The entry may become durable yet.
            EnvironmentFailure: the log failed.
        """
        if ticket.seq >= self._durable_size:
            wanted = self._claim(ticket)
            self._hurry()
            future = self._durable.enlist(wanted, timeout_s=self._timeout(timeout_s))
            if future is not None:
                await future

    def append_sync(self, fields: Mapping[str, Any], *, timeout_s: float | None = None) -> Ticket:
        """Append and block until durable; for callers without an event loop.

        Raises:
            ValueError, UntrustedInputError, EnvironmentFailure, NotDurableError: as for ``append``
                and ``durable``.
        """
        ticket = self.append(fields)
        self._hurry()
        self._durable.block(ticket.seq + 1, timeout_s=self._timeout(timeout_s))
        return ticket

    async def checkpoint(self, *, timeout_s: float | None = None) -> str:
        """Return the text of a checkpoint that covers all entries that are durable now.

        Raises:
            NotDurableError: it was not there before the deadline.
            EnvironmentFailure: the log failed.
        """
        wanted = self._request_checkpoint()
        future = self._signed.enlist(wanted, timeout_s=self._timeout(timeout_s))
        if future is not None:
            await future
        return self.latest_checkpoint

    def checkpoint_sync(self, *, timeout_s: float | None = None) -> str:
        """``checkpoint`` for callers without an event loop."""
        self._signed.block(self._request_checkpoint(), timeout_s=self._timeout(timeout_s))
        return self.latest_checkpoint

    def _claim(self, ticket: Ticket) -> int:
        if not 0 <= ticket.seq < self._next_seq:
            raise ValueError("the ticket is not of this log")
        return ticket.seq + 1

    def _request_checkpoint(self) -> int:
        with self._lock:
            wanted = self._durable_size
            if wanted > self.signed_size:
                self._requested_size = max(self._requested_size, wanted)
                self._has_work.notify()
            return wanted

    def _timeout(self, timeout_s: float | None) -> float:
        return self._limits.durable_timeout_s if timeout_s is None else timeout_s

    # -- failing -------------------------------------------------------------------------------

    def _new_waiters(self, reached: Callable[[], int]) -> Waiters:
        return Waiters(self._lock, reached=reached, failure=self._unavailable)

    def _unavailable(self) -> EnvironmentFailure | None:
        """Return why nothing can be appended or awaited any more, or None."""
        if self._failure is None:
            return None
        return EnvironmentFailure(
            f"the audit log failed: {self._failure}",
            reason=ErrorReason.AUDIT_UNAVAILABLE,
            hint="repair the disk under the log's directory and restart",
        )

    def _start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as exc:  # noqa: BLE001 - a dead thread must not look like a slow one
                self._fail(f"{type(exc).__name__}: {exc}")

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def _fail(self, why: str) -> None:
        """Fail the log for good (law 4)."""
        with self._lock:
            if self._failure is None:
                self._failure = why
                _LOGGER.error("audit log failed", extra={"failure": why})
            self._has_pending.notify_all()
            self._has_work.notify_all()
            self._durable.wake()
            self._signed.wake()

    # -- the committer thread ------------------------------------------------------------------

    def _commit_all(self) -> None:
        while batch := self._next_batch():
            for entries in _frames_of(batch):
                closed = self._wal.commit(entries)
                with self._lock:
                    if closed is not None:
                        self._closed_segments.append((closed, self._durable_size))
                    self._durable_size += len(entries)
                    self._durable_batches.append(entries)
                    if self._unsigned_since_ns is None:
                        self._unsigned_since_ns = self._clock.boot_ns()
                    self._has_work.notify()
                    self._durable.wake()
        with self._lock:
            self._is_committer_done = True
            self._has_work.notify()

    def _next_batch(self) -> list[bytes]:
        """Return what waits; empty when the log stops and nothing waits any more."""
        with self._lock:
            while not self._pending and not self._is_closing and self._failure is None:
                self._is_committer_idle = True
                self._has_pending.wait()
            self._is_committer_idle = False
            if not self._is_hurried:
                self._has_pending.wait_for(self._must_commit_now, self._limits.linger_s)
            self._is_hurried = False
            if self.failure:
                return []
            batch, self._pending = self._pending, []
            return batch

    def _must_commit_now(self) -> bool:
        return self._is_hurried or self._is_closing or self._failure is not None

    def _hurry(self) -> None:
        """Let the committer take what waits at once: somebody waits for it."""
        with self._lock:
            if not self._is_hurried:
                self._is_hurried = True
                self._has_pending.notify()

    # -- the integrator thread -----------------------------------------------------------------

    def _integrate_all(self) -> None:
        is_last = False
        while not is_last:
            with self._lock:
                is_last = self._wait_for_work()
                if self._failure is not None:
                    return
                batches, self._durable_batches = self._durable_batches, deque()
                segments, self._closed_segments = self._closed_segments, []
            for path, end_seq in segments:
                self._integrator.close_segment(path, end_seq)
            while batches:  # each is let go as soon as it is in the tree
                self._integrate(batches.popleft())
            self._checkpoint_if_wanted(is_last=is_last)

    def _wait_for_work(self) -> bool:
        """Wait until there is something to do; return whether it is the last time."""
        while not self._durable_batches and self._failure is None:
            if self._is_committer_done:
                return True
            due_s = self._seconds_until_due()
            if due_s == 0 or self._requested_size > self.signed_size:
                break  # all that is durable is in the tree by now
            self._has_work.wait(due_s)
        if self._durable_batches:
            self._has_work.wait_for(self._must_integrate_now, self._limits.integrate_every_s)
        return False

    def _must_integrate_now(self) -> bool:
        return (
            self._requested_size > self.signed_size
            or self._is_committer_done
            or self._failure is not None
        )

    def _seconds_until_due(self) -> float | None:
        """Return how long the next regular checkpoint may wait; None if nothing is unsigned."""
        if self._unsigned_since_ns is None:
            return None
        waited_s = (self._clock.boot_ns() - self._unsigned_since_ns) / NS_PER_SECOND
        return max(0.0, self._limits.checkpoint_interval_s - waited_s)

    def _integrate(self, entries: list[bytes]) -> None:
        for start in range(0, len(entries), _CHUNK):
            if start:  # hashing holds the interpreter: let the event loop have its turn
                time.sleep(_BREATH_S)
            self._integrator.add(entries[start : start + _CHUNK])
        with self._lock:
            self._queued_bytes -= sum(map(len, entries))

    def _checkpoint_if_wanted(self, *, is_last: bool) -> None:
        with self._lock:
            size = self._integrator.size
            is_requested = is_last or self.signed_size < self._requested_size <= size
            if not is_requested and self._seconds_until_due() != 0:
                return
            # What was committed since then waits for the next checkpoint.
            is_more_waiting = self._durable_size > size
            self._unsigned_since_ns = self._clock.boot_ns() if is_more_waiting else None
        if self._integrator.size > self.signed_size:
            self._integrator.checkpoint(is_requested=is_requested)
            with self._lock:
                self._signed.wake()


def _frames_of(batch: list[bytes]) -> list[list[bytes]]:
    """Return *batch* in pieces that fit a frame; nearly always one."""
    if sum(map(len, batch)) + 2 * len(batch) <= MAX_FRAME_PAYLOAD:
        return [batch]
    frames: list[list[bytes]] = []
    room = 0
    for entry in batch:
        room -= len(entry) + 2
        if room < 0:
            frames.append([])
            room = MAX_FRAME_PAYLOAD - len(entry) - 2
        frames[-1].append(entry)
    return frames


def _closed() -> EnvironmentFailure:
    return EnvironmentFailure("the audit log is closed", reason=ErrorReason.AUDIT_UNAVAILABLE)
