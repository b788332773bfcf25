# SPDX-License-Identifier: Apache-2.0
"""``agents.yaml``: who the agents are, and the facts about them that policies may read.

Laws:

1. Every agent has an owner: the human principal behind it, who never approves its calls.
2. A fact of one name has one type over all agents, so a policy that reads it means one thing.
3. To contain a protected agent takes a second human or ``break-glass``; policies do not see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import Field

from sidecar.documents import Document, short, validate_document
from sidecar.errors import DocumentError
from sidecar.model import AgentId
from sidecar.policy.fields import AgentName, FileModel, GroupName, LabelKey, Owner, Version

__all__ = ["AgentSpec", "Fact", "fact_kind", "parse_agents"]

Fact = str | bool | int | tuple[str, ...]
MAX_AGENTS: Final = 10_000
_MAX_FACT_INTEGER: Final = 2**53 - 1
_MAX_LABEL: Final = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """One agent. Immutable."""

    id: AgentId
    owner: str
    groups: tuple[str, ...]
    labels: Mapping[str, str]
    facts: Mapping[str, Fact]
    is_protected: bool = False


class _Agent(FileModel):
    owner: Owner
    groups: list[GroupName] = Field(default_factory=list)
    labels: dict[LabelKey, Annotated[str, Field(max_length=_MAX_LABEL)]] = Field(
        default_factory=dict
    )
    facts: dict[LabelKey, Any] = Field(default_factory=dict)
    protected: bool = False


class _AgentsFile(FileModel):
    version: Version
    agents: Annotated[dict[AgentName, _Agent], Field(max_length=MAX_AGENTS)]


def fact_kind(value: object) -> str | None:
    """Return what kind of fact *value* is, or None if it cannot be one."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer" if abs(value) <= _MAX_FACT_INTEGER else None
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return "list of strings"
    return None


def parse_agents(document: Document, problems: list[DocumentError]) -> Mapping[str, AgentSpec]:
    """Return the agents of *document*; what is wrong with one goes to *problems*.

    Raises:
        DocumentErrors: the file does not have the form of an agents file.
    """
    parsed = validate_document(document, _AgentsFile)
    kinds: dict[str, tuple[str, str]] = {}
    agents: dict[str, AgentSpec] = {}
    for name, agent in parsed.agents.items():
        facts: dict[str, Fact] = {}
        for key, value in agent.facts.items():
            place = ("agents", name, "facts", key)
            kind = fact_kind(value)
            if kind is None:
                problems.append(
                    document.error(
                        place,
                        f"{short(value)} cannot be a fact",
                        hint="a fact is a string, true or false, an integer or a list of strings",
                    )
                )
                continue
            first_agent, first_kind = kinds.setdefault(key, (name, kind))
            if kind != first_kind:
                problems.append(
                    document.error(
                        place,
                        f"is a {kind} here, but a {first_kind} for agent {first_agent}",
                        hint="one fact has one type for all agents",
                    )
                )
                continue
            facts[key] = tuple(value) if isinstance(value, list) else value
        agents[name] = AgentSpec(
            id=AgentId(name),
            owner=agent.owner,
            groups=tuple(dict.fromkeys(agent.groups)),
            labels=MappingProxyType(dict(agent.labels)),
            facts=MappingProxyType(facts),
            is_protected=agent.protected,
        )
    return MappingProxyType(agents)
