# SPDX-License-Identifier: Apache-2.0
"""What is decided on is what is seen: all of it, as it is, to its end (D15, D17, D18)."""

from __future__ import annotations

import sqlite3
import unicodedata
from hashlib import sha256
from typing import Any

import pytest
from playwright.async_api import expect

from sidecar.approvals import machine
from sidecar.approvals.values import Approval, ApprovalState, Tier
from sidecar.web import approval_pages, approval_view, pretty
from sidecar.web.text import Piece
from tests.browser.browser_kit import DESKTOP, Tab, Tabs, hold_document, record
from tests.support.console import Console

# -- D15: nothing is there that cannot be seen ---------------------------------------------------

_DISGUISES = {
    "override": "txt.\u202efdp.exe",
    "left override": "a\u202db",
    "embedding": "a\u202ab\u202bc\u202cd",
    "isolates": "\u2066a\u2067b\u2068c\u2069",
    "marks of direction": "a\u200eb\u200fc\u061cd",
    "zero width": "r\u200bm\u200c \u200d-\u2060rf\ufeff",
    "soft hyphen": "su\u00addo",
    "tags": "ok\U000e0072\U000e006d\U000e0020\U000e002f\U000e007f",
    "language tag": "a\U000e0001b",
    "variation": "a\ufe0fb\U000e0100c",
    "fillers": "a\u3164b\u115fc\uffa0d\u2800e",
    "joiner of graphemes": "a\u034fb",
    "spaces": "a\u00a0b\u2003c\u3000d\u202fe",
    "controls": "a\x1b[2Jb\x08c\x7fd\x9be",
    "breaks": "a\u2028b\u2029c\x85d\x0be\x0cf\rg",
    "no meaning": "a\ue000b\uffffc\U000f0000d",
    "flood of marks": "Z" + "\u0301\u0302\u0303\u0304" * 8 + "algo",
    "mark without a base": " \u0301x",
    "mixed alphabets": "p\u0430ypal.com",
    "disguised word": "\u0430\u0440\u0440\u04cf\u0435.com",
    "wide letters": "\uff43\uff55\uff52\uff4c",
    "mathematical letters": "\U0001d42b\U0001d426",
    "slashes": "example.com\u2215path\u2044x",
    "dots and colons": "example\u2024com\uff1a80\ua789x",
    "padding": "ls" + " " * 300 + "; rm -rf /",
    "line breaks": "ls" + "\n" * 300 + "; rm -rf /",
}
_EVERYDAY = "naïve café – “ok” Zürich 東京 Москва €5 שלום مرحبا 👍"


def _is_odd(char: str) -> bool:
    """Return whether a reader cannot see *char*, or cannot see where it stands."""
    if char in "\n\t ":
        return False
    return unicodedata.category(char) in ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Zs") or (
        char in "\u034f\u115f\u2800\u3164\ufe0f\uffa0\U000e0100"
    )


async def _open(tabs: Tabs, console: Console, approval: Approval, **options: Any) -> Tab:
    tab = await tabs.open(console, "alice", **options)
    await tab.page.goto(f"{console.url}/approvals/{approval.id}")
    return tab


# Where each character of the listing is painted; characters of one line that run backwards.
_BACKWARDS = """() => {
  const found = [];
  for (const code of document.querySelectorAll(".line > code")) {
    const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    let last = null;
    while (walker.nextNode()) {
      const node = walker.currentNode;
      for (let place = 0; place < node.length; place += 1) {
        const range = new Range();
        range.setStart(node, place);
        range.setEnd(node, place + 1);
        const box = range.getBoundingClientRect();
        if (!box.width) continue;
        const isSameRow = last && box.top < last.bottom - 4 && box.bottom > last.top + 4;
        if (isSameRow && box.left < last.left - 0.5) found.push(code.textContent);
        last = box;
      }
    }
  }
  return [...new Set(found)];
}"""


