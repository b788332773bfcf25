# SPDX-License-Identifier: Apache-2.0
"""Fixtures for containment."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def latch() -> Iterator[Path]:
    """Where a latch can be made: in memory if possible, for what a disk does is tested elsewhere."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as base:
        state = Path(base) / "state"
        state.mkdir(mode=0o700)
        yield state / "latch"
