# SPDX-License-Identifier: Apache-2.0
"""verify containment."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.reading import enum, flag, malformed, message, messages, text
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["verify_containment"]


def verify_containment(values: Mapping[str, str], _key: str) -> Steps:
    """Replay an agent's recorded calls; FAILED unless every one is denied."""
    answer = yield Call(
        "ContainmentService/VerifyContainment",
        {"agent": values["agent"], "maxCalls": int(values["max_calls"])},
        patience_s=10.0,
    )
    items = [
        {
            "decision_id": text(item, "decisionId"),
            "tool": text(item, "tool"),
            "original_effect": enum(item, "originalEffect", "EFFECT_"),
            "effect": enum(item, "effect", "EFFECT_"),
            "reason": text(message(item, "reason"), "code"),
        }
        for item in messages(answer, "items")
    ]
    allowed = sum(item["effect"] not in ("DENY", "HOLD") for item in items)
    is_contained = flag(answer, "contained")
    if is_contained and (allowed or not items):
        raise malformed("contained")
    statement = text(answer, "statement")
    return Result(
        status=Status.SUCCESS if is_contained else Status.FAILED,
        summary=statement or ("contained" if is_contained else "NOT contained"),
        data={
            "contained": is_contained,
            "replayed": len(items),
            "allowed": allowed,
            "statement": statement,
            "items": items,
        },
    )
