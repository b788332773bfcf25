# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""request approval."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class RequestApprovalParams(Given):
    """What a playbook gives."""

    question: str = Param(
        description=(
            "What humans are asked, as one sentence, at most 300 characters. For example: "
            "Eradicate agent banking, although emma is on leave?"
        ),
        required=True,
        primary=False,
    )
    details: str = Param(
        description=(
            "What they should know before they answer, at most 4,000 characters. For "
            "example: Alert 4711: 12 transfers to an unknown account."
        ),
        required=False,
        primary=False,
    )
    agent: str = Param(
        description="The agent it is about, if it is about one. For example: banking",
        required=False,
        primary=False,
        cef_types=["holdfast agent"],
    )
    idempotency_key: str = Param(
        description=(
            "Makes a retry safe: the same key has one effect. Left out, it is made from "
            "the playbook's run. For example: run-4711-contain"
        ),
        required=False,
        primary=False,
    )


class RequestApprovalErrorOutput(ActionOutput):
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


class RequestApprovalOperationOutput(ActionOutput):
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


class RequestApprovalOutput(ActionOutput):
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
    error: Optional[RequestApprovalErrorOutput] = None
    operation: Optional[RequestApprovalOperationOutput] = None
    approval: Optional[str] = OutputField(
        cef_types=["holdfast approval"],
        example_values=["approvals/apr_0123456789abcdef0123456789abcdef"],
    )
    link: Optional[str] = OutputField(
        cef_types=["url"],
        example_values=["https://control.example:7444/approvals/apr_0123456789abcdef0123456789abcdef"],
        column_name="Link",
    )
    repeated_request: Optional[bool] = OutputField()



@app.action(
    name="request approval",
    identifier="request_approval",
    description=(
        "Ask humans to grant or refuse something, in words: a step of a playbook that "
        "no other action stands for. Nothing but the answer comes of it. They are "
        "asked by control, on the channels that it has, and the SOAR credential "
        "cannot answer for them."
    ),
    verbose=(
        "Tier LOW. Needs the permission 'contain' on control. Approval: Always: that "
        "is what it is for. The status is PENDING until humans have decided. To undo: "
        "none: it lapses by itself. Idempotency: One key for each step of a playbook "
        "run: the same key with the same parameters answers with the same result and "
        "has one effect; with other parameters it is a conflict. Adapters make it "
        "from the platform's run, the action and the parameters."
    ),
    action_type="generic",
    read_only=False,
    render_as="table",
    summary_type=Summary,
)
def request_approval(
    params: RequestApprovalParams, soar: SOARClient, asset: Asset
) -> RequestApprovalOutput:
    """Ask humans to grant or refuse something, in words: a step of a playbook that
    no other action stands for. Nothing but the answer comes of it. They are
    asked by control, on the channels that it has, and the SOAR credential
    cannot answer for them.
    """
    return carry_out("request-approval", params, asset)
