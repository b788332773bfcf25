# SPDX-License-Identifier: Apache-2.0
"""What an action, its parameters and its outputs are called on the platform.

Laws:

1. A command is ``holdfast-<object>-<verb>``, as the platform's conventions want it; the connectivity
   test is the command that the platform itself calls, ``test-module``.
2. An action's last result stands in the context below ``Holdfast.<Action>`` and replaces the one
   before it: a condition that reads one of several results would take one agent's success for
   another's. Held operations are kept side by side below ``Holdfast.Operation``, by name.
"""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType

__all__ = ["CONTEXT_TYPE", "OPERATION", "TEST_MODULE", "command_of", "context_path", "prefix_of"]

TEST_MODULE: Final = "test-module"
OPERATION: Final = "Holdfast.Operation"
CONTEXT_TYPE: Final = {
    FieldType.TEXT: "String",
    FieldType.LONG_TEXT: "String",
    FieldType.NUMBER: "Number",
    FieldType.BOOLEAN: "Boolean",
    FieldType.TIME: "Date",
    FieldType.LIST: "String",
    FieldType.OBJECT: "Unknown",
}


def command_of(slug: str) -> str:
    """Return the command of an action (law 1): ``contain-agent`` is ``holdfast-agent-contain``."""
    if slug == "test-connectivity":
        return TEST_MODULE
    verb, _, noun = slug.partition("-")
    return f"holdfast-{noun}-{verb}"


def prefix_of(slug: str) -> str:
    """Return where its result stands in the context: ``Holdfast.ContainAgent`` (law 2)."""
    return "Holdfast." + "".join(word.capitalize() for word in slug.split("-"))


def context_path(slug: str, path: str) -> str:
    """Return where one output stands: ``receipt.gates[].state`` loses its brackets."""
    return f"{prefix_of(slug)}.{path.replace('[]', '')}"
