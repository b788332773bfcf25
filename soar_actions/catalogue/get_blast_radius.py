# SPDX-License-Identifier: Apache-2.0
"""get blast radius: what an agent can have touched."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.common import AGENT, NOT_FOUND, SINCE, UNTIL
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import blast_outputs

__all__ = ["GET_BLAST_RADIUS"]

GET_BLAST_RADIUS: Final = reads(
    "get blast radius",
    "Return the tools, data, destinations, credentials and humans that an agent can have touched in a "
    "window of time. PARTIAL if the window holds more than was looked at.",
    parameters=(AGENT, SINCE, UNTIL),
    outputs=blast_outputs("blast_radius."),
    errors=(NOT_FOUND,),
)
