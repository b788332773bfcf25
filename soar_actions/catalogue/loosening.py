# SPDX-License-Identifier: Apache-2.0
"""What all actions share that ask for the end of directives."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import ErrorNote, FieldType, Output, Parameter
from soar_actions.catalogue.common import COMMON_ERRORS, EPOCH_PATTERN, HELD_ERRORS, KEY_CONFLICT
from soar_actions.catalogue.outputs import HELD_OUTPUTS, directive_outputs

__all__ = ["EPOCH", "RELEASE_ERRORS", "RELEASE_OUTPUTS"]

EPOCH: Final = Parameter(
    name="epoch",
    description="Number of the directive, from the receipt.",
    example="42",
    type=FieldType.NUMBER,
    is_required=False,
    pattern=EPOCH_PATTERN,
    contains="holdfast epoch",
)
RELEASE_OUTPUTS: Final = (
    Output("changed", "Whether a directive was released.", True, FieldType.BOOLEAN),
    Output("releases[].epoch", "Each directive whose end was asked for.", 42, FieldType.NUMBER,
           contains="holdfast epoch"),
    Output("releases[].status", "SUCCESS, PENDING or FAILED.", "PENDING"),
    Output("releases[].summary", "How it stands.", "waits for a human (bob)"),
    Output("releases[].reason", "Code, if it failed.", "APPROVAL_REFUSED"),
    Output("releases[].operation", "The operation that a human must grant.",
           "operations/apr_0123456789abcdef0123456789abcdef", contains="holdfast operation"),
    *directive_outputs("directive."),
    Output("epoch", "The epoch that the release created.", 43, FieldType.NUMBER),
    Output("remaining[].epoch", "Directives that still hold.", 41, FieldType.NUMBER,
           contains="holdfast epoch"),
    *HELD_OUTPUTS,
)  # fmt: skip
RELEASE_ERRORS: Final = (
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
    ErrorNote(
        reason="TOO_MANY",
        meaning="More than 100 directives have this target.",
        remedy="Release them one by one, by their epochs.",
    ),
    KEY_CONFLICT,
    *HELD_ERRORS,
    *COMMON_ERRORS,
)
