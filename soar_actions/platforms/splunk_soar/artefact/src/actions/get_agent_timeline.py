# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""get agent timeline."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class GetAgentTimelineParams(Given):
    """What a playbook gives."""

    agent: str = Param(
        description="Exact id of the agent; no wildcards. For example: banking",
        required=True,
        primary=True,
        cef_types=["holdfast agent"],
    )
    since: str = Param(
        description=(
            "Not before this time; empty: 24 hours before `until`. For example: "
            "2026-01-31T08:00:00Z"
        ),
        required=False,
        primary=False,
    )
    until: str = Param(
        description="Before this time; empty: now. For example: 2026-01-31T10:00:00Z",
        required=False,
        primary=False,
    )
    session: str = Param(
        description="Only this session; empty: all. For example: session-4711",
        required=False,
        primary=False,
        cef_types=["holdfast session"],
    )
    limit: int = Param(
        description="At most this many, 1 to 1000. For example: 50",
        required=False,
        primary=False,
        default=100,
    )


class GetAgentTimelineErrorOutput(ActionOutput):
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


class GetAgentTimelineEventsOutput(ActionOutput):
    """Below ``events``."""

    time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )
    kind: Optional[str] = OutputField(
        example_values=["decision"],
    )
    tool: Optional[str] = OutputField(
        example_values=["send_money"],
    )
    effect: Optional[str] = OutputField(
        example_values=["ALLOW"],
    )
    reason: Optional[str] = OutputField(
        example_values=["POLICY_ALLOW"],
    )
    destination: Optional[str] = OutputField(
        cef_types=["domain"],
        example_values=["api.example.com"],
    )
    decision_id: Optional[str] = OutputField(
        example_values=["dec_0123456789abcdef0123456789abcdef"],
    )
    fingerprint: Optional[str] = OutputField(
        example_values=["9f86d081884c7d65…"],
    )
    outcome: Optional[str] = OutputField(
        example_values=["SUCCESS"],
    )
    operator: Optional[str] = OutputField(
        example_values=["soar"],
    )
    summary: Optional[str] = OutputField(
        example_values=["send_money was allowed"],
    )


class GetAgentTimelineOutput(ActionOutput):
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
    error: Optional[GetAgentTimelineErrorOutput] = None
    events: Optional[List[GetAgentTimelineEventsOutput]] = None
    count: Optional[int] = OutputField(
        example_values=[1],
    )
    truncated: Optional[bool] = OutputField()



@app.action(
    name="get agent timeline",
    identifier="get_agent_timeline",
    description=(
        "Return decisions with their outcomes, containments, releases, revocations "
        "and approvals of an agent in a window of time, newest first. No argument of "
        "a call is in it."
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
def get_agent_timeline(
    params: GetAgentTimelineParams, soar: SOARClient, asset: Asset
) -> GetAgentTimelineOutput:
    """Return decisions with their outcomes, containments, releases, revocations
    and approvals of an agent in a window of time, newest first. No argument of
    a call is in it.
    """
    return carry_out("get-agent-timeline", params, asset)
