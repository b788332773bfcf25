# SPDX-License-Identifier: Apache-2.0
"""Control's side of the latch: publish first, make durable second, acknowledge third.

``publish`` writes the records into the journal and a PREPARED slot over them; from then on every
gate sees them, through the page cache that it has mapped. ``make_durable`` syncs the journal, then
the slots, then writes the same content as a COMMITTED slot on the other page and syncs again: after
it both pages hold the newest state, and either one alone is enough.

Laws:

1. ``publish`` does not wait for the disk, and may be called while ``make_durable`` runs in another
   thread. (Only if a journal half fills twice before it was durable once must it wait.)
2. It never overwrites the page that is known to be durable. So at every moment one slot, and the
   journal below it, were synced and have not been touched since.
3. Compaction fills the half that the durable slot does not use, and is a ``publish`` like any
   other.
4. Epochs only rise. What a gate may have seen of a lost event is burnt.
5. After a failed write or sync the latch is sealed: both slots say so, in memory at least, nothing
   is retried, and the writer refuses everything from then on. The process is to exit.
6. A writer whose files are not at their path any more has failed: its kills would reach nobody.
7. What cannot be recovered is replaced by a sealed latch; a newer format is not touched at all.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from sidecar.errors import EnvironmentFailure, ErrorReason, NotDurableError
from sidecar.latch.files import (
    DEFAULT_HALF_BYTES,
    JOURNAL,
    MAX_HALF_BYTES,
    MIN_HALF_BYTES,
    SLOTS,
    FileOps,
    OsFileOps,
    boot_word,
    read_boot_id,
)
from sidecar.latch.format import (
    LIVE_BOOT_WORD,
    LIVE_GENERATION_WORD,
    LIVE_HEARTBEAT_WORD,
    LIVE_PID_WORD,
    PAGE,
    SLOT_WORDS,
    SLOTS_BYTES,
    Phase,
    Record,
    Slot,
    encode_slot,
)
from sidecar.latch.install import write_marker
from sidecar.latch.placing import INSTALL_BYTES, JournalFullError, nothing, place
from sidecar.latch.recovery import Loss, Recovered
from sidecar.latch.setup import OpenedLatch, create_latch, is_used, open_latch

__all__ = ["JournalFullError", "LatchWriter", "Recovery"]

_MAX_ROUNDS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What ``open`` found. ``records`` are all that stand, in epoch order."""

    records: tuple[Record, ...] = ()
    is_lost: bool = False
    is_rolled_back: bool = False
    detail: str = ""


