# SPDX-License-Identifier: Apache-2.0
"""verify containment: ask the gates to decide the agent's recorded calls again."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Mappings, Output, Parameter
from soar_actions.catalogue.common import AGENT, NOT_FOUND
from soar_actions.catalogue.kinds import reads

__all__ = ["VERIFY_CONTAINMENT"]

VERIFY_CONTAINMENT: Final = reads(
    "verify containment",
    "Replay the agent's last recorded calls through its gates, as a dry run. Contained means: at least "
    "one was replayed and none was allowed. Anything else has the status FAILED.",
    parameters=(
        AGENT,
        Parameter(
            name="max_calls",
            description="How many of the last calls to replay, 1 to 1000.",
            example="100",
            type=FieldType.NUMBER,
            is_required=False,
            default="100",
            pattern=r"[1-9][0-9]{0,2}|1000",
        ),
    ),
    outputs=(
        Output("contained", "Whether none was allowed.", True, FieldType.BOOLEAN),
        Output("replayed", "How many were replayed.", 100, FieldType.NUMBER),
        Output("allowed", "How many of them were allowed.", 0, FieldType.NUMBER),
        Output("statement", "What the answer rests on.", "12 of 12 recorded calls were denied"),
        Output("items[].tool", "Tool of a replayed call.", "send_money"),
        Output("items[].original_effect", "What was decided then.", "ALLOW"),
        Output("items[].effect", "What is decided now.", "DENY"),
        Output("items[].reason", "Why.", "KILLED"),
        Output("items[].decision_id", "The decision that was replayed.",
               "dec_0123456789abcdef0123456789abcdef"),
    ),
    errors=(NOT_FOUND,),
    mappings=Mappings(ocsf="7001/5"),
)  # fmt: skip
