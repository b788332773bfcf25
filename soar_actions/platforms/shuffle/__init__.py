# SPDX-License-Identifier: Apache-2.0
"""Shuffle: an app of its Python SDK, and workflows with User Input triggers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["WAIVERS"]

WAIVERS: Final[Mapping[str, str]] = MappingProxyType({})
"""Actions of the catalogue that the platform does not offer, and why not. There are none."""
