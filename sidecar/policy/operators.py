# SPDX-License-Identifier: Apache-2.0
"""``operators.yaml``: the people and the automation on the control plane, with their roles.

Laws:

1. An identity belongs to one operator.
2. Two operators with one ``human_id`` are one human: an alias is not a second person.
3. Automation is never a human, so it has no ``human_id``, no mail address and no login.
4. A login (issuer and subject, compared byte for byte) belongs to one operator. A mail address says
   where somebody is written to and whose agents are theirs; it never says who somebody is.
5. ``local`` is the operator of the host's own socket; no other operator is called that.
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
_LOCAL: Final = "local"
_EMAIL: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?",
    re.ASCII,
)
_HTTPS: Final = re.compile(
    r"https://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[\x21-\x7e]*)?", re.ASCII
)
_LOOPBACK: Final = re.compile(
    r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?:/[\x21-\x7e]*)?", re.ASCII
)
_MAX_ISSUER: Final = 2048
_MAX_EMAILS: Final = 16


def _identity(value: str) -> str:
    is_spiffe = len(value) <= _MAX_IDENTITY and _SPIFFE.fullmatch(value)
    if not is_spiffe or {".", ".."} & set(value.split("/")):
        raise ValueError(
            f"{short(value)} is not a SPIFFE id: write spiffe://<trust domain>/<path>, "
            "without escapes"
        )
    return value


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise ValueError(f"{short(value)} is not a mail address: write name@example.com")
    return value


def _issuer(value: str) -> str:
    """An issuer is compared as text, so it is written exactly as the provider writes it."""
    is_url = _HTTPS.fullmatch(value) or _LOOPBACK.fullmatch(value)
    if not is_url or {"?", "#", "@"} & set(value) or len(value) > _MAX_ISSUER:
        raise ValueError(
            f"{short(value)} is not an issuer: write its https URL without query and fragment "
            "(http only on this host)"
        )
    return value


class _Login(FileModel):
    issuer: Annotated[str, AfterValidator(_issuer)]
    subject: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


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
    emails: Annotated[
        list[Annotated[str, AfterValidator(_email)]], Field(max_length=_MAX_EMAILS)
    ] = Field(default_factory=list)
    logins: Annotated[list[_Login], Field(max_length=_MAX_EMAILS)] = Field(default_factory=list)


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
    emails: tuple[str, ...] = ()
    logins: tuple[tuple[str, str], ...] = ()
    """(issuer, subject) at OpenID providers."""


def parse_operators(
    document: Document, problems: list[DocumentError]
) -> Mapping[str, OperatorSpec]:
    """Return the operators of *document*; what is wrong with one goes to *problems*.

    Raises:
        DocumentErrors: the file does not have the form of an operators file.
    """
    parsed = validate_document(document, _OperatorsFile)
    owners: dict[str, str] = {}
    persons: dict[tuple[str, str], str] = {}
    operators: dict[str, OperatorSpec] = {}
    for name, operator in parsed.operators.items():
        if name == _LOCAL:
            problems.append(
                document.error(
                    ("operators", name),
                    "is the name of the host's own socket",
                    hint="choose another name",
                )
            )
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
        for key, value in (
            ("human_id", operator.human_id),
            ("emails", operator.emails),
            ("logins", operator.logins),
        ):
            if value and not is_human:
                problems.append(
                    document.error(
                        ("operators", name, key),
                        "automation is not a human",
                        hint=f"remove {key}",
                    )
                )
        logins = tuple((login.issuer, login.subject) for login in operator.logins)
        for position, login in enumerate(logins):
            if login in persons:
                problems.append(
                    document.error(
                        ("operators", name, "logins", position),
                        f"is a login of {persons[login]} already",
                        hint="one login, one operator",
                    )
                )
            persons[login] = name
        operators[name] = OperatorSpec(
            name=name,
            kind=OperatorKind(operator.kind),
            identity=operator.identity,
            roles=frozenset(Role(role) for role in operator.roles),
            human_id=(operator.human_id or name) if is_human else None,
            emails=tuple(dict.fromkeys(operator.emails)),
            logins=logins,
        )
    return MappingProxyType(operators)
