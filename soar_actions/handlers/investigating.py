# SPDX-License-Identifier: Apache-2.0
"""Timelines, blast radii and incidents as the plain data that playbooks read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.handlers.reading import (
    enum,
    flag,
    message,
    messages,
    number,
    numbers,
    text,
    texts,
)
from soar_actions.handlers.render import directive_data

__all__ = ["blast_data", "event_data", "incident_data"]


def event_data(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return a timeline event as data."""
    return {
        "time": text(event, "time"),
        "kind": text(event, "kind"),
        "log": text(event, "log"),
        "index": number(event, "index"),
        "session": text(event, "session"),
        "tool": text(event, "tool"),
        "tool_class": enum(event, "toolClass", "TOOL_CLASS_"),
        "effect": enum(event, "effect", "EFFECT_"),
        "reason": text(event, "reason"),
        "destination": text(event, "destination"),
        "decision_id": text(event, "decisionId"),
        "fingerprint": text(event, "fingerprint"),
        "outcome": text(event, "outcome"),
        "operator": text(event, "operator"),
        "summary": text(event, "summary"),
    }


def blast_data(blast: Mapping[str, Any]) -> dict[str, Any]:
    """Return a blast radius as data."""
    return {
        "agent": text(blast, "agent"),
        "since": text(blast, "since"),
        "until": text(blast, "until"),
        "tools": [
            {
                "tool": text(tool, "tool"),
                "tool_class": enum(tool, "toolClass", "TOOL_CLASS_"),
                "data_class": text(tool, "dataClass"),
                "undo": text(tool, "undo"),
                "allow_count": number(tool, "allowCount"),
                "deny_count": number(tool, "denyCount"),
                "hold_count": number(tool, "holdCount"),
                "destinations": texts(tool, "destinations"),
                "last_allow_time": text(tool, "lastAllowTime"),
            }
            for tool in messages(blast, "tools")
        ],
        "data_classes": texts(blast, "dataClasses"),
        "destinations": texts(blast, "destinations"),
        "credentials": texts(blast, "credentials"),
        "humans": texts(blast, "humans"),
        "sessions": texts(blast, "sessions"),
        "decision_counts": numbers(blast, "decisionCounts"),
        "irreversible_count": number(blast, "irreversibleCount"),
        "first_call_time": text(blast, "firstCallTime"),
        "last_allow_time": text(blast, "lastAllowTime"),
        "truncated": flag(blast, "truncated"),
        "statement": text(blast, "statement"),
    }


def incident_data(incident: Mapping[str, Any]) -> dict[str, Any]:
    """Return an incident as data."""
    return {
        "name": text(incident, "name"),
        "state": enum(incident, "state", "STATE_"),
        "title": text(incident, "title"),
        "severity": text(incident, "severity"),
        "agent": text(incident, "agent"),
        "owner": text(incident, "owner"),
        "policy_digest": text(incident, "policyDigest"),
        "policy_digests": texts(incident, "policyDigests"),
        "since": text(incident, "since"),
        "until": text(incident, "until"),
        "events": [event_data(item) for item in messages(incident, "events")],
        "truncated": flag(incident, "truncated"),
        "blast_radius": blast_data(message(incident, "blastRadius")),
        "directives": [directive_data(item) for item in messages(incident, "directives")],
        "prompts": text(incident, "prompts"),
        "techniques": texts(incident, "techniques"),
        "verdict": enum(incident, "verdict", "VERDICT_") or "UNDETERMINED",
        "notes": [
            {
                "author": text(note, "author"),
                "create_time": text(note, "createTime"),
                "text": text(note, "text"),
            }
            for note in messages(incident, "notes")
        ],
        "author": text(incident, "author"),
        "create_time": text(incident, "createTime"),
        "update_time": text(incident, "updateTime"),
        "end_time": text(incident, "endTime"),
        "external_reference": text(incident, "externalReference"),
        "log_index": number(incident, "logIndex"),
        "sha256": text(incident, "sha256"),
    }
