# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""list directives."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class ListDirectivesParams(Given):
    """What a playbook gives."""

    agent: str = Param(
        description="Only those that hold this agent; empty: all. For example: banking",
        required=False,
        primary=True,
        cef_types=["holdfast agent"],
    )
    include_ended: bool = Param(
        description="Also those that were released or lapsed. For example: true",
        required=False,
        primary=False,
        default=False,
    )
    limit: int = Param(
        description="At most this many, 1 to 1000. For example: 50",
        required=False,
        primary=False,
        default=100,
    )


class ListDirectivesErrorOutput(ActionOutput):
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


class ListDirectivesDirectivesOutput(ActionOutput):
    """Below ``directives``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )
    target: Optional[str] = OutputField(
        example_values=["agent banking"],
    )
    level: Optional[str] = OutputField(
        example_values=["KILL"],
    )
    state: Optional[str] = OutputField(
        example_values=["ACTIVE"],
    )
    author: Optional[str] = OutputField(
        example_values=["soar"],
    )
    reason: Optional[str] = OutputField(
        example_values=["exfiltration alert 4711"],
    )
    create_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )


class ListDirectivesOutput(ActionOutput):
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
    error: Optional[ListDirectivesErrorOutput] = None
    directives: Optional[List[ListDirectivesDirectivesOutput]] = None
    count: Optional[int] = OutputField(
        example_values=[1],
    )
    truncated: Optional[bool] = OutputField()



@app.action(
    name="list directives",
    identifier="list_directives",
    description=(
        "Return containment directives, newest first: all, or those that hold one "
        "agent, whatever their target."
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
def list_directives(
    params: ListDirectivesParams, soar: SOARClient, asset: Asset
) -> ListDirectivesOutput:
    """Return containment directives, newest first: all, or those that hold one
    agent, whatever their target.
    """
    return carry_out("list-directives", params, asset)
