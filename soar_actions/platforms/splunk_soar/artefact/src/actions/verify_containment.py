# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""verify containment."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class VerifyContainmentParams(Given):
    """What a playbook gives."""

    agent: str = Param(
        description="Exact id of the agent; no wildcards. For example: banking",
        required=True,
        primary=True,
        cef_types=["holdfast agent"],
    )
    max_calls: int = Param(
        description="How many of the last calls to replay, 1 to 1000. For example: 100",
        required=False,
        primary=False,
        default=100,
    )


class VerifyContainmentErrorOutput(ActionOutput):
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


class VerifyContainmentItemsOutput(ActionOutput):
    """Below ``items``."""

    tool: Optional[str] = OutputField(
        example_values=["send_money"],
    )
    original_effect: Optional[str] = OutputField(
        example_values=["ALLOW"],
    )
    effect: Optional[str] = OutputField(
        example_values=["DENY"],
    )
    reason: Optional[str] = OutputField(
        example_values=["KILLED"],
    )
    decision_id: Optional[str] = OutputField(
        example_values=["dec_0123456789abcdef0123456789abcdef"],
    )


class VerifyContainmentOutput(ActionOutput):
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
    error: Optional[VerifyContainmentErrorOutput] = None
    contained: Optional[bool] = OutputField()
    replayed: Optional[int] = OutputField(
        example_values=[100],
    )
    allowed: Optional[int] = OutputField(
        example_values=[0],
    )
    statement: Optional[str] = OutputField(
        example_values=["12 of 12 recorded calls were denied"],
    )
    items: Optional[List[VerifyContainmentItemsOutput]] = None



@app.action(
    name="verify containment",
    identifier="verify_containment",
    description=(
        "Replay the agent's last recorded calls through its gates, as a dry run. "
        "Contained means: at least one was replayed and none was allowed. Anything "
        "else has the status FAILED."
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
def verify_containment(
    params: VerifyContainmentParams, soar: SOARClient, asset: Asset
) -> VerifyContainmentOutput:
    """Replay the agent's last recorded calls through its gates, as a dry run.
    Contained means: at least one was replayed and none was allowed. Anything
    else has the status FAILED.
    """
    return carry_out("verify-containment", params, asset)
