# SPDX-License-Identifier: Apache-2.0
"""Platforms that import a description of an HTTP API: Tines, Torq, n8n; Logic Apps and Sentinel.

They get the methods that the actions call, described by OpenAPI 3.1 and by Swagger 2.0. What is more
than one request there (containing many agents, say) is a loop of the platform's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["WAIVERS"]

WAIVERS: Final[Mapping[str, str]] = MappingProxyType({})
"""Actions that are not described here, and why."""
