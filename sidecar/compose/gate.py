# SPDX-License-Identifier: Apache-2.0
"""Wires and runs a gate."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import structlog
from grpc_health.v1 import health, health_pb2

from sidecar import __version__
from sidecar.audit.anchors import AnchorFile
from sidecar.audit.log import AuditLog
from sidecar.audit.outcomes import OutcomeJoiner
from sidecar.audit.redaction import Redactor
from sidecar.authorize.cache import DecisionCache
from sidecar.authorize.limits import Throttle
from sidecar.authorize.pipeline import Pipeline
from sidecar.authorize.record import RecentCall, Recorder
from sidecar.authorize.world import World
from sidecar.canonical import CallParser
from sidecar.clock import SystemClock
from sidecar.compose.recover import recover_from_log
from sidecar.containment.events import decode_rule
from sidecar.destination.resolver import SystemResolver
from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.gate.approvals import ApprovalDesk
from sidecar.gate.outcomes import OutcomeService
from sidecar.gate.policies import PolicyBuilder
from sidecar.gate.probes import GateMetrics
from sidecar.gate.server import bind_server
from sidecar.gate.servicer import GuardServicer
from sidecar.gate.sockets import AgentSocket, claim_socket
from sidecar.gate.state import GateState
from sidecar.gate.sync import GateIdentity, SyncClient
from sidecar.gate.watch import ContainmentWatch
from sidecar.identifiers import check_agent_id
from sidecar.ids import RandomIds
from sidecar.keys import load_or_create_key, load_or_create_secret
from sidecar.latch.reader import LatchReader
from sidecar.model import AgentId, Decision, ReasonCode
from sidecar.observe.exposition import serve_metrics
from sidecar.observe.metrics import Metrics
from sidecar.policy.engine import PolicyVerdict
from sidecar.safe_paths import ensure_private_directory
from sidecar.settings import Settings

__all__ = ["run_gate"]

_CACHE_ENTRIES: Final = 100_000
_CHECK_EVERY_S: Final = 0.1
_LATCH_DEADLINE_S: Final = 20.0
_STOP_GRACE_S: Final = 2.0
_CONTAINED: Final = frozenset({ReasonCode.KILLED, ReasonCode.FROZEN})
log = structlog.get_logger("holdfast.gate")


async def run_gate(settings: Settings, *, agents: Sequence[str]) -> None:
    """Serve *agents* until SIGTERM or SIGINT.

    Raises:
        HoldfastError: The gate could not start, or a socket was taken from it.
    """
    async with AsyncExitStack() as stack:
        gate = await _Gate.open(settings, [check_agent_id(agent) for agent in agents], stack)
        await gate.serve(stack)


class _Gate:
    """One running gate: what must be reached from more than one place."""

    def __init__(self) -> None:
        self.agents: list[AgentId]
        self.settings: Settings
        self.audit: AuditLog
        self.state: GateState
        self.sync: SyncClient
        self.watch: ContainmentWatch
        self.desk: ApprovalDesk
        self.pipeline: Pipeline
        self.recorder: Recorder
        self.outcomes: OutcomeService
        self.health = health.aio.HealthServicer()
        self.sockets: list[AgentSocket] = []
        self._is_serving: bool | None = None

    @classmethod
    async def open(cls, settings: Settings, agents: list[AgentId], stack: AsyncExitStack) -> _Gate:
        gate = cls()
        gate.agents, gate.settings = agents, settings
        layout, clock, ids = settings.layout, SystemClock(), RandomIds()
        gate_id = settings.gate_name(agents)
        home = layout.gate(gate_id)
        for shared in (layout.root, layout.runtime):
            if not shared.exists():  # as control makes them: either may start first
                ensure_private_directory(shared, 0o711)
        ensure_private_directory(home, 0o700)
        ensure_private_directory(layout.agents, 0o755)
        # Where a verifier key was written there was a log: a missing one is not made anew.
        is_new = not (home / "audit.vkey").exists()
        audit = gate.audit = AuditLog.open(
            layout.gate_audit(gate_id),
            origin=f"holdfast.local/gate/{gate_id}",
            signing_key=load_or_create_key(layout.gate_key(gate_id)),
            clock=clock,
            is_creation_allowed=is_new,
            anchors=(
                [AnchorFile(anchor, clock=clock)]
                if (anchor := settings.anchor_of(gate_id)) is not None
                else []
            ),
        )
        stack.push_async_callback(audit.aclose)
        (home / "audit.vkey").write_text(audit.vkey + "\n")
        audit.append({"kind": "start", "process": "gate", "version": __version__,
                      "settings_digest": settings.digest()})  # fmt: skip
        redactor = Redactor(load_or_create_secret(home / "redaction.key"))
        joiner = OutcomeJoiner()
        recorder = gate.recorder = Recorder(
            audit=audit, redactor=redactor, joiner=joiner, clock=clock
        )
        latch = await _open_latch(settings)
        stack.callback(latch.close)
        state = gate.state = GateState(
            latch=latch,
            clock=clock,
            max_staleness_s=settings.max_staleness_s,
            changed=gate.world_changed,
        )
        gate.watch = ContainmentWatch(clock=clock, world=state.current())
        cache: DecisionCache[PolicyVerdict] = DecisionCache(max_entries=_CACHE_ENTRIES, clock=clock)
        desk = gate.desk = ApprovalDesk()
        resolver = SystemResolver(clock=clock)
        stack.callback(resolver.close)
        gate.pipeline = Pipeline(
            worlds=state,
            parser=CallParser(),
            cache=cache,
            throttle=Throttle(),
            resolver=resolver,
            desk=desk,
            recorder=recorder,
            audit=audit,
            clock=clock,
            ids=ids,
        )
        gate.outcomes = OutcomeService(
            audit=audit,
            joiner=joiner,
            redactor=redactor,
            clock=clock,
            calls_per_minute=settings.outcomes_per_minute,
        )
        charges = await asyncio.to_thread(
            recover_from_log, layout.gate_audit(gate_id), joiner=joiner, recorder=recorder
        )
        builder = PolicyBuilder(
            clock=clock,
            restore=lambda limiter: limiter.restore(
                charges, boot_ns=clock.boot_ns(), wall_ns=clock.wall_ns()
            ),
        )
        stack.push_async_callback(builder.aclose)
        gate.sync = SyncClient(
            address=f"unix:{layout.internal_socket}",
            identity=GateIdentity(
                gate=gate_id,
                agents=agents,
                audit_directory=str(layout.gate_audit(gate_id)),
                verifier_key=audit.vkey,
                version=__version__,
            ),
            state=state,
            recorder=recorder,
            build_policy=builder.build,
            decode_rule=decode_rule,
            replay=gate.replay,
            approvals=desk,
        )
        if settings.metrics_listen:
            metrics = Metrics()
            probes = GateMetrics(
                state=state, sync=gate.sync, recorder=recorder, audit=audit, cache=cache
            )
            metrics.pull(probes.samples)
            serve_metrics(metrics.registry, settings.metrics_listen)
        return gate

    # -- running ------------------------------------------------------------------------------

    async def serve(self, stack: AsyncExitStack) -> None:
        """Serve until a signal, or until a socket is not ours any more."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        servers = []
        for agent in self.agents:
            socket = claim_socket(agent, self.settings.layout.agents)
            stack.callback(socket.close)
            servicer = GuardServicer(
                agent=agent,
                pipeline=self.pipeline,
                outcomes=self.outcomes,
                watch=self.watch,
                approvals=self.desk,
                max_in_flight=self.settings.max_in_flight,
            )
            await self.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            servers.append(await bind_server(socket, servicer, self.health))
            self.sockets.append(socket)
            log.info("serving", agent=agent, socket=str(socket.path), pid=os.getpid())
        syncing = asyncio.create_task(self.sync.run())
        checking = asyncio.create_task(self._check_often(stop))
        waiting = asyncio.create_task(stop.wait())
        everything: set[asyncio.Task[Any]] = {syncing, checking, waiting}
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            for task in (syncing, checking):
                if task.done():
                    task.result()
        finally:
            self.desk.close()
            # E17: nothing is allowed any more from here; calls that were begun still finish.
            await asyncio.gather(*(server.stop(_STOP_GRACE_S) for server in servers))
            for started in everything:
                started.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def _check_often(self, stop: asyncio.Event) -> None:
        """Notice, between calls, what calls would notice: a new epoch, a lost latch or socket."""
        while not stop.is_set():
            self.state.check_latch()
            self.sync.acknowledge(self.state.current().epoch)
            await self._tell_health()
            for socket in self.sockets:
                if not socket.is_ours():
                    log.error("the agent's socket was replaced: stopping", socket=str(socket.path))
                    stop.set()
            await asyncio.sleep(_CHECK_EVERY_S)

    async def _tell_health(self) -> None:
        world = self.state.current()
        is_held = world.blocker is not None and world.blocker.code in _CONTAINED
        is_serving = (
            (world.blocker is None or is_held)  # a gate that is contained does its work
            and self.state.staleness() is None
            and self.audit.is_healthy
        )
        if is_serving != self._is_serving:
            self._is_serving = is_serving
            status = health_pb2.HealthCheckResponse
            await self.health.set("", status.SERVING if is_serving else status.NOT_SERVING)

    # -- what others call back ----------------------------------------------------------------

    def world_changed(self, world: World) -> None:
        """Tell watchers and control about *world*, as soon as it is in force."""
        if hasattr(self, "watch"):
            self.watch.publish(world)
        if hasattr(self, "sync"):
            self.sync.acknowledge(world.epoch)

    async def replay(self, agent: AgentId, count: int) -> list[tuple[RecentCall, Decision]]:
        """Decide the agent's last calls again, without recording them as decisions."""
        if agent not in self.agents:
            return []
        results = []
        for number, call in enumerate(self.recorder.recent(agent, count)):
            results.append((call, await self.pipeline.rehearse(call.question)))
            if number % 50 == 49:
                await asyncio.sleep(0)  # let real calls pass
        return results


async def _open_latch(settings: Settings) -> LatchReader:
    """Open the latch, waiting a bounded time for control to have made it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LATCH_DEADLINE_S
    latch = settings.layout.latch
    while True:
        try:
            # Whoever owns it is control: only root and control could have put it there.
            owners = (latch.stat().st_uid,)
            return LatchReader(latch, owners=owners)
        except FileNotFoundError as exc:
            if loop.time() >= deadline:
                raise EnvironmentFailure(
                    f"there is no latch in {latch}",
                    reason=ErrorReason.LATCH_UNAVAILABLE,
                    hint="start control, which makes it, over the same state directory",
                ) from exc
        except EnvironmentFailure as exc:
            # It is there, and control may still be at making it.
            if exc.reason is not ErrorReason.LATCH_UNAVAILABLE or loop.time() >= deadline:
                raise
        await asyncio.sleep(0.05)
