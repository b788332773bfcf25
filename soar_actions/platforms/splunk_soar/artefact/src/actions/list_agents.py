# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""list agents."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class ListAgentsParams(Given):
    """What a playbook gives."""

    limit: int = Param(
        description="At most this many, 1 to 1000. For example: 50",
        required=False,
        primary=False,
        default=1000,
    )


class ListAgentsErrorOutput(ActionOutput):
    """Below ``error``."""

    class_: Optional[str] = OutputField(
        alias="class",
        example_values=["REFUSED"],
    )
    reason: Optional[str] = OutputField(
        example_values=["PERMISSION_MISSING"],
    )
    remedy: Optional[str] = OutputField(
        example_values=["ask an operator who may"],
    )
    retryable: Optional[bool] = OutputField()


class ListAgentsAgentsDirectivesOutput(ActionOutput):
    """Below ``agents.directives``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )


class ListAgentsAgentsOutput(ActionOutput):
    """Below ``agents``."""

    agent: Optional[str] = OutputField(
        cef_types=["holdfast agent"],
        example_values=["banking"],
    )
    owner: Optional[str] = OutputField(
        cef_types=["user name"],
        example_values=["emma@example.com"],
    )
    level: Optional[str] = OutputField(
        example_values=["KILL"],
    )
    declared: Optional[bool] = OutputField()
    gates: Optional[List[str]] = OutputField(
        example_values=["banking"],
    )
    directives: Optional[List[ListAgentsAgentsDirectivesOutput]] = None
    last_call_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )


class ListAgentsOutput(ActionOutput):
    """What comes of it."""

    status: Optional[str] = OutputField(
        example_values=["SUCCESS"],
        column_name="Status",
    )
    summary: Optional[str] = OutputField(
        example_values=["agent banking is held at KILL"],
        column_name="Summary",
    )
    idempotency_key: Optional[str] = OutputField(
        example_values=["splunk-0a1b2c3d4e5f"],
    )
    error: Optional[ListAgentsErrorOutput] = None
    agents: Optional[List[ListAgentsAgentsOutput]] = None
    held_count: Optional[int] = OutputField(
        example_values=[0],
    )
    count: Optional[int] = OutputField(
        example_values=[1],
    )
    truncated: Optional[bool] = OutputField()



@app.action(
    name="list agents",
    identifier="list_agents",
    description=(
        "Return the agents that the policy bundle declares and those that a gate "
        "serves, with what holds each."
    ),
    verbose=(
        "Tier LOW. Needs the permission 'contain' on control. Approval: None. "
        "Idempotency: Reads only."
    ),
    action_type="investigate",
    read_only=True,
    render_as="table",
    summary_type=Summary,
)
def list_agents(
    params: ListAgentsParams, soar: SOARClient, asset: Asset
) -> ListAgentsOutput:
    """Return the agents that the policy bundle declares and those that a gate
    serves, with what holds each.
    """
    return carry_out("list-agents", params, asset)
