# SPDX-License-Identifier: Apache-2.0
"""Turns durable entries into tiles and checkpoints. Used by one thread; any exception is final.

The order in which a checkpoint reaches the disk (each step durable before the next):

1. entry bundles and hash tiles; then partial forms of tiles that are full now are removed;
2. the head that is about to be signed;
3. the signed checkpoint;
4. segments of ``wal/`` that it covers are removed;
5. outside holders get it.

A crash between any two leaves what ``recovery`` accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sidecar.audit.anchors import Anchor
from sidecar.audit.files import Files, make_directories, replace_file
from sidecar.audit.head import HeadSigner
from sidecar.audit.merkle import consistency_path, leaf_hash
from sidecar.audit.note import Checkpoint
from sidecar.audit.tiles import RightEdge, TileFile, TileReader
from sidecar.errors import HoldfastError

__all__ = ["Integrator"]


class Integrator:
    """The tree of one log, from the entries to the signed checkpoint."""

    def __init__(
        self,
        directory: Path,
        *,
        files: Files,
        signer: HeadSigner,
        edge: RightEdge,
        latest: Checkpoint | None,
        anchors: Sequence[Anchor] = (),
    ) -> None:
        self._directory = directory
        self._scratch = directory / "tmp"
        self._files = files
        self._signer = signer
        self._edge = edge
        self._latest = latest
        self._anchors = tuple(anchors)
        self._segments: list[tuple[Path, int]] = []
        self._unsynced: dict[Path, None] = {}
        self._filled: list[Path] = []
        self.anchor_failures: dict[str, str] = {}
        """Which outside holders failed last time, and how."""

    @property
    def size(self) -> int:
        """How many entries were added."""
        return self._edge.size

    @property
    def latest(self) -> Checkpoint | None:
        """The last checkpoint that was written."""
        return self._latest

    def add(self, entries: Sequence[bytes]) -> None:
        """Add *entries*, which are durable, to the tree; write the tiles that this fills.

        Writing them now leaves little to do when somebody asks for a checkpoint.
        """
        append = self._edge.append
        for entry in entries:
            append(entry, leaf_hash(entry))
        for file in self._edge.take_full():
            self._write(file)
            self._filled.append(self._directory / f"{file.path}.p")

    def close_segment(self, path: Path, end_seq: int) -> None:
        """Remember that the segment *path* ends before *end_seq* and gets no more frames."""
        self._segments.append((path, end_seq))

    def checkpoint(self, *, is_requested: bool) -> Checkpoint:
        """Return a checkpoint over everything added, durable and handed to the holders.

        Args:
            is_requested: Somebody asked for it; it is not just the regular one.

        Raises:
            OSError: the file system failed.
            IntegrityError: the tree does not extend the last signed head.
        """
        if self._latest is None or self._latest.size != self._edge.size:
            self._finish_tiles()
            self._latest = self._sign()
            self._drop_segments(self._latest.size)
        for anchor in self._anchors:
            self._publish(anchor, self._latest, is_requested=is_requested)
        return self._latest

    def _write(self, file: TileFile) -> None:
        path = self._directory / file.path
        make_directories(self._files, self._directory, path.parent)
        replace_file(self._files, scratch=self._scratch, path=path, data=file.data)
        self._unsynced[path.parent] = None

    def _finish_tiles(self) -> None:
        for file in self._edge.take_partial():
            self._write(file)
        for parent in self._unsynced:
            self._files.sync_directory(parent)
        self._unsynced.clear()
        for partials in self._filled:  # the full tiles are durable: their partial forms may go
            if partials.is_dir():
                for path in partials.iterdir():
                    self._files.unlink(path)
                self._files.rmdir(partials)
        self._filled.clear()

    def _sign(self) -> Checkpoint:
        last = self._signer.last
        reader = TileReader(self._directory, size=self._edge.size)  # what is on disk is signed
        checkpoint = self._signer.sign(
            size=self._edge.size,
            root=self._edge.root(),
            proof=consistency_path(reader.node, last.size, self._edge.size),
        )
        path = self._directory / "checkpoint"
        data = checkpoint.text.encode()
        replace_file(self._files, scratch=self._scratch, path=path, data=data)
        self._files.sync_directory(self._directory)
        return checkpoint

    def _drop_segments(self, size: int) -> None:
        """Remove closed segments that the checkpoint covers, oldest first."""
        while self._segments and self._segments[0][1] <= size:
            path, _ = self._segments.pop(0)
            self._files.unlink(path)

    def _publish(self, anchor: Anchor, checkpoint: Checkpoint, *, is_requested: bool) -> None:
        try:
            anchor.publish(checkpoint.text, is_requested=is_requested)
        except (OSError, HoldfastError) as exc:
            self.anchor_failures[anchor.name] = str(exc)
        else:
            self.anchor_failures.pop(anchor.name, None)
