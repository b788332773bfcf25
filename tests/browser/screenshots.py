# SPDX-License-Identifier: Apache-2.0
"""Takes pictures of the console's pages: ``python -m tests.browser.screenshots DIRECTORY [--all]``.

At the width of a phone and of a desk, in light and dark: ``<title>-<width>-<scheme>.png``.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.async_api import async_playwright

from tests.browser.browser_kit import CHROMIUM_FLAGS, DESKTOP, PHONE, Tabs
from tests.browser.pages import MAIN, PAGES, demo

_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


async def take(directory: Path, titles: list[str]) -> None:
    """Take pictures of the pages *titles*."""
    directory.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium")
    if program is None:
        sys.exit("there is no chromium: install the Debian package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        async with demo(Tabs(browser)) as shown:
            for title in titles:
                page = await PAGES[title](shown)
                for size in (PHONE, DESKTOP):
                    for scheme in _SCHEMES:
                        await page.set_viewport_size(size)  # type: ignore[arg-type]
                        await page.emulate_media(color_scheme=scheme)
                        name = re.sub("[^a-z0-9]+", "-", title.lower())
                        path = directory / f"{name}-{size['width']}-{scheme}.png"
                        await page.screenshot(path=path, full_page=True)
                        print(path)
                await shown.tabs.release()
        await browser.close()


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description="Takes pictures of the console's pages.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--all", action="store_true", help="every page, not only the main ones")
    parser.add_argument("--only", default="", help="only pages whose title holds this")
    chosen = parser.parse_args()
    titles = [title for title in (PAGES if chosen.all else MAIN) if chosen.only in title]
    asyncio.run(take(chosen.directory, titles))


if __name__ == "__main__":
    main()
