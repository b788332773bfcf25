# SPDX-License-Identifier: Apache-2.0
"""The integration's declaration, made of the catalogue: settings, commands, arguments, outputs."""

from __future__ import annotations

from typing import Any, Final

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import Action, FieldType, Parameter
from soar_actions.platforms.xsoar.naming import (
    CONTEXT_TYPE,
    OPERATION,
    TEST_MODULE,
    command_of,
    context_path,
    prefix_of,
)

__all__ = ["DOCKER_IMAGE", "FROM_VERSION", "commands", "integration"]

DOCKER_IMAGE: Final = "demisto/python3:3.12.13.10116658"
"""Python 3.12 and nothing more: what we ship needs the standard library alone."""
FROM_VERSION: Final = "6.10.0"
_DESCRIPTION: Final = (
    "Contain rogue AI agents with Holdfast: hold or kill an agent, block tools and destinations, "
    "revoke "
    "tokens, collect evidence, open incidents, and wait for the humans who must grant what "
    "reaches too far."
)
_SETTINGS: Final[tuple[dict[str, Any], ...]] = (
    {
        "display": "Address of Holdfast control's JSON API",
        "name": "endpoint",
        "type": 0,
        "required": True,
        "defaultvalue": "https://holdfast.example.com:7445",
        "additionalinfo": "https://host:port, and nothing after it.",
        "section": "Connect",
    },
    {
        "displaypassword": "API token",
        "name": "credentials",
        "type": 9,
        "hiddenusername": True,
        "required": False,
        "additionalinfo": "Of `holdfast api-tokens create`; shown there once. Leave it empty "
        "where a client "
        "certificate is used.",
        "section": "Connect",
        "display": "",
    },
    {
        "display": "Certificate of the CA (PEM)",
        "name": "ca_certificate",
        "type": 12,
        "required": False,
        "additionalinfo": "Of the private CA that control's certificate is checked against. Empty: the "
        "system's CAs. Certificates are always checked.",
        "section": "Connect",
    },
    {
        "display": "Client certificate (PEM)",
        "name": "client_certificate",
        "type": 12,
        "required": False,
        "additionalinfo": "For mutual TLS, instead of a token or beside it.",
        "section": "Connect",
        "advanced": "true",
    },
    {
        "display": "Private key of the client certificate (PEM)",
        "name": "client_key",
        "type": 14,
        "required": False,
        "section": "Connect",
        "advanced": "true",
    },
    {
        "display": "Seconds for one attempt",
        "name": "timeout_seconds",
        "type": 0,
        "required": False,
        "defaultvalue": "10",
        "additionalinfo": "1 to 60.",
        "section": "Connect",
        "advanced": "true",
    },
    {
        "display": "Use system proxy settings",
        "name": "proxy",
        "type": 8,
        "required": False,
        "section": "Connect",
        "advanced": "true",
    },
)
_WAITING: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "wait_for_decision",
        "description": "Whether the command comes back by itself until humans have decided what "
        "they must "
        "grant; otherwise it ends at once with the status PENDING.",
        "auto": "PREDEFINED",
        "predefined": ["true", "false"],
        "defaultValue": "true",
    },
    {
        "name": "interval_in_seconds",
        "description": "How many seconds lie between two looks at what waits; at least 10.",
        "defaultValue": "30",
    },
    {
        "name": "timeout_in_seconds",
        "description": "How many seconds the command waits for a decision. What waits goes on waiting.",
        "defaultValue": "3600",
    },
    {
        "name": "polled_operation",
        "description": "The operation that is looked at; only the platform's own polling sets it.",
        "deprecated": True,
    },
    {
        "name": "polled_items",
        "description": "What else the first run ordered; only the platform's own polling sets it.",
        "deprecated": True,
    },
    {
        "name": "hide_polling_output",
        "description": "Only the platform's own polling sets it.",
        "deprecated": True,
    },
)
_LOOK: Final = "get-operation"
_EVIDENCE: Final = {
    "contextPath": "Holdfast.ExportEvidence.file",
    "description": "Name of the War Room's file with the evidence: control's answers as they came.",
    "type": "String",
}
_FRAME: Final = (
    ("status", "SUCCESS, PENDING (humans must decide first; nothing was done), PARTIAL or FAILED."),
    ("summary", "The outcome in a sentence."),
    ("idempotency_key", "The key of this run; the same key never orders anything twice."),
    (
        "error.class",
        "If it failed: BAD_INPUT, NOT_FOUND, CONFLICT, REFUSED, UNAVAILABLE or FAILED.",
    ),
    ("error.reason", "If it failed: the stable code of the reason."),
    ("error.remedy", "If it failed: what to do."),
)


