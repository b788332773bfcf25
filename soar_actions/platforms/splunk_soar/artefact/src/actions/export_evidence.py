# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""export evidence."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class ExportEvidenceParams(Given):
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
    limit: int = Param(
        description="At most this many entries, 1 to 5000. For example: 1000",
        required=False,
        primary=False,
        default=1000,
    )


class ExportEvidenceErrorOutput(ActionOutput):
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


class ExportEvidenceCheckpointsOutput(ActionOutput):
    """Below ``checkpoints``."""

    log: Optional[str] = OutputField(
        example_values=["control"],
    )
    checkpoint: Optional[str] = OutputField(
        example_values=["control\n18\n…"],
    )


class ExportEvidenceOutput(ActionOutput):
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
    error: Optional[ExportEvidenceErrorOutput] = None
    sha256: Optional[str] = OutputField(
        cef_types=["sha256"],
        example_values=["9f86d081884c7d65…"],
    )
    page_sha256: Optional[List[str]] = OutputField(
        cef_types=["sha256"],
        example_values=["9f86d081884c7d65…"],
    )
    count: Optional[int] = OutputField(
        example_values=[12],
    )
    logs: Optional[List[str]] = OutputField(
        example_values=["control"],
    )
    checkpoints: Optional[List[ExportEvidenceCheckpointsOutput]] = None
    since: Optional[str] = OutputField(
        example_values=["2026-01-31T08:00:00Z"],
    )
    until: Optional[str] = OutputField(
        example_values=["2026-01-31T10:00:00Z"],
    )
    truncated: Optional[bool] = OutputField()



@app.action(
    name="export evidence",
    identifier="export_evidence",
    description=(
        "Return what was recorded of an agent in a window of time, with a proof for "
        "every entry that it is in the log that the attached checkpoint signs, so "
        "that somebody else can check it offline. PARTIAL if there is more than was "
        "asked for."
    ),
    verbose=(
        "Tier LOW. Needs the permission 'audit-read' on control. Approval: None. "
        "Idempotency: Reads only."
    ),
    action_type="investigate",
    read_only=True,
    render_as="table",
    summary_type=Summary,
)
def export_evidence(
    params: ExportEvidenceParams, soar: SOARClient, asset: Asset
) -> ExportEvidenceOutput:
    """Return what was recorded of an agent in a window of time, with a proof for
    every entry that it is in the log that the attached checkpoint signs, so
    that somebody else can check it offline. PARTIAL if there is more than was
    asked for.
    """
    return carry_out("export-evidence", params, asset)
