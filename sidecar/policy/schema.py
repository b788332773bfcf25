# SPDX-License-Identifier: Apache-2.0
"""The Cedar schema and entities, generated from the bundle.

::

    entity Group;
    entity Agent in [Group] { owner: String, labels: {…}, facts: {…} };
    entity Tool { class: String, data_class: String };
    action "<tool>" appliesTo {
      principal: Agent, resource: Tool,
      context: { args: {…}, session: String, destination?: { scheme, host, port } },
    };

Laws:

1. A policy that names an argument, fact or tool which does not exist fails at load, not at use.
2. ``destination`` exists for network tools, and for them always.
3. Labels are optional always; a fact is required only if every agent states it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cedarpy

from sidecar.documents import did_you_mean
from sidecar.errors import DocumentError
from sidecar.policy.agents import AgentSpec, fact_kind
from sidecar.policy.cedar_text import line_mentioning
from sidecar.policy.policies import PolicySpec
from sidecar.policy.tools import ToolSpec
from sidecar.policy.types import CedarType, RecordType, Scalar, SetType

__all__ = ["cedar_schema", "entities_json", "schema_text", "validate_policies"]

_SCALARS: Final[Mapping[Scalar, Mapping[str, str]]] = {
    Scalar.STRING: {"type": "String"},
    Scalar.BOOL: {"type": "Boolean"},
    Scalar.LONG: {"type": "Long"},
    Scalar.DECIMAL: {"type": "Extension", "name": "decimal"},
}
_STRING: Final = {"type": "String"}
_FACTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "string": _STRING,
    "boolean": {"type": "Boolean"},
    "integer": {"type": "Long"},
    "list of strings": {"type": "Set", "element": _STRING},
}
_DESTINATION: Final = {
    "type": "Record",
    "attributes": {"scheme": _STRING, "host": _STRING, "port": {"type": "Long"}},
}


def cedar_schema(
    *, tools: Mapping[str, ToolSpec], agents: Mapping[str, AgentSpec]
) -> cedarpy.Schema:
    """Return the compiled schema of these tools and agents."""
    return cedarpy.Schema.from_json_str(json.dumps(_schema(tools, agents)), release_gil=True)


def schema_text(*, tools: Mapping[str, ToolSpec], agents: Mapping[str, AgentSpec]) -> str:
    """Return the schema in Cedar's own syntax, for people and editors."""
    return str(cedar_schema(tools=tools, agents=agents))


def _schema(tools: Mapping[str, ToolSpec], agents: Mapping[str, AgentSpec]) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for agent in agents.values():
        for key in agent.labels:
            labels[key] = {**_STRING, "required": False}
        for key, value in agent.facts.items():
            everywhere = all(key in other.facts for other in agents.values())
            facts[key] = {**_FACTS[fact_kind(value) or "string"], "required": everywhere}
    return {
        "": {
            "entityTypes": {
                "Group": {},
                "Agent": {
                    "memberOfTypes": ["Group"],
                    "shape": _record({"owner": _STRING, "labels": _record(labels),
                                      "facts": _record(facts)}),
                },
                "Tool": {"shape": _record({"class": _STRING, "data_class": _STRING})},
            },
            "actions": {name: _action(tool) for name, tool in tools.items()},
        }
    }  # fmt: skip


def _action(tool: ToolSpec) -> dict[str, Any]:
    context: dict[str, Any] = {"args": _type(tool.visible), "session": _STRING}
    if tool.destination is not None:
        context["destination"] = _DESTINATION
    return {
        "appliesTo": {
            "principalTypes": ["Agent"],
            "resourceTypes": ["Tool"],
            "context": _record(context),
        }
    }


def _record(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Record", "attributes": dict(attributes)}


def _type(of: CedarType) -> dict[str, Any]:
    match of:
        case Scalar():
            return dict(_SCALARS[of])
        case SetType():
            return {"type": "Set", "element": _type(of.element)}
        case RecordType():
            return _record(
                {
                    name: {**_type(attribute.type), "required": attribute.is_required}
                    for name, attribute in of.attributes.items()
                }
            )


def entities_json(*, tools: Mapping[str, ToolSpec], agents: Mapping[str, AgentSpec]) -> str:
    """Return every agent, group and tool as Cedar entities."""
    groups = sorted({group for agent in agents.values() for group in agent.groups})
    entities: list[dict[str, Any]] = [
        {"uid": {"type": "Group", "id": group}, "attrs": {}, "parents": []} for group in groups
    ]
    for agent in agents.values():
        facts = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in agent.facts.items()
        }
        entities.append(
            {
                "uid": {"type": "Agent", "id": agent.id},
                "attrs": {"owner": agent.owner, "labels": dict(agent.labels), "facts": facts},
                "parents": [{"type": "Group", "id": group} for group in agent.groups],
            }
        )
    for tool in tools.values():
        entities.append(
            {
                "uid": {"type": "Tool", "id": tool.name},
                "attrs": {"class": tool.tool_class.value, "data_class": tool.data_class},
                "parents": [],
            }
        )
    return json.dumps(entities)


def validate_policies(
    policies: Sequence[PolicySpec],
    schema: cedarpy.Schema,
    *,
    tools: Mapping[str, ToolSpec],
) -> list[DocumentError]:
    """Return what Cedar's validator has against *policies*, with file and line."""
    if not policies:
        return []
    text = "\n".join(policy.text for policy in policies)
    result = cedarpy.validate_policies(text, schema, release_gil=True)
    if result.validation_passed:
        return []
    problems: dict[tuple[str, str], DocumentError] = {}
    for error in result.errors:
        number = error.policy_id.removeprefix("policy")
        message = re.sub(r"^for policy `policy\d+`, ", "", error.error).splitlines()[0][:300]
        if not number.isdigit() or int(number) >= len(policies):
            problems.setdefault(("", message), DocumentError(message, path="policies"))
            continue
        policy = policies[int(number)]
        problems.setdefault(
            (policy.id, message),
            DocumentError(
                f"policy {policy.id}: {message}",
                path=policy.path,
                line=line_mentioning(policy.text, policy.line, message),
                hint=_hint(message, policy, tools),
            ),
        )
    if not problems:
        problems[("", "")] = DocumentError("the policies do not match the tools", path="policies")
    return list(problems.values())


def _hint(message: str, policy: PolicySpec, tools: Mapping[str, ToolSpec]) -> str:
    if found := re.search(r"access to optional attribute `([^`]+)`", message):
        return f"ask first: `… has {found[1].rpartition('.')[2]} && …`"
    found = re.search(r'attribute `args\.([^`]+)` in context for Action::"([^"]+)"', message)
    if found is None or found[2] not in tools:
        return ""
    known = list(tools[found[2]].visible.attributes)
    near = did_you_mean(found[1].split(".")[0], known)
    if near or policy.scope.tools is not None:
        return near or f"policies see: {', '.join(known) or 'no argument'}"
    return f"the policy applies to {found[2]} too: name its actions in the head"
