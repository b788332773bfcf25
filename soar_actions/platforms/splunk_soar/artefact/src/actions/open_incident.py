# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""open incident."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class OpenIncidentParams(Given):
    """What a playbook gives."""

    agent: str = Param(
        description="Exact id of the agent; no wildcards. For example: banking",
        required=True,
        primary=True,
        cef_types=["holdfast agent"],
    )
    title: str = Param(
        description=(
            "What to call it, at most 200 characters. For example: banking moved money "
            "after a poisoned ticket"
        ),
        required=True,
        primary=False,
    )
    severity: str = Param(
        description="How bad it is. For example: HIGH",
        required=False,
        primary=False,
        default="MEDIUM",
        value_list=["LOW", "MEDIUM", "HIGH", "CRITICAL"],
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
    techniques: str = Param(
        description=(
            "MITRE ATT&CK and ATLAS techniques, separated by commas. For example: "
            "AML.T0053,T1041"
        ),
        required=False,
        primary=False,
        cef_types=["mitre technique"],
        allow_list=True,
    )
    verdict: str = Param(
        description="What people make of it so far. For example: THREAT",
        required=False,
        primary=False,
        default="UNDETERMINED",
        value_list=["UNDETERMINED", "THREAT", "MISCONFIGURATION", "FALSE_POSITIVE"],
    )
    note: str = Param(
        description=(
            "A note for whoever works on it, at most 4,000 characters. For example: The "
            "agent read a poisoned ticket at 09:12 UTC."
        ),
        required=False,
        primary=False,
    )
    external_reference: str = Param(
        description=(
            "Id of the same incident elsewhere, for example this platform's case. For "
            "example: case-4711"
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


class OpenIncidentErrorOutput(ActionOutput):
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


class OpenIncidentIncidentEventsOutput(ActionOutput):
    """Below ``incident.events``."""

    summary: Optional[str] = OutputField(
        example_values=["send_money was allowed"],
    )


class OpenIncidentIncidentBlastRadiusOutput(ActionOutput):
    """Below ``incident.blast_radius``."""

    statement: Optional[str] = OutputField(
        example_values=["banking was allowed 12 calls of 3 tools"],
    )
    irreversible_count: Optional[int] = OutputField(
        example_values=[1],
    )


class OpenIncidentIncidentDirectivesOutput(ActionOutput):
    """Below ``incident.directives``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )


class OpenIncidentIncidentNotesOutput(ActionOutput):
    """Below ``incident.notes``."""

    text: Optional[str] = OutputField(
        example_values=["read a poisoned ticket"],
    )


class OpenIncidentIncidentOutput(ActionOutput):
    """Below ``incident``."""

    name: Optional[str] = OutputField(
        cef_types=["holdfast incident"],
        example_values=["incidents/inc_0123456789abcdef0123456789abcdef"],
    )
    state: Optional[str] = OutputField(
        example_values=["OPEN"],
    )
    title: Optional[str] = OutputField(
        example_values=["banking moved money"],
    )
    severity: Optional[str] = OutputField(
        example_values=["HIGH"],
    )
    agent: Optional[str] = OutputField(
        cef_types=["holdfast agent"],
        example_values=["banking"],
    )
    owner: Optional[str] = OutputField(
        cef_types=["user name"],
        example_values=["emma@example.com"],
    )
    policy_digest: Optional[str] = OutputField(
        example_values=["9f86d0…"],
    )
    since: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )
    until: Optional[str] = OutputField(
        example_values=["2026-01-31T09:30:00Z"],
    )
    events: Optional[List[OpenIncidentIncidentEventsOutput]] = None
    blast_radius: Optional[OpenIncidentIncidentBlastRadiusOutput] = None
    directives: Optional[List[OpenIncidentIncidentDirectivesOutput]] = None
    prompts: Optional[str] = OutputField(
        example_values=["not recorded on this host"],
    )
    techniques: Optional[List[str]] = OutputField(
        cef_types=["mitre technique"],
        example_values=["AML.T0053"],
    )
    verdict: Optional[str] = OutputField(
        example_values=["UNDETERMINED"],
    )
    notes: Optional[List[OpenIncidentIncidentNotesOutput]] = None
    external_reference: Optional[str] = OutputField(
        example_values=["case-4711"],
    )
    sha256: Optional[str] = OutputField(
        cef_types=["sha256"],
        example_values=["9f86d081884c7d65…"],
    )


class OpenIncidentOutput(ActionOutput):
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
    error: Optional[OpenIncidentErrorOutput] = None
    incident: Optional[OpenIncidentIncidentOutput] = None
    repeated_request: Optional[bool] = OutputField()



@app.action(
    name="open incident",
    identifier="open_incident",
    description=(
        "Open the record of an agent incident: control gathers who the agent is, the "
        "policy in force, its calls and what it touched in the window, and what holds "
        "it."
    ),
    verbose=(
        "Tier LOW. Needs the permission 'contain' on control. Approval: None. To "
        "undo: update incident with close; a record is not taken back. Idempotency: "
        "One key for each step of a playbook run: the same key with the same "
        "parameters answers with the same result and has one effect; with other "
        "parameters it is a conflict. Adapters make it from the platform's run, the "
        "action and the parameters."
    ),
    action_type="generic",
    read_only=False,
    render_as="table",
    summary_type=Summary,
)
def open_incident(
    params: OpenIncidentParams, soar: SOARClient, asset: Asset
) -> OpenIncidentOutput:
    """Open the record of an agent incident: control gathers who the agent is, the
    policy in force, its calls and what it touched in the window, and what holds
    it.
    """
    return carry_out("open-incident", params, asset)
