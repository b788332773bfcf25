# SPDX-License-Identifier: Apache-2.0
"""The latch after a power cut at every write, and after SIGKILL of the process that writes it.

The simulated disk (``latch_disk``) keeps what a sync has confirmed; of everything else any sector may
be old or new. Promise: what was acknowledged is there, and nothing is worse than sealed.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import NotDurableError
from sidecar.latch.format import Record
from sidecar.latch.reader import LatchReader
from sidecar.latch.writer import LatchWriter
from tests.unit.latch.latch_disk import BOOT, ForgetfulDisk, PowerCut, make_latch, record

EVENTS = 14
IMAGES = 4


def big(epoch: int) -> Record:
    """Return a record so long that a half takes nine."""
    return record(epoch, b"p" * 1700 + str(epoch).encode())


class Scenario:
    """Publishes events one by one and notes what was acknowledged."""

    def __init__(self, state: Path, disk: ForgetfulDisk) -> None:
        self.state = state
        self.disk = disk
        self.acked = 0
        self.published = 0

    def run(self) -> None:
        """Publish all events, each durable before the next; the power may go at any operation."""
        writer = LatchWriter.open(self.state / "latch", ops=self.disk, boot_id=BOOT)
        try:
            for epoch in range(1, EVENTS + 1):
                self.published = epoch
                writer.publish(
                    [big(epoch)],
                    level=6 if epoch % 3 == 0 else 0,
                    live=lambda e=epoch: [big(n) for n in range(max(1, e - 2), e + 1)],
                )
                writer.make_durable()
                self.acked = epoch
        finally:
            writer.close()


def recovered(copy: Path) -> tuple[LatchWriter, list[Record]]:
    """Open what a power cut left, and return the writer and what stands."""
    writer = LatchWriter.open(copy, ops=ForgetfulDisk(), boot_id=BOOT)
    return writer, list(writer.recovery.records)


def operations_of_a_whole_run(base: Path) -> int:
    """Return how many operations the scenario takes when the power stays on."""
    make_latch(base).close()
    disk = ForgetfulDisk()
    Scenario(base, disk).run()
    return disk.operations


def test_e05_p1_p11_power_cut_at_every_operation_keeps_what_was_acknowledged(
    fast_path: Path,
) -> None:
    """Wherever the power goes, the newest acknowledged event stands, and the latch is not sealed."""
    total = operations_of_a_whole_run(fast_path / "whole")
    rng = random.Random(7)
    number = count()
    wrong = []
    for cut_at in range(1, total + 1):
        state = fast_path / f"state{cut_at}"
        make_latch(state).close()
        disk = ForgetfulDisk(cut_at=cut_at)
        scenario = Scenario(state, disk)
        with pytest.raises(PowerCut):
            scenario.run()
        for _ in range(IMAGES):
            copy = disk.after_power_cut(state / "latch", fast_path / f"c{next(number)}", rng)
            writer, records = recovered(copy)
            newest = records[-1].epoch if records else 0
            is_right = (
                not writer.is_sealed
                and scenario.acked <= newest <= scenario.published
                and all(found == big(found.epoch) for found in records)
                and writer.level == (6 if newest and newest % 3 == 0 else 0)
                and writer.epoch >= newest
            )
            writer.close()
            if not is_right:
                wrong.append((cut_at, scenario.acked, newest, writer.is_sealed))

    assert total > 80
    assert wrong == []


def test_e05_power_cut_negative_control(fast_path: Path) -> None:
    """On a disk that only pretends to sync, the same simulation finds lost acknowledgements."""
    rng = random.Random(7)
    number = count()
    lost = 0
    for cut_at in range(10, 80, 3):
        state = fast_path / f"state{cut_at}"
        make_latch(state).close()
        disk = ForgetfulDisk(cut_at=cut_at, is_forgetting_syncs=True)
        scenario = Scenario(state, disk)
        with pytest.raises(PowerCut):
            scenario.run()
        copy = disk.after_power_cut(state / "latch", fast_path / f"c{next(number)}", rng)
        writer, records = recovered(copy)
        newest = records[-1].epoch if records else 0
        lost += writer.is_sealed or newest < scenario.acked
        writer.close()

    assert lost > 0


def test_e05_p11_power_cut_during_recovery(fast_path: Path) -> None:
    """A second power cut while the first is being recovered from loses nothing either."""
    rng = random.Random(11)
    number = count()
    wrong = []
    for cut_at in (20, 33, 47, 60):
        state = fast_path / f"state{cut_at}"
        make_latch(state).close()
        disk = ForgetfulDisk(cut_at=cut_at)
        scenario = Scenario(state, disk)
        with pytest.raises(PowerCut):
            scenario.run()
        for second in range(1, 7):
            first = fast_path / f"c{next(number)}"
            copy = disk.after_power_cut(state / "latch", first, rng)
            again = ForgetfulDisk(cut_at=second)
            with pytest.raises(PowerCut):
                LatchWriter.open(copy, ops=again, boot_id=BOOT)
            last = again.after_power_cut(copy, fast_path / f"c{next(number)}", rng)
            writer, records = recovered(last)
            newest = records[-1].epoch if records else 0
            if writer.is_sealed or newest < scenario.acked:
                wrong.append((cut_at, second, scenario.acked, newest))
            writer.close()

    assert wrong == []


def test_p11_process_dies_then_power_goes(fast_path: Path) -> None:
    """What only the page cache has when control restarts is made durable before it is built on."""
    rng = random.Random(13)
    wrong = []
    for number, cut_at in enumerate(range(1, 12)):
        state = fast_path / f"state{number}"
        disk = ForgetfulDisk()
        writer = make_latch(state, ops=disk)
        writer.append([big(1)], level=0, live=lambda: [])
        writer.publish([big(2)], level=0, live=lambda: [])
        writer.close()  # killed: nothing was synced, the page cache has it all
        disk.operations, disk.cut_at = 0, cut_at
        with contextlib.suppress(PowerCut):
            LatchWriter.open(state / "latch", ops=disk, boot_id=BOOT).close()
        for image in range(6):
            copy = disk.after_power_cut(state / "latch", fast_path / f"c{number}.{image}", rng)
            reopened, records = recovered(copy)
            if reopened.is_sealed or records[0] != big(1):
                wrong.append((cut_at, image, reopened.seal_reason))
            reopened.close()

    assert wrong == []


def test_rolled_back_event_leaves_no_number_behind(tmp_path: Path) -> None:
    """After a roll-back, epoch and sequences go on above what anybody may have seen."""
    state = tmp_path / "state"
    writer = make_latch(state)
    writer.append([record(1)], level=0, live=lambda: [])
    journal = (state / "latch" / "journal").read_bytes()
    writer.publish([record(2)], level=0, live=lambda: [])
    with contextlib.closing(LatchReader(state / "latch", boot_id=BOOT)) as reader:
        seen = reader.read()
    writer.close()
    (state / "latch" / "journal").write_bytes(journal)

    reopened, records = recovered(state / "latch")
    with contextlib.closing(LatchReader(state / "latch", boot_id=BOOT)) as reader:
        now = reader.read()

    assert reopened.recovery.is_rolled_back
    assert [found.epoch for found in records] == [1]
    assert (seen.epoch, reopened.epoch) == (2, 2)
    assert min(now.words) > max(seen.words)
    reopened.close()


@given(data=st.data())
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_p1_publishing_while_a_sync_runs_keeps_what_was_acknowledged(
    fast_path: Path, data: st.DataObject
) -> None:
    """Kills that arrive during another one's sync are covered by exactly the syncs they waited for.

    The newest event before ``make_durable`` was called must be there after any power cut that follows
    its return.
    """
    base = Path(tempfile.mkdtemp(dir=fast_path))
    make_latch(base / "state").close()
    disk = ForgetfulDisk(cut_at=data.draw(st.integers(8, 70)))
    epoch = acked = 0

    def publish(writer: LatchWriter) -> None:
        nonlocal epoch
        epoch += 1
        at = epoch
        writer.publish(
            [big(at)], level=0, live=lambda: [big(n) for n in range(max(1, at - 2), at + 1)]
        )

    try:
        writer = LatchWriter.open(base / "state" / "latch", ops=disk, boot_id=BOOT)
        while True:
            publish(writer)
            promised = epoch
            if data.draw(st.booleans()):
                disk.syncs_before_hook = data.draw(st.integers(0, 3))
                disk.during_sync = lambda: publish(writer)
            writer.make_durable()
            acked = promised
    except PowerCut:
        pass
    rng = random.Random(data.draw(st.integers(0, 1000)))
    copy = disk.after_power_cut(base / "state" / "latch", base / "copy", rng)
    reopened, records = recovered(copy)

    assert not reopened.is_sealed
    assert (records[-1].epoch if records else 0) >= acked
    reopened.close()


def test_e04_failed_sync_then_power_cut_is_never_less_than_promised(fast_path: Path) -> None:
    """After a failed sync nothing was acknowledged; what was before it still stands."""
    rng = random.Random(17)
    for image in range(20):
        state = fast_path / f"state{image}"
        disk = ForgetfulDisk()
        writer = make_latch(state, ops=disk)
        writer.append([big(1)], level=0, live=lambda: [])
        disk.sync_error = OSError(5, "broken")
        with pytest.raises(NotDurableError):
            writer.append([big(2)], level=0, live=lambda: [])
        writer.close()

        copy = disk.after_power_cut(state / "latch", fast_path / f"c{image}", rng)
        reopened, records = recovered(copy)

        assert reopened.is_sealed or records[0] == big(1)
        reopened.close()


# -- SIGKILL of a real process ------------------------------------------------------------------

CYCLES = 30
KILLER = """
import os, sys
from pathlib import Path
from sidecar.latch.format import Record
from sidecar.latch.writer import LatchWriter

