# SPDX-License-Identifier: Apache-2.0
"""Identifiers we make: 128 random bits behind a prefix that says what they name."""

from __future__ import annotations

import os
import secrets
from typing import Final, Protocol

__all__ = ["Ids", "RandomIds", "SequentialIds"]

_BYTES: Final = 16
_POOL: Final = 256


class Ids(Protocol):
    """Where a component takes fresh identifiers from."""

    def new(self, prefix: str) -> str:
        """Return an identifier ``<prefix>_<32 hex digits>`` that was never returned before."""


class RandomIds:
    """128 bits from the operating system: unguessable, so they also serve as opaque handles.

    Read in pools, because a system call for each would be a third of the cost of a decision. A pool
    never crosses a fork: two processes would give the same names.
    """

    def __init__(self) -> None:
        self._pool: list[str] = []
        os.register_at_fork(after_in_child=self._pool.clear)

    def new(self, prefix: str) -> str:
        pool = self._pool
        if not pool:
            digits = secrets.token_hex(_BYTES * _POOL)
            step = 2 * _BYTES
            pool.extend(digits[at : at + step] for at in range(0, len(digits), step))
        return f"{prefix}_{pool.pop()}"


class SequentialIds:
    """Predictable identifiers, for tests."""

    def __init__(self) -> None:
        self._next = 0

    def new(self, prefix: str) -> str:
        self._next += 1
        return f"{prefix}_{self._next:032x}"
