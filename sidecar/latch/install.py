# SPDX-License-Identifier: Apache-2.0
"""The install marker: proof, beside the latch, that there has been one.

Without it an emptied state directory would look like a fresh host, and a fresh host knows no kills.
With it, a missing latch is a lost latch, and control starts denying everything.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure, ErrorReason

__all__ = ["MARKER", "marker_path", "read_marker", "sync_directory", "write_marker"]

MARKER: Final = "install.json"
_MAX_BYTES: Final = 4096
_ID_HEX: Final = 32


def marker_path(latch: Path) -> Path:
    """Return where the marker of the latch directory *latch* lies."""
    return latch.absolute().parent / MARKER


def read_marker(latch: Path) -> bytes | None:
    """Return the installation's id; None if there is no marker; empty if it cannot be read as one.

    Raises:
        EnvironmentFailure: LATCH_UNAVAILABLE, if nobody can say whether it is there.
    """
    path = marker_path(latch)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise EnvironmentFailure(
            f"{path} cannot be read: {exc.strerror}", reason=ErrorReason.LATCH_UNAVAILABLE
        ) from exc
    try:
        document = json.loads(content)
        text = document["install_id"] if isinstance(document, dict) else ""
        return bytes.fromhex(text) if len(text) == _ID_HEX else b""
    except (ValueError, KeyError, TypeError, RecursionError):
        return b""


def write_marker(latch: Path, install_id: bytes) -> None:
    """Make the marker durable.

    Raises:
        OSError: It is not.
    """
    path = marker_path(latch)
    content = json.dumps({"install_id": install_id.hex(), "latch": latch.name, "version": 1}) + "\n"
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(
        draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in the directory *path* durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
