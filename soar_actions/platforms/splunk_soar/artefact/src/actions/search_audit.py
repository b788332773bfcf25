# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""search audit."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class SearchAuditParams(Given):
    """What a playbook gives."""

    log: str = Param(
        description="Which log: `control`, or a gate's id. For example: control",
        required=False,
        primary=False,
    )
    agent: str = Param(
        description="Only this agent's; empty: all. For example: banking",
        required=False,
        primary=False,
        cef_types=["holdfast agent"],
    )
    tool: str = Param(
        description="Only this tool's; empty: all. For example: send_money",
        required=False,
        primary=False,
        cef_types=["holdfast tool"],
    )
    decision_id: str = Param(
        description=(
            "Only this decision's; empty: all. For example: "
            "dec_0123456789abcdef0123456789abcdef"
        ),
        required=False,
        primary=False,
    )
    entry_kind: str = Param(
        description=(
            "Only this kind: `decision`, `outcome`, `contain`, `release`, "
            "`revoke_tokens`, and others. For example: decision"
        ),
        required=False,
        primary=False,
    )
    effect: str = Param(
        description="Only decisions with this effect. For example: DENY",
        required=False,
        primary=False,
        value_list=["ALLOW", "DENY", "HOLD"],
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
        description="At most this many, 1 to 1000. For example: 50",
        required=False,
        primary=False,
        default=100,
    )


class SearchAuditErrorOutput(ActionOutput):
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


class SearchAuditEntriesOutput(ActionOutput):
    """Below ``entries``."""

    log: Optional[str] = OutputField(
        example_values=["control"],
    )
    index: Optional[int] = OutputField(
        example_values=[17],
    )
    kind: Optional[str] = OutputField(
        example_values=["contain"],
    )
    time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )


class SearchAuditOutput(ActionOutput):
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
    error: Optional[SearchAuditErrorOutput] = None
    entries: Optional[List[SearchAuditEntriesOutput]] = None
    count: Optional[int] = OutputField(
        example_values=[1],
    )
    truncated: Optional[bool] = OutputField()



@app.action(
    name="search audit",
    identifier="search_audit",
    description=(
        "Return entries of a log, newest first, as they were recorded (arguments "
        "redacted by schema)."
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
def search_audit(
    params: SearchAuditParams, soar: SOARClient, asset: Asset
) -> SearchAuditOutput:
    """Return entries of a log, newest first, as they were recorded (arguments
    redacted by schema).
    """
    return carry_out("search-audit", params, asset)
