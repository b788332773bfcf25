# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""update incident."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class UpdateIncidentParams(Given):
    """What a playbook gives."""

    incident: str = Param(
        description=(
            "Name of the incident. For example: "
            "incidents/inc_0123456789abcdef0123456789abcdef"
        ),
        required=True,
        primary=True,
        cef_types=["holdfast incident"],
    )
    verdict: str = Param(
        description="What people make of it; empty: as it is. For example: MISCONFIGURATION",
        required=False,
        primary=False,
        value_list=["UNDETERMINED", "THREAT", "MISCONFIGURATION", "FALSE_POSITIVE"],
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
    note: str = Param(
        description=(
            "A note for whoever works on it, at most 4,000 characters. For example: The "
            "agent read a poisoned ticket at 09:12 UTC."
        ),
        required=False,
        primary=False,
    )
    close: bool = Param(
        description=(
            "Close it; a closed incident takes notes and nothing else. For example: true"
        ),
        required=False,
        primary=False,
        default=False,
    )
    idempotency_key: str = Param(
        description=(
            "Makes a retry safe: the same key has one effect. Left out, it is made from "
            "the playbook's run. For example: run-4711-contain"
        ),
        required=False,
        primary=False,
    )


class UpdateIncidentErrorOutput(ActionOutput):
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


class UpdateIncidentIncidentEventsOutput(ActionOutput):
    """Below ``incident.events``."""

    summary: Optional[str] = OutputField(
        example_values=["send_money was allowed"],
    )


class UpdateIncidentIncidentBlastRadiusOutput(ActionOutput):
    """Below ``incident.blast_radius``."""

    statement: Optional[str] = OutputField(
        example_values=["banking was allowed 12 calls of 3 tools"],
    )
    irreversible_count: Optional[int] = OutputField(
        example_values=[1],
    )


class UpdateIncidentIncidentDirectivesOutput(ActionOutput):
    """Below ``incident.directives``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )


class UpdateIncidentIncidentNotesOutput(ActionOutput):
    """Below ``incident.notes``."""

    text: Optional[str] = OutputField(
        example_values=["read a poisoned ticket"],
    )


class UpdateIncidentIncidentOutput(ActionOutput):
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
    events: Optional[List[UpdateIncidentIncidentEventsOutput]] = None
    blast_radius: Optional[UpdateIncidentIncidentBlastRadiusOutput] = None
    directives: Optional[List[UpdateIncidentIncidentDirectivesOutput]] = None
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
    notes: Optional[List[UpdateIncidentIncidentNotesOutput]] = None
    external_reference: Optional[str] = OutputField(
        example_values=["case-4711"],
    )
    sha256: Optional[str] = OutputField(
        cef_types=["sha256"],
        example_values=["9f86d081884c7d65…"],
    )


class UpdateIncidentOutput(ActionOutput):
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
    error: Optional[UpdateIncidentErrorOutput] = None
    incident: Optional[UpdateIncidentIncidentOutput] = None



@app.action(
    name="update incident",
    identifier="update_incident",
    description=(
        "Add a verdict, techniques or a note to an incident, or close it. What "
        "control gathered when it was opened does not change."
    ),
    verbose=(
        "Tier LOW. Needs the permission 'contain' on control. Approval: None. To "
        "undo: none: what was added stays; add a note. Idempotency: One key for each "
        "step of a playbook run: the same key with the same parameters answers with "
        "the same result and has one effect; with other parameters it is a conflict. "
        "Adapters make it from the platform's run, the action and the parameters."
    ),
    action_type="generic",
    read_only=False,
    render_as="table",
    summary_type=Summary,
)
def update_incident(
    params: UpdateIncidentParams, soar: SOARClient, asset: Asset
) -> UpdateIncidentOutput:
    """Add a verdict, techniques or a note to an incident, or close it. What
    control gathered when it was opened does not change.
    """
    return carry_out("update-incident", params, asset)
