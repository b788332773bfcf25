# SPDX-License-Identifier: Apache-2.0
"""list revocations: whose tokens work no more."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Output
from soar_actions.catalogue.common import LIMIT
from soar_actions.catalogue.kinds import reads

__all__ = ["LIST_REVOCATIONS"]

LIST_REVOCATIONS: Final = reads(
    "list revocations",
    "Return revocations of tokens, newest first.",
    parameters=(LIMIT,),
    outputs=(
        Output("revocations[].epoch", "Number of the revocation.", 43, FieldType.NUMBER),
        Output("revocations[].agent", "Whose tokens.", "banking", contains="holdfast agent"),
        Output("revocations[].issuer", "Tokens of this issuer.", "https://login.example"),
        Output("revocations[].author", "Operator who ordered it.", "soar"),
        Output("revocations[].reason", "Why, in the author's words.", "alert 4711"),
        Output("revocations[].create_time", "When.", "2026-01-31T09:30:00Z", FieldType.TIME),
        Output("count", "How many are listed.", 1, FieldType.NUMBER),
        Output("truncated", "Whether there are more.", False, FieldType.BOOLEAN),
    ),
)
