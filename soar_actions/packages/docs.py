# SPDX-License-Identifier: Apache-2.0
"""Writes a platform's page: its hand-written head, then what the catalogue knows of every action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from soar_actions.catalogue import ACTIONS, Action
from soar_actions.catalogue.action import Approval, ErrorNote

__all__ = ["document"]

_NOTE: Final = (
    "<!-- Generated from head.md and the catalogue by `python -m soar_actions.packages render`; do not "
    "edit. -->"
)
_APPROVAL: Final = {
    Approval.NEVER: "never",
    Approval.POLICY: "where it reaches too much",
    Approval.ALWAYS: "always",
}


def document(head: str, *, platform_names: Mapping[str, str], waivers: Mapping[str, str]) -> str:
    """Return the page of a platform.

    Args:
        head: Hand-written beginning, in Markdown.
        platform_names: What the platform calls an action, by slug.
        waivers: Why the platform lacks an action, by slug.

    Raises:
        ValueError: An action has neither a name nor a waiver, or both, or one of no action is given.
    """
    _check(platform_names, waivers)
    named = [action for slug, action in ACTIONS.items() if slug in platform_names]
    parts = [_NOTE, head.strip(), _table(named, platform_names)]
    if waivers:
        rows = [f"| {ACTIONS[slug].name} | {_cell(why)} |" for slug, why in waivers.items()]
        parts.append("\n".join(["## Actions it does not have", "", *_head("action", "why"), *rows]))
    parts.append("## Each action")
    parts += [_section(action, platform_names[action.slug]) for action in named]
    parts.append(_errors(named))
    return "\n\n".join(parts) + "\n"


def _check(platform_names: Mapping[str, str], waivers: Mapping[str, str]) -> None:
    for slug in (*platform_names, *waivers):
        if slug not in ACTIONS:
            raise ValueError(f"no action {slug!r} in the catalogue")
    for slug in ACTIONS:
        if (slug in platform_names) is (slug in waivers):
            raise ValueError(f"{slug}: an action has either a name or a waiver")
    if not all(waivers.values()):
        raise ValueError("a waiver says why")


def _table(actions: list[Action], names: Mapping[str, str]) -> str:
    lines = ["## Actions", "", *_head("action", "called", "does", "a human must grant it", "role")]
    for action in actions:
        name = names[action.slug]
        first = action.description.partition(". ")[0].rstrip(".")
        lines.append(
            f"| [{action.name}](#{action.slug}) | `{name}` | {_cell(first)} "
            f"| {_APPROVAL[action.approval]} | `{action.permission}` |"
        )
    return "\n".join(lines)


def _section(action: Action, name: str) -> str:
    facts = [
        f"- **Effect:** {action.effect.value}, tier {action.tier.value}",
        f"- **A human must grant it:** {action.approval_note}",
        f"- **Undo:** {action.reversal or 'nothing to undo'}",
        f"- **Role on control:** `{action.permission}`",
        f"- **Retries:** {action.idempotency}",
        f"- **Longest time:** {action.deadline_s} s",
    ]
    known = _known_as(action)
    if known:
        facts.append(f"- **Known elsewhere as:** {known}")
    parts = [f'### <a id="{action.slug}"></a>{action.name} (`{name}`)', action.description]
    parts += ["\n".join(facts), _parameters(action), _outputs(action)]
    own = ", ".join(f"`{note.reason}`" for note in action.errors)
    parts.append(f"Errors: {own}.")
    return "\n\n".join(parts)


def _parameters(action: Action) -> str:
    if not action.parameters:
        return "No parameters."
    lines = _head("parameter", "type", "required", "default", "what", "example")
    for parameter in action.parameters:
        what = parameter.description
        if parameter.choices:
            what += f" One of {', '.join(parameter.choices)}."
        lines.append(
            f"| `{parameter.name}` | {parameter.type.value} "
            f"| {'yes' if parameter.is_required else 'no'} | {_code(parameter.default)} "
            f"| {_cell(what)} | {_code(parameter.example)} |"
        )
    return "\n".join(lines)


def _outputs(action: Action) -> str:
    lines = _head("output", "type", "what")
    for output in action.outputs:
        lines.append(f"| `{output.path}` | {output.type.value} | {_cell(output.description)} |")
    return "\n".join(lines)


def _errors(actions: list[Action]) -> str:
    notes: dict[ErrorNote, None] = {}
    for action in actions:
        notes.update(dict.fromkeys(action.errors))
    lines = ["## Errors and remedies", "", *_head("reason", "means", "what to do")]
    for note in sorted(notes, key=lambda note: note.reason):
        lines.append(f"| `{note.reason}` | {_cell(note.meaning)} | {_cell(note.remedy)} |")
    return "\n".join(lines)


def _known_as(action: Action) -> str:
    mappings = action.mappings
    named = {
        "ATT&CK": ", ".join(mappings.attack),
        "ATLAS": ", ".join(mappings.atlas),
        "D3FEND": mappings.d3fend,
        "OCSF": mappings.ocsf,
        "OpenC2": mappings.openc2,
    }
    return "; ".join(f"{name} {value}" for name, value in named.items() if value)


def _head(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""
