# SPDX-License-Identifier: Apache-2.0
"""The kill, in the middle of a benign run with 64 callers in flight, and the proof that it held.

The agent's side measures for itself: every caller notes when it began to ask and what it was told. So
"no allow after the acknowledgement" is not the gate's word but the callers'.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.errors import EnvironmentFailure
from sidecar.quickstart.commands import run_holdfast
from sidecar.quickstart.dataset import Suite
from sidecar.sdk import Guard
from sidecar.supervisor.host import Host

__all__ = ["CALLERS", "DrillResult", "Traffic", "drill", "verify_logs"]

CALLERS: Final = 64
_WARM_UP_CALLS: Final = 2000
_AFTER_CALLS: Final = 2000
_DEADLINE_S: Final = 20.0

Step = Callable[[str], None]


@dataclass(slots=True)
class DrillResult:
    """What the drill found; all times are wall nanoseconds of one host."""

    agent: str
    handler_output: dict[str, Any] = field(default_factory=dict)
    call_time_ns: int = 0
    ack_time_ns: int = 0
    last_allow_start_ns: int = 0
    last_allow_answer_ns: int = 0
    allowed_before: int = 0
    denied_after: int = 0
    allows_started_after_ack: int = 0
    restart_denied: bool = False
    reregistration_denied: bool = False
    replayed: int = 0
    replayed_denied: int = 0
    verify_output: dict[str, Any] = field(default_factory=dict)
    audit: list[dict[str, Any]] = field(default_factory=list)

    @property
    def directive_epoch(self) -> int:
        """The epoch of the directive that killed the agent."""
        name = str(self.handler_output.get("receipt", {}).get("directive", ""))
        return int(name.removeprefix("directives/") or 0)

    @property
    def call_to_last_allow_ms(self) -> float:
        """From the handler's call to the last ALLOW any caller received; negative if before it."""
        return (self.last_allow_answer_ns - self.call_time_ns) / 1e6

    @property
    def call_to_ack_ms(self) -> float:
        """From the handler's call to its signed receipt."""
        return (self.ack_time_ns - self.call_time_ns) / 1e6

    @property
    def held(self) -> bool:
        """Whether every proof came out."""
        return (
            self.allows_started_after_ack == 0
            and self.allowed_before > 0
            and self.denied_after > 0
            and self.restart_denied
            and self.reregistration_denied
            and self.replayed > 0
            and self.replayed == self.replayed_denied
            and bool(self.audit)
            and all(log["ok"] for log in self.audit)
        )


