# SPDX-License-Identifier: Apache-2.0
"""Parameters and errors that several actions share."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import ErrorNote, Parameter

__all__ = ["AGENT", "COMMON_ERRORS", "REASON"]

AGENT: Final = Parameter(
    name="agent",
    description="Exact id of the agent; no wildcards.",
    example="banking",
    pattern=r"[a-z0-9][a-z0-9._-]{0,62}",
)
REASON: Final = Parameter(
    name="reason",
    description="Why, for the log and for the people who read it later.",
    example="exfiltration alert 4711",
)
COMMON_ERRORS: Final = (
    ErrorNote(
        reason="UNAVAILABLE",
        meaning="Control could not be reached in time.",
        remedy="Run it again with the same idempotency key; or use `holdfast contain --local` on "
        "the agent's host.",
    ),
    ErrorNote(
        reason="UNAUTHENTICATED",
        meaning="The client certificate is missing, expired or of another CA.",
        remedy="Renew the asset's certificate.",
    ),
    ErrorNote(
        reason="PERMISSION_MISSING",
        meaning="This operator lacks the role that the action needs.",
        remedy="Roles are set in operators.yaml; automation normally holds `contain` alone.",
    ),
)
