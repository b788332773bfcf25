# SPDX-License-Identifier: Apache-2.0
"""``tests/*.yaml``: what the author of a bundle expects of it. A bundle that disagrees with its own
tests is not activated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from sidecar.documents import Document, validate_document
from sidecar.errors import DocumentError
from sidecar.model import Effect
from sidecar.policy.fields import FileModel, Sentence, SessionName, Version

__all__ = ["PolicyCase", "parse_cases"]

DEFAULT_SESSION = "policy-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCase:
    """One expected decision. Agents and tools need not exist: expecting DENY for those is fine."""

    name: str
    path: str
    line: int
    agent: str
    tool: str
    session: str
    arguments: dict[str, Any]
    expect: Effect
    policy: str | None


class _Case(FileModel):
    name: Sentence
    agent: str
    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    session: SessionName = DEFAULT_SESSION
    expect: Literal["ALLOW", "DENY", "HOLD"]
    policy: str | None = None


class _CasesFile(FileModel):
    version: Version
    tests: Annotated[list[_Case], Field(min_length=1)]


def parse_cases(document: Document, problems: list[DocumentError]) -> tuple[PolicyCase, ...]:
    """Return the cases of *document*; what is wrong with one goes to *problems*.

    Raises:
        DocumentErrors: the file does not have the form of a tests file.
    """
    parsed = validate_document(document, _CasesFile)
    lines: dict[str, int] = {}
    cases = []
    for position, case in enumerate(parsed.tests):
        line = document.line_of(("tests", position))
        first = lines.setdefault(case.name, line)
        if first != line:
            problems.append(
                document.error(
                    ("tests", position, "name"),
                    f"is the name of the test on line {first} too",
                    hint="give each test its own name",
                )
            )
        cases.append(
            PolicyCase(
                name=case.name,
                path=document.path,
                line=line,
                agent=case.agent,
                tool=case.tool,
                session=case.session,
                arguments=case.arguments,
                expect=Effect(case.expect),
                policy=case.policy,
            )
        )
    return tuple(cases)