async def test_d15_what_cannot_be_seen_is_shown_as_a_mark(console: Console, tabs: Tabs) -> None:
    """In values and in names of arguments: a mark with the code point, where it stands; a banner."""
    values = {**_DISGUISES, **{text: name for name, text in _DISGUISES.items()}}
    approval = await console.hold(arguments=values)
    tab = await _open(tabs, console, approval, viewport=DESKTOP)

    listing = tab.page.locator(".listing")
    shown = await listing.locator("code").all_text_contents()
    chips = await listing.locator(".chip").all_text_contents()
    banner = await tab.page.locator(".notice.odd").inner_text()

    assert [text for text in shown if any(map(_is_odd, text))] == []
    for name, text in _DISGUISES.items():
        for char in {char for char in text if _is_odd(char)}:
            assert any(f"\\u{{{ord(char):04X}}}" in chip for chip in chips), (name, hex(ord(char)))
    for chip in ("\\u{202E}", "\\u{0430}", "\\u{2215}", "\\u{FF43}", "300 spaces", "\\n ×300"):
        assert chips.count(chip) >= 1, chip
    for words in ("reverse the reading direction", "invisible", "look like other ones", "piles of"):
        assert words in banner, words
    assert [char for char in await tab.page.content() if _is_odd(char)] == []
    assert await tab.page.evaluate(_BACKWARDS) == []


