# SPDX-License-Identifier: Apache-2.0
"""Fixtures for containment."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def latch(tmp_path: Path) -> Path:
    """Where a latch can be made."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    return state / "latch"
