# SPDX-License-Identifier: Apache-2.0
"""Reads lists of control page by page, up to a limit."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Final

from soar_actions.handlers.reading import messages, text
from soar_actions.steps import Call

__all__ = ["pages", "without_empty"]

_PAGE: Final = 500
_Items = list[Mapping[str, Any]]


def pages(
    method: str, body: Mapping[str, Any], name: str, limit: int
) -> Generator[Call, Mapping[str, Any], tuple[_Items, bool]]:
    """Return at most *limit* of the messages *name*, and whether there are more."""
    items: _Items = []
    token = ""
    while True:
        size = min(_PAGE, limit - len(items))
        page = {**body, "pageSize": size, **({"pageToken": token} if token else {})}
        answer = yield Call(method, page)
        got = messages(answer, name)
        items += got
        token = text(answer, "nextPageToken")
        if len(items) >= limit or not token or not got:
            return items[:limit], bool(token) or len(items) > limit


def without_empty(**fields: Any) -> dict[str, Any]:
    """Return *fields* without those that are empty, for a request in proto3 JSON."""
    return {name: value for name, value in fields.items() if value}
