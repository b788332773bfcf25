# SPDX-License-Identifier: Apache-2.0
"""get agent: who it is, who stands behind it, what holds it."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import Mappings
from soar_actions.catalogue.common import AGENT, NOT_FOUND
from soar_actions.catalogue.kinds import reads
from soar_actions.catalogue.outputs import agent_outputs

__all__ = ["GET_AGENT"]

GET_AGENT: Final = reads(
    "get agent",
    "Return an agent's owner, labels, gates, standing directives and counts of decisions.",
    parameters=(AGENT,),
    outputs=agent_outputs("agent."),
    errors=(NOT_FOUND,),
    mappings=Mappings(openc2="query x-holdfast:agent"),
)
