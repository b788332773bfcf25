# SPDX-License-Identifier: Apache-2.0
"""Orders a containment of any target, and says what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.handlers.held import operation_data, pending
from soar_actions.handlers.reading import flag, has, message, texts
from soar_actions.handlers.render import receipt_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["contain"]


def contain(
    values: Mapping[str, str], key: str, *, target: Mapping[str, Any], level: str, said: str
) -> Steps:
    """Hold *target* at *level*; *said* is the sentence for it.

    PARTIAL if a live gate has not enforced it, the order is not durable, or nobody knows the agent it
    names (a misspelt one would otherwise look contained); PENDING if another human must grant it first.
    """
    body: dict[str, Any] = {
        "requestId": key,
        "target": target,
        "level": f"LEVEL_{level}",
        "reason": values["reason"],
    }
    if values.get("ttl_seconds"):
        body["ttl"] = f"{values['ttl_seconds']}s"
    answer = yield Call("ContainmentService/Contain", body)
    return _result(answer, said)


def _result(answer: Mapping[str, Any], said: str) -> Result:
    operation = message(answer, "operation")
    if not has(answer, "receipt"):
        return pending(operation)
    receipt = receipt_data(message(answer, "receipt"))
    laggards = [item["gate"] for item in receipt["gates"] if item["state"] != "ENFORCED"]
    if laggards:
        said += f"; not yet enforced by: {', '.join(laggards)}"
    if not receipt["durable"]:
        said += "; NOT durable: control's storage failed"
    unknown = texts(answer, "unknownAgents")
    if unknown:
        said += (
            f"; but nothing declares or serves {', '.join(unknown)}: is that its exact name? "
            "The directive stands"
        )
    is_whole = receipt["durable"] and receipt["contained"] and not unknown
    return Result(
        status=Status.SUCCESS if is_whole else Status.PARTIAL,
        summary=said,
        data={
            "receipt": receipt,
            "laggards": laggards,
            "unknown_agents": unknown,
            "repeated_request": flag(answer, "repeatedRequest"),
            **({"operation": operation_data(operation)} if operation else {}),
        },
    )