def commands() -> dict[str, Action]:
    """Return every command that the integration declares, with its action."""
    named = {command_of(slug): action for slug, action in sorted(ACTIONS.items())}
    return {name: action for name, action in sorted(named.items()) if name != TEST_MODULE}


def integration() -> dict[str, Any]:
    """Return the declaration as the platform reads it."""
    return {
        "category": "Utilities",
        "sectionorder": ["Connect"],
        "commonfields": {"id": "Holdfast", "version": -1},
        "configuration": [dict(setting) for setting in _SETTINGS],
        "description": _DESCRIPTION,
        "display": "Holdfast",
        "name": "Holdfast",
        "script": {
            "commands": [_command(name, action) for name, action in commands().items()],
            "dockerimage": DOCKER_IMAGE,
            "runonce": False,
            "script": "-",
            "subtype": "python3",
            "type": "python",
        },
        "fromversion": FROM_VERSION,
        "tests": ["No tests"],
    }


def _command(name: str, action: Action) -> dict[str, Any]:
    arguments = [_argument(parameter) for parameter in action.parameters]
    command: dict[str, Any] = {"name": name, "description": action.description}
    if not action.is_read_only:
        command["execution"] = True
    if action.can_be_pending or action.slug == _LOOK:
        arguments += [dict(argument) for argument in _WAITING]
        command["polling"] = True
    if action.slug == _LOOK:
        # A look is a look; only who asks for it waits.
        next(one for one in arguments if one["name"] == "wait_for_decision")["defaultValue"] = (
            "false"
        )
    return {**command, "arguments": arguments, "outputs": _outputs(action)}


def _argument(parameter: Parameter) -> dict[str, Any]:
    argument: dict[str, Any] = {
        "name": parameter.name,
        "description": _sentence(f"{parameter.description} For example: {parameter.example}"),
    }
    choices = parameter.choices or (
        ("true", "false") if parameter.type is FieldType.BOOLEAN else ()
    )
    if choices:
        argument |= {"auto": "PREDEFINED", "predefined": list(choices)}
    if parameter.type is FieldType.LIST:
        argument["isArray"] = True
    if parameter.is_required:
        argument["required"] = True
    if parameter.default:
        argument["defaultValue"] = parameter.default
    return argument


def _sentence(text: str) -> str:
    """Return *text* with the full stop that the platform's formatter wants."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _outputs(action: Action) -> list[dict[str, Any]]:
    prefix = prefix_of(action.slug)
    frame = [
        {"contextPath": f"{prefix}.{path}", "description": text, "type": "String"}
        for path, text in _FRAME
    ]
    frame.append(
        {
            "contextPath": f"{prefix}.error.retryable",
            "description": "If it failed: whether the same request may simply be sent again.",
            "type": "Boolean",
        }
    )
    own = [
        {
            "contextPath": context_path(action.slug, output.path),
            "description": _sentence(output.description),
            "type": CONTEXT_TYPE[output.type],
        }
        for output in action.outputs
        if (action.slug, output.path) != ("export-evidence", "evidence")
    ]
    if action.slug == "export-evidence":
        own.append(dict(_EVIDENCE))  # a context is no place for megabytes
    held = [
        {
            "contextPath": f"{OPERATION}.{output.path.removeprefix('operation.').replace('[]', '')}",
            "description": _sentence(output.description),
            "type": CONTEXT_TYPE[output.type],
        }
        for output in action.outputs
        if output.path.startswith("operation.")
    ]
    unique = {one["contextPath"]: one for one in (*held, *own, *frame)}
    return [
        unique[path] for path in dict.fromkeys(one["contextPath"] for one in (*frame, *own, *held))
    ]
