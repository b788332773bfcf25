# SPDX-License-Identifier: Apache-2.0
"""The package's shape: every public name exists, and no module is outside it."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import sidecar.policy

MODULES = ["sidecar.documents"] + [
    f"sidecar.policy.{module.name}" for module in pkgutil.iter_modules(sidecar.policy.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_described(name: str) -> None:
    """Each name in ``__all__`` is there; each public class and function says what it is for."""
    module = importlib.import_module(name)

    assert module.__doc__
    assert module.__all__
    for public in module.__all__:
        value = getattr(module, public)
        if callable(value) and getattr(value, "__module__", "") == name:
            assert value.__doc__, public
