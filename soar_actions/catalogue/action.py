# SPDX-License-Identifier: Apache-2.0
"""How an action is declared: everything a platform's manifest, a page of docs or a test needs.

Laws:

1. A declaration is a value. It knows no platform; a renderer makes a platform's words of it.
2. Every value a playbook gives is held to its declared form before anything is sent, because it may
   come from an alert that an attacker wrote: there are no wildcards and no templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from soar_actions.errors import ActionError, ErrorClass

__all__ = [
    "Action",
    "ActionEffect",
    "Approval",
    "ErrorNote",
    "FieldType",
    "Mappings",
    "Output",
    "Parameter",
    "RetryClass",
    "Tier",
]

_MAX_TEXT: Final = 1000
_CONTROL: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class ActionEffect(str, Enum):  # noqa: UP042 - StrEnum is newer than the oldest platform
    """What the action does to the world."""

    READ = "read"
    CONTAIN = "contain"
    LOOSEN = "loosen"
    RECORD = "record"
    """Writes a record or asks humans; neither tightens nor loosens."""


class RetryClass(str, Enum):  # noqa: UP042
    """When a client may send the request again by itself."""

    ALWAYS = "always"
    WITH_SAME_KEY = "with_same_key"


class Approval(str, Enum):  # noqa: UP042
    """Whether a human must grant it first."""

    NEVER = "never"
    POLICY = "policy"
    """Where it reaches too much, or somebody protected."""
    ALWAYS = "always"


class Tier(str, Enum):  # noqa: UP042
    """How much harm the action can do when it is wrong."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class FieldType(str, Enum):  # noqa: UP042
    """What a value is; platforms name each in their own way. Values travel as text."""

    TEXT = "text"
    LONG_TEXT = "long_text"
    """More than a line; up to 4,000 characters; line ends are allowed."""
    NUMBER = "number"
    BOOLEAN = "boolean"
    """``true`` or ``false``."""
    TIME = "time"
    """RFC 3339 in UTC, for example ``2026-01-31T09:30:00Z``."""
    LIST = "list"
    """Values separated by commas; ``pattern`` holds for each."""
    OBJECT = "object"
    """Only of outputs: a JSON object."""


@dataclass(frozen=True)
class Parameter:
    """One input of an action.

    Attributes:
        name: In snake case.
        description: One sentence or two.
        example: A value of its form.
        type: What it is.
        is_required: Whether a playbook must give it.
        default: What it is when left out.
        choices: If not empty, nothing else will do.
        pattern: Regular expression that the whole value must match.
        contains: What kind of thing it names, so that platforms can offer it from other results:
            ``holdfast agent``, ``holdfast operation``, ``domain``, …
        max_items: Of a list.
    """

    name: str
    description: str
    example: str
    type: FieldType = FieldType.TEXT
    is_required: bool = True
    default: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    contains: str = ""
    max_items: int = 100


@dataclass(frozen=True)
class Output:
    """One output of an action, by its path in the result: ``receipt.gates[].state``."""

    path: str
    description: str
    example: Any
    type: FieldType = FieldType.TEXT
    contains: str = ""


@dataclass(frozen=True)
class ErrorNote:
    """One way the action can fail, and what to do then."""

    reason: str
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Mappings:
    """What others call the action, or what it is a reaction to. Empty where there is no such thing.

    Attributes:
        attack: MITRE ATT&CK techniques that it counters (``T1041``).
        atlas: MITRE ATLAS techniques that it counters (``AML.T0086``).
        d3fend: MITRE D3FEND technique that it is (``D3-PT``).
        ocsf: OCSF class and activity (``7001/1``).
        openc2: OpenC2 action and target (``contain x-holdfast:agent``).
    """

    attack: tuple[str, ...] = ()
    atlas: tuple[str, ...] = ()
    d3fend: str = ""
    ocsf: str = ""
    openc2: str = ""


@dataclass(frozen=True)
class Action:
    """One action."""

    name: str
    """Verb and object: ``contain agent``."""
    description: str
    effect: ActionEffect
    tier: Tier
    approval: Approval
    approval_note: str
    """Who must grant what, in a sentence or two."""
    reversal: str
    """How to undo it; empty if there is nothing to undo."""
    permission: str
    """The role that the operator needs on control."""
    retry: RetryClass
    idempotency: str
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    errors: tuple[ErrorNote, ...] = ()
    mappings: Mappings = field(default_factory=Mappings)
    deadline_s: int = 30
    """Longest time of the whole action, retries included."""
    is_poll: bool = False
    """Whether it asks how another action stands, which may be that a human must still decide."""

    @property
    def slug(self) -> str:
        """The name for command lines: ``contain-agent``."""
        return self.name.replace(" ", "-")

    @property
    def identifier(self) -> str:
        """The name for programs: ``contain_agent``."""
        return self.name.replace(" ", "_")

    @property
    def is_read_only(self) -> bool:
        """Whether the action changes nothing."""
        return self.effect is ActionEffect.READ

    @property
    def can_be_pending(self) -> bool:
        """Whether its result can be that a human must decide first."""
        return self.approval is not Approval.NEVER or self.is_poll

    def check(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the values to act on, defaults filled in (law 2).

        Raises:
            ActionError: A parameter is missing, unknown or not of its form.
        """
        known = {parameter.name for parameter in self.parameters}
        unknown = sorted(set(given) - known)
        if unknown:
            raise ActionError(
                ErrorClass.BAD_INPUT,
                f"{self.name} has no parameter {', '.join(map(repr, unknown))}",
                remedy=f"it takes: {', '.join(sorted(known)) or 'nothing'}",
            )
        return {parameter.name: _value(parameter, given) for parameter in self.parameters}


_FORMS: Final = {
    FieldType.NUMBER: r"[0-9]{1,19}",
    FieldType.BOOLEAN: r"true|false",
    FieldType.TIME: r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z",
}


def _value(parameter: Parameter, given: Mapping[str, str]) -> str:
    value = given.get(parameter.name, parameter.default)
    if not isinstance(value, str):
        raise _bad(parameter, "is not text")
    if not value:
        if parameter.is_required:
            raise _bad(parameter, "is missing")
        return ""
    if parameter.type is FieldType.LIST:
        items = [item.strip(" ") for item in value.split(",")]
        if len(items) > parameter.max_items:
            raise _bad(parameter, f"has more than {parameter.max_items} items")
        if len(set(items)) != len(items):
            raise _bad(parameter, "names something twice")
        for item in items:
            _check_one(parameter, item)
        return ",".join(items)
    _check_one(parameter, value)
    return value


def _check_one(parameter: Parameter, value: str) -> None:
    longest, shown = _MAX_TEXT, value
    if parameter.type is FieldType.LONG_TEXT:
        longest, shown = (
            4 * _MAX_TEXT,
            value.replace("\r\n", " ").replace("\n", " ").replace("\t", " "),
        )
    if len(value) > longest or _CONTROL.search(shown):
        raise _bad(parameter, f"is longer than {longest} characters or holds control characters")
    if parameter.choices and value not in parameter.choices:
        raise _bad(parameter, f"is none of {', '.join(parameter.choices)}")
    form = parameter.pattern or _FORMS.get(parameter.type, "")
    if form and not re.fullmatch(form, value):
        raise _bad(parameter, "is not of the form that it must have")


def _bad(parameter: Parameter, what: str) -> ActionError:
    return ActionError(
        ErrorClass.BAD_INPUT,
        f"parameter {parameter.name!r} {what}",
        remedy=f"{parameter.description} For example: {parameter.example}",
    )
