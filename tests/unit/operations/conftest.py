# SPDX-License-Identifier: Apache-2.0
"""Fixtures for operations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.operations.operations_kit import Office


@pytest.fixture
def home() -> Iterator[Path]:
    """Where a control keeps its files: in memory if possible."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as base:
        state = Path(base) / "state"
        state.mkdir(mode=0o700)
        yield state


@pytest.fixture
def office(home: Path) -> Office:
    """A host with the default rules."""
    return Office(home)
