# SPDX-License-Identifier: Apache-2.0
"""The gates' side of the latch."""

from __future__ import annotations

import os
import threading
import timeit
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.clock import NS_PER_SECOND
from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.latch import reader as reader_module
from sidecar.latch.format import (
    LIVE_BOOT_WORD,
    PAGE,
    Phase,
    decode_slot,
    encode_slot,
)
from sidecar.latch.reader import NEVER_NS, LatchReader, LatchState
from sidecar.latch.writer import LatchWriter
from tests.unit.latch.latch_disk import BOOT, make_latch, nothing_lives, record
from tests.unit.latch.latch_pages import newer_format

OTHER_BOOT = "99999999-8888-7777-6666-555555555555"


@pytest.fixture
def reader(writer: LatchWriter, latch: Path) -> LatchReader:
    """A reader of the fresh latch."""
    return LatchReader(latch, boot_id=BOOT)


def publish(writer: LatchWriter, *epochs: int, level: int = 0) -> None:
    """Publish records of *epochs*."""
    writer.publish([record(epoch) for epoch in epochs], level=level, live=nothing_lives)


def overwrite(latch: Path, page: int, content: bytes) -> None:
    """Put other bytes in the place of a slot."""
    with (latch / "slots").open("r+b") as file:
        file.seek(page * PAGE)
        file.write(content)


def page_of(latch: Path, page: int) -> bytes:
    """Return the bytes of a slot."""
    return (latch / "slots").read_bytes()[page * PAGE : (page + 1) * PAGE]


def test_reader_is_current_until_something_is_published(
    reader: LatchReader, writer: LatchWriter
) -> None:
    """Two words tell a gate that nothing happened, and that something did."""
    assert not reader.is_current()

    reader.mark_applied(reader.read())
    assert reader.is_current()
    publish(writer, 1)
    assert not reader.is_current()


def test_state_that_was_read_but_not_applied_is_not_current(
    reader: LatchReader, writer: LatchWriter
) -> None:
    """A gate that fails between reading and applying reads again at the next call."""
    reader.mark_applied(reader.read())
    publish(writer, 1)

    reader.read()

    assert not reader.is_current()


def test_reader_reads_on_from_where_it_was(reader: LatchReader, writer: LatchWriter) -> None:
    """Only the new records come, each once."""
    publish(writer, 1, 2)
    first = reader.read()
    publish(writer, 3)
    publish(writer, 4, 5)

    second = reader.read_since(first.position)

    assert (first.is_rebased, [r.epoch for r in first.records]) == (True, [1, 2])
    assert (second.is_rebased, [r.epoch for r in second.records]) == (False, [3, 4, 5])
    assert reader.read_since(second.position).records == ()


def test_level_and_seal_reach_the_reader(reader: LatchReader, writer: LatchWriter) -> None:
    """What the slot says beside the records is in the state."""
    publish(writer, 1, level=5)
    before = reader.read()
    writer.seal("the disk is gone")
    after = reader.read()

    assert (before.global_level, before.level_epoch, before.is_sealed) == (5, 0, False)
    assert (after.is_sealed, after.seal_reason) == (True, "the disk is gone")


def test_e10_heartbeat_grows_stale(reader: LatchReader, writer: LatchWriter) -> None:
    """While control's loop does not beat, the age grows, and nothing else makes it young."""
    assert reader.heartbeat_age_ns(10 * NS_PER_SECOND) == NEVER_NS

    writer.heartbeat(10 * NS_PER_SECOND)
    publish(writer, 1)
    writer.make_durable()

    assert reader.heartbeat_age_ns(10 * NS_PER_SECOND) == 0
    assert reader.heartbeat_age_ns(16 * NS_PER_SECOND) == 6 * NS_PER_SECOND


