# SPDX-License-Identifier: Apache-2.0
"""The part of control's API description that the actions need, with their examples.

Law: nothing is described here that control does not describe itself. The two documents are cut out of
control's own, as they are served; a method that is not there is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms.http.requests import all_methods, requests_of

__all__ = ["openapi", "swagger"]

_SOURCE: Final = Path(__file__).resolve().parents[3] / "sidecar" / "jsonapi"
_PACKAGE: Final = "sidecar.api.v1"
_ALWAYS: Final = "PollOperation"
_CONNECTOR: Final = (
    "Contains AI agents that go wrong, proves that it worked, and asks people for what is too risky to "
    "automate."
)
_NOTE: Final = (
    "Generated from control's own description, cut down to what the actions of the catalogue call; do "
    "not edit.\n\n"
)


def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document, for Tines, Torq, n8n and others."""
    document = _cut("openapi.json")
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = _reachable(document, schemas, "#/components/schemas/")
    for method, slugs in all_methods().items():
        media = _operation(document, method)["requestBody"]["content"]["application/json"]
        media["examples"] = {
            slug: {"summary": ACTIONS[slug].name, "value": _body(slug, method)} for slug in slugs
        }
    return document


def swagger() -> dict[str, Any]:
    """Return the Swagger 2.0 document, for Logic Apps and Sentinel, which take no newer one.

    A summary is what an action is called there: at most 80 characters, no sentence. The connector's
    description may not speak of an API.
    """
    document = _cut("swagger.json")
    definitions = document["definitions"]
    document["definitions"] = _reachable(document, definitions, "#/definitions/")
    document["info"]["description"] = _CONNECTOR
    for item in document["paths"].values():
        for operation in item.values():
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", operation["operationId"])
            operation["summary"] = words.capitalize()
    for method, slugs in all_methods().items():
        operation = _operation(document, method)
        schema = next(item for item in operation["parameters"] if item["in"] == "body")["schema"]
        name = schema["$ref"].rpartition("/")[2]
        document["definitions"][name]["example"] = _body(slugs[0], method)
    return document


def _cut(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_SOURCE / name).read_text(encoding="utf-8"))
    methods = all_methods()
    wanted = {f"/{_PACKAGE}.{method}": slugs for method, slugs in methods.items()}
    if missing := sorted(set(wanted) - set(document["paths"])):
        raise ValueError(f"control does not describe {', '.join(missing)}")
    paths: dict[str, Any] = {}
    for path, item in document["paths"].items():
        operations = [value for value in item.values() if isinstance(value, dict)]
        if path in wanted:
            for operation in operations:
                operation["x-holdfast-actions"] = wanted[path]
            paths[path] = item
        elif any(operation.get("operationId") == _ALWAYS for operation in operations):
            paths[path] = item
    tags = {tag for item in paths.values() for one in item.values() for tag in _tags(one)}
    document["paths"] = paths
    document["tags"] = [tag for tag in document["tags"] if tag["name"] in tags]
    document["info"]["title"] = "Holdfast actions"
    document["info"]["description"] = _NOTE + document["info"]["description"]
    return document


def _tags(operation: Any) -> list[str]:
    return list(operation.get("tags", ())) if isinstance(operation, dict) else []


def _operation(document: Mapping[str, Any], method: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][f"/{_PACKAGE}.{method}"]["post"]
    return found


def _body(slug: str, method: str) -> dict[str, Any]:
    return dict(next(call.body for call in requests_of(slug) if call.method == method))


def _reachable(
    document: Mapping[str, Any], schemas: Mapping[str, Any], prefix: str
) -> dict[str, Any]:
    """Return those of *schemas* that the paths of *document* refer to, through others too."""
    rest = {
        key: value for key, value in document.items() if key not in ("definitions", "components")
    }
    waiting, found = _references(rest, prefix), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting |= _references(schemas[name], prefix)
    return {name: schemas[name] for name in schemas if name in found}


def _references(value: Any, prefix: str) -> set[str]:
    if isinstance(value, dict):
        found = {
            item[len(prefix) :]
            for key, item in value.items()
            if key == "$ref" and isinstance(item, str) and item.startswith(prefix)
        }
        return found.union(*(_references(item, prefix) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(item, prefix) for item in value))
    return set()
