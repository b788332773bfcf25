# SPDX-License-Identifier: Apache-2.0
"""The app's actions, made from the catalogue: parameters, outputs, and what the manifest says.

Laws:

1. ``read_only`` is security on this platform: the asset's approvers are asked for everything that is
   not. It is made from the effect alone.
2. ``required`` stands in the manifest only; for pydantic everything is optional, because it quotes
   what it misses (see the adapter).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import Action, ActionEffect, FieldType, Output, Parameter
from soar_actions.packages.docs import document
from soar_actions.platforms.splunk_soar import WAIVERS

__all__ = ["TEST", "action_type", "generated"]

TEST: Final = "test-connectivity"
"""The SDK has a decorator of its own for it."""
_HEADER: Final = (
    "# SPDX-License-Identifier: Apache-2.0\n# Generated from the catalogue; do not edit.\n"
)
_SDK_2: Final = (
    "# SDK 2 reads `Optional[X]`, but not `X | None`.\n"
    "# ruff: noqa: TID252, UP006, UP035, UP045\n"
    "# fmt: off\n"
)
_TYPES: Final = {
    FieldType.TEXT: "str",
    FieldType.LONG_TEXT: "str",
    FieldType.NUMBER: "int",
    FieldType.BOOLEAN: "bool",
    FieldType.TIME: "str",
    FieldType.LIST: "str",
}
_EFFECTS: Final = {
    ActionEffect.READ: "investigate",
    ActionEffect.CONTAIN: "contain",
    ActionEffect.LOOSEN: "correct",
    ActionEffect.RECORD: "generic",
}
_STATUS: Final = (
    Output("status", "SUCCESS, PENDING, PARTIAL or FAILED.", "SUCCESS"),
    Output("summary", "What came of it, in a sentence.", "agent banking is held at KILL"),
    Output("idempotency_key", "The key that it was done with.", "splunk-0a1b2c3d4e5f"),
    Output("error.class", "What can be done about a failure.", "REFUSED"),
    Output("error.reason", "Code of the failure.", "PERMISSION_MISSING"),
    Output("error.remedy", "What to do now.", "ask an operator who may"),
    Output("error.retryable", "Whether trying again can help.", False, FieldType.BOOLEAN),
)
_COLUMNS: Final = ("status", "summary", "operation.state", "link")


def action_type(action: Action) -> str:
    """Return what the platform calls an action with this effect."""
    return _EFFECTS[action.effect]


def generated() -> Mapping[str, str]:
    """Return path below this folder to text, for every generated file."""
    actions = [action for slug, action in ACTIONS.items() if slug not in WAIVERS and slug != TEST]
    files = {f"artefact/src/actions/{action.identifier}.py": _module(action) for action in actions}
    files["artefact/src/actions/__init__.py"] = _package(actions)
    files["README.md"] = document(
        (Path(__file__).parent / "head.md").read_text(encoding="utf-8"),
        platform_names={
            slug: action.name for slug, action in ACTIONS.items() if slug not in WAIVERS
        },
        waivers=WAIVERS,
    )
    return files


def _package(actions: Iterable[Action]) -> str:
    names = sorted(action.identifier for action in actions)
    imports = "".join(f"from . import {name} as {name}\n" for name in names)
    return f'{_HEADER}"""Every action of the app; importing one registers it."""\n\n{imports}'


def _module(action: Action) -> str:
    name = _camel(action.identifier)
    parts = [
        f"{_HEADER}{_SDK_2}{_docstring(action.name + '.')}\n",
        "from typing import List, Optional\n",
        "from soar_sdk.abstract import SOARClient",
        "from soar_sdk.action_results import ActionOutput, OutputField",
        "from soar_sdk.params import Param\n",
        "from ..adapter import Asset, Given, app, carry_out",
        "from ..summary import Summary\n\n",
        _params(f"{name}Params", action),
        _outputs(name, (*_STATUS, *action.outputs)),
        _function(action, name),
    ]
    return "\n".join(parts)


def _params(name: str, action: Action) -> str:
    fields = [
        _param(parameter, is_primary=at == 0 and bool(parameter.contains))
        for at, parameter in enumerate(action.parameters)
    ]
    body = "".join(fields) or "    pass\n"
    return f'class {name}(Given):\n    """What a playbook gives."""\n\n{body}\n'


def _param(parameter: Parameter, *, is_primary: bool) -> str:
    kind = _TYPES[parameter.type]
    values: dict[str, object] = {
        "description": f"{parameter.description} For example: {parameter.example}",
        "required": parameter.is_required,
        "primary": is_primary,
    }
    if parameter.default:
        values["default"] = int(parameter.default) if kind == "int" else parameter.default
        if kind == "bool":
            values["default"] = parameter.default == "true"
    if parameter.choices:
        values["value_list"] = list(parameter.choices)
    if parameter.contains:
        values["cef_types"] = [parameter.contains]
    if parameter.type is FieldType.LIST:
        values["allow_list"] = True
    return f"    {parameter.name}: {kind} = {_call('Param', values)}"


@dataclass
class _Node:
    """One level of the outputs' paths."""

    output: Output | None = None
    is_list: bool = False
    children: dict[str, _Node] = field(default_factory=dict)


