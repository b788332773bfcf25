# SPDX-License-Identifier: Apache-2.0
"""What operations need from others; ``sidecar.approvals.service`` and control's policy give it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from sidecar.approvals.answers import ApprovalPage
from sidecar.approvals.values import Approval, Cause, Request
from sidecar.model import Operator
from sidecar.policy.bundle import Bundle
from sidecar.policy.engine import PolicyEngine

__all__ = ["Activate", "ApprovalsPort", "InForce", "PolicySource"]


class ApprovalsPort(Protocol):
    """The approvals, as far as control actions need them."""

    async def open_action(self, request: Request) -> Approval:
        """Return the request for *request*: the one that its request id opened, or a new one.

        Raises:
            ConflictError: The request id was used for another action.
            RefusedError: NO_APPROVER or NO_CHANNEL.
        """

    async def find_action(self, request_id: str) -> Approval | None:
        """Return the request for the action that was asked for with *request_id*, if there is one."""

    async def unfinished(self) -> Sequence[Approval]:
        """Return the actions that were granted or taken and have no result, oldest first."""

    def live(self) -> Sequence[Approval]:
        """Return those that wait or are granted."""

    async def take(self, approval_id: str) -> Approval:
        """Make a GRANTED action CONSUMED, its votes checked again; once.

        Raises:
            PreconditionError: It is not granted (any more).
        """

    async def finish(
        self, approval_id: str, *, result: str, detail: str, is_failed: bool = False
    ) -> Approval:
        """Attach what carrying out a consumed action gave."""

    async def cancel(
        self, approval_id: str, cause: Cause, *, detail: str, agent: str | None = None
    ) -> Approval | None:
        """Cancel it if it is live."""

    async def get(self, approval_id: str) -> Approval:
        """Return one.

        Raises:
            NotFoundError: There is none.
        """

    def may_see(self, approval: Approval, caller: Operator) -> bool:
        """Return whether *caller* may know of it."""

    async def list(
        self,
        *,
        pending_only: bool = False,
        agent: str = "",
        limit: int = 100,
        before: str | None = None,
    ) -> ApprovalPage:
        """Return approvals, newest first."""

    async def wait(self, approval_id: str, *, version: int, timeout_s: float) -> Approval:
        """Return it as soon as it is newer than *version*, or at the timeout as it is."""

    def add_listener(self, listener: Callable[[Approval], None]) -> None:
        """Call *listener* with every change, in the loop, after it is durable."""


class InForce(Protocol):
    """The bundle in force, and the epoch that its activation created."""

    @property
    def bundle(self) -> Bundle:
        """The bundle."""

    @property
    def epoch(self) -> int:
        """Its epoch."""


class PolicySource(Protocol):
    """Control's policy: what is in force, and what the directory holds now."""

    @property
    def reloading(self) -> asyncio.Lock:
        """Held while a bundle is read and activated: one at a time."""

    @property
    def state(self) -> InForce:
        """The bundle in force."""

    def operators(self) -> Mapping[str, Operator]:
        """Return the operators in force, by identity."""

    async def read(self) -> tuple[Bundle, PolicyEngine]:
        """Return what the directory holds now, checked and tested.

        Raises:
            UntrustedInputError: It is not a valid bundle.
        """


Activate = Callable[[Bundle, PolicyEngine, Operator], Awaitable[InForce]]
"""Lets a bundle come into force; returns once the gates have it and it is durable."""
