# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the passkey tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.clock import ManualClock
from tests.support.passkeys import PasskeyDesk


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
def desk(tmp_path: Path, clock: ManualClock) -> Iterator[PasskeyDesk]:
    """Passkeys over a store on disk."""
    made = PasskeyDesk(tmp_path / "passkeys.db", clock)
    yield made
    made.store.close()
