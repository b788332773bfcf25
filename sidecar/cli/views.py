# SPDX-License-Identifier: Apache-2.0
"""What the services answer, as plain data for ``--json`` and as text for people.

Field names are those of the protos; times are RFC 3339 in UTC; bytes are base64; enum values lose
their prefix; what is unset is null or empty. Fields are only ever added.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from sidecar.api.v1 import agent_pb2, audit_pb2, containment_pb2, policy_pb2, token_pb2, types_pb2
from sidecar.audit.entry import format_time
from sidecar.cli.output import Page
from sidecar.clock import NS_PER_SECOND

__all__ = [
    "agent_data",
    "directive_data",
    "effect_name",
    "entry_data",
    "entry_time",
    "enum_name",
    "level_name",
    "policy_set_data",
    "receipt_data",
    "remaining_text",
    "revocation_data",
    "show_directives",
    "show_receipt",
    "target_text",
    "time_text",
    "tool_data",
    "verification_data",
]

_STATES: Final = {"ENFORCED": True, "LAGGARD": False, "DISCONNECTED": None}
_ISOLATION: Final = {"FAILED": False, "SKIPPED_IDENTITY_CHANGED": False, "RUNNING": None}


def time_text(moment: Timestamp) -> str | None:
    """Return *moment* in RFC 3339, or None if it is unset."""
    if not moment.seconds and not moment.nanos:
        return None
    try:
        whole = datetime.fromtimestamp(moment.seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None
    moment_us = whole + timedelta(microseconds=moment.nanos // 1000)
    return moment_us.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry_time(moment: Timestamp) -> str:
    """Return *moment* as log entries write it, with all nine digits."""
    return format_time(moment.seconds * NS_PER_SECOND + moment.nanos)


def remaining_text(moment: Timestamp, *, now_ns: int) -> str:
    """Return how far *moment* is away from now: ``in 14 min 3 s``, ``2 h 5 min ago``."""
    if not moment.seconds and not moment.nanos:
        return "no deadline"
    left = moment.seconds - now_ns // NS_PER_SECOND
    seconds = abs(left)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        span = f"{hours} h {minutes} min"
    else:
        span = f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
    return f"in {span}" if left >= 0 else f"{span} ago"


def level_name(level: int) -> str:
    """Return ``KILL``, …; empty if there is none."""
    return enum_name(types_pb2.Level, level, "LEVEL_")


def effect_name(effect: int) -> str:
    """Return ``ALLOW``, ``DENY`` or ``HOLD``; empty if none was sent."""
    return enum_name(types_pb2.Effect, effect, "EFFECT_")


def enum_name(enum: Any, value: int, prefix: str) -> str:
    """Return the name of *value* without *prefix*; empty for UNSPECIFIED."""
    if value not in enum.values():
        return f"UNKNOWN_{value}"
    name = str(enum.Name(value)).removeprefix(prefix)
    return "" if name == "UNSPECIFIED" else name


def target_data(target: types_pb2.Target) -> dict[str, Any]:
    """Return kind and fields of *target*."""
    kind = target.WhichOneof("kind") or ""
    match kind:
        case "session":
            fields: dict[str, Any] = {
                "agent": target.session.agent,
                "session": target.session.session,
            }
        case "tool_at_agent":
            fields = {"agent": target.tool_at_agent.agent, "tool": target.tool_at_agent.tool}
        case "labels":
            fields = {"labels": dict(sorted(target.labels.labels.items()))}
        case "all" | "":
            fields = {}
        case _:
            fields = {kind: getattr(target, kind)}
    return {"kind": kind, **fields, "text": target_text(target)}


def target_text(target: types_pb2.Target) -> str:
    """Return *target* as ``holdfast contain`` takes it."""
    match target.WhichOneof("kind"):
        case "session":
            return f"session {target.session.agent} {target.session.session}"
        case "tool_at_agent":
            return f"tool-at-agent {target.tool_at_agent.agent} {target.tool_at_agent.tool}"
        case "labels":
            pairs = sorted(target.labels.labels.items())
            return "labels " + ",".join(f"{key}={value}" for key, value in pairs)
        case "all":
            return "all"
        case None:
            return "nothing"
        case kind:
            return f"{kind} {getattr(target, kind)}"


def directive_data(directive: types_pb2.Directive) -> dict[str, Any]:
    """Return *directive* as data."""
    return {
        "name": directive.name,
        "epoch": directive.epoch,
        "target": target_data(directive.target),
        "level": level_name(directive.level),
        "reason": directive.reason,
        "author": directive.author,
        "create_time": time_text(directive.create_time),
        "expire_time": time_text(directive.expire_time),
        "throttle_calls_per_minute": directive.throttle_calls_per_minute or None,
        "state": enum_name(types_pb2.Directive.State, directive.state, "STATE_"),
        "releaser": directive.releaser or None,
        "end_time": time_text(directive.end_time),
    }


def receipt_data(receipt: types_pb2.Receipt) -> dict[str, Any]:
    """Return *receipt* as data; ``receipt verify`` reads it back."""
    states = types_pb2.Receipt.GateItem.State
    return {
        "directive": directive_data(receipt.directive),
        "durable": receipt.durable,
        "contained": receipt.contained,
        "gates": [
            {
                "gate": item.gate,
                "state": enum_name(states, item.state, "STATE_"),
                "applied_epoch": item.applied_epoch,
                "ack_time": time_text(item.ack_time),
                "last_allow_time": time_text(item.last_allow_time),
            }
            for item in receipt.gates
        ],
        "laggards": laggards_of(receipt),
        "last_allow_time": time_text(receipt.last_allow_time),
        "isolation": [
            {
                "driver": item.driver,
                "subject": item.subject,
                "result": item.result,
                "detail": item.detail,
            }
            for item in receipt.isolation
        ],
        "log_index": receipt.log_index,
        "checkpoint": receipt.checkpoint,
        "issue_time": time_text(receipt.issue_time),
        "key_id": receipt.key_id,
        "signed_json": base64.b64encode(receipt.signed_json).decode(),
        "signature": base64.b64encode(receipt.signature).decode(),
    }


def laggards_of(receipt: types_pb2.Receipt) -> list[str]:
    """Return the connected gates that have not acknowledged."""
    laggard = types_pb2.Receipt.GateItem.STATE_LAGGARD
    return [item.gate for item in receipt.gates if item.state == laggard]


def show_receipt(page: Page, receipt: types_pb2.Receipt) -> None:
    """Show *receipt* as an operator needs it: what holds, who obeys, what proves it."""
    data = receipt_data(receipt)
    directive = data["directive"]
    page.fields(
        [
            ("directive", f"{directive['epoch']} ({directive['state'] or 'ACTIVE'})"),
            ("target", directive["target"]["text"]),
            ("level", directive["level"]),
            ("reason", directive["reason"]),
            ("ordered by", f"{directive['author']} at {directive['create_time']}"),
            ("until", directive["expire_time"] or "released"),
            ("last ALLOW", data["last_allow_time"] or "none known"),
            ("log entry", data["log_index"] if data["log_index"] >= 0 else "log unavailable"),
            ("signed by", f"key {data['key_id']} at {data['issue_time']}"),
        ]
    )
    page.mark(data["durable"], "durable" if data["durable"] else "NOT durable: may not survive")
    for gate in data["gates"]:
        when = f" at {gate['ack_time']}" if gate["ack_time"] else ""
        page.mark(_STATES.get(gate["state"]), f"gate {gate['gate']}: {gate['state']}{when}")
    if not data["gates"]:
        page.mark(None, "no gate is known: one that starts will enforce it from its first call")
    for item in data["isolation"]:
        is_good = _ISOLATION.get(item["result"], True)
        page.mark(
            is_good,
            f"{item['driver']} {item['subject']}: {item['result']}"
            + (f" ({item['detail']})" if item["detail"] else ""),
        )


def show_directives(page: Page, directives: Sequence[types_pb2.Directive]) -> None:
    """Show *directives* as a table."""
    rows = []
    for directive in directives:
        data = directive_data(directive)
        rows.append(
            (
                data["epoch"],
                data["state"],
                data["level"],
                data["target"]["text"],
                data["author"],
                data["create_time"],
                data["expire_time"] or "-",
                data["reason"],
            )
        )
    page.table(("EPOCH", "STATE", "LEVEL", "TARGET", "AUTHOR", "ORDERED", "UNTIL", "REASON"), rows)


def revocation_data(revocation: token_pb2.Revocation) -> dict[str, Any]:
    """Return *revocation* as data."""
    return {
        "epoch": revocation.epoch,
        "jti": revocation.jti or None,
        "agent": revocation.agent or None,
        "session": revocation.session or None,
        "issuer": revocation.issuer or None,
        "issued_before": time_text(revocation.issued_before),
        "author": revocation.author,
        "reason": revocation.reason,
        "create_time": time_text(revocation.create_time),
    }


def agent_data(agent: agent_pb2.Agent) -> dict[str, Any]:
    """Return *agent* as data."""
    return {
        "agent": agent.agent,
        "owner": agent.owner or None,
        "groups": list(agent.groups),
        "labels": dict(sorted(agent.labels.items())),
        "declared": agent.declared,
        "gates": list(agent.gates),
        "level": level_name(agent.level) or None,
        "directives": [directive_data(directive) for directive in agent.directives],
        "last_call_time": time_text(agent.last_call_time),
        "decision_counts": dict(sorted(agent.decision_counts.items())),
    }


def tool_data(tool: agent_pb2.Tool) -> dict[str, Any]:
    """Return *tool* as data."""
    return {
        "tool": tool.tool,
        "class": enum_name(types_pb2.ToolClass, tool.tool_class, "TOOL_CLASS_").lower() or None,
        "data_class": tool.data_class or None,
        "description": tool.description,
        "declared": tool.declared,
        "agents": list(tool.agents),
        "call_count": tool.call_count,
        "destinations": list(tool.destinations),
    }


def verification_data(answer: containment_pb2.VerifyContainmentResponse) -> dict[str, Any]:
    """Return the answer of a replay as data."""
    return {
        "contained": answer.contained,
        "statement": answer.statement,
        "items": [
            {
                "decision_id": item.decision_id,
                "tool": item.tool,
                "original_effect": effect_name(item.original_effect),
                "effect": effect_name(item.effect),
                "reason": {"code": item.reason.code, "text": item.reason.text},
            }
            for item in answer.items
        ],
    }


def policy_set_data(policy_set: policy_pb2.PolicySet) -> dict[str, Any]:
    """Return the bundle in force as data, without the content of its files."""
    return {
        "digest": policy_set.digest,
        "activate_time": time_text(policy_set.activate_time),
        "epoch": policy_set.epoch,
        "policy_count": policy_set.policy_count,
        "files": {name: len(data) for name, data in sorted(policy_set.files.items())},
    }


def entry_data(entry: audit_pb2.Entry) -> dict[str, Any]:
    """Return *entry* as data; ``entry`` is null if its bytes are no JSON object."""
    try:
        parsed = json.loads(entry.json)
    except (ValueError, RecursionError):
        parsed = None
    return {
        "log": entry.log,
        "index": entry.index,
        "entry": parsed if isinstance(parsed, dict) else None,
        "json": base64.b64encode(entry.json).decode(),
    }


def show_entries(page: Page, rows: Iterable[dict[str, Any]]) -> None:
    """Show log entries, one to a line."""
    page.table(
        ("INDEX", "TIME", "KIND", "AGENT", "TOOL", "EFFECT", "REASON", "DECISION"),
        [_entry_row(row) for row in rows],
    )


def _entry_row(row: dict[str, Any]) -> tuple[object, ...]:
    entry = row["entry"] or {}
    reasons = entry.get("reasons") or [entry.get("reason")]
    first = reasons[0] if isinstance(reasons, list) and reasons else ""
    reason = first.get("code", "") if isinstance(first, dict) else first or ""
    names = ("time", "kind", "agent", "tool", "effect")
    return (
        row["index"],
        *(entry.get(name) or "-" for name in names),
        reason or "-",
        entry.get("decision_id") or "-",
    )
