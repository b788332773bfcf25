# SPDX-License-Identifier: Apache-2.0
"""A disk that forgets, for tests of the latch.

Writes go to the real files, as the page cache would show them. Beside them the disk keeps, for each
512-byte sector, every version since the last sync: after a power cut any of them may be what is on
the platter, each sector for itself.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from sidecar.latch.format import Record
from sidecar.latch.writer import LatchWriter

SECTOR = 512
SMALL_HALF = 4 * 4096
BOOT = "11111111-2222-3333-4444-555555555555"


class PowerCut(Exception):
    """The power went. No OSError: nothing may handle it."""


def nothing_lives() -> Sequence[Record]:
    """Stand in for what a compaction keeps, where none happens."""
    return ()


class ForgetfulDisk:
    """Implements ``FileOps`` over real files, and remembers what is not synced.

    Args:
        cut_at: The number of the operation at which the power goes; None for never.
        is_forgetting_syncs: Answer syncs without doing them (a disk that lies).
    """

    def __init__(self, *, cut_at: int | None = None, is_forgetting_syncs: bool = False) -> None:
        self.cut_at = cut_at
        self.operations = 0
        self.sync_error: OSError | None = None
        self.write_error: OSError | None = None
        self.during_sync: Callable[[], None] | None = None
        self.syncs_before_hook = 0
        self._is_forgetting_syncs = is_forgetting_syncs
        self._paths: dict[int, Path] = {}
        self._versions: dict[str, dict[int, list[bytes]]] = {}

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        if self.write_error is not None:
            raise self.write_error
        path = self._path(descriptor)
        sectors = range(offset // SECTOR, -(-(offset + len(data)) // SECTOR))
        versions = self._versions.setdefault(path.name, {})
        for sector in sectors:
            if sector not in versions:
                versions[sector] = [os.pread(descriptor, SECTOR, sector * SECTOR)]
        os.pwrite(descriptor, data, offset)
        for sector in sectors:
            versions[sector].append(os.pread(descriptor, SECTOR, sector * SECTOR))
        self._count()

    def sync(self, descriptor: int) -> None:
        self._count()
        if self.sync_error is not None:
            raise self.sync_error
        versions = self._versions.setdefault(self._path(descriptor).name, {})
        at_start = {sector: len(known) - 1 for sector, known in versions.items()}
        if self.during_sync is not None:
            self.syncs_before_hook -= 1
            if self.syncs_before_hook < 0:
                hook, self.during_sync = self.during_sync, None
                hook()
        if self._is_forgetting_syncs:
            return
        for sector, first in at_start.items():
            # What was overwritten while it was being written may be either on the platter.
            del versions[sector][:first]
            if len(versions[sector]) == 1:
                del versions[sector]

    def _count(self) -> None:
        self.operations += 1
        if self.operations == self.cut_at:
            raise PowerCut

    def _path(self, descriptor: int) -> Path:
        inode = os.fstat(descriptor).st_ino
        if inode not in self._paths:
            self._paths[inode] = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        return self._paths[inode]

    def after_power_cut(self, latch: Path, target: Path, rng: random.Random) -> Path:
        """Return a copy of the state directory as a power cut now might leave it."""
        copy = target / latch.name
        target.mkdir(mode=0o700)
        copy.mkdir(mode=0o700)
        marker = latch.parent / "install.json"
        (target / marker.name).write_bytes(marker.read_bytes())
        for path in latch.iterdir():
            content = bytearray(path.read_bytes())
            for sector, known in self._versions.get(path.name, {}).items():
                content[sector * SECTOR : (sector + 1) * SECTOR] = rng.choice(known)
            (copy / path.name).write_bytes(content)
            (copy / path.name).chmod(0o600)
        return copy


def make_latch(state: Path, **options: object) -> LatchWriter:
    """Return the writer of a fresh, small latch in *state*/latch."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {"half_bytes": SMALL_HALF, "boot_id": BOOT, **options}
    return LatchWriter.initialise(state / "latch", **options)  # type: ignore[arg-type]


def record(epoch: int, payload: bytes = b'{"v":1}', kind: int = 1) -> Record:
    """Return a record of no particular meaning."""
    return Record(kind, epoch, payload)
