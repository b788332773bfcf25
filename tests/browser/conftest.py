# SPDX-License-Identifier: Apache-2.0
"""One Chromium for all of these tests, a console of its own for each, and somebody else's server.

A browser belongs to the event loop that started it, so all of these tests run in one loop, the
session's; fixtures of this folder are made in it too.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from sidecar.clock import ManualClock
from tests.browser.browser_kit import CHROMIUM_FLAGS, MEMORY, Elsewhere, Tabs
from tests.support.console import Console
from tests.support.console import console as serve

_HERE = Path(__file__).parent
# A browser that has simulated many authenticators stops answering for new ones: these get their own.
_WITH_DEVICES = {"test_browser_passkeys.py", "test_browser_whole_host.py"}
Launch = Callable[[], Awaitable[Browser]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is in this folder in the session's loop."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def launch() -> AsyncIterator[Launch]:
    """Starts browsers."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip(
            "there is no chromium: install the Debian package chromium (as root, make test does)"
        )
    async with async_playwright() as playwright:
        yield lambda: playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(launch: Launch) -> AsyncIterator[Browser]:
    """The browser."""
    browser = await launch()
    yield browser
    await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def all_tabs(chromium: Browser) -> AsyncIterator[Tabs]:
    """Every profile of the session."""
    made = Tabs(chromium)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tabs(
    request: pytest.FixtureRequest, launch: Launch, all_tabs: Tabs
) -> AsyncIterator[Tabs]:
    """Opens tabs, each in a profile that nobody else uses, and closes them."""
    if request.node.path.name in _WITH_DEVICES:
        browser = await launch()
        own = Tabs(browser)
        yield own
        await own.close()
        await browser.close()
        return
    yield all_tabs
    await all_tabs.release()


@pytest_asyncio.fixture(loop_scope="session")
async def console(launch: Launch) -> AsyncIterator[Console]:
    """A console whose clock moves only when told to; its stores lie in memory if possible."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        async with serve(clock=ManualClock(), directory=Path(place)) as running:
            yield running


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """Somebody else's server."""
    server = Elsewhere()
    await server.start()
    yield server
    await server.close()
