# SPDX-License-Identifier: Apache-2.0
"""release agent: end one directive; a human's act, relayed with that human's own credential."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import (
    Action,
    ActionEffect,
    ErrorNote,
    Output,
    Parameter,
    RetryClass,
)
from soar_actions.catalogue.common import COMMON_ERRORS, REASON

__all__ = ["RELEASE_AGENT"]

RELEASE_AGENT: Final = Action(
    name="release agent",
    description="End one containment directive, named by its epoch. Others that hold the same "
    "agent stay.",
    effect=ActionEffect.LOOSEN,
    reversal="contain agent",
    approval="A human with the role `release` who did not order the directive; the credential of "
    "SOAR automation is refused.",
    permission="release",
    retry=RetryClass.WITH_SAME_KEY,
    idempotency="One key per playbook run; the same key with other parameters is a conflict.",
    parameters=(
        Parameter(
            name="epoch",
            description="Number of the directive, from the receipt.",
            example="42",
            pattern=r"[1-9][0-9]{0,18}",
        ),
        REASON,
    ),
    outputs=(
        Output(path="directive.state", description="RELEASED.", example="RELEASED"),
        Output(path="remaining[].epoch", description="Directives that still hold.", example=43),
    ),
    errors=(
        ErrorNote(
            reason="SECOND_HUMAN_NEEDED",
            meaning="The author may not release, nor may automation.",
            remedy="Let another human with the role `release` do it.",
        ),
        ErrorNote(
            reason="ALREADY_RELEASED",
            meaning="The directive does not stand any more.",
            remedy="List the directives.",
        ),
        *COMMON_ERRORS,
    ),
    mappings={"OCSF": "7001 Remediation Activity: Restore", "OpenC2": "restore"},
)
