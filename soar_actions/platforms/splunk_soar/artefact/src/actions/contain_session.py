# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""contain session."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class ContainSessionParams(Given):
    """What a playbook gives."""

    agent: str = Param(
        description="Exact id of the agent; no wildcards. For example: banking",
        required=True,
        primary=True,
        cef_types=["holdfast agent"],
    )
    session: str = Param(
        description=(
            "Exact id of the session, as the agent reports it. For example: session-4711"
        ),
        required=True,
        primary=False,
        cef_types=["holdfast session"],
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


class ContainSessionErrorOutput(ActionOutput):
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


class ContainSessionReceiptGatesOutput(ActionOutput):
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


class ContainSessionReceiptIsolationOutput(ActionOutput):
    """Below ``receipt.isolation``."""

    driver: Optional[str] = OutputField(
        example_values=["process_group"],
    )
    result: Optional[str] = OutputField(
        example_values=["TERMINATED"],
    )


class ContainSessionReceiptOutput(ActionOutput):
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
    gates: Optional[List[ContainSessionReceiptGatesOutput]] = None
    last_allow_time: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )
    isolation: Optional[List[ContainSessionReceiptIsolationOutput]] = None
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


class ContainSessionOperationOutput(ActionOutput):
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


class ContainSessionOutput(ActionOutput):
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
    error: Optional[ContainSessionErrorOutput] = None
    receipt: Optional[ContainSessionReceiptOutput] = None
    laggards: Optional[List[str]] = OutputField(
        example_values=["banking"],
    )
    unknown_agents: Optional[List[str]] = OutputField(
        cef_types=["holdfast agent"],
        example_values=["bankng"],
    )
    repeated_request: Optional[bool] = OutputField()
    operation: Optional[ContainSessionOperationOutput] = None
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
    name="contain session",
    identifier="contain_session",
    description=(
        "Hold one session of an agent at a containment level; its other sessions go "
        "on. A session is named by the agent itself: against an agent that may lie, "
        "contain the agent."
    ),
    verbose=(
        "Tier HIGH. Needs the permission 'contain' on control. Approval: Tightening "
        "needs one operator or automation. Only where it reaches much of the fleet, "
        "or an agent that is protected, must another human grant it first: the status "
        "is PENDING until then. To undo: release agent by epoch, granted by a human; "
        "tokens that a KILL revoked and runtimes that it stopped do not come back. "
        "Idempotency: One key for each step of a playbook run: the same key with the "
        "same parameters answers with the same result and has one effect; with other "
        "parameters it is a conflict. Adapters make it from the platform's run, the "
        "action and the parameters."
    ),
    action_type="contain",
    read_only=False,
    render_as="table",
    summary_type=Summary,
)
def contain_session(
    params: ContainSessionParams, soar: SOARClient, asset: Asset
) -> ContainSessionOutput:
    """Hold one session of an agent at a containment level; its other sessions go
    on. A session is named by the agent itself: against an agent that may lie,
    contain the agent.
    """
    return carry_out("contain-session", params, asset)
