# SPDX-License-Identifier: Apache-2.0
"""Parameters and errors that several actions share."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import ErrorNote, FieldType, Parameter

__all__ = [
    "AGENT",
    "COMMON_ERRORS",
    "DESTINATION",
    "EPOCH_PATTERN",
    "HELD_ERRORS",
    "IDEMPOTENCY_KEY",
    "INCIDENT",
    "KEY_CONFLICT",
    "KEY_RECIPE",
    "LEVELS",
    "LIMIT",
    "LOG",
    "NOTE",
    "NOT_FOUND",
    "REASON",
    "SESSION",
    "SINCE",
    "TECHNIQUES",
    "TOOL",
    "TTL",
    "UNTIL",
    "VERDICTS",
]

LEVELS: Final = ("OBSERVE", "THROTTLE", "HOLD", "READ_ONLY", "FREEZE", "KILL")
EPOCH_PATTERN: Final = r"[1-9][0-9]{0,18}"
KEY_RECIPE: Final = (
    "One key for each step of a playbook run: the same key with the same parameters answers with "
    "the same result and has one effect; with other parameters it is a conflict. Adapters make it "
    "from the platform's run, the action and the parameters."
)
AGENT: Final = Parameter(
    name="agent",
    description="Exact id of the agent; no wildcards.",
    example="banking",
    pattern=r"[a-z0-9][a-z0-9._-]{0,62}",
    contains="holdfast agent",
)
REASON: Final = Parameter(
    name="reason",
    description="Why, for the log and for the people who read it later.",
    example="exfiltration alert 4711",
)
IDEMPOTENCY_KEY: Final = Parameter(
    name="idempotency_key",
    description="Makes a retry safe: the same key has one effect. Left out, it is made from the "
    "playbook's run.",
    example="run-4711-contain",
    is_required=False,
    pattern=r"[A-Za-z0-9._:-]{8,128}",
)
TTL: Final = Parameter(
    name="ttl_seconds",
    description="Lapses by itself after this many seconds, at most 30 days; empty: stands until "
    "released.",
    example="3600",
    type=FieldType.NUMBER,
    is_required=False,
    pattern=r"[1-9][0-9]{0,6}",
)
SINCE: Final = Parameter(
    name="since",
    description="Not before this time; empty: 24 hours before `until`.",
    example="2026-01-31T08:00:00Z",
    type=FieldType.TIME,
    is_required=False,
)
UNTIL: Final = Parameter(
    name="until",
    description="Before this time; empty: now.",
    example="2026-01-31T10:00:00Z",
    type=FieldType.TIME,
    is_required=False,
)
LIMIT: Final = Parameter(
    name="limit",
    description="At most this many, 1 to 1000.",
    example="50",
    type=FieldType.NUMBER,
    is_required=False,
    default="100",
    pattern=r"[1-9][0-9]{0,2}|1000",
)
LOG: Final = Parameter(
    name="log",
    description="Which log: `control`, or a gate's id.",
    example="control",
    is_required=False,
    pattern=r"[a-z0-9][a-z0-9._-]{0,127}",
)
SESSION: Final = Parameter(
    name="session",
    description="Exact id of the session, as the agent reports it.",
    example="session-4711",
    pattern=r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}",
    contains="holdfast session",
)
TOOL: Final = Parameter(
    name="tool",
    description="Exact name of the tool; no wildcards.",
    example="send_money",
    pattern=r"[a-z0-9][a-z0-9._/-]{0,127}",
    contains="holdfast tool",
)
DESTINATION: Final = Parameter(
    name="destination",
    description="Exact host name in lower case, `.example.com` for a domain with everything below "
    "it, or an IP address.",
    example="files.example.com",
    pattern=r"\.?[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
    r"(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*|[0-9a-f:.]{2,45}",
    contains="domain",
)
INCIDENT: Final = Parameter(
    name="incident",
    description="Name of the incident.",
    example="incidents/inc_0123456789abcdef0123456789abcdef",
    pattern=r"incidents/[a-z0-9][a-z0-9_-]{0,63}",
    contains="holdfast incident",
)
VERDICTS: Final = ("UNDETERMINED", "THREAT", "MISCONFIGURATION", "FALSE_POSITIVE")
TECHNIQUES: Final = Parameter(
    name="techniques",
    description="MITRE ATT&CK and ATLAS techniques, separated by commas.",
    example="AML.T0053,T1041",
    type=FieldType.LIST,
    is_required=False,
    pattern=r"(?:AML\.)?T[0-9]{4}(?:\.[0-9]{3})?",
    contains="mitre technique",
)
NOTE: Final = Parameter(
    name="note",
    description="A note for whoever works on it, at most 4,000 characters.",
    example="The agent read a poisoned ticket at 09:12 UTC.",
    type=FieldType.LONG_TEXT,
    is_required=False,
)
KEY_CONFLICT: Final = ErrorNote(
    reason="REQUEST_ID_CONFLICT",
    meaning="The idempotency key was used for other parameters; nothing was done.",
    remedy="Use one key for each step of a playbook run.",
)
NOT_FOUND: Final = ErrorNote(
    reason="NOT_FOUND",
    meaning="There is no such thing, or this operator may not know of it.",
    remedy="Check the spelling; names are exact.",
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
        meaning="Control could not be reached.",
        remedy="Run it again with the same idempotency key; an agent that must be stopped now is "
        "stopped on its host, as root: `holdfast contain agent AGENT --level kill --reason INCIDENT "
        "--local`.",
    ),
    ErrorNote(
        reason="DEADLINE",
        meaning="Control did not answer in time, even after several attempts.",
        remedy="Run it again with the same idempotency key: what arrived has its effect once.",
    ),
    ErrorNote(
        reason="UNAUTHENTICATED",
        meaning="The API token or client certificate is missing, expired, revoked or not known.",
        remedy="Make a new API token (`holdfast api-tokens create`) or renew the certificate.",
    ),
    ErrorNote(
        reason="SERVER_NOT_TRUSTED",
        meaning="Control's certificate was not accepted, or the endpoint does not speak TLS; "
        "nothing was sent.",
        remedy="Give the CA of control's certificate in the asset, and a host name that stands in "
        "the certificate. Verification cannot be switched off.",
    ),
    ErrorNote(
        reason="PERMISSION_MISSING",
        meaning="This operator lacks the role that the action needs, or the token is limited to "
        "other agents.",
        remedy="Roles are set in operators.yaml; automation normally holds `contain` alone.",
    ),
    ErrorNote(
        reason="BAD_INPUT",
        meaning="A parameter is missing or not of its form; nothing was sent.",
        remedy="The message names the parameter; there are no wildcards and no templates.",
    ),
    ErrorNote(
        reason="BAD_SETTING",
        meaning="A setting of the asset is missing or not of its form; nothing was sent.",
        remedy="The message names the setting.",
    ),
    ErrorNote(
        reason="BAD_IDEMPOTENCY_KEY",
        meaning="The key is not 8 to 128 of the characters `A-Z a-z 0-9 . _ : -`; nothing was sent.",
        remedy="Leave it out: the platform's run makes one.",
    ),
    ErrorNote(
        reason="PROXY",
        meaning="The proxy would not connect to control.",
        remedy="Allow host and port of control there, or let the platform reach control without it.",
    ),
    ErrorNote(
        reason="REDIRECTED",
        meaning="The endpoint sent the call elsewhere; it was not followed.",
        remedy="Name control itself in `endpoint`.",
    ),
    ErrorNote(
        reason="NOT_CONTROL",
        meaning="What answered is not control's JSON API; it is not known what was done.",
        remedy="Check host and port of `endpoint`; then run it again with the same idempotency key.",
    ),
    ErrorNote(
        reason="MALFORMED_ANSWER",
        meaning="What answered is not control, or of another version; it is not known what was done.",
        remedy="Check the endpoint and what stands between; then run it again with the same "
        "idempotency key.",
    ),
)
