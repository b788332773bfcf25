# SPDX-License-Identifier: Apache-2.0
"""P1 and P11: no allow after an acknowledged kill, across crashes and power cuts.

Control publishes and syncs through a disk that forgets whatever was not synced, sector by sector. A
gate follows the latch through its mapping. The machine contains, releases, expires, crashes the
process, cuts the power, and asks the gate in between.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sidecar.clock import ManualClock
from sidecar.containment.events import Contained, Expired, Released, decode_event
from sidecar.containment.journal import ContainmentJournal
from sidecar.containment.machine import ContainmentState
from sidecar.errors import IntegrityError
from sidecar.latch import writer as writer_module
from sidecar.latch.format import Record
from sidecar.latch.placing import JournalFullError
from sidecar.latch.reader import JournalPosition, LatchReader
from sidecar.latch.writer import LatchWriter
from sidecar.model import Level, OperatorKind, Subject, Target, TargetKind
from tests.unit.containment.containment_kit import ALL, BOOT, agent, directive
from tests.unit.latch.latch_disk import ForgetfulDisk, make_latch

# The machine makes thousands of files; what a sync confirms is the simulated disk's business.
FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None
AGENTS = ["a1", "a2", "a3"]
TARGETS = st.one_of(
    st.builds(agent, st.sampled_from(AGENTS)),
    st.just(ALL),
    st.just(Target(kind=TargetKind.TOOL, tool="t1")),
)


class Gate:
    """Follows the latch as a gate does, and forgets nothing it was told."""

    def __init__(self, latch: Path) -> None:
        self.reader = LatchReader(latch, boot_id=BOOT)
        self.state = ContainmentState.empty()
        self.position: JournalPosition | None = None
        self.is_sealed = True
        self.global_level = 0

    def level(self, subject: Subject) -> int:
        """Return how a call of *subject* stands now; a sealed latch is a kill."""
        if not self.reader.is_current():
            latched = self.reader.read_since(self.position)
            if latched.is_rebased:
                self.state = ContainmentState.empty()
            self.state = self.state.apply_all(map(decode_event, latched.records))
            self.position, self.is_sealed = latched.position, latched.is_sealed
            self.global_level = latched.global_level
            self.reader.mark_applied(latched)
        if self.is_sealed:
            return Level.KILL
        verdict = self.state.effective(subject)
        return max(self.global_level, verdict.level if verdict is not None else 0)


def seen_level(latch: Path) -> int:
    """Return the global level as a gate that starts now sees it."""
    reader = LatchReader(latch, boot_id=BOOT)
    level = reader.read().global_level
    reader.close()
    return level


class CrashMachine(RuleBasedStateMachine):
    """The model: what must hold, what must not, and what may be either until it is synced."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(dir=FAST))
        self.directories = count()
        self.clock = ManualClock()
        self.rng = random.Random(0)
        self.published: dict[int, Contained] = {}
        self.acked: dict[int, Contained] = {}
        self.unsynced: set[int] = set()
        self.disk = ForgetfulDisk()
        self.writer: LatchWriter | None = None
        self.gate: Gate | None = None

    def teardown(self) -> None:
        self.close()
        shutil.rmtree(self.base)

    def close(self) -> None:
        if self.gate is not None:
            self.gate.reader.close()
        if self.writer is not None:
            self.writer.close()

    @initialize(seed=st.integers(0, 2**20))
    def begin(self, seed: int) -> None:
        self.rng = random.Random(seed)
        state = self.base / "first"
        make_latch(state).close()
        self.open(state / "latch")

    def open(self, latch: Path) -> None:
        self.latch = latch
        self.writer = LatchWriter.open(latch, ops=self.disk, boot_id=BOOT)
        self.journal = ContainmentJournal(writer=self.writer, clock=self.clock, boot_id=BOOT)
        self.gate = Gate(latch)

    # -- what control does ----------------------------------------------------------------------

    @rule(
        target_=TARGETS,
        level=st.sampled_from([Level.HOLD, Level.FREEZE, Level.KILL]),
        is_synced=st.booleans(),
        length=st.sampled_from([10, 900]),
    )
    def contain(self, target_: Target, level: Level, is_synced: bool, length: int) -> None:
        event = Contained(
            directive=directive(
                self.journal.next_epoch, target_, level, reason="r" * length, author="alice"
            ),
            author_human_id="alice",
            author_kind=OperatorKind.HUMAN,
        )
        try:
            self.journal.publish_containment(event, ())
        except JournalFullError:
            return  # refused, nothing promised
        self.published[event.epoch] = event
        self.unsynced.add(event.epoch)
        if is_synced:
            self.sync()

    @precondition(lambda self: self.published)
    @rule(data=st.data(), is_release=st.booleans(), is_synced=st.booleans())
    def end(self, data: st.DataObject, is_release: bool, is_synced: bool) -> None:
        epoch = data.draw(st.sampled_from(sorted(self.published)))
        event: Released | Expired = Expired(
            epoch=self.journal.next_epoch, directive_epoch=epoch, create_time_ns=1
        )
        if is_release:
            event = Released(
                epoch=event.epoch,
                directive_epoch=epoch,
                releaser="bob",
                releaser_human_id="bob",
                reason="fine",
                create_time_ns=1,
            )
        self.journal.publish(event)
        del self.published[epoch]
        if is_synced:
            self.sync()

    @rule()
    def sync(self) -> None:
        assert self.writer is not None
        self.writer.make_durable()
        self.settle()

    def settle(self) -> None:
        self.acked = dict(self.published)
        self.unsynced.clear()

    # -- what happens to it ---------------------------------------------------------------------

    @rule()
    def process_dies(self) -> None:
        """The page cache stays: everything published stands, and the gate's mapping goes on."""
        assert self.writer is not None
        self.writer.close()
        self.merge_unrecorded()
        self.writer = LatchWriter.open(self.latch, ops=self.disk, boot_id=BOOT)
        self.journal = ContainmentJournal(writer=self.writer, clock=self.clock, boot_id=BOOT)
        assert not self.writer.is_sealed
        assert set(self.journal.state.contained) == set(self.published)
        self.settle()

    def merge_unrecorded(self) -> None:
        """Several directives that the level alone held are one after a restart."""
        unrecorded = self.journal._unrecorded
        if unrecorded:
            newest = max(unrecorded)
            for epoch in unrecorded - {newest}:
                del self.published[epoch]
            kept = self.published[newest]
            level = Level(seen_level(self.latch))
            self.published[newest] = replace(kept, directive=replace(kept.directive, level=level))

    @rule()
    def power_goes(self) -> None:
        """Of what was not synced any sector may be lost: each directive is acked, or it may be."""
        self.close()
        self.gate = None
        epoch_before = self.journal.next_epoch - 1
        unrecorded = set(self.journal._unrecorded)
        copy = self.disk.after_power_cut(
            self.latch, self.base / f"cut{next(self.directories)}", self.rng
        )
        self.disk = ForgetfulDisk()
        self.open(copy)
        assert self.writer is not None
        found = self.journal.state.contained
        assert not self.writer.is_sealed
        must = set(self.acked) & set(self.published)
        may = set(self.acked) | self.unsynced
        # Of those that the level alone held, one may stand for all (law 4 of the journal).
        assert must - unrecorded <= set(found) <= may
        for lost in must & unrecorded - set(found):
            stand_ins = unrecorded & set(found)
            assert stand_ins
            level = max(found[epoch].directive.level for epoch in stand_ins)
            assert level >= self.acked[lost].directive.level
        assert self.journal.next_epoch - 1 <= epoch_before
        self.published = dict(found)
        self.settle()

    # -- what gates must answer -----------------------------------------------------------------

    @rule(name=st.sampled_from(AGENTS), tool=st.sampled_from(["t1", "t2"]))
    def ask(self, name: str, tool: str) -> None:
        assert self.gate is not None
        subject = Subject(agent=name, tool=tool)
        wanted = max(
            (
                event.directive.level
                for event in self.published.values()
                if event.directive.target.matches(subject)
            ),
            default=0,
        )
        assert self.gate.level(subject) == wanted

    @invariant()
    def control_and_model_agree(self) -> None:
        if self.writer is not None:
            assert set(self.journal.state.contained) == set(self.published)