latch = Path(sys.argv[1])

def work():
    writer = LatchWriter.open(latch)
    epoch = writer.epoch
    while True:
        epoch += 1
        writer.publish([Record(1, epoch, b"k" * 900)], level=epoch % 7,
                       live=lambda: [Record(1, epoch, b"k" * 900)])
        writer.make_durable()
        os.write(1, epoch.to_bytes(8, "big"))

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        work()
    sys.stderr.write(f"{pid}\\n")
    sys.stderr.flush()
    os.waitpid(pid, 0)
    sys.stderr.write("dead\\n")
    sys.stderr.flush()
"""


def read_acks(descriptor: int, at_least: int) -> list[int]:
    """Return the epochs that were acknowledged: all that are there, and at least so many."""
    got = b""
    while len(got) < 8 * at_least or select.select([descriptor], [], [], 0)[0]:
        got += os.read(descriptor, 65536)
    return [int.from_bytes(got[at : at + 8], "big") for at in range(0, len(got) - 7, 8)]


def test_e04_p11_sigkill_of_the_writer_never_loses_an_acknowledged_event(tmp_path: Path) -> None:
    """Thirty times: kill -9 somewhere in the middle; every acknowledged epoch stands afterwards."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    LatchWriter.initialise(state / "latch", half_bytes=8 * 4096).close()
    reader = LatchReader(state / "latch")
    rng = random.Random(23)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLER, str(state / "latch")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    acked = 0
    problems = []
    try:
        for cycle in range(CYCLES):
            process.stdin.write(b"go\n")
            child = int(process.stderr.readline())
            acked = max(acked, *read_acks(process.stdout.fileno(), rng.randint(1, 12)))
            os.kill(child, signal.SIGKILL)
            assert process.stderr.readline() == b"dead\n"
            acked = max([acked, *read_acks(process.stdout.fileno(), 0)])
            seen = reader.read()
            if seen.is_sealed or not acked <= seen.epoch <= acked + 1:
                problems.append((cycle, acked, seen.epoch, seen.seal_reason))
            elif seen.records[-1].epoch != seen.epoch or seen.global_level != seen.epoch % 7:
                problems.append((cycle, seen.records[-1].epoch, seen.epoch, seen.global_level))
    finally:
        process.kill()
        process.communicate()

    assert problems == []
    assert acked > CYCLES
    reader.close()