async def test_d15_what_cannot_be_seen_negative_control(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it put out as it is, it would be in the page and letters would run backwards."""
    monkeypatch.setattr(pretty, "pieces", lambda text: (Piece(text, text),))
    approval = await console.hold(arguments={"file": _DISGUISES["override"]})
    tab = await _open(tabs, console, approval, viewport=DESKTOP)

    backwards = await tab.page.evaluate(_BACKWARDS)

    assert len(backwards) == 1
    assert "\u202e" in backwards[0]


async def test_d15_what_is_copied_holds_nothing_invisible(console: Console, tabs: Tabs) -> None:
    """Who copies what is shown pastes what was shown, also into a shell."""
    approval = await console.hold(arguments=_DISGUISES)
    tab = await _open(tabs, console, approval)
    await tab.context.grant_permissions(["clipboard-read", "clipboard-write"])

    await tab.page.locator(".lines").evaluate("list => getSelection().selectAllChildren(list)")
    await tab.page.keyboard.press("Control+c")
    text = await tab.page.evaluate("navigator.clipboard.readText()")

    assert "txt.\\u{202E}fdp.exe" in text
    assert "rm -rf /" in text
    assert [char for char in text if _is_odd(char)] == []


async def test_d15_everyday_text_is_left_alone(console: Console, tabs: Tabs) -> None:
    """Other alphabets and punctuation are read as they are; nobody learns to ignore the banner."""
    approval = await console.hold(arguments={"note": _EVERYDAY})
    tab = await _open(tabs, console, approval)

    text = await tab.page.locator(".listing").inner_text()

    assert _EVERYDAY in text
    assert await tab.page.locator(".notice.odd, .listing .chip").count() == 0


async def test_d15_a_name_and_its_value_do_not_change_places(console: Console, tabs: Tabs) -> None:
    """Letters that are read from right to left order what is inside a text, not what is around it."""
    approval = await console.hold(arguments={"\u05de\u05e7\u05d5\u05e8": "\u05d9\u05e2\u05d3"})
    tab = await _open(tabs, console, approval)

    line = tab.page.locator(".line", has_text="\u05d9\u05e2\u05d3")
    name = await line.locator(".key").bounding_box()
    value = await line.locator(".text").bounding_box()

    assert name is not None
    assert value is not None
    assert name["x"] + name["width"] <= value["x"] + 1


# -- D17: nothing is granted that was not shown to its end ----------------------------------------

_TAIL = "; rm -rf /srv/data"
_PADDED = {
    "letters": "true " + "x" * 1_000_000 + _TAIL,
    "words": "true " + "ls -la /tmp; " * 80_000 + _TAIL,
    "spaces": "true " + " " * 1_000_000 + _TAIL,
    "lines": "true\n" + "\n" * 400_000 + _TAIL,
    "marks": "true " + "\u200b" * 300_000 + _TAIL,
}
_GRANT = "input[value=grant]"
_READ = "input[name=read]"
_SUBMIT = "form.decision button[type=submit]"


@pytest.mark.parametrize("padding", _PADDED)
async def test_d17_the_tail_of_a_megabyte_is_reachable(
    console: Console, tabs: Tabs, padding: str
) -> None:
    """The grant waits until the end was on the screen; the tail is there, and hashed with the rest."""
    approval = await hold_document(console, {"arguments": {"cmd": _PADDED[padding]}}, tier=Tier.LOW)
    tab = await _open(tabs, console, approval)
    page = tab.page
    await expect(page.locator(_GRANT)).to_be_disabled()
    await expect(page.locator(_READ)).to_be_disabled()
    await expect(page.locator(_SUBMIT)).to_be_enabled()  # refusing needs no reading

    await page.locator("[data-end]").scroll_into_view_if_needed()
    await page.locator(_GRANT).check()
    await expect(page.locator(_SUBMIT)).to_be_disabled()
    await page.locator(_READ).check()
    await expect(page.locator(_SUBMIT)).to_be_enabled()

    end = await page.locator(".line", has_text=_TAIL).inner_text()
    assert end.endswith(f'{_TAIL}"')
    assert approval.request.fingerprint in await page.locator("[data-end]").inner_text()
    if padding in ("letters", "words"):
        assert sha256((await _canonical(tab)).encode()).hexdigest() == approval.request.fingerprint
    else:
        assert await page.locator(".listing").evaluate("it => it.textContent.length") < 1000


async def _canonical(tab: Tab) -> str:
    """Return the canonical text that the listing of *tab* shows, which holds no marks."""
    cells: list[list[str]] = await tab.page.locator(".line code > span").evaluate_all(
        "cells => cells.map((cell) => [cell.className, cell.textContent])"
    )
    return "".join(":" if cell == ["mark", ": "] else cell[1] for cell in cells)


async def test_d17_without_scripts_the_box_is_asked_for(console: Console, tabs: Tabs) -> None:
    """Without scripts nobody knows what was on the screen, so a human must say it."""
    approval = await hold_document(console, {"arguments": {"cmd": _PADDED["words"]}}, tier=Tier.LOW)
    tab = await _open(tabs, console, approval, java_script_enabled=False)
    page = tab.page

    await page.locator(_GRANT).check()
    await page.locator(_SUBMIT).click()
    first = await page.locator("#read-error").inner_text()
    state = (await console.approvals.get(approval.id)).state
    await page.locator(_READ).check()
    await page.locator(_SUBMIT).click()
    await page.get_by_role("heading", name="Your decision is recorded").wait_for()

    assert "read all of it" in first
    assert state is ApprovalState.PENDING
    assert (await console.approvals.get(approval.id)).state is ApprovalState.GRANTED


@pytest.mark.parametrize(
    ("arguments", "tier", "is_asked"),
    [
        ({"cmd": "x" * 8_000}, Tier.LOW, False),
        ({"cmd": "x" * 8_300}, Tier.LOW, True),
        ({"cmd": "x\n" * 40}, Tier.MEDIUM, False),
        ({"cmd": "x\n" * 70}, Tier.MEDIUM, True),
        ({"cmd": "x"}, Tier.MEDIUM, False),
        ({"cmd": "x"}, Tier.HIGH, True),
    ],
)
async def test_d17_what_is_long_or_risky_is_read_first(
    console: Console, tabs: Tabs, arguments: dict[str, str], tier: Tier, is_asked: bool
) -> None:
    """More than 8 KiB or 60 lines at any tier, and everything from HIGH."""
    approval = await console.hold(arguments=arguments, tier=tier)
    tab = await tabs.open(console, "alice", java_script_enabled=False)

    await tab.page.goto(f"{console.url}/approvals/{approval.id}")

    assert (await tab.page.locator(_READ).count() == 1) == is_asked


async def test_d17_what_is_long_is_read_first_negative_control(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the gate, a megabyte is granted by somebody who saw its first screen."""
    monkeypatch.setattr(approval_view, "must_read_to_end", lambda *_: False)
    approval = await hold_document(console, {"arguments": {"cmd": _PADDED["words"]}}, tier=Tier.LOW)
    tab = await _open(tabs, console, approval)

    await tab.page.locator(_GRANT).check()
    await tab.page.locator(_SUBMIT).click()
    await tab.page.get_by_role("heading", name="Your decision is recorded").wait_for()

    assert (await console.approvals.get(approval.id)).state is ApprovalState.GRANTED


# -- D18: what is signed is what was shown -------------------------------------------------------


async def _grant(tab: Tab) -> None:
    """Choose Grant and press the button."""
    await tab.page.locator(_GRANT).check()
    async with tab.page.expect_navigation():
        await tab.page.locator(_SUBMIT).click()


async def test_d18_a_form_with_another_fingerprint_grants_nothing(
    console: Console, tabs: Tabs
) -> None:
    """Whoever changes the form's fingerprint, by one digit or to another request's, is refused."""
    approval = await console.hold(arguments={"amount": 5})
    other = await console.hold(arguments={"amount": 5000})
    real = approval.request.fingerprint
    tab = await tabs.open(console, "alice")
    before = await record(console)

    for wrong in (
        real[:-1] + ("0" if real[-1] != "0" else "1"),
        other.request.fingerprint,
        "",
        real[:16],
    ):
        await tab.page.goto(f"{console.url}/approvals/{approval.id}")
        await tab.page.locator("input[name=fingerprint]").evaluate(
            "(field, text) => { field.value = text; }", wrong
        )
        await _grant(tab)
        await expect(tab.page.get_by_role("alert")).to_contain_text("Your vote was not counted")

    after = await record(console)
    assert after["approvals"] == before["approvals"]


async def test_d18_two_requests_that_change_places_grant_nothing(
    console: Console, tabs: Tabs
) -> None:
    """Between showing and sending, the address leads to another request: what was shown counts."""
    harmless = await console.hold(arguments={"amount": 5})
    harmful = await console.hold(arguments={"amount": 5000})
    tab = await _open(tabs, console, harmless)
    before = await record(console)

    await tab.page.locator("form.decision").evaluate(
        "(form, path) => { form.action = path; }", f"/approvals/{harmful.id}/decision"
    )
    await _grant(tab)
    by_browser = await tab.page.get_by_role("alert").first.inner_text()
    await tab.page.goto(f"{console.url}/approvals/{harmless.id}")
    get = console.desk.get
    console.desk.get = lambda approval_id: get(  # type: ignore[attr-defined]
        harmful.id if approval_id == harmless.id else approval_id
    )
    await _grant(tab)
    by_server = await tab.page.get_by_role("alert").first.inner_text()

    assert "not counted" in by_browser
    assert "not counted" in by_server
    assert "5000" in await tab.page.locator(".listing").inner_text()
    assert (await record(console))["approvals"] == before["approvals"]


async def test_d18_a_form_with_another_fingerprint_negative_control(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If fingerprints were not compared, the harmful request would be granted."""
    harmless = await console.hold(arguments={"amount": 5})
    harmful = await console.hold(arguments={"amount": 5000})
    monkeypatch.setattr(machine.hmac, "compare_digest", lambda *_: True)
    tab = await _open(tabs, console, harmless)

    await tab.page.locator("form.decision").evaluate(
        "(form, path) => { form.action = path; }", f"/approvals/{harmful.id}/decision"
    )
    await _grant(tab)

    assert (await console.approvals.get(harmful.id)).state is ApprovalState.GRANTED


async def _spoil(console: Console, approval: Approval) -> None:
    """Change the stored bytes of *approval* behind everybody's back."""
    changed = approval.request.canonical.replace(b"5000", b"0005")
    assert changed != approval.request.canonical
    with sqlite3.connect(console.store._path) as connection:
        connection.execute(
            "UPDATE approvals SET canonical = ? WHERE id = ?", (changed, approval.id)
        )
    connection.close()


async def test_d18_bytes_that_do_not_hash_are_not_shown(console: Console, tabs: Tabs) -> None:
    """A store that was changed: no text, no form, and a form from before decides nothing."""
    approval = await console.hold(arguments={"amount": 5000})
    tab = await _open(tabs, console, approval)
    other = await tabs.beside(tab.context)
    await _spoil(console, approval)
    before = await record(console)

    await other.page.goto(f"{console.url}/approvals/{approval.id}")
    text = await other.page.locator("main").inner_text()
    forms = await other.page.locator("main form").count()
    await _grant(tab)

    assert "does not hash to its fingerprint" in text
    assert "0005" not in text
    assert forms == 0
    assert "does not hash to its fingerprint" in await tab.page.locator("main").inner_text()
    assert await record(console) == before


async def test_d18_bytes_that_do_not_hash_negative_control(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nobody hashed the bytes, people would grant one thing and be shown another."""
    for place in (approval_pages, approval_view):
        monkeypatch.setattr(place, "is_genuine", lambda _: True)
    approval = await console.hold(arguments={"amount": 5000})
    await _spoil(console, approval)
    tab = await _open(tabs, console, approval)

    shown = await tab.page.locator(".listing").inner_text()
    await _grant(tab)

    assert "0005" in shown
    assert (await console.approvals.get(approval.id)).state is ApprovalState.GRANTED
