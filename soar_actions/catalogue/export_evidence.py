# SPDX-License-Identifier: Apache-2.0
"""export evidence: what was recorded of an agent, with proofs."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Output, Parameter
from soar_actions.catalogue.common import AGENT, NOT_FOUND, SINCE, UNTIL
from soar_actions.catalogue.kinds import reads

__all__ = ["EXPORT_EVIDENCE"]

EXPORT_EVIDENCE: Final = reads(
    "export evidence",
    "Return what was recorded of an agent in a window of time, with a proof for every entry that it is "
    "in the log that the attached checkpoint signs, so that somebody else can check it offline. "
    "PARTIAL if there is more than was asked for.",
    parameters=(
        AGENT,
        SINCE,
        UNTIL,
        Parameter(
            name="limit",
            description="At most this many entries, 1 to 5000.",
            example="1000",
            type=FieldType.NUMBER,
            is_required=False,
            default="1000",
            pattern=r"[1-9][0-9]{0,2}|[1-4][0-9]{3}|5000",
        ),
    ),
    outputs=(
        Output("evidence", "Control's answers as they came: entries, proofs, signed tree heads.",
               {"agent": "banking", "pages": []}, FieldType.OBJECT),
        Output("sha256", "SHA-256 of `evidence` as JSON in UTF-8 with sorted keys, no spaces and no "
               "escape that JSON does not need, for a chain of custody.", "9f86d081884c7d65…",
               contains="sha256"),
        Output("page_sha256[]", "SHA-256 of each page's items, as control computed it.",
               "9f86d081884c7d65…", contains="sha256"),
        Output("count", "How many entries.", 12, FieldType.NUMBER),
        Output("logs[]", "Logs that they are of.", "control"),
        Output("checkpoints[].log", "Which log.", "control"),
        Output("checkpoints[].checkpoint", "Its signed tree head.", "control\n18\n…",
               FieldType.LONG_TEXT),
        Output("since", "Begin of the window.", "2026-01-31T08:00:00Z", FieldType.TIME),
        Output("until", "End of the window.", "2026-01-31T10:00:00Z", FieldType.TIME),
        Output("truncated", "Whether there is more.", False, FieldType.BOOLEAN),
    ),
    errors=(NOT_FOUND,),
    permission="audit-read",
    deadline_s=60,
)  # fmt: skip
