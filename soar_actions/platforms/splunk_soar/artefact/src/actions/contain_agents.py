# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""contain agents."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class ContainAgentsParams(Given):
    """What a playbook gives."""

    agents: str = Param(
        description=(
            "Exact ids of the agents, separated by commas, at most 100; no wildcards. For "
            "example: banking,travel"
        ),
        required=True,
        primary=True,
        cef_types=["holdfast agent"],
        allow_list=True,
    )
    level: str = Param(
        description=(
            "How tightly: OBSERVE marks calls, THROTTLE slows them, HOLD asks a human for "
            "each, READ_ONLY lets only reading tools pass, FREEZE denies all and keeps "
            "the process for forensics, KILL denies all, revokes the agent's tokens and "
            "stops its runtime. For example: KILL"
        ),
        required=False,
        primary=False,
        default="FREEZE",
        value_list=["OBSERVE", "THROTTLE", "HOLD", "READ_ONLY", "FREEZE", "KILL"],
    )
    reason: str = Param(
        description=(
            "Why, for the log and for the people who read it later. For example: "
            "exfiltration alert 4711"
        ),
        required=True,
        primary=False,
    )
    ttl_seconds: int = Param(
        description=(
            "Lapses by itself after this many seconds, at most 30 days; empty: stands "
            "until released. For example: 3600"
        ),
        required=False,
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


class ContainAgentsErrorOutput(ActionOutput):
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


class ContainAgentsTargetsOutput(ActionOutput):
    """Below ``targets``."""

    agent: Optional[str] = OutputField(
        cef_types=["holdfast agent"],
        example_values=["banking"],
    )
    status: Optional[str] = OutputField(
        example_values=["SUCCESS"],
    )
    summary: Optional[str] = OutputField(
        example_values=["agent banking is held at KILL"],
    )
    reason: Optional[str] = OutputField(
        example_values=["UNAVAILABLE"],
    )
    remedy: Optional[str] = OutputField(
        example_values=["run it again"],
    )
    retryable: Optional[bool] = OutputField()
    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )
    laggards: Optional[List[str]] = OutputField(
        example_values=["travel"],
    )
    operation: Optional[str] = OutputField(
        cef_types=["holdfast operation"],
        example_values=["operations/apr_0123456789abcdef0123456789abcdef"],
    )


class ContainAgentsOperationOutput(ActionOutput):
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


class ContainAgentsOutput(ActionOutput):
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
    error: Optional[ContainAgentsErrorOutput] = None
    targets: Optional[List[ContainAgentsTargetsOutput]] = None
    operation: Optional[ContainAgentsOperationOutput] = None
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
    name="contain agents",
    identifier="contain_agents",
    description=(
        "Hold several agents at a containment level. Every agent is listed with its "
        "own outcome: one that fails stops no other, and then the status is PARTIAL, "
        "never SUCCESS."
    ),
    verbose=(
        "Tier HIGH. Needs the permission 'contain' on control. Approval: Tightening "
        "needs one operator or automation. Only where it reaches much of the fleet, "
        "or an agent that is protected, must another human grant it first: the status "
        "is PENDING until then. To undo: release agent for each, granted by a human; "
        "tokens that a KILL revoked and runtimes that it stopped do not come back. "
        "Idempotency: One key for each step of a playbook run. Each agent's order has "
        "a key of its own, made from this one and the agent. The same key again "
        "orders nothing twice for an agent that it was used for (with another level, "
        "reason or lifetime that is a conflict), and holds agents that are new in the "
        "list. Adapters make it from the platform's run, the action and the "
        "parameters."
    ),
    action_type="contain",
    read_only=False,
    render_as="table",
    summary_type=Summary,
)
def contain_agents(
    params: ContainAgentsParams, soar: SOARClient, asset: Asset
) -> ContainAgentsOutput:
    """Hold several agents at a containment level. Every agent is listed with its
    own outcome: one that fails stops no other, and then the status is PARTIAL,
    never SUCCESS.
    """
    return carry_out("contain-agents", params, asset)
