# SPDX-License-Identifier: Apache-2.0
"""Asks each agent's gate about every recorded call, as that agent, in the order of its tasks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.quickstart.dataset import Suite, Task
from sidecar.sdk import Decision, Effect, Guard

__all__ = ["SuiteResult", "TaskResult", "percentile", "replay_suite"]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The effects of one task's calls."""

    task: str
    effects: tuple[str, ...]
    reasons: tuple[str, ...]
    tiers: tuple[str, ...]
    """What each held call waits for; empty for the others."""

    @property
    def is_fully_allowed(self) -> bool:
        """Whether every call of the task was allowed, so that the task had all its effects."""
        return bool(self.effects) and all(effect == "ALLOW" for effect in self.effects)


@dataclass(slots=True)
class SuiteResult:
    """What one gate decided."""

    suite: str
    benign: list[TaskResult] = field(default_factory=list)
    injection: list[TaskResult] = field(default_factory=list)
    latencies_us: list[float] = field(default_factory=list)
    cached: int = 0

    def benign_effects(self) -> Counter[str]:
        """Count the effects of benign calls."""
        return Counter(effect for task in self.benign for effect in task.effects)


async def replay_suite(
    guard: Guard, suite: Suite, *, advance: Callable[[int], None]
) -> SuiteResult:
    """Ask *guard* about every call of *suite*: users' tasks first, then the attackers'.

    Args:
        guard: Connected to the suite's own gate.
        suite: The recorded tasks.
        advance: Told how many calls have been decided since it was last told.
    """
    result = SuiteResult(suite.name)
    for task in suite.user_tasks:
        result.benign.append(await _replay_task(guard, task, result))
        advance(len(task.calls))
    for task in suite.injection_tasks:
        result.injection.append(await _replay_task(guard, task, result))
        advance(len(task.calls))
    return result


async def _replay_task(guard: Guard, task: Task, result: SuiteResult) -> TaskResult:
    decisions: list[Decision] = []
    for call in task.calls:
        start = time.perf_counter_ns()
        decision = await guard.authorize(call.tool, call.arguments, session=task.id)
        result.latencies_us.append((time.perf_counter_ns() - start) / 1000)
        result.cached += decision.is_cached
        decisions.append(decision)
        if decision.effect is Effect.HOLD:
            await guard.cancel_approval(decision)  # this is a rehearsal: nobody waits for it
    return TaskResult(
        task.id,
        tuple(str(decision.effect) for decision in decisions),
        tuple(decision.reasons[0].code for decision in decisions),
        tuple(decision.obligations.hold_tier for decision in decisions),
    )


def percentile(values: list[float], share: float) -> float:
    """Return the value below which *share* of *values* lie; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
