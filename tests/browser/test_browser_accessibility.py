# SPDX-License-Identifier: Apache-2.0
"""Every page against WCAG 2.2 AA, as far as machines can tell: axe-core, sizes, widths, names.

What axe reports depends on the width (layout) or on the scheme (colours). So everything is checked on
a phone in light and on a desk in dark, and what depends on colours in the two other pairs as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.browser_kit import DESKTOP, PHONE, Tabs
from tests.browser.pages import PAGES, Demo, demo
from tests.support.console import Console

_AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_BY_COLOUR = ["color-contrast", "link-in-text-block"]
_PAIRS = (
    (PHONE, "light", {"type": "tag", "values": _TAGS}),
    (PHONE, "dark", {"type": "rule", "values": _BY_COLOUR}),
    (DESKTOP, "light", {"type": "rule", "values": _BY_COLOUR}),
    (DESKTOP, "dark", {"type": "tag", "values": _TAGS}),
)
_RUN = """async (what) => {
  const found = await axe.run(document, { runOnly: what, resultTypes: ["violations"], iframes: false });
  return found.violations.map((item) => `${item.id}: ${item.help}: ` +
    item.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`)
      .join(" | "));
}"""


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, as it is injected."""
    if not _AXE.exists():
        pytest.skip("axe-core is not there: run npm ci in tests/browser (make test does)")
    return _AXE.read_text(encoding="utf-8")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def shown(all_tabs: Tabs) -> AsyncIterator[Demo]:
    """The demo, in tabs whose policy lets axe in."""
    async with demo(all_tabs, bypass_csp=True) as made:
        yield made


async def violations(page: Page, axe: str) -> dict[str, list[str]]:
    """Return what axe finds, by width and scheme."""
    await page.evaluate(axe)
    found = {}
    for size, scheme, what in _PAIRS:
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found[f"{size['width']} {scheme}"] = await page.evaluate(_RUN, what)
    return found


# Controls that are smaller than a finger, but for links inside a line of text, and what sticks out.
_MEASURE = """() => {
  const small = [];
  const wanted = "button, input:not([type=hidden]), select, textarea, summary, nav a, a.button, td a";
  for (const control of document.querySelectorAll(wanted)) {
    const box = (control.closest("label") || control).getBoundingClientRect();
    if (!control.checkVisibility() || !box.width) continue;
    if (box.height < 24 || box.width < 24) small.push(control.outerHTML.slice(0, 120));
  }
  return { small, width: document.documentElement.scrollWidth, lang: document.documentElement.lang,
    title: document.title, headings: document.querySelectorAll("h1").length,
    landmarks: document.querySelectorAll("main").length,
    ids: [...document.querySelectorAll("[id]")].map((item) => item.id) };
}"""


@pytest.mark.parametrize("title", PAGES)
async def test_a_page_is_accessible(shown: Demo, axe: str, title: str) -> None:
    """axe finds nothing; nothing needs sideways scrolling at 320 pixels; targets are large."""
    page = await PAGES[title](shown)

    found = await violations(page, axe)
    sizes: dict[str, Any] = {}
    for width in (320, 390, 1280):
        await page.set_viewport_size({"width": width, "height": 800})
        sizes[str(width)] = await page.evaluate(_MEASURE)
    await shown.tabs.release()

    assert {pair: items for pair, items in found.items() if items} == {}
    for width, size in sizes.items():
        assert size["width"] <= int(width), width
        assert size["small"] == [], width
    one = sizes["390"]
    assert (one["lang"], one["headings"], one["landmarks"]) == ("en", 1, 1)
    assert one["title"].endswith("Holdfast")
    assert len(one["ids"]) == len(set(one["ids"]))


async def test_a_page_is_accessible_negative_control(shown: Demo, axe: str) -> None:
    """What axe and the measuring are there for, they find: spoilt contrast, names, sizes, widths."""
    page = await PAGES["approval, medium"](shown)
    await page.add_style_tag(
        content=".hint { color: #bbb !important; } .choice { min-width: 50rem; }"
    )
    await page.evaluate(
        """() => {
          document.querySelector("label[for=reason]").remove();
          document.documentElement.removeAttribute("lang");
          document.querySelector("button").style.cssText = "min-height: 0; height: 12px; padding: 0";
        }"""
    )

    found = await violations(page, axe)
    await page.set_viewport_size({"width": 320, "height": 800})
    size = await page.evaluate(_MEASURE)
    await shown.tabs.release()

    rules = {item.split(":")[0] for items in found.values() for item in items}
    assert {"color-contrast", "label", "html-has-lang"} <= rules
    assert size["small"]
    assert size["width"] > 320


async def test_titles_tell_pages_apart(shown: Demo) -> None:
    """Whoever has ten tabs open finds the right one."""
    titles = []
    for title in ("inbox", "approval, low", "agents", "agent", "audit", "login", "passkeys"):
        page = await PAGES[title](shown)
        titles.append(await page.title())
        await shown.tabs.release()

    assert len(set(titles)) == len(titles)


async def test_nothing_is_said_by_colour_alone(console: Console, tabs: Tabs) -> None:
    """Tier, state, verdict: each has a word and a shape, also where colours are forced."""
    await console.hold(arguments={"amount": 5})
    tab = await tabs.open(console, "alice", forced_colors="active")
    await tab.page.goto(console.url)

    badges = tab.page.locator(".badge")

    assert await badges.count() >= 2
    for index in range(await badges.count()):
        badge = badges.nth(index)
        assert (await badge.inner_text()).strip()
        await expect(badge.locator("svg")).to_have_attribute("aria-hidden", "true")
