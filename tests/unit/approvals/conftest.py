# SPDX-License-Identifier: Apache-2.0
"""Fixtures for approvals."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.unit.approvals.approvals_kit import Host

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture
def place() -> Iterator[Path]:
    """Where a store can be made: in memory if possible, for these tests do not cut the power."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as base:
        yield Path(base) / "approvals.db"


@pytest.fixture
async def host(place: Path) -> AsyncIterator[Host]:
    """A service that has been started."""
    made = Host(place)
    await made.approvals.start()
    yield made
    await made.close()
