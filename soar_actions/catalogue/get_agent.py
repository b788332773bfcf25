# SPDX-License-Identifier: Apache-2.0
"""get agent: who it is, who stands behind it, what holds it."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import Action, ActionEffect, Output, RetryClass
from soar_actions.catalogue.common import AGENT, COMMON_ERRORS

__all__ = ["GET_AGENT"]

GET_AGENT: Final = Action(
    name="get agent",
    description="Return an agent's owner, labels, gates, standing directives and counts of "
    "decisions.",
    effect=ActionEffect.READ,
    reversal="",
    approval="None.",
    permission="contain",
    retry=RetryClass.ALWAYS,
    idempotency="Reads only.",
    parameters=(AGENT,),
    outputs=(
        Output(path="agent.owner", description="The human behind it.", example="emma@example.com"),
        Output(path="agent.level", description="Tightest level that holds it.", example="KILL"),
        Output(path="agent.gates[]", description="Gates that serve it.", example="banking"),
        Output(path="agent.directives[].epoch", description="What holds it.", example=42),
    ),
    errors=COMMON_ERRORS,
    mappings={"OpenC2": "query"},
)
