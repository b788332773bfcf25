# SPDX-License-Identifier: Apache-2.0
"""get receipt: the proof of a containment as it stands now."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from soar_actions.catalogue.action import Output
from soar_actions.catalogue.common import NOT_FOUND
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.loosening import EPOCH
from soar_actions.catalogue.outputs import RECEIPT

__all__ = ["GET_RECEIPT"]

GET_RECEIPT: Final = reads(
    "get receipt",
    "Return the signed receipt of a directive as it stands now: gates that acknowledged since are no "
    "laggards any more.",
    parameters=(replace(EPOCH, is_required=True),),
    outputs=(*RECEIPT, Output("laggards[]", "Gates that do not enforce it yet.", "travel")),
    errors=(NOT_FOUND,),
)
