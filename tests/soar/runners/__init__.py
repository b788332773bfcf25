# SPDX-License-Identifier: Apache-2.0
"""The runners of the conformance matrix: one module for each platform, which exports ``RUNNERS``."""

from __future__ import annotations

import importlib
import pkgutil

from tests.soar.runners.base import Runner

__all__ = ["all_runners"]


def all_runners() -> tuple[Runner, ...]:
    """Return every runner, our own command line first.

    Raises:
        ImportError: A module of a platform is broken; then nothing is run at all.
    """
    modules = sorted(
        (module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"),
        key=lambda name: (name != "holdfast", name),
    )
    found: list[Runner] = []
    for name in modules:
        found += getattr(importlib.import_module(f"{__name__}.{name}"), "RUNNERS", ())
    return tuple(found)
