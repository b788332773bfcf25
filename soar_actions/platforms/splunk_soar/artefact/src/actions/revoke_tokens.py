# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""revoke tokens."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class RevokeTokensParams(Given):
    """What a playbook gives."""

    agent: str = Param(
        description="Tokens of this agent; exact id. For example: banking",
        required=False,
        primary=True,
        cef_types=["holdfast agent"],
    )
    session: str = Param(
        description="Tokens of this session; exact id. For example: session-4711",
        required=False,
        primary=False,
        cef_types=["holdfast session"],
    )
    issuer: str = Param(
        description=(
            "Tokens of this issuer, by its `iss` value. For example: "
            "https://login.example"
        ),
        required=False,
        primary=False,
    )
    token_id: str = Param(
        description="The token with this id (`jti`); needs the issuer. For example: 4f1c2d",
        required=False,
        primary=False,
    )
    issued_before: str = Param(
        description=(
            "Only those issued at or before this time; empty: until now. For example: "
            "2026-01-31T09:30:00Z"
        ),
        required=False,
        primary=False,
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


class RevokeTokensErrorOutput(ActionOutput):
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


class RevokeTokensRevocationOutput(ActionOutput):
    """Below ``revocation``."""

    epoch: Optional[int] = OutputField(
        example_values=[43],
    )
    agent: Optional[str] = OutputField(
        cef_types=["holdfast agent"],
        example_values=["banking"],
    )
    issued_before: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )
    author: Optional[str] = OutputField(
        example_values=["soar"],
    )


class RevokeTokensOutput(ActionOutput):
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
    error: Optional[RevokeTokensErrorOutput] = None
    revocation: Optional[RevokeTokensRevocationOutput] = None
    laggards: Optional[List[str]] = OutputField(
        example_values=["travel"],
    )
    repeated_request: Optional[bool] = OutputField()



@app.action(
    name="revoke tokens",
    identifier="revoke_tokens",
    description=(
        "Revoke every token that matches all given selectors, at the next call. "
        "Control's own gates refuse them from then on; whoever issued them is not "
        "told."
    ),
    verbose=(
        "Tier HIGH. Needs the permission 'contain' on control. Approval: None: "
        "tightening needs one operator or automation. To undo: none: it cannot be "
        "taken back; issue new tokens. Idempotency: One key for each step of a "
        "playbook run: the same key with the same parameters answers with the same "
        "result and has one effect; with other parameters it is a conflict. Adapters "
        "make it from the platform's run, the action and the parameters."
    ),
    action_type="contain",
    read_only=False,
    render_as="table",
    summary_type=Summary,
)
def revoke_tokens(
    params: RevokeTokensParams, soar: SOARClient, asset: Asset
) -> RevokeTokensOutput:
    """Revoke every token that matches all given selectors, at the next call.
    Control's own gates refuse them from then on; whoever issued them is not
    told.
    """
    return carry_out("revoke-tokens", params, asset)
