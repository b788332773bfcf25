# SPDX-License-Identifier: Apache-2.0
"""Directories, sockets, storage: whether others could have prepared them, and whether they work."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar.doctor.result import CheckResult, Patient, failed, fine, from_error, warned
from sidecar.errors import HoldfastError
from sidecar.safe_paths import check_directory

__all__ = [
    "check_anchor",
    "check_config_file",
    "check_directories",
    "check_sockets",
    "check_storage",
]

_MAX_UNIX_PATH: Final = 107
_LOW_BYTES: Final = 64 * 1024 * 1024
_SCARCE_BYTES: Final = 1024 * 1024 * 1024
_OTHERS_WRITE: Final = 0o022


def check_config_file(patient: Patient, path: Path | None) -> Iterator[CheckResult]:
    """Nobody else may write the file that says where everything is."""
    if path is None:
        return
    try:
        found = path.lstat()
    except OSError:
        return
    if found.st_uid not in {0, os.geteuid()}:
        yield failed("settings file", f"{path} is owned by user {found.st_uid}", f"chown 0 {path}")
    elif found.st_mode & _OTHERS_WRITE:
        yield failed("settings file", f"{path} can be written by others", f"chmod go-w {path}")
    else:
        yield fine("settings file", str(path))


def check_directories(patient: Patient) -> Iterator[CheckResult]:
    """Directories and everything above them belong to us, and are as narrow as they must be."""
    layout = patient.layout
    owners = _owners(layout.control, layout.latch, *_below(layout.root / "gates"))
    wanted = [
        (layout.latch, 0o750),
        (layout.control, 0o700),
        (layout.local_socket.parent, 0o700),
        (layout.internal_socket.parent, 0o750),
        *((path, 0o700) for path in _below(layout.root / "gates")),
        *((path, 0o750) for path in _below(layout.agents)),
    ]
    problems = 0
    present = 0
    for path, mode in wanted:
        if not os.path.lexists(path):
            continue
        present += 1
        try:
            check_directory(path, mode=mode, owners=owners)
        except HoldfastError as exc:
            problems += 1
            yield from_error("directories", exc)
    if not present:
        yield warned(
            "directories",
            f"nothing is there yet under {layout.root}",
            "start control, or name the right place with --state-dir",
        )
    elif not problems:
        yield fine("directories", f"{present} of them, nobody else can write or enter")


def check_sockets(patient: Patient) -> Iterator[CheckResult]:
    """Socket paths fit, and sockets are sockets that only the right group can open."""
    layout = patient.layout
    for path in (layout.local_socket, layout.internal_socket):
        if len(os.fsencode(path)) > _MAX_UNIX_PATH:
            yield failed("sockets", f"{path} is longer than 107 bytes", "shorten runtime_dir")
            return
    problems = 0
    sockets = [
        (layout.local_socket, 0o600),
        (layout.internal_socket, 0o660),
        *((path / "guard.sock", 0o660) for path in _below(layout.agents)),
    ]
    seen = 0
    for path, mode in sockets:
        try:
            found = path.lstat()
        except OSError:
            continue
        seen += 1
        if not stat.S_ISSOCK(found.st_mode):
            problems += 1
            yield failed("sockets", f"{path} is no socket", "find out who made it, then remove it")
        elif stat.S_IMODE(found.st_mode) & ~mode:
            problems += 1
            shown = f"{stat.S_IMODE(found.st_mode):04o}"
            yield failed("sockets", f"{path} has mode {shown}", f"chmod {mode:04o} {path}")
    if seen and not problems:
        yield fine("sockets", f"{seen} of them, with the right permissions")


def check_storage(patient: Patient) -> Iterator[CheckResult]:
    """The state directory can be written durably and has room."""
    root = patient.settings.state_dir
    if not root.is_dir():
        yield warned("storage", f"{root} is not there yet", "control makes it when it starts")
        return
    try:
        with tempfile.TemporaryFile(dir=root) as probe:
            probe.write(b"holdfast")
            probe.flush()
            os.fsync(probe.fileno())
    except PermissionError:
        yield warned(
            "storage", f"this user cannot write {root}", "run doctor as root, or as control's user"
        )
    except OSError as exc:
        yield failed("storage", f"{root} cannot be written: {exc.strerror}", "repair the disk")
        return
    space = os.statvfs(root)
    free = space.f_bavail * space.f_frsize
    shown = f"{free // (1024 * 1024)} MiB free under {root}"
    if free < _LOW_BYTES or (space.f_files and not space.f_favail):
        yield failed("storage", shown, "make room: without it, no call that writes is allowed")
    elif free < _SCARCE_BYTES:
        yield warned("storage", shown, "make room soon: logs only grow")
    else:
        yield fine("storage", shown)


def check_anchor(patient: Patient) -> Iterator[CheckResult]:
    """Checkpoints are kept in a second place that the same hand does not reach."""
    anchor = patient.settings.anchor_file
    if anchor is None:
        if not patient.is_dev:
            yield warned(
                "anchor",
                "checkpoints are kept nowhere else: a log that is cut back looks whole",
                "set anchor_file to a file on another disk or share",
            )
        return
    try:
        same = anchor.parent.stat().st_dev == patient.settings.state_dir.stat().st_dev
    except OSError as exc:
        yield failed(
            "anchor", f"{anchor.parent}: {exc.strerror}", "mount it, or make the directory"
        )
        return
    if same:
        yield warned("anchor", f"{anchor} is on the disk of the log itself", "choose another disk")
    else:
        yield fine("anchor", str(anchor))


def _below(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError:
        return []


def _owners(*paths: Path) -> set[int]:
    """Return who owns *paths*: the users of control and gates, where root is not asked twice."""
    found = set()
    for path in paths:
        try:
            found.add(path.stat().st_uid)
        except OSError:
            continue
    return found
