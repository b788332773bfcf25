# SPDX-License-Identifier: Apache-2.0
"""What waits for a human: an agent's call that policy holds, and the release of the killed agent.

With a scripted approver everything is decided through the public command line, with the approver's
own certificate; the script can do nothing that a person could not. Without one it stays open, with
the links to decide it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.errors import EnvironmentFailure
from sidecar.quickstart.commands import run_holdfast
from sidecar.quickstart.dataset import Dataset, RecordedCall, Suite
from sidecar.quickstart.replay import SuiteResult
from sidecar.sdk import Decision, Effect, Guard
from sidecar.supervisor.host import Host

__all__ = [
    "APPROVER",
    "REQUESTER",
    "HeldCall",
    "HeldRelease",
    "decided",
    "held_call",
    "held_release",
]

APPROVER: Final = "bob"
REQUESTER: Final = "alice"
_SESSION: Final = "held-call"
_TIERS: Final = ("LOW", "MEDIUM")
"""A script has no passkey, which the tiers above ask for."""
_EXIT_HELD: Final = 4
_DEADLINE_S: Final = 30
_LOOK_EVERY_S: Final = 2.0

Step = Callable[[str], None]


@dataclass(slots=True)
class HeldCall:
    """A call that waited for a human, and what came of it."""

    agent: str = ""
    tool: str = ""
    approval: dict[str, Any] = field(default_factory=dict)
    granted_by: str = ""
    granted_effect: str = ""
    changed_effect: str = ""
    second_effect: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it still waits."""
        return bool(self.approval) and not self.granted_by

    @property
    def is_proved(self) -> bool:
        """Whether the granted call was allowed once, and nothing else was."""
        return (
            self.granted_effect == "ALLOW"
            and self.changed_effect in ("HOLD", "DENY")
            and self.second_effect in ("HOLD", "DENY")
        )


