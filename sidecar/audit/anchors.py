# SPDX-License-Identifier: Apache-2.0
"""Holders of checkpoints outside the log's own directory.

Whoever can write the directory can cut the log back to an older state that is valid in itself; only
a checkpoint held elsewhere tells. Laws:

1. A holder only ever gains checkpoints; nothing it holds is removed or replaced.
2. A holder that fails never stops the log, but its failure shows in the log's health.
3. When the log opens, it must extend the newest checkpoint of every holder (``log`` checks this).

``AnchorFile`` is the simplest holder: one JSON object a line, ``{"checkpoint": "<note>"}``, on
another disk, a share, or a directory that another user owns.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Protocol

import orjson

from sidecar.audit.files import Files, OsFiles, read_regular, write_all
from sidecar.audit.note import MAX_NOTE_BYTES
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import EnvironmentFailure, ErrorReason, IntegrityError

__all__ = ["Anchor", "AnchorFile", "MemoryAnchor"]

_TAIL_BYTES: Final = 4 * MAX_NOTE_BYTES
_MAX_LIST_BYTES: Final = 1024 * 1024 * 1024


class Anchor(Protocol):
    """An outside holder of checkpoints."""

    @property
    def name(self) -> str:
        """What people call this holder."""

    def publish(self, checkpoint: str, *, is_requested: bool) -> None:
        """Hand over *checkpoint*; called from the log's own thread.

        Args:
            checkpoint: The note's text.
            is_requested: Somebody asked for this checkpoint (a receipt, a clean stop); a holder
                that thins out the regular ones keeps it.

        Raises:
            OSError, EnvironmentFailure: it could not be kept.
        """

    def latest(self) -> str | None:
        """Return the newest checkpoint held, or None.

        Raises:
            OSError, IntegrityError: the holder cannot be read.
        """


class AnchorFile:
    """An append-only list of checkpoints in a file elsewhere."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        min_interval_s: float = 60.0,
        files: Files | None = None,
    ) -> None:
        """Hold checkpoints in *path*.

        Args:
            path: The file; made with mode 0600 if it is missing.
            clock: Tells when the next regular checkpoint is due.
            min_interval_s: Regular checkpoints closer together than this are left out.
            files: The file system.
        """
        self.path = path
        self._clock = clock
        self._min_interval_ns = round(min_interval_s * NS_PER_SECOND)
        self._files = files or OsFiles()
        self._due_ns = 0

    @property
    def name(self) -> str:
        return f"file {self.path}"

    def publish(self, checkpoint: str, *, is_requested: bool) -> None:
        now = self._clock.boot_ns()
        if not is_requested and now < self._due_ns:
            return
        line = orjson.dumps({"checkpoint": checkpoint}) + b"\n"
        descriptor = self._files.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise EnvironmentFailure(
                    f"{self.path} is not a regular file", reason=ErrorReason.UNSAFE_PATH
                )
            if status.st_size and os.pread(descriptor, 1, status.st_size - 1) != b"\n":
                line = b"\n" + line  # a crash left half a line; it stays, and reads as damaged
            write_all(self._files, descriptor, line)
            self._files.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._due_ns = now + self._min_interval_ns

    def latest(self) -> str | None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).split(b"\n")
        for line in reversed(lines):
            checkpoint = _checkpoint_of(line)
            if checkpoint is not None:
                return checkpoint
        if size:
            raise IntegrityError(f"{self.path} holds no checkpoint")
        return None

    def all(self) -> list[str]:
        """Return every checkpoint held, oldest first; half lines are left out."""
        data = read_regular(self.path, max_bytes=_MAX_LIST_BYTES)
        found = (_checkpoint_of(line) for line in data.split(b"\n"))
        return [checkpoint for checkpoint in found if checkpoint is not None]


class MemoryAnchor:
    """A holder in memory; for tests, and for handing checkpoints on by other means."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self.held: list[str] = []

    @property
    def name(self) -> str:
        return self._name

    def publish(self, checkpoint: str, *, is_requested: bool) -> None:
        self.held.append(checkpoint)

    def latest(self) -> str | None:
        return self.held[-1] if self.held else None


def _checkpoint_of(line: bytes) -> str | None:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    checkpoint = document.get("checkpoint") if isinstance(document, dict) else None
    return checkpoint if isinstance(checkpoint, str) else None
