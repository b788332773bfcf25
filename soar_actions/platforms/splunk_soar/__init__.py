# SPDX-License-Identifier: Apache-2.0
"""Splunk SOAR: an app for the Splunk SOAR SDK, one source for SDK 2.3.7 and SDK 7."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["WAIVERS"]

WAIVERS: Final[Mapping[str, str]] = MappingProxyType({})
"""Actions of the catalogue that the platform does not offer, and why not. There are none."""