class LatchWriter:
    """The one writer of a latch. Make it by ``open`` or ``initialise``."""

    def __init__(self, *, latch: OpenedLatch, directory: Path, ops: FileOps) -> None:
        self._latch = latch
        self._paths = (str(directory.absolute() / SLOTS), str(directory.absolute() / JOURNAL))
        self._ops = ops
        self._lock = threading.RLock()
        self._syncing = threading.Lock()
        self._failure = ""
        self._is_closed = False
        self._map = mmap.mmap(latch.slots_file, SLOTS_BYTES)
        self._words = memoryview(self._map).cast("Q")
        self._top_sequence = 0
        self._write_count = 0
        self._slot = self._durable = nothing(latch.marker, half_bytes=latch.half_bytes)
        self.recovery = Recovery()

    # -- making and opening ---------------------------------------------------------------------

    @staticmethod
    def is_installed(directory: Path) -> bool:
        """Return whether the latch in *directory* must be opened, not initialised.

        Raises:
            EnvironmentFailure: LATCH_UNAVAILABLE if nobody can say, UNSAFE_PATH.
        """
        return is_used(directory)

    @classmethod
    def initialise(
        cls,
        directory: Path,
        *,
        half_bytes: int = DEFAULT_HALF_BYTES,
        directory_mode: int = 0o700,
        file_mode: int = 0o600,
        epoch_floor: int = 0,
        ops: FileOps | None = None,
        boot_id: str | None = None,
    ) -> Self:
        """Make a fresh latch that holds nothing, and return its writer.

        Args:
            directory: ``<state>/latch``; made if missing.
            half_bytes: Length of each journal half, a multiple of 4096.
            directory_mode: At most 0750, so that the gates' group may read.
            file_mode: At most 0640.
            epoch_floor: No event gets this epoch or a lower one.
            ops: The disk.
            boot_id: The kernel's, unless given.

        Raises:
            EnvironmentFailure: LATCH_UNAVAILABLE if there has been a latch (install marker, or one
                that was used); UNSAFE_PATH; STORE_UNAVAILABLE if the files cannot be made.
        """
        if half_bytes % PAGE or not MIN_HALF_BYTES <= half_bytes <= MAX_HALF_BYTES:
            raise ValueError(f"a journal half has {MIN_HALF_BYTES} to {MAX_HALF_BYTES} bytes")
        if directory_mode & ~0o750 or file_mode & ~0o640:
            raise ValueError("a latch is open to its group at most, and only for reading")
        create_latch(
            directory,
            install_id=secrets.token_bytes(INSTALL_BYTES),
            half_bytes=half_bytes,
            directory_mode=directory_mode,
            file_mode=file_mode,
            epoch=epoch_floor,
            ops=ops or OsFileOps(),
        )
        return cls.open(
            directory, directory_mode=directory_mode, file_mode=file_mode, ops=ops, boot_id=boot_id
        )

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        directory_mode: int = 0o750,
        file_mode: int = 0o600,
        epoch_floor: int = 0,
        ops: FileOps | None = None,
        boot_id: str | None = None,
    ) -> Self:
        """Open the latch for writing, recovering what a crash left.

        A latch that was lost (both slots bad, or files missing beside an install marker) is opened
        **sealed**: it denies everything, ``recovery.is_lost`` is true, ``seal_reason`` says why.

        Raises:
            EnvironmentFailure: LATCH_UNAVAILABLE if there never was one, it is of a newer format,
                or another process writes it; UNSAFE_PATH.
            NotDurableError: The disk does not take the recovered state.
        """
        ops = ops or OsFileOps()
        boot_id = boot_id or read_boot_id()
        latch = open_latch(directory, directory_mode=directory_mode, file_mode=file_mode, ops=ops)
        try:
            writer = cls(latch=latch, directory=directory, ops=ops)
        except OSError as exc:
            latch.close()
            raise EnvironmentFailure(
                f"the latch in {directory} cannot be mapped: {exc.strerror}",
                reason=ErrorReason.LATCH_UNAVAILABLE,
                hint="put the state directory on a local file system",
            ) from exc
        try:
            writer._adopt(latch, epoch_floor)
            writer._start_beating(boot_word(boot_id))
            writer._repair()
        except BaseException:
            writer.close()
            raise
        if latch.marker != writer._slot.install_id:
            with contextlib.suppress(OSError):  # a full disk must not keep control from starting
                write_marker(directory, writer._slot.install_id)
        return writer

    def close(self) -> None:
        """Let go of the files and the lock. What was published stays published."""
        if self._is_closed:
            return
        self._is_closed = True
        self._words.release()
        self._map.close()
        self._latch.close()

    # -- what it says ---------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The highest epoch that was published or burnt."""
        return self._slot.epoch

    @property
    def level(self) -> int:
        """The global level in the slot (0: none)."""
        return self._slot.level

    @property
    def level_epoch(self) -> int:
        """The newest directive that the global level alone holds (0: none)."""
        return self._slot.level_epoch

    @property
    def is_sealed(self) -> bool:
        """Whether the latch denies everything whatever the directives."""
        return self._slot.is_sealed or self.is_failed

    @property
    def seal_reason(self) -> str:
        """Why it is sealed; empty if it is not."""
        return self._failure or self._slot.seal_reason

    @property
    def is_failed(self) -> bool:
        """Whether this writer must not be used any more (law 5)."""
        return bool(self._failure)

    @property
    def half_bytes(self) -> int:
        """How many bytes of records a journal half takes."""
        return self._latch.half_bytes

    @property
    def used_bytes(self) -> int:
        """How many bytes the active half holds."""
        return self._slot.journal_length

    # -- writing --------------------------------------------------------------------------------

    def publish(
        self,
        records: Sequence[Record],
        *,
        level: int,
        live: Callable[[], Sequence[Record]],
        level_epoch: int = 0,
        is_compacting: bool = False,
        is_unsealing: bool = False,
    ) -> bool:
        """Let every gate see *records*; they are not durable yet.

        Args:
            records: In epoch order, above every earlier epoch.
            level: The global level once they stand.
            level_epoch: The newest directive that the level alone holds (0: none).
            live: Returns everything that must outlive a compaction, *records* included, in epoch
                order. Called only if the half is full.
            is_compacting: Rewrite the journal as ``live()`` even if it has room.
            is_unsealing: Take the seal off.

        Returns:
            Whether the journal was rewritten as ``live()``.

        Raises:
            JournalFullError: No room, even compacted; nothing was written.
            NotDurableError: The write failed; the latch is sealed (law 5).
        """
        while True:
            with self._lock:
                generation = self._slot.generation
                if self._try_publish(
                    records, live, is_compacting, is_unsealing, level=level, level_epoch=level_epoch
                ):
                    return self._slot.generation != generation
            self.make_durable()

    def publish_level(self, level: int, *, epoch: int) -> None:
        """Raise the global level in the slot alone, when the journal has no room for the reason.

        Raises:
            NotDurableError: The write failed; the latch is sealed (law 5).
        """
        with self._lock:
            self._require_usable()
            if epoch <= self._slot.epoch or level < self._slot.level:
                raise ValueError("epochs and, here, levels only rise")
            self._write(replace(self._slot, epoch=epoch, level=level, level_epoch=epoch))

    def make_durable(self) -> None:
        """Return when everything published before the call survives a power cut. Blocks.

        Raises:
            NotDurableError: A sync failed; the latch is sealed (law 5).
        """
        with self._syncing:
            for _ in range(_MAX_ROUNDS):
                if self._try_settle():
                    return
            with self._lock:  # whoever publishes without end has to wait now
                if not self._try_settle():
                    raise self._fail("the latch was written while it was locked")

    def append(
        self, records: Sequence[Record], *, level: int, live: Callable[[], Sequence[Record]]
    ) -> None:
        """``publish`` and ``make_durable``."""
        self.publish(records, level=level, live=live)
        self.make_durable()

    def heartbeat(self, boot_ns: int) -> None:
        """Tell the gates that control's event loop is alive.

        Raises:
            NotDurableError: The writer has failed.
        """
        if self._failure or self._is_closed:
            self._require_usable()
        self._words[LIVE_HEARTBEAT_WORD] = boot_ns

    def check_identity(self) -> bool:
        """Return whether the files are still at their paths; if not, seal and fail (law 6)."""
        with self._lock:
            return not self._failure and self._is_in_place()

    def seal(self, reason: str) -> None:
        """Deny everything from now on, and refuse to be used (law 5)."""
        with self._lock:
            self._fail(reason)

    # -- private --------------------------------------------------------------------------------

    def _try_publish(
        self,
        records: Sequence[Record],
        live: Callable[[], Sequence[Record]],
        is_compacting: bool,
        is_unsealing: bool,
        *,
        level: int,
        level_epoch: int,
    ) -> bool:
        """Publish; False if what is published must be made durable first."""
        self._require_usable()
        base = self._slot
        epochs = [record.epoch for record in records]
        if epochs != sorted(set(epochs)) or (epochs and epochs[0] <= base.epoch):
            raise ValueError("epochs rise")  # law 4
        placed = place(
            base,
            records,
            live,
            is_compacting=is_compacting,
            is_other_half_free=self._durable.generation == base.generation,
        )
        if placed is None:
            return False
        data, slot = placed
        self._write(
            replace(
                slot,
                epoch=epochs[-1] if epochs else base.epoch,
                level=level,
                level_epoch=level_epoch,
                is_sealed=base.is_sealed and not is_unsealing,
                seal_reason="" if is_unsealing else base.seal_reason,
            ),
            data,
        )
        return True

    def _write(self, slot: Slot, data: bytes = b"") -> None:
        """Write *data* as the last bytes of *slot*'s journal, then *slot* itself."""
        end = slot.half * slot.half_bytes + slot.journal_length
        try:
            if data:
                self._ops.write(self._latch.journal_file, data, end - len(data))
            self._write_slot(slot, Phase.PREPARED)
        except OSError as exc:
            raise self._fail(f"writing the latch failed: {exc.strerror}") from exc

    def _write_slot(self, slot: Slot, phase: Phase) -> None:
        page = 1 - self._durable.index  # law 2
        sequence = self._top_sequence + 1
        sequence += (sequence - page) % 2
        slot = slot.with_sequence(sequence, phase)
        self._ops.write(self._latch.slots_file, encode_slot(slot), page * PAGE)
        self._slot, self._top_sequence = slot, sequence
        self._write_count += 1

    def _try_settle(self) -> bool:
        """Make durable what is published; False if more was published meanwhile."""
        with self._lock:
            self._require_usable()
            if self._slot is self._durable and self._slot.phase is Phase.COMMITTED:
                return True
            prepared, count = self._slot, self._write_count
        self._sync(self._latch.journal_file)
        self._sync(self._latch.slots_file)
        with self._lock:
            self._require_usable()
            if self._write_count != count:
                return False  # what was synced may be half overwritten
            self._durable = prepared
            try:
                self._write_slot(prepared, Phase.COMMITTED)
            except OSError as exc:
                raise self._fail(f"writing the latch failed: {exc.strerror}") from exc
            committed, count = self._slot, self._write_count
        self._sync(self._latch.slots_file)
        with self._lock:
            if self._write_count == count:
                self._durable = committed
        return True

    def _sync(self, descriptor: int) -> None:
        try:
            self._ops.sync(descriptor)
        except OSError as exc:
            raise self._fail(f"syncing the latch failed: {exc.strerror}") from exc

    def _require_usable(self) -> None:
        if self._is_closed:
            raise RuntimeError("the latch writer is closed")
        if self._failure:
            raise self._refusal()
        if not self._is_in_place():
            raise self._refusal()

    def _is_in_place(self) -> bool:
        slots, journal = self._paths
        if self._latch.slots_identity.is_at(slots) and self._latch.journal_identity.is_at(journal):
            return True
        self._fail("the latch's files were deleted or replaced")  # law 6
        return False

    def _fail(self, what: str) -> NotDurableError:
        """Seal both slots in memory (law 5), and return what to raise."""
        with self._lock:
            if not self._failure:
                self._failure = what
                # Through the mapping: it needs no system call that could fail too. A page beyond
                # the end of a file that somebody cut off must not be touched.
                if os.fstat(self._latch.slots_file).st_size >= SLOTS_BYTES:
                    self._seal_slots(what)
            return self._refusal()

    def _seal_slots(self, what: str) -> None:
        self._words[LIVE_HEARTBEAT_WORD] = 0
        sealed = replace(self._slot, is_sealed=True, seal_reason=what)
        for page in (0, 1):
            sequence = self._top_sequence + 1
            sequence += (sequence - page) % 2
            data = encode_slot(sealed.with_sequence(sequence, Phase.PREPARED))
            self._map[page * PAGE : (page + 1) * PAGE] = data
            self._top_sequence = sequence

    def _refusal(self) -> NotDurableError:
        return NotDurableError(
            f"the latch is sealed: {self._failure}",
            hint="every call is denied; repair the disk, then start control again",
        )

    def _adopt(self, latch: OpenedLatch, epoch_floor: int) -> None:
        """Go on from what was found in the files."""
        found = latch.found
        if isinstance(found, Recovered) and latch.marker and latch.marker != found.slot.install_id:
            found = Loss(
                reason="the latch belongs to another installation than its marker says",
                slots=(found.slot,),
            )
        epoch = max(found.highest_epoch, epoch_floor)
        if isinstance(found, Recovered):
            self._top_sequence = found.highest_sequence
            self._durable, self._slot = found.slot, replace(found.slot, epoch=epoch)
            self.recovery = Recovery(records=found.records, is_rolled_back=found.is_rolled_back)
            return
        slot = nothing(latch.marker, half_bytes=latch.half_bytes)
        if found.slots:  # keep what is left of the journal, for people
            slot = replace(slot, half=1 - found.slots[0].half)
        # Numbers that no gate can have seen: a gate that still maps this file must notice.
        self._top_sequence = max((slot.sequence for slot in found.slots), default=0)
        self._top_sequence += secrets.randbits(48) + 2
        self._slot = replace(slot, epoch=epoch, is_sealed=True, seal_reason=found.reason)
        self.recovery = Recovery(is_lost=True, detail=found.reason)

    def _start_beating(self, boot: int) -> None:
        if self._words[LIVE_BOOT_WORD] != boot:
            self._words[LIVE_HEARTBEAT_WORD] = 0  # a beat of an earlier boot is no beat
            self._words[LIVE_BOOT_WORD] = boot
        self._words[LIVE_GENERATION_WORD] = secrets.randbits(63) | 1
        self._words[LIVE_PID_WORD] = os.getpid()

    def _repair(self) -> None:
        """Write what was recovered onto both pages, and see whether mappings show writes."""
        # After a crash of the process alone, what was read may be in no disk yet (law 2).
        self._sync(self._latch.journal_file)
        self._sync(self._latch.slots_file)
        self._write(self._slot)
        if self._words[SLOT_WORDS[self._slot.index]] != self._slot.sequence:
            raise EnvironmentFailure(
                f"the file system of {self._paths[0]} does not show writes to those who map it",
                reason=ErrorReason.LATCH_UNAVAILABLE,
                hint="put the state directory on a local file system",
            )
        self.make_durable()
