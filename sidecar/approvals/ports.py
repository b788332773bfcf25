# SPDX-License-Identifier: Apache-2.0
"""What approvals need from others; the composition root implements it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from sidecar.approvals.values import Approval, Request
from sidecar.model import Operator

__all__ = ["Announcer", "AuditSink", "Directory", "PasskeyVerifier", "Reach"]


class Directory(Protocol):
    """Who is an operator now."""

    def operators(self) -> Collection[Operator]:
        """Return the operators in force, humans and automation.

        Raises:
            HoldfastError: Nobody knows; then nobody may decide, and what is held is denied.
        """


class AuditSink(Protocol):
    """Control's log."""

    async def append(self, kind: str, body: Mapping[str, Any]) -> Any:
        """Write an entry; it is durable when this returns.

        Raises:
            EnvironmentFailure: It is not.
        """


class PasskeyVerifier(Protocol):
    """Knows the passkeys of humans."""

    async def verify(self, *, human_id: str, challenge: bytes, assertion: bytes) -> str:
        """Return, as JSON, what anybody needs to check later that *human_id* signed *challenge*.

        That is: credential id, public key (COSE, base64url), clientDataJSON, authenticatorData,
        signature, relying party id and origin.

        Raises:
            RefusedError: PASSKEY_INVALID.
        """


class Reach(Protocol):
    """Whether anybody can be told of a request."""

    def refusal(self, request: Request) -> str:
        """Return "" if some channel can reach somebody, else one sentence that says why none can."""


class Announcer(Protocol):
    """Tells approvers. Neither method ever blocks or raises."""

    def announce(self, approval: Approval, kind: str) -> None:
        """Tell of *approval*; *kind* is "opened", "reminder", "escalation" or "decided"."""

    def alert(self, agent: str, text: str) -> None:
        """Tell operators that *agent* asks more than it may."""
