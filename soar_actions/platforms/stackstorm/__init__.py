# SPDX-License-Identifier: Apache-2.0
"""StackStorm: a pack with one action per catalogue entry and three workflows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["WAIVERS"]

WAIVERS: Final[Mapping[str, str]] = MappingProxyType({})
"""Actions of the catalogue that the pack leaves out, and why: none."""
