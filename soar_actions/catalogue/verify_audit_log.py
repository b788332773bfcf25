# SPDX-License-Identifier: Apache-2.0
"""verify audit log: is what was recorded still what was recorded?."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import FieldType, Output
from soar_actions.catalogue.common import LOG, NOT_FOUND
from soar_actions.catalogue.kinds import reads

__all__ = ["VERIFY_AUDIT_LOG"]

VERIFY_AUDIT_LOG: Final = reads(
    "verify audit log",
    "Verify logs from their files: every entry, hash and signature. FAILED on anything but a full "
    "pass. Reads the whole log, so it can take a while.",
    parameters=(replace(LOG, description="Which log; empty: every log of the host."),),
    outputs=(
        Output("ok", "Whether every log is whole.", True, FieldType.BOOLEAN),
        Output("reports[].log", "Which log.", "control"),
        Output("reports[].ok", "Whether it is whole.", True, FieldType.BOOLEAN),
        Output("reports[].size", "Entries that were verified.", 4711, FieldType.NUMBER),
        Output("reports[].problems[]", "What is wrong; the first few.", "entry 17 was changed"),
        Output("reports[].checkpoint", "The signed tree head; keep it as proof.", "control\n18\n…",
               FieldType.LONG_TEXT),
        Output("verify_time", "When.", "2026-01-31T09:30:00Z", FieldType.TIME),
    ),
    errors=(NOT_FOUND,),
    deadline_s=60,
)  # fmt: skip
