# SPDX-License-Identifier: Apache-2.0
"""Builds SVG from values, so that no text can become markup.

The only place of the console that makes ``Markup`` itself. Laws: names of elements and attributes
are ours (checked against a pattern); every value and every text goes through ``markupsafe.escape``
after ``text.plain_text``; there is no way to pass a string through unescaped, and no ``style``, no
``on…`` and no reference to anything outside (the page's policy would refuse them anyway).
"""

from __future__ import annotations

import re
from typing import Final

from markupsafe import Markup, escape

from sidecar.web.text import plain_text

__all__ = ["element", "label"]

_NAME: Final = re.compile(r"[a-z][a-zA-Z0-9-]*").fullmatch
_FORBIDDEN: Final = frozenset({"style", "script", "href", "foreignobject", "use", "image"})


def element(tag: str, *children: Markup, **attributes: str | float) -> Markup:
    """Return ``<tag …>children</tag>``. An attribute ``text_anchor`` becomes ``text-anchor``.

    Raises:
        ValueError: A name is not one that our drawings use.
    """
    if not _NAME(tag) or tag.lower() in _FORBIDDEN:
        raise ValueError(f"no drawing has an element {tag!r}")
    written = [
        Markup(' {}="{}"').format(_attribute(name), _value(value))
        for name, value in attributes.items()
    ]
    start = Markup("<{}").format(tag) + Markup("").join(written) + Markup(">")
    return start + Markup("").join(children) + Markup("</{}>").format(tag)


def label(text: str, max_chars: int = 200) -> Markup:
    """Return *text* for an element's content: nothing in it hides, steers or marks up."""
    shown = plain_text(text[: max_chars * 2])
    return escape(shown if len(shown) <= max_chars else shown[: max_chars - 1] + "…")


def _attribute(name: str) -> str:
    written = name.rstrip("_").replace("_", "-")
    if not _NAME(written) or written.startswith("on") or written in _FORBIDDEN:
        raise ValueError(f"no drawing has an attribute {name!r}")
    return written


def _value(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".rstrip("0").rstrip(".")
    return plain_text(str(value))
