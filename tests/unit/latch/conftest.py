# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the latch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.latch.writer import LatchWriter
from tests.unit.latch.latch_disk import make_latch


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A private state directory."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A directory in memory, where there is one, for tests that simulate the disk anyway."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture
def latch(state: Path) -> Path:
    """Where the latch lies."""
    return state / "latch"


@pytest.fixture
def writer(state: Path) -> Iterator[LatchWriter]:
    """The writer of a fresh latch."""
    writer = make_latch(state)
    yield writer
    writer.close()
