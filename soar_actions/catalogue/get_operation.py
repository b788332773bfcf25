# SPDX-License-Identifier: Apache-2.0
"""get operation: how a held action stands, and how it ended."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Output, Parameter
from soar_actions.catalogue.common import NOT_FOUND
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import HELD_OUTPUTS, directive_outputs

__all__ = ["GET_OPERATION"]

GET_OPERATION: Final = reads(
    "get operation",
    "Tell how an action stands that a human must grant: PENDING while it waits, PARTIAL if what it "
    "gave is not whole, SUCCESS once it has ended otherwise, also if it was refused. A playbook "
    "branches on `operation.state`: DONE alone means that it was carried out.",
    parameters=(
        Parameter(
            name="operation",
            description="Name of the operation.",
            example="operations/apr_0123456789abcdef0123456789abcdef",
            pattern=r"operations/apr_[0-9a-f]{32}",
            contains="holdfast operation",
        ),
        Parameter(
            name="wait_seconds",
            description="Wait at most this long for it to end, 0 to 20.",
            example="10",
            type=FieldType.NUMBER,
            is_required=False,
            default="0",
            pattern=r"[0-9]|1[0-9]|20",
        ),
    ),
    outputs=(
        *HELD_OUTPUTS,
        Output("is_final", "Whether it has ended.", False, FieldType.BOOLEAN),
        Output("is_granted", "Whether humans granted it; it can have FAILED all the same.", False,
               FieldType.BOOLEAN),
        Output("receipt.epoch", "What a containment gave.", 42, FieldType.NUMBER,
               contains="holdfast epoch"),
        *directive_outputs("directive."),
    ),
    errors=(NOT_FOUND,),
    is_poll=True,
)  # fmt: skip
