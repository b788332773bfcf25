# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: TID252, UP006, UP035, UP045
# fmt: off
"""get incident."""

from typing import List, Optional

from soar_sdk.abstract import SOARClient
from soar_sdk.action_results import ActionOutput, OutputField
from soar_sdk.params import Param

from ..adapter import Asset, Given, app, carry_out
from ..summary import Summary


class GetIncidentParams(Given):
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


class GetIncidentErrorOutput(ActionOutput):
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


class GetIncidentIncidentEventsOutput(ActionOutput):
    """Below ``incident.events``."""

    summary: Optional[str] = OutputField(
        example_values=["send_money was allowed"],
    )


class GetIncidentIncidentBlastRadiusOutput(ActionOutput):
    """Below ``incident.blast_radius``."""

    statement: Optional[str] = OutputField(
        example_values=["banking was allowed 12 calls of 3 tools"],
    )
    irreversible_count: Optional[int] = OutputField(
        example_values=[1],
    )


class GetIncidentIncidentDirectivesOutput(ActionOutput):
    """Below ``incident.directives``."""

    epoch: Optional[int] = OutputField(
        cef_types=["holdfast epoch"],
        example_values=[42],
    )


class GetIncidentIncidentNotesOutput(ActionOutput):
    """Below ``incident.notes``."""

    text: Optional[str] = OutputField(
        example_values=["read a poisoned ticket"],
    )


class GetIncidentIncidentOutput(ActionOutput):
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
    events: Optional[List[GetIncidentIncidentEventsOutput]] = None
    blast_radius: Optional[GetIncidentIncidentBlastRadiusOutput] = None
    directives: Optional[List[GetIncidentIncidentDirectivesOutput]] = None
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
    notes: Optional[List[GetIncidentIncidentNotesOutput]] = None
    external_reference: Optional[str] = OutputField(
        example_values=["case-4711"],
    )
    sha256: Optional[str] = OutputField(
        cef_types=["sha256"],
        example_values=["9f86d081884c7d65…"],
    )


class GetIncidentOutput(ActionOutput):
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
    error: Optional[GetIncidentErrorOutput] = None
    incident: Optional[GetIncidentIncidentOutput] = None



@app.action(
    name="get incident",
    identifier="get_incident",
    description="Return one incident as it stands.",
    verbose=(
        "Tier LOW. Needs the permission 'contain' on control. Approval: None. "
        "Idempotency: Reads only."
    ),
    action_type="investigate",
    read_only=True,
    render_as="table",
    summary_type=Summary,
)
def get_incident(
    params: GetIncidentParams, soar: SOARClient, asset: Asset
) -> GetIncidentOutput:
    """Return one incident as it stands."""
    return carry_out("get-incident", params, asset)
