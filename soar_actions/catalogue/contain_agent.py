# SPDX-License-Identifier: Apache-2.0
"""contain agent: hold one agent at a level, and prove it."""

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
from soar_actions.catalogue.common import (
    AGENT,
    COMMON_ERRORS,
    HELD_ERRORS,
    HELD_OUTPUTS,
    REASON,
)

__all__ = ["CONTAIN_AGENT"]

CONTAIN_AGENT: Final = Action(
    name="contain agent",
    description="Hold an agent at a containment level. Bites on its very next tool call; the answer "
    "is a signed receipt that lists every gate.",
    effect=ActionEffect.CONTAIN,
    reversal="release agent, by a human other than the author",
    approval="None: tightening needs one operator or automation. Only where it reaches an agent "
    "that is protected must another human grant it first: the status is PENDING until then.",
    permission="contain",
    retry=RetryClass.WITH_SAME_KEY,
    idempotency="One key per playbook run; the same key with other parameters is a conflict.",
    parameters=(
        AGENT,
        Parameter(
            name="level",
            description="How tightly.",
            example="KILL",
            is_required=False,
            default="FREEZE",
            choices=("OBSERVE", "THROTTLE", "HOLD", "READ_ONLY", "FREEZE", "KILL"),
        ),
        REASON,
        Parameter(
            name="ttl_seconds",
            description="Lapses by itself after this many seconds; empty: stands until released.",
            example="3600",
            is_required=False,
            pattern=r"[1-9][0-9]{0,6}",
        ),
    ),
    outputs=(
        Output(path="receipt.epoch", description="Number of the directive.", example=42),
        Output(path="receipt.durable", description="It survives a power cut.", example=True),
        Output(path="receipt.contained", description="Every live gate enforces it.", example=True),
        Output(path="receipt.gates[].gate", description="Gate id.", example="banking"),
        Output(path="receipt.gates[].state", description="Its standing.", example="ENFORCED"),
        Output(path="receipt.last_allow_time", description="Last ALLOW before.", example=""),
        *HELD_OUTPUTS,
    ),
    errors=(
        ErrorNote(
            reason="REQUEST_ID_CONFLICT",
            meaning="The key was used for other parameters.",
            remedy="Use one key per playbook run and action.",
        ),
        ErrorNote(
            reason="WIDE_BLAST",
            meaning="The target covers too much of the fleet for automation alone.",
            remedy="Let an operator with break-glass order it.",
        ),
        *HELD_ERRORS,
        *COMMON_ERRORS,
    ),
    mappings={
        "D3FEND": "D3-PT Process Termination",
        "OCSF": "7001 Remediation Activity: Isolate",
        "OpenC2": "contain",
    },
)
