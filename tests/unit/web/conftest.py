# SPDX-License-Identifier: Apache-2.0
"""A console on loopback and a browser without a window."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from sidecar.clock import ManualClock
from tests.support.console import Console
from tests.support.console import console as serve
from tests.unit.web.web_kit import Browser

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture
async def console() -> AsyncIterator[Console]:
    """A console whose clock moves only when told to; its stores lie in memory if possible."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        async with serve(clock=ManualClock(), directory=Path(place)) as running:
            yield running


@pytest.fixture
async def browser(console: Console) -> AsyncIterator[Browser]:
    """Sends what a browser sends."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Browser(console, http)
