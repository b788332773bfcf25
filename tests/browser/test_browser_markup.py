# SPDX-License-Identifier: Apache-2.0
"""Hostile text is text on every page of the console, and nothing of it runs (D14).

A page with hostile texts must be the page with harmless texts, element by element and attribute by
attribute; only the texts differ. That is stronger than looking for what ran: whatever a payload made
would be an element or an attribute more.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from markupsafe import Markup

from sidecar.approvals.values import Cause, Tier, Verdict
from sidecar.clock import ManualClock
from sidecar.containment.acks import GateItem, GateStanding
from sidecar.containment.isolation import IsolationItem, IsolationResult
from sidecar.containment.receipt import DirectiveState, Receipt
from sidecar.model import Directive, Level, Target, TargetKind, ToolClass
from sidecar.web import render
from sidecar.web.oidc import OidcConfig
from sidecar.web.ports import AgentView, LogReport, PolicyView, ToolUse, ToolView
from tests.browser.browser_kit import MEMORY, Elsewhere, Tab, Tabs, add_device, enrol, hold_document
from tests.browser.payloads import PAYLOADS, RUN
from tests.support.console import Console
from tests.support.console import console as serve
from tests.support.openid import FakeProvider
from tests.support.polling import eventually

_NS = 1_000_000_000


def harmless(text: str, salt: int) -> str:
    """Return *text* with every ASCII character that could mean something replaced, in equal length.

    White space and what is not ASCII stay: they decide where lines break and what becomes a chip.
    """
    letters, signs = "bcdfghjklmnpqrstvwxz", ".-_~"
    return "".join(
        char
        if not "!" <= char <= "~"
        else letters[(salt + place) % len(letters)]
        if char.isalpha()
        else str(salt % 10)
        if char.isdigit()
        else signs[salt % len(signs)]
        for place, char in enumerate(text)
    )


def numbered(texts: Sequence[str]) -> dict[str, str]:
    """Return *texts* by names that hold them, in their order whatever they are."""
    return {f"{place:03} {text}": text for place, text in enumerate(texts)}


_HARMLESS = tuple(harmless(text, salt) for salt, text in enumerate(PAYLOADS))


# -- every place where somebody's text comes to a page ------------------------------------------------


async def stage(console: Console, texts: Sequence[str]) -> dict[str, str]:
    """Put *texts* wherever the console takes a text; return the pages that show them, by title."""
    words = " ".join(text for text in texts if text.isprintable())
    typed = [text for text in texts if "\x00" not in text]  # arguments never hold U+0000
    odd = "".join(typed[::9])
    pages = {"agents": "/agents", "audit": "/audit", "directive": "/directives/40"}
    pages |= _stage_agents(console, texts)
    pages |= _stage_logs(console, texts)
    _stage_policies(console, texts)
    for text in typed[::3]:
        await console.ask(
            action="release",
            body={"reason": text},
            summary=f"{text} {typed[(typed.index(text) + 1) % len(typed)]}",
            reason=text,
        )
    first = await console.hold(arguments={"note": typed[1], **numbered(typed)}, agent="billing-bot")
    await console.vote(first, "bob", Verdict.REFUSE, words[:1000])
    gone = await console.hold(arguments={"note": typed[2]}, agent="billing-bot", reason=odd)
    await console.approvals.cancel(gone.id, Cause.CONTAINED, detail=odd)
    done = await console.ask(action="contain", body={"reason": odd}, summary=odd, reason=odd)
    await console.vote(done, "bob", reason=words[-1000:])
    await console.approvals.take(done.id)
    await console.approvals.finish(
        done.id, result=json.dumps({"all": list(typed), "by": numbered(typed)}), detail=odd
    )
    main = await console.hold(
        arguments={"note": typed[0], "list": list(typed), **numbered(typed)},
        reason=odd,
        owner=odd,
        session="s-1",
        policies=tuple(typed),
        tier=Tier.HIGH,
        is_passkey_needed=False,
    )
    names = " ".join(text for text in typed[::5] if text.isprintable())
    named = await hold_document(  # what names cannot be, in case they ever can
        console, {"agent": names, "session": names, "tool": names, "arguments": {}}, owner=odd
    )
    return pages | {
        "inbox": "/",
        "approval": f"/approvals/{main.id}",
        "named": f"/approvals/{named.id}",
        "refused": f"/approvals/{first.id}",
        "cancelled": f"/approvals/{gone.id}",
        "carried out": f"/approvals/{done.id}",
    }


def _stage_agents(console: Console, texts: Sequence[str]) -> dict[str, str]:
    odd = "".join(texts[::9])
    tools = tuple(
        ToolUse(
            tool=ToolView(
                tool=text,
                tool_class=ToolClass.WRITE,
                data_class=text,
                description=text,
                undo=text,
            ),
            call_count=len(texts) - place,
            hosts=(text,),
        )
        for place, text in enumerate(texts)
    )
    console.fleet.tools["payments.refund"] = replace(
        tools[0].tool, tool="payments.refund", description=odd, undo=odd, data_class=odd
    )
    directives = tuple(
        Directive(
            epoch=40,
            target=Target(kind=TargetKind.AGENT, agent=text),
            level=Level.KILL,
            reason=text,
            author=text,
            create_time_ns=_NS,
            request_id=text,
        )
        for text in texts
    )
    base = AgentView(
        agent="billing-bot",
        owner=odd,
        groups=tuple(texts),
        labels=numbered(texts),
        gates=tuple(texts),
        identity=odd,
        host=odd,
        level=Level.KILL,
        directives=directives,
        effects={"ALLOW": 1},
        tools=tools,
        tokens=tuple((text, text) for text in texts),
    )
    console.fleet.known["billing-bot"] = base
    for name, text in numbered(texts).items():
        console.fleet.known[name] = AgentView(agent=name, owner=text, gates=(text,), level=None)
    console.containment.receipts[40] = Receipt(
        directive=directives[0],
        state=DirectiveState.ACTIVE,
        is_durable=True,
        agents=tuple(texts),
        gates=tuple(
            GateItem(gate=text, standing=GateStanding.LAGGARD, applied_epoch=3) for text in texts
        ),
        isolation=tuple(
            IsolationItem(driver=text, subject=text, result=IsolationResult.TERMINATED, detail=text)
            for text in texts
        ),
        log_index=1,
        checkpoint="",
        issue_time_ns=_NS,
        key_id="k",
    )
    unlikely = next(
        name
        for name, text in numbered(texts).items()
        if name > "060" and "/" not in text and text.isprintable()
    )
    return {
        "agent": "/agents/billing-bot",
        "agent of an impossible name": f"/agents/{quote(unlikely, safe='')}",
    }


def _stage_logs(console: Console, texts: Sequence[str]) -> dict[str, str]:
    names = ("kind", "agent", "tool", "effect", "decision_id", "origin")
    for start in range(0, len(texts), len(names)):
        chosen = dict(zip(names, texts[start:], strict=False))
        more = dict(zip(("time", "x", "y"), texts[start:], strict=False))
        console.logs.add("control", reasons=[chosen["kind"]], **more, **chosen)
    for text in texts[::30]:
        console.logs.add(
            "gate-1",
            kind="decision",
            agent="billing-bot",
            session="s-1",
            tool=text,
            effect="ALLOW",
            time=text,
            reasons=[text],
            decision_id=text,
        )
    console.logs.add(
        "gate-1",
        kind="decision",
        time="".join(texts[::9]),
        decision_id="dec_1",
        agent="".join(texts[::9]),
        tool="".join(texts[::9]),
        effect="DENY",
        reasons=list(texts),
        policies=list(texts),
        policy_digest="other",
        arguments={"list": [{text: text} for text in texts]},
        **numbered(texts),
    )
    console.logs.add(
        "gate-1", decision_id="dec_1", **dict(zip(("kind", "time"), texts, strict=False))
    )
    console.logs.reports = [LogReport(log=text, is_ok=False, size=1, detail=text) for text in texts]
    return {"decision": "/decisions/dec_1"}


def _stage_policies(console: Console, texts: Sequence[str]) -> None:
    for name, text in numbered(texts).items():
        console.explain.policies[name] = PolicyView(
            id=text,
            file=text,
            line=1,
            effect="permit",
            text=text,
            annotations={text: text},
            error=text,
        )
    console.explain.reads = tuple(texts)


# -- what a page is, apart from its texts --------------------------------------------------------

_LOOK = """() => {
  const shape = [], cells = [], addresses = [];
  const asked = ["href", "src", "action", "formaction", "data", "xlink:href", "srcset", "poster",
    "background", "ping", "cite", "manifest", "srcdoc"];
  const walk = (element, depth) => {
    const names = [...element.attributes].map((item) => item.name).sort();
    const kind = element.getAttribute("class") || "";
    const line = `${element.namespaceURI.slice(-5)} ${element.tagName} .${kind} [${names}]`;
    if (element.closest(".line > code") && element.tagName !== "CODE") cells.push(line);
    else shape.push(`${"  ".repeat(depth)}${line}`);
    for (const name of asked) {
      if (!element.hasAttribute(name)) continue;
      const url = new URL(element.getAttribute(name), document.baseURI);
      if (url.origin !== location.origin) addresses.push(`${name} ${url}`);
    }
    for (const child of element.children) walk(child, depth + 1);
    if (element instanceof HTMLTemplateElement) walk(element.content.firstElementChild, depth + 1);
  };
  walk(document.documentElement, 0);
  return { shape, cells: [...new Set(cells)].sort(), addresses, pwned: window.pwned ?? null };
}"""

_CELLS = {
    f"xhtml SPAN .{kind} [class]" for kind in ("mark", "key", "text", "number", "word", "escape")
} | {"xhtml SPAN .chip [class,title]"}


@dataclass(frozen=True)
class Look:
    """A page without its texts, and what came of it."""

    shape: list[str]
    cells: list[str]
    addresses: list[str]
    pwned: Any


async def look(tab: Tab) -> Look:
    """Return what the page in *tab* is."""
    return Look(**await tab.page.evaluate(_LOOK))


async def check(tab: Tab, title: str, expected: Look) -> None:
    """Check that the page in *tab* is *expected*, that nothing ran and nothing was asked for."""
    found = await look(tab)
    differences = [
        pair for pair in zip(expected.shape, found.shape, strict=False) if pair[0] != pair[1]
    ]
    assert differences[:1] == [], title
    assert len(found.shape) == len(expected.shape), title
    assert set(found.cells) <= _CELLS, title
    assert found.addresses == [], title
    assert found.pwned is None, title
    assert tab.dialogs == [], title
    assert await tab.refusals() == [], title
    assert [item for item in tab.complaints if "Failed to load resource" not in item] == [], title


@dataclass
class Pair:
    """Two consoles: one full of hostile texts, one of harmless ones; with Alice in front of both."""

    hostile: Console
    plain: Console
    hostile_tab: Tab
    plain_tab: Tab
    pages: dict[str, tuple[str, str]]

    def assert_local(self) -> None:
        """Check that the hostile pages asked for nothing elsewhere."""
        assert {
            url for url in self.hostile_tab.requests if not url.startswith(self.hostile.url)
        } == set()


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tabs: Tabs, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Both, filled."""
    async with _serve() as hostile, _serve() as plain:
        found = await stage(hostile, PAYLOADS)
        expected = await stage(plain, _HARMLESS)
        yield Pair(
            hostile,
            plain,
            await tabs.open(hostile, "alice"),
            await tabs.open(plain, "alice"),
            {title: (found[title], expected[title]) for title in found},
        )
        await tabs.release()