def test_e10_heartbeat_of_another_boot_is_none(latch: Path, writer: LatchWriter) -> None:
    """After a reboot the old beat may look fresh by number; it is not one."""
    writer.heartbeat(10 * NS_PER_SECOND)

    rebooted = LatchReader(latch, boot_id=OTHER_BOOT)

    assert rebooted.heartbeat_age_ns(11 * NS_PER_SECOND) == NEVER_NS
    writer.close()
    reopened = LatchWriter.open(latch, boot_id=OTHER_BOOT)
    assert rebooted.heartbeat_age_ns(11 * NS_PER_SECOND) == NEVER_NS
    reopened.heartbeat(11 * NS_PER_SECOND)
    assert rebooted.heartbeat_age_ns(11 * NS_PER_SECOND) == 0
    reopened.close()


def test_e10_heartbeat_of_another_boot_negative_control(latch: Path, writer: LatchWriter) -> None:
    """If the boot were not compared, a beat from before the reboot would pass."""
    writer.heartbeat(10 * NS_PER_SECOND)
    rebooted = LatchReader(latch, boot_id=OTHER_BOOT)

    writer._words[LIVE_BOOT_WORD] = rebooted._boot_word

    assert rebooted.heartbeat_age_ns(11 * NS_PER_SECOND) == NS_PER_SECOND


def test_heartbeat_from_the_future_is_none(reader: LatchReader, writer: LatchWriter) -> None:
    """A beat beyond now by more than a second comes from another clock."""
    writer.heartbeat(10 * NS_PER_SECOND)

    assert reader.heartbeat_age_ns(10 * NS_PER_SECOND - 1) == 0
    assert reader.heartbeat_age_ns(8 * NS_PER_SECOND) == NEVER_NS


def test_restart_of_control_keeps_the_heartbeat_until_it_is_stale(
    latch: Path, reader: LatchReader, writer: LatchWriter
) -> None:
    """Control may restart within the staleness bound; its generation changes."""
    writer.heartbeat(10 * NS_PER_SECOND)
    generation = reader.control_generation
    writer.close()

    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert reader.heartbeat_age_ns(11 * NS_PER_SECOND) == NS_PER_SECOND
    assert reader.control_generation not in (0, generation)
    assert reader.control_pid == os.getpid()
    reopened.close()


def test_restart_of_control_is_noticed(
    latch: Path, reader: LatchReader, writer: LatchWriter
) -> None:
    """A restarted control writes both slots, so a gate reads again; what stands is the same."""
    publish(writer, 1)
    writer.make_durable()
    state = reader.read()
    reader.mark_applied(state)
    writer.close()

    reopened = LatchWriter.open(latch, boot_id=BOOT)

    assert not reader.is_current()
    assert reader.read_since(state.position).records == ()
    reopened.close()


# -- torn and damaged pages ---------------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1])
def test_e06_torn_slot_is_read_from_the_other_but_never_remembered(
    latch: Path, reader: LatchReader, writer: LatchWriter, page: int
) -> None:
    """While one slot is damaged, every call reads again."""
    publish(writer, 1, level=6)
    writer.make_durable()
    overwrite(latch, page, page_of(latch, page)[:2048] + bytes(2048))

    state = reader.read()
    reader.mark_applied(state)

    assert (state.epoch, state.global_level, state.is_doubtful) == (1, 6, True)
    assert not reader.is_current()


def test_torn_slot_negative_control(latch: Path, reader: LatchReader, writer: LatchWriter) -> None:
    """If a doubtful state were remembered, completing the torn write would go unnoticed."""
    publish(writer, 1)
    writer.make_durable()
    slot = decode_slot(page_of(latch, 0), index=0)
    other = decode_slot(page_of(latch, 1), index=1)
    newest = slot if slot.sequence > other.sequence else other  # type: ignore[union-attr]
    upcoming = encode_slot(
        newest.with_sequence(newest.sequence + 1, Phase.PREPARED)  # type: ignore[union-attr]
    )
    page = 1 - newest.index  # type: ignore[union-attr]
    overwrite(latch, page, upcoming[:512])  # the sequence is there, the rest is not
    torn = reader.read()

    reader.mark_applied(replace(torn, is_doubtful=False))
    overwrite(latch, page, upcoming)

    assert torn.is_doubtful
    assert reader.is_current()  # and so the rest would never be seen
    reader.mark_applied(torn)
    assert not reader.is_current()


