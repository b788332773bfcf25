# SPDX-License-Identifier: Apache-2.0
"""A declaration as data and as text, for people on a command line and for other generators."""

from __future__ import annotations

from typing import Any

from soar_actions.catalogue.action import Action

__all__ = ["declaration", "declaration_text"]


def declaration(action: Action) -> dict[str, Any]:
    """Return the whole declaration of *action* as data."""
    return {
        "name": action.name,
        "slug": action.slug,
        "description": action.description,
        "effect": action.effect.value,
        "read_only": action.is_read_only,
        "tier": action.tier.value,
        "approval": action.approval.value,
        "approval_note": action.approval_note,
        "can_be_pending": action.can_be_pending,
        "reversal": action.reversal,
        "permission": action.permission,
        "retry": action.retry.value,
        "idempotency": action.idempotency,
        "deadline_s": action.deadline_s,
        "parameters": [
            {
                "name": parameter.name,
                "type": parameter.type.value,
                "required": parameter.is_required,
                "default": parameter.default,
                "choices": list(parameter.choices),
                "pattern": parameter.pattern,
                "contains": parameter.contains,
                "example": parameter.example,
                "description": parameter.description,
            }
            for parameter in action.parameters
        ],
        "outputs": [
            {
                "path": output.path,
                "type": output.type.value,
                "contains": output.contains,
                "example": output.example,
                "description": output.description,
            }
            for output in action.outputs
        ],
        "errors": [
            {"reason": note.reason, "meaning": note.meaning, "remedy": note.remedy}
            for note in action.errors
        ],
        "mappings": {
            "attack": list(action.mappings.attack),
            "atlas": list(action.mappings.atlas),
            "d3fend": action.mappings.d3fend,
            "ocsf": action.mappings.ocsf,
            "openc2": action.mappings.openc2,
        },
    }


def declaration_text(action: Action) -> str:
    """Return the whole declaration of *action* as text of a terminal."""
    lines = [
        f"{action.slug}: {action.description}",
        "",
        f"effect:       {action.effect.value}, tier {action.tier.value}",
        f"role:         {action.permission}",
        f"approval:     {action.approval_note}",
        f"undo:         {action.reversal or 'nothing to undo'}",
        f"idempotency:  {action.idempotency}",
        f"longest time: {action.deadline_s} s",
        "",
        "parameters:" if action.parameters else "parameters: none",
    ]
    for parameter in action.parameters:
        need = "required" if parameter.is_required else "optional"
        default = f", default {parameter.default}" if parameter.default else ""
        lines.append(f"  {parameter.name} ({parameter.type.value}, {need}{default})")
        lines.append(f"      {parameter.description} For example: {parameter.example}")
        if parameter.choices:
            lines.append(f"      one of: {', '.join(parameter.choices)}")
    lines += ["", "outputs:"]
    lines += [f"  {output.path}: {output.description}" for output in action.outputs]
    lines += ["", "errors:"]
    for note in action.errors:
        lines.append(f"  {note.reason}: {note.meaning} {note.remedy}")
    mappings = action.mappings
    named = {
        "ATT&CK": ", ".join(mappings.attack),
        "ATLAS": ", ".join(mappings.atlas),
        "D3FEND": mappings.d3fend,
        "OCSF": mappings.ocsf,
        "OpenC2": mappings.openc2,
    }
    shown = [f"  {name}: {value}" for name, value in named.items() if value]
    return "\n".join([*lines, *(["", "known elsewhere as:", *shown] if shown else [])])
