# SPDX-License-Identifier: Apache-2.0
"""Brings a directory into the state in which a log can be written to it.

In this order: a private directory, the lock, an empty ``tmp/``, ``recovery`` (which reads only),
the outside holders, then the changes: the torn tail is cut, what is durable but unsigned gets its
checkpoint, and a fresh segment is started.

A segment that an earlier process wrote is never appended to: if its last sync had failed, its end
might be in the page cache only. What it held is in synced tiles before it is removed.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit.anchors import Anchor, AnchorFile
from sidecar.audit.entry import MAX_ENTRY_BYTES
from sidecar.audit.files import Files, prepare_directory
from sidecar.audit.head import HeadSigner
from sidecar.audit.integrator import Integrator
from sidecar.audit.note import CheckpointKey
from sidecar.audit.recovery import Recovered, check_holder, recover, verify_any
from sidecar.audit.tiles import TileReader
from sidecar.audit.wal import MAX_FRAME_PAYLOAD, MAX_SEGMENT_BYTES, WalWriter
from sidecar.errors import EnvironmentFailure, ErrorReason, IntegrityError

__all__ = ["LogLimits", "OpenedLog", "Recovery", "open_directory"]

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """What bounds a log; each name carries its unit."""

    checkpoint_interval_s: float = 1.0
    """Longest time that a durable entry waits for a checkpoint."""
    durable_timeout_s: float = 5.0
    """How long ``durable`` waits before it says ``NotDurableError``."""
    linger_s: float = 0.003
    """How long entries that nobody waits for may gather before they are committed."""
    integrate_every_s: float = 0.05
    """How long durable entries may gather before they go into the tree, unless somebody asks."""
    max_queue_bytes: int = 64 * 1024 * 1024
    """Entries in memory (not yet in the tree) beyond which ``append`` refuses."""
    max_segment_bytes: int = 16 * 1024 * 1024
    """Size at which a new segment of ``wal/`` is started."""

    def __post_init__(self) -> None:
        if not MAX_FRAME_PAYLOAD < self.max_segment_bytes <= MAX_SEGMENT_BYTES // 2:
            raise ValueError("max_segment_bytes is out of range")
        if self.max_queue_bytes < MAX_ENTRY_BYTES or self.durable_timeout_s <= 0:
            raise ValueError("max_queue_bytes or durable_timeout_s is too small")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What opening the log found."""

    is_new: bool
    size: int
    """Entries in the log after opening; the next one gets this number."""
    unsigned_entries: int
    """Durable entries that no checkpoint had covered yet; one covers them now."""
    torn_bytes: int
    """Bytes of a half-written frame that were cut off; nobody had been told they were durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedLog:
    """A directory that is locked, recovered and ready."""

    directory: Path
    recovery: Recovery
    wal: WalWriter
    integrator: Integrator
    lock_descriptor: int


def open_directory(
    directory: Path,
    *,
    files: Files,
    limits: LogLimits,
    keys: Sequence[CheckpointKey],
    signing_key: Ed25519PrivateKey,
    anchors: Sequence[Anchor],
    is_creation_allowed: bool,
) -> OpenedLog:
    """Open *directory* for the log that the first of *keys* names.

    Raises:
        IntegrityError: the directory holds what no crash leaves, or a holder knows better.
        EnvironmentFailure: the directory is unsafe, locked by another writer, or broken.
    """
    for anchor in anchors:
        if isinstance(anchor, AnchorFile) and anchor.path.absolute().is_relative_to(directory):
            raise ValueError("a holder of checkpoints must lie outside the log's directory")
    lock_descriptor = -1
    try:
        if not is_creation_allowed and not (directory / "checkpoint").exists():
            raise _missing(directory)
        for path in (directory, directory / "tmp", directory / "wal"):
            prepare_directory(files, path)
        lock_descriptor = _lock(directory, files)
        for path in (directory / "tmp").iterdir():
            files.unlink(path)
        found = recover(directory, origin=keys[0].name, keys=keys)
        holder_failures = _check_holders(directory, found, anchors, keys)
        signer = HeadSigner(
            directory,
            files=files,
            origin=keys[0].name,
            signing_key=signing_key,
            last=found.head,
        )
        integrator = Integrator(
            directory,
            files=files,
            signer=signer,
            edge=found.edge,
            latest=found.checkpoint,
            anchors=anchors,
        )
        integrator.anchor_failures.update(holder_failures)
        wal = _resume(directory, files, limits, found, integrator)
    except OSError as exc:
        _release(lock_descriptor)
        raise EnvironmentFailure(
            f"the audit log in {directory} cannot be opened: {exc.strerror or exc}",
            reason=ErrorReason.AUDIT_UNAVAILABLE,
            hint="check the disk under it: space, permissions, mount",
        ) from exc
    except BaseException:
        _release(lock_descriptor)
        raise
    recovery = Recovery(
        is_new=found.checkpoint is None,
        size=wal.seq,
        unsigned_entries=len(found.unsigned),
        torn_bytes=found.torn_bytes,
    )
    return OpenedLog(
        directory=directory,
        recovery=recovery,
        wal=wal,
        integrator=integrator,
        lock_descriptor=lock_descriptor,
    )


def _lock(directory: Path, files: Files) -> int:
    descriptor = files.open(directory / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise EnvironmentFailure(
            f"another process writes the audit log in {directory}",
            reason=ErrorReason.AUDIT_UNAVAILABLE,
            hint="stop it first; a log has one writer",
        ) from exc
    return descriptor


def _release(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _check_holders(
    directory: Path,
    found: Recovered,
    anchors: Sequence[Anchor],
    keys: Sequence[CheckpointKey],
) -> dict[str, str]:
    """Check that the log extends what each holder has; return the holders out of reach."""
    failures: dict[str, str] = {}
    reader = TileReader(directory, size=found.edge.size)
    for anchor in anchors:
        try:
            text = anchor.latest()
        except OSError as exc:
            failures[anchor.name] = str(exc)
            _LOGGER.warning("checkpoint holder unreachable", extra={"holder": anchor.name})
            continue
        if text is not None:
            check_holder(anchor.name, verify_any(text, keys=keys), reader=reader)
    return failures


def _resume(
    directory: Path, files: Files, limits: LogLimits, found: Recovered, integrator: Integrator
) -> WalWriter:
    if found.torn_segment is not None:
        _LOGGER.warning("torn tail of the audit log cut", extra={"torn_bytes": found.torn_bytes})
        descriptor = files.open(found.torn_segment, os.O_RDWR)
        try:
            files.truncate(descriptor, found.good_bytes)
            files.fsync(descriptor)
        finally:
            os.close(descriptor)
    integrator.add(found.unsigned)
    integrator.checkpoint(is_requested=True)
    wal = WalWriter(
        directory,
        files=files,
        max_segment_bytes=limits.max_segment_bytes,
        seq=integrator.size,
        chain=found.chain,
    )
    try:
        for path, _ in found.segments:
            if path != wal.path:
                files.unlink(path)
    except OSError:
        wal.close()
        raise
    return wal


def _missing(directory: Path) -> IntegrityError:
    return IntegrityError(
        f"there is no audit log in {directory}, though there must be one",
        hint="restore the directory; or initialise a new log if the loss is known",
    )