def test_e06_both_slots_bad_is_sealed(latch: Path, reader: LatchReader) -> None:
    """A latch that cannot be read denies, and is read again at every call."""
    for page in (0, 1):
        overwrite(latch, page, bytes(PAGE))

    state = reader.read()
    reader.mark_applied(state)

    assert (state.is_sealed, state.is_rebased, state.position) == (True, True, None)
    assert state.seal_reason == "neither slot of the latch is valid"
    assert not reader.is_current()


def test_damaged_journal_is_sealed(latch: Path, reader: LatchReader, writer: LatchWriter) -> None:
    """A record that is not what was written denies everything, instead of being skipped."""
    publish(writer, 1, 2)
    with (latch / "journal").open("r+b") as file:
        file.seek(60)
        file.write(b"\xff\xff")

    state = reader.read()

    assert state.is_sealed
    assert "journal" in state.seal_reason


def test_e14_newer_format_is_sealed(latch: Path, reader: LatchReader) -> None:
    """A gate that is older than its latch denies."""
    overwrite(latch, 1, newer_format(page_of(latch, 1)))

    state = reader.read()

    assert state.is_sealed
    assert "newer version" in state.seal_reason


@pytest.mark.parametrize(
    "change", [{"half_bytes": 8 * PAGE}, {"chain": bytes(32)}, {"epoch": 1}], ids=repr
)
def test_slots_that_do_not_fit_their_journal_are_sealed(
    latch: Path, reader: LatchReader, writer: LatchWriter, change: dict[str, object]
) -> None:
    """Valid slots over another journal than theirs deny."""
    publish(writer, 1, 2)
    for index in (0, 1):
        slot = decode_slot(page_of(latch, index), index=index)
        overwrite(latch, index, encode_slot(replace(slot, **change)))  # type: ignore[arg-type]

    state = reader.read()

    assert state.is_sealed
    assert "journal" in state.seal_reason


def test_position_of_a_lost_generation_starts_anew(
    latch: Path, reader: LatchReader, writer: LatchWriter
) -> None:
    """After a compaction the reader gets everything that stands, and is told so."""
    publish(writer, 1, 2, 3)
    first = reader.read()
    writer.publish([record(4)], level=0, live=lambda: [record(2), record(4)], is_compacting=True)

    second = reader.read_since(first.position)

    assert second.is_rebased
    assert [found.epoch for found in second.records] == [2, 4]


def test_position_beyond_the_end_starts_anew(reader: LatchReader, writer: LatchWriter) -> None:
    """A position that the latch does not reach is not trusted."""
    publish(writer, 1)
    position = reader.read().position
    assert position is not None

    state = reader.read_since(replace(position, offset=position.offset + 512))

    assert state.is_rebased


def test_position_that_does_not_fit_is_sealed_not_guessed(
    reader: LatchReader, writer: LatchWriter
) -> None:
    """A chain that does not continue denies until the reader starts anew."""
    publish(writer, 1, 2)
    position = reader.read().position
    assert position is not None
    publish(writer, 3)

    state = reader.read_since(replace(position, chain=bytes(32)))

    assert state.is_sealed
    assert reader.read_since(state.position).records == tuple(map(record, (1, 2, 3)))


# -- files that vanish --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slots", "journal"])
@pytest.mark.parametrize("how", ["deleted", "replaced", "truncated", "directory"])
def test_e18_replaced_files_latch_a_deny(
    latch: Path, reader: LatchReader, name: str, how: str
) -> None:
    """Files that are not at their path any more deny until the gate is started anew."""
    reader.mark_applied(reader.read())
    assert reader.check_identity()
    path = latch / name
    original = path.read_bytes()
    if how == "deleted":
        path.unlink()
    elif how == "replaced":
        (latch / "copy").write_bytes(original)
        (latch / "copy").replace(path)
    elif how == "truncated":
        os.truncate(path, len(original) - PAGE)
    else:
        latch.rename(latch.with_name("elsewhere"))

    assert not reader.check_identity()
    assert not reader.is_current()
    state = reader.read()
    reader.mark_applied(replace(state, is_doubtful=False, words=(0, 0)))
    assert state.is_sealed
    assert not reader.is_current()
    if how == "directory":
        latch.with_name("elsewhere").rename(latch)
        assert not reader.check_identity()


