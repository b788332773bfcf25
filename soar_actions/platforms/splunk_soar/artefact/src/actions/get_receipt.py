# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""get receipt."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class GetReceiptParams(Given):
    """What a playbook gives."""

    epoch: int = Param(
        description="Number of the directive, from the receipt. For example: 42",
        required=True,
        primary=True,
        cef_types=["holdfast epoch"],
    )


class GetReceiptErrorOutput(ActionOutput):
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


class GetReceiptReceiptGatesOutput(ActionOutput):
    """Below ``receipt.gates``."""

    gate: Optional[str] = OutputField(
        example_values=["banking"],
    )
    state: Optional[str] = OutputField(
        example_values=["ENFORCED"],
    )
    ack_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )


class GetReceiptReceiptIsolationOutput(ActionOutput):
    """Below ``receipt.isolation``."""

    driver: Optional[str] = OutputField(
        example_values=["process_group"],
    )
    result: Optional[str] = OutputField(
        example_values=["TERMINATED"],
    )


class GetReceiptReceiptOutput(ActionOutput):
    """Below ``receipt``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )
    directive: Optional[str] = OutputField(
        example_values=["directives/42"],
    )
    target: Optional[str] = OutputField(
        example_values=["agent banking"],
    )
    level: Optional[str] = OutputField(
        example_values=["KILL"],
    )
    durable: Optional[bool] = OutputField()
    contained: Optional[bool] = OutputField()
    gates: Optional[List[GetReceiptReceiptGatesOutput]] = None
    last_allow_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )
    isolation: Optional[List[GetReceiptReceiptIsolationOutput]] = None
    log_index: Optional[int] = OutputField(
        example_values=[17],
    )
    checkpoint: Optional[str] = OutputField(
        example_values=["control.example/log\n18\n…"],
    )
    signature: Optional[str] = OutputField(
        example_values=["9f86d0…"],
    )
    signed_json: Optional[str] = OutputField(
        example_values=['{"epoch":"42",…}'],
    )


class GetReceiptOutput(ActionOutput):
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
    error: Optional[GetReceiptErrorOutput] = None
    receipt: Optional[GetReceiptReceiptOutput] = None
    laggards: Optional[List[str]] = OutputField(
        example_values=["travel"],
    )



@app.action(
    name="get receipt",
    identifier="get_receipt",
    description=(
        "Return the signed receipt of a directive as it stands now: gates that "
        "acknowledged since are no laggards any more."
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
def get_receipt(
    params: GetReceiptParams, soar: SOARClient, asset: Asset
) -> GetReceiptOutput:
    """Return the signed receipt of a directive as it stands now: gates that
    acknowledged since are no laggards any more.
    """
    return carry_out("get-receipt", params, asset)
