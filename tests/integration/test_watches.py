# SPDX-License-Identifier: Apache-2.0
"""The two watches: an operator sees every directive, a runtime sees how its agent is held."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from sidecar.api.v1 import containment_pb2, guard_pb2, types_pb2
from sidecar.sdk import Guard
from tests.support.polling import eventually
from tests.support.testbed import Testbed


async def _next(call: Any) -> Any:
    return await asyncio.wait_for(call.read(), 5)


async def test_watch_directives_tells_what_stands_and_every_change(bed: Testbed) -> None:
    """First what stands, marked as such; then what is ordered, released and lapses."""
    one, two = bed.fresh_agent(), bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.operator("bob") as bob:
        first = (await alice.contain(one, "OBSERVE")).receipt.directive.epoch
        watch = alice.containment.WatchDirectives(containment_pb2.WatchDirectivesRequest())
        initial = []
        while not initial or initial[-1].directive.epoch != first:
            initial.append(await _next(watch))
        second = (
            await alice.contain(two, "OBSERVE", ttl=timedelta(seconds=1))
        ).receipt.directive.epoch
        ordered = await _next(watch)
        await bob.release(first)
        released = await _next(watch)
        lapsed = await _next(watch)
        watch.cancel()

    assert all(message.initial for message in initial)
    assert (ordered.directive.epoch, ordered.initial) == (second, False)
    assert ordered.directive.state == types_pb2.Directive.STATE_ACTIVE
    assert (released.directive.epoch, released.directive.releaser) == (first, "bob")
    assert released.directive.state == types_pb2.Directive.STATE_RELEASED
    assert lapsed.directive.epoch == second
    assert lapsed.directive.state == types_pb2.Directive.STATE_EXPIRED
    assert ordered.epoch < released.epoch < lapsed.epoch


async def test_watch_containment_tells_the_runtime(bed: Testbed) -> None:
    """Now, and at each change: level, whether to cancel what is in flight, and why."""
    name = bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        bed.operator("bob") as bob,
        bed.agent(name) as agent,
    ):
        watch = agent.guard.WatchContainment(guard_pb2.WatchContainmentRequest())
        free = await _next(watch)
        held = (await alice.contain(name, "READ_ONLY")).receipt.directive.epoch
        read_only = await _next(watch)
        killed_by = (await alice.contain(name, "KILL")).receipt.directive.epoch
        killed = await _next(watch)
        await bob.release(killed_by)
        back = await _next(watch)
        await bob.release(held)
        free_again = await _next(watch)
        watch.cancel()

    assert free.level == free_again.level == types_pb2.LEVEL_UNSPECIFIED
    assert (read_only.level, read_only.cancel_in_flight) == (types_pb2.LEVEL_READ_ONLY, False)
    assert (killed.level, killed.cancel_in_flight) == (types_pb2.LEVEL_KILL, True)
    assert killed.reason.code == "KILLED"
    assert back.level == types_pb2.LEVEL_READ_ONLY
    assert killed.epoch >= killed_by


async def test_watch_containment_of_a_session_follows_that_session(bed: Testbed) -> None:
    """A kill of one session reaches its own watch and no other's."""
    name = bed.fresh_agent()
    target = types_pb2.Target(session=types_pb2.Target.Session(agent=name, session="mine"))
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        mine = agent.guard.WatchContainment(guard_pb2.WatchContainmentRequest(session_id="mine"))
        other = agent.guard.WatchContainment(guard_pb2.WatchContainmentRequest(session_id="other"))
        await _next(mine)
        await _next(other)
        await alice.contain(target)
        killed = await _next(mine)
        await alice.contain(name, "OBSERVE")
        observed = await _next(other)
        mine.cancel()
        other.cancel()

    assert killed.level == types_pb2.LEVEL_KILL
    assert observed.level == types_pb2.LEVEL_OBSERVE


async def test_sdk_hears_of_a_kill_and_of_its_end(bed: Testbed) -> None:
    """The guard in the agent's process is told at once, and denies by the gate's word."""
    name = bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        bed.operator("bob") as bob,
        Guard(bed.agent_address(name), deadline=timedelta(seconds=5)) as guard,
    ):
        await guard.wait_ready(5)
        before = await guard.authorize("note.write", {})
        epoch = (await alice.contain(name)).receipt.directive.epoch
        during = await guard.authorize("note.write", {})
        await asyncio.wait_for(guard.killed.wait(), 5)
        await bob.release(epoch)
        await eventually(lambda: guard.containment.level == "", 5)
        after = await guard.authorize("note.write", {})

    assert before.effect == "ALLOW"
    assert during.effect == "DENY"
    assert during.reason.code == "KILLED"
    assert after.effect == "ALLOW"