def test_e18_replaced_files_negative_control(
    latch: Path, reader: LatchReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the check, an old mapping says "nothing happened" for ever."""
    monkeypatch.setattr("sidecar.latch.files.FileIdentity.is_at", lambda *_: True)
    reader.mark_applied(reader.read())
    (latch / "slots").unlink()

    assert reader.check_identity()
    assert reader.is_current()


@pytest.mark.parametrize("name", ["slots", "journal"])
@pytest.mark.parametrize("problem", ["missing", "short", "odd"])
def test_gate_does_not_start_without_a_latch(
    latch: Path, writer: LatchWriter, name: str, problem: str
) -> None:
    """No latch, or files that are none, are no ground to serve on."""
    writer.close()
    if problem == "missing":
        (latch / name).unlink()
    else:
        os.truncate(latch / name, 0 if problem == "short" else 12289)

    with pytest.raises(EnvironmentFailure) as caught:
        LatchReader(latch, boot_id=BOOT)

    assert caught.value.reason is ErrorReason.LATCH_UNAVAILABLE


def test_reader_closes(reader: LatchReader) -> None:
    """A closed reader does not answer."""
    reader.close()

    with pytest.raises(ValueError, match="released"):
        reader.is_current()


# -- while the writer writes --------------------------------------------------------------------


def test_reader_beside_a_busy_writer_sees_every_event_in_order(state: Path, latch: Path) -> None:
    """However slots and journal are caught, what comes out is complete, ordered and not sealed."""
    writer = make_latch(state)
    reader = LatchReader(latch, boot_id=BOOT)
    last = 1500

    def write() -> None:
        for epoch in range(1, last + 1):
            writer.publish([record(epoch)], level=0, live=lambda e=epoch: [record(e)])
            if epoch % 100 == 0:
                writer.make_durable()

    thread = threading.Thread(target=write)
    thread.start()
    seen = reader.read()
    problems = []
    while seen.epoch < last:
        before, seen = seen, reader.read_since(seen.position)
        if seen.is_sealed:
            problems.append(seen.seal_reason)
            break
        epochs = [found.epoch for found in seen.records]
        wanted = list(range(before.epoch + 1, seen.epoch + 1))
        if epochs != (wanted if not seen.is_rebased else epochs):
            problems.append(f"{epochs} instead of {wanted}")
        if seen.is_rebased and epochs[-1] != seen.epoch:
            problems.append(f"rebased to {epochs} at {seen.epoch}")
    thread.join()

    assert problems == []
    writer.close()
    reader.close()


def test_latch_that_never_holds_still_is_sealed(
    reader: LatchReader, writer: LatchWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that never catches a consistent state denies instead of reading for ever."""
    epoch = 0
    real = reader_module.valid_slots

    def disturbed(pages: list[bytes]) -> object:
        nonlocal epoch
        found = real(pages)
        epoch += 1
        publish(writer, epoch)
        assert not isinstance(found, reader_module.Loss)
        return tuple(replace(slot, sequence=slot.sequence + 2) for slot in found)

    monkeypatch.setattr(reader_module, "valid_slots", disturbed)

    state = reader.read()

    assert state == LatchState(
        epoch=0,
        is_sealed=True,
        seal_reason="the latch changes faster than it can be read",
        is_rebased=True,
        is_doubtful=True,
    )


def test_checks_of_every_call_are_cheap(reader: LatchReader, writer: LatchWriter) -> None:
    """Asking whether nothing happened takes well under a microsecond (about 0.1 on a quiet box)."""
    writer.heartbeat(1)
    reader.mark_applied(reader.read())

    best = min(timeit.repeat(reader.is_current, number=20_000, repeat=5)) / 20_000
    identity = min(timeit.repeat(reader.check_identity, number=500, repeat=5)) / 500

    assert best < 1e-6
    assert identity < 100e-6
