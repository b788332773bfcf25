# SPDX-License-Identifier: Apache-2.0
"""verify containment: ask the gates to decide the agent's recorded calls again."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import Action, ActionEffect, Output, Parameter, RetryClass
from soar_actions.catalogue.common import AGENT, COMMON_ERRORS

__all__ = ["VERIFY_CONTAINMENT"]

VERIFY_CONTAINMENT: Final = Action(
    name="verify containment",
    description="Replay the agent's last recorded calls through its gates, as a dry run. Contained "
    "means: at least one was replayed and none was allowed.",
    effect=ActionEffect.READ,
    reversal="",
    approval="None.",
    permission="contain",
    retry=RetryClass.ALWAYS,
    idempotency="Reads only.",
    parameters=(
        AGENT,
        Parameter(
            name="max_calls",
            description="How many of the last calls to replay, at most 1000.",
            example="100",
            is_required=False,
            default="100",
            pattern=r"[1-9][0-9]{0,3}",
        ),
    ),
    outputs=(
        Output(path="contained", description="Whether none was allowed.", example=True),
        Output(path="replayed", description="How many were replayed.", example=100),
        Output(path="allowed", description="How many of them were allowed.", example=0),
        Output(path="statement", description="What the answer rests on.", example=""),
    ),
    errors=COMMON_ERRORS,
    mappings={"OCSF": "7001 Remediation Activity", "OpenC2": "query"},
)
