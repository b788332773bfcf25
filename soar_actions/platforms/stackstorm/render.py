# SPDX-License-Identifier: Apache-2.0
"""StackStorm's action metadata, made from the catalogue.

Laws:

1. A parameter's schema is never wider than the catalogue's form, and never takes a template:
   StackStorm renders Jinja in parameters, and its conductor evaluates YAQL in every text that a
   workflow's expression gives, both with the encrypted store in reach, so text from an alert could
   otherwise carry the API token away.
2. An output's schema is never narrower than what can come back: StackStorm fails an execution whose
   output does not fit, and a containment that was done must not look failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import Action, FieldType, Output, Parameter
from soar_actions.packages.docs import document
from soar_actions.platforms.stackstorm import WAIVERS

__all__ = ["NO_TEMPLATE", "action_metadata", "generated"]

_FOLDER: Final = Path(__file__).resolve().parent
_HEADER: Final = "# Generated from the catalogue of actions; do not edit.\n---\n"
NO_TEMPLATE: Final = r"^(?![\s\S]*(?:\{[{%#]|<%))"
"""Matches text in which neither Jinja nor YAQL finds anything to evaluate."""
_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$"
_LONGEST: Final = {FieldType.TEXT: 1000, FieldType.LONG_TEXT: 4000}
_MARGIN_S: Final = 15
_FRAME: Final[Mapping[str, Any]] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "action": {"type": "string"},
    "status": {"type": "string", "enum": ["SUCCESS", "PENDING", "PARTIAL", "FAILED"]},
    "summary": {"type": "string"},
    "idempotency_key": {"type": "string"},
    "timing": {"type": "object"},
    "error": {"type": "object"},
}


def generated() -> Mapping[str, str]:
    """Return path below this folder to text, for every generated file."""
    ours = {slug: action for slug, action in ACTIONS.items() if slug not in WAIVERS}
    page = document(
        (_FOLDER / "head.md").read_text(encoding="utf-8"),
        platform_names={slug: f"holdfast.{action.identifier}" for slug, action in ours.items()},
        waivers=WAIVERS,
    )
    return {
        "README.md": page,
        "artefact/README.md": page,
        **{
            f"artefact/actions/{action.identifier}.yaml": _HEADER
            + yaml.safe_dump(
                action_metadata(action), sort_keys=False, width=100, allow_unicode=True
            )
            for action in ours.values()
        },
    }


def action_metadata(action: Action) -> dict[str, Any]:
    """Return what StackStorm registers for *action*."""
    required = [parameter for parameter in action.parameters if parameter.is_required]
    optional = [parameter for parameter in action.parameters if not parameter.is_required]
    return {
        "name": action.identifier,
        "pack": "holdfast",
        "runner_type": "python-script",
        "entry_point": "holdfast_action.py",
        "enabled": True,
        "description": _description(action),
        "tags": [
            {"name": "effect", "value": action.effect.value},
            {"name": "tier", "value": action.tier.value},
            {"name": "approval", "value": action.approval.value},
        ],
        "parameters": {
            "holdfast_action": {
                "description": "Which action of the catalogue this is.",
                "type": "string",
                "immutable": True,
                "default": action.slug,
            },
            **{
                parameter.name: _parameter(parameter, position)
                for position, parameter in enumerate([*required, *optional])
            },
            "timeout": {
                "description": "StackStorm ends the action after this many seconds.",
                "type": "integer",
                "default": action.deadline_s + _MARGIN_S,
            },
        },
        "output_schema": {
            "type": "object",
            "properties": {**_FRAME, **_outputs(action.outputs)},
            "additionalProperties": True,
        },
    }


def _description(action: Action) -> str:
    parts = [action.description]
    if action.can_be_pending:
        parts.append(action.approval_note)
    if action.reversal:
        parts.append(f"To undo: {action.reversal}.")
    parts.append(f"Needs the permission {action.permission!r}." if action.permission else "")
    return " ".join(part for part in parts if part)


def _parameter(parameter: Parameter, position: int) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "description": f"{parameter.description} Example: {parameter.example}",
        "required": parameter.is_required,
        "position": position,
        **_form(parameter),
    }
    if parameter.default:
        schema["default"] = _default(parameter)
    return schema


def _form(parameter: Parameter) -> dict[str, Any]:
    if parameter.type is FieldType.NUMBER:
        return {"type": "integer", "minimum": 0}
    if parameter.type is FieldType.BOOLEAN:
        return {"type": "boolean"}
    one: dict[str, Any] = {"type": "string", "pattern": _pattern(parameter)}
    if parameter.choices:
        one = {"type": "string", "enum": list(parameter.choices)}
    if parameter.type is FieldType.LIST:
        return {"type": "array", "items": one, "maxItems": parameter.max_items}
    if parameter.type in _LONGEST and not parameter.choices:
        one["maxLength"] = _LONGEST[parameter.type]
    return one


def _pattern(parameter: Parameter) -> str:
    if parameter.pattern:
        return f"{NO_TEMPLATE}(?:{parameter.pattern})$"
    return _TIME if parameter.type is FieldType.TIME else NO_TEMPLATE


def _default(parameter: Parameter) -> Any:
    if parameter.type is FieldType.NUMBER:
        return int(parameter.default)
    if parameter.type is FieldType.BOOLEAN:
        return parameter.default == "true"
    if parameter.type is FieldType.LIST:
        return parameter.default.split(",")
    return parameter.default


def _outputs(outputs: tuple[Output, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for output in outputs:
        first, _, rest = output.path.partition(".")
        name = first.removesuffix("[]")
        if name in _FRAME:
            continue
        if first.endswith("[]"):
            schema = {"type": "array", "description": output.description}
        elif rest or output.type is FieldType.OBJECT:
            schema = {"type": "object", "description": output.description}
        else:
            # Law 2: of a plain value only the description is said.
            schema = {"description": output.description}
        if rest:
            schema["description"] = f"Holds `{output.path}` and more: see the pack's README."
        found.setdefault(name, schema)
    return found
