# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""unblock destination."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class UnblockDestinationParams(Given):
    """What a playbook gives."""

    epoch: int = Param(
        description="Number of the directive, from the receipt. For example: 42",
        required=False,
        primary=True,
        cef_types=["holdfast epoch"],
    )
    destination: str = Param(
        description=(
            "Instead of an epoch: the destination, as it was blocked. For example: "
            "files.example.com"
        ),
        required=False,
        primary=False,
        cef_types=["domain"],
    )
    reason: str = Param(
        description=(
            "Why, for the log and for the people who read it later. For example: "
            "exfiltration alert 4711"
        ),
        required=True,
        primary=False,
    )
    idempotency_key: str = Param(
        description=(
            "Makes a retry safe: the same key has one effect. Left out, it is made from "
            "the playbook's run. For example: run-4711-contain"
        ),
        required=False,
        primary=False,
    )


class UnblockDestinationErrorOutput(ActionOutput):
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


class UnblockDestinationReleasesOutput(ActionOutput):
    """Below ``releases``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )
    status: Optional[str] = OutputField(
        example_values=["PENDING"],
    )
    summary: Optional[str] = OutputField(
        example_values=["waits for a human (bob)"],
    )
    reason: Optional[str] = OutputField(
        example_values=["APPROVAL_REFUSED"],
    )
    operation: Optional[str] = OutputField(
        cef_types=["holdfast operation"],
        example_values=["operations/apr_0123456789abcdef0123456789abcdef"],
    )


class UnblockDestinationDirectiveOutput(ActionOutput):
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


class UnblockDestinationRemainingOutput(ActionOutput):
    """Below ``remaining``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[41],
    )


class UnblockDestinationOperationOutput(ActionOutput):
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


class UnblockDestinationOutput(ActionOutput):
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
    error: Optional[UnblockDestinationErrorOutput] = None
    changed: Optional[bool] = OutputField()
    releases: Optional[List[UnblockDestinationReleasesOutput]] = None
    directive: Optional[UnblockDestinationDirectiveOutput] = None
    epoch: Optional[int] = OutputField(
        example_values=[43],
    )
    remaining: Optional[List[UnblockDestinationRemainingOutput]] = None
    operation: Optional[UnblockDestinationOperationOutput] = None
    approval: Optional[str] = OutputField(
        cef_types=["holdfast approval"],
        example_values=["approvals/apr_0123456789abcdef0123456789abcdef"],
    )
    link: Optional[str] = OutputField(
        cef_types=["url"],
        example_values=["https://control.example:7444/approvals/apr_0123456789abcdef0123456789abcdef"],
        column_name="Link",
    )



@app.action(
    name="unblock destination",
    identifier="unblock_destination",
    description=(
        "End one directive, named by its epoch; or, named by a destination, every "
        "standing directive that blocks exactly this one."
    ),
    verbose=(
        "Tier HIGH. Needs the permission 'release' on control. Approval: Always: a "
        "human other than whoever asks must grant it, two if automation asks. Until "
        "then the status is PENDING and the directive holds. To undo: block "
        "destination. Idempotency: One key for each step of a playbook run: the same "
        "key with the same parameters answers with the same result and has one "
        "effect; with other parameters it is a conflict. Adapters make it from the "
        "platform's run, the action and the parameters. Named otherwise than by its "
        "epoch, each directive has a key of its own, made from this one and its "
        "epoch: run again, the end of none is asked for twice, but that of one "
        "ordered since is."
    ),
    action_type="correct",
    read_only=False,
    render_as="table",
    summary_type=Summary,
)
def unblock_destination(
    params: UnblockDestinationParams, soar: SOARClient, asset: Asset
) -> UnblockDestinationOutput:
    """End one directive, named by its epoch; or, named by a destination, every
    standing directive that blocks exactly this one.
    """
    return carry_out("unblock-destination", params, asset)
