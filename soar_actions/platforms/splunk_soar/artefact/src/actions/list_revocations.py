# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""list revocations."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class ListRevocationsParams(Given):
    """What a playbook gives."""

    limit: int = Param(
        description="At most this many, 1 to 1000. For example: 50",
        required=False,
        primary=False,
        default=100,
    )


class ListRevocationsErrorOutput(ActionOutput):
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


class ListRevocationsRevocationsOutput(ActionOutput):
    """Below ``revocations``."""

    epoch: Optional[int] = OutputField(
        example_values=[43],
    )
    agent: Optional[str] = OutputField(
        cef_types=["holdfast agent"],
        example_values=["banking"],
    )
    issuer: Optional[str] = OutputField(
        example_values=["https://login.example"],
    )
    author: Optional[str] = OutputField(
        example_values=["soar"],
    )
    reason: Optional[str] = OutputField(
        example_values=["alert 4711"],
    )
    create_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )


class ListRevocationsOutput(ActionOutput):
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
    error: Optional[ListRevocationsErrorOutput] = None
    revocations: Optional[List[ListRevocationsRevocationsOutput]] = None
    count: Optional[int] = OutputField(
        example_values=[1],
    )
    truncated: Optional[bool] = OutputField()



@app.action(
    name="list revocations",
    identifier="list_revocations",
    description="Return revocations of tokens, newest first.",
    verbose=(
        "Tier LOW. Needs the permission 'contain' on control. Approval: None. "
        "Idempotency: Reads only."
    ),
    action_type="investigate",
    read_only=True,
    render_as="table",
    summary_type=Summary,
)
def list_revocations(
    params: ListRevocationsParams, soar: SOARClient, asset: Asset
) -> ListRevocationsOutput:
    """Return revocations of tokens, newest first."""
    return carry_out("list-revocations", params, asset)
