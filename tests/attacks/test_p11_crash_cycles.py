# SPDX-License-Identifier: Apache-2.0
"""P1, P8, P11: 200 crashes of control and gate at random moments; nothing acknowledged is lost.

Each cycle lets agents call and operators order, kills control, the gate or both with SIGKILL at a
random moment, starts them again and compares the host with a model of everything that was
acknowledged. An order that was in flight is retried under its request id, as a playbook would: it is
carried out once, before or after the crash.

The seed is printed. ``CRASH_SEED`` and ``CRASH_CYCLES`` repeat or prolong a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.api.v1 import containment_pb2, token_pb2
from sidecar.audit.reader import StoredEntry, read_entries
from tests.support.bundles import AGENTS
from tests.support.clients import AgentClient, ControlClient, effect, new_id
from tests.support.testbed import Testbed

CYCLES = int(os.environ.get("CRASH_CYCLES", "200"))
WINDOW_S = 0.06
"""Longest time between the start of a cycle's load and its crash."""
CALLERS = 3
LOAD_AGENT = "zeta"
_IN_TROUBLE = {"AUDIT_UNAVAILABLE", "CLOCK_UNSTABLE", "DEADLINE", "STORE_UNAVAILABLE"}
TARGETS = AGENTS[:-1]


@dataclass(slots=True)
class Order:
    """Something an operator asked for, and asks for again until he has an answer."""

    kind: str
    request_id: str
    subject: str
    epoch: int = 0


@dataclass(slots=True)
class Model:
    """What was acknowledged."""

    killed: dict[str, int] = field(default_factory=dict)
    """Agent to the epoch of the kill that stands on it."""
    released: set[int] = field(default_factory=set)
    revoked: dict[str, int] = field(default_factory=dict)
    unanswered: list[Order] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    """Agents on which an order is under way: either verdict is right."""
    allowed: set[str] = field(default_factory=set)
    outcomes: dict[int, str] = field(default_factory=dict)
    control_entries: dict[int, int] = field(default_factory=dict)
    """Index in control's log to the directive that it must be about."""
    epoch: int = 0
    calls: int = 0


