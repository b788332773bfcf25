# SPDX-License-Identifier: Apache-2.0
"""contain agent."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import duration_pb2

from sidecar.api.v1 import containment_pb2, types_pb2
from soar_actions.client import ControlClient
from soar_actions.handlers.held import operation_data, pending
from soar_actions.handlers.render import LEVELS, receipt_data
from soar_actions.handlers.result import Result, Status

__all__ = ["contain_agent"]


async def contain_agent(client: ControlClient, values: Mapping[str, str], key: str) -> Result:
    """Hold one agent; PARTIAL if a live gate has not enforced it or the order is not durable.

    PENDING if another human must grant it first, because the agent is protected.
    """
    request = containment_pb2.ContainRequest(
        request_id=key,
        target=types_pb2.Target(agent=values["agent"]),
        level=LEVELS[values["level"]],
        reason=values["reason"],
    )
    if values["ttl_seconds"]:
        request.ttl.CopyFrom(duration_pb2.Duration(seconds=int(values["ttl_seconds"])))
    response = await client.contain(request)
    is_held = response.HasField("operation")
    if is_held and not response.HasField("receipt"):
        return pending(response.operation)
    receipt = receipt_data(response.receipt)
    laggards = [gate["gate"] for gate in receipt["gates"] if gate["state"] != "ENFORCED"]
    is_whole = receipt["durable"] and receipt["contained"]
    return Result(
        status=Status.SUCCESS if is_whole else Status.PARTIAL,
        summary=_summary(values, receipt["durable"], laggards),
        data={
            "receipt": receipt,
            "laggards": laggards,
            "repeated_request": response.repeated_request,
            **({"operation": operation_data(response.operation)} if is_held else {}),
        },
    )


def _summary(values: Mapping[str, str], is_durable: bool, laggards: list[str]) -> str:
    text = f"agent {values['agent']} is held at {values['level']}"
    if laggards:
        text += f"; not yet enforced by: {', '.join(laggards)}"
    if not is_durable:
        text += "; NOT durable: control's storage failed"
    return text
