# SPDX-License-Identifier: Apache-2.0
"""search audit: read the tamper-evident logs."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import FieldType, Output, Parameter
from soar_actions.catalogue.common import AGENT, LIMIT, LOG, NOT_FOUND, SINCE, TOOL, UNTIL
from soar_actions.catalogue.kinds import reads

__all__ = ["SEARCH_AUDIT"]

SEARCH_AUDIT: Final = reads(
    "search audit",
    "Return entries of a log, newest first, as they were recorded (arguments redacted by schema).",
    parameters=(
        LOG,
        replace(AGENT, description="Only this agent's; empty: all.", is_required=False),
        replace(TOOL, description="Only this tool's; empty: all.", is_required=False),
        Parameter(
            name="decision_id",
            description="Only this decision's; empty: all.",
            example="dec_0123456789abcdef0123456789abcdef",
            is_required=False,
            pattern=r"[a-z]{1,16}_[0-9a-f]{32}",
        ),
        Parameter(
            name="entry_kind",
            description="Only this kind: `decision`, `outcome`, `contain`, `release`, "
            "`revoke_tokens`, and others.",
            example="decision",
            is_required=False,
            pattern=r"[a-z][a-z0-9_.-]{0,63}",
        ),
        Parameter(
            name="effect",
            description="Only decisions with this effect.",
            example="DENY",
            is_required=False,
            choices=("ALLOW", "DENY", "HOLD"),
        ),
        SINCE,
        UNTIL,
        LIMIT,
    ),
    outputs=(
        Output("entries[].log", "Log it stands in.", "control"),
        Output("entries[].index", "Place in the log.", 17, FieldType.NUMBER),
        Output("entries[].kind", "What kind of entry it is.", "contain"),
        Output("entries[].time", "When it was recorded.", "2026-01-31T09:30:00Z", FieldType.TIME),
        Output("entries[].entry", "The whole entry.", {"kind": "contain"}, FieldType.OBJECT),
        Output("count", "How many are listed.", 1, FieldType.NUMBER),
        Output("truncated", "Whether there are more.", False, FieldType.BOOLEAN),
    ),
    errors=(NOT_FOUND,),
    permission="audit-read",
)