@asynccontextmanager
async def _serve(**options: Any) -> AsyncIterator[Console]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        async with serve(clock=ManualClock(), directory=Path(place), **options) as running:
            yield running


async def test_d14_hostile_text_is_text_on_every_page(pair: Pair) -> None:
    """In arguments, names, reasons, policies, logs, receipts: no element, no attribute, no address."""
    for title, (hostile, plain) in pair.pages.items():
        await pair.plain_tab.page.goto(pair.plain.url + plain)
        await pair.hostile_tab.page.goto(pair.hostile.url + hostile)

        await check(pair.hostile_tab, title, await look(pair.plain_tab))

    for console, tab in ((pair.plain, pair.plain_tab), (pair.hostile, pair.hostile_tab)):
        await tab.page.goto(f"{console.url}/audit")
        await tab.page.get_by_role("button", name="Verify the logs").click()
        await tab.page.get_by_role("heading", name="A log does not verify").wait_for()
    await check(pair.hostile_tab, "verification", await look(pair.plain_tab))

    pair.assert_local()
    assert len(PAYLOADS) >= 200
    assert len(pair.pages) >= 12


async def test_d14_hostile_text_is_shown(pair: Pair) -> None:
    """Nothing is stripped either: what was typed stands there, as it was typed."""
    plain = [text for text in PAYLOADS if text.isascii() and text.isprintable()]
    await pair.hostile_tab.page.goto(f"{pair.hostile.url}/directives/40")

    text = await pair.hostile_tab.page.locator("main").inner_text()

    assert [item for item in plain if item.strip() not in text] == []
    assert len(plain) > 200