class Host:
    """The host under test, its clients, and the model."""

    def __init__(self, bed: Testbed, dice: random.Random) -> None:
        self.bed = bed
        self.dice = dice
        self.model = Model()
        self.alice: ControlClient = bed.operator("alice")
        self.bob: ControlClient = bed.operator("bob")
        self.agents: dict[str, AgentClient] = {name: bed.agent(name) for name in AGENTS}
        self._is_over = False

    async def aclose(self) -> None:
        """Hang up."""
        for client in (self.alice, self.bob, *self.agents.values()):
            await client.channel.close()

    # -- one cycle ----------------------------------------------------------------------------

    async def cycle(self) -> None:
        """Load, crash, start again, compare."""
        self._is_over = False
        work: list[Awaitable[None]] = [self._call_on_and_on() for _ in range(CALLERS)]
        work += [self._order_on_and_on()]
        running = [asyncio.ensure_future(item) for item in work]
        await asyncio.sleep(self.dice.uniform(0, WINDOW_S))
        victims = self.dice.choice([("control",), ("gate",), ("control",), ("gate",), ("both",)])
        self._crash(victims)
        self._is_over = True
        await asyncio.gather(*running)
        await self._crash_while_recovering()
        self._restart()
        await self._reconnect()
        await self._settle_unanswered()
        await self._compare()

    def _crash(self, victims: tuple[str, ...]) -> None:
        assert self.bed.control is not None
        if "gate" not in victims:
            self.bed.control.kill()
        if "control" not in victims:
            self.bed.gates["gate"].kill()

    async def _crash_while_recovering(self) -> None:
        """Now and then, start what is down and kill it again before it serves."""
        control, gate = self.bed.control, self.bed.gates["gate"]
        if self.dice.random() > 0.2:
            return
        assert control is not None
        if not control.is_running:
            self.bed.launch_control()
        if not gate.is_running:
            self.bed.launch_gate(AGENTS)
        await asyncio.sleep(self.dice.uniform(0, 0.15))
        for before, after in ((control, self.bed.control), (gate, self.bed.gates["gate"])):
            if after is not before and after is not None:
                after.kill()

    def _restart(self) -> None:
        control, gate = self.bed.control, self.bed.gates["gate"]
        assert control is not None
        is_control_down, is_gate_down = not control.is_running, not gate.is_running
        if is_control_down:
            self.bed.launch_control()
        if is_gate_down:
            self.bed.launch_gate(AGENTS)
        if is_control_down:
            self.bed.wait_control()
        if is_gate_down:
            self.bed.wait_gate(LOAD_AGENT)

    async def _reconnect(self) -> None:
        """Wait until every client has noticed that the other end is there again."""
        directives = containment_pb2.ListDirectivesRequest(page_size=1)
        health = health_pb2.HealthCheckRequest()
        await asyncio.gather(
            *(
                client.containment.ListDirectives(directives, timeout=10, wait_for_ready=True)
                for client in (self.alice, self.bob)
            ),
            *(
                health_pb2_grpc.HealthStub(client.channel).Check(
                    health, timeout=10, wait_for_ready=True
                )
                for client in self.agents.values()
            ),
        )

    # -- load ---------------------------------------------------------------------------------

    async def _call_on_and_on(self) -> None:
        while not self._is_over:
            name = self.dice.choice((LOAD_AGENT, *TARGETS))
            tool = self.dice.choice(("note.write", "note.read"))
            try:
                await self._call(name, tool)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.002)  # the gate is down: do not spin

    async def _call(self, name: str, tool: str) -> str:
        model = self.model
        held_before = model.killed.get(name) if name not in model.busy else None
        decision = await self.agents[name].ask(tool, {"text": "x"}, timeout_s=5)
        model.calls += 1
        what = effect(decision)
        is_held = held_before is not None and name not in model.busy
        if is_held and model.killed.get(name) == held_before:
            assert what != "ALLOW", f"{name} was killed in epoch {held_before}: {decision}"
        if what == "ALLOW" and tool == "note.write":
            model.allowed.add(decision.decision_id)
            if self.dice.random() < 0.3:
                confirmed = await self.agents[name].report(decision.decision_id)
                model.outcomes[confirmed.log_index] = decision.decision_id
        return what

    async def _order_on_and_on(self) -> None:
        while not self._is_over:
            order = self._next_order()
            self.model.unanswered.append(order)
            try:
                await self._carry_out(order)
            except grpc.aio.AioRpcError:
                return  # control is down: the order waits for the restart

    def _next_order(self) -> Order:
        dice, killed = self.dice, self.model.killed
        choice = dice.random()
        if choice < 0.2:
            return Order("revoke", new_id(), f"jti-{new_id()}")
        if killed and (choice < 0.55 or len(killed) == len(TARGETS)):
            name = dice.choice(sorted(killed))
            return Order("release", new_id(), name, killed[name])
        name = dice.choice(sorted(set(TARGETS) - set(killed)))
        return Order("contain", new_id(), name)

    async def _carry_out(self, order: Order) -> None:
        """Send *order* and note its answer in the model."""
        model = self.model
        if order.kind == "revoke":
            answer = await self.alice.revoke(
                jti=order.subject, issuer=self.bed.idp.issuer, request_id=order.request_id
            )
            model.revoked[order.subject] = answer.revocation.epoch
            model.epoch = max(model.epoch, answer.revocation.epoch)
        elif order.kind == "contain":
            model.busy.add(order.subject)
            answer = await self.alice.contain(order.subject, request_id=order.request_id)
            assert answer.receipt.durable
            epoch = answer.receipt.directive.epoch
            model.killed[order.subject] = epoch
            model.epoch = max(model.epoch, epoch)
            if answer.receipt.log_index >= 0:
                model.control_entries[answer.receipt.log_index] = epoch
            model.busy.discard(order.subject)
        else:
            model.busy.add(order.subject)
            answer = await self.bob.release(order.epoch, request_id=order.request_id)
            if answer.HasField("directive"):
                model.released.add(order.epoch)
                model.killed.pop(order.subject, None)
                model.epoch = max(model.epoch, answer.epoch)
            else:
                # Granted, and then refused by a host in trouble: the answer says that it failed,
                # why, and releases nothing. Another order may ask again.
                operation = answer.operation
                assert operation.state == operation.STATE_FAILED, operation
                assert operation.error_reason in _IN_TROUBLE, operation
            model.busy.discard(order.subject)
        model.unanswered.remove(order)

    async def _settle_unanswered(self) -> None:
        """Retry what the crash left without an answer, under the same request ids.

        A channel that met a dead control says so again for a while, without asking anew.
        """
        for order in list(self.model.unanswered):
            async with asyncio.timeout(15):
                while not await self._is_carried_out(order):
                    await asyncio.sleep(0.05)

    async def _is_carried_out(self, order: Order) -> bool:
        try:
            await self._carry_out(order)
        except grpc.aio.AioRpcError as exc:
            if exc.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    # -- comparing ----------------------------------------------------------------------------

    async def _compare(self) -> None:
        model = self.model
        standing = {d.epoch: d.target.agent for d in await self.alice.directives()}
        assert standing == {epoch: name for name, epoch in model.killed.items()}
        assert not model.released & set(standing)
        assert await self.alice.epoch() >= model.epoch
        rules = await self.alice.tokens.ListRevocations(
            token_pb2.ListRevocationsRequest(page_size=1000)
        )
        known = {rule.jti: rule.epoch for rule in rules.revocations if rule.jti}
        recent = dict(list(model.revoked.items())[-300:])
        assert recent.items() <= known.items()
        for name in TARGETS:
            what = await self._call(name, "note.read")
            assert (what == "ALLOW") == (name not in model.killed), (name, what, model.killed)

    def verify_logs(self) -> None:
        """Both logs verify, and hold every entry whose durability was acknowledged."""
        model, bed = self.model, self.bed
        control, gate = bed.verify_control_log(), bed.verify_gate_log()
        assert control.ok, control
        assert gate.ok, gate
        decided: dict[str, str] = {}
        for entry in _entries(bed.layout.gate_audit("gate")):
            fields = entry.fields()
            if fields["kind"] == "decision":
                decided[fields["decision_id"]] = fields["effect"]
            elif fields["kind"] == "outcome" and entry.seq in model.outcomes:
                assert fields["decision_id"] == model.outcomes.pop(entry.seq)
        assert all(decided.get(decision_id) == "ALLOW" for decision_id in model.allowed)
        assert not model.outcomes
        for entry in _entries(bed.layout.control_audit):
            epoch = model.control_entries.pop(entry.seq, None)
            if epoch is not None:
                assert entry.fields()["directive"]["epoch"] == str(epoch)
        assert not model.control_entries


