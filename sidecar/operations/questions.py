# SPDX-License-Identifier: Apache-2.0
"""A question to humans that is no order: a step of somebody else's playbook. No I/O.

Laws:

1. Nothing but the answer comes of it: control carries nothing out.
2. The question is one line. It and its details are somebody else's words, perhaps an alert's or an
   agent's: they are shown as text, never obeyed, and never completed or normalised.
3. What is shown is what is hashed: question, details and agent, and nothing else.

Compatibility: as ``forms``.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sidecar.audit.safetext import clip, escape_text
from sidecar.canonical import canonical_control
from sidecar.errors import ErrorReason, RefusedError, UntrustedInputError
from sidecar.identifiers import check_agent_id, check_request_id
from sidecar.model import Operator, Role
from sidecar.operations.forms import MAX_WORDS, NO_QUOTES
from sidecar.operations.values import Action

__all__ = [
    "CONFIRMATION_ROLES",
    "MAX_DETAILS",
    "MAX_QUESTION",
    "Question",
    "question_sentence",
    "require_confirmation_request",
]

MAX_QUESTION: Final = 300
MAX_DETAILS: Final = 4000
CONFIRMATION_ROLES: Final = frozenset({Role.CONTAIN, Role.RELEASE, Role.POLICY_AUTHOR, Role.ADMIN})
"""Who may ask humans something; the same as the method's permissions."""

# Controls, lone surrogates, line and paragraph separators: no part of one line of text.
_BREAKING: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_LAYOUT: Final = frozenset("\n\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What humans are asked. ``agent`` is empty if it is about none.

    Raises:
        UntrustedInputError: It is empty, too long, or not text.
    """

    request_id: str
    question: str
    details: str = ""
    agent: str = ""

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        if self.agent:
            check_agent_id(self.agent)
        if not self.question.strip():
            raise _unfit("the question is empty")
        _check_text("question", self.question, MAX_QUESTION, allowed=frozenset())
        _check_text("details", self.details, MAX_DETAILS, allowed=_LAYOUT)

    def canonical(self) -> bytes:
        """Return the bytes that humans are shown and that are hashed (law 3)."""
        return canonical_control(
            action=Action.CONFIRM.value,
            body={"question": self.question, "details": self.details, "agent": self.agent},
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 of the canonical form."""
        return sha256(self.canonical()).hexdigest()


def question_sentence(requester: str, asked: Question) -> str:
    """Return ``soar asks about agent banking: “may the backup be restored?”`` (law 2)."""
    about = f" about agent {asked.agent}" if asked.agent else ""
    words = clip(escape_text(asked.question), MAX_WORDS).translate(NO_QUOTES)
    return f"{requester} asks{about}: “{words}”"


def require_confirmation_request(caller: Operator) -> None:
    """Refuse *caller* to ask humans something.

    Raises:
        RefusedError: PERMISSION_MISSING.
    """
    if not caller.roles & CONFIRMATION_ROLES:
        raise RefusedError(
            f"{caller.name} may not ask for a confirmation",
            hint="one of the roles contain, release, policy-author and admin is needed for it",
        )


def _check_text(name: str, text: str, most: int, *, allowed: frozenset[str]) -> None:
    if len(text) > most:
        raise _unfit(f"{name} is longer than {most} characters")
    if any(unicodedata.category(char) in _BREAKING and char not in allowed for char in text):
        raise _unfit(f"{name} holds a control character" + ("" if allowed else " or a line break"))


def _unfit(message: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT)
