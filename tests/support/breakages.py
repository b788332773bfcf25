# SPDX-License-Identifier: Apache-2.0
"""Guards taken out, by name, for negative controls: with one of these an attack must succeed.

Each function changes the running process for good. It is called in a forked child, before anything
is served, or under a ``monkeypatch`` in a test's own process.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["BREAKAGES", "apply"]

BREAKAGES: dict[str, Callable[[], None]] = {}


def apply(name: str) -> None:
    """Take the guard *name* out of this process."""
    BREAKAGES[name]()