def _entries(directory: Any) -> list[StoredEntry]:
    entries: list[StoredEntry] = []
    while block := read_entries(directory, len(entries), 5000, is_unsigned_included=True):
        entries += block
    return entries


@pytest.mark.slow
async def test_p11_nothing_acknowledged_is_lost_in_200_crashes(
    make_bed: Callable[..., Testbed], record_property: Callable[[str, object], None]
) -> None:
    """Every acknowledged kill, release, revocation and log entry is there after every crash."""
    seed = int(os.environ.get("CRASH_SEED", secrets.randbits(32)))
    print(f"CRASH_SEED={seed}")
    record_property("seed", seed)
    bed = make_bed(ack_timeout_s=0.5).begin()
    host = Host(bed, random.Random(seed))
    try:
        for cycle in range(CYCLES):
            try:
                await host.cycle()
            except AssertionError as exc:
                raise AssertionError(f"seed {seed}, cycle {cycle}: {exc}") from exc
        host.verify_logs()
    finally:
        await host.aclose()

    record_property("calls", host.model.calls)
    record_property("kills", len(host.model.released) + len(host.model.killed))
    assert len(host.model.released) > CYCLES // 10
    assert len(host.model.revoked) > CYCLES // 10
    assert len(host.model.allowed) > CYCLES


async def test_p11_model_notices_a_lost_kill_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """A host whose latch is put back to an older state after an acknowledgement is caught."""
    import shutil

    bed = make_bed().begin()
    host = Host(bed, random.Random(1))
    try:
        assert bed.control is not None
        bed.control.kill()
        shutil.copytree(bed.layout.latch, bed.root / "older")
        bed.restart_control()
        order = Order("contain", new_id(), "alpha")
        host.model.unanswered.append(order)
        await host._carry_out(order)
        bed.control.kill()
        bed.gates["gate"].kill()
        for name in ("slots", "journal"):
            shutil.copyfile(bed.root / "older" / name, bed.layout.latch / name)
        host._restart()
        await host._reconnect()

        with pytest.raises(AssertionError):
            await host._compare()
    finally:
        await host.aclose()
