# SPDX-License-Identifier: Apache-2.0
"""contain agents: one order for each agent, so that one that fails stops no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.errors import ActionError, clean_text
from soar_actions.handlers.contain_agent import contain_agent
from soar_actions.handlers.reading import derived_key
from soar_actions.steps import Result, Status, Steps

__all__ = ["contain_agents"]


def contain_agents(values: Mapping[str, str], key: str) -> Steps:
    """Hold several agents; the answer lists each.

    SUCCESS only if every one is whole; PENDING if the rest is whole and some wait for a human;
    FAILED if every one failed; PARTIAL otherwise.
    """
    targets = []
    for agent in values["agents"].split(","):
        targets.append((yield from _one(agent, values, derived_key(key, agent))))
    counts = {
        status.value: sum(target["status"] == status.value for target in targets)
        for status in Status
    }
    status = _status(counts, len(targets))
    waiting = next((t for t in targets if t["status"] == Status.PENDING.value), None)
    data: dict[str, Any] = {
        "targets": [{k: v for k, v in t.items() if k not in ("held", "class")} for t in targets],
        "counts": {name.lower(): count for name, count in counts.items()},
    }
    if status is Status.FAILED:
        data["error"] = _error(targets)
    if waiting is not None:
        data.update(waiting["held"])
    said = f"{counts['SUCCESS']} of {len(targets)} agents are held at {values['level']}"
    for name, words in (("PENDING", "wait"), ("PARTIAL", "partial"), ("FAILED", "failed")):
        if counts[name]:
            who = ", ".join(t["agent"] for t in targets if t["status"] == name)
            said += f"; {words}: {who}"
    return Result(status=status, summary=said, data=data)


def _one(agent: str, values: Mapping[str, str], key: str) -> Any:
    empty = {"agent": agent, "epoch": 0, "laggards": [], "reason": "", "remedy": "", "held": {}}
    try:
        result = yield from contain_agent({**values, "agent": agent}, key)
    except ActionError as exc:
        return {
            **empty,
            "status": Status.FAILED.value,
            "summary": exc.message,
            "class": exc.kind.value,
            "reason": exc.reason,
            "remedy": exc.remedy,
            "retryable": exc.is_retryable,
            "operation": "",
            "receipt": {},
        }
    data = result.data
    receipt = data.get("receipt", {})
    return {
        **empty,
        "status": result.status.value,
        "summary": clean_text(result.summary),
        "epoch": receipt.get("epoch", 0),
        "laggards": data.get("laggards", []),
        "retryable": False,
        "operation": data.get("operation", {}).get("name", ""),
        "receipt": receipt,
        "held": data if result.status is Status.PENDING else {},
    }


def _status(counts: Mapping[str, int], total: int) -> Status:
    if counts["SUCCESS"] == total:
        return Status.SUCCESS
    if counts["FAILED"] == total:
        return Status.FAILED
    if counts["SUCCESS"] + counts["PENDING"] == total:
        return Status.PENDING
    return Status.PARTIAL


def _error(targets: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the error of the whole, when all failed: the first, retryable if every one is."""
    first = targets[0]
    return {
        "class": first["class"],
        "reason": first["reason"],
        "remedy": first["remedy"],
        "retryable": all(target["retryable"] for target in targets),
    }
