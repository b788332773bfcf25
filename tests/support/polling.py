# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition instead of for a time.

A test that sleeps and then looks is slow on a fast machine and wrong on a slow one. These helpers
look again and again until the condition holds, and fail with what they saw last.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["eventually", "eventually_sync"]

_T = TypeVar("_T")
_PAUSE_S = 0.01


async def eventually(
    condition: Callable[[], _T | Awaitable[_T]], deadline_s: float = 5.0, *, what: str = ""
) -> _T:
    """Return the first true value of *condition*; fail after *deadline_s* seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if loop.time() >= deadline:
            raise AssertionError(
                f"not within {deadline_s:g} s: {what or condition}; last: {value!r}"
            )
        await asyncio.sleep(_PAUSE_S)


def eventually_sync(condition: Callable[[], _T], deadline_s: float = 5.0, *, what: str = "") -> _T:
    """The same without an event loop."""
    deadline = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"not within {deadline_s:g} s: {what or condition}; last: {value!r}"
            )
        time.sleep(_PAUSE_S)
