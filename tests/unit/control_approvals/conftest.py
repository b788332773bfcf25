# SPDX-License-Identifier: Apache-2.0
"""A control with approvals, in this loop."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.unit.control_approvals.approvals_rig import ApprovalsRig


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="hf-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def rig(short_dir: Path) -> AsyncIterator[ApprovalsRig]:
    """The rig, served on its own socket."""
    async with ApprovalsRig(short_dir) as rig:
        yield rig
