# SPDX-License-Identifier: Apache-2.0
"""How an action is declared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from soar_actions.errors import ActionError, ErrorClass

__all__ = ["Action", "ActionEffect", "ErrorNote", "Output", "Parameter", "RetryClass"]

_MAX_TEXT: Final = 1000
_CONTROL: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class ActionEffect(StrEnum):
    """What the action does to the world."""

    READ = "read"
    CONTAIN = "contain"
    LOOSEN = "loosen"


class RetryClass(StrEnum):
    """When a client may send the request again by itself."""

    ALWAYS = "always"
    WITH_SAME_KEY = "with_same_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One input of an action."""

    name: str
    description: str
    example: str
    is_required: bool = True
    default: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """Regular expression that the whole value must match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output of an action, by its path in the result's ``data``."""

    path: str
    description: str
    example: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorNote:
    """One way the action can fail, and what to do then."""

    reason: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action. ``mappings`` names it in ATT&CK, D3FEND, OCSF and OpenC2."""

    name: str
    description: str
    effect: ActionEffect
    reversal: str
    """How to undo it; empty if there is nothing to undo."""
    approval: str
    permission: str
    retry: RetryClass
    idempotency: str
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    errors: tuple[ErrorNote, ...] = ()
    mappings: Mapping[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name for command lines: ``contain-agent``."""
        return self.name.replace(" ", "-")

    @property
    def is_read_only(self) -> bool:
        """Whether the action changes nothing."""
        return self.effect is ActionEffect.READ

    def check(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the values to act on, defaults filled in.

        A playbook's values may come from an alert that an attacker wrote, so every one is held to
        its declared form; a wildcard or a template that was not filled in never reaches control.

        Raises:
            ActionError: A parameter is missing, unknown or not of its form.
        """
        known = {parameter.name for parameter in self.parameters}
        unknown = sorted(set(given) - known)
        if unknown:
            raise ActionError(
                ErrorClass.BAD_INPUT,
                f"{self.name} has no parameter {', '.join(map(repr, unknown))}",
                remedy=f"it takes: {', '.join(sorted(known))}",
            )
        return {parameter.name: _value(parameter, given) for parameter in self.parameters}


def _value(parameter: Parameter, given: Mapping[str, str]) -> str:
    value = given.get(parameter.name, parameter.default)
    if not value:
        if parameter.is_required:
            raise _bad(parameter, "is missing")
        return ""
    if len(value) > _MAX_TEXT or _CONTROL.search(value):
        raise _bad(parameter, f"is longer than {_MAX_TEXT} characters or holds control characters")
    if parameter.choices and value not in parameter.choices:
        raise _bad(parameter, f"is none of {', '.join(parameter.choices)}")
    if parameter.pattern and not re.fullmatch(parameter.pattern, value):
        raise _bad(parameter, "is not of the form that it must have")
    return value


def _bad(parameter: Parameter, what: str) -> ActionError:
    return ActionError(
        ErrorClass.BAD_INPUT,
        f"parameter {parameter.name!r} {what}",
        remedy=f"{parameter.description} For example: {parameter.example}",
    )
