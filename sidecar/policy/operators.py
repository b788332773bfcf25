# SPDX-License-Identifier: Apache-2.0
"""``operators.yaml``: the people and the automation on the control plane, with their roles.

Laws:

1. An identity belongs to one operator.
2. Two operators with one ``human_id`` are one human: an alias is not a second person.
3. Automation is never a human, so it has no ``human_id``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from sidecar.documents import Document, short, validate_document
from sidecar.errors import DocumentError
from sidecar.model import OperatorKind, Role
from sidecar.policy.fields import FileModel, OperatorName, Version

__all__ = ["OperatorSpec", "parse_operators"]

_SPIFFE: Final = re.compile(
    r"spiffe://[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?(?:/[A-Za-z0-9._-]+)+", re.ASCII
)
_MAX_IDENTITY: Final = 2048


def _identity(value: str) -> str:
    is_spiffe = len(value) <= _MAX_IDENTITY and _SPIFFE.fullmatch(value)
    if not is_spiffe or {".", ".."} & set(value.split("/")):
        raise ValueError(
            f"{short(value)} is not a SPIFFE id: write spiffe://<trust domain>/<path>, "
            "without escapes"
        )
    return value


class _Operator(FileModel):
    kind: Literal["human", "automation"]
    identity: Annotated[str, AfterValidator(_identity)]
    roles: list[
        Literal[
            "contain",
            "release",
            "approve",
            "policy-author",
            "policy-approve",
            "audit-read",
            "admin",
            "break-glass",
        ]
    ] = Field(default_factory=list)
    human_id: OperatorName | None = None


class _OperatorsFile(FileModel):
    version: Version
    operators: dict[OperatorName, _Operator]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSpec:
    """One operator. Immutable. ``human_id`` is None for automation."""

    name: str
    kind: OperatorKind
    identity: str
    roles: frozenset[Role]
    human_id: str | None


def parse_operators(
    document: Document, problems: list[DocumentError]
) -> Mapping[str, OperatorSpec]:
    """Return the operators of *document*; what is wrong with one goes to *problems*.

    Raises:
        DocumentErrors: the file does not have the form of an operators file.
    """
    parsed = validate_document(document, _OperatorsFile)
    owners: dict[str, str] = {}
    operators: dict[str, OperatorSpec] = {}
    for name, operator in parsed.operators.items():
        first = owners.setdefault(operator.identity, name)
        if first != name:
            problems.append(
                document.error(
                    ("operators", name, "identity"),
                    f"is the identity of {first} too",
                    hint="one identity, one operator",
                )
            )
        is_human = operator.kind == "human"
        if operator.human_id is not None and not is_human:
            problems.append(
                document.error(
                    ("operators", name, "human_id"),
                    "automation is not a human",
                    hint="remove human_id",
                )
            )
        operators[name] = OperatorSpec(
            name=name,
            kind=OperatorKind(operator.kind),
            identity=operator.identity,
            roles=frozenset(Role(role) for role in operator.roles),
            human_id=(operator.human_id or name) if is_human else None,
        )
    return MappingProxyType(operators)
