# SPDX-License-Identifier: Apache-2.0
"""Identifiers we make: 128 random bits behind a prefix that says what they name."""

from __future__ import annotations

import secrets
from typing import Protocol

__all__ = ["Ids", "RandomIds", "SequentialIds"]

_HEX = 16


class Ids(Protocol):
    """Where a component takes fresh identifiers from."""

    def new(self, prefix: str) -> str:
        """Return an identifier ``<prefix>_<32 hex digits>`` that was never returned before."""


class RandomIds:
    """128 bits from the operating system: unguessable, so they also serve as opaque handles."""

    def new(self, prefix: str) -> str:
        return f"{prefix}_{secrets.token_hex(_HEX)}"


class SequentialIds:
    """Predictable identifiers, for tests."""

    def __init__(self) -> None:
        self._next = 0

    def new(self, prefix: str) -> str:
        self._next += 1
        return f"{prefix}_{self._next:032x}"
