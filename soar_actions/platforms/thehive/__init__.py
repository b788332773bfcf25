# SPDX-License-Identifier: Apache-2.0
"""TheHive: Cortex responders, one definition per action, and three case templates."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["WAIVERS"]

WAIVERS: Final[Mapping[str, str]] = MappingProxyType({})
"""Actions of the catalogue that have no responder, and why: none."""
