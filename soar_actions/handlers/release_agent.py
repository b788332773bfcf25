# SPDX-License-Identifier: Apache-2.0
"""release agent."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.api.v1 import containment_pb2
from soar_actions.client import ControlClient
from soar_actions.handlers.held import operation_data, pending
from soar_actions.handlers.render import directive_data
from soar_actions.handlers.result import Result, Status

__all__ = ["release_agent"]


async def release_agent(client: ControlClient, values: Mapping[str, str], key: str) -> Result:
    """Ask for the end of one directive: PENDING until a human has granted it."""
    response = await client.release(
        containment_pb2.ReleaseRequest(
            request_id=key, epoch=int(values["epoch"]), reason=values["reason"]
        )
    )
    is_held = response.HasField("operation")
    if is_held and not response.HasField("directive"):
        return pending(response.operation)
    remaining = [directive_data(directive) for directive in response.remaining]
    directive = directive_data(response.directive)
    text = f"directive {directive['epoch']} ({directive['target']}) is released"
    if remaining:
        text += f"; still held by {', '.join(str(item['epoch']) for item in remaining)}"
    return Result(
        status=Status.SUCCESS,
        summary=text,
        data={
            "directive": directive,
            "remaining": remaining,
            "epoch": response.epoch,
            **({"operation": operation_data(response.operation)} if is_held else {}),
        },
    )
