# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""get operation."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class GetOperationParams(Given):
    """What a playbook gives."""

    operation: str = Param(
        description=(
            "Name of the operation. For example: "
            "operations/apr_0123456789abcdef0123456789abcdef"
        ),
        required=True,
        primary=True,
        cef_types=["holdfast operation"],
    )
    wait_seconds: int = Param(
        description="Wait at most this long for it to end, 0 to 20. For example: 10",
        required=False,
        primary=False,
        default=0,
    )


class GetOperationErrorOutput(ActionOutput):
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


class GetOperationOperationOutput(ActionOutput):
    """Below ``operation``."""

    name: Optional[str] = OutputField(
        cef_types=["holdfast operation"],
        example_values=["operations/apr_0123456789abcdef0123456789abcdef"],
    )
    state: Optional[str] = OutputField(
        example_values=["PENDING_APPROVAL"],
        column_name="Operation state",
    )
    summary: Optional[str] = OutputField(
        example_values=["soar wants to release directive 42 (agent banking)"],
    )
    requester: Optional[str] = OutputField(
        example_values=["soar"],
    )
    approvers: Optional[List[str]] = OutputField(
        example_values=["bob"],
    )
    fingerprint_words: Optional[str] = OutputField(
        example_values=["9f86d081884c7d65 basket-cactus-falcon-iceberg"],
    )
    expire_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )
    detail: Optional[str] = OutputField(
        example_values=["refused by bob"],
    )


class GetOperationReceiptOutput(ActionOutput):
    """Below ``receipt``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )


class GetOperationDirectiveOutput(ActionOutput):
    """Below ``directive``."""

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


class GetOperationOutput(ActionOutput):
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
    error: Optional[GetOperationErrorOutput] = None
    operation: Optional[GetOperationOperationOutput] = None
    approval: Optional[str] = OutputField(
        cef_types=["holdfast approval"],
        example_values=["approvals/apr_0123456789abcdef0123456789abcdef"],
    )
    link: Optional[str] = OutputField(
        cef_types=["url"],
        example_values=["https://control.example:7444/approvals/apr_0123456789abcdef0123456789abcdef"],
        column_name="Link",
    )
    is_final: Optional[bool] = OutputField()
    is_granted: Optional[bool] = OutputField()
    receipt: Optional[GetOperationReceiptOutput] = None
    directive: Optional[GetOperationDirectiveOutput] = None



@app.action(
    name="get operation",
    identifier="get_operation",
    description=(
        "Tell how an action stands that a human must grant: PENDING while it waits, "
        "PARTIAL if what it gave is not whole, SUCCESS once it has ended otherwise, "
        "also if it was refused. A playbook branches on `operation.state`: DONE alone "
        "means that it was carried out."
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
def get_operation(
    params: GetOperationParams, soar: SOARClient, asset: Asset
) -> GetOperationOutput:
    """Tell how an action stands that a human must grant: PENDING while it waits,
    PARTIAL if what it gave is not whole, SUCCESS once it has ended otherwise,
    also if it was refused. A playbook branches on `operation.state`: DONE alone
    means that it was carried out.
    """
    return carry_out("get-operation", params, asset)