_FILL_IN = """([field, text]) => {
  const input = document.querySelector(field);
  input.maxLength = 1e6;
  input.value = text;
  for (const grant of document.querySelectorAll("[data-grant]")) {
    grant.disabled = false;
    grant.checked = true;
  }
}"""


async def _echo(console: Console, tabs: Tabs, texts: Sequence[str]) -> tuple[Tab, dict[str, Look]]:
    """Type *texts* where the console gives them back; return how the answers look."""
    held = await console.hold(arguments={"x": 1}, tier=Tier.HIGH)
    console.fleet.known["billing-bot"] = AgentView(agent="billing-bot")
    tab = await tabs.open(console, "alice")
    text = " ".join(text for text in texts if "\x00" not in text)
    looks = {}
    for path, field, form in (
        (f"/approvals/{held.id}", "#reason", "form.decision"),
        ("/agents/billing-bot", "#reason", "form.stack"),
        ("/login?fresh=1", "#name", "form[action$=options]"),
    ):
        await tab.page.goto(console.url + path)
        await tab.page.evaluate(_FILL_IN, [field, text])
        async with tab.page.expect_navigation():
            await tab.page.locator(form).evaluate(
                "form => HTMLFormElement.prototype.submit.call(form)"
            )
        assert text.startswith((await tab.page.locator(field).input_value())[:60])
        looks[form] = await look(tab)
    assert tab.dialogs == await tab.refusals() == []
    return tab, looks


