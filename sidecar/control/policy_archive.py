# SPDX-License-Identifier: Apache-2.0
"""Keeps the files of the bundle in force where only control can write.

The bundle's directory is written by people. At a start control must be able to compare what lies
there with what is in force, and to go on with the latter: so it keeps a copy of its own.

Laws:

1. A bundle is in the archive, durably, before the latch names it: a crash in between finds both.
2. What is read is what was named: a file whose content does not have the digest in its name counts
   as missing, and so does one that others could have written. The log says why.
3. The bundle that is in force is never removed for one that is only about to be.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from sidecar.errors import EnvironmentFailure, HoldfastError, IntegrityError
from sidecar.policy.bundle import MAX_BUNDLE_BYTES, Bundle, digest_of, load_bundle_from_files
from sidecar.safe_paths import ensure_private_directory, read_secret_file

__all__ = ["PolicyArchive"]

_VERSION: Final = 1
_MAX_BYTES: Final = 2 * MAX_BUNDLE_BYTES
"""Of one file: base64 makes four bytes of three."""
_NAME: Final = re.compile(r"([0-9a-f]{64})\.json", re.ASCII)
_OURS: Final = re.compile(r"[0-9a-f]{64}\.json(\.part)?", re.ASCII)
log = structlog.get_logger("holdfast.control")


class PolicyArchive:
    """The bundles in *directory*, one file each: the one in force and the one before it.

    Validating a bundle can take seconds: call it in a thread, not in an event loop.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(self, bundle: Bundle, *, in_force: str = "") -> None:
        """Keep *bundle*, and of the others the one whose digest is *in_force* (laws 1 and 3).

        Raises:
            EnvironmentFailure: It cannot be kept; what was there is there still.
        """
        ensure_private_directory(self.directory)
        path = self._path(bundle.digest)
        try:
            _write(path, _encoded(bundle.files))
        except OSError as exc:
            raise EnvironmentFailure(
                f"{path} cannot be written: {exc.strerror}",
                hint="the bundle in force has not changed; repair the storage and try again",
            ) from exc
        self._forget_others({bundle.digest, in_force})

    def holds(self, digest: str) -> bool:
        """Return whether the files of the bundle *digest* are here as they were saved."""
        return self._files(digest) is not None

    def load(self, digest: str) -> Bundle | None:
        """Return the bundle *digest*, or None if it is not here or not sound (law 2)."""
        files = self._files(digest)
        if files is None:
            return None
        try:
            return load_bundle_from_files(files)
        except HoldfastError as exc:
            _complain(self._path(digest), exc)
            return None

    def latest(self) -> str:
        """Return the digest that was saved last, sound or not; empty if there is none."""
        newest = (0, "")
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.directory):
                if match := _NAME.fullmatch(entry.name):
                    newest = max(newest, (entry.stat(follow_symlinks=False).st_mtime_ns, match[1]))
        return newest[1]

    def _path(self, digest: str) -> Path:
        return self.directory / f"{digest}.json"

    def _files(self, digest: str) -> Mapping[str, bytes] | None:
        path = self._path(digest)
        if not os.path.lexists(path):
            return None
        try:
            files = _decoded(read_secret_file(path, max_bytes=_MAX_BYTES))
            _require_digest(files, digest)
        except HoldfastError as exc:
            _complain(path, exc)
            return None
        return files

    def _forget_others(self, kept: set[str]) -> None:
        names = {self._path(digest).name for digest in kept}
        with suppress(OSError):  # one too many does no harm, and the next save tries again
            for entry in list(os.scandir(self.directory)):
                if _OURS.fullmatch(entry.name) and entry.name not in names:
                    Path(entry.path).unlink()


def _encoded(files: Mapping[str, bytes]) -> bytes:
    texts = {path: base64.b64encode(data).decode("ascii") for path, data in files.items()}
    return json.dumps({"v": _VERSION, "files": texts}, sort_keys=True).encode()


def _decoded(data: bytes) -> Mapping[str, bytes]:
    try:
        document = json.loads(data)
        if document["v"] != _VERSION:
            raise IntegrityError("it has a format that this version does not know")
        return {
            path: base64.b64decode(text, validate=True) for path, text in document["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise IntegrityError("it is no saved bundle") from exc


def _require_digest(files: Mapping[str, bytes], digest: str) -> None:
    found = digest_of(files)
    if found != digest:
        raise IntegrityError(f"its content has the digest {found}")


def _complain(path: Path, problem: HoldfastError) -> None:
    log.error("a saved bundle cannot be used", path=str(path), problem=str(problem))


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    for directory in (path.parent, path.parent.parent):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
