# SPDX-License-Identifier: Apache-2.0
"""Cortex XSOAR and XSIAM: a content pack with one integration and three playbooks.

``artefact/Packs/Holdfast`` is the pack as it ships, but for the portable code, which ``build`` puts
into the integration's file: the platform runs exactly one. ``naming`` says what an action is called
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["WAIVERS"]

WAIVERS: Final[Mapping[str, str]] = {}
"""Actions that the platform does not get, with the reason. None."""
