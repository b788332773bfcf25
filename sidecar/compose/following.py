# SPDX-License-Identifier: Apache-2.0
"""Lets approvals follow what happens beside them: containment, revocation, policy, an agent's end.

None of this is what keeps a contained agent from using a grant: the gate denies it anyway, from the
latch, before it asks about approvals. It keeps people from deciding what has become moot, tells whoever
waits, and voids grants that were given in another world.

Events are followed one after the other, in their order; one that cannot be followed is reported and
does not hold up the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from sidecar.approvals.service import Approvals
from sidecar.approvals.values import Approval, Cause, RequestKind
from sidecar.containment.events import Contained, Event, PolicyActivated, TokensRevoked
from sidecar.containment.process_group import ProcessGroupDriver
from sidecar.errors import HoldfastError
from sidecar.model import Directive, Level, Subject
from sidecar.policy.bundle import Bundle

__all__ = ["ApprovalFollower"]

log = structlog.get_logger("holdfast.control")


class ApprovalFollower:
    """Cancels approvals that events make moot. Belongs to one event loop."""

    def __init__(
        self,
        *,
        approvals: Approvals,
        bundle: Callable[[], Bundle],
        runtimes: ProcessGroupDriver,
    ) -> None:
        self._approvals = approvals
        self._bundle = bundle
        self._runtimes = runtimes
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._watched: dict[str, asyncio.Task[None]] = {}

    def follow(self, event: Event) -> None:
        """Take *event* up; it is followed by ``run``."""
        self._events.put_nowait(event)

    async def run(self) -> None:
        """Follow events until cancelled."""
        try:
            while True:
                event = await self._events.get()
                try:
                    await self._apply(event)
                except HoldfastError as exc:
                    log.error("approvals could not follow an event", problem=str(exc))
        finally:
            for task in self._watched.values():
                task.cancel()

    def watch_runtime(self, agent: str) -> None:
        """Cancel what *agent* waits for once its registered runtimes have ended."""
        running = self._watched.get(agent)
        if running is None or running.done():
            self._watched[agent] = asyncio.create_task(self._watch(agent))

    async def _watch(self, agent: str) -> None:
        await self._runtimes.gone(agent)
        try:
            await self._approvals.cancel_agent(
                agent, Cause.AGENT_GONE, detail=f"the runtime of agent {agent} has ended"
            )
        except HoldfastError as exc:
            log.error("an agent's requests could not be withdrawn", agent=agent, problem=str(exc))

    async def _apply(self, event: Event) -> None:
        match event:
            case Contained() if event.directive.level >= Level.FREEZE:
                await self._cancel_held_by(event.directive)
            case TokensRevoked() if event.rule.agent is not None:
                await self._approvals.cancel_agent(
                    event.rule.agent,
                    Cause.CONTAINED,
                    detail=f"tokens of agent {event.rule.agent} were revoked",
                )
            case PolicyActivated():
                await self._approvals.policy_changed(event.digest)
        await self._approvals.epoch_moved(event.epoch)

    async def _cancel_held_by(self, directive: Directive) -> None:
        detail = (
            f"{directive.target.describe()} was contained at {directive.level.name} by "
            f"{directive.author}"
        )
        for approval in self._approvals.live():
            is_call = approval.request.kind is RequestKind.CALL
            if is_call and directive.target.matches(self._subject(approval)):
                await self._approvals.cancel(approval.id, Cause.CONTAINED, detail=detail)

    def _subject(self, approval: Approval) -> Subject:
        request = approval.request
        spec = self._bundle().agents.get(request.agent)
        return Subject(
            agent=request.agent,
            session=request.session,
            tool=request.tool,
            principals=frozenset((request.owner,)),
            labels=spec.labels if spec else {},
        )