def _outputs(name: str, outputs: Iterable[Output]) -> str:
    root = _Node()
    for output in outputs:
        node = root
        for part in output.path.split("."):
            node = node.children.setdefault(part.removesuffix("[]"), _Node())
            node.is_list = node.is_list or part.endswith("[]")
        node.output = output
    return "".join(_classes(f"{name}Output", root, "", "What comes of it."))


def _classes(name: str, node: _Node, prefix: str, said: str) -> list[str]:
    """Return the classes of *node*, those that it needs first."""
    before: list[str] = []
    lines: list[str] = []
    for key, child in node.children.items():
        path = f"{prefix}{key}"
        if child.children:
            inner = f"{name.removesuffix('Output')}{_camel(key)}Output"
            before += _classes(inner, child, f"{path}.", f"Below ``{path}``.")
            kind, call = inner, "None"
        elif child.output is None or child.output.type is FieldType.OBJECT:
            continue  # the manifest has no word for a free object; the data holds it all the same
        else:
            kind, call = _TYPES[child.output.type], _field(child.output, path)
        kind = f"List[{kind}]" if child.is_list else kind
        # Some are Python's own words; the manifest knows them by their alias.
        attribute, alias = (f"{key}_", key) if key == "class" else (key, "")
        if alias:
            call = call.replace("OutputField(", f'OutputField(\n        alias="{alias}",', 1)
        lines.append(f"    {attribute}: Optional[{kind}] = {call}".rstrip() + "\n")
    body = "".join(lines) or "    pass\n"
    return [*before, f'class {name}(ActionOutput):\n    """{said}"""\n\n{body}\n\n']


def _field(output: Output, path: str) -> str:
    values: dict[str, object] = {}
    if output.contains:
        values["cef_types"] = [output.contains]
    if output.type is not FieldType.BOOLEAN:
        values["example_values"] = [_example(output)]
    if path in _COLUMNS:
        values["column_name"] = path.replace(".", " ").capitalize()
    return _call("OutputField", values)


def _example(output: Output) -> object:
    if output.type is FieldType.NUMBER:
        return int(output.example)
    return str(output.example)


def _function(action: Action, name: str) -> str:
    values: dict[str, object] = {
        "name": action.name,
        "identifier": action.identifier,
        "description": action.description,
        "verbose": _verbose(action),
        "action_type": action_type(action),
        "read_only": action.is_read_only,
        "render_as": "table",
    }
    call = _call("app.action", values, indent=0).rstrip().removesuffix(")")
    return (
        f"@{call}    summary_type=Summary,\n)\n"
        f"def {action.identifier}(\n"
        f"    params: {name}Params, soar: SOARClient, asset: Asset\n"
        f") -> {name}Output:\n"
        f"    {_docstring(action.description, indent=4)}\n"
        f'    return carry_out("{action.slug}", params, asset)\n'
    )


def _verbose(action: Action) -> str:
    parts = [
        f"Tier {action.tier.value}.",
        f"Needs the permission {action.permission!r} on control." if action.permission else "",
        f"Approval: {action.approval_note}",
        f"To undo: {action.reversal}." if action.reversal else "",
        f"Idempotency: {action.idempotency}",
    ]
    return " ".join(part for part in parts if part)


def _call(name: str, values: Mapping[str, object], *, indent: int = 4) -> str:
    """Return a call with one argument a line, long texts in several."""
    if not values:
        return f"{name}()\n"
    pad = " " * indent
    lines = [f"{name}("]
    for key, value in values.items():
        if isinstance(value, str) and len(value) > 70:
            lines.append(f"{pad}    {key}=(")
            lines += [f"{pad}        {_quoted(piece)}" for piece in _pieces(value)]
            lines.append(f"{pad}    ),")
        else:
            lines.append(f"{pad}    {key}={_literal(value)},")
    return "\n".join([*lines, f"{pad})", ""])


def _literal(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)


def _quoted(text: str) -> str:
    """Return *text* as a literal in double quotes, as the formatter would write it."""
    written = repr(text)
    return written if '"' in text else f'"{written[1:-1]}"'


def _pieces(text: str) -> list[str]:
    pieces, line = [], ""
    for word in text.split(" "):
        if line and len(line) + len(word) > 76:
            pieces.append(line)
            line = ""
        line += f"{word} "
    return [*pieces, line.removesuffix(" ")]


def _docstring(text: str, *, indent: int = 0) -> str:
    clean = text.replace("\\", "").replace('"', "'")
    lines = [piece.rstrip() for piece in _pieces(clean)]
    if len(lines) == 1:
        return f'"""{lines[0]}"""'
    pad = " " * indent
    return '"""' + f"\n{pad}".join(lines) + f'\n{pad}"""'


def _camel(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in text.replace("-", "_").split("_"))
