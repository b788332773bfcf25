# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""get agent."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class GetAgentParams(Given):
    """What a playbook gives."""

    agent: str = Param(
        description="Exact id of the agent; no wildcards. For example: banking",
        required=True,
        primary=True,
        cef_types=["holdfast agent"],
    )


class GetAgentErrorOutput(ActionOutput):
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


class GetAgentAgentDirectivesOutput(ActionOutput):
    """Below ``agent.directives``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )


class GetAgentAgentOutput(ActionOutput):
    """Below ``agent``."""

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
    directives: Optional[List[GetAgentAgentDirectivesOutput]] = None
    last_call_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )


class GetAgentOutput(ActionOutput):
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
    error: Optional[GetAgentErrorOutput] = None
    agent: Optional[GetAgentAgentOutput] = None



@app.action(
    name="get agent",
    identifier="get_agent",
    description=(
        "Return an agent's owner, labels, gates, standing directives and counts of "
        "decisions."
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
def get_agent(
    params: GetAgentParams, soar: SOARClient, asset: Asset
) -> GetAgentOutput:
    """Return an agent's owner, labels, gates, standing directives and counts of
    decisions.
    """
    return carry_out("get-agent", params, asset)
