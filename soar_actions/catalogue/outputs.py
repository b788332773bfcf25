# SPDX-License-Identifier: Apache-2.0
"""Outputs that several actions share, by the thing that they describe."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Output

__all__ = [
    "HELD_OUTPUTS",
    "OPERATION",
    "ORDERED",
    "RECEIPT",
    "REPEATED",
    "agent_outputs",
    "approval_outputs",
    "blast_outputs",
    "directive_outputs",
    "event_outputs",
    "incident_outputs",
]

_TIME: Final = "2026-01-31T09:30:00Z"
_ID: Final = "0123456789abcdef0123456789abcdef"


OPERATION: Final = (
    Output("operation.name", "Name of the operation.", f"operations/apr_{_ID}",
           contains="holdfast operation"),
    Output("operation.state", "PENDING_APPROVAL, RUNNING, DONE, REFUSED, EXPIRED, CANCELLED or "
           "FAILED.", "PENDING_APPROVAL"),
    Output("operation.summary", "What would be done, in one sentence.",
           "soar wants to release directive 42 (agent banking)"),
    Output("operation.requester", "Operator who asked.", "soar"),
    Output("operation.approvers[]", "Who may decide now.", "bob"),
    Output("operation.fingerprint_words", "What approvers compare: 16 hex digits and four words.",
           "9f86d081884c7d65 basket-cactus-falcon-iceberg"),
    Output("operation.expire_time", "When it is refused by itself.", _TIME, FieldType.TIME),
    Output("operation.detail", "Why it is in this state, and by whom it was decided.",
           "refused by bob"),
)  # fmt: skip
HELD_OUTPUTS: Final = (
    *OPERATION,
    Output("approval", "The request for a human decision, while the status is PENDING.",
           f"approvals/apr_{_ID}", contains="holdfast approval"),
    Output("link", "Where a human decides, while the status is PENDING; it holds no credential. "
           "Empty without a console.", f"https://control.example:7444/approvals/apr_{_ID}",
           contains="url"),
)  # fmt: skip
REPEATED: Final = Output(
    "repeated_request",
    "True if an earlier request with the same key had done it.",
    False,
    FieldType.BOOLEAN,
)
RECEIPT: Final = (
    Output("receipt.epoch", "Number of the directive; release it by this.", 42, FieldType.NUMBER,
           contains="holdfast epoch"),
    Output("receipt.directive", "Name of the directive.", "directives/42"),
    Output("receipt.target", "Whom or what it holds.", "agent banking"),
    Output("receipt.level", "How tightly.", "KILL"),
    Output("receipt.durable", "It survives a power cut.", True, FieldType.BOOLEAN),
    Output("receipt.contained", "It stands, a gate enforces it, and so does every connected one.", True,
           FieldType.BOOLEAN),
    Output("receipt.gates[].gate", "Gate id.", "banking"),
    Output("receipt.gates[].state", "ENFORCED, LAGGARD or DISCONNECTED.", "ENFORCED"),
    Output("receipt.gates[].ack_time", "When the gate had acknowledged.", _TIME, FieldType.TIME),
    Output("receipt.last_allow_time", "Last call that was allowed before; empty if none is known.",
           _TIME, FieldType.TIME),
    Output("receipt.isolation[].driver", "Driver that stopped a runtime.", "process_group"),
    Output("receipt.isolation[].result", "What came of it.", "TERMINATED"),
    Output("receipt.log_index", "Place of the directive in control's log.", 17, FieldType.NUMBER),
    Output("receipt.checkpoint", "Signed tree head that covers it; keep it as proof.",
           "control.example/log\n18\n…", FieldType.LONG_TEXT),
    Output("receipt.signature", "Ed25519 signature over `receipt.signed_json`, in hex.", "9f86d0…"),
    Output("receipt.signed_json", "What was signed.", '{"epoch":"42",…}', FieldType.LONG_TEXT),
)  # fmt: skip
ORDERED: Final = (
    *RECEIPT,
    Output("laggards[]", "Gates that do not enforce it yet; the status is PARTIAL if one of them is "
           "connected. One that is not denies by itself once control is silent.", "banking"),
    Output("unknown_agents[]", "Agents it names that nothing declares or serves, perhaps misspelt; "
           "the status is PARTIAL then.", "bankng", contains="holdfast agent"),
)  # fmt: skip
"""What an order to contain gives."""


def directive_outputs(prefix: str) -> tuple[Output, ...]:
    """Return the outputs of directives below *prefix* (``directives[].``)."""
    return (
        Output(f"{prefix}epoch", "Number of the directive.", 42, FieldType.NUMBER,
               contains="holdfast epoch"),
        Output(f"{prefix}target", "Whom or what it holds.", "agent banking"),
        Output(f"{prefix}level", "How tightly.", "KILL"),
        Output(f"{prefix}state", "ACTIVE, RELEASED or EXPIRED.", "ACTIVE"),
        Output(f"{prefix}author", "Operator who ordered it.", "soar"),
        Output(f"{prefix}reason", "Why, in the author's words.", "exfiltration alert 4711"),
        Output(f"{prefix}create_time", "When it was ordered.", _TIME, FieldType.TIME),
    )  # fmt: skip


def agent_outputs(prefix: str) -> tuple[Output, ...]:
    """Return the outputs of agents below *prefix* (``agent.``)."""
    return (
        Output(f"{prefix}agent", "Id of the agent.", "banking", contains="holdfast agent"),
        Output(f"{prefix}owner", "The human behind it.", "emma@example.com", contains="user name"),
        Output(f"{prefix}level", "Tightest level that holds it; empty if none does.", "KILL"),
        Output(f"{prefix}declared", "Whether the policy bundle declares it.", True,
               FieldType.BOOLEAN),
        Output(f"{prefix}gates[]", "Gates that serve it now.", "banking"),
        Output(f"{prefix}labels", "Its labels.", {"team": "payments"}, FieldType.OBJECT),
        Output(f"{prefix}directives[].epoch", "Directives that hold it.", 42, FieldType.NUMBER,
               contains="holdfast epoch"),
        Output(f"{prefix}last_call_time", "Its last decision.", _TIME, FieldType.TIME),
        Output(f"{prefix}decision_counts", "Decisions since its gates started, by effect.",
               {"ALLOW": 12, "DENY": 3}, FieldType.OBJECT),
    )  # fmt: skip


def approval_outputs(prefix: str) -> tuple[Output, ...]:
    """Return the outputs of approvals below *prefix* (``approvals[].``)."""
    return (
        Output(f"{prefix}name", "Name of the request for a human decision.",
               f"approvals/apr_{_ID}", contains="holdfast approval"),
        Output(f"{prefix}state", "PENDING, GRANTED, CONSUMED, REFUSED, EXPIRED or CANCELLED.",
               "PENDING"),
        Output(f"{prefix}summary", "What would be done. It can hold an agent's words.",
               "agent banking wants to run send_money"),
        Output(f"{prefix}agent", "Agent that asked, if one did.", "banking",
               contains="holdfast agent"),
        Output(f"{prefix}tool", "Tool, if it is a tool call.", "send_money"),
        Output(f"{prefix}tier", "LOW, MEDIUM, HIGH or CRITICAL.", "HIGH"),
        Output(f"{prefix}requester", "Operator who asked, if it is a control action.", "soar"),
        Output(f"{prefix}operation", "The operation, if it is a control action.",
               f"operations/apr_{_ID}", contains="holdfast operation"),
        Output(f"{prefix}approvers[]", "Who may decide now.", "bob"),
        Output(f"{prefix}fingerprint_words", "What approvers compare.",
               "9f86d081884c7d65 basket-cactus-falcon-iceberg"),
        Output(f"{prefix}url", "Where a human decides; it holds no credential.",
               f"https://control.example:7444/approvals/apr_{_ID}", contains="url"),
        Output(f"{prefix}expire_time", "When it is refused by itself.", _TIME, FieldType.TIME),
        Output(f"{prefix}detail", "Why it is in this state.", "refused by bob"),
    )  # fmt: skip


def event_outputs(prefix: str) -> tuple[Output, ...]:
    """Return the outputs of timeline events below *prefix* (``events[].``)."""
    return (
        Output(f"{prefix}time", "When.", _TIME, FieldType.TIME),
        Output(f"{prefix}kind", "`decision`, `contain`, `release`, `revoke_tokens`, `approval`, …",
               "decision"),
        Output(f"{prefix}tool", "Tool, of a call.", "send_money"),
        Output(f"{prefix}effect", "ALLOW, DENY or HOLD, of a call.", "ALLOW"),
        Output(f"{prefix}reason", "Code of the first reason.", "POLICY_ALLOW"),
        Output(f"{prefix}destination", "Host of a network call.", "api.example.com",
               contains="domain"),
        Output(f"{prefix}decision_id", "Names the decision.", f"dec_{_ID}"),
        Output(f"{prefix}fingerprint", "SHA-256 of the call.", "9f86d081884c7d65…"),
        Output(f"{prefix}outcome", "How the call ended, as the agent reported it.", "SUCCESS"),
        Output(f"{prefix}operator", "Operator who acted, of an order or a vote.", "soar"),
        Output(f"{prefix}summary", "What happened, in one sentence.", "send_money was allowed"),
    )  # fmt: skip


def blast_outputs(prefix: str) -> tuple[Output, ...]:
    """Return the outputs of blast radii below *prefix* (``blast_radius.``)."""
    return (
        Output(f"{prefix}statement", "What it comes to, in one sentence.",
               "banking was allowed 12 calls of 3 tools"),
        Output(f"{prefix}tools[].tool", "Tools it asked for.", "send_money"),
        Output(f"{prefix}tools[].tool_class", "READ, WRITE, DESTRUCTIVE or EXTERNAL.", "WRITE"),
        Output(f"{prefix}tools[].allow_count", "Calls that were allowed.", 12, FieldType.NUMBER),
        Output(f"{prefix}tools[].deny_count", "Calls that were denied.", 3, FieldType.NUMBER),
        Output(f"{prefix}tools[].undo", "How to undo what it did, as the bundle says.",
               "cancel the transfer"),
        Output(f"{prefix}data_classes[]", "Kinds of data it could use.", "financial"),
        Output(f"{prefix}destinations[]", "Hosts it was allowed to reach.", "api.example.com",
               contains="domain"),
        Output(f"{prefix}credentials[]", "Credentials it held.", "gate socket of banking"),
        Output(f"{prefix}humans[]", "Humans it acted for, or who decided about its calls.",
               "emma@example.com", contains="user name"),
        Output(f"{prefix}sessions[]", "Sessions it had.", "session-4711",
               contains="holdfast session"),
        Output(f"{prefix}irreversible_count", "Allowed calls that may not be undone.", 1,
               FieldType.NUMBER),
        Output(f"{prefix}decision_counts", "Decisions by effect.", {"ALLOW": 12},
               FieldType.OBJECT),
        Output(f"{prefix}truncated", "Whether this is not all.", False, FieldType.BOOLEAN),
    )  # fmt: skip


def incident_outputs(prefix: str) -> tuple[Output, ...]:
    """Return the outputs of incidents below *prefix* (``incident.``)."""
    return (
        Output(f"{prefix}name", "Name of the incident.", f"incidents/inc_{_ID}",
               contains="holdfast incident"),
        Output(f"{prefix}state", "OPEN or CLOSED.", "OPEN"),
        Output(f"{prefix}title", "What it is called.", "banking moved money"),
        Output(f"{prefix}severity", "LOW, MEDIUM, HIGH or CRITICAL.", "HIGH"),
        Output(f"{prefix}agent", "The agent.", "banking", contains="holdfast agent"),
        Output(f"{prefix}owner", "The human behind it.", "emma@example.com", contains="user name"),
        Output(f"{prefix}policy_digest", "Policy in force when it was opened.", "9f86d0…"),
        Output(f"{prefix}since", "Begin of the window.", _TIME, FieldType.TIME),
        Output(f"{prefix}until", "End of the window.", _TIME, FieldType.TIME),
        Output(f"{prefix}events[].summary", "Its calls, newest first.", "send_money was allowed"),
        Output(f"{prefix}blast_radius.statement", "What it can have touched.",
               "banking was allowed 12 calls of 3 tools"),
        Output(f"{prefix}blast_radius.irreversible_count", "Allowed calls that may not be undone.",
               1, FieldType.NUMBER),
        Output(f"{prefix}directives[].epoch", "What held it then.", 42, FieldType.NUMBER,
               contains="holdfast epoch"),
        Output(f"{prefix}prompts", "What is known of the prompts.", "not recorded on this host"),
        Output(f"{prefix}techniques[]", "MITRE ATT&CK and ATLAS.", "AML.T0053",
               contains="mitre technique"),
        Output(f"{prefix}verdict", "THREAT, MISCONFIGURATION, FALSE_POSITIVE or UNDETERMINED.",
               "UNDETERMINED"),
        Output(f"{prefix}notes[].text", "Notes, oldest first.", "read a poisoned ticket"),
        Output(f"{prefix}external_reference", "Id of the same incident elsewhere.", "case-4711"),
        Output(f"{prefix}sha256", "SHA-256 of what was gathered, as recorded in the log.",
               "9f86d081884c7d65…", contains="sha256"),
    )  # fmt: skip