SETTINGS = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(
    SETTINGS,
    max_examples=300,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
)
"""Finds a violation, and does not stop to describe it nicely."""
CrashMachine.TestCase.settings = SETTINGS
TestP1P11NoAllowAfterAck = CrashMachine.TestCase


def test_p1_no_allow_after_ack_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that only pretends to sync, the same machine finds a kill that was lost."""
    monkeypatch.setattr(ForgetfulDisk, "sync", lambda self, _: self._count())

    with pytest.raises((AssertionError, IntegrityError)):
        run_state_machine_as_test(CrashMachine, settings=HUNT)


def test_p1_stale_word_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that never looked at the words again would allow after a kill: the machine sees it."""
    applied: list[LatchReader] = []

    def remembers(self: LatchReader) -> bool:
        if self in applied:
            return True
        applied.append(self)
        return False

    monkeypatch.setattr(LatchReader, "is_current", remembers)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(CrashMachine, settings=HUNT)


def test_e03_epochs_never_repeat_after_a_power_cut(tmp_path: Path) -> None:
    """An epoch that a gate may have seen before the power went is not given to another event."""
    disk = ForgetfulDisk()
    make_latch(tmp_path / "state").close()
    writer = LatchWriter.open(tmp_path / "state" / "latch", ops=disk, boot_id=BOOT)
    journal = ContainmentJournal(writer=writer, clock=ManualClock(), boot_id=BOOT)
    first = Contained(directive=directive(journal.next_epoch))
    journal.publish(first)
    writer.make_durable()
    second = Contained(directive=directive(journal.next_epoch))
    journal.publish(second)
    writer.close()
    rolled_back = 0
    for seed in range(40):
        copy = disk.after_power_cut(
            tmp_path / "state" / "latch", tmp_path / f"cut{seed}", random.Random(seed)
        )
        again = LatchWriter.open(copy, boot_id=BOOT)
        recovered = ContainmentJournal(writer=again, clock=ManualClock(), boot_id=BOOT)
        if again.recovery.is_rolled_back:
            rolled_back += 1
            assert recovered.next_epoch > second.epoch
        again.close()

    assert rolled_back > 0


def test_e14_unknown_event_in_the_journal_keeps_control_from_starting(tmp_path: Path) -> None:
    """A journal with an event of a later version is not half-understood."""
    writer = make_latch(tmp_path / "state")
    writer.append([Record(99, 1, b'{"v":1}')], level=0, live=lambda: [])
    writer.close()
    reopened = writer_module.LatchWriter.open(tmp_path / "state" / "latch", boot_id=BOOT)

    with pytest.raises(IntegrityError, match="kind 99"):
        ContainmentJournal(writer=reopened, clock=ManualClock(), boot_id=BOOT)
    reopened.close()