class Traffic:
    """64 callers of one agent that never stop asking for what the agent may do."""

    def __init__(self, guard: Guard, suite: Suite) -> None:
        self._guard = guard
        reads = [
            call
            for task in suite.user_tasks
            for call in task.calls
            if call.tool.startswith(("get_", "read_"))
        ]
        self._calls = itertools.cycle(reads)
        self._is_stopping = False
        self._goal = 0
        self._reached = asyncio.Event()
        self.answers: list[tuple[int, int, bool]] = []
        """(asked, answered, allowed) of every call, in wall nanoseconds."""

    async def run(self) -> None:
        """Ask from all callers until ``stop``."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._caller())

    def stop(self) -> None:
        """Let every caller finish the question it asked."""
        self._is_stopping = True

    async def wait_answers(self, count: int) -> None:
        """Wait until *count* more calls were answered.

        Raises:
            EnvironmentFailure: They were not, in time.
        """
        self._goal = len(self.answers) + count
        self._reached.clear()
        try:
            async with asyncio.timeout(_DEADLINE_S):
                await self._reached.wait()
        except TimeoutError as exc:
            raise EnvironmentFailure(
                "the gate stopped answering", hint="look at the gate's log"
            ) from exc

    async def _caller(self) -> None:
        while not self._is_stopping:
            call = next(self._calls)
            asked = time.time_ns()
            decision = await self._guard.authorize(call.tool, call.arguments, session="drill")
            self.answers.append((asked, time.time_ns(), decision.allowed))
            if len(self.answers) >= self._goal:
                self._reached.set()


async def drill(host: Host, suite: Suite, step: Step) -> DrillResult:
    """Contain the agent of *suite* while 64 callers use it, and prove that it held.

    Args:
        host: The running host.
        suite: Whose agent goes rogue.
        step: Told, in a sentence, what happens next.
    """
    result = DrillResult(suite.name)
    async with Guard(host.agent_address(suite.name)) as guard:
        traffic = Traffic(guard, suite)
        running = asyncio.create_task(traffic.run())
        try:
            step(f"{CALLERS} callers ask the gate of agent {suite.name}")
            await traffic.wait_answers(_WARM_UP_CALLS)
            step("the SOAR handler “contain agent” is run at level KILL")
            code, output = await run_holdfast(
                host, "soar", "run", "contain-agent",
                "--param", f"agent={suite.name}", "--param", "level=KILL",
                "--param", "reason=quickstart drill: the agent went rogue",
            )  # fmt: skip
            if code != 0:
                raise EnvironmentFailure(f"the handler failed: {json.dumps(output)[:500]}")
            result.handler_output = output
            await traffic.wait_answers(_AFTER_CALLS)
        finally:
            traffic.stop()
            await running
    _count(result, traffic, output)

    step("the gate and control are killed and started again")
    await host.gates[suite.name].kill()
    await host.control.kill()
    await host.start_control()
    await host.start_gate(suite.name)
    result.restart_denied = await _is_killed(host, suite, session="after-restart")
    step("the agent registers anew, with a new session and a new gate")
    await host.gates[suite.name].stop()
    host.add_gate(suite.name, gate_id=f"{suite.name}-second-life")
    await host.start_gate(suite.name)
    result.reregistration_denied = await _is_killed(host, suite, session="second-life")

    step("the agent's recorded calls are asked again, all of them")
    await _replay(host, suite, result)
    step("containment is verified")
    _, result.verify_output = await run_holdfast(host, "verify-containment", suite.name)
    return result


def _count(result: DrillResult, traffic: Traffic, output: dict[str, Any]) -> None:
    timing = output["timing"]
    result.call_time_ns = int(timing["call_time_ns"])
    result.ack_time_ns = int(timing["ack_time_ns"])
    for asked, answered, is_allowed in traffic.answers:
        if is_allowed:
            result.allowed_before += 1
            if asked > result.ack_time_ns:
                result.allows_started_after_ack += 1
            if answered > result.last_allow_answer_ns:
                result.last_allow_start_ns, result.last_allow_answer_ns = asked, answered
        elif asked > result.ack_time_ns:
            result.denied_after += 1


async def _is_killed(host: Host, suite: Suite, *, session: str) -> bool:
    """Whether the agent is told, by its gate, that it is killed."""
    call = suite.user_tasks[0].calls[0]
    async with Guard(host.agent_address(suite.name), session=session) as guard:
        decision = await guard.authorize(call.tool, call.arguments)
    return not decision.allowed and decision.reasons[0].code == "KILLED"


async def _replay(host: Host, suite: Suite, result: DrillResult) -> None:
    calls = [call for task in suite.user_tasks for call in task.calls]
    async with Guard(host.agent_address(suite.name), session="replay") as guard:
        for call in calls:
            decision = await guard.authorize(call.tool, call.arguments)
            result.replayed += 1
            result.replayed_denied += not decision.allowed and decision.reasons[0].code == "KILLED"


async def verify_logs(host: Host, step: Step) -> list[dict[str, Any]]:
    """Stop the host and verify every log, with the verifier that is a program of its own."""
    step("everything is stopped, and every log is verified")
    await host.stop()
    verified = []
    for name, directory, key in host.audit_logs():
        code, output = await run_holdfast(
            host, "audit", "verify", str(directory), "--key", str(key)
        )
        verified.append(
            {"log": name, "ok": code == 0, "size": output.get("size", 0), "exit_code": code}
        )
    return verified
