# SPDX-License-Identifier: Apache-2.0
"""Directives, receipts, agents and revocations as the plain data that playbooks read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.handlers.reading import (
    bytes_of,
    enum,
    flag,
    message,
    messages,
    number,
    numbers,
    text,
    texts,
)

__all__ = ["agent_data", "directive_data", "receipt_data", "revocation_data", "target_text"]


def target_text(target: Mapping[str, Any]) -> str:
    """Return a target as people write it."""
    if "session" in target:
        session = message(target, "session")
        return f"session {text(session, 'session')} of agent {text(session, 'agent')}"
    if "toolAtAgent" in target:
        tool = message(target, "toolAtAgent")
        return f"tool {text(tool, 'tool')} of agent {text(tool, 'agent')}"
    if "labels" in target:
        labels = message(message(target, "labels"), "labels")
        return "labels " + ",".join(f"{key}={labels[key]}" for key in sorted(labels))
    for kind in ("agent", "tool", "destination", "principal"):
        if kind in target:
            return f"{kind} {text(target, kind)}"
    return "all"


def directive_data(directive: Mapping[str, Any]) -> dict[str, Any]:
    """Return a directive as data."""
    return {
        "name": text(directive, "name"),
        "epoch": number(directive, "epoch"),
        "target": target_text(message(directive, "target")),
        "level": enum(directive, "level", "LEVEL_"),
        "reason": text(directive, "reason"),
        "author": text(directive, "author"),
        "state": enum(directive, "state", "STATE_"),
        "create_time": text(directive, "createTime"),
        "expire_time": text(directive, "expireTime"),
        "end_time": text(directive, "endTime"),
        "releaser": text(directive, "releaser"),
    }


def receipt_data(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return a receipt as data, its signed form included."""
    directive = directive_data(message(receipt, "directive"))
    return {
        "directive": directive["name"],
        "epoch": directive["epoch"],
        "target": directive["target"],
        "level": directive["level"],
        "author": directive["author"],
        "durable": flag(receipt, "durable"),
        "contained": flag(receipt, "contained"),
        "gates": [
            {
                "gate": text(item, "gate"),
                "state": enum(item, "state", "STATE_"),
                "applied_epoch": number(item, "appliedEpoch"),
                "ack_time": text(item, "ackTime"),
                "last_allow_time": text(item, "lastAllowTime"),
            }
            for item in messages(receipt, "gates")
        ],
        "isolation": [
            {
                "driver": text(item, "driver"),
                "subject": text(item, "subject"),
                "result": text(item, "result"),
                "detail": text(item, "detail"),
            }
            for item in messages(receipt, "isolation")
        ],
        "last_allow_time": text(receipt, "lastAllowTime"),
        "issue_time": text(receipt, "issueTime"),
        "log_index": number(receipt, "logIndex"),
        "checkpoint": text(receipt, "checkpoint"),
        "key_id": text(receipt, "keyId"),
        "signed_json": bytes_of(receipt, "signedJson").decode("utf-8", "replace"),
        "signature": bytes_of(receipt, "signature").hex(),
    }


def agent_data(agent: Mapping[str, Any]) -> dict[str, Any]:
    """Return an agent as data."""
    return {
        "agent": text(agent, "agent"),
        "owner": text(agent, "owner"),
        "groups": texts(agent, "groups"),
        "labels": dict(message(agent, "labels")),
        "declared": flag(agent, "declared"),
        "gates": texts(agent, "gates"),
        "level": enum(agent, "level", "LEVEL_"),
        "directives": [directive_data(item) for item in messages(agent, "directives")],
        "last_call_time": text(agent, "lastCallTime"),
        "decision_counts": numbers(agent, "decisionCounts"),
    }


def revocation_data(revocation: Mapping[str, Any]) -> dict[str, Any]:
    """Return a revocation as data."""
    return {
        "epoch": number(revocation, "epoch"),
        "agent": text(revocation, "agent"),
        "session": text(revocation, "session"),
        "issuer": text(revocation, "issuer"),
        "token_id": text(revocation, "jti"),
        "issued_before": text(revocation, "issuedBefore"),
        "author": text(revocation, "author"),
        "reason": text(revocation, "reason"),
        "create_time": text(revocation, "createTime"),
    }
