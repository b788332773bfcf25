# SPDX-License-Identifier: Apache-2.0
"""Makes pages from templates.

Laws:

1. Everything is escaped: autoescape is on for every template, an undefined name is an error, and no
   template has a filter that turns it off. ``Markup`` comes from ``svg`` and from Jinja's own macros.
2. What cannot be seen is made visible, also where a template's author did not think of it: every
   ``str`` that a template puts out goes through ``text.plain_text`` first (``finalize``). Only
   ``exactly`` leaves one as it is: for pieces that were looked at already, and for fields that give
   a person back what they typed.
3. A page is made from one context, complete before the first byte is sent.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from sidecar.canonical import fingerprint_words
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.web.access import VISITOR
from sidecar.web.assets import Assets
from sidecar.web.config import ConsoleConfig
from sidecar.web.text import count_chips, explain_chips, pieces, plain_text

__all__ = ["Pages", "iso_text", "see_other", "span_text", "time_text", "wants_json"]

_TEMPLATES: Final = Path(__file__).parent / "templates"
_JSON: Final = "application/json"


class Pages:
    """The console's template environment. Fulfils ``loginports.PageRenderer``."""

    def __init__(self, config: ConsoleConfig, *, clock: Clock, assets: Assets) -> None:
        self.assets = assets
        self._clock = clock
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(
            config=config,
            static=assets.url,
            pieces=pieces,
            exactly=exactly,
            explain_chips=lambda found: explain_chips(count_chips(found)),
        )
        self._environment.filters.update(
            time=time_text,
            iso=iso_text,
            span=span_text,
            segment=lambda text: quote(text, safe=""),
            words=fingerprint_words,
            arg=shlex.quote,
            capitalize_first=_capitalize_first,
        )

    def __call__(
        self,
        request: web.Request,
        template: str,
        context: Mapping[str, Any],
        *,
        status: int = 200,
    ) -> web.Response:
        """Return *template* (a file name in ``templates``) with *context*."""
        visitor = request.get(VISITOR)
        text = self._environment.get_template(template).render(
            {
                "visitor": visitor,
                "path": request.path,
                "now_ns": self._clock.wall_ns(),
                **context,
            }
        )
        return web.Response(
            text=text,
            status=status,
            content_type="text/html",
            charset="utf-8",
            headers={"Vary": "Accept, Cookie"},
        )


def wants_json(request: web.Request) -> bool:
    """Return whether the caller asks for the page's JSON twin."""
    accepted = request.headers.get("Accept", "")
    return _JSON in accepted and "text/html" not in accepted


def see_other(path: str) -> web.Response:
    """Return the answer that leads to *path*, one of ours, with a GET."""
    return web.Response(status=303, headers={"Location": path})


def exactly(text: str) -> Markup:
    """Return *text* escaped and otherwise as it is (law 2)."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))


def time_text(wall_ns: int) -> str:
    """Return a time as people read it: ``2026-11-22 16:58:03 UTC``."""
    return _moment(wall_ns).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso_text(wall_ns: int) -> str:
    """Return a time as machines read it."""
    return _moment(wall_ns).strftime("%Y-%m-%dT%H:%M:%SZ")


def span_text(span_ns: int) -> str:
    """Return a span in its two largest units: ``1 h 5 min``, ``42 s``."""
    seconds = max(0, span_ns // NS_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return _two(f"{days} d", hour, "h")
    if hours:
        return _two(f"{hours} h", minute, "min")
    if minutes:
        return _two(f"{minutes} min", second if minutes < 10 else 0, "s")
    return f"{second} s"


def _two(first: str, number: int, unit: str) -> str:
    return f"{first} {number} {unit}" if number else first


def _capitalize_first(text: str) -> str:
    """Return *text* (or markup that begins with a letter) with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def _moment(wall_ns: int) -> datetime:
    return datetime.fromtimestamp(wall_ns // NS_PER_SECOND, tz=UTC)


def _finalize(value: Any) -> Any:
    """Law 2."""
    if type(value) is Markup or not isinstance(value, str):
        return value
    return plain_text(value)
