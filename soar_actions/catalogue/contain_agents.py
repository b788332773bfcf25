# SPDX-License-Identifier: Apache-2.0
"""contain agents: hold several agents, each with a receipt of its own."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Mappings, Output, Parameter
from soar_actions.catalogue.common import AGENT, REASON, TTL
from soar_actions.catalogue.contain_agent import AFTER_KILL, LEVEL
from soar_actions.catalogue.kinds import tightens
from soar_actions.catalogue.outputs import HELD_OUTPUTS

__all__ = ["CONTAIN_AGENTS"]

CONTAIN_AGENTS: Final = tightens(
    "contain agents",
    "Hold several agents at a containment level. Every agent is listed with its own outcome: one that "
    "fails stops no other, and then the status is PARTIAL, never SUCCESS.",
    reversal=f"release agent for each, granted by a human; {AFTER_KILL}",
    idempotency="One key for each step of a playbook run. Each agent's order has a key of its own, "
    "made from this one and the agent. The same key again orders nothing twice for an agent that it "
    "was used for (with another level, reason or lifetime that is a conflict), and holds agents that "
    "are new in the list. Adapters make it from the platform's run, the action and the parameters.",
    parameters=(
        Parameter(
            name="agents",
            description="Exact ids of the agents, separated by commas, at most 100; no wildcards.",
            example="banking,travel",
            type=FieldType.LIST,
            pattern=AGENT.pattern,
            contains="holdfast agent",
        ),
        LEVEL,
        REASON,
        TTL,
    ),
    outputs=(
        Output("targets[].agent", "Id of the agent.", "banking", contains="holdfast agent"),
        Output("targets[].status", "SUCCESS, PENDING, PARTIAL or FAILED.", "SUCCESS"),
        Output("targets[].summary", "What came of it.", "agent banking is held at KILL"),
        Output("targets[].reason", "Code, if it failed.", "UNAVAILABLE"),
        Output("targets[].remedy", "What to do, if it failed.", "run it again"),
        Output("targets[].retryable", "Whether the same may simply be sent again.", False,
               FieldType.BOOLEAN),
        Output("targets[].epoch", "Number of the directive; 0 if there is none.", 42,
               FieldType.NUMBER, contains="holdfast epoch"),
        Output("targets[].laggards[]", "Gates that do not enforce it yet.", "travel"),
        Output("targets[].operation", "The operation, if a human must grant it first.",
               "operations/apr_0123456789abcdef0123456789abcdef", contains="holdfast operation"),
        Output("targets[].receipt", "The receipt, as contain agent gives it.", {"epoch": 42},
               FieldType.OBJECT),
        Output("counts", "How many agents ended how.", {"success": 97, "failed": 3},
               FieldType.OBJECT),
        *HELD_OUTPUTS,
    ),
    mappings=Mappings(
        attack=("T1041", "T1485", "T1567"),
        atlas=("AML.T0053", "AML.T0086", "AML.T0101", "AML.T0108"),
        d3fend="D3-PT",
        ocsf="7001/1",
        openc2="contain x-holdfast:agent",
    ),
    deadline_s=120,
)  # fmt: skip
