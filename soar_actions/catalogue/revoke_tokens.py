# SPDX-License-Identifier: Apache-2.0
"""revoke tokens: what an agent holds works no more at any gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import ErrorNote, FieldType, Mappings, Output, Parameter
from soar_actions.catalogue.common import AGENT, REASON, SESSION
from soar_actions.catalogue.kinds import tightens
from soar_actions.catalogue.outputs import REPEATED

__all__ = ["REVOKE_TOKENS"]

REVOKE_TOKENS: Final = tightens(
    "revoke tokens",
    "Revoke every token that matches all given selectors, at the next call. Control's own gates refuse "
    "them from then on; whoever issued them is not told.",
    reversal="none: it cannot be taken back; issue new tokens",
    can_be_held=False,
    parameters=(
        replace(AGENT, description="Tokens of this agent; exact id.", is_required=False),
        replace(SESSION, description="Tokens of this session; exact id.", is_required=False),
        Parameter(
            name="issuer",
            description="Tokens of this issuer, by its `iss` value.",
            example="https://login.example",
            is_required=False,
            pattern=r"[!-~]{1,512}",
        ),
        Parameter(
            name="token_id",
            description="The token with this id (`jti`); needs the issuer.",
            example="4f1c2d",
            is_required=False,
            pattern=r"[!-~]{1,512}",
        ),
        Parameter(
            name="issued_before",
            description="Only those issued at or before this time; empty: until now.",
            example="2026-01-31T09:30:00Z",
            type=FieldType.TIME,
            is_required=False,
        ),
        REASON,
    ),
    outputs=(
        Output("revocation.epoch", "Number of the revocation.", 43, FieldType.NUMBER),
        Output("revocation.agent", "Whose tokens.", "banking", contains="holdfast agent"),
        Output("revocation.issued_before", "Which of them.", "2026-01-31T09:30:00Z", FieldType.TIME),
        Output("revocation.author", "Operator who ordered it.", "soar"),
        Output("laggards[]", "Gates that have not acknowledged; then the status is PARTIAL.",
               "travel"),
        REPEATED,
    ),
    errors=(
        ErrorNote(
            reason="WIDE_BLAST",
            meaning="It would revoke the tokens of much of the fleet.",
            remedy="Select an agent; or let an operator with break-glass order it.",
        ),
    ),
    mappings=Mappings(
        attack=("T1528", "T1550.001", "T1552.001"),
        atlas=("AML.T0012", "AML.T0055", "AML.T0083", "AML.T0098"),
        d3fend="D3-CR",
        ocsf="3005/2",
        openc2="delete x-holdfast:token",
    ),
)  # fmt: skip