async def test_d14_what_was_typed_comes_back_as_text(tabs: Tabs) -> None:
    """In the fields of a vote, of an order and of the sign-in page, all payloads at once."""
    async with _serve() as hostile, _serve() as plain:
        _, found = await _echo(hostile, tabs, PAYLOADS)
        _, expected = await _echo(plain, tabs, _HARMLESS)
        await tabs.release()

    assert found == expected


_ADDRESSES = (
    "/audit?agent={}&tool={}&kind={}&decision_id={}&log={}&effect={}",
    "/{}/{}",
    "/approvals/{}",
    "/decisions/{}",
    "/agents/{}",
    "/directives/{}",
    "/enrol/{}",
    "/?before={}",
    "/login?fresh=1&next={}",
    "/login/oidc?provider={}",
    "/login/oidc/callback/{}?state={}&code={}&error={}&error_description={}",
    "/login/passkeys?next={}",
)


async def test_d14_hostile_addresses_are_text(console: Console, tabs: Tabs) -> None:
    """Whatever stands in an address comes back as text, or not at all."""
    tab = await tabs.open(console, "alice")
    for path in _ADDRESSES:
        count = path.count("{}")
        answers: list[tuple[int, Look]] = []
        for texts in (_HARMLESS, PAYLOADS):
            # a route takes neither slashes nor braces in one of its parts
            words = [re.sub("[/{}]", "|", " ".join(texts[place::7])) for place in range(count)]
            answer = await tab.page.goto(
                console.url + path.format(*(quote(word[: 420 // count], safe="") for word in words))
            )
            assert answer is not None
            answers.append((answer.status, await look(tab)))

        assert answers[0][0] == answers[1][0], path
        await check(tab, path, answers[0][1])


async def test_d14_a_passkeys_name_is_text(console: Console, tabs: Tabs) -> None:
    """People name their passkeys; the list shows the name to them and says it on its buttons."""
    tab = await tabs.open(console, "alice")
    device = await add_device(tab)
    names = [text for text in PAYLOADS if text.isprintable() and text.strip() == text][:60]
    kept = []
    for name in names[::20]:
        await enrol(tab, console, "alice", device=device, named=name)
        await device.forget()
        kept.append(name)
    await tab.page.goto(f"{console.url}/login/passkeys")

    text = await tab.page.locator("main").inner_text()

    assert [name for name in kept if name not in text] == []
    assert (await look(tab)).pwned is None
    assert await tab.refusals() == []
    assert await tab.page.locator("main :is(img, script, svg, iframe)").count() == 0


async def test_d14_what_a_provider_says_is_text(tabs: Tabs) -> None:
    """The subject of an OpenID provider and its name on the button, on the page for strangers."""
    hostile = '"><img/src=x/onerror=window.pwned=1>{{7*7}}'
    provider = FakeProvider(ManualClock(), subject=hostile)
    await provider.start()
    config = OidcConfig(
        issuer=provider.issuer, client_id="holdfast", label=f"IdP <script>{RUN}</script>"
    )
    async with _serve(oidc=[config]) as console:
        tab = await tabs.open()
        await tab.page.goto(f"{console.url}/login")
        assert await tab.page.locator("main script, main img").count() == 0
        await tab.page.get_by_role("link", name="Sign in with IdP").click()
        await tab.page.get_by_role("heading", name="You are not an operator here").wait_for()

        text = await tab.page.locator("main").inner_text()

        assert hostile in text
        assert await tab.page.locator("main :is(img, script)").count() == 0
        assert (await look(tab)).pwned is None
        await tabs.release()
    await provider.close()


# -- with a guard taken out ----------------------------------------------------------------------


async def _open_unescaped(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[Tab, Look]:
    """Open an approval whose arguments are put out as they are; return how it should look."""
    approval = await console.hold(
        arguments={f"{place:03}": text for place, text in enumerate(_LOUD)}, tier=Tier.LOW
    )
    tab = await tabs.open(console, "alice", **options)
    await tab.page.goto(f"{console.url}/approvals/{approval.id}")
    expected = await look(tab)
    monkeypatch.setattr(render, "escape", Markup)
    await tab.page.goto(f"{console.url}/approvals/{approval.id}")
    return tab, expected


_LOUD = (f"<img src=x onerror={RUN}>", f"<svg onload={RUN}>", "<b class='key'>x</b>")


async def test_d14_hostile_text_is_text_negative_control(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without escaping and without the policy, it runs; so these tests would see it."""
    tab, expected = await _open_unescaped(console, tabs, monkeypatch, bypass_csp=True)

    await tab.page.wait_for_function("window.pwned === 1")
    with pytest.raises(AssertionError):
        await check(tab, "unescaped", expected)


async def test_d14_the_policy_alone_is_enough(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without escaping, the page's policy lets nothing run; what it refused is told."""
    tab, expected = await _open_unescaped(console, tabs, monkeypatch)

    refusals = await eventually(tab.refusals)

    assert "script-src-attr inline" in refusals
    assert (await look(tab)).pwned is None
    with pytest.raises(AssertionError):
        await check(tab, "unescaped", expected)


_TRICKS = {
    "inline script": "add('script', {textContent: 'window.pwned = 1'})",
    "script of a string": "add('script', {src: 'data:text/javascript,window.pwned=1'})",
    "script from elsewhere": "add('script', {src: ELSEWHERE})",
    "event handler": "add('img', {src: 'x:'}).setAttribute('onerror', 'window.pwned = 1')",
    "javascript address": "add('a', {href: 'javascript:void(window.pwned = 1)'}).click()",
    "eval": "setTimeout(() => eval('window.pwned = 1'))",
    "markup from a string": "add('p', {innerHTML: '<img src=x: onerror=\"window.pwned = 1\">'})",
    "parsed document": "document.write('<script>window.pwned = 1</' + 'script>')",
    "style sheet": "(add('style', {textContent: ':root { --pwned: 1 }'}), mark('--pwned'))",
    "style attribute": "(document.documentElement.setAttribute('style', '--x: 1'), mark('--x'))",
    "frame": "add('iframe', {srcdoc: '<script>parent.pwned = 1</' + 'script>'})",
    "object": "add('object', {data: 'data:text/html,x', onload: () => { window.pwned = 1; }})",
    "image from elsewhere": "add('img', {onload: hit, src: ELSEWHERE})",
    "request to elsewhere": "fetch(ELSEWHERE, {mode: 'no-cors'}).then(hit)",
    "form to elsewhere": "add('form', {action: ELSEWHERE, method: 'post', target: '_blank'}).submit()",
    "base address": "(add('base', {href: ELSEWHERE}), document.baseURI === ELSEWHERE && hit())",
    "worker": "new Worker('data:text/javascript,0') && hit()",
}
_TRICK = """([trick, ELSEWHERE]) => {
  const script = document.createElement.bind(document);
  const add = (tag, given) => {
    const made = Object.assign(script(tag), given);
    document.body.append(made);
    return made;
  };
  const hit = () => { window.pwned = 1; };
  const mark = (name) => getComputedStyle(document.documentElement).getPropertyValue(name) && hit();
  try { TRICK; } catch (error) { return error.name; }
  return "";
}"""


async def _try_everything(
    console: Console, tabs: Tabs, elsewhere: Elsewhere, **options: Any
) -> dict[str, bool]:
    """Try every trick inside a page of the console; return which worked."""
    elsewhere.put("x", "")
    tab = await tabs.open(console, "alice", **options)
    worked = {}
    for name, trick in _TRICKS.items():
        before = len(elsewhere.hits)
        await tab.page.goto(f"{console.url}/agents")
        await tab.page.evaluate(
            _TRICK.replace("TRICK", trick), [name, elsewhere.url("x", is_same_site=True)]
        )
        result = await eventually(
            partial(_settled, tab, elsewhere, before), what=f"{name} was neither run nor refused"
        )
        worked[name] = result == "ran"
    return worked


async def _settled(tab: Tab, elsewhere: Elsewhere, before: int) -> str:
    """Return "ran", "refused", or nothing yet."""
    if len(elsewhere.hits) > before or await tab.page.evaluate("window.pwned === 1"):
        return "ran"
    return "refused" if await tab.refusals() else ""


async def test_d14_the_policy_refuses_what_an_injected_page_would_do(
    console: Console, tabs: Tabs, elsewhere: Elsewhere
) -> None:
    """Scripts, handlers, styles, frames, addresses elsewhere: refused, and told."""
    worked = await _try_everything(console, tabs, elsewhere)

    assert [name for name, has_worked in worked.items() if has_worked] == []
    assert len(worked) == len(_TRICKS)


async def test_d14_the_policy_negative_control(
    console: Console, tabs: Tabs, elsewhere: Elsewhere
) -> None:
    """The same tricks work where the browser ignores the policy."""
    worked = await _try_everything(console, tabs, elsewhere, bypass_csp=True)

    assert [name for name, has_worked in worked.items() if not has_worked] == []
