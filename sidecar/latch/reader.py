# SPDX-License-Identifier: Apache-2.0
"""The gates' side of the latch: two words per call, and the state when one of them moved.

Laws:

1. ``is_current`` compares the two sequence words with those of the state that was *applied*: a
   state that was read but not applied (``mark_applied``) is never current, so a failure in between
   cannot leave an older state in force.
2. The words are taken before the pages they belong to. A change in between is seen at the next
   call.
3. What was read in doubt (a torn page, a journal that does not verify) is never remembered as
   current: every call reads again until the doubt is gone.
4. A latch that cannot be read denies: the state says sealed, and why.
5. Files that are not at their path any more are a latch that nobody writes: sealed until restart.
6. A heartbeat of another boot, or from the future, is no heartbeat.

The reader never writes, never locks, and never waits. Truncating a file under it raises SIGBUS,
which ends the gate; its agents are then denied by their SDK.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure, ErrorReason, IntegrityError
from sidecar.latch.files import (
    JOURNAL,
    SLOTS,
    FileIdentity,
    boot_word,
    is_journal_length,
    is_slots_length,
    open_file,
    read_boot_id,
)
from sidecar.latch.format import (
    LIVE_BOOT_WORD,
    LIVE_GENERATION_WORD,
    LIVE_HEARTBEAT_WORD,
    LIVE_PID_WORD,
    PAGE,
    SLOT_WORDS,
    Record,
    Slot,
    decode_inline,
    decode_records,
    journal_seed,
)
from sidecar.latch.recovery import Loss, valid_slots
from sidecar.safe_paths import open_directory

__all__ = ["NEVER_NS", "JournalPosition", "LatchReader", "LatchState"]

NEVER_NS: Final = 2**63 - 1
"""The age of a heartbeat that never was."""
_MAX_READS: Final = 32
_SURELY_TORN: Final = 16
_FUTURE_NS: Final = 1_000_000_000
_NO_WORD: Final = -1  # words are unsigned, so this equals none
_WORD_A, _WORD_B = SLOT_WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPosition:
    """How far a reader has come: where the next record will be, and what it must follow."""

    generation: int
    offset: int
    chain: bytes
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LatchState:
    """What the latch says.

    ``records`` are those after the position that was asked for; with ``is_rebased`` they are all
    that stand, and whatever was built from earlier ones must be built anew (revocations alone are
    kept: they only leave the journal once they are in control's store).

    If ``is_sealed``, everything is denied, whatever the rest says. ``global_level`` holds for every
    agent (0: none), even if no record says why.
    """

    epoch: int
    global_level: int = 0
    level_epoch: int = 0
    is_sealed: bool = False
    seal_reason: str = ""
    records: tuple[Record, ...] = ()
    is_rebased: bool = False
    position: JournalPosition | None = None
    is_doubtful: bool = False
    words: tuple[int, int] = (_NO_WORD, _NO_WORD)


class LatchReader:
    """A read-only mapping of the latch in *directory*.

    Args:
        directory: ``<state>/latch``.
        owners: User ids that may own it, beside root and this process's (the user of control).
        boot_id: The kernel's, unless given.

    Raises:
        EnvironmentFailure: LATCH_UNAVAILABLE if there is no latch, UNSAFE_PATH if it cannot be
            trusted. The gate must not serve without a reader.
    """

    __slots__ = (
        "_applied_a",
        "_applied_b",
        "_boot_word",
        "_files",
        "_is_lost",
        "_journal",
        "_slots",
        "_words",
    )

    def __init__(
        self, directory: Path, *, owners: Collection[int] = (), boot_id: str | None = None
    ) -> None:
        self._boot_word = boot_word(boot_id or read_boot_id())
        self._applied_a = self._applied_b = _NO_WORD
        self._is_lost = False
        self._files: list[tuple[str, FileIdentity]] = []
        parent = open_directory(directory, mode=0o750, owners=owners)
        try:
            self._slots = self._map(parent, directory, SLOTS, owners)
            self._journal = self._map(parent, directory, JOURNAL, owners)
        finally:
            os.close(parent)
        self._words = memoryview(self._slots).cast("Q")

    def close(self) -> None:
        """Unmap the files."""
        self._words.release()
        self._slots.close()
        self._journal.close()

    # -- at every call --------------------------------------------------------------------------

    def is_current(self) -> bool:
        """Return whether nothing was published since the state that was last applied (law 1)."""
        words = self._words
        return words[_WORD_A] == self._applied_a and words[_WORD_B] == self._applied_b

    def heartbeat_age_ns(self, boot_ns: int) -> int:
        """Return how long ago control's event loop was alive; ``NEVER_NS`` if never (law 6)."""
        words = self._words
        beat = words[LIVE_HEARTBEAT_WORD]
        age = boot_ns - beat
        if beat == 0 or age < -_FUTURE_NS or words[LIVE_BOOT_WORD] != self._boot_word:
            return NEVER_NS
        return max(age, 0)

    # -- now and then ---------------------------------------------------------------------------

    @property
    def control_generation(self) -> int:
        """A random number that control draws at every start."""
        return self._words[LIVE_GENERATION_WORD]

    @property
    def control_pid(self) -> int:
        """Control's process id, for people."""
        return self._words[LIVE_PID_WORD]

    def check_identity(self) -> bool:
        """Return whether the mapped files are still at their paths; False stays False (law 5)."""
        if not self._is_lost and not all(identity.is_at(path) for path, identity in self._files):
            self._is_lost = True
            self._applied_a = self._applied_b = _NO_WORD
        return not self._is_lost

    def mark_applied(self, state: LatchState) -> None:
        """Remember that the caller now acts under *state* (laws 1, 3 and 5)."""
        if state.is_doubtful or self._is_lost:
            self._applied_a = self._applied_b = _NO_WORD
        else:
            self._applied_a, self._applied_b = state.words

    def read(self) -> LatchState:
        """Return everything that stands."""
        return self.read_since(None)

    def read_since(self, position: JournalPosition | None) -> LatchState:
        """Return what stands, with only the records after *position* if that is still possible."""
        if self._is_lost:
            return _sealed("the latch's files were deleted or replaced while the gate ran")
        problem = ""
        for attempt in range(_MAX_READS):
            if attempt:
                os.sched_yield()
            words = (self._words[_WORD_A], self._words[_WORD_B])  # law 2
            slots = valid_slots([self._slots[:PAGE], self._slots[PAGE : 2 * PAGE]])
            if isinstance(slots, Loss):
                problem = slots.reason
                if slots.is_newer_format:
                    break
                continue
            is_torn = len(slots) < 2
            if is_torn and attempt < _SURELY_TORN:
                continue
            if not is_torn and {slot.sequence for slot in slots} != set(words):
                continue
            try:
                return self._state(slots[0], position, words, is_doubtful=is_torn)
            except IntegrityError as exc:
                problem = exc.message
        return _sealed(problem or "the latch changes faster than it can be read")

    # -- private --------------------------------------------------------------------------------

    def _state(
        self,
        slot: Slot,
        position: JournalPosition | None,
        words: tuple[int, int],
        *,
        is_doubtful: bool,
    ) -> LatchState:
        if len(self._journal) != 2 * slot.half_bytes:
            raise IntegrityError("the latch journal has another length than its slot says")
        if (
            position is None
            or position.generation != slot.generation
            or position.offset > slot.journal_length
        ):
            is_rebased = True
            position = JournalPosition(
                generation=slot.generation,
                offset=0,
                chain=journal_seed(slot.install_id, slot.generation),
                epoch=-1,
            )
        else:
            is_rebased = False
        start = slot.half * slot.half_bytes
        records, chain = decode_records(
            self._journal[start + position.offset : start + slot.journal_length],
            generation=slot.generation,
            chain=position.chain,
        )
        if chain != slot.chain:
            raise IntegrityError("the latch journal does not end as its slot says")
        records = tuple(
            record
            for record in (*records, *decode_inline(slot.inline))
            if record.epoch > position.epoch
        )
        _check_epochs(records, slot)
        return LatchState(
            epoch=slot.epoch,
            global_level=slot.level,
            level_epoch=slot.level_epoch,
            is_sealed=slot.is_sealed,
            seal_reason=slot.seal_reason,
            records=records,
            is_rebased=is_rebased,
            position=JournalPosition(
                generation=slot.generation,
                offset=slot.journal_length,
                chain=chain,
                epoch=slot.epoch,
            ),
            is_doubtful=is_doubtful,
            words=words,
        )

    def _map(self, parent: int, directory: Path, name: str, owners: Collection[int]) -> mmap.mmap:
        path = directory.absolute() / name
        try:
            descriptor, identity = open_file(
                parent, name, flags=os.O_RDONLY, owners=owners, shown=path
            )
        except FileNotFoundError as exc:
            raise _unavailable(f"there is no latch in {directory}") from exc
        try:
            is_length = is_slots_length if name == SLOTS else is_journal_length
            if not is_length(identity.length):
                raise _unavailable(f"{path} has the wrong length for a latch")
            self._files.append((str(path), identity))
            return mmap.mmap(descriptor, identity.length, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)


def _check_epochs(records: Sequence[Record], slot: Slot) -> None:
    epochs = [record.epoch for record in records]
    if epochs != sorted(set(epochs)) or (epochs and epochs[-1] > slot.epoch):
        raise IntegrityError("the latch journal's epochs do not fit its slot")


def _sealed(reason: str) -> LatchState:
    return LatchState(
        epoch=0, is_sealed=True, seal_reason=reason, is_rebased=True, is_doubtful=True
    )


def _unavailable(message: str) -> EnvironmentFailure:
    return EnvironmentFailure(
        message,
        reason=ErrorReason.LATCH_UNAVAILABLE,
        hint="start control first; it makes the latch",
    )
