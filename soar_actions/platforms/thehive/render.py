# SPDX-License-Identifier: Apache-2.0
"""The definitions of Cortex responders ("flavors"), made from the catalogue.

Laws:

1. An observable is taken for a target only if its type says that it is such a thing.
2. No configuration item switches the verification of certificates off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import Action
from soar_actions.packages.docs import document
from soar_actions.platforms.thehive import WAIVERS

__all__ = ["FLAVORS", "Flavor", "definition", "generated"]

VERSION: Final = "1.0"
_FOLDER: Final = Path(__file__).resolve().parent
_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "holdfast agent": ("holdfast-agent",),
    "holdfast session": ("holdfast-session",),
    "holdfast tool": ("holdfast-tool",),
    "holdfast operation": ("holdfast-operation",),
    "holdfast approval": ("holdfast-approval",),
    "holdfast incident": ("holdfast-incident",),
    "holdfast epoch": ("holdfast-epoch",),
    "domain": ("domain", "fqdn", "hostname", "ip"),
}
"""Types of observables that may name a parameter, by what the parameter contains (law 1)."""
_OTHER: Final = "other"
"""The type that every TheHive has; it names what the action is most likely pressed for."""
_UNLIKELY: Final = ("holdfast epoch",)
_OBSERVABLE: Final = "thehive:case_artifact"
_ANYWHERE: Final = ("thehive:case", "thehive:alert")
_TASK: Final = "thehive:case_task"
_ITEMS: Final = (
    ("endpoint", "Control's address: https://host:port, nothing else", "string", True, None),
    (
        "api_token",
        "API token of the operator that stands for Cortex (hfat_...). Leave it empty if a client "
        "certificate is used",
        "string",
        False,
        None,
    ),
    (
        "ca_certificate",
        "CA of control's certificate: PEM text, or the path of a file inside the worker. Empty: "
        "Cortex's own cacerts, else the worker's CAs",
        "string",
        False,
        None,
    ),
    (
        "client_certificate",
        "Client certificate: PEM text or path; only together with client_key",
        "string",
        False,
        None,
    ),
    (
        "client_key",
        "Private key of the client certificate: PEM text or path",
        "string",
        False,
        None,
    ),
    ("timeout_seconds", "How long one attempt may take: 1 to 60", "number", False, 10),
)


@dataclass(frozen=True)
class Flavor:
    """One responder.

    Attributes:
        name: What analysts see, without spaces.
        slug: The action that it runs.
        description: One sentence or two; empty: the action's own.
        fixed: Parameters that it does not leave to anyone.
    """

    name: str
    slug: str
    description: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)


_EXTRA: Final = (
    Flavor(
        name="Holdfast_KillAgent",
        slug="contain-agent",
        description="Kill an agent: every call denied, its tokens revoked, its runtime stopped. "
        "The same as Holdfast_ContainAgent with the level KILL.",
        fixed={"level": "KILL"},
    ),
    Flavor(
        name="Holdfast_FreezeAgent",
        slug="contain-agent",
        description="Freeze an agent: every call denied, its process kept for forensics. "
        "The same as Holdfast_ContainAgent with the level FREEZE.",
        fixed={"level": "FREEZE"},
    ),
)


def _flavors() -> tuple[Flavor, ...]:
    plain = tuple(
        Flavor(name=f"Holdfast_{action.name.title().replace(' ', '')}", slug=slug)
        for slug, action in ACTIONS.items()
        if slug not in WAIVERS
    )
    return (*plain, *(flavor for flavor in _EXTRA if flavor.slug in ACTIONS))


FLAVORS: Final = _flavors()
"""Every responder."""


def generated() -> Mapping[str, str]:
    """Return path below this folder to text; JSON has no place for a note that it is generated."""
    page = document(
        (_FOLDER / "head.md").read_text(encoding="utf-8"),
        platform_names={flavor.slug: flavor.name for flavor in FLAVORS if not flavor.fixed},
        waivers=WAIVERS,
    )
    return {
        "README.md": page,
        "artefact/Holdfast/README.md": page,
        **{
            f"artefact/Holdfast/{flavor.name}.json": json.dumps(definition(flavor), indent=2) + "\n"
            for flavor in FLAVORS
        },
    }


def definition(flavor: Flavor) -> dict[str, Any]:
    """Return what Cortex reads of *flavor*."""
    action = ACTIONS[flavor.slug]
    observables = _observables(action)
    config: dict[str, str] = {"service": flavor.slug}
    types = list(_ANYWHERE)
    if observables:
        types.insert(0, _OBSERVABLE)
        config["observables"] = ",".join(f"{kind}={name}" for kind, name in observables.items())
    if flavor.slug == "get-operation":
        types.append(_TASK)
    config.update({f"fixed_{name}": value for name, value in flavor.fixed.items()})
    return {
        "name": flavor.name,
        "version": VERSION,
        "author": "Holdfast",
        "url": "https://holdfast.example/",
        "license": "Apache-2.0",
        "description": flavor.description or _description(action),
        "dataTypeList": types,
        "command": "Holdfast/holdfast_responder.py",
        "baseConfig": "Holdfast",
        "config": config,
        "configurationItems": [_item(*item) for item in _ITEMS],
        "registration_required": False,
        "subscription_required": False,
        "free_subscription": False,
        "service_homepage": "https://holdfast.example/",
        "service_logo": {"path": "assets/logo.png", "caption": "logo"},
        "screenshots": [],
    }


def _observables(action: Action) -> dict[str, str]:
    """Return which parameter an observable of each type is."""
    known = [parameter for parameter in action.parameters if parameter.contains in _TYPES]
    found = {kind: each.name for each in known for kind in _TYPES[each.contains]}
    likely = sorted(known, key=lambda each: (not each.is_required, each.contains in _UNLIKELY))
    if likely:
        # Of a session it is the session that is pointed at; its agent is said beside it.
        closest = [
            each for each in likely if each.contains == "holdfast session" and each.is_required
        ]
        found[_OTHER] = (closest or likely)[0].name
    return found


def _description(action: Action) -> str:
    return (
        f"{action.description} Undone by: {action.reversal}."
        if action.reversal
        else action.description
    )


def _item(
    name: str, description: str, kind: str, is_required: bool, default: Any
) -> dict[str, Any]:
    item = {
        "name": name,
        "description": description,
        "type": kind,
        "multi": False,
        "required": is_required,
    }
    return item if default is None else {**item, "defaultValue": default}
