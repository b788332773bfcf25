# SPDX-License-Identifier: Apache-2.0
"""Programs at the moment of use: the file that was decided on, or a local denial."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.sdk import Executable
from sidecar.sdk._executables import is_unchanged


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """Return a program."""
    path = tmp_path.resolve() / "tool"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    # Kernels may stamp changes with the time of their last tick: let the next one come.
    probe = tmp_path / "probe"
    while not probe.exists() or probe.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        probe.touch()
    return path


def identity(path: Path, *, is_pinned: bool) -> Executable:
    """Return what the gate says of the program *path*."""
    status = path.stat()
    return Executable(
        path=str(path),
        device=status.st_dev,
        inode=status.st_ino,
        change_time_ns=status.st_ctime_ns,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest() if is_pinned else "",
    )


def rewrite(path: Path) -> None:
    """On many file systems the new file gets the inode of the old one."""
    path.unlink()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def write_and_restore_times(path: Path) -> None:
    before = path.stat()
    path.write_text("#!/bin/zh\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def link_to_itself(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("is_pinned", [False, True])
@pytest.mark.parametrize(
    "attack", [rewrite, write_and_restore_times, link_to_itself, put_pipe, Path.unlink]
)
def test_a11_another_file_of_the_name_is_seen(
    tool: Path, attack: Callable[[Path], None], is_pinned: bool
) -> None:
    """Whatever takes the program's place, pinned or not, is not the program."""
    executable = identity(tool, is_pinned=is_pinned)
    assert is_unchanged(executable)

    attack(tool)

    assert not is_unchanged(executable)


@pytest.mark.parametrize(
    "change",
    [
        {"device": 0},
        {"inode": 2**64 - 1},
        {"change_time_ns": 0},
        {"sha256": "ab" * 32},
        {"sha256": "x"},
        {"path": ""},
        {"path": "tool"},
        {"path": "/nowhere\0"},
    ],
    ids=str,
)
def test_a11_every_part_of_the_identity_counts(tool: Path, change: dict[str, Any]) -> None:
    """One field that differs is another program; a path that is none raises nothing."""
    assert not is_unchanged(replace(identity(tool, is_pinned=True), **change))


def test_a11_negative_control(tool: Path) -> None:
    """Device and inode alone take a program that was written over for the same."""
    before = identity(tool, is_pinned=False)
    write_and_restore_times(tool)
    after = identity(tool, is_pinned=False)

    assert replace(after, change_time_ns=before.change_time_ns) == before
    assert not is_unchanged(before)
