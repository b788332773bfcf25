# SPDX-License-Identifier: Apache-2.0
"""release agent: ask for the end of one directive; it ends when another human has granted it."""

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
from soar_actions.catalogue.common import COMMON_ERRORS, HELD_ERRORS, HELD_OUTPUTS, REASON

__all__ = ["RELEASE_AGENT"]

RELEASE_AGENT: Final = Action(
    name="release agent",
    description="End one containment directive, named by its epoch. Others that hold the same "
    "agent stay.",
    effect=ActionEffect.LOOSEN,
    reversal="contain agent",
    approval="Always: a human other than whoever asks must grant it, two if automation asks. Until "
    "then the status is PENDING and the directive holds.",
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
        *HELD_OUTPUTS,
    ),
    errors=(
        ErrorNote(
            reason="SECOND_HUMAN_NEEDED",
            meaning="This operator may not ask for it, or not alone.",
            remedy="Let another human with the role `release` ask.",
        ),
        ErrorNote(
            reason="ALREADY_RELEASED",
            meaning="The directive does not stand any more.",
            remedy="List the directives.",
        ),
        *HELD_ERRORS,
        *COMMON_ERRORS,
    ),
    mappings={"OCSF": "7001 Remediation Activity: Restore", "OpenC2": "restore"},
)
