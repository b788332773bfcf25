# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""verify audit log."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class VerifyAuditLogParams(Given):
    """What a playbook gives."""

    log: str = Param(
        description="Which log; empty: every log of the host. For example: control",
        required=False,
        primary=False,
    )


class VerifyAuditLogErrorOutput(ActionOutput):
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


class VerifyAuditLogReportsOutput(ActionOutput):
    """Below ``reports``."""

    log: Optional[str] = OutputField(
        example_values=["control"],
    )
    ok: Optional[bool] = OutputField()
    size: Optional[int] = OutputField(
        example_values=[4711],
    )
    problems: Optional[List[str]] = OutputField(
        example_values=["entry 17 was changed"],
    )
    checkpoint: Optional[str] = OutputField(
        example_values=["control\n18\n…"],
    )


class VerifyAuditLogOutput(ActionOutput):
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
    error: Optional[VerifyAuditLogErrorOutput] = None
    ok: Optional[bool] = OutputField()
    reports: Optional[List[VerifyAuditLogReportsOutput]] = None
    verify_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )



@app.action(
    name="verify audit log",
    identifier="verify_audit_log",
    description=(
        "Verify logs from their files: every entry, hash and signature. FAILED on "
        "anything but a full pass. Reads the whole log, so it can take a while."
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
def verify_audit_log(
    params: VerifyAuditLogParams, soar: SOARClient, asset: Asset
) -> VerifyAuditLogOutput:
    """Verify logs from their files: every entry, hash and signature. FAILED on
    anything but a full pass. Reads the whole log, so it can take a while.
    """
    return carry_out("verify-audit-log", params, asset)