@dataclass(slots=True)
class HeldRelease:
    """The release of the killed agent, which needs a second human."""

    operation: dict[str, Any] = field(default_factory=dict)
    self_grant_refused: bool = False
    granted_by: str = ""
    state: str = ""
    effect_before: str = ""
    effect_after: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it still waits."""
        return bool(self.operation) and not self.granted_by

    @property
    def is_proved(self) -> bool:
        """Whether nothing was released by one human, and the agent works again after two."""
        return (
            self.self_grant_refused
            and self.state == "DONE"
            and self.effect_before == "DENY"
            and self.effect_after == "ALLOW"
        )


async def held_call(
    host: Host, data: Dataset, results: list[SuiteResult], *, not_agent: str, is_scripted: bool,
    step: Step,
) -> HeldCall:  # fmt: skip
    """Make a recorded call that policy holds, and let a human grant it, if there is a script.

    Args:
        host: The running host.
        data: The recorded calls.
        results: How they were decided, to find one that waits.
        not_agent: The agent that is killed later, and with it what it waits for.
        is_scripted: Whether the scripted approver decides.
        step: Told, in a sentence, what happens next.
    """
    suite, call = _find(data, results, not_agent)
    held = HeldCall(agent=suite.name, tool=call.tool)
    async with Guard(host.agent_address(suite.name), session=_SESSION) as guard:
        decision = await guard.authorize(call.tool, call.arguments)
        if decision.effect is not Effect.HOLD:
            raise EnvironmentFailure(f"{call.tool} of agent {suite.name} was not held")
        held.approval = await show_approval(host, decision.obligations.approval)
        step(f"{held.approval['summary']}: it waits for {_names(held.approval)}")
        if not is_scripted:
            return held
        waiting = asyncio.create_task(
            guard.authorize(call.tool, call.arguments, hold_timeout=_DEADLINE_S)
        )
        step(f"the scripted approver {APPROVER} grants {held.approval['fingerprint_words']}")
        await _grant(host, held.approval)
        held.granted_by = APPROVER
        held.granted_effect = str((await waiting).effect)
        held.second_effect = str((await _ask_and_drop(guard, call)).effect)
        held.changed_effect = str((await _ask_and_drop(guard, call, nonce="changed")).effect)
    return held


async def held_release(
    host: Host, suite: Suite, *, epoch: int, is_scripted: bool, step: Step
) -> HeldRelease:
    """Ask for the release of directive *epoch* on the agent of *suite*."""
    call = suite.user_tasks[0].calls[0]
    result = HeldRelease()
    code, output = await run_holdfast(
        host, "release", str(epoch), "--reason", "quickstart: the drill is over", "--as", REQUESTER
    )
    operation = output.get("operation")
    if code != _EXIT_HELD or not operation:
        raise EnvironmentFailure(f"the release was not held: {json.dumps(output)[:500]}")
    result.operation = operation
    step(f"{operation['summary']}: it waits for {', '.join(operation['approvers'])}")
    if not is_scripted:
        return result
    approval = await show_approval(host, operation["approval"])
    code, _ = await _try_grant(host, approval, REQUESTER)
    result.self_grant_refused = code != 0
    result.effect_before = await _effect(host, suite.name, call)
    step(f"the scripted approver {APPROVER} grants {approval['fingerprint_words']}")
    await _grant(host, approval)
    result.granted_by = APPROVER
    _, output = await run_holdfast(
        host, "operations", "show", operation["name"], "--wait", f"{_DEADLINE_S}s",
        "--as", REQUESTER,
    )  # fmt: skip
    result.state = output["operation"]["state"]
    result.effect_after = await _effect(host, suite.name, call)
    return result


async def show_approval(host: Host, name: str) -> dict[str, Any]:
    """Return an approval as its approver is shown it."""
    _, output = await run_holdfast(host, "approvals", "show", name, "--as", APPROVER)
    shown: dict[str, Any] = output["approval"]
    return shown


async def decided(host: Host, name: str) -> dict[str, Any]:
    """Return an approval once humans have decided it, looking now and then."""
    while True:
        shown = await show_approval(host, name)
        if shown["state"] != "PENDING":
            return shown
        await asyncio.sleep(_LOOK_EVERY_S)


def _find(data: Dataset, results: list[SuiteResult], not_agent: str) -> tuple[Suite, RecordedCall]:
    """Return the first benign call of another agent that waits, at a tier without passkeys."""
    for result in results:
        suite = data.suite(result.suite)
        if suite.name == not_agent:
            continue
        for task, decided in zip(suite.user_tasks, result.benign, strict=True):
            for call, effect, tier in zip(task.calls, decided.effects, decided.tiers, strict=True):
                if effect == "HOLD" and tier in _TIERS:
                    return suite, call
    raise EnvironmentFailure("no recorded call waits for a human", hint="look at the bundle")


async def _grant(host: Host, approval: dict[str, Any]) -> None:
    code, output = await _try_grant(host, approval, APPROVER)
    if code != 0:
        raise EnvironmentFailure(f"the grant failed: {json.dumps(output)[:500]}")


async def _try_grant(
    host: Host, approval: dict[str, Any], operator: str
) -> tuple[int, dict[str, Any]]:
    return await run_holdfast(
        host, "approvals", "grant", approval["name"],
        "--fingerprint", approval["fingerprint"][:16],
        "--reason", "quickstart: looked at it", "--as", operator,
    )  # fmt: skip


async def _ask_and_drop(guard: Guard, call: RecordedCall, *, nonce: str | None = None) -> Decision:
    """Ask once more, and take the request back if one was opened."""
    decision = await guard.authorize(call.tool, call.arguments, nonce=nonce)
    if decision.effect is Effect.HOLD:
        await guard.cancel_approval(decision)
    return decision


async def _effect(host: Host, agent: str, call: RecordedCall) -> str:
    async with Guard(host.agent_address(agent), session="after-release") as guard:
        return str((await guard.authorize(call.tool, call.arguments)).effect)


def _names(approval: dict[str, Any]) -> str:
    return " or ".join(approval["approvers"])
