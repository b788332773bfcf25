# SPDX-License-Identifier: Apache-2.0
"""Tells a runtime how its agent is held, so that it can cancel what is in flight.

This informs; it does not enforce. A runtime that does not listen is denied all the same at its next
call. A slow listener skips states in between but always gets the newest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sidecar.api.v1 import guard_pb2
from sidecar.authorize.world import World
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.gate.convert import level_message, reason_message
from sidecar.model import AgentId, Level, Subject

__all__ = ["ContainmentWatch"]


class ContainmentWatch:
    """Hands every new world to whoever follows an agent."""

    def __init__(self, *, clock: Clock, world: World) -> None:
        self._clock = clock
        self._world = world
        self._apply_time_ns = clock.wall_ns()
        self._changed = asyncio.Event()

    def publish(self, world: World) -> None:
        """Make *world* the newest and wake every follower."""
        self._world = world
        self._apply_time_ns = self._clock.wall_ns()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(
        self, agent: AgentId, session: str
    ) -> AsyncIterator[guard_pb2.WatchContainmentResponse]:
        """Yield how *agent* (and *session*, if given) is held: now, then at every change of it."""
        told: tuple[Level | None, str] | None = None
        while True:
            changed, world = self._changed, self._world
            message, state = self._state(world, agent, session)
            if state != told:
                told = state
                yield message
            await changed.wait()

    def _state(
        self, world: World, agent: AgentId, session: str
    ) -> tuple[guard_pb2.WatchContainmentResponse, tuple[Level | None, str]]:
        message = guard_pb2.WatchContainmentResponse(epoch=world.epoch)
        message.apply_time.seconds, message.apply_time.nanos = divmod(
            self._apply_time_ns, NS_PER_SECOND
        )
        if world.blocker is not None:
            message.level = level_message(Level.FREEZE)
            message.cancel_in_flight = True
            message.reason.CopyFrom(reason_message(world.blocker))
            return message, (Level.FREEZE, world.blocker.code)
        verdict = world.containment.effective(self._subject(world, agent, session))
        if verdict is None:
            return message, (None, "")
        message.level = level_message(verdict.level)
        message.cancel_in_flight = verdict.level >= Level.FREEZE
        message.reason.CopyFrom(reason_message(verdict.reason()))
        return message, (verdict.level, str(verdict.directive.epoch))

    @staticmethod
    def _subject(world: World, agent: AgentId, session: str) -> Subject:
        spec = world.policy.bundle.agents.get(agent) if world.policy is not None else None
        if spec is None:
            return Subject(agent=agent, session=session)
        return Subject(
            agent=agent,
            session=session,
            principals=frozenset((spec.owner,)),
            labels=spec.labels,
        )
