# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""list approvals."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class ListApprovalsParams(Given):
    """What a playbook gives."""

    agent: str = Param(
        description="Only this agent's; empty: all. For example: banking",
        required=False,
        primary=True,
        cef_types=["holdfast agent"],
    )
    pending_only: bool = Param(
        description="Only those that wait for a human. For example: true",
        required=False,
        primary=False,
        default=True,
    )
    limit: int = Param(
        description="At most this many, 1 to 1000. For example: 50",
        required=False,
        primary=False,
        default=100,
    )


class ListApprovalsErrorOutput(ActionOutput):
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


class ListApprovalsApprovalsOutput(ActionOutput):
    """Below ``approvals``."""

    name: Optional[str] = OutputField(
        cef_types=["holdfast approval"],
        example_values=["approvals/apr_0123456789abcdef0123456789abcdef"],
    )
    state: Optional[str] = OutputField(
        example_values=["PENDING"],
    )
    summary: Optional[str] = OutputField(
        example_values=["agent banking wants to run send_money"],
    )
    agent: Optional[str] = OutputField(
        cef_types=["holdfast agent"],
        example_values=["banking"],
    )
    tool: Optional[str] = OutputField(
        example_values=["send_money"],
    )
    tier: Optional[str] = OutputField(
        example_values=["HIGH"],
    )
    requester: Optional[str] = OutputField(
        example_values=["soar"],
    )
    operation: Optional[str] = OutputField(
        cef_types=["holdfast operation"],
        example_values=["operations/apr_0123456789abcdef0123456789abcdef"],
    )
    approvers: Optional[List[str]] = OutputField(
        example_values=["bob"],
    )
    fingerprint_words: Optional[str] = OutputField(
        example_values=["9f86d081884c7d65 basket-cactus-falcon-iceberg"],
    )
    url: Optional[str] = OutputField(
        cef_types=["url"],
        example_values=["https://control.example:7444/approvals/apr_0123456789abcdef0123456789abcdef"],
    )
    expire_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )
    detail: Optional[str] = OutputField(
        example_values=["refused by bob"],
    )


class ListApprovalsOutput(ActionOutput):
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
    error: Optional[ListApprovalsErrorOutput] = None
    approvals: Optional[List[ListApprovalsApprovalsOutput]] = None
    pending_count: Optional[int] = OutputField(
        example_values=[1],
    )
    count: Optional[int] = OutputField(
        example_values=[1],
    )
    truncated: Optional[bool] = OutputField()



@app.action(
    name="list approvals",
    identifier="list_approvals",
    description=(
        "Return requests for human decisions, newest first. Arguments of tool calls "
        "are not shown."
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
def list_approvals(
    params: ListApprovalsParams, soar: SOARClient, asset: Asset
) -> ListApprovalsOutput:
    """Return requests for human decisions, newest first. Arguments of tool calls
    are not shown.
    """
    return carry_out("list-approvals", params, asset)
