# SPDX-License-Identifier: Apache-2.0
"""Orders a containment of any target, and says what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.handlers.held import operation_data, pending
from soar_actions.handlers.proof import laggards_of, proved
from soar_actions.handlers.reading import flag, has, message, required, texts
from soar_actions.handlers.render import receipt_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["contain"]


def contain(
    values: Mapping[str, str], key: str, *, target: Mapping[str, Any], level: str, said: str
) -> Steps:
    """Hold *target* at *level*; *said* is the sentence for it.

    PARTIAL if its receipt is not whole, or nobody knows the agent it names (a misspelt one would
    otherwise look contained); PENDING if another human must grant it first.
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
        return pending(required(answer, "operation"))
    receipt = receipt_data(message(answer, "receipt"))
    status, lacks = proved(receipt)
    said += lacks
    unknown = texts(answer, "unknownAgents")
    if unknown:
        status = Status.PARTIAL
        said += (
            f"; but nothing declares or serves {', '.join(unknown)}: is that its exact name? "
            "The directive stands"
        )
    return Result(
        status=status,
        summary=said,
        data={
            "receipt": receipt,
            "laggards": laggards_of(receipt),
            "unknown_agents": unknown,
            "repeated_request": flag(answer, "repeatedRequest"),
            **({"operation": operation_data(operation)} if operation else {}),
        },
    )
