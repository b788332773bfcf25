# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""get blast radius."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class GetBlastRadiusParams(Given):
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


class GetBlastRadiusErrorOutput(ActionOutput):
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


class GetBlastRadiusBlastRadiusToolsOutput(ActionOutput):
    """Below ``blast_radius.tools``."""

    tool: Optional[str] = OutputField(
        example_values=["send_money"],
    )
    tool_class: Optional[str] = OutputField(
        example_values=["WRITE"],
    )
    allow_count: Optional[int] = OutputField(
        example_values=[12],
    )
    deny_count: Optional[int] = OutputField(
        example_values=[3],
    )
    undo: Optional[str] = OutputField(
        example_values=["cancel the transfer"],
    )


class GetBlastRadiusBlastRadiusOutput(ActionOutput):
    """Below ``blast_radius``."""

    statement: Optional[str] = OutputField(
        example_values=["banking was allowed 12 calls of 3 tools"],
    )
    tools: Optional[List[GetBlastRadiusBlastRadiusToolsOutput]] = None
    data_classes: Optional[List[str]] = OutputField(
        example_values=["financial"],
    )
    destinations: Optional[List[str]] = OutputField(
        cef_types=["domain"],
        example_values=["api.example.com"],
    )
    credentials: Optional[List[str]] = OutputField(
        example_values=["gate socket of banking"],
    )
    humans: Optional[List[str]] = OutputField(
        cef_types=["user name"],
        example_values=["emma@example.com"],
    )
    sessions: Optional[List[str]] = OutputField(
        cef_types=["holdfast session"],
        example_values=["session-4711"],
    )
    irreversible_count: Optional[int] = OutputField(
        example_values=[1],
    )
    truncated: Optional[bool] = OutputField()


class GetBlastRadiusOutput(ActionOutput):
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
    error: Optional[GetBlastRadiusErrorOutput] = None
    blast_radius: Optional[GetBlastRadiusBlastRadiusOutput] = None



@app.action(
    name="get blast radius",
    identifier="get_blast_radius",
    description=(
        "Return the tools, data, destinations, credentials and humans that an agent "
        "can have touched in a window of time. PARTIAL if the window holds more than "
        "was looked at."
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
def get_blast_radius(
    params: GetBlastRadiusParams, soar: SOARClient, asset: Asset
) -> GetBlastRadiusOutput:
    """Return the tools, data, destinations, credentials and humans that an agent
    can have touched in a window of time. PARTIAL if the window holds more than
    was looked at.
    """
    return carry_out("get-blast-radius", params, asset)
