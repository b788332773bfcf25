# SPDX-License-Identifier: Apache-2.0
"""get approval: how a request for a human decision stands."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Output, Parameter
from soar_actions.catalogue.common import NOT_FOUND
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import approval_outputs

__all__ = ["GET_APPROVAL"]

GET_APPROVAL: Final = reads(
    "get approval",
    "Return one request for a human decision: who may decide, who did, and until when. A SOAR "
    "credential can look, and never decide.",
    parameters=(
        Parameter(
            name="approval",
            description="Name of the approval.",
            example="approvals/apr_0123456789abcdef0123456789abcdef",
            pattern=r"approvals/apr_[0-9a-f]{32}",
            contains="holdfast approval",
        ),
    ),
    outputs=(
        *approval_outputs("approval."),
        Output("is_final", "Whether humans have decided, or nobody can any more.", False,
               FieldType.BOOLEAN),
        Output("is_granted", "Whether humans granted it.", False, FieldType.BOOLEAN),
    ),
    errors=(NOT_FOUND,),
)  # fmt: skip
