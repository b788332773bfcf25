# SPDX-License-Identifier: Apache-2.0
"""Parameters and errors that several actions share."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import ErrorNote, Output, Parameter

__all__ = ["AGENT", "COMMON_ERRORS", "HELD_ERRORS", "HELD_OUTPUTS", "REASON"]

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
HELD_OUTPUTS: Final = (
    Output(
        path="operation.name",
        description="The held action, while `status` is PENDING: a human must grant it first. Run "
        "the action again with the same idempotency key to learn how it ended.",
        example="operations/apr_0123456789abcdef0123456789abcdef",
    ),
    Output(path="operation.state", description="Where it stands.", example="PENDING_APPROVAL"),
    Output(path="operation.approvers[]", description="Who may decide.", example="bob"),
    Output(
        path="operation.fingerprint_words",
        description="What approvers compare: 16 hex digits and four words.",
        example="9f86d081884c7d65 basket-cactus-falcon-iceberg",
    ),
    Output(path="operation.expire_time", description="When it is refused by itself.", example=""),
    Output(
        path="approval",
        description="The request for a human decision, while PENDING.",
        example="approvals/apr_0123456789abcdef0123456789abcdef",
    ),
    Output(
        path="link",
        description="Where a human decides, while PENDING; no credential. Empty without a console.",
        example="",
    ),
)
HELD_ERRORS: Final = (
    ErrorNote(
        reason="APPROVAL_REFUSED",
        meaning="A human refused it; nothing was done.",
        remedy="Read who refused it and why; do not simply ask again.",
    ),
    ErrorNote(
        reason="APPROVAL_EXPIRED",
        meaning="Nobody decided in time; nothing was done.",
        remedy="Run it again with a fresh idempotency key, and tell the approvers.",
    ),
    ErrorNote(
        reason="APPROVAL_CANCELLED",
        meaning="It became moot before it was carried out.",
        remedy="Look at the directives that stand now.",
    ),
    ErrorNote(
        reason="NO_APPROVER",
        meaning="Too few humans may grant it.",
        remedy="Give the role to more people in operators.yaml.",
    ),
    ErrorNote(
        reason="NO_CHANNEL",
        meaning="Nobody who may grant it can be told.",
        remedy="Set up a notification channel; `holdfast doctor` says what is wrong.",
    ),
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
