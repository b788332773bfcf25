# SPDX-License-Identifier: Apache-2.0
"""verify containment."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.api.v1 import containment_pb2, types_pb2
from soar_actions.client import ControlClient
from soar_actions.handlers.result import Result, Status

__all__ = ["verify_containment"]


async def verify_containment(client: ControlClient, values: Mapping[str, str], _key: str) -> Result:
    """Replay an agent's recorded calls; FAILED unless every one is denied."""
    response = await client.verify_containment(
        containment_pb2.VerifyContainmentRequest(
            agent=values["agent"], max_calls=min(int(values["max_calls"]), 1000)
        )
    )
    allowed = sum(item.effect == types_pb2.EFFECT_ALLOW for item in response.items)
    return Result(
        status=Status.SUCCESS if response.contained else Status.FAILED,
        summary=response.statement,
        data={
            "contained": response.contained,
            "replayed": len(response.items),
            "allowed": allowed,
            "statement": response.statement,
        },
    )
