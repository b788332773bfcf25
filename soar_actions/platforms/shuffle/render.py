# SPDX-License-Identifier: Apache-2.0
"""The app's description and methods, made from the catalogue.

Laws:

1. A method takes every parameter with a default, and whatever else the node was given: the SDK
   answers a missing or unknown argument by calling again without it.
2. The authentication's parameters reach every action as arguments, so every method has them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import Action, FieldType, Parameter
from soar_actions.packages.docs import document
from soar_actions.platforms.shuffle import WAIVERS
from soar_actions.platforms.shuffle.workflows import WORKFLOWS, exported

__all__ = ["AUTHENTICATION", "FOLDER", "generated", "method_name"]

FOLDER: Final = "artefact/holdfast/1.0.0"
_HEADER: Final = "# Generated from the catalogue; do not edit.\n"
_LOGO: Final = Path(__file__).resolve().parent / "artefact" / "logo.svg"
AUTHENTICATION: Final[Mapping[str, tuple[str, str, bool]]] = {
    "endpoint": (
        "Control's API: https://host:port, nothing else.",
        "https://control.example:7445",
        True,
    ),
    "api_token": (
        "API token of an operator that holds `contain` only; or a client certificate.",
        "hfat_…",
        False,
    ),
    "ca_certificate": (
        "CA of control's certificate, as PEM; empty: the system's.",
        "-----BEGIN CERTIFICATE-----…",
        False,
    ),
    "client_certificate": ("Client certificate, as PEM.", "-----BEGIN CERTIFICATE-----…", False),
    "client_key": ("Its private key, as PEM.", "-----BEGIN PRIVATE KEY-----…", False),
    "timeout_seconds": ("Longest time of one attempt, 1 to 60.", "10", False),
    "proxy": ("Empty: as the environment says.", "http://proxy.example:3128", False),
}
"""Setting to (description, example, is it required)."""


def method_name(slug: str) -> str:
    """Return the method, and with it the action's name on the platform."""
    return "test_connection" if slug == "test-connectivity" else ACTIONS[slug].identifier


def generated() -> Mapping[str, str]:
    """Return path below this folder to text, for every generated file."""
    actions = {slug: action for slug, action in ACTIONS.items() if slug not in WAIVERS}
    return {
        f"{FOLDER}/api.yaml": _HEADER
        + yaml.safe_dump(_api(actions), sort_keys=False, width=100, allow_unicode=True),
        f"{FOLDER}/src/app.py": _app(actions),
        "README.md": document(
            (Path(__file__).parent / "head.md").read_text(encoding="utf-8"),
            platform_names={slug: method_name(slug) for slug in actions},
            waivers=WAIVERS,
        ),
        **{f"artefact/workflows/{name}.json": exported(each) for name, each in WORKFLOWS.items()},
    }


def _api(actions: Mapping[str, Action]) -> dict[str, Any]:
    return {
        "walkoff_version": "1.0.0",
        "app_version": "1.0.0",
        "name": "holdfast",
        "description": "Contain, revoke and verify AI agents that go wrong, and let people decide "
        "what is too risky to automate.",
        "tags": ["AI", "containment", "EDR"],
        "categories": ["EDR"],
        "contact_info": {
            "name": "The Holdfast authors",
            "url": "https://holdfast.example",
            "email": "",
        },
        "authentication": {
            "required": True,
            "parameters": [
                {
                    "name": name,
                    "description": said,
                    "example": example,
                    "required": is_required,
                    "multiline": "PEM" in said,
                    "schema": {"type": "string"},
                }
                for name, (said, example, is_required) in AUTHENTICATION.items()
            ],
        },
        "actions": [_action(slug, action) for slug, action in actions.items()],
        "large_image": "data:image/svg+xml;base64," + base64.b64encode(_LOGO.read_bytes()).decode(),
    }


def _action(slug: str, action: Action) -> dict[str, Any]:
    return {
        "name": method_name(slug),
        "description": _description(action),
        "parameters": [_parameter(parameter) for parameter in action.parameters],
        "returns": {
            "description": "`success` (true for SUCCESS and PENDING only), `status`, `reason` (a "
            "sentence), and the action's data. PENDING: nothing has been done yet.",
            "schema": {"type": "string"},
        },
    }


def _description(action: Action) -> str:
    parts = [action.description]
    if action.can_be_pending:
        parts.append(f"Approval: {action.approval_note}")
    if action.reversal:
        parts.append(f"To undo: {action.reversal}.")
    if action.permission:
        parts.append(f"Needs the permission {action.permission!r}.")
    return " ".join(parts)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": parameter.name,
        "description": parameter.description,
        "example": parameter.example,
        "required": parameter.is_required,
        "multiline": parameter.type is FieldType.LONG_TEXT,
        "schema": {"type": "string"},
    }
    if parameter.default:
        values["value"] = parameter.default
    options = parameter.choices or (
        ("true", "false") if parameter.type is FieldType.BOOLEAN else ()
    )
    if options:
        values["options"] = list(options)
    return values


def _app(actions: Mapping[str, Action]) -> str:
    methods = "\n".join(_method(slug, action) for slug, action in actions.items())
    return (
        "# SPDX-License-Identifier: Apache-2.0\n"
        f"{_HEADER}"
        "# fmt: off\n"
        '"""Holdfast\'s actions, one method each; the catalogue checks what they are given."""\n\n'
        "from holdfast_base import HoldfastBase\n\n\n"
        "class Holdfast(HoldfastBase):\n"
        '    """Contains, revokes and verifies AI agents that go wrong."""\n\n'
        f"{methods}\n\n"
        'if __name__ == "__main__":\n'
        "    Holdfast.run()\n"
    )


def _method(slug: str, action: Action) -> str:
    settings = [f'{name}=""' for name in AUTHENTICATION]
    parameters = [f'{each.name}="{each.default}"' for each in action.parameters]
    lines = [f"    def {method_name(slug)}(", "        self,"]
    lines += [f"        {each}," for each in (*settings, *parameters)]
    lines += ["        **unknown,", "    ):", f'        """{_first(action.description)}"""']
    lines += ["        settings = {"]
    lines += [f'            "{name}": {name},' for name in AUTHENTICATION]
    lines += ["        }", "        parameters = {"]
    lines += [f'            "{each.name}": {each.name},' for each in action.parameters]
    lines += [
        "        }",
        f'        return self.carry_out("{slug}", settings, parameters, unknown)',
        "",
    ]
    return "\n".join(lines)


def _first(text: str) -> str:
    """Return the first sentence, fit for a docstring."""
    return (
        text.replace('"', "'").replace("\\", "").split(". ")[0].removesuffix(".")[:80].rstrip()
        + "."
    )
