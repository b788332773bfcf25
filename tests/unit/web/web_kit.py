# SPDX-License-Identifier: Apache-2.0
"""A browser without a window: sends what a browser sends, and reads pages as a parser does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Final

import aiohttp

from sidecar.approvals.values import Approval
from tests.support.console import Console

__all__ = ["Browser", "Element", "Page", "decision_form", "parse"]

_VOID: Final = frozenset({"meta", "link", "input", "br", "hr", "img"})


@dataclass
class Element:
    """One element as a parser sees it."""

    tag: str
    attributes: dict[str, str | None]
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside, white space folded."""
        return " ".join("".join(self.texts).split())

    @property
    def classes(self) -> set[str]:
        return set((self.attributes.get("class") or "").split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.texts: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len(dict(attrs)) != len(attrs):
            self.problems.append(f"<{tag}> has an attribute twice")
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1].tag != tag:
            self.problems.append(f"</{tag}> closes nothing")
            return
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        for element in self.open[:64]:  # ours are never deeper; what is hostile may be
            element.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.problems.append("a comment")

    def unknown_decl(self, data: str) -> None:
        self.problems.append("a declaration")

    def handle_pi(self, data: str) -> None:
        self.problems.append("a processing instruction")


@dataclass
class Page:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: str
    elements: list[Element]
    text: str
    problems: list[str]

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Return the elements *tag* that have *attributes* (``class_`` as a whole word)."""
        return [
            item
            for item in self.elements
            if item.tag == tag
            and all(
                value in item.classes
                if name == "class_"
                else item.attributes.get(name.replace("_", "-")) == value
                for name, value in attributes.items()
            )
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        """Return the only such element."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, (tag, attributes, len(found))
        return found[0]

    def by_id(self, name: str) -> Element:
        """Return the element with that id."""
        found = [item for item in self.elements if item.attributes.get("id") == name]
        assert len(found) == 1, (name, len(found))
        return found[0]

    def form(self, action: str) -> dict[str, str]:
        """Return what the form with *action* would send as it stands, without its submit button."""
        self.one("form", action=action)
        start = next(
            index
            for index, item in enumerate(self.elements)
            if item.tag == "form" and item.attributes.get("action") == action
        )
        sent: dict[str, str] = {}
        for item in self.elements[start + 1 :]:
            if item.tag == "form":
                break
            name = item.attributes.get("name")
            if item.tag == "input" and name:
                is_choice = item.attributes.get("type") in ("radio", "checkbox")
                if not is_choice or "checked" in item.attributes:
                    sent[name] = item.attributes.get("value") or ""
            elif item.tag == "textarea" and name:
                sent[name] = "".join(item.texts).removeprefix("\n")
        return sent

    def json(self) -> Any:
        return json.loads(self.body)


def parse(body: str) -> _Reader:
    """Return what a parser finds in *body*."""
    reader = _Reader()
    reader.feed(body)
    reader.close()
    return reader


class Browser:
    """Makes requests as somebody who is signed in."""

    def __init__(self, console: Console, http: aiohttp.ClientSession) -> None:
        self.console = console
        self._http = http

    async def get(
        self, path: str, *, as_: str = "alice", headers: Mapping[str, str] | None = None
    ) -> Page:
        """Follow a link, as *as_*; as nobody if it is empty."""
        return await self.request("GET", path, as_=as_, headers=headers)

    async def post(
        self,
        path: str,
        form: Mapping[str, str],
        *,
        as_: str = "alice",
        headers: Mapping[str, str | None] | None = None,
    ) -> Page:
        """Send a form; the token of the session is put in unless it is there."""
        full = {"csrf": self.console.session(as_).csrf, **form} if as_ else dict(form)
        return await self.request("POST", path, as_=as_, headers=headers, data=full)

    async def request(
        self,
        method: str,
        path: str,
        *,
        as_: str = "alice",
        headers: Mapping[str, str | None] | None = None,
        data: Any = None,
    ) -> Page:
        """Send a request with the headers that a browser sends; None takes one away."""
        sent: dict[str, str | None] = dict(self.console.headers(as_)) if as_ else {}
        if method == "GET":
            sent.pop("Origin", None)
        sent |= {"Host": self.console.url.removeprefix("http://"), **(headers or {})}
        kept = {name: value for name, value in sent.items() if value is not None}
        url = self.console.url.replace("localhost", "127.0.0.1") + path
        async with self._http.request(
            method, url, headers=kept, data=data, allow_redirects=False
        ) as answer:
            body = (await answer.read()).decode("utf-8")
            is_page = answer.content_type == "text/html"
            reader = parse(body) if is_page else _Reader()
            return Page(
                answer.status,
                answer.headers.copy(),
                body,
                reader.elements,
                "".join(reader.texts),
                reader.problems + [f"<{item.tag}> is not closed" for item in reader.open],
            )

    async def decide(
        self, approval: Approval, verdict: str, *, as_: str = "alice", **changes: str
    ) -> Page:
        """Open the page of *approval*, fill in the form and send it."""
        form = await decision_form(self, approval, as_=as_)
        return await self.post(
            f"/approvals/{approval.id}/decision", {**form, "verdict": verdict, **changes}, as_=as_
        )


async def decision_form(
    browser: Browser, approval: Approval, *, as_: str = "alice"
) -> dict[str, str]:
    """Return the form on the page of *approval* as it comes."""
    page = await browser.get(f"/approvals/{approval.id}", as_=as_)
    return page.form(f"/approvals/{approval.id}/decision")
